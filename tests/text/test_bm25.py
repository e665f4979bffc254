"""BM25 beside its formula, word by word, and on questions whose passages are known."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from textmill.text.bm25 import BM25, terms

SHARED = Path(__file__).parents[3] / "shared" / "data"
PASSAGES = ["the cat sat on the mat", "a dog chased the cat", "dogs and cats", "nothing", "", "the mat"]


def by_hand(query: str, passages: list[str], k1: float, b: float) -> list[float]:
    words = [passage.split() for passage in passages]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for passage in words:
        score = 0.0
        for term in query.split():
            held, tf = sum(term in other for other in words), passage.count(term)
            idf = math.log(1 + (len(words) - held + 0.5) / (held + 0.5))
            score += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(passage) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["the cat", "cat cat mat", "unknown", "dogs and the nothing", ""])
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)])
def test_scores_are_those_of_the_formula(query, k1, b):
    scores = BM25(PASSAGES, k1=k1, b=b).scores(query)
    np.testing.assert_allclose(scores, by_hand(query, PASSAGES, k1, b), rtol=1e-6)


def test_case_and_marks_do_not_matter():
    index = BM25(["“The CAT!”", "a dog"])
    assert index.best("cat?", 5)[0][0] == 0
    assert index.best("??", 5) == []


def test_hanzi_count_alone_and_in_pairs_that_stand_together():
    found, owners = terms(["猫狗，鸟 cat", "猫狗"])
    assert np.bincount(owners).tolist() == [5, 3]  # 猫 狗 鸟 cat 猫狗, not 狗鸟; 猫 狗 猫狗
    assert len(set(found.tolist())) == 5


def test_the_best_come_first_and_none_that_share_nothing():
    index = BM25(PASSAGES)
    numbers = [number for number, _ in index.best("the mat", 10)]
    assert numbers[0] == 5
    assert set(numbers) == {0, 1, 5}
    assert len(index.best("the mat", 2)) == 2


def test_an_index_of_nothing():
    assert BM25([]).best("a word", 3) == []
    assert BM25(["", " "]).best("a word", 3) == []


@pytest.mark.parametrize(
    ("name", "every", "first", "five"),
    [
        ("xquad/en.dev.json", 1, 0.926, 0.985),
        ("xquad/de.dev.json", 1, 0.856, 0.963),
        ("xquad/zh.dev.json", 2, 0.92, 0.98),
        ("cmrc2018/dev.json.gz", 10, 0.939, 0.99),
    ],
)
def test_questions_find_their_passages(name, every, first, five):
    path = SHARED / name
    if not path.is_file():
        pytest.skip("no data here")
    data = json.loads((gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()))
    paragraphs = [paragraph for article in data["data"] for paragraph in article["paragraphs"]]
    passages = list(dict.fromkeys(paragraph["context"] for paragraph in paragraphs))
    index = BM25(passages)
    asked = [(passages.index(each["context"]), qa["question"]) for each in paragraphs for qa in each["qas"]]
    ranks = []
    for right, question in asked[::every]:
        found = [number for number, _ in index.best(question, 5)]
        ranks.append(found.index(right) if right in found else 5)
    assert np.mean(np.array(ranks) < 1) >= first
    assert np.mean(np.array(ranks) < 5) >= five
