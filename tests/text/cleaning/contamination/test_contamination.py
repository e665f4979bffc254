"""Contamination: examples are found whole, by their runs and nearly; nothing else is."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.specs.cleaning import ContaminationStep
from textmill.text.cleaning import steps
from textmill.text.cleaning.contamination.contamination import Evaluation, Example, overlap, read_examples
from textmill.text.cleaning.contamination.passages import Passages
from textmill.text.document import Document, Rejected, collected
from textmill.text.words import hashes


def english(rng, number):
    return " ".join(f"w{rng.randrange(10**5)}" for _ in range(number))


def chinese(rng, number):
    return "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(number))


def evaluation(*texts, ngram=13, near=0.8):
    return Evaluation([Example("set", str(n), text) for n, text in enumerate(texts)], ngram, near)


def kinds(found, text):
    return {touch.example: touch.kind for touch in found.touches([collected(text, "")])[0]}


@pytest.mark.parametrize("make", [english, chinese])
def test_planted_examples_are_found_at_their_place(make):
    rng = random.Random(0)
    examples = [make(rng, rng.randrange(14, 120)) for _ in range(200)]
    blank = " " if make is english else ""
    found = evaluation(*examples)
    documents, expected = [], []
    for number, example in enumerate(examples):
        before, after = make(rng, rng.randrange(1, 300)), make(rng, rng.randrange(0, 300))
        kind = ("exact", "run", "none")[number % 3]
        words = example.split() if blank else list(example)
        if kind == "run":  # 13 of its words, and no more
            at = rng.randrange(len(words) - 13)
            words = words[at : at + 13]
        elif kind == "none":  # 12 at a time
            words = [word for n, word in enumerate(words) if n % 13 != 6]
        documents.append(collected(f"{before}{blank}“{blank.join(words).upper()}”{blank}{after}", ""))
        expected.append((kind, len(before) + len(blank) + 1))
    for number, (touches, (kind, at)) in enumerate(zip(found.touches(documents), expected, strict=True)):
        if kind == "none":
            assert all(touch.kind == "near" for touch in touches)
        else:
            assert [(touch.example, touch.kind, touch.at) for touch in touches] == [(number, kind, at)]


@pytest.mark.parametrize("make", [english, chinese])
def test_near_examples_are_found_by_exact_similarity(make):
    """Edited examples inside longer documents, none with 13 words in a row: none is missed."""
    rng = random.Random(1)
    blank = " " if make is english else ""
    near = 0.3
    examples = [make(rng, rng.randrange(40, 200)) for _ in range(150)]
    found, missed, counted = evaluation(*examples, near=near, ngram=13), 0, 0
    for number, example in enumerate(examples):
        words = example.split() if blank else list(example)
        for at in range(6, len(words), rng.randrange(9, 13)):
            words[at] = make(rng, 1)
        passage = blank.join(words)
        sets = [
            set(zip(*(t[i:] for i in range(5)), strict=False))
            for t in (words, example.split() if blank else list(example))
        ]
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        touches = kinds(found, f"{make(rng, 200)}{blank}{passage}{blank}{make(rng, 150)}")
        if exact >= near:
            counted += 1
            missed += touches != {number: "near"}
        elif exact < near - 0.1:
            assert number not in touches
    assert counted > 40
    assert missed == 0


def test_short_examples():
    found = evaluation("one two three four five six seven eight", "yes", "very good film")
    assert kinds(found, "It said: one two, three four five six seven eight nine") == {0: "exact"}
    assert kinds(found, "one two three four five six seven") == {}
    assert kinds(found, "A very good film.") == {}
    assert kinds(found, "Very good film!") == {2: "exact"}
    assert kinds(found, "yes, of course") == {}
    assert kinds(found, "…") == {}


def test_phrases_that_all_examples_share_count_for_nothing():
    phrase = "answer the question that follows as well as you can and give your reasons one by one"
    rng = random.Random(2)
    examples = [f"{phrase} {english(rng, 40)}" for _ in range(30)]
    found = evaluation(*examples)
    assert kinds(found, f"{english(rng, 50)} {phrase} {english(rng, 50)}") == {}
    assert kinds(found, f"{english(rng, 50)} {examples[3]}") == {3: "exact"}
    assert kinds(found, f"{english(rng, 50)} {examples[3][len(phrase) :]}") == {3: "run"}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=8, max_size=20), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 2), max_size=40), min_size=1, max_size=4),
)
def test_exact_and_runs_are_those_of_brute_force(examples, documents):
    found = evaluation(*(" ".join("abc"[w] for w in words) for words in examples), near=1.0)
    texts = [" ".join("abc"[w] for w in words) for words in documents]
    for words, touches in zip(documents, found.touches([collected(t, "") for t in texts]), strict=True):
        expected = {}
        for number, example in enumerate(examples):
            places = range(len(words))
            if any(words[at : at + len(example)] == example for at in places):
                expected[number] = "exact"
            elif any(
                words[a : a + 13] == example[e : e + 13] for a in places for e in range(len(example) - 12)
            ):
                expected[number] = "run"
        assert {t.example: t.kind for t in touches if t.kind != "near"} == expected


def test_no_passage_is_missed():
    """The rarest runs of an example must find every passage: against all passages, by brute force."""
    rng = random.Random(3)
    vocabulary = [f"w{n}" for n in range(6)]
    for _ in range(60):
        example = rng.choices(vocabulary, k=rng.randrange(13, 30))
        document = rng.choices(vocabulary, k=10) + example + rng.choices(vocabulary, k=10)
        for _ in range(rng.randrange(5)):
            document[rng.randrange(len(document))] = "new"
        wanted = set(zip(*(example[i:] for i in range(5)), strict=False))
        all_runs = list(zip(*(document[i:] for i in range(5)), strict=False))
        best = max(
            len(wanted & set(all_runs[a:b])) / len(wanted | set(all_runs[a:b]))
            for a in range(len(all_runs))
            for b in range(a + 1, len(all_runs) + 1)
        )
        passages = Passages(hashes([" ".join(example)]), np.array([0]), 0.7)
        found = list(passages.find(hashes([" ".join(document)])))
        assert bool(found) == (best >= 0.7)
        if found:
            assert found[0].similarity == pytest.approx(best, abs=0.1)
            assert found[0].similarity <= best + 1e-12


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_step_sets_aside_or_reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(4)
    questions, lines = [english(rng, 30) for _ in range(5)], [english(rng, 20) for _ in range(3)]
    write(tmp_path / "exam.jsonl", [{"question": q, "answer": "42"} for q in questions])
    (tmp_path / "poem.txt").write_text("\n".join(lines))
    (tmp_path / "more.csv").write_text("question,answer\n" + f'"{questions[1]}",no\n')
    documents = [
        collected(f"{english(rng, 40)} {questions[1]} {english(rng, 9)}", "a"),
        collected(english(rng, 200), "b"),
        collected(f"{english(rng, 40)} {lines[2]}", "c"),
        Rejected(None, "d", "read", "is damaged"),
    ]
    spec = ContaminationStep(files=("exam.jsonl", "poem.txt", "more.csv"), fields=("question", "answer"))
    items = list(steps.apply(documents, (spec,)))
    assert items[1::2] == documents[1::2]
    assert isinstance(items[0], Rejected)
    assert (items[0].step, items[0].reason) == ("contamination", "holds an evaluation example")
    assert items[0].detail == "exam.jsonl:line 2, whole"
    assert items[2].detail == "poem.txt, 13 words"
    noted = ContaminationStep(files=spec.files, fields=spec.fields, action="report")
    items = list(steps.apply(documents, (noted,)))
    assert items[0].metadata == {"contaminated": "exam.jsonl, more.csv"}
    assert items[1] == documents[1]
    report = overlap([d for d in documents if isinstance(d, Document)], spec, tmp_path)
    assert set(report) == {"exam.jsonl", "poem.txt", "more.csv"}
    exam = report["exam.jsonl"]
    assert [exam[key] for key in ("examples", "exact", "run", "near", "documents")] == [5, 1, 0, 0, 1]
    assert exam["samples"] == [
        {
            "example": "exam.jsonl:line 2",
            "kind": "exact",
            "similarity": 1.0,
            "document": documents[0].id,
            "source": "a",
            "role": "text",
            "character": documents[0].text.index(questions[1]),
        }
    ]
    assert report["poem.txt"]["run"] == 1


def test_a_set_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path / "exam.jsonl", [{"question": "why", "answer": "42"}])
    with pytest.raises(
        RecipeError, match=r"exam.jsonl:line 1.*has no field 'text'.*question, answer.*fields"
    ):
        read_examples(ContaminationStep(files=("exam.jsonl",)), tmp_path)
    with pytest.raises(RecipeError, match="none.jsonl"):
        read_examples(ContaminationStep(files=("none.jsonl",)), tmp_path)


def test_nothing_is_found_in_nothing():
    found = evaluation("a b c d e f g h i j k l m n o p")
    assert found.touches([]) == []
    assert found.touches([collected("", ""), collected("?", "")]) == [[], []]
