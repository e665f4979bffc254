"""The ways one model can be made to read a text, whatever its family: alone, padded, token by token, by others.

A case is one text as a batch of one row. Every way gives its logits as (N, C): a token each, or the text as a whole.

Shapes: T tokens, S tokens of a source, V vocabulary, C labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.data.special import frame
from textmill.interop.huggingface.directory import bare
from textmill.models.heads import Headed
from textmill.models.pretrained import Pretrained
from textmill.specs.model import READ_AND_WRITE

# What transformers calls a model of each kind, and of each head in place of its output layer.
_AUTO = {
    "decoder": "AutoModelForCausalLM",
    "encoder": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "answer": "AutoModelForQuestionAnswering",
}


def cases(published: Pretrained, texts: Sequence[str], tokens: int) -> list[Batch]:
    """Each text as its model would read it, at most `tokens` tokens of it.

    A model that writes begins with the end-of-text token or what its tokenizer puts before a text; an encoder, or a
    model with a head, reads the text in its frame. Of one that reads a source, the first half is the source, the rest
    what is written.
    """
    tokenizer, length = published.tokenizer, min(tokens, published.spec.context)
    lead, tail = frame(tokenizer)
    room = max(1, length - len(lead) - len(tail))
    found = []
    for text in texts:
        ids = tokenizer.encode(text).tolist()
        if published.spec.kind in READ_AND_WRITE:
            ids = ids[: 2 * room]
            start = published.spec.start
            begin, middle = tokenizer.start if start is None else start, len(ids) // 2
            found.append(_case([begin, *ids[middle:]][:length], [*lead, *ids[:middle], *tail]))
        elif published.spec.kind == "encoder" or isinstance(published.model, Headed):
            found.append(_case([*lead, *ids[:room], *tail]))
        else:
            found.append(_case([*(tuple(tokenizer.prefix) or (tokenizer.end,)), *ids][:length]))
    return found


def _case(ids: list[int], source: list[int] | None = None) -> Batch:
    inputs = torch.tensor([ids])
    read = None if source is None else torch.tensor([source])
    return Batch(inputs, torch.full_like(inputs, IGNORE), source=read)


def forward(model: Any, given: Sequence[Batch]) -> list[Tensor]:
    """The training path: each text alone, in one pass."""
    return [_rows(_said(model, case)[0]) for case in given]


def _said(model: Any, batch: Batch) -> Tensor:
    """Logits; of an encoder that is its body alone, which has none, its states."""
    return model.hidden(batch) if bare(model) else model(batch)


def padded(model: Any, given: Sequence[Batch]) -> list[Tensor]:
    """All texts in one batch, shorter ones padded behind."""
    inputs, mask = _together([case.inputs[0] for case in given])
    source, source_mask = None, None
    if given[0].source is not None:
        source, source_mask = _together([case.source[0] for case in given if case.source is not None])
    batch = Batch(inputs, torch.full_like(inputs, IGNORE), mask, source=source, source_mask=source_mask)
    logits = _said(model, batch)
    if logits.ndim == 2:  # one row a text
        return [_rows(one) for one in logits]
    return [_rows(one[: case.inputs.shape[1]]) for one, case in zip(logits, given, strict=True)]


def cached(model: Any, given: Sequence[Batch]) -> list[Tensor]:
    """Each text's first token as a prompt, and the rest one by one."""
    found = []
    for case in given:
        ids = case.inputs
        first = Batch(ids[:, :1], ids[:, :1], source=case.source)
        logits, state = model.begin(first, ids.shape[1])
        rows = [logits]
        for place in range(1, ids.shape[1]):
            logits, state = model.step(ids[:, place : place + 1], state)
            rows.append(logits[:, -1])
        found.append(torch.cat(rows).float())
    return found


def by_transformers(directory: Path, published: Pretrained, given: Sequence[Batch]) -> list[Tensor]:
    """What transformers makes of the directory: the logits of its own class."""
    transformers = quiet_transformers()
    kind = published.model.head.spec.kind if isinstance(published.model, Headed) else published.spec.kind
    body = bare(published.model)
    auto = getattr(transformers, "AutoModel" if body else _AUTO[str(kind)])
    model = auto.from_pretrained(directory, dtype=torch.float32, local_files_only=True).eval()

    def read(case: Batch) -> Tensor:
        if case.source is not None:
            return model(input_ids=case.source, decoder_input_ids=case.inputs).logits[0]
        answer = model(case.inputs)
        if body:
            return answer.last_hidden_state[0]
        if kind == "answer":
            return torch.stack((answer.start_logits[0], answer.end_logits[0]), dim=-1)
        return answer.logits[0]

    return [_rows(read(case)) for case in given]


def tokens_of(case: Batch) -> int:
    """Tokens a case holds, those of its source included."""
    return case.inputs.shape[1] + (0 if case.source is None else case.source.shape[1])


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
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = True
    return ids, None if bool(mask.all()) else mask
