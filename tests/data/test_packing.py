from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE
from textmill.data.packing import NOWHERE, BestFitPacking, RunningPacking, best_fit

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=25)
SEQUENCE = st.integers(1, 17)
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def all_rows(packing):
    return packing.rows(np.arange(len(packing)))


def check_every_token_is_a_target_once(packing):
    """And each target's input is the token before it, an end of text before a document's first."""
    store, rows = packing.store, all_rows(packing)
    assert np.array_equal(np.sort(rows.places[rows.scored]), np.arange(store.tokens))
    batch = rows.batch(store)
    real = rows.places != NOWHERE
    assert np.array_equal(batch.inputs.numpy()[~real], np.full((~real).sum(), store.pad))
    starts = np.isin(rows.places, store.offsets[:-1])
    assert (batch.inputs.numpy()[starts] == store.end).all()
    targets = batch.targets.numpy()
    assert np.array_equal(targets[rows.scored], store.ids[rows.places[rows.scored]])
    assert (targets[~rows.scored] == IGNORE).all()
    assert (targets == store.end).sum() == len(store)  # the end of every document is learnt
    return batch, rows


@quick
@given(LENGTHS, SEQUENCE)
def test_running(make_store, lengths, sequence):
    store = make_store(lengths)
    packing = RunningPacking(store, sequence)
    batch, rows = check_every_token_is_a_target_once(packing)
    assert batch.documents is None
    assert (batch.mask is not None) == (store.tokens < sequence)  # padding only when there is less than a row
    for row in range(len(packing)):  # a row reads on without a gap
        real = rows.places[row][rows.places[row] != NOWHERE]
        assert np.array_equal(np.diff(real), np.ones(len(real) - 1))
        assert np.array_equal(batch.inputs[row, 1 : len(real)], store.ids[real[:-1]])


@quick
@given(LENGTHS, SEQUENCE, st.data())
def testbest_fit(make_store, lengths, sequence, data):
    store = make_store(lengths)
    overlap = data.draw(st.integers(0, sequence - 1))
    packing = BestFitPacking(store, sequence, overlap)
    batch, rows = check_every_token_is_a_target_once(packing)
    real = batch.mask.numpy()
    assert np.array_equal(real, rows.places != NOWHERE)
    owners = store.documents_at(rows.places)
    for row in range(len(packing)):
        for number in np.unique(rows.documents[row]):
            part = rows.documents[row] == number
            assert len(np.unique(real[row, part])) == 1  # padding is never in one part with tokens
            if real[row, part].any():  # a part is a stretch of one document, its context first
                assert len(np.unique(owners[row, part])) == 1
                assert (np.diff(rows.places[row, part]) == 1).all()
                assert (np.diff(rows.scored[row, part].astype(int)) >= 0).all()
                assert (~rows.scored[row, part]).sum() in (0, overlap)
    assert 0 < packing.filled <= 1


@quick
@given(LENGTHS, SEQUENCE, st.booleans())
def test_rows_do_not_depend_on_the_rows_beside_them(make_store, lengths, sequence, running):
    packing = (RunningPacking if running else BestFitPacking)(make_store(lengths), sequence)
    rows = all_rows(packing)
    for row in range(len(packing)):
        alone = packing.rows(np.array([row]))
        assert np.array_equal(alone.places[0], rows.places[row])
        assert np.array_equal(alone.scored[0], rows.scored[row])


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=80))
def testbest_fit_matches_the_textbook(sizes):
    """The rule written out naively: largest first, into the row with the least room that fits."""
    room: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [place for place, left in enumerate(room) if left >= size]
        if fitting:
            room[min(fitting, key=lambda place: room[place])] -= size
        else:
            room.append(20 - size)
    order, rows = best_fit(np.array(sizes), 20)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    filled = [int(np.array(sizes)[order[a:b]].sum()) for a, b in itertools.pairwise(rows)]
    assert all(0 < total <= 20 for total in filled)
    assert sorted(20 - total for total in filled) == sorted(room)


def test_by_hand(make_store):
    store = make_store([2, 5])  # ids: a b E c d e f g E at places 0 to 8
    end = store.end
    ids = store.ids.tolist()
    running = all_rows(RunningPacking(store, 4)).batch(store)
    assert running.inputs.tolist() == [[end, *ids[0:3]], ids[3:7], ids[4:8]]
    assert running.targets.tolist() == [ids[0:4], ids[4:8], [IGNORE, IGNORE, IGNORE, ids[8]]]
    fitted = all_rows(BestFitPacking(store, 4)).batch(store)
    assert fitted.inputs.tolist() == [
        [end, *ids[3:6]],
        [end, *ids[0:2], store.pad],
        [*ids[6:8], store.pad, store.pad],
    ]
    assert fitted.targets.tolist() == [ids[3:7], [*ids[0:3], IGNORE], [*ids[7:9], IGNORE, IGNORE]]
    assert fitted.documents.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]]
    assert fitted.mask.tolist() == [[True] * 4, [True] * 3 + [False], [True] * 2 + [False] * 2]


def test_a_store_shorter_than_a_row_is_padded(make_store):
    store = make_store([2])
    batch = all_rows(RunningPacking(store, 5)).batch(store)
    assert batch.mask.tolist() == [[True, True, True, False, False]]
    assert batch.targets.tolist() == [[*store.ids.tolist(), IGNORE, IGNORE]]


def test_nothing_to_pack_is_said(make_store):
    for packing in (RunningPacking, BestFitPacking):
        with pytest.raises(TextmillError, match="no document"):
            packing(make_store([]), 8)
    with pytest.raises(ValueError, match="overlap"):
        BestFitPacking(make_store([3]), 8, overlap=8)


def testbest_fit_wastes_little_and_takes_little_time():
    sizes = np.random.default_rng(0).integers(1, 512, 100_000)
    order, rows = best_fit(sizes, 512)
    assert sizes.sum() / (512 * (len(rows) - 1)) > 0.995
    assert len(order) == len(sizes)


@pytest.mark.parametrize("packing", [RunningPacking, BestFitPacking])
def test_documents_are_learnt_behind_what_their_tokenizer_puts_before_a_text(make_store, packing):
    """A store says what that is; all else of the rows stays as it is."""
    store = make_store([5, 40, 0, 17, 3])
    every = np.arange(len(packing(store, 16)))
    plain = packing(store, 16).rows(every).batch(store)
    places = packing(store, 16).rows(every).places
    store.opening = (7, 9)
    opened = packing(store, 16).rows(every).batch(store)
    first = torch.from_numpy(np.isin(places, store.offsets[:-1]))
    assert int(first.sum()) >= len(store)
    assert (plain.inputs[first] == store.end).all()
    assert (opened.inputs[first] == 9).all()
    assert torch.equal(opened.inputs[~first], plain.inputs[~first])
    assert torch.equal(opened.targets, plain.targets)
    assert (store.after_end().opening, store.after_end() is store) == ((store.end,), True)
