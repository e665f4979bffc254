"""Clusters by chains of pairs: a union-find over numbered things, numpy where many are asked at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Clusters:
    """Things 0 .. n - 1, each at first alone. The root of a cluster is its lowest number: 8 bytes a thing."""

    def __init__(self, number: int) -> None:
        self._parents = np.arange(number)

    def roots(self, things: NDArray[np.int64]) -> NDArray[np.int64]:
        """The root of each."""
        found = self._parents[things]
        while True:
            above = self._parents[found]
            if np.array_equal(above, found):
                return found
            found = above

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
            thing = above
        return thing
