"""Runs of characters: parts of words count, and whole texts are what BM25 says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from textmill.retrieval.grams import fit, named


def test_parts_of_words_are_found_whatever_their_endings():
    texts = ["Die Kanalisierung begann früh.", "Das Schloss steht am Berg.", "Ein Schlosspark.", ""]
    held = fit("Wann wurde der Kanal gebaut?", texts).whole
    assert held.argmax() == 0
    assert held[3] == 0
    assert (fit("SCHLÖSSER im Park", texts).whole[1:3] > 0).all()


def test_hanzi_count_alone_and_in_pairs():
    texts = ["守塔人叫王小明。", "人塔守着河。", "The tower."]
    found = fit("守塔人是谁", texts).whole
    assert found[0] > found[1] > found[2] == 0


def test_the_whole_is_bm25_by_hand():
    texts = ["abcd abcd", "abcd efgh ijkl", "efgh"]
    runs = [[" abc", "abcd", "bcd "] * 2, [" abc", "abcd", "bcd ", *["x"] * 6], ["x"] * 3]
    lengths = np.array([len(some) for some in runs])
    idf = math.log1p((3 - 2 + 0.5) / (2 + 0.5))
    expected = []
    for some, length in zip(runs, lengths, strict=True):
        tf = some.count("abcd")
        expected.append(3 * idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / lengths.mean())))
    found = fit("abcd", texts)
    assert found.whole == pytest.approx(expected)
    assert found.held.tolist() == [1, 1, 0]


def test_the_best_sentence_is_told_from_the_rest_of_its_chunk():
    together, apart = "Ottokar drank tea. It rained.", "Ottokar slept. Somebody drank. It was tea."
    found = fit("Ottokar drank tea", [together, apart])
    assert found.sentence[0] > found.sentence[1]
    chinese = fit("王小明喝茶", ["王小明喝茶。下雨了。", "王小明睡了。有人喝。是茶。"])
    assert chinese.sentence[0] > chinese.sentence[1]


def test_nothing_to_rank_is_no_error():
    assert len(fit("word", []).whole) == 0
    assert fit("", ["word"]).whole.tolist() == [0]
    assert fit("?!", ["\ud800 word"]).held.tolist() == [0]


def test_a_query_that_names_a_title():
    titles = ["九龙巴士86线", "九龙巴士41R线", "The Mill", "Windmills", ""]
    found = named("九龙巴士86线是通往哪里的？", titles)
    assert found[0] == 1
    assert 0.3 < found[1] < 1
    assert found[2:].tolist() == [0, 0, 0]
    english = named("Who owns the mill?", titles)
    assert english[2] == 1
    assert 0 < english[3] < 0.5
