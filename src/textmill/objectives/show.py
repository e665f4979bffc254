"""What training will read, looked at before it begins: the mask of the loss, the end of text, the overlap of parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import AnyLoader

_NONE = -1  # the document of a place that is not read


@dataclass(frozen=True, slots=True)
class Shown:
    """How much of the first rows is shown to a person: so many rows, or conversations packed into them, and the first
    tokens of each."""

    rows: int = 2
    tokens: int = 80
    apart: bool = False


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


def of_tokens(batch: Batch, row: int) -> ShownRow:
    """Tokens that are said one after the other.

    Token t + 1 of a row is in the loss when target t does. The first token never does.
    """
    targets, tokens = batch.targets[row].tolist(), []
    reads = tokens_read(batch, row)
    documents = {position: token.document for position, token in reads}
    for position, token in reads:
        before = position - 1
        learnt = targets[before] == token.id and documents.get(before, _NONE) == token.document
        tokens.append(replace(token, bears_loss=position > 0 and learnt))
        goes_on = documents.get(position + 1, _NONE) == token.document
        if not goes_on and targets[position] != IGNORE:  # the last target of a document is no input
            tokens.append(ShownToken(targets[position], True, token.document))
    return ShownRow(tokens)


def apart(row: ShownRow) -> list[ShownRow]:
    """The documents packed into a row, each by itself."""
    numbers = dict.fromkeys(token.document for token in row.tokens)
    return [
        ShownRow([token for token in row.tokens if token.document == number], row.source, row.label)
        for number in numbers
    ]


def in_place(batch: Batch, row: int) -> ShownRow:
    """Targets that stand where their token is: hidden tokens, tags."""
    targets = batch.targets[row].tolist()
    tokens = [
        replace(token, bears_loss=True, target=targets[position]) if targets[position] != IGNORE else token
        for position, token in tokens_read(batch, row)
    ]
    return ShownRow(tokens, label=None if batch.labels is None else int(batch.labels[row]))


def of_pairs(batch: Batch, row: int) -> ShownRow:
    """A source, and a target that is said of it."""
    assert batch.source is not None
    source = batch.source[row].tolist()
    real = [True] * len(source) if batch.source_mask is None else batch.source_mask[row].tolist()
    inputs, targets = batch.inputs[row].tolist(), batch.targets[row].tolist()
    positions = [position for position, _ in tokens_read(batch, row)]
    tokens = [ShownToken(inputs[position], False) for position in positions[:1]]
    for position, following in zip(positions, [*positions[1:], None], strict=True):
        if targets[position] != IGNORE:
            tokens.append(ShownToken(targets[position], True))
        elif following is not None:  # it is read, but was not to be said
            tokens.append(ShownToken(inputs[following], False))
    return ShownRow(
        tokens, [ShownToken(token, False) for token, is_real in zip(source, real, strict=True) if is_real]
    )


def tokens_read(batch: Batch, row: int) -> list[tuple[int, ShownToken]]:
    """(position, token) of what a row reads, padding left out."""
    inputs = batch.inputs[row].tolist()
    real = [True] * len(inputs) if batch.mask is None else batch.mask[row].tolist()
    documents: list[int | None] = [None] * len(inputs)
    segments: list[int | None] = [None] * len(inputs)
    if batch.documents is not None:
        documents = list(batch.documents[row].tolist())
    if batch.segments is not None:
        segments = list(batch.segments[row].tolist())
    return [
        (position, ShownToken(inputs[position], False, documents[position], None, segments[position]))
        for position in range(len(inputs))
        if real[position]
    ]


def end_is_trained(loader: AnyLoader, ends: Sequence[int], steps: int = 50) -> int | None:
    """The first of the first `steps` steps in which an id that ends what is written is a target; None: in none.

    A model that never saw the end as a target does not stop by itself.
    """
    for step in range(steps):
        if bool(torch.isin(loader.batch(step).targets, torch.tensor(ends)).any()):
            return step
    return None
