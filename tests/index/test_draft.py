"""Guesses of what comes next: those the text and the corpus really hold."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.index.draft import LONGEST, SIZES, ContextDrafter, CorpusDrafter

TEXT = st.lists(st.integers(1, 4), max_size=60)


def expected_from_text(text, most):
    """The same by looking: the most recent earlier place of the longest of SIZES ends."""
    for size in SIZES:
        end = text[len(text) - size :]
        for start in range(len(text) - size - 1, -1, -1):
            if len(text) > size and text[start : start + size] == end:
                grown = list(text)
                for place in range(start + size, start + size + most):
                    grown.append(grown[place])
                return tuple(grown[len(text) :]), size
    return None


@settings(deadline=None, max_examples=150)
@given(TEXT, st.integers(1, 20), st.integers(1, 7))
def test_the_text_goes_on_as_it_did_last(text, most, chunk):
    drafter = ContextDrafter()
    for start in range(0, len(text), chunk):
        drafter.extend(text[start : start + chunk])
    found = drafter.propose(most)
    wanted = expected_from_text(text, most)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        assert (found.ids, found.evidence[1]) == wanted
    assert drafter.propose(0) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=30), min_size=1, max_size=6),
    TEXT,
    st.booleans(),
)
def test_the_corpus_guesses_what_follows_most_often(corpus_of, fresh, documents, text, sharded):
    corpus = corpus_of(documents)
    drafter = CorpusDrafter(corpus.index(fresh(), *([24] if sharded else [])), occurrences=1 << 20)
    for place in range(len(text)):  # grown token by token, so that the bound on what can match is at work
        drafter.extend(text[place : place + 1])
        found = drafter.propose(3)
        here = text[: place + 1]
        length = max(
            (n for n in range(1, min(len(here), LONGEST) + 1) if corpus.following(here[-n:])), default=0
        )
        if not length:
            assert found is None
            continue
        counts, total = corpus.following(here[-length:]), sum(corpus.following(here[-length:]).values())
        best = max(counts.values())
        if found is None:
            assert best < 0.2 * total
            continue
        assert counts[found.ids[0]] == best
        if len(found.ids) > 1:
            deeper = corpus.following([*here[-length:], found.ids[0]])
            assert deeper[found.ids[1]] == max(deeper.values())
        assert corpus.end not in found.ids[:-1]


def test_no_text_no_guess(corpus_of, fresh):
    index = corpus_of([[1, 2, 3]]).index(fresh())
    assert CorpusDrafter(index).propose(4) is None
    drafter = CorpusDrafter(index)
    drafter.extend([5])
    assert drafter.propose(4) is None
    drafter.extend([1])
    assert drafter.propose(4).ids == (2, 3, 0)
    assert drafter.propose(1).ids == (2,)


@pytest.mark.figures
def test_a_guess_takes_less_than_a_millisecond(corpus_of, fresh):
    rng = random.Random(1)
    documents = [[rng.choice((1, 2, 3, rng.randrange(1, 500))) for _ in range(500)] for _ in range(400)]
    drafter = CorpusDrafter(corpus_of(documents, vocabulary=500).index(fresh()))
    text, times = rng.choice(documents)[:200], []
    for token in text:
        drafter.extend([token])
        begun = time.perf_counter()
        drafter.propose(16)
        times.append(time.perf_counter() - begun)
    assert sorted(times)[len(times) // 2] < 1e-3
