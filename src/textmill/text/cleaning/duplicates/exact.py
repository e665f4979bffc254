"""Documents that repeat an earlier one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from textmill.specs.cleaning import ExactDuplicatesStep
from textmill.text.document import NAMED_SPLIT, Document, digest
from textmill.text.step import Reject, Sketched, Verdict

_DIGEST = 16  # bytes
OTHER_LABEL = "is a duplicate of an earlier record with another label"


class ExactDuplicates:
    """Keep the first of documents whose texts are the same to the byte; the others name the id they repeat.

    Documents of two splits that their sources name do not repeat each other: that is leakage, which another step tells.
    """

    name = "exact-duplicates"

    def __init__(self, spec: ExactDuplicatesStep = ExactDuplicatesStep()) -> None:
        self._label = spec.label

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """The BLAKE2b-128 of the texts of each, as they are by now, and the same with its label where it has one."""
        return [self._sketch(document) for document in documents]

    def _sketch(self, document: Document) -> bytes:
        texts, metadata = digest(document.texts), document.metadata
        if split := metadata.get(NAMED_SPLIT):
            texts = _with(texts, split)
        label = metadata.get(self._label) if self._label else None
        return texts if label is None else texts + _with(texts, label.strip())

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """Reject documents whose texts were met before. Memory: 32 bytes per document, 64 with a label."""
        seen, labelled = Seen(), Seen()
        for item in sketches():
            texts, label = item.sketch[:_DIGEST], item.sketch[_DIGEST:]
            first = seen.add(texts, item.id)
            other = bool(label) and labelled.add(label, item.id) is None
            if first is not None:
                reason = OTHER_LABEL if other else "is a duplicate of an earlier document"
                yield item.number, Reject(reason, f"id {first}")


def _with(texts: bytes, more: str) -> bytes:
    return hashlib.blake2b(texts + more.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


class Seen:
    """Which 128-bit hashes were met, and the id that came with each: 32 bytes an entry, at most 2/3 full.

    A Python dictionary of the same costs about 250 bytes an entry. Open addressing with linear probing; the
    hash itself says where to look, being as good as random.
    """

    def __init__(self) -> None:
        self._slots = np.zeros((1 << 10, 4), np.uint64)  # hash (2 words), id (2 words); a hash of zeros: free
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    def add(self, digest: bytes, name: str) -> str | None:
        """Enter a 16-byte hash with a 32-digit id; or, when it was entered before, the id it came with then."""
        high, low = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") or 1
        slots = self._slots
        mask = len(slots) - 1
        at = high & mask
        while stored := int(slots[at, 1]):
            if stored == low and int(slots[at, 0]) == high:
                return "".join(int(word).to_bytes(8, "big").hex() for word in slots[at, 2:])
            at = (at + 1) & mask
        slots[at] = (high, low, int(name[:16], 16), int(name[16:], 16))
        self._filled += 1
        if self._filled * 3 > len(slots) * 2:
            self._grow()
        return None

    def _grow(self) -> None:
        old = self._slots
        self._slots = np.zeros((len(old) * 2, 4), np.uint64)
        entries = old[old[:, 1] != 0]
        mask = len(self._slots) - 1
        at = (entries[:, 0] & np.uint64(mask)).astype(np.int64)
        pending = np.arange(len(entries))
        while len(
            pending
        ):  # a round places one entry in each free slot that is asked for, and the rest move on
            free = self._slots[at[pending], 1] == 0
            _, first = np.unique(at[pending[free]], return_index=True)
            placed = pending[free][first]
            self._slots[at[placed]] = entries[placed]
            pending = np.setdiff1d(pending, placed, assume_unique=True)
            at[pending] = (at[pending] + 1) & mask
