"""How often, and where, a string stands in the texts an index was made of, however they are cut into tokens.

A tokenizer may cut `cat` out of `a cat` as ` cat`, out of `concat` as `con cat` or `conc at`, and keep `scatter` whole.
So an occurrence begins anywhere in a token and ends anywhere in one. It is sought by what it begins with:

    inside one token, after its first byte     scatter           the tokens that hold the string so
    after L of its bytes in a token before     con c|at, s c|at  runs for the rest of it, behind any token that ends in
                                                                 its first L bytes
    where a token begins                       cat, c at         runs for all of it

A run for some bytes is a sequence of tokens that begins with them and only whose last may go on behind them. Runs are
built token by token, and those that stand nowhere are given up at once, so there are few. Each occurrence belongs to
one run and one L, so their numbers add up: they are exact. Occurrences that overlap are counted each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from textmill.index.search import Index
from textmill.index.shard import Shard

_FEW = 16  # tokens that are looked up one by one, rather than among all that follow
_BLOCK = 1 << 20  # positions looked at in one turn


@dataclass(frozen=True, slots=True)
class Cover:
    """Occurrences of one form: behind `before` a run of tokens, and then one of `last`."""

    before: NDArray[
        np.int64
    ]  # (k,) tokens that end in the first `bytes` bytes of the string; none: it begins the run
    bytes: int
    run: tuple[int, ...]
    last: NDArray[np.int64]  # (l,)


@dataclass(frozen=True, slots=True, order=True)
class Occurrence:
    """A string in a shard: it begins `skip` bytes into the token at position `at`, and ends in that at `end` - 1."""

    shard: int
    at: int
    skip: int
    end: int


class Strings:
    """The strings of an index, by the bytes each of its tokens stands for (none for a special token)."""

    def __init__(self, index: Index, token_bytes: Sequence[bytes]) -> None:
        self._index = index
        self._bytes = list(token_bytes)
        self._longest = max(map(len, self._bytes), default=0)

    def count(self, text: str) -> int:
        """How often a text stands in a document, occurrences that overlap counted each. Raises ValueError for none."""
        wanted = _wanted(text)
        tokens, times = self._inside(wanted)
        inside = int((self._index.unigrams[tokens] * times).sum())
        return inside + sum(self._number(cover) for cover in self._covers(wanted))

    def find(self, text: str, limit: int | None = None) -> tuple[list[Occurrence], int]:
        """Its first `limit` occurrences, in the order of the corpus, and the number of documents it stands in.

        Raises ValueError for an empty text.
        """
        wanted = _wanted(text)
        occurrences: list[Occurrence] = []
        documents = 0
        for number, shard in enumerate(self._index.shards):
            rows = np.concatenate([np.empty((0, 3), np.int64), *self._rows(shard, wanted)])
            documents += len(np.unique(shard.documents_at(rows[:, 0])))
            order = np.lexsort(rows.T[::-1])[: None if limit is None else limit - len(occurrences)]
            occurrences += [Occurrence(number, *row) for row in rows[order].tolist()]
        return occurrences, documents

    def _rows(self, shard: Shard, wanted: bytes) -> Iterator[NDArray[np.int64]]:
        """(n, 3) `at`, `skip` and `end` of the occurrences of one form in a shard."""
        for token in self._inside(wanted)[0].tolist():
            at = self._of(shard, token)
            for skip in _places(self._bytes[token], wanted):
                yield np.stack([at, np.full_like(at, skip), at + 1], axis=1)
        lengths = np.array([len(data) for data in self._bytes], np.int64)
        for cover in self._covers(wanted):
            run = self._positions(shard, cover)
            first = run - 1 if cover.bytes else run
            skip = lengths[shard.ids[first]] - cover.bytes if cover.bytes else np.zeros_like(run)
            yield np.stack([first, skip, run + len(cover.run) + 1], axis=1)

    # --- tokens by what they begin and end with -------------------------------------------------------------------
    @cached_property
    def _forward(self) -> tuple[list[bytes], NDArray[np.int64]]:
        """The bytes of all tokens that have some, sorted, and the token of each."""
        return _sorted([(data, token) for token, data in enumerate(self._bytes) if data])

    @cached_property
    def _backward(self) -> tuple[list[bytes], NDArray[np.int64]]:
        """The same of their bytes from the last to the first."""
        return _sorted([(data[::-1], token) for token, data in enumerate(self._bytes) if data])

    @cached_property
    def _exactly(self) -> dict[bytes, list[int]]:
        tokens: dict[bytes, list[int]] = {}
        for token, data in enumerate(self._bytes):
            if data:
                tokens.setdefault(data, []).append(token)
        return tokens

    def _beginning(self, head: bytes) -> NDArray[np.int64]:
        return _range(*self._forward, head)

    def _ending(self, tail: bytes) -> NDArray[np.int64]:
        """Tokens that end in some bytes and have others before."""
        tokens = _range(*self._backward, tail[::-1])
        return tokens[[len(self._bytes[token]) > len(tail) for token in tokens.tolist()]]

    def _inside(self, wanted: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens that hold a string behind their first byte, and how often each does."""
        held = [
            (token, len(_places(data, wanted)))
            for token, data in enumerate(self._bytes)
            if len(data) > len(wanted) and data.find(wanted, 1) > 0
        ]
        columns = np.array(held, np.int64).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]

    # --- runs -----------------------------------------------------------------------------------------------------
    def _covers(self, wanted: bytes) -> Iterator[Cover]:
        nothing = np.empty(0, np.int64)
        for run, last in self._runs(wanted):
            yield Cover(nothing, 0, run, last)
        for size in range(1, min(len(wanted), self._longest)):
            before = self._ending(wanted[:size])
            before = before[self._index.unigrams[before] > 0]
            if len(before):
                for run, last in self._runs(wanted[size:]):
                    yield Cover(before, size, run, last)

    def _runs(self, wanted: bytes) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
        """(run, the tokens that may end it) of all runs for some bytes of which all but the end stands somewhere."""
        pending: list[tuple[tuple[int, ...], int]] = [((), 0)]
        while pending:
            run, at = pending.pop()
            last = self._beginning(wanted[at:])
            last = last[self._index.unigrams[last] > 0]
            if len(last):
                yield run, last
            for size in range(1, min(self._longest, len(wanted) - at - 1) + 1):
                for token in self._exactly.get(wanted[at : at + size], ()):
                    longer = (*run, token)
                    if self._index.count(longer):
                        pending.append((longer, at + size))

    def _number(self, cover: Cover) -> int:
        index = self._index
        if cover.bytes:
            return sum(len(self._positions(shard, cover)) for shard in index.shards)
        if not cover.run:
            return int(index.unigrams[cover.last].sum())
        if len(cover.last) <= _FEW:
            return sum(index.count((*cover.run, token)) for token in cover.last.tolist())
        ids, counts = index.next_counts(cover.run)
        return int(counts[np.isin(ids, cover.last)].sum())

    def _positions(self, shard: Shard, cover: Cover) -> NDArray[np.int64]:
        """(n,) where in a shard the run of a cover begins, its last token where it has no other."""
        before, last = self._mask(cover.before), self._mask(cover.last)
        if cover.run or not cover.bytes:
            positions = self._behind(shard, cover.run, cover.last)
        elif shard.unigrams[cover.before].sum() < shard.unigrams[cover.last].sum():
            positions = _together([self._of(shard, token) for token in cover.before.tolist()]) + 1
        else:
            positions = _together([self._of(shard, token) for token in cover.last.tolist()])
        found = []
        for start in range(0, len(positions), _BLOCK):
            block = positions[start : start + _BLOCK]
            ended = block + len(cover.run)
            block, ended = block[ended < shard.size], ended[ended < shard.size]
            right = last[shard.ids[ended]]
            if cover.bytes:
                right &= before[shard.ids[block - 1]]
            found.append(block[right])
        return np.sort(_together(found))

    def _behind(self, shard: Shard, run: tuple[int, ...], last: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of a run in a shard, or, where few tokens may end it, those of the run with one of them."""
        if len(last) > _FEW and run:
            return self._of(shard, *run)
        return _together([self._of(shard, *run, token) for token in last.tolist()])

    def _of(self, shard: Shard, *run: int) -> NDArray[np.int64]:
        pattern = self._index.pattern(run)
        low, high = shard.find(pattern) if pattern else (0, 0)
        return shard.suffixes[low:high].astype(np.int64)

    def _mask(self, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.zeros(self._index.vocabulary, bool)
        mask[tokens] = True
        return mask


def _wanted(text: str) -> bytes:
    if not text:
        raise ValueError("an empty text cannot be searched for")
    return text.encode("utf-8")


def _together(blocks: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *blocks])


def _sorted(pairs: list[tuple[bytes, int]]) -> tuple[list[bytes], NDArray[np.int64]]:
    pairs.sort()
    return [data for data, _ in pairs], np.array([token for _, token in pairs], np.int64)


def _range(names: list[bytes], tokens: NDArray[np.int64], head: bytes) -> NDArray[np.int64]:
    """The tokens whose names begin so."""
    low = bisect_left(names, head)
    high = bisect_left(names, head + b"\xff" * 8, low) if head else len(names)
    while high < len(names) and names[high].startswith(head):
        high += 1
    return tokens[low:high]


def _places(data: bytes, wanted: bytes) -> list[int]:
    """Where in a token a string begins, behind its first byte; places that overlap, too."""
    places, at = [], data.find(wanted, 1)
    while at > 0:
        places.append(at)
        at = data.find(wanted, at + 1)
    return places
