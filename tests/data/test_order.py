from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data.order import key, permute, permute_many

KEYS = st.integers(0, 2**64 - 1)


@settings(deadline=None)
@given(st.integers(1, 3000), KEYS)
def test_every_place_is_taken_exactly_once(size, name):
    assert np.array_equal(np.sort(permute_many(np.arange(size), size, name)), np.arange(size))


@settings(deadline=None)
@given(st.integers(1, 2**60), KEYS, st.data())
def test_one_place_at_a_time_gives_the_same_and_stays_inside(size, name, data):
    indices = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20, unique=True))
    together = permute_many(np.array(indices), size, name).tolist()
    assert together == [permute(index, size, name) for index in indices]
    assert len(set(together)) == len(indices)
    assert all(0 <= place < size for place in together)


def test_places_outside_the_range_are_refused():
    for index in (-1, 7):
        with pytest.raises(IndexError):
            permute(index, 7, 1)
    assert permute_many(np.zeros(0, dtype=np.int64), 7, 1).shape == (0,)


@pytest.mark.parametrize("size", [2, 3, 5, 7, 8, 17, 100])
def test_every_value_is_equally_likely_at_every_place(size):
    """Chi-squared over many keys; the bound is mean plus five standard deviations of each place's statistic."""
    times = 1200
    counts = np.zeros((size, size))
    for number in range(times):
        counts[np.arange(size), permute_many(np.arange(size), size, key("test", number))] += 1
    expected = times / size
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
    assert statistic.max() < (size - 1) + 5 * np.sqrt(2 * (size - 1)) + 5


def test_neighbours_scatter():
    """As for a random permutation: neighbours end up a third of the range apart on average, about one fixed
    point, half of all neighbours in rising order, and no memory of the order under another key."""
    size = 20_000
    one, two = (permute_many(np.arange(size), size, key("epoch", 0, epoch)) for epoch in (0, 1))
    assert abs(np.abs(np.diff(one)).mean() / size - 1 / 3) < 0.01
    assert np.count_nonzero(one == np.arange(size)) < 8
    assert abs((np.diff(one) > 0).mean() - 0.5) < 0.02
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
    assert abs(np.corrcoef(one, np.arange(size))[0, 1]) < 0.03


def test_the_order_never_changes_between_versions():
    """Runs that resume under a later version must see the same batches: these numbers are a promise."""
    assert key("epoch", 0, 0) == 1007471477131229004
    assert permute_many(np.arange(10), 10, key("epoch", 0, 0)).tolist() == [9, 4, 2, 1, 7, 0, 6, 5, 8, 3]


def test_a_key_tells_its_parts_apart():
    assert len({key(1, 2), key(2, 1), key(12), key("1", 2), key("12")}) == 5
