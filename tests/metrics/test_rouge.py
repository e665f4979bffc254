"""ROUGE against the rouge-score package on English, and by hand on Chinese."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.metrics import rouge
from textmill.metrics.score import Bootstrap

QUICK = Bootstrap(20)
PACKAGE = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL", "ROUGE-Lsum": "rougeLsum"}
WORDS = ["the", "cat", "sat", "On", "a", "mat.", "it's", "3.5", "naïve", "well-known", "“so”", "\n", "_x_"]
english = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)


def package(names):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    return scorer.RougeScorer(names)


@settings(max_examples=150, deadline=None)
@given(english, english)
def test_english_as_rouge_score_has_it(output, reference):
    theirs = package(list(PACKAGE.values())).score(reference, output)
    ours = dict(zip(rouge.NAMES, rouge.rouge_of(output, reference), strict=True))
    assert ours == {name: pytest.approx(theirs[key].fmeasure, abs=1e-9) for name, key in PACKAGE.items()}


def test_a_corpus_is_the_mean_and_of_several_references_the_best_counts():
    draw = random.Random(0)
    outputs = [" ".join(draw.choices(WORDS, k=9)) for _ in range(30)]
    references = [[" ".join(draw.choices(WORDS, k=9)) for _ in range(draw.randint(1, 3))] for _ in outputs]
    scores = rouge.rouge(outputs, references, QUICK)
    scorer = package(list(PACKAGE.values()))
    for name, key in PACKAGE.items():
        each = [
            scorer.score_multi(several, output)[key].fmeasure
            for output, several in zip(outputs, references, strict=True)
        ]
        assert scores[name].value == pytest.approx(100 * np.mean(each), abs=1e-9)
        assert scores[name].low < scores[name].value < scores[name].high
    assert "nrefs:3" in scores["ROUGE-1"].signature


def test_chinese_by_hand():
    """Of 5 characters and 7 all 5 are shared, in order; of 4 bigrams and 6 two: 今天, 天气."""
    one, two, longest, lines = rouge.rouge_of("今天天气好", "今天的天气很好。")
    assert one == longest == lines == pytest.approx(10 / 12)
    assert two == pytest.approx(4 / 10)


def test_identical_texts_of_any_script_score_one():
    for text in ("猫坐在垫子上", "Кот сидел на коврике", "猫がマットの上に座った", "고양이가 앉았다 여기"):
        assert rouge.rouge_of(text, text) == (1, 1, 1, 1)


def test_lines_are_compared_one_by_one():
    """The order of lines is no matter to Lsum: all 4 words; to L it is: 2 of 4."""
    _, _, longest, lines = rouge.rouge_of("c d\na b", "a b\nc d")
    assert (longest, lines) == (0.5, 1.0)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abc", max_size=12), st.text(alphabet="abc", max_size=12))
def test_the_longest_common_subsequence_is_that_of_the_table(left, right):
    table = np.zeros((len(left) + 1, len(right) + 1), dtype=int)
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            table[i + 1, j + 1] = table[i, j] + 1 if one == other else max(table[i, j + 1], table[i + 1, j])
    assert rouge.longest_common(left, right) == table[-1, -1]


def test_nothing_scores_nothing():
    assert rouge.rouge_of("", "a b") == rouge.rouge_of("a", "") == rouge.rouge_of("", "") == (0, 0, 0, 0)
    with pytest.raises(TextmillError, match="nothing to score"):
        rouge.rouge([], [])
