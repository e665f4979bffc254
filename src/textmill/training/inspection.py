"""What training will read, looked at before it begins: the mask of the loss, the end of text, the overlap of parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from textmill.data.batch import IGNORE, Batch
from textmill.data.tokens import Texts
from textmill.training.loop import Batches

WINDOW = 13  # tokens; Brown et al. 2020, appendix C, take 13 words
_PIECE = 1 << 22  # windows hashed at once


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token of a training row, as a person should see it."""

    id: int  # what is read here; of a target, what is to be said
    bears_loss: (
        bool  # causal rows and targets: it is to be said, from what stands before; else: something is, of it
    )
    document: int | None = None  # which packed document it belongs to; None: the row is one stretch
    target: int | None = None  # what is to be said here: the token that stood here, or the number of a tag
    segment: int | None = None  # which segment it belongs to; None: there are none


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row of a batch.

    tokens   what is read; of pairs, the target: its start, and then what is to be said
    source   of pairs, what the encoder reads
    label    what is to be said of the whole row: the number of a label, the numbers of all that hold, numbers, the
             places of a span's first and last token among `tokens`, or 0 where the second segment follows the first
             and 1 where it does not; None: nothing is
    """

    tokens: list[ShownToken]
    source: list[ShownToken] | None = None
    label: int | float | tuple[int | float, ...] | None = None


def shown_rows(batch: Batch, kind: str, rows: int = 4) -> list[ShownRow]:
    """The first rows of a batch of an objective of this kind: what is read, and what is to be said of it. Padding is
    left out."""
    show = _SHOWN[kind]
    return [show(batch, row) for row in range(min(rows, len(batch)))]


def _causal(batch: Batch, row: int) -> ShownRow:
    return ShownRow(shown(batch.rows(row, row + 1))[0])


def _masked(batch: Batch, row: int) -> ShownRow:
    """Also rows of tags: a target stands where the token is."""
    targets = batch.targets[row].tolist()
    tokens = [
        replace(token, bears_loss=True, target=targets[place]) if targets[place] != IGNORE else token
        for place, token in _read(batch, row)
    ]
    return ShownRow(tokens, label=None if batch.labels is None else int(batch.labels[row]))


def _paired(batch: Batch, row: int) -> ShownRow:
    assert batch.source is not None
    source = batch.source[row].tolist()
    real = [True] * len(source) if batch.source_mask is None else batch.source_mask[row].tolist()
    inputs, targets = batch.inputs[row].tolist(), batch.targets[row].tolist()
    places = [place for place, _ in _read(batch, row)]
    tokens = [ShownToken(inputs[place], False) for place in places[:1]]
    for place, following in zip(places, [*places[1:], None], strict=True):
        if targets[place] != IGNORE:
            tokens.append(ShownToken(targets[place], True))
        elif following is not None:  # it is read, but was not to be said
            tokens.append(ShownToken(inputs[following], False))
    return ShownRow(
        tokens, [ShownToken(token, False) for token, is_real in zip(source, real, strict=True) if is_real]
    )


def _labelled(batch: Batch, row: int) -> ShownRow:
    target = batch.targets[row]
    label = None if target.dim() == 0 and int(target) == IGNORE else target.tolist()
    if isinstance(label, list):  # 0 or 1 for each label
        label = tuple(place for place, held in enumerate(label) if held == 1)
    return ShownRow([token for _, token in _read(batch, row)], label=label)


def _measured(batch: Batch, row: int) -> ShownRow:
    return ShownRow([token for _, token in _read(batch, row)], label=tuple(batch.targets[row].tolist()))


def _answered(batch: Batch, row: int) -> ShownRow:
    first, last = batch.targets[row].tolist()
    read = _read(batch, row)
    tokens = [replace(token, bears_loss=first <= place <= last) for place, token in read]
    where = {place: number for number, (place, _) in enumerate(read)}
    known = first in where and last in where
    return ShownRow(tokens, label=(where[first], where[last]) if known else None)


def _read(batch: Batch, row: int) -> list[tuple[int, ShownToken]]:
    """(place, token) of what a row reads."""
    inputs = batch.inputs[row].tolist()
    real = [True] * len(inputs) if batch.mask is None else batch.mask[row].tolist()
    documents: list[int | None] = [None] * len(inputs)
    segments: list[int | None] = [None] * len(inputs)
    if batch.documents is not None:
        documents = list(batch.documents[row].tolist())
    if batch.segments is not None:
        segments = list(batch.segments[row].tolist())
    return [
        (place, ShownToken(inputs[place], False, documents[place], None, segments[place]))
        for place in range(len(inputs))
        if real[place]
    ]


_SHOWN: dict[str, Callable[[Batch, int], ShownRow]] = {
    "causal": _causal,
    "masked": _masked,
    "infilling": _paired,
    "spans": _paired,
    "continue": _paired,
    "pairs": _paired,
    "classify": _labelled,
    "regress": _measured,
    "tag": _masked,
    "answer": _answered,
}


def shown(batch: Batch, rows: int = 4) -> list[list[ShownToken]]:
    """The first rows of a batch, token by token: what is read, and what is also learnt.

    Token t + 1 of a row bears loss when target t does. The first token never does; padding is left out.
    """
    result = []
    for row in range(min(rows, len(batch))):
        inputs, targets = batch.inputs[row].tolist(), batch.targets[row].tolist()
        real = [True] * len(inputs) if batch.mask is None else batch.mask[row].tolist()
        documents: list[int | None] = [None] * len(inputs)
        if batch.documents is not None:
            documents = list(batch.documents[row].tolist())
        tokens: list[ShownToken] = []
        for place, (token, document) in enumerate(zip(inputs, documents, strict=True)):
            if not real[place]:
                continue
            learnt = place > 0 and targets[place - 1] == token and documents[place - 1] == document
            tokens.append(ShownToken(token, learnt, document))
            goes_on = place + 1 < len(inputs) and real[place + 1] and documents[place + 1] == document
            if not goes_on and targets[place] != IGNORE:  # the last target of a document is no input
                tokens.append(ShownToken(targets[place], True, document))
        result.append(tokens)
    return result


def end_is_trained(loader: Batches, end: int, steps: int = 50) -> int | None:
    """The first of the first `steps` steps in which the end-of-text id is a target; None: in none of them.

    A model that never saw the end as a target does not stop by itself.
    """
    for step in range(steps):
        if bool((loader.batch(step).targets == end).any()):
            return step
    return None


@dataclass(frozen=True)
class Overlap:
    """How much of one part stands in another."""

    documents: int  # in the part that is scored
    same: int  # of them, token for token also in the training part
    touched: int  # of them, with at least one window of the training part
    windows: int  # runs of WINDOW tokens in the scored part
    shared: int  # of them, also in the training part
    worst: tuple[tuple[str, float], ...]  # documents with the largest share of shared windows

    @property
    def share(self) -> float:
        """Share of windows that training has seen."""
        return self.shared / max(self.windows, 1)


def overlap(train: Texts, other: Texts, worst: int = 5) -> Overlap:
    """Whole documents and runs of 13 tokens of `other` that also stand in `train`; windows stay in documents.
    Of records, the texts are compared (`ExampleStore.texts`).

    Windows are compared by 64-bit hashes, so of n·m pairs about n·m / 2^64 are taken for equal wrongly.
    """
    hashes, owners = _all_windows(other)
    different, place = np.unique(hashes, return_inverse=True)
    met = np.zeros(len(different), dtype=bool)
    for piece, _ in _windows(train):
        met |= np.isin(different, piece)
    seen = met[place]
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
    pieces = list(_windows(store))
    if not pieces:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes, owners = zip(*pieces, strict=True)
    return np.concatenate(hashes), np.concatenate(owners)


def _windows(store: Texts) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(hashes, documents) of all windows that lie in one document, a piece of the store at a time."""
    for start in range(0, max(store.tokens - WINDOW + 1, 0), _PIECE):
        ids = np.asarray(store.ids[start : start + _PIECE + WINDOW - 1]).astype(np.uint64)
        if len(ids) < WINDOW:
            return
        count = len(ids) - WINDOW + 1
        owner = store.documents_at(np.arange(start, start + len(ids)))
        inside = owner[:count] == owner[WINDOW - 1 :]
        yield _rolling(ids, count)[inside], owner[:count][inside]


def _rolling(ids: np.ndarray, count: int) -> np.ndarray:
    """A polynomial over mixed ids modulo 2^64 for each run of WINDOW ids."""
    mixed = _mix(ids + np.uint64(1))
    result = np.zeros(count, dtype=np.uint64)
    for offset in range(WINDOW):
        result = result * np.uint64(0x9E3779B97F4A7C15) + mixed[offset : offset + count]
    return _mix(result)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): equal bits in, unrelated bits out."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
