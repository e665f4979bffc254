"""Clusters by chains of pairs: a union-find over numbered things, numpy where many are asked at once.

Of five things, the pairs (3, 1) and (4, 3) make one cluster 1, 3, 4, whose root is 1; 0 and 2 stay alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Clusters:
    """Things 0 .. n - 1, each at first alone. The root of a cluster is its lowest number: 8 bytes a thing."""

    def __init__(self, number: int) -> None:
        self._parents = np.arange(number)

    def roots(self, things: NDArray[np.int64]) -> NDArray[np.int64]:
        """The root of each."""
        roots = self._parents[things]
        while True:
            above = self._parents[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def join(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        """Each of `left` and its partner in `right` become one cluster; the order makes no difference."""
        for one, other in zip(self.roots(left).tolist(), self.roots(right).tolist(), strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            self._parents[high] = low

    def flatten(self) -> None:
        """Shorten all ways to the roots; takes a look at every thing."""
        self._parents = self.roots(self._parents)

    def shared(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(things, roots) of clusters with more than one member, things rising."""
        self.flatten()
        sizes = np.bincount(self._parents, minlength=len(self._parents))
        things = np.flatnonzero(sizes[self._parents] > 1)
        return things, self._parents[things]

    def _root(self, thing: int) -> int:
        while (above := int(self._parents[thing])) != thing:
            self._parents[thing] = self._parents[above]  # path halving: the way is shorter for who comes next
            thing = above
        return thing


def joined(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The sets of names that pairs hold together.

    >>> joined([("a", "b"), ("c", "d"), ("e", "b")])
    [['a', 'b', 'e'], ['c', 'd']]
    """
    pairs = list(pairs)
    numbers = {name: at for at, name in enumerate(dict.fromkeys(itertools.chain.from_iterable(pairs)))}
    clusters = Clusters(len(numbers))
    ends = np.array([numbers[name] for pair in pairs for name in pair], np.int64)
    clusters.join(ends[::2], ends[1::2])
    sets: dict[int, list[str]] = {}
    for name, root in zip(numbers, clusters.roots(np.arange(len(numbers))).tolist(), strict=True):
        sets.setdefault(root, []).append(name)
    return list(sets.values())
