"""Words with spaces between them, and texts without their stop words."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.specs.cleaning import SegmentStep, StopWordsStep
from textmill.text.cleaning import steps as clean
from textmill.text.cleaning.stop_words import STOP_WORDS, drop
from textmill.text.document import collected


def one(text, *steps, **metadata):
    (item,) = clean.apply([collected(text, "a", metadata)], steps)
    return item


def test_rjieba_parts_chinese_words_and_keeps_lines():
    pytest.importorskip("rjieba")
    document = one("我爱北京天安门。\n\n磨坊很老 ok", SegmentStep())
    assert document.text == "我 爱 北京 天安门 。\n\n磨坊 很 老 ok"
    assert document.metadata["segmented"] == "rjieba"


@pytest.mark.parametrize("by", ["whitespace", "rjieba", "nltk", "spacy"])
def test_nothing_but_blanks_changes_and_a_second_time_nothing_at_all(by):
    if by != "whitespace":
        pytest.importorskip(by)
    text = "The mill's wheel, they say, isn't old.\n石头磨坊有两百年了（大约）。\n\n  indented\tline 3.5"
    once = one(text, SegmentStep(by=by))
    assert "".join(once.text.split()) == "".join(text.split())
    assert once.text.count("\n") == text.count("\n")
    (twice,) = clean.apply([once], (SegmentStep(by=by),))
    assert twice == once


def test_nltk_splits_off_punctuation_without_any_data():
    pytest.importorskip("nltk")
    assert one("It isn't old, is it?", SegmentStep(by="nltk")).text == "It is n't old , is it ?"


@pytest.mark.parametrize(
    ("by", "install"), [("rjieba", r"textmill\[zh\]"), ("nltk", "nltk"), ("spacy", "spacy")]
)
def test_what_is_missing_says_what_to_install(by, install, monkeypatch):
    monkeypatch.setitem(sys.modules, by, None)
    monkeypatch.setitem(sys.modules, f"{by}.tokenize", None)
    with pytest.raises(RecipeError, match=f"pip install '{install}'"):
        one("text", SegmentStep(by=by))


def test_stop_words_go_and_everything_else_stays():
    assert one("The cat is on the MAT, isn’t it?", StopWordsStep()).text == "cat MAT, ?"
    assert one("我们 的 磨坊 在 河边 。", StopWordsStep()).text == "磨坊 河边 。"
    assert one("the 磨坊 的", StopWordsStep(languages=("en",))).text == "磨坊 的"
    assert one("我们的磨坊", StopWordsStep()).text == "我们的磨坊"  # not segmented: no word of it is known
    assert one("there are theses", StopWordsStep()).text == "theses"


def test_lists_are_of_the_size_of_such_lists_and_hold_what_they_must():
    assert 170 <= len(STOP_WORDS["en"]) <= 320
    assert 140 <= len(STOP_WORDS["zh"]) <= 320
    assert {"the", "of", "isn't"} <= STOP_WORDS["en"]
    assert {"的", "因为", "我们"} <= STOP_WORDS["zh"]
    assert all(word == word.lower() for word in STOP_WORDS["en"])


@given(
    st.lists(
        st.sampled_from(
            ["the", "The", "cat", " ", "  ", "\t", "\n", "'", "’", "t", "isn", "的", "磨", ",", "-", "3"]
        )
    )
)
def test_dropping_twice_is_dropping_once(parts):
    listed = STOP_WORDS["en"] | STOP_WORDS["zh"]
    once = drop("".join(parts), listed)
    assert drop(once, listed) == once
