"""Texts that stand inside others: held against a search by brute force, and dealt so that no split divides them."""

from __future__ import annotations

import random

from textmill.specs.cleaning import ContainmentStep
from textmill.specs.corpus import CorpusSpec, FilesSource, SplitSpec
from textmill.text.cleaning import steps
from textmill.text.cleaning.duplicates.containment import WITHIN, Containment
from textmill.text.corpus import corpus
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import PARTS
from textmill.text.document import Document, collected
from textmill.text.step import Mark, Reject, Sketched


def decide(texts, scratch):
    step = Containment()
    documents = [collected(text, str(n)) for n, text in enumerate(texts)]
    sketches = step.sketch(documents[:2]) + step.sketch(documents[2:])
    rows = [
        Sketched(n, d.id, d.characters, s) for n, (d, s) in enumerate(zip(documents, sketches, strict=True))
    ]
    return dict(step.decide(lambda: iter(rows), scratch)), [document.id for document in documents]


def expected(texts):
    """number -> the whole texts that hold it, by looking at all pairs."""
    words = [f" {' '.join(text.lower().split())} " for text in texts]
    inside = [
        {b for b in range(len(words)) if words[a] in words[b] and words[a] != words[b]}
        for a in range(len(words))
    ]
    return [{words[b] for b in holders if not inside[b]} for holders in inside]


def test_pieces_and_the_whole_texts_they_are_of(tmp_path):
    verdicts, ids = decide(
        ["The mill turns slowly.", "mill turns", "the mill", "a mill for the mill", "MILL TURNS", "alone"],
        tmp_path,
    )
    assert verdicts[0] == Mark({"cluster": ids[0]})
    assert verdicts[1] == Mark({"cluster": ids[0], WITHIN: ids[0]})
    assert isinstance(verdicts[2], Reject)
    assert ids[0] in verdicts[2].detail
    assert verdicts[4] == verdicts[1]
    assert 3 not in verdicts
    assert 5 not in verdicts


def test_of_the_same_words_the_longest_is_whole(tmp_path):
    verdicts, ids = decide(["it turns", "IT TURNS .", "it turns.", "turns", "once"], tmp_path)
    within = Mark({"cluster": ids[0], WITHIN: ids[1]})
    assert verdicts == {0: within, 1: Mark({"cluster": ids[0]}), 2: within, 3: within}


def test_as_a_search_by_brute_force(tmp_path):
    draw = random.Random(1)
    for _ in range(20):
        texts = [" ".join(draw.choices("abcde", k=draw.randint(1, 7))) for _ in range(30)]
        verdicts, _ = decide(texts, tmp_path)
        for number, wholes in enumerate(expected(texts)):
            verdict = verdicts.get(number)
            if len(wholes) > 1:
                assert isinstance(verdict, Reject)
            else:
                repeats = texts[number] in texts[:number]
                assert (len(wholes) == 1 or repeats) == (
                    isinstance(verdict, Mark) and WITHIN in verdict.metadata
                )


def test_no_split_divides_a_text_and_its_pieces(tmp_path):
    draw, texts = random.Random(0), []
    for _ in range(150):
        words = [f"w{draw.randrange(5000)}" for _ in range(12)]
        texts += [" ".join(words), " ".join(words[2:7]), " ".join(words[5:])]
    spec = CorpusSpec(
        sources=(FilesSource(paths=("x",)),),
        steps=(),
        split=SplitSpec(validation=0.2, test=0.2, by="containment"),
    )
    assert spec.steps == (ContainmentStep(),)
    read = [collected(text, str(n)) for n, text in enumerate(texts)]
    report = corpus.write_corpus(tmp_path, steps.apply(read, spec.steps), spec.split)
    stored = Corpus(tmp_path)
    sides: dict[str, list[Document]] = {part: list(stored.documents(part)) for part in PARTS}
    assert all(sides.values())
    held = " | ".join(document.text for part in PARTS[1:] for document in sides[part])
    assert not any(document.text in held for document in sides["train"])
    assert all(len(document.text.split()) == 12 for part in PARTS[1:] for document in sides[part])
    [skipped] = report["reasons"]
    assert skipped["reason"] == "stands inside a longer text that is held out"
    assert skipped["documents"] + report["kept"]["documents"] == len(texts) == report["read"]["documents"]
