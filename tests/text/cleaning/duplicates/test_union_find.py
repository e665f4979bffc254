from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.text.cleaning.duplicates.union_find import Clusters, joined


def components(number, pairs):
    """The component of each of so many things, found by going through all pairs again and again."""
    reach = {n: {n} for n in range(number)}
    for _, (a, b) in itertools.product(range(number), pairs):
        reach[a] = reach[b] = reach[a] | reach[b]
        for member in reach[a]:
            reach[member] = reach[a]
    return reach


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=15))
@settings(deadline=None)
def test_clusters_are_connected_components(number, pairs):
    pairs = [(a % number, b % number) for a, b in pairs]
    clusters = Clusters(number)
    half = len(pairs) // 2
    for some in (pairs[:half], pairs[half:]):
        clusters.join(*np.array(some, np.int64).reshape(-1, 2).T)
    reach = components(number, pairs)
    assert clusters.roots(np.arange(number)).tolist() == [min(reach[n]) for n in range(number)]
    things, roots = clusters.shared()
    assert things.tolist() == [n for n in range(number) if len(reach[n]) > 1]
    assert roots.tolist() == [min(reach[n]) for n in things]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_names_are_joined_likewise(pairs):
    reach = components(10, pairs)
    named = {n for pair in pairs for n in pair}
    found = joined((str(one), str(other)) for one, other in pairs)
    expected = {tuple(sorted(map(str, reach[n]))) for n in named}
    assert sorted(tuple(sorted(names)) for names in found) == sorted(expected)
