from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.tokenization.unigram import _Lattice, _without_itself, _Words, learn

BYTES = [bytes([byte]) for byte in range(256)]
PIECES = [*BYTES, b"ab", b"abc", b"bc", "中".encode(), "中文".encode(), b"aa"]
WORD = st.text(st.sampled_from("abc中文"), min_size=1, max_size=6).map(str.encode)


def spellings(word: bytes) -> list[tuple[int, ...]]:
    """Every way to spell a word with PIECES, by trying every set of cuts."""
    found = []
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        places = [0, *[place + 1 for place, cut in enumerate(cuts) if cut], len(word)]
        parts = [word[a:b] for a, b in itertools.pairwise(places)]
        if all(part in PIECES for part in parts):
            found.append(tuple(PIECES.index(part) for part in parts))
    return found


def some_scores() -> np.ndarray:
    weights = np.random.default_rng(0).random(len(PIECES)) + 0.1
    return np.log(weights / weights.sum())


@settings(deadline=None, max_examples=40)
@given(st.lists(WORD, min_size=1, max_size=4, unique=True))
def test_expectation_and_best_path_against_trying_everything(words):
    scores, counts = some_scores(), np.arange(1, len(words) + 1)
    lattice = _Lattice.build(_Words.lay(words, counts), PIECES)
    expected, best = np.zeros(len(PIECES)), []
    for word, times in zip(words, counts, strict=True):
        ways = spellings(word)
        chances = np.array([math.exp(sum(scores[piece] for piece in way)) for way in ways])
        best.append(math.log(chances.max()))
        for way, chance in zip(ways, chances / chances.sum(), strict=True):
            for piece in way:
                expected[piece] += times * chance
    assert np.allclose(lattice.expected(scores), expected)
    assert np.allclose(lattice.best(scores), best)


def test_the_best_other_spelling():
    scores = some_scores()
    found = _without_itself(PIECES, scores)
    for place in range(256, len(PIECES)):
        others = [way for way in spellings(PIECES[place]) if way != (place,)]
        assert math.isclose(found[place], max(sum(scores[piece] for piece in way) for way in others))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.text(max_size=12).map(str.encode), st.integers(1, 9)), max_size=30), st.randoms()
)
def test_the_order_of_words_does_not_matter_and_sizes_hold(words, random):
    words = list(dict(words).items())
    if not any(word for word, _ in words):
        words.append((b"word", 3))
    learnt = learn(words, 270)
    assert [piece for piece, _ in learnt[:256]] == BYTES
    assert len({piece for piece, _ in learnt}) == len(learnt) <= 270
    assert all(math.isfinite(score) and score < 0 for _, score in learnt)
    for piece, _ in learnt[256:]:
        assert len(piece) > 1
        piece.decode("utf-8")  # whole characters
    random.shuffle(words)
    assert learn(words, 270) == learnt


def test_frequent_words_win():
    words = [(b" the", 100), (b" then", 30), (b" other", 30), (b" mother", 20), ("语言".encode(), 50)]
    words += [(f" w{number}".encode(), 1) for number in range(50)]
    pieces = {piece for piece, _ in learn(words, 264)}
    assert {b" the", "语言".encode()} <= pieces


def test_probabilities_add_up():
    learnt = learn([(b"hello", 5), (b"help", 3), (b"yellow", 2)], 300)
    assert sum(math.exp(score) for _, score in learnt) == pytest.approx(1, abs=1e-3)
