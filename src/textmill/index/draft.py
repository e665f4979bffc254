"""Draft tokens: cheap guesses of what comes next, which a model then checks all at once (decoding/speculate.py).

One guesser looks at the text so far (prompt lookup: Saxena 2023; Yang et al. 2023, "Inference with Reference"), the
other at the corpus index (retrieval-based speculation: He et al. 2024, "REST"). Both look for the longest end of the
text that stood somewhere before, and guess that it goes on as it did there.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from textmill.index.search import Index

SIZES = (8, 5, 3, 2)  # tokens at the end of a text that are looked for in it, longest first
LONGEST = 24  # tokens at the end of a text that are looked for in the corpus, at most
PLACES = 128  # occurrences that are asked how they go on, at most
_UNLIKELY = 0.2  # share of the occurrences under which a guess ends


@dataclass(frozen=True, slots=True)
class Draft:
    """A guess. `evidence` names how well founded it is: guesses of the same kind come true about as often."""

    ids: tuple[int, ...]
    evidence: Hashable


class Drafter(Protocol):
    """Whoever guesses how one text goes on."""

    def extend(self, ids: Sequence[int]) -> None:
        """The text has grown by these tokens."""
        ...

    def propose(self, most: int) -> Draft | None:
        """What comes next, `most` tokens at most; None for no idea."""
        ...


class ContextDrafter:
    """Guesses from the text itself: as its longest end went on when it last stood here."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._after: list[dict[tuple[int, ...], int]] = [{} for _ in SIZES]  # run -> place of what followed

    def extend(self, ids: Sequence[int]) -> None:
        """See Drafter. A few microseconds a token."""
        text = self._ids
        for token in ids:
            position = len(text)
            for size, after in zip(SIZES, self._after, strict=True):
                if position >= size:
                    after[tuple(text[-size:])] = position
            text.append(token)

    def propose(self, most: int) -> Draft | None:
        """See Drafter. Where the earlier place reaches the end of the text, the guess goes on with itself."""
        text = self._ids
        for size, after in zip(SIZES, self._after, strict=True):
            position = after.get(tuple(text[-size:])) if len(text) >= size else None
            if position is not None and most > 0:
                period = len(text) - position
                return Draft(tuple(text[position + step % period] for step in range(most)), ("prompt", size))
        return None


class CorpusDrafter:
    """Guesses from the corpus: as the longest end of the text that occurs there most often goes on."""

    def __init__(self, index: Index, longest: int = LONGEST, occurrences: int = PLACES) -> None:
        self._index, self._longest, self._places = index, longest, occurrences
        self._ids: list[int] = []
        self._bound = 0  # the longest end of the text that can occur, from what occurred last time

    def extend(self, ids: Sequence[int]) -> None:
        """See Drafter."""
        self._ids.extend(ids)
        self._bound = min(self._longest, self._bound + len(ids))

    def propose(self, most: int) -> Draft | None:
        """See Drafter. Of all occurrences at most `occurrences`, evenly spread, are looked at."""
        if most <= 0 or not self._bound:
            return None
        end = self._ids[-self._longest :]
        suffix = self._index.longest_suffix(end, self._bound)
        # What was matched bounds what can match later only if it was not cut short by `longest` itself.
        self._bound = suffix.length
        if not suffix.length:
            return None
        rows, weights = self._continuations(end[len(end) - suffix.length :], most)
        return self._vote(rows, weights, suffix.length) if len(rows) else None

    def _continuations(self, run: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, length) int64, -1 past the end of a shard; and (n,) how many occurrences each row stands for."""
        pattern = self._index.pattern(run)
        rows, weights = [], []
        for shard in self._index.shards:
            if pattern is None:
                break
            low, high = shard.find(pattern)
            count = min(high - low, self._places)
            if not count:
                continue
            chosen = low + np.arange(count) * (high - low) // count
            positions = shard.suffixes[chosen].astype(np.int64)[:, None] + np.arange(
                len(run), len(run) + length
            )
            inside = positions < shard.size
            rows.append(
                np.where(inside, shard.ids[np.minimum(positions, shard.size - 1)].astype(np.int64), -1)
            )
            weights.append(np.full(count, (high - low) / count))
        if not rows:
            return np.zeros((0, length), dtype=np.int64), np.zeros(0)
        return np.concatenate(rows), np.concatenate(weights)

    def _vote(self, rows: np.ndarray, weights: np.ndarray, matched: int) -> Draft | None:
        """The likeliest token of each place among the occurrences that went on as guessed so far."""
        total, ids, first = float(weights.sum()), [], 0.0
        for step in range(rows.shape[1]):
            column = rows[:, step]
            if len(column) == 1 or (column == column[0]).all():
                token, agree = int(column[0]), float(weights.sum())
            else:
                values, which = np.unique(column, return_inverse=True)
                votes = np.bincount(which, weights)
                best = int(votes.argmax())
                token, agree = int(values[best]), float(votes[best])
                rows, weights = rows[which == best], weights[which == best]
            if token < 0 or agree < _UNLIKELY * total:
                break
            first = first or agree / (total + 1)
            ids.append(token)
            if token == self._index.end:
                break
        if not ids:
            return None
        return Draft(tuple(ids), ("corpus", min(matched, 12) // 3, int(first * 4)))
