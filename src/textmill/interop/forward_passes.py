"""The ways to a model's logits for some texts, whatever its family: alone, padded, token by token, by transformers.

Each text is a batch of one row. Its logits are (N, C): a row for each token, or one for the text as a whole.

Shapes: T tokens, S tokens of a source, V vocabulary, C labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import padded as padded_rows
from textmill.interop.onnx.runtime import OnnxModel
from textmill.models.heads import framed
from textmill.models.model import Generator
from textmill.models.pretrained import Pretrained
from textmill.specs.model import READ_AND_WRITE

Model = nn.Module | OnnxModel


def batches_of(pretrained: Pretrained, texts: Sequence[str], tokens: int) -> list[Batch]:
    """Each text as its model would read it, at most `tokens` tokens of it.

    A model that writes begins with the end-of-text token or what its tokenizer puts before a text; an encoder, or a
    model with a head, reads the text in its frame. Of one that reads a source, the first half is the source, the rest
    what is written.
    """
    length, codec = min(tokens, pretrained.spec.context), pretrained.codec
    room = max(1, length - codec.special.frame)
    batches = []
    for text in codec.encode(texts):
        if pretrained.spec.kind in READ_AND_WRITE:
            source, target = np.array_split(text.ids[: 2 * room], [len(text.ids[: 2 * room]) // 2])
            batches.append(
                batch_of_one([codec.special.start, *target][:length], source=codec.special.around(source))
            )
        elif framed(pretrained.model):
            batches.append(batch_of_one(codec.special.around(text.ids[:room])))
        else:
            batches.append(batch_of_one(codec.scored(text).ids[:length]))
    return batches


def batch_of_one(
    ids: Sequence[int] | np.ndarray, *, source: np.ndarray | None = None, segments: np.ndarray | None = None
) -> Batch:
    """A row by itself: (1, T)."""
    inputs = torch.from_numpy(np.array([ids], dtype=np.int64))
    read, kinds = (None if part is None else torch.from_numpy(part)[None] for part in (source, segments))
    return Batch(inputs, torch.full_like(inputs, IGNORE), source=read, segments=kinds)


def alone(model: Model, batches: Sequence[Batch]) -> list[Tensor]:
    """The training path: each text by itself, in one pass."""
    return [_rows(_logits(model, batch)[0]) for batch in batches]


def _logits(model: Any, batch: Batch) -> Tensor:
    """Logits; of an encoder that is its body alone, which has none, its states."""
    return model.hidden(batch) if not isinstance(model, OnnxModel) and model.bare else model(batch)


def padded(model: Model, batches: Sequence[Batch]) -> list[Tensor]:
    """All texts in one batch, shorter ones padded behind."""
    inputs, mask = _together([batch.inputs[0] for batch in batches])
    source, source_mask = None, None
    if batches[0].source is not None:
        source, source_mask = _together([batch.source[0] for batch in batches if batch.source is not None])
    whole = Batch(inputs, torch.full_like(inputs, IGNORE), mask, source=source, source_mask=source_mask)
    logits = _logits(model, whole)
    if logits.ndim == 2:  # one row a text
        return [_rows(row) for row in logits]
    return [_rows(row[: batch.inputs.shape[1]]) for row, batch in zip(logits, batches, strict=True)]


def is_cached(model: Model) -> bool:
    """Whether a model decodes token by token."""
    return model.writes if isinstance(model, OnnxModel) else isinstance(model, Generator) and not model.bare


def cached(model: Any, batches: Sequence[Batch]) -> list[Tensor]:
    """Each text's first token as a prompt, and the rest one by one; of a model that `is_cached`."""
    texts = []
    for batch in batches:
        ids = batch.inputs
        first = Batch(ids[:, :1], ids[:, :1], source=batch.source)
        logits, state = model.begin(first, ids.shape[1])
        rows = [logits]
        for token in ids.split(1, dim=1)[1:]:
            logits, state = model.step(token, state)
            rows.append(logits[:, -1])
        texts.append(torch.cat(rows).float())
    return texts


def tokens_of(batch: Batch) -> int:
    """Tokens of a text, those of its source included."""
    return batch.inputs.shape[1] + (0 if batch.source is None else batch.source.shape[1])


def quiet_transformers() -> Any:
    """The library, without its progress bars and without what its optional parts say of themselves."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _rows(logits: Tensor) -> Tensor:
    """(C,) or (T, C) -> (N, C), float32."""
    return (logits if logits.ndim == 2 else logits[None]).float()


def _together(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Rows of ids padded behind with 0, (B, T), and which are real; None where all are."""
    ids, real = padded_rows([row.numpy() for row in rows])
    return torch.from_numpy(ids), None if real is None else torch.from_numpy(real)
