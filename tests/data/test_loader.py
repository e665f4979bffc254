from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.clock import median_seconds
from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Loader, evaluation_batches
from textmill.data.packing import BestFitPacking, RunningPacking

LENGTHS = [5, 40, 0, 17, 100, 3, 3, 64, 9]
PACKINGS = pytest.mark.parametrize("packing", [RunningPacking, BestFitPacking])
quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def same(one: Batch, two: Batch) -> bool:
    pairs = [(getattr(one, field.name), getattr(two, field.name)) for field in fields(Batch)]
    return all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in pairs)


@PACKINGS
def test_ranks_stacked_are_the_batch_of_one(make_store, packing):
    loader = Loader(packing(make_store(LENGTHS), 16), 8, seed=3)
    for step in (0, 1, 7, 1000):
        whole = loader.batch(step)
        assert whole.inputs.shape == (8, 16)
        assert whole.inputs.dtype == whole.targets.dtype == torch.int64
        for world in (1, 2, 4, 8):
            parts = [loader.batch(step, rank, world) for rank in range(world)]
            assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
            assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
            for rank, part in enumerate(parts):
                assert same(part, whole.rows(rank * 8 // world, (rank + 1) * 8 // world))


@PACKINGS
def test_a_batch_is_a_pure_function(make_store, packing):
    loader = Loader(packing(make_store(LENGTHS), 16), 4, seed=3)
    first = [loader.batch(step) for step in range(6)]
    again = Loader(packing(make_store(LENGTHS), 16), 4, seed=3)
    for step in (5, 0, 3, 1, 4, 2):
        assert same(again.batch(step), first[step])
    other = Loader(packing(make_store(LENGTHS), 16), 4, seed=4)
    assert not all(same(other.batch(step), first[step]) for step in range(6))


@quick
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(0, 2**63),
    st.booleans(),
)
def test_an_epoch_reads_every_token_once_and_the_next_in_another_order(
    make_store, lengths, batch, seed, running
):
    store = make_store(lengths)
    packing = (RunningPacking if running else BestFitPacking)(store, 8)
    loader = Loader(packing, batch, seed)
    places = [loader._rows(step) for step in range(len(packing) * 2)]  # `batch` epochs of two
    places = [(p, s) for rows in places for p, s in zip(rows.places, rows.scored, strict=True)]
    for epoch in range(2 * batch):
        part = places[epoch * len(packing) : (epoch + 1) * len(packing)]
        scored = np.concatenate([p[s] for p, s in part])
        assert np.array_equal(np.sort(scored), np.arange(store.tokens))


def test_epochs_differ(make_store):
    packing = RunningPacking(make_store([2000]), 8)
    loader = Loader(packing, len(packing), seed=0)
    one, two = loader.batch(0), loader.batch(1)
    assert not torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.inputs.sort(dim=0).values, two.inputs.sort(dim=0).values)


def test_ranks_that_cannot_share_are_refused(make_store):
    loader = Loader(RunningPacking(make_store(LENGTHS), 16), 6, seed=0)
    with pytest.raises(RecipeError, match="6 sequences cannot be shared evenly by 4 ranks"):
        loader.batch(0, 0, 4)
    for step, rank, world in ((-1, 0, 1), (0, 2, 2), (0, -1, 2)):
        with pytest.raises(IndexError):
            loader.batch(step, rank, world)


@PACKINGS
def test_the_documents_of_a_step(make_store, packing):
    store = make_store(LENGTHS)
    loader = Loader(packing(store, 16), 4, seed=1)
    names = {store.document_id(place) for place in range(len(store))}
    for step in range(10):
        found = loader.documents(step)
        assert {name for name, _ in found} <= names
        assert len({name for name, _ in found}) == len(found)
        assert sum(count for _, count in found) == int((loader.batch(step).targets != IGNORE).sum())
        assert [count for _, count in found] == sorted((count for _, count in found), reverse=True)
    whole = Loader(packing(store, 16), len(packing(store, 16)), seed=1).documents(0)
    expected: Counter = Counter()
    for place in range(len(store)):  # documents of one text share their id
        expected[store.document_id(place)] += len(store.document(place))
    assert dict(whole) == dict(expected)


