"""Documents that nearly repeat another: MinHash, locality-sensitive hashing, and a second look at each pair.

A document is the set of its runs of `shingle` words. Signatures of minima (Broder 1997) are cut into bands;
documents that agree in a whole band are compared (Leskovec, Rajaraman & Ullman 2014, section 3.4). What is
compared is the lowest `SAMPLE` hashes of each set (Bar-Yossef et al. 2002): documents of no more runs than that
are compared exactly, longer ones closely enough that hardly a pair of the similarity asked for is missed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import mixed
from textmill.specs.cleaning import NearDuplicatesStep
from textmill.text.cleaning.duplicates.shingles import shingles
from textmill.text.cleaning.duplicates.union_find import Clusters
from textmill.text.document import Document
from textmill.text.step import Mark, Reject, Sketched, Verdict
from textmill.text.words import hashes

SAMPLE = 512  # hashes of a document kept for comparing; 2 kB at most
_FOUND = 0.997  # least share of pairs of exactly the similarity asked for that agree in some band
_MARGIN = 2.6  # standard deviations below the similarity at which an estimate still passes: misses 0.5 %
_ALL = 1 << 32  # hashes are below this
_BLOCK = 1 << 15  # hashes whose minima are taken at once, so that they stay in the processor's cache
_PAIRS = 4096  # compared at once
_BUFFERED = 1 << 16  # documents whose bands are written at once
_LEADERS = 256  # of documents that agree in a band, those that all others are compared with


def bands_and_rows(similarity: float, permutations: int) -> tuple[int, int]:
    """How a signature is cut: as many rows to a band, so as few vain comparisons, as finding permits.

    Documents of similarity s agree in one of b bands of r rows with probability 1 - (1 - s**r)**b.

    >>> bands_and_rows(0.8, 128)
    (21, 6)
    """
    fits = [
        rows
        for rows in range(1, permutations + 1)
        if 1 - (1 - similarity**rows) ** (permutations // rows) >= _FOUND
    ]
    rows = max(fits, default=1)
    return permutations // rows, rows


@functools.cache
def _permutations(number: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """(factors, all odd; summands) of x -> a x + b modulo 2**32; the same on every machine."""
    values = mixed(np.arange(1, 2 * number + 1, dtype=np.uint64)).astype(np.uint32)
    return values[:number] | np.uint32(1), values[number:]


def signatures(values: NDArray[np.uint32], offsets: NDArray[np.int64], number: int) -> NDArray[np.uint32]:
    """(D, number): the minimum of each permutation over each set of hashes; 2**32 - 1 for an empty set."""
    sizes = np.diff(offsets)
    filled = np.flatnonzero(sizes)
    found = np.full((number, len(sizes)), _ALL - 1, np.uint32)
    factors, summands = _permutations(number)
    begin = 0
    while begin < len(filled):
        start = offsets[filled[begin]]
        end = max(begin + 1, int(np.searchsorted(offsets[filled], start + _BLOCK)))
        block = values[start : offsets[filled[end - 1] + 1]]
        bounds = offsets[filled[begin:end]] - start
        permuted = np.empty_like(block)
        for row, factor, summand in zip(found, factors, summands, strict=True):
            np.multiply(block, factor, out=permuted)
            permuted += summand
            row[filled[begin:end]] = np.minimum.reduceat(permuted, bounds)
        begin = end
    return found.T


@dataclass(frozen=True, slots=True)
class _Samples:
    """The lowest hashes of each set, rising, in a file, and how many the set has."""

    path: Path  # (offsets[-1],) uint32
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def compare(
        self, left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each pair: the Jaccard similarity, and by how much it may be off (one standard deviation at
        most, over sqrt(s (1 - s))); 0 when all of both sets was kept, since then it is exact.
        """
        blocks = [
            self._compare(left[at : at + _PAIRS], right[at : at + _PAIRS])
            for at in range(0, len(left), _PAIRS)
        ]
        found = np.concatenate([np.empty((2, 0)), *blocks], axis=1)
        return found[0], found[1]

    def _compare(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        # Mapped anew for each block, so that the pages of those before count as memory no longer.
        values = np.memmap(self.path, "<u4", "r")
        ceilings = np.minimum(self._ceilings(values, left), self._ceilings(values, right))
        below = [self._below(values, sets, ceilings) for sets in (left, right)]
        keys = np.sort(np.concatenate(below))
        pairs, number = (keys >> np.uint64(32)).astype(np.int64), len(left)
        kept = np.bincount(pairs, minlength=number)
        common = np.bincount(pairs[1:][keys[1:] == keys[:-1]], minlength=number)
        union = kept - common
        return np.stack([common / union, np.sqrt((1 - ceilings / _ALL) / union)])

    def _ceilings(self, values: NDArray[np.uint32], sets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Below this hash all of a set was kept."""
        ends = self.offsets[sets + 1]
        whole = ends - self.offsets[sets] == self.sizes[sets]
        return np.where(whole, _ALL, values[ends - 1].astype(np.int64) + 1)

    def _below(
        self, values: NDArray[np.uint32], sets: NDArray[np.int64], ceilings: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        """pair << 32 | hash, of the hashes below each pair's ceiling."""
        sizes = self.offsets[sets + 1] - self.offsets[sets]
        pairs = np.repeat(np.arange(len(sets)), sizes)
        within = np.arange(len(pairs)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        hashes = values[within + self.offsets[sets][pairs]].astype(np.int64)
        low = hashes < ceilings[pairs]
        return ((pairs[low] << 32) | hashes[low]).astype(np.uint64)


class NearDuplicates:
    """Of documents that nearly repeat each other, keep the longest, or mark them all as one cluster.

    Clusters are chains: a document may be in one with another it is less similar to, by those in between.
    """

    name = "near-duplicates"

    def __init__(self, spec: NearDuplicatesStep) -> None:
        self._spec = spec
        self._bands, self._rows = bands_and_rows(spec.similarity, spec.permutations)

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """Of each document: the size of its set, a hash of each band, the lowest hashes; nothing if wordless."""
        words = hashes([document.text for document in documents])
        values, offsets = shingles(words, self._spec.shingle)
        minima = signatures(values, offsets, self._bands * self._rows)
        bands = np.zeros((len(documents), self._bands), np.uint64)
        by_band = minima.reshape(len(documents), self._bands, self._rows)
        for row in range(self._rows):
            bands = mixed(bands ^ by_band[:, :, row])
        sizes = np.diff(offsets)
        heads, samples = sizes.astype("<u4"), values.astype("<u4", copy=False)
        bands = bands.astype("<u8", copy=False)
        return [
            heads[at].tobytes() + bands[at].tobytes() + samples[start : start + min(size, SAMPLE)].tobytes()
            if size
            else b""
            for at, (start, size) in enumerate(zip(offsets.tolist(), sizes.tolist(), strict=False))
        ]

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """Verdicts on all members of a cluster but the best, or marks of all.

        Memory: about 100 bytes a document, and 200 MB; on disk the sketches once more.
        """
        seen = _Gathered(sketches(), scratch, self._bands)
        clusters = Clusters(len(seen.numbers))
        for band in range(self._bands):
            keys = np.fromfile(scratch / f"band-{band}", "<u8")
            self._join(clusters, seen.samples, keys)
            clusters.flatten()
        members, roots = clusters.shared()
        best = _longest(members, roots, seen.characters[members])
        numbers = seen.numbers[members].tolist()
        if self._spec.action == "mark":
            for number, other in zip(numbers, best.tolist(), strict=True):
                yield number, Mark({"cluster": seen.id(other)})
            return
        similar, _ = seen.samples.compare(members, best)
        for at, (member, other) in enumerate(zip(members.tolist(), best.tolist(), strict=True)):
            if member != other:
                detail = f"id {seen.id(other)}, similarity {similar[at]:.2f}"
                yield numbers[at], Reject("nearly repeats another document", detail)

    def _join(self, clusters: Clusters, samples: _Samples, keys: NDArray[np.uint64]) -> None:
        """Compare documents whose band is the same, and join those that are similar.

        Turn by turn, the first of each run of equal keys is compared with the others of the run that are not
        yet in its cluster, and leaves it.
        """
        members, sizes = _runs_of_equals(keys)
        for _ in range(_LEADERS):
            roots = clusters.roots(members)
            leaders = np.repeat(_firsts(sizes), sizes)
            apart = roots != roots[leaders]
            if not apart.any():
                return
            left, right = members[leaders][apart], members[apart]
            similar = self._similar(samples, left, right)
            clusters.join(left[similar], right[similar])
            # The first of a run leaves it; so does the whole run, once it is one cluster.
            split = np.add.reduceat(apart, _firsts(sizes)) > 0
            stay = np.repeat(split, sizes)
            stay[_firsts(sizes)] = False
            members, sizes = members[stay], sizes[split] - 1

    def _similar(
        self, samples: _Samples, left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        similarity, error = samples.compare(left, right)
        wanted = self._spec.similarity
        return similarity >= wanted - _MARGIN * error * np.sqrt(wanted * (1 - wanted)) - 1e-12


class _Gathered:
    """The sketches of all documents that have words: bands and samples on disk, the rest in memory."""

    def __init__(self, sketches: Iterable[Sketched], scratch: Path, bands: int) -> None:
        numbers, characters, sizes, kept = [], [], [], []
        names = bytearray()
        waiting: list[bytes] = []
        head = 4 + 8 * bands
        columns = [np.empty(0, np.int64)] * 4
        files = [open(scratch / f"band-{band}", "wb") for band in range(bands)]  # noqa: SIM115 (closed below)
        samples = open(scratch / "samples", "wb")  # noqa: SIM115

        def flush() -> None:
            rows = np.frombuffer(b"".join(waiting), "<u8").reshape(len(waiting), bands)
            for band, file in enumerate(files):
                file.write(np.ascontiguousarray(rows[:, band]).data)
            for at, values in enumerate((numbers, characters, sizes, kept)):
                columns[at] = np.concatenate([columns[at], np.array(values, np.int64)])
                values.clear()
            waiting.clear()

        try:
            for item in sketches:
                if not item.sketch:
                    continue
                numbers.append(item.number)
                characters.append(item.characters)
                names += bytes.fromhex(item.id)
                sizes.append(int.from_bytes(item.sketch[:4], "little"))
                kept.append((len(item.sketch) - head) // 4)
                waiting.append(item.sketch[4:head])
                samples.write(item.sketch[head:])
                if len(waiting) == _BUFFERED:
                    flush()
            flush()
        finally:
            for file in (*files, samples):
                file.close()
        self.numbers, self.characters, counts, lengths = columns
        self._names = names
        self.samples = _Samples(scratch / "samples", np.concatenate([[0], np.cumsum(lengths)]), counts)

    def id(self, at: int) -> str:
        """The id of a document, by its place among those that have words."""
        return self._names[16 * at : 16 * at + 16].hex()


def _firsts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(sizes) - sizes


def _runs_of_equals(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of keys that occur more than once, equal ones together and rising; how many of each."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    sizes = np.diff(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, prepend=0, append=len(keys))
    return order[np.repeat(sizes > 1, sizes)], sizes[sizes > 1]


def _longest(
    members: NDArray[np.int64], roots: NDArray[np.int64], characters: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each member the best of its cluster: the longest text, and the first of several as long."""
    order = np.lexsort((members, -characters, roots))
    bounds = np.flatnonzero(np.diff(roots[order], prepend=-1))
    best = np.empty_like(members)
    best[order] = np.repeat(members[order][bounds], np.diff(np.append(bounds, len(order))))
    return best
