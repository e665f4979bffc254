"""Asking the index: how often, where, in which documents, and what comes next.

A run is a sequence of token ids. No run ever crosses from one document into the next: end-of-text stands at its
end only, or at its beginning, where it means the beginning of a document. (A document's own end-of-text is its
last token; `[end]` alone counts the documents.)
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textmill.base.errors import DamagedError
from textmill.base.files import read_json
from textmill.index.shard import AGAIN, FORMAT, Shard

Run = Sequence[int] | np.ndarray
_LETTER = {2: "H", 4: "I"}


@dataclass(frozen=True, slots=True)
class Place:
    """One occurrence of a run."""

    document: str  # content id, 32 hex digits
    source: str
    token: int  # of the document, where the run begins; 0 is its first
    shard: int
    at: int  # place in the shard's ids


@dataclass(frozen=True, slots=True)
class Holder:
    """A document a run occurs in."""

    document: str
    source: str
    count: int  # occurrences of the run in it
    first: Place


@dataclass(frozen=True, slots=True)
class Suffix:
    """The longest end of a context that occurs: `length` tokens, `count` times."""

    length: int
    count: int


class Index:
    """An index opened for reading; its shards are mapped, not loaded."""

    def __init__(self, directory: Path | str) -> None:
        """Raises DamagedError when a file is missing or is not as long as its manifest says."""
        self.directory = Path(directory)
        manifest = read_json(self.directory / "manifest.json")
        try:
            if manifest["format"] != FORMAT:
                message = f"is an index of format {manifest['format']}; this Textmill reads {FORMAT}"
                raise DamagedError(message, where=self.directory, advice=AGAIN)
            self.vocabulary: int = manifest["vocabulary"]
            self.end: int = manifest["end"]
            self.tokens: int = manifest["tokens"]
            self.documents: int = manifest["documents"]
            rows = [(row["name"], row["key"]) for row in manifest["shards"]]
        except (KeyError, TypeError) as error:
            where = self.directory / "manifest.json"
            raise DamagedError(f"is not the manifest of an index ({error!r})", where=where) from error
        self.shards = [Shard(self.directory / name) for name, _ in rows]
        for shard, (_, key) in zip(self.shards, rows, strict=True):
            if (shard.key, shard.vocabulary, shard.end) != (key, self.vocabulary, self.end):
                raise DamagedError("belongs to another index", where=shard.directory, advice=AGAIN)
        self._letter = _LETTER[self.shards[0].width]

    def verify(self) -> None:
        """Read every byte and compare hashes. Raises DamagedError naming the file that changed."""
        for shard in self.shards:
            shard.verify()

    @functools.cached_property
    def unigrams(self) -> np.ndarray:
        """(V,) int64: how often each id occurs; their sum is `tokens`."""
        return np.sum([shard.unigrams for shard in self.shards], axis=0)

    def count(self, run: Run) -> int:
        """How often a run occurs. The empty run occurs at every token."""
        if len(run) == 0:
            return self.tokens
        pattern = self.pattern(run)
        if len(run) == 1:  # each shard's leading end-of-text is in no document
            return int(self.unigrams[run[0]]) if run[0] < self.vocabulary else 0
        if pattern is None:
            return 0
        total = 0
        for shard in self.shards:
            low, high = shard.find(pattern)
            total += high - low
        return total

    def pattern(self, run: Run) -> bytes | None:
        """A run as the bytes it is looked up by; None when it would cross from one document into the next.

        Raises ValueError when it holds something that is no token id.
        """
        ids = run.tolist() if isinstance(run, np.ndarray) else run
        if self.end in ids and self.end in ids[1:-1]:
            return None
        try:
            return struct.pack(f">{len(ids)}{self._letter}", *ids)
        except struct.error as error:
            raise ValueError(f"the sequence holds what is not a token id: {error}") from error

    def locate(self, run: Run, limit: int | None = None) -> list[Place]:
        """Where a run occurs, in the order of the corpus; the first `limit` occurrences."""
        occurrences: list[Place] = []
        for number, shard in enumerate(self.shards):
            positions = self._places(shard, run)
            left = None if limit is None else limit - len(occurrences)
            if left is not None and left < len(positions):
                positions = np.partition(positions, left)[:left] if left else positions[:0]
            positions = np.sort(positions)
            owners = self._owners(shard, positions, run)
            occurrences += [
                self._place(number, int(at), int(owner)) for at, owner in zip(positions, owners, strict=True)
            ]
        return occurrences

    def holders(self, run: Run, limit: int | None = None) -> tuple[list[Holder], int]:
        """The documents a run occurs in, in the order of the corpus: the first `limit`, and how many in all."""
        holders: list[Holder] = []
        total = 0
        for number, shard in enumerate(self.shards):
            positions = np.sort(self._places(shard, run))
            owners, firsts, counts = np.unique(
                self._owners(shard, positions, run), return_index=True, return_counts=True
            )
            total += len(owners)
            left = len(owners) if limit is None else max(0, limit - len(holders))
            for owner, first, count in list(zip(owners, firsts, counts, strict=True))[:left]:
                occurrence = self._place(number, int(positions[first]), int(owner))
                holders.append(Holder(occurrence.document, occurrence.source, int(count), occurrence))
        return holders, total

    def _places(self, shard: Shard, run: Run) -> np.ndarray:
        """(n,) int64 positions of a run in a shard, unsorted; the shard's leading end-of-text only where it leads."""
        pattern = self.pattern(run)
        if pattern is None:
            return np.zeros(0, dtype=np.int64)
        low, high = shard.find(pattern)
        positions = shard.suffixes[low:high].astype(np.int64)
        return positions if len(run) > 1 else positions[positions > 0]

    def _owners(self, shard: Shard, positions: np.ndarray, run: Run) -> np.ndarray:
        leads = len(run) > 1 and run[0] == self.end
        return shard.documents_at(positions + 1 if leads else positions)

    def _place(self, number: int, at: int, owner: int) -> Place:
        shard = self.shards[number]
        token = max(0, at - int(shard.offsets[owner]))
        return Place(shard.document_ids[owner].tobytes().hex(), shard.source(owner), token, number, at)

    def around(
        self, occurrence: Place, length: int, before: int, after: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids just before and after an `occurrence` of a run of `length` tokens, in its document without its end."""
        shard = self.shards[occurrence.shard]
        start = occurrence.at + (1 if length > 1 and shard.ids[occurrence.at] == self.end else 0)
        owner = int(shard.documents_at(np.array(start)))
        first, last = int(shard.offsets[owner]), int(shard.offsets[owner + 1]) - 1
        stop = occurrence.at + length
        ahead = shard.ids[max(first, start - before) : start]
        behind = shard.ids[min(stop, last) : min(stop + after, last)]
        return ahead.astype(np.int64), behind.astype(np.int64)

    def next_counts(self, context: Run) -> tuple[np.ndarray, np.ndarray]:
        """What follows a context in the corpus: ids in rising order (K,) int64, and how often each does (K,) int64.

        `[end]` gives what documents begin with; the empty context every token. Nothing follows a document's end.
        """
        if len(context) == 0:
            ids = np.flatnonzero(self.unigrams)
            return ids, self.unigrams[ids]
        pattern = self.pattern(context)
        if pattern is None or (len(context) > 1 and context[-1] == self.end):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        pairs = [shard.following(pattern) for shard in self.shards]
        if len(pairs) == 1:
            return pairs[0]
        ids, where = np.unique(np.concatenate([ids for ids, _ in pairs]), return_inverse=True)
        counts = np.zeros(len(ids), dtype=np.int64)
        np.add.at(counts, where, np.concatenate([counts for _, counts in pairs]))
        return ids, counts

    def longest_suffix(self, context: Run, longest: int | None = None) -> Suffix:
        """The longest end of `context` that occurs and so has a next token (the ∞-gram's back-off, Liu et al. 2024).

        Tokens before the last end-of-text belong to another document and are not looked at. `longest` bounds the
        length, for callers that know it: one token after a match of n tokens, at most n + 1 can match.
        """
        ids = context.tolist() if isinstance(context, np.ndarray) else list(context)
        if longest is not None:
            ids = ids[len(ids) - min(longest, len(ids)) :]
        if self.end in ids:
            ids = ids[len(ids) - 1 - ids[::-1].index(self.end) :]
        known, count, unknown = 0, self.tokens, len(ids) + 1
        step = len(ids) if longest is not None else 1  # a bound that was given is most often met
        while unknown - known > 1:
            length = min(known + step, unknown - 1)
            times = self.count(ids[-length:])
            if times:
                known, count, step = length, times, step * 2
            else:
                unknown, step = length, max(1, (length - known) // 2)
        return Suffix(known, count)
