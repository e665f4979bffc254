"""BLEU, chrF and TER against sacrebleu's own corpus scores; answers against the SQuAD script's rules, by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.metrics import answers, overlap
from textmill.metrics.score import Bootstrap

QUICK = {"bootstrap": Bootstrap(20)}
texts = st.text(alphabet="ab c,。的是", max_size=20)


def noisy(seed: int, words: list[str], number: int = 60) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    references = [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(number)]
    outputs = [
        " ".join(w if draw.random() < 0.7 else draw.choice(words) for w in text.split())
        for text in references
    ]
    return outputs, references


def test_english_as_sacrebleu_has_it():
    outputs, references = noisy(
        0, ["the", "cat", "sat", "on", "a", "mat", ",", "Hello-world", "it's", "3.5", "."]
    )
    scores = overlap.overlap(outputs, [[text] for text in references], **QUICK)
    assert scores["BLEU"].value == pytest.approx(sacrebleu.corpus_bleu(outputs, [references]).score, abs=1e-9)
    assert scores["chrF"].value == pytest.approx(sacrebleu.corpus_chrf(outputs, [references]).score, abs=1e-9)
    assert "|tok:13a|" in scores["BLEU"].signature
    assert "|nc:6|nw:0|" in scores["chrF"].signature
    assert scores["BLEU"].low < scores["BLEU"].value < scores["BLEU"].high
    same = sum(one == two for one, two in zip(outputs, references, strict=True)) / len(outputs)
    assert scores["exact match"].value == pytest.approx(same)


def test_chinese_is_cut_into_characters():
    outputs, references = noisy(1, ["今天", "天气", "很好", "。", "我", "去", "北京", "GPU"])
    score = overlap.bleu(outputs, [[text] for text in references], **QUICK)
    assert "|tok:zh|" in score.signature
    expected = sacrebleu.corpus_bleu(outputs, [references], tokenize="zh").score
    assert score.value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "expected"), [("a cat", "13a"), ("我有一只 cat", "zh"), ("猫がいます", "char"), ("123 .", "13a")]
)
def test_the_references_say_how_words_are_cut(text, expected):
    assert overlap.tokenisation([text]) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_chrf_as_sacrebleu_has_it(pairs):
    outputs, references = ([pair[side] for pair in pairs] for side in (0, 1))
    counts = np.array([overlap.chrf_counts(*pair) for pair in pairs]).sum(0)[None]
    expected = sacrebleu.corpus_chrf(outputs, [references]).score
    assert overlap.chrf_of_counts(counts)[0] == pytest.approx(expected, abs=1e-9)


def test_an_interval_is_that_of_resampled_corpora():
    """Every bootstrap sample scored by sacrebleu itself."""
    outputs, references = noisy(2, ["a", "b", "c", "d", "e", "f"], number=12)
    score = overlap.bleu(outputs, [[text] for text in references], bootstrap=Bootstrap(40, 7))
    generator = np.random.default_rng(7)
    values = []
    for _ in range(40):
        chosen = generator.integers(12, size=12)
        some = [outputs[place] for place in chosen], [[references[place] for place in chosen]]
        values.append(sacrebleu.corpus_bleu(*some).score)
    assert (score.low, score.high) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "given_", "exact", "f1"),
    [
        ("The Eiffel Tower", "eiffel tower.", True, 1.0),
        ("in 1889", "1889", False, 2 / 3),
        ("Saint-Denis", "saintdenis", True, 1.0),  # SQuAD's script takes hyphens out, too
        ("a", "the", True, 1.0),
        ("cat", "", False, 0.0),
        ("cat cat dog", "cat", False, 0.5),
        ("北京大学", "北京，大学。", True, 1.0),
        ("北京大学", "北京", False, 2 / 3),
        ("GPU 显存", "显存", False, 0.8),
    ],
)
def test_answers_by_hand(truth, given_, exact, f1):
    assert answers.exact(truth, given_) is exact
    assert answers.f1(truth, given_) == pytest.approx(f1)


def test_answers_of_a_data_set():
    scores = answers.answered([["in 1889"], ["Rome"]], ["1889", "rome"], **QUICK)
    assert scores["exact match"].value == 0.5
    assert scores["answer F1"].value == pytest.approx(5 / 6)


def test_of_several_answers_the_nearest_counts_and_none_is_an_answer_too():
    """SQuAD 2.0's script: gold answers that normalise to nothing are none; no answer is right for these alone."""
    truth = [["in 1889", "the year 1889"], ["Rome"], [], ["the"]]
    scores = answers.answered(truth, ["1889", "", "", "a cat"], **QUICK)
    assert scores["exact match"].value == pytest.approx(1 / 4)
    assert scores["answer F1"].value == pytest.approx((2 / 3 + 0 + 1 + 0) / 4)
    assert scores["answer F1, answerable"].value == pytest.approx((2 / 3 + 0) / 2)
    assert scores["unanswerable"].value == pytest.approx(1 / 2)
    assert "SQuAD 2.0" in scores["answer F1"].signature


def several(seed: int, words: list[str]) -> tuple[list[str], list[list[str]]]:
    outputs, references = noisy(seed, words)
    return outputs, [[one, other] for one, other in zip(references, reversed(references), strict=True)]


@pytest.mark.parametrize(
    "words", [["the", "cat", "sat", ",", "it's", "3.5"], ["今天", "天气", "很好", "。", "GPU"]]
)
def test_several_references_as_sacrebleu_has_them(words):
    outputs, references = several(3, words)
    streams = [list(stream) for stream in zip(*references, strict=True)]
    scores = overlap.overlap(outputs, references, **QUICK)
    cut = overlap.tokenisation(text for pair in references for text in pair)
    cjk = cut == "zh"
    expected = {
        "BLEU": sacrebleu.corpus_bleu(outputs, streams, tokenize=cut),
        "chrF": sacrebleu.corpus_chrf(outputs, streams),
        "TER": sacrebleu.corpus_ter(outputs, streams, asian_support=cjk, normalized=cjk),
    }
    assert {name: scores[name].value for name in expected} == pytest.approx(
        {name: score.score for name, score in expected.items()}
    )
    assert all("nrefs:2|" in scores[name].signature for name in expected)
    assert scores["TER"].better == "lower"


def test_a_text_may_have_more_references_than_another():
    """More references can only help, and are said to vary."""
    outputs, references = ["a cat sat here", "the dog ran off"], ["a cat sat down", "a dog walked off"]
    fewer = overlap.overlap(outputs, [[text] for text in references], **QUICK)
    more = overlap.overlap(outputs, [[references[0], "a cat sat here"], [references[1]]], **QUICK)
    assert more["BLEU"].value > fewer["BLEU"].value
    assert more["chrF"].value > fewer["chrF"].value
    assert more["TER"].value < fewer["TER"].value
    assert more["exact match"].value == 0.5
    assert "nrefs:var" in more["BLEU"].signature
