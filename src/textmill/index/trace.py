"""From a text to the documents it is in: the longest spans found word for word in the corpus.

A span is maximal when it occurs and no longer one around it does. Spans that say nothing are marked as common, after
the idea of OLMoTrace (Liu et al. 2025): those so short, or of such common tokens, that chance alone would have put them
into a corpus of this size, and those so frequent that they are nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from textmill.index.search import Holder, Index

SHORTEST, COMMON, HOLDERS = 8, 1000, 5
_WINDOW = 64  # tokens looked up at once while a span is extended


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, end) of the text, which occur word for word in the corpus."""

    start: int
    end: int
    count: int  # occurrences
    documents: int  # that hold it
    holders: tuple[Holder, ...]  # the first of them
    bits: float  # of surprise under the corpus' token frequencies; over log2(tokens): not there by chance
    common: bool = False  # says nothing of where the text is from: nobody's, or there by chance; no holders


def trace(
    index: Index,
    ids: Sequence[int] | np.ndarray,
    *,
    shortest: int = SHORTEST,
    common: int = COMMON,
    holders: int = HOLDERS,
) -> list[Span]:
    """The maximal spans of a text, in its order, the common ones marked.

    ids: (n,) token ids, without end-of-text at the ends. shortest: tokens a span has at least; a text of fewer is
    looked for whole. common: occurrences that make a span common. holders: documents named for each that is not.
    Raises ValueError for ids of another vocabulary.
    """
    ids = np.asarray(ids, dtype=np.int64)
    if len(ids) and not 0 <= ids.min() <= ids.max() < index.vocabulary:
        raise ValueError(f"the text holds ids that are not below {index.vocabulary}")
    frequency = np.maximum(index.unigrams, 1) / index.tokens
    surprise = np.concatenate([[0.0], np.cumsum(-np.log2(frequency[ids]))])
    chance = np.log2(index.tokens)
    spans = []
    for start, end in maximal(index, ids, min(shortest, len(ids))):
        run, bits = ids[start:end], float(surprise[end] - surprise[start])
        count = index.count(run)
        telling = end - start >= shortest and bits > chance and count <= common
        named, documents = index.holders(run, holders) if telling else ([], 0)
        spans.append(Span(start, end, count, documents, tuple(named), bits, not telling))
    return spans


def maximal(index: Index, ids: np.ndarray, shortest: int = 1) -> Iterator[tuple[int, int]]:
    """(start, end) of every maximal span of `shortest` tokens and more, in order.

    At each start one look-up asks whether a span there would reach past the last one; only then is it extended.
    """
    reached, total = 0, len(ids)
    for start in range(total):
        least = max(start + max(1, shortest), reached + 1)
        if least > total:
            return
        if index.count(ids[start:least]):
            reached = _extend(index, ids, start, least)
            yield start, reached


def _extend(index: Index, ids: np.ndarray, start: int, known: int) -> int:
    """The end of the longest run from `start` that occurs, of which [start, known) is known to."""
    window = _WINDOW
    while True:
        stop = min(len(ids), known + window)
        end = start + max(common_length(index, ids[start:stop]), known - start)
        if end < stop or stop == len(ids):
            return end
        known, window = end, window * 2


def common_length(index: Index, ids: np.ndarray) -> int:
    """How many of `ids`, from the first, occur together in a document."""
    inner = np.flatnonzero(ids[1:] == index.end)
    if len(inner):  # a span may end with end-of-text, and goes no further
        ids = ids[: int(inner[0]) + 2]
    pattern = index.pattern(ids)
    return max(shard.common(pattern) for shard in index.shards) if pattern else 0
