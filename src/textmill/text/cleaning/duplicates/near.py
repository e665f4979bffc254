"""Documents that nearly repeat another: MinHash, locality-sensitive hashing, and a second look at each pair.

`the mill by the river turns slowly` and `the mill by the river turns fast`, as sets of runs of 3 words, share 4 of 6
different runs: similarity 0.67. In any order of all runs the first one of both sets is the same with that probability;
so 2 such firsts agree at once with probability 0.44, and one of 20 such bands nearly always: they will be compared.

A text is the set of its runs of `shingle` words, case and punctuation aside, and of its signs (`text.signs`), each with
the words beside it and as often as there are runs with one word: a minus, a question mark or an emoji more makes as
much of a difference as another word. Two documents are as near as the least similar of their texts, role
by role: a question is no copy of another for being about the same passage. The sets of all texts, put together, are
at least that similar, so pairs are looked for by those: signatures of minima (Broder 1997) are cut into bands, and
documents that agree in a whole band are compared (Leskovec, Rajaraman & Ullman 2014, section 3.4). What is compared
is the lowest `SAMPLE` hashes of each text (Bar-Yossef et al. 2002): texts of no more runs than that are compared
exactly, longer ones closely enough that hardly a pair of the similarity asked for is missed.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import mixed
from textmill.specs.cleaning import LeakageStep, NearDuplicatesStep
from textmill.text.cleaning.duplicates.shingles import shingles
from textmill.text.cleaning.duplicates.union_find import Clusters
from textmill.text.document import Document
from textmill.text.signs import signed
from textmill.text.step import Mark, Reject, Sketched, Verdict

SAMPLE = 512  # hashes of a text kept for comparing; 2 kB at most
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
    minima = np.full((number, len(sizes)), _ALL - 1, np.uint32)
    factors, summands = _permutations(number)
    begin = 0
    while begin < len(filled):
        start = offsets[filled[begin]]
        end = max(begin + 1, int(np.searchsorted(offsets[filled], start + _BLOCK)))
        block = values[start : offsets[filled[end - 1] + 1]]
        bounds = offsets[filled[begin:end]] - start
        permuted = np.empty_like(block)
        for row, factor, summand in zip(minima, factors, summands, strict=True):
            np.multiply(block, factor, out=permuted)
            permuted += summand
            row[filled[begin:end]] = np.minimum.reduceat(permuted, bounds)
        begin = end
    return minima.T


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
        most, over sqrt(s (1 - s))); 0 when all of both sets was kept, since then it is exact. Two empty sets are
        the same.
        """
        blocks = [
            self._compare(left[at : at + _PAIRS], right[at : at + _PAIRS])
            for at in range(0, len(left), _PAIRS)
        ]
        estimates = np.concatenate([np.empty((2, 0)), *blocks], axis=1)
        return estimates[0], estimates[1]

    def _compare(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        # Mapped anew for each block, so that the pages of those before count as memory no longer.
        values = np.memmap(self.path, "<u4", "r")
        ceilings = np.minimum(self._ceilings(values, left), self._ceilings(values, right))
        below = [self._below(values, sets, ceilings) for sets in (left, right)]
        keys = np.sort(np.concatenate(below))
        pairs, number = (keys >> np.uint64(32)).astype(np.int64), len(left)
        kept = np.bincount(pairs, minlength=number)
        common = np.bincount(pairs[1:][keys[1:] == keys[:-1]], minlength=number)
        union = np.maximum(kept - common, 1)
        similarity = np.where(kept, common / union, 1.0)
        return np.stack([similarity, np.sqrt((1 - ceilings / _ALL) / union)])

    def _ceilings(self, values: NDArray[np.uint32], sets: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,): for each set, the hash below which its sample holds every hash of the set."""
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

    def __init__(self, spec: NearDuplicatesStep | LeakageStep) -> None:
        self._spec = spec
        self._bands, self._rows = bands_and_rows(spec.similarity, spec.permutations)

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """Of each document: a hash of each band, and of each text the size of its set and the lowest hashes.

        Nothing of a document without words.
        """
        texts = [sorted(document.texts.items()) for document in documents]
        words, signs = signed([text for roles in texts for _, text in roles])
        values, offsets = shingles(words, self._spec.shingle, signs)
        firsts = np.cumsum([0, *map(len, texts)])  # the first text of each document
        tagged = values
        if len(offsets) - 1 > len(documents):  # some have several: the same run in another role is another
            tags = [_tag(role) if len(roles) > 1 else 0 for roles in texts for role, _ in roles]
            tagged = values ^ np.repeat(np.array(tags, np.uint32), np.diff(offsets))
        minima = signatures(tagged, offsets[firsts], self._bands * self._rows)
        bands = np.zeros((len(documents), self._bands), np.uint64)
        by_band = minima.reshape(len(documents), self._bands, self._rows)
        for row in range(self._rows):
            bands = mixed(bands ^ by_band[:, :, row])
        sizes = np.diff(offsets)
        heads, samples = sizes.astype("<u4"), values.astype("<u4", copy=False)
        sketches = [
            heads[at].tobytes() + samples[start : start + min(size, SAMPLE)].tobytes()
            for at, (start, size) in enumerate(zip(offsets.tolist(), sizes.tolist(), strict=False))
        ]
        bands = bands.astype("<u8", copy=False)
        wordy = (offsets[firsts[1:]] > offsets[firsts[:-1]]).tolist()
        return [
            b"".join([bands[at].tobytes(), *sketches[first:last]]) if wordy[at] else b""
            for at, (first, last) in enumerate(pairwise(firsts.tolist()))
        ]

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """Verdicts on all members of a cluster but the best, or marks of all.

        Memory: about 100 bytes per document, and 200 MB; on disk the sketches once more.
        """
        seen, members, roots = self._clustered(sketches(), scratch)
        best = _longest(members, roots, seen.characters[members])
        numbers = seen.numbers[members].tolist()
        assert isinstance(self._spec, NearDuplicatesStep)
        if self._spec.action == "mark":
            for number, other in zip(numbers, best.tolist(), strict=True):
                yield number, Mark({"cluster": seen.id(other)})
            return
        similar = np.ones(len(members))
        for pairs, similarity, _ in seen.compare(members, best):
            similar[pairs] = np.minimum(similar[pairs], similarity)
        for at, (member, other) in enumerate(zip(members.tolist(), best.tolist(), strict=True)):
            if member != other:
                detail = f"id {seen.id(other)}, similarity {similar[at]:.2f}"
                yield numbers[at], Reject("is a near-duplicate of another document", detail)

    def _clustered(
        self, sketches: Iterable[Sketched], scratch: Path
    ) -> tuple[_Gathered, NDArray[np.int64], NDArray[np.int64]]:
        """The documents that have words, those of them that are near another, and the cluster of each of these."""
        seen = _Gathered(sketches, scratch, self._bands)
        clusters = Clusters(len(seen.numbers))
        for band in range(self._bands):
            keys = np.fromfile(scratch / f"band-{band}", "<u8")
            self._join(clusters, seen, keys)
            clusters.flatten()
        return seen, *clusters.shared()

    def _join(self, clusters: Clusters, seen: _Gathered, keys: NDArray[np.uint64]) -> None:
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
            similar = self._similar(seen, left, right)
            clusters.join(left[similar], right[similar])
            # The first of a run leaves it; so does the whole run, once it is one cluster.
            split = np.add.reduceat(apart, _firsts(sizes)) > 0
            stay = np.repeat(split, sizes)
            stay[_firsts(sizes)] = False
            members, sizes = members[stay], sizes[split] - 1

    def _similar(
        self, seen: _Gathered, left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        wanted = self._spec.similarity
        similar = seen.texts[left] == seen.texts[right]
        for pairs, similarity, error in seen.compare(left, right):
            least = wanted - _MARGIN * error * np.sqrt(wanted * (1 - wanted)) - 1e-12
            similar[pairs] &= similarity >= least
        return similar


@functools.cache
def _tag(role: str) -> int:
    return int.from_bytes(hashlib.blake2b(role.encode("utf-8", "surrogatepass"), digest_size=4).digest())


class _Gathered:
    """The sketches of all documents that have words: bands and samples on disk, the rest in memory."""

    def __init__(self, sketches: Iterable[Sketched], scratch: Path, bands: int) -> None:
        numbers, characters, texts, sizes, kept = [], [], [], [], []
        names = bytearray()
        waiting: list[bytes] = []
        head = 8 * bands
        columns = [np.empty(0, np.int64)] * 5
        files = [open(scratch / f"band-{band}", "wb") for band in range(bands)]  # noqa: SIM115 (closed below)
        samples = open(scratch / "samples", "wb")  # noqa: SIM115

        def flush() -> None:
            rows = np.frombuffer(b"".join(waiting), "<u8").reshape(len(waiting), bands)
            for band, file in enumerate(files):
                file.write(np.ascontiguousarray(rows[:, band]).data)
            for at, values in enumerate((numbers, characters, texts, sizes, kept)):
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
                waiting.append(item.sketch[:head])
                at, before = head, len(sizes)
                while at < len(item.sketch):
                    sizes.append(int.from_bytes(item.sketch[at : at + 4], "little"))
                    kept.append(min(sizes[-1], SAMPLE))
                    samples.write(item.sketch[at + 4 : at + 4 + 4 * kept[-1]])
                    at += 4 + 4 * kept[-1]
                texts.append(len(sizes) - before)
                if len(waiting) == _BUFFERED:
                    flush()
            flush()
        finally:
            for file in (*files, samples):
                file.close()
        self.numbers, self.characters, self.texts, counts, lengths = columns  # texts: how many of each
        self._names = names
        self._firsts = np.cumsum(self.texts) - self.texts
        self._samples = _Samples(scratch / "samples", np.concatenate([[0], np.cumsum(lengths)]), counts)

    def compare(
        self, left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
        """Text by text, in the order of their roles: which of the pairs of documents have both one more text, how
        similar these are, and by how much that may be off."""
        for index in range(int(self.texts.max(initial=0))):
            pairs = np.flatnonzero(np.minimum(self.texts[left], self.texts[right]) > index)
            sets = (self._firsts[side[pairs]] + index for side in (left, right))
            yield pairs, *self._samples.compare(*sets)

    def id(self, at: int) -> str:
        """The id of a document, by its position among those that have words."""
        return self._names[16 * at : 16 * at + 16].hex()


def _firsts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(sizes) - sizes


def _runs_of_equals(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positions of keys that occur more than once, equal ones together and rising; how many of each."""
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
