"""The index says what looking everywhere says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import DamagedError, TextmillError
from textmill.index import shard
from textmill.index.search import Index

QUICK = settings(deadline=None, max_examples=60)


@st.composite
def corpora(draw, empty=True):
    """Few ids, so that runs repeat; 16 or 32 bits; ids below and above a byte, and zero."""
    wide = draw(st.booleans())
    ids = draw(st.sampled_from([[1, 2], [1, 2, 3, 256], [255, 256, 511]]))
    ids = [i + 65536 if wide and i > 255 else i for i in ids]
    end = draw(st.sampled_from([0, 300]))
    least = 0 if empty else 1
    documents = draw(
        st.lists(st.lists(st.sampled_from(ids), min_size=least, max_size=30), min_size=1, max_size=12)
    )
    run = draw(st.lists(st.sampled_from([*ids, end]), max_size=9))
    return documents, 70000 if wide else 600, end, run, draw(st.sampled_from([1, 7, 40, 1 << 20]))


@QUICK
@given(corpora())
def test_count_locate_and_following_are_those_of_looking_everywhere(corpus_of, fresh, case):
    documents, vocabulary, end, run, tokens_a_shard = case
    corpus = corpus_of(documents, vocabulary, end)
    index = corpus.index(fresh(), tokens_a_shard)
    assert index.tokens == len(corpus.ids)
    assert index.documents == len(documents)
    places = corpus.places(run) if run else [(0, 0)] * len(corpus.ids)
    assert index.count(run) == len(places)
    if run:
        found = index.locate(run)
        names = [(corpus.names[number], token) for number, token in places]
        assert [(place.document, place.token) for place in found] == names
        assert [index.locate(run, limit) for limit in (0, 1, 2)] == [found[:0], found[:1], found[:2]]
        holders, total = index.holders(run, 2)
        held = list(dict.fromkeys(number for number, _ in places))
        assert total == len(held)
        assert [(h.source, h.count) for h in holders] == [
            (corpus.sources[number], sum(n == number for n, _ in places)) for number in held[:2]
        ]
    ids, counts = index.next_counts(run)
    assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == corpus.following(run)
    assert ids.tolist() == sorted(ids.tolist())


@QUICK
@given(corpora(), st.integers(0, 9))
def test_longest_suffix_is_the_longest(corpus_of, fresh, case, longest):
    documents, vocabulary, end, context, tokens_a_shard = case
    corpus = corpus_of(documents, vocabulary, end)
    index = corpus.index(fresh(), tokens_a_shard)
    for bound in (None, longest):
        ends = context[len(context) - min(len(context), 99 if bound is None else bound) :]
        lengths = [n for n in range(1, len(ends) + 1) if corpus.places(ends[-n:])]
        within = [n for n in lengths if end not in ends[len(ends) - n + 1 :]]
        length = max(within, default=0)
        found = index.longest_suffix(context, bound)
        assert (found.length, found.count) == (length, index.count(ends[len(ends) - length :]))


def test_runs_longer_than_the_samples_and_many_suffixes(corpus_of, fresh):
    rng = np.random.default_rng(3)
    documents = [rng.choice([1, 2], p=[0.9, 0.1], size=400).tolist() for _ in range(30)]
    for vocabulary in (8, 70000):
        corpus = corpus_of(documents, vocabulary)
        index = corpus.index(fresh(), 3000)
        assert len(index.shards) == 5
        for length in (1, 2, 3, 4, 5, 6, 12, 40, 399, 401):
            document = documents[length % 30]
            start = int(rng.integers(0, max(1, 400 - length)))
            run = [*document, 0][start : start + length]
            assert index.count(run) == len(corpus.places(run)) > 0
            assert index.count([*run[:-1], 5]) == 0


def test_halving_a_long_range_gives_the_same(corpus_of, fresh, monkeypatch):
    rng = np.random.default_rng(4)
    corpus = corpus_of([rng.integers(1, 6, size=50).tolist() for _ in range(40)])
    index = corpus.index(fresh(), 700)
    contexts = [[0], [1], [1, 2], [3, 3, 3], [0, 4]]
    gathered = [index.next_counts(context) for context in contexts]
    monkeypatch.setattr(shard, "_GATHER", 2)
    for context, (ids, counts) in zip(contexts, gathered, strict=True):
        again = index.next_counts(context)
        assert (again[0].tolist(), again[1].tolist()) == (ids.tolist(), counts.tolist())
        assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == corpus.following(context)


def test_no_run_crosses_from_one_document_into_the_next(corpus_of, fresh):
    index = corpus_of([[1, 2, 3], [4, 5], []]).index(fresh())
    assert index.count([3, 0]) == 1
    assert index.count([0, 4]) == 1
    assert index.count([3, 0, 4]) == 0
    assert index.count([0, 0]) == 1  # the empty document
    assert index.count([0]) == 3
    assert index.next_counts([3, 0])[0].tolist() == []
    assert index.next_counts([0])[0].tolist() == [0, 1, 4]


def test_around_stays_in_the_document(corpus_of, fresh):
    index = corpus_of([[1, 2, 3, 4, 5], [6, 7]]).index(fresh())
    for run, before, after in (
        ([3, 4], [1, 2], [5]),
        ([0, 1], [], [2, 3, 4, 5]),
        ([5, 0], [1, 2, 3, 4], []),
        ([6], [], [7]),
        ([7, 0], [6], []),
    ):
        ahead, behind = index.around(index.locate(run)[0], len(run), 9, 9)
        assert (ahead.tolist(), behind.tolist()) == (before, after)


def test_what_is_no_token_id_is_refused(corpus_of, fresh):
    index = corpus_of([[1, 2]]).index(fresh())
    for run in ([-1], [1, -1], [1 << 16, 1], [1.5, 2]):
        with pytest.raises(ValueError, match="not a token id"):
            index.count(run)
    assert index.count([7, 7]) == index.count([9]) == 0


@pytest.mark.parametrize("name", shard.FILES)
def test_a_shortened_file_is_damage(corpus_of, fresh, name):
    folder = fresh()
    corpus_of([[1, 2, 3], [4]]).index(folder)
    path = folder / "shard-00000" / name
    data = path.read_bytes()
    path.unlink()  # not written through the link to the kept shard
    path.write_bytes(data[:-1])
    with pytest.raises(DamagedError, match=name):
        Index(folder)
    path.unlink()
    with pytest.raises(DamagedError, match="is missing"):
        Index(folder)


@pytest.mark.parametrize("name", shard.FILES)
def test_a_flipped_bit_is_found_and_never_crashes(corpus_of, fresh, name):
    folder = fresh()
    index = corpus_of([[1, 2, 3] * 30, [4]]).index(folder)
    index.verify()
    path = folder / "shard-00000" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.unlink()
    path.write_bytes(data)
    try:
        damaged = Index(folder)
    except DamagedError:
        return
    damaged.count([1, 2, 3])
    with pytest.raises(DamagedError, match=name):
        damaged.verify()


@pytest.mark.parametrize(
    ("name", "text"), [("manifest.json", "{"), ("manifest.json", "{}"), ("shard-00000/manifest.json", "[]")]
)
def test_a_broken_manifest_is_damage(corpus_of, fresh, name, text):
    folder = fresh()
    corpus_of([[1]]).index(folder)
    (folder / name).unlink()
    (folder / name).write_text(text)
    with pytest.raises(DamagedError, match="manifest"):
        Index(folder)


def test_nothing_to_index_is_said(corpus_of, fresh):
    with pytest.raises(TextmillError, match="holds no document"):
        corpus_of([]).index(fresh())
