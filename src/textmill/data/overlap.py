"""Which stretches of text two parts share: a validation or test document that stands in the training text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from textmill.base.hashing import mixed, run_hashes
from textmill.data.tokens import Texts

WINDOW = 13  # tokens; Brown et al. 2020, appendix C, take 13 words

_PIECE = 1 << 22  # windows hashed at once


@dataclass(frozen=True)
class Overlap:
    """How much of one part stands in another."""

    documents: int  # in the part that is scored
    same: int  # of them, token for token also in the training split
    touched: int  # of them, with at least one window of the training split
    windows: int  # runs of WINDOW tokens in the scored part, all of which are in the loss
    shared: int  # of them, also in the training split
    worst: tuple[tuple[str, float], ...]  # documents with the largest share of shared windows

    @property
    def share(self) -> float:
        """Share of windows that training has seen."""
        return self.shared / max(self.windows, 1)


def overlap(train: Texts, other: Texts, worst: int = 5) -> Overlap:
    """Whole documents and runs of 13 tokens of `other` that also stand in `train`; windows stay in documents.
    Of records, the texts are compared (`ExampleStore.texts`); of conversations, what assistants say: the words of a
    template, and instructions that stand in all of them, are no leak.

    Windows are compared by 64-bit hashes, so of n·m pairs about n·m / 2^64 are taken for equal wrongly.
    """
    hashes, owners = _all_windows(other)
    different, inverse = np.unique(hashes, return_inverse=True)
    met = np.zeros(len(different), dtype=bool)
    for piece, _, _ in _windows(train):
        met |= np.isin(different, piece)
    seen = met[inverse]
    total = np.bincount(owners, minlength=len(other))
    shared = np.bincount(owners[seen], minlength=len(other))
    shares = shared / np.maximum(total, 1)
    ranking = [index for index in np.argsort(-shares, kind="stable")[:worst] if shares[index] > 0]
    return Overlap(
        documents=len(other),
        same=len(_digests(other) & _digests(train)) if len(other) else 0,
        touched=int((shared > 0).sum()),
        windows=len(hashes),
        shared=int(seen.sum()),
        worst=tuple((other.document_id(int(index)), float(shares[index])) for index in ranking),
    )


def _digests(store: Texts) -> set[bytes]:
    ids = (store.document(index).astype("<u4").tobytes() for index in range(len(store)))
    return {hashlib.blake2b(data, digest_size=16).digest() for data in ids}


def _all_windows(store: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Hashes and documents of the windows that are in the loss."""
    pieces = [(hashes[scored], owners[scored]) for hashes, owners, scored in _windows(store)]
    if not pieces:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes, owners = zip(*pieces, strict=True)
    return np.concatenate(hashes), np.concatenate(owners)


def _windows(store: Texts) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(hashes, documents, whether all tokens are in the loss) of the windows that lie in one document, a piece of the
    store at a time."""
    for start in range(0, max(store.tokens - WINDOW + 1, 0), _PIECE):
        part = slice(start, start + _PIECE + WINDOW - 1)
        ids = np.asarray(store.ids[part]).astype(np.uint64)
        owner = store.documents_at(np.arange(start, start + len(ids)))
        first, last = owner[: 1 - WINDOW], owner[WINDOW - 1 :]
        borne = np.ones(len(ids), dtype=np.int64) if store.loss is None else np.asarray(store.loss[part]) != 0
        before = np.concatenate([[0], np.cumsum(borne)])
        scored = before[WINDOW:] - before[:-WINDOW] == WINDOW
        whole = first == last
        yield run_hashes(mixed(ids + np.uint64(1)), WINDOW)[whole], first[whole], scored[whole]
