"""From a document to the steps that read it, without walking: against the walk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.loaders import check_steps_of
from textmill.data.batch import IGNORE
from textmill.data.loader import Loader
from textmill.data.order import invert_many, permute_many
from textmill.data.packing import BestFitPacking, RunningPacking

PACKINGS = {"running": RunningPacking, "best-fit": BestFitPacking, "overlapping": None}
quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def packed(kind, store, sequence):
    if kind == "overlapping":
        return BestFitPacking(store, sequence, overlap=sequence // 2)
    return PACKINGS[kind](store, sequence)


@settings(deadline=None)
@given(st.integers(1, 2**60), st.integers(0, 2**64 - 1), st.data())
def test_the_order_is_undone(size, name, data):
    indices = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    assert np.array_equal(invert_many(permute_many(indices, size, name), size, name), indices)
    assert np.array_equal(permute_many(invert_many(indices, size, name), size, name), indices)


def test_values_outside_the_range_are_refused():
    for value in (-1, 7):
        with pytest.raises(IndexError):
            invert_many(np.array([value]), 7, 1)


@quick
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.sampled_from(list(PACKINGS)),
    st.sampled_from([1, 2, 3, 4, 7]),
    st.integers(0, 2**63),
    st.integers(0, 40),
)
def test_steps_are_those_of_the_walk(make_store, lengths, kind, batch, seed, steps):
    store = make_store(lengths)
    loader = Loader(packed(kind, store, 8), batch, seed)
    names = map(store.document_id, range(len(store)))  # texts of equal length are told apart by their number
    check_steps_of(loader, names, steps)


@pytest.mark.parametrize("kind", list(PACKINGS))
@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_ranks_together_read_as_many_targets_of_it(make_store, kind, world):
    """The targets of a document that stands apart in the store, counted in the batches themselves."""
    store = make_store([30, 45, 18, 60])
    loader = Loader(packed(kind, store, 16), 4, seed=5)
    chosen = 1
    ids = store.document(chosen)
    marked = np.zeros(store.tokens, dtype=bool)
    marked[store.offsets[chosen] : store.offsets[chosen + 1]] = True
    steps, tokens = loader.steps_of(store.document_id(chosen), 30)
    expected = dict(zip(steps.tolist(), tokens.tolist(), strict=True))
    for step in range(30):
        count = 0
        for rank in range(world):
            rows, batch = loader._rows(step, rank, world), loader.batch(step, rank, world)
            here = rows.scored & marked[np.maximum(rows.places, 0)]
            assert np.isin(batch.targets.numpy()[here], ids).all()
            assert (batch.targets.numpy()[here] != IGNORE).all()
            count += int(here.sum())
        assert count == expected.get(step, 0)


@pytest.mark.parametrize("kind", list(PACKINGS))
def test_a_whole_epoch_reads_a_document_once(make_store, kind):
    store = make_store([400, 3, 90, 17])
    packing = packed(kind, store, 16)
    loader = Loader(packing, 1, seed=2)
    for index in range(4):
        _, tokens = loader.steps_of(store.document_id(index), 3 * len(packing))
        assert tokens.sum() == 3 * len(store.document(index))


def test_a_document_that_is_not_there_is_read_nowhere(make_store):
    loader = Loader(RunningPacking(make_store([5]), 4), 1, seed=2)
    steps, tokens = loader.steps_of("0" * 32, 100)
    assert len(steps) == len(tokens) == 0
