"""Signs: what tells texts of the same words apart, and what does not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.cleaning import NearDuplicatesStep, SubstringsStep
from textmill.text.cleaning import steps
from textmill.text.document import Document, collected
from textmill.text.signs import signed, signed_words
from textmill.text.words import hashes

APART = [
    ("-5 degrees", "5 degrees"),
    ("−5 degrees", "5 degrees"),
    ("x > y", "x < y"),
    ("a + b = c", "a - b = c"),
    ("a - b", "a b"),
    ("2*3", "2 3"),
    ("he knows C++ well", "he knows C# well"),
    ("he knows C++ well", "he knows C well"),
    ("is it true?", "is it true!"),
    ("you are coming?", "you are coming."),
    ("真的吗？", "真的吗。"),
    ("I love it 😀", "I love it 😡"),
    ("I love it 😀", "I love it"),
    ("pay $5 now", "pay €5 now"),
    ("Hb 1.2", "Hb 1,2"),
    ("Hb 1.2", "Hb 1 2"),
    (".5 mg", "5 mg"),
    ("12:30", "12.30"),
    ("US is here", "us is here"),
    ("5 mW", "5 MW"),
    ("5 m", "5 M"),
    ("a != b", "a = b"),
    ("5! ways", "5 ways"),
    ("3 ° C", "3 C"),
    ("50 % of it", "50 of it"),
    ("p <= q", "p >= q"),
    ("∃ x", "∀ x"),
    ("a → b", "a ← b"),
]
ALIKE = [
    ("good morning!", "Good, morning"),
    ("the old-fashioned mill", "the old fashioned mill"),
    ("“Quoted,” he said", '"Quoted", he said'),
    ("one – two", "one — two"),
    ("ＡＢＣ？", "ＡＢＣ?"),
    ("（注）早上好。", "(注)早上好"),
    ("word *emphasis* word", "word emphasis word"),
    ("# Title", "Title"),
    ("a line\n=====\nmore", "a line\nmore"),
    ("The Mill", "the mill"),
    ("x—y's", "x—y’s"),
    ("one, two; three.", "one two three"),
]


FILLER = " ".join(f"word{n}" for n in range(8))


def kept(*texts, step=None):
    items = steps.apply(
        [collected(text, f"{n}") for n, text in enumerate(texts)], (step or NearDuplicatesStep(),)
    )
    return [item.text for item in items if isinstance(item, Document)]


def among(text, words=14):
    """The text somewhere in a sentence of others, at its end where it ends a sentence."""
    filler = [f"word{n}" for n in range(words)]
    before = filler if text[-1] in "?!.？。" else filler[: words // 2]
    return " ".join([*before, text, *filler[len(before) :]])


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_differs_by_a_sign_is_no_copy(one, other):
    assert kept(one, other) == [one, other]
    assert kept(among(one), among(other)) == [among(one), among(other)]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_typesetters_change_makes_no_difference(one, other):
    assert len(kept(one, other)) == 1
    assert len(kept(f"{FILLER} {one} {FILLER}", f"{FILLER} {other} {FILLER}")) == 1


def test_a_text_in_capitals_is_a_copy_and_a_word_in_capitals_is_a_word():
    assert len(kept("A MILL BY THE RIVER TURNS", "a mill by the river turns")) == 1
    assert len(kept("AIDS", "aids")) == 2


@pytest.mark.parametrize(("one", "other"), APART)
def test_no_run_is_cut_that_differs_by_a_sign(one, other):
    long = [f"word{n}" for n in range(30)]
    texts = [" ".join([*long[:15], text, *long[15:]]) for text in (one, other)]
    assert kept(*texts, step=SubstringsStep(least=25)) == texts
    assert kept(texts[0], f"new {texts[0]}", step=SubstringsStep(least=25)) == [texts[0], "new "]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["mill", "river", "5", "x", "磨", "Old"]), min_size=1, max_size=18),
    st.sampled_from(["?", "+", "<", "😀", "%", "€", "=", "@", "∀"]),
    st.data(),
)
def test_one_sign_more_is_seen_wherever_it_stands(words, sign, data):
    at = data.draw(st.integers(0, len(words)))
    plain, marked = " ".join(words), " ".join([*words[:at], sign, *words[at:]])
    assert len(kept(plain, marked)) == 2
    assert len(kept(marked, marked.replace(" ", "  "))) == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_words_are_those_without_signs_and_batches_change_nothing(texts):
    words, signs = signed(texts)
    plain = hashes(texts)
    assert all(
        np.array_equal(getattr(words, name), getattr(plain, name))
        for name in ("hash", "start", "end", "offsets")
    )
    assert len(signs.hash) == signs.offsets[-1]
    for number, (start, end) in enumerate(itertools.pairwise(signs.offsets.tolist())):
        alone_words, alone = signed([texts[number]])
        assert np.array_equal(alone.placed(alone_words), signs.placed(words)[start:end])
        inside = np.concatenate([signs.before[start:end], signs.after[start:end]])
        inside = inside[inside >= 0]
        assert ((inside >= words.offsets[number]) & (inside < words.offsets[number + 1])).all()
    assert len(signed_words(texts).hash) == len(plain.hash)
