"""Texts that stand inside others, word for word: pieces, and the whole texts that they are dealt with.

Of `the mill turns`, `the mill turns slowly` and `slowly`, the second is whole and the others are pieces of it. A piece
is marked with its whole text (`@within`), and with the cluster of it, so that no split divides them: what is trained on
would otherwise say what is asked. Texts of the same words (case and punctuation aside) are of one cluster likewise;
the longest of them, a sentence with its full stop, is whole, and the others are pieces of it: nothing is asked twice.

A piece of several whole texts is skipped: wherever it went, one of them might be on another side. To join them all
instead would join nearly everything, by way of texts of one word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import run_hashes
from textmill.specs.cleaning import ContainmentStep
from textmill.text.document import Document
from textmill.text.step import Mark, Reject, Sketched, Verdict
from textmill.text.words import hashes

WITHIN = "@within"  # metadata: the id of the whole text that a document is a piece of
RULES = 2  # changed when texts are dealt otherwise, so that a corpus is made anew
_ID = 16  # bytes


class Containment:
    """Mark pieces and what they are dealt with; skip those of several. Of records of several texts the first counts."""

    name = "containment"

    def __init__(self, spec: ContainmentStep = ContainmentStep()) -> None:
        pass

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """The cluster of each, or its own id, and the hashes of its words."""
        words = hashes([document.text for document in documents])
        clusters = [document.metadata.get("cluster") or document.id for document in documents]
        return [
            bytes.fromhex(cluster) + words.hash[words.offsets[at] : words.offsets[at + 1]].tobytes()
            for at, cluster in enumerate(clusters)
        ]

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """Verdicts on pieces and on texts of the same words as an earlier one. Memory: 30 bytes a word."""
        seen = [item for item in sketches() if len(item.sketch) > _ID]
        if not seen:
            return
        words = np.concatenate([np.frombuffer(item.sketch, np.uint64, offset=_ID) for item in seen])
        sizes = np.array([len(item.sketch) // 8 - _ID // 8 for item in seen])
        clusters = [item.sketch[:_ID].hex() for item in seen]
        first, pieces, holders = _found(words, sizes)
        # 1. Whole is what stands in nothing longer. Of each piece, the whole texts that hold it.
        is_piece = np.zeros(len(seen), dtype=bool)
        is_piece[pieces] = True
        held = ~is_piece[holders]
        pieces, holders = pieces[held], holders[held]
        whole_of: dict[int, int] = {}
        several: dict[int, int] = {}
        for piece, holder in zip(pieces.tolist(), holders.tolist(), strict=True):
            whole = whole_of.setdefault(piece, holder)
            if clusters[whole] != clusters[holder]:
                several[piece] = holder
        # 2. Of texts of the same words the longest, and of those the first.
        longest: dict[int, int] = {}
        for at, one in enumerate(first.tolist()):
            if seen[at].characters > seen[longest.setdefault(one, at)].characters:
                longest[one] = at
        # 3. What that means for each document.
        together = {*whole_of.values(), *first[first != np.arange(len(first))].tolist()}
        for at, item in enumerate(seen):
            one = int(first[at])  # the first text of the same words
            if one in several:
                both = f"id {seen[whole_of[one]].id} and {seen[several[one]].id}"
                yield (
                    item.number,
                    Reject("stands inside several texts, which may be in different splits", both),
                )
            elif one in whole_of:
                whole = whole_of[one]
                yield item.number, Mark({"cluster": clusters[whole], WITHIN: seen[longest[whole]].id})
            elif at != longest[one]:
                yield item.number, Mark({"cluster": clusters[one], WITHIN: seen[longest[one]].id})
            elif one in together:
                yield item.number, Mark({"cluster": clusters[one]})


def _found(
    words: NDArray[np.uint64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of texts (D,) of so many words: (D,) the first of the same words, and all pairs (P,) of a text and a longer one
    that holds it, both the first of their words; texts in the order of their number, holders rising within one."""
    starts = np.cumsum(sizes) - sizes
    owner = np.repeat(np.arange(len(sizes)), sizes)
    left = np.repeat(starts + sizes, sizes) - np.arange(
        len(words)
    )  # words from each one to the end of its text
    first, pairs = np.arange(len(sizes)), [np.zeros((0, 2), dtype=np.int64)]
    for size in np.unique(sizes).tolist():
        runs = run_hashes(words, size)
        texts = np.flatnonzero(sizes == size)
        keys, at, same = np.unique(runs[starts[texts]], return_index=True, return_inverse=True)
        first[texts] = texts[at][same]
        longer = np.flatnonzero(left[: len(runs)] >= size)
        longer = longer[sizes[owner[longer]] > size]
        place = np.minimum(np.searchsorted(keys, runs[longer]), len(keys) - 1)
        hit = keys[place] == runs[longer]
        pairs.append(np.stack([texts[at][place[hit]], owner[longer[hit]]], axis=1))
    found = np.concatenate(pairs)
    found[:, 1] = first[found[:, 1]]
    found = np.unique(found, axis=0)
    return first, found[:, 0], found[:, 1]
