"""What a row begins from, and how rows become the batch a model begins with.

Shapes: B rows, T tokens, S source tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import Codec, padded

if TYPE_CHECKING:
    from textmill.tokenization.protocol import AnyTokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids to go on from, and for a model that reads a source, the ids of that.

    With a source, `ids` are the target so far: the start id, or the start id and words that are forced. `lead` of the
    first ids, or `tail` of the source's last, stay whatever has to be left out of the others: what a model expects
    before or after a text.
    """

    ids: Sequence[int]
    source: Sequence[int] | None = None
    lead: int = 0
    tail: int = 0


def of_text(tokenizer: AnyTokenizer, text: str, *, start: int | Sequence[int] | None = None) -> Prompt:
    """The prompt of a text: to go on from, or where `start` is given, a source to be read.

    start: the id, or ids, a target begins with. What a model expects before a text (`prefix`) is put there, and around
    a source what stood there in training.
    """
    codec = Codec(tokenizer)
    if start is None:
        return Prompt(codec.prompt(text).ids.tolist(), lead=len(tokenizer.prefix))
    begun = [start] if isinstance(start, int) else list(start)
    return Prompt(begun, source=codec.source(text).ids.tolist(), tail=len(tokenizer.suffix))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt as a model with a limited context reads it."""

    ids: list[int]
    source: list[int] | None
    cut: int  # tokens left out: of the beginning of `ids` (behind its lead), of the end of `source` (before its tail)
    room: int  # tokens that may be written: as many as were asked for, or until the context is full
    context: int  # tokens that could be written before the context is full


def fitted(
    prompts: Sequence[Sequence[int] | Prompt],
    *,
    tokens: int,
    context: int,
    ends: tuple[int, ...],
    sources: int | None = None,
) -> list[Fitted]:
    """Prompts cut to a context of so many tokens, and to `sources` tokens of a source (left out: as many), when
    `tokens` are to be written.

    Of ids that are too long the end is kept, behind their `lead`, with room for the answer in up to half of the
    context; of a source the beginning. Empty ids without a source begin with the first of `ends`.

    Raises TextmillError where ids are empty and there is a source (which id a target starts with is the caller's
    to say) or none of `ends`, and where some prompts have a source and some have not.
    """
    wrapped = [prompt if isinstance(prompt, Prompt) else Prompt(prompt) for prompt in prompts]
    if len({prompt.source is None for prompt in wrapped}) > 1:
        raise TextmillError("some prompts have a source and some have none", advice="pass them separately")
    longest = context if sources is None else sources
    return [_fit(prompt, tokens, context, longest, ends[0] if ends else None) for prompt in wrapped]


def _fit(prompt: Prompt, tokens: int, context: int, longest: int, start: int | None) -> Fitted:
    ids = list(prompt.ids)
    if not ids:
        if prompt.source is not None or start is None:
            raise TextmillError(
                "the target is empty", advice="put the start id of the target into Prompt.ids"
            )
        ids = [start]
    kept = ids
    if len(ids) > context:
        room = max(context - tokens + 1, (context + 1) // 2)
        lead = min(prompt.lead, room - 1)
        kept = ids[:lead] + ids[len(ids) - room + lead :]
    source = None if prompt.source is None else list(prompt.source)
    if source is not None and len(source) > longest:
        tail = min(prompt.tail, longest - 1)
        source = source[: longest - tail] + source[len(source) - tail :]
    cut = len(ids) - len(kept) + (0 if prompt.source is None else len(prompt.source) - len(source or ()))
    left = context - len(kept) + 1  # the last token written is never read
    return Fitted(kept, source, cut, min(tokens, left), left)


def batch_of(prompts: Sequence[Fitted], device: torch.device | str = "cpu") -> Batch:
    """Prompts as one batch. Padding, of any id, stands before the ids, so that every row's last token is in the last
    column, and after the sources."""
    inputs, mask = _tensors([prompt.ids for prompt in prompts], front=True)
    source = source_mask = None
    if prompts[0].source is not None:
        source, source_mask = _tensors([prompt.source or [] for prompt in prompts], front=False)
    batch = Batch(inputs, torch.full_like(inputs, IGNORE), mask, source=source, source_mask=source_mask)
    return batch.to(device)


def _tensors(rows: Sequence[list[int]], *, front: bool) -> tuple[Tensor, Tensor | None]:
    ids, real = padded(rows, front=front)
    return torch.from_numpy(ids), None if real is None else torch.from_numpy(real)


def ending(ends: int | Collection[int]) -> tuple[int, ...]:
    """The ids that end a row, of one id or several. An id under 0 is none."""
    ids = (ends,) if isinstance(ends, int) else tuple(ends)
    return tuple(dict.fromkeys(token for token in ids if token >= 0))


def device_of(model: nn.Module) -> torch.device:
    """Where a model computes."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