@quick
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(1, 300)),
    st.data(),
)
def test_evaluation_scores_each_token_once_and_says_whose_it_is(
    make_store, lengths, sequence, batch, tokens, data
):
    store = make_store(lengths)
    overlap = data.draw(st.integers(0, sequence - 1))
    seen: Counter = Counter()
    for scored in evaluation_batches(store, sequence, batch, overlap=overlap, tokens=tokens):
        assert scored.documents.shape == scored.batch.targets.shape
        shape = scored.batch.inputs.shape
        assert shape.numel() <= batch * sequence  # never more is read at once than was asked for,
        assert shape[1] <= max(
            len(store.document(number)) for number in range(len(store))
        )  # or than there is
        assert torch.equal(scored.documents == -1, scored.batch.targets == IGNORE)
        for document, target in zip(
            scored.documents.flatten().tolist(), scored.batch.targets.flatten().tolist(), strict=True
        ):
            if document >= 0:
                seen[document, target] += 1
    expected = Counter((d, int(t)) for d in range(len(store)) for t in store.document(d))
    if tokens is None:
        assert seen == expected
    else:
        assert seen <= expected
        assert seen.total() == min(tokens, store.tokens)


@quick
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=3),
    st.integers(6, 40),
    st.booleans(),
    st.data(),
)
def test_every_window_begins_as_the_tokenizer_begins_a_text(
    make_store, lengths, opening, sequence, end, data
):
    """Before each target a model reads the opening and then the text as it stands, from its beginning or further on."""
    store = make_store(lengths)
    store.opening = tuple(opening)
    overlap = data.draw(st.integers(0, sequence - len(opening) - 1))
    documents = [store.document(number).tolist() for number in range(len(store))]
    seen: Counter = Counter()
    for scored in evaluation_batches(store, sequence, 2, overlap=overlap, end=end):
        batch = scored.batch
        parts = torch.zeros_like(batch.inputs) if batch.documents is None else batch.documents
        for row, place in (batch.targets != IGNORE).nonzero().tolist():
            owner, target = scored.documents[row, place].item(), batch.targets[row, place].item()
            read = batch.inputs[row, : place + 1][parts[row, : place + 1] == parts[row, place]].tolist()
            assert read[: len(opening)] == opening
            before, ids = read[len(opening) :], documents[owner]
            ends = [
                at for at, token in enumerate(ids) if token == target and ids[:at][-len(before) :] == before
            ]
            assert len(before) >= overlap or any(at == len(before) for at in ends)
            assert any(len(before) <= at for at in ends) if before else ids[0] == target
            seen[owner, target] += 1
    assert seen == Counter((d, t) for d, ids in enumerate(documents) for t in (ids if end else ids[:-1]))


def test_the_sample_is_the_same_each_time(make_store):
    store = make_store([30] * 50)
    one, two = ([s.documents for s in evaluation_batches(store, 16, 4, tokens=200)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    documents = {int(d) for part in one for d in part.flatten()} - {-1}
    assert len(documents) == 7  # 6 whole ones of 31 tokens and the beginning of another
    assert documents != set(range(7))


def test_batch_rows_and_devices():
    batch = Batch(
        torch.arange(12).reshape(4, 3), torch.arange(12).reshape(4, 3), mask=torch.ones(4, 3).bool()
    )
    part = batch.rows(1, 3)
    assert len(part) == 2
    assert part.inputs.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert part.mask.shape == (2, 3)
    assert part.documents is None
    assert batch.to("meta").inputs.device.type == "meta"
    with pytest.raises(AttributeError):
        batch.inputs = batch.targets


@pytest.mark.figures
@PACKINGS
def test_a_batch_takes_about_a_millisecond(make_store, packing):
    loader = Loader(packing(make_store([300] * 2000), 256), 12, seed=0)
    loader.batch(0)
    assert median_seconds(loader.batch, range(200)) < 2e-3
