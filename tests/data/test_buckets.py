"""Buckets: little padding, every row once, the same on any number of ranks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.clock import median_seconds
from helpers.loaders import check_steps_of
from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE
from textmill.data.buckets import BucketLoader, _cuts, idle
from textmill.data.examples import ExampleStore, write_examples
from textmill.data.loader import Batching
from textmill.objectives.pairs import PAIRS, PairsReader, PairsView
from textmill.specs.objective import PairsObjective
from textmill.text.document import collected

quick = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def pairs(tmp_path, tokenizer):
    """Pairs of these lengths of source and target, every one of them different."""

    def make(lengths):
        documents = []
        for number, (source, target) in enumerate(lengths):
            text = f"{number}".ljust(source, "s")
            texts = {"source": text, "target": chr(97 + number % 26) * target}
            documents.append(collected(texts, f"{number}"))
        write_examples(tmp_path / "pairs", documents, PairsReader(PairsObjective(), tokenizer))
        return ExampleStore(tmp_path / "pairs")

    return make


def many(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Lengths of sentences and their translations, as data sets have them: log-normal, of a mean of about 27."""
    generator = np.random.default_rng(seed)
    sources = np.clip(generator.lognormal(3.1, 0.6, count), 6, 120)
    targets = np.clip(sources * generator.normal(1.05, 0.15, count), 1, 120)
    return list(zip(sources.astype(int).tolist(), targets.astype(int).tolist(), strict=True))


def bucketed(store, marked, *, batch=4, seed=0, **keys):
    spec = PairsObjective(**keys)
    return PAIRS.loader(spec, store, Batching(128, batch, seed, "running", marked))


def test_batches_are_full_and_hold_little_padding(pairs, marked):
    loader = bucketed(pairs(many(6000)), marked, batch_tokens=2048)
    real = places = sources = heard = 0
    for step in range(len(loader)):
        batch = loader.batch(step)
        assert batch.targets.numel() <= 2048
        real += int((batch.targets != IGNORE).sum())
        places += batch.targets.numel()
        sources += batch.source.numel()
        heard += batch.source.numel() if batch.source_mask is None else int(batch.source_mask.sum())
    assert real / places >= 0.98
    assert heard / sources >= 0.75  # the more pairs there are, the better: 93 % of 100,000
    assert places / len(loader) >= 0.95 * 2048


@quick
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=40),
    st.one_of(
        st.tuples(st.just("batch"), st.integers(1, 9)), st.tuples(st.just("batch_tokens"), st.integers(1, 99))
    ),
    st.integers(0, 2**63),
)
def test_an_epoch_reads_every_pair_once(pairs, marked, lengths, way, seed):
    view = PairsView(PairsObjective(), pairs(lengths), 128, marked)
    loader = BucketLoader(view, seed=seed, **dict([way]))
    assert loader.steps_per_epoch == len(loader)
    for epoch in range(3):
        steps = range(epoch * len(loader), (epoch + 1) * len(loader))
        rows = np.concatenate([loader.rows(step) for step in steps])
        assert sorted(rows.tolist()) == list(range(len(lengths)))
    for step in range(len(loader)):
        rows = loader.rows(step)
        widest = max(lengths[row][1] for row in rows) + 1
        if way[0] == "batch":
            assert len(rows) <= way[1]
        else:
            assert len(rows) == 1 or len(rows) * widest <= way[1]


def test_no_batch_could_hold_another_row():
    lengths = np.sort(np.random.default_rng(1).integers(1, 50, 500))
    cuts = _cuts(lengths, None, 200)
    for first, last in itertools.pairwise(cuts):
        assert last - first == 1 or (last - first) * lengths[last - 1] <= 200
        if last < len(lengths):
            assert (last + 1 - first) * lengths[last] > 200


def test_a_batch_is_a_pure_function_and_epochs_differ(pairs, marked, equal):
    store = pairs(many(2000))
    one, two, other = (bucketed(store, marked, batch_tokens=512, seed=seed) for seed in (3, 3, 4))
    steps = 3 * len(one)
    for step in (steps - 1, 0, 5, len(one)):
        assert equal(one.batch(step), two.batch(step))
    assert not all(np.array_equal(one.rows(step), other.rows(step)) for step in range(len(one)))
    epochs = [[frozenset(one.rows(e * len(one) + s).tolist()) for s in range(len(one))] for e in range(2)]
    assert epochs[0] != epochs[1]  # another order
    assert set(epochs[0]) != set(epochs[1])  # and other company


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_what_there_is(pairs, marked, world, equal, stacked):
    loader = bucketed(pairs(many(60)), marked, batch_tokens=300)
    for step in range(len(loader)):
        whole = loader.batch(step)
        shares = [loader.batch(step, rank, world) for rank in range(world)]
        sizes = [int((share.targets != IGNORE).any(dim=1).sum()) for share in shares]
        assert sum(sizes) == len(whole)
        assert max(sizes) - min(sizes) <= 1
        assert sum(int((share.targets != IGNORE).sum()) for share in shares) == int(
            (whole.targets != IGNORE).sum()
        )
        if min(sizes):
            assert equal(stacked(shares), whole)
    with pytest.raises(IndexError):
        loader.batch(0, world, world)
    with pytest.raises(IndexError):
        loader.batch(-1)


def test_a_rank_without_a_row_has_nothing_to_learn(pairs, marked):
    loader = bucketed(pairs([(3, 3)]), marked, batch=1)
    shares = [loader.batch(0, rank, 2) for rank in range(2)]
    assert [int((share.targets != IGNORE).sum()) for share in shares] in ([4, 0], [0, 4])
    assert [len(share) for share in shares] == [1, 1]
    batch = shares[0].rows(0, 1)
    empty = idle(type(batch)(batch.inputs, torch.ones(1, 2), labels=torch.zeros(1, dtype=torch.int64)))
    assert empty.targets.isnan().all()
    assert empty.labels.tolist() == [IGNORE]


def test_steps_are_those_of_the_walk(pairs, marked):
    store = pairs(many(80))
    loader = bucketed(store, marked, batch_tokens=256, seed=6)
    steps = 2 * len(loader) + 3
    check_steps_of(loader, map(store.document_id, range(len(store))), steps)


def test_a_sample_of_the_pairs(pairs, marked):
    loader = bucketed(pairs(many(200)), marked, batch=16)
    targets = [int((item.documents >= 0).sum()) for item in loader.evaluation(16, tokens=1000)]
    assert 1000 <= sum(targets) < 1150
    everything = [int((item.documents >= 0).sum()) for item in loader.evaluation(16)]
    assert sum(everything) == int(loader.view.lengths()[0].sum())


def test_wrong_use(pairs, marked):
    store = pairs([(3, 3)])
    view = PairsView(PairsObjective(), store, 16, marked)
    for keys in ({}, {"batch": 1, "batch_tokens": 5}, {"batch": 0}):
        with pytest.raises(ValueError):
            BucketLoader(view, seed=0, **keys)
    with pytest.raises(TextmillError, match="nothing to train on"):
        BucketLoader(PairsView(PairsObjective(), pairs([]), 16, marked), batch=2, seed=0)


@pytest.mark.figures
def test_making_a_batch_takes_few_milliseconds(pairs, marked):
    loader = bucketed(pairs(many(20_000)), marked, batch_tokens=4096)
    loader.batch(0)
    assert median_seconds(loader.batch, range(100)) < 10e-3
