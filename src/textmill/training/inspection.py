"""What training will read, looked at before it begins: the mask of the loss, the end of text, the overlap of parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from textmill.data.batch import IGNORE, Batch
from textmill.training.loop import Batches


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
