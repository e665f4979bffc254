"""`textmill embed`: a text as one vector, such that texts which mean alike lie near each other.

Shapes: B texts, T tokens, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textmill.base.errors import RecipeError, TextmillError
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

    from textmill.interop.huggingface.sentences import Pooling, Sentences
    from textmill.models.pretrained import Pretrained

_BATCH_TOKENS = 8192  # read at once, padding included
POOLINGS: dict[str, Pooling] = {"cls": "first", "mean": "mean", "last": "last", "max": "max"}


def embed(
    workspace: Workspace,
    target: str,
    texts: Sequence[str],
    *,
    pooling: str | None = None,
    normalise: bool | None = None,
) -> dict[str, Any]:
    """The vectors of texts, in their order, and how they were made.

    What pools them and whether they are scaled to length 1 is what the model's directory says; where it says nothing
    the mean of the states is scaled. `pooling` and `normalise` say it otherwise.

    Raises RecipeError for an unknown pooling, and TextmillError when there is no such model, or none that has states.
    """
    from textmill.interop import load
    from textmill.interop.huggingface import sentences

    place = locate_model(workspace, target)
    said = (sentences.settings(place) if place.is_dir() else None) or sentences.Sentences()
    if pooling is not None:
        if pooling not in POOLINGS:
            raise RecipeError(f"{pooling!r} is none of {', '.join(POOLINGS)}", where="--pooling")
        said = replace(said, pooling=POOLINGS[pooling])
    if normalise is not None:
        said = replace(said, normalised=normalise)
    published = load.load(place)
    vectors, lengths, cut = vectors_of(published, texts, said)
    if cut:
        workspace.reporter.warn(
            f"{cut} of {len(texts)} texts were longer than the model reads; their ends were cut off"
        )
    name = next(name for name, mode in POOLINGS.items() if mode == said.pooling)
    return {
        "model": str(target),
        "width": int(vectors.shape[1]),
        "pooling": name,
        "normalised": said.normalised,
        "cut": cut,
        "tokens": lengths,
        "embeddings": vectors,
    }


def vectors_of(
    published: Pretrained, texts: Sequence[str], said: Sentences
) -> tuple[np.ndarray, list[int], int]:
    """(vectors (B, D) float32, tokens read of each text, how many texts were cut)."""
    import torch

    from textmill.models.model import TokenScorer

    model, rows, cut = published.model.eval(), *_rows(published, texts, said)
    if isinstance(model, TokenScorer):
        raise TextmillError(f"a {published.spec.kind} model has no states", where="textmill embed")
    found = torch.zeros(0, 0)
    with torch.inference_mode():
        for places in _batches([len(row) for row in rows]):
            vectors = _vectors(published, [rows[place] for place in places], said)
            if not found.numel():
                found = torch.zeros(len(rows), vectors.shape[1])
            found[places] = vectors
    return found.numpy(), [len(row) for row in rows], cut


def _rows(published: Pretrained, texts: Sequence[str], said: Sentences) -> tuple[list[list[int]], int]:
    """The ids of each text, in the frame its tokenizer puts around it, and how many texts were cut to fit."""
    tokenizer, spec = published.tokenizer, published.spec
    prefix, suffix = list(tokenizer.prefix), list(tokenizer.suffix)
    room = min(said.tokens or spec.context, spec.context) - len(prefix) - len(suffix)
    if room < 1:
        raise TextmillError(f"reads {spec.context} tokens only, which leaves no room for a text")
    ids = [row.tolist() for row in tokenizer.encode_many([said.before + text for text in texts])]
    rows = [prefix + row[:room] + suffix for row in ids]
    return [row or [tokenizer.end] for row in rows], sum(len(row) > room for row in ids)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts of like length, together of no more than `_BATCH_TOKENS`."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _vectors(published: Pretrained, rows: Sequence[Sequence[int]], said: Sentences) -> Any:
    """(B, D) float32."""
    import torch
    from torch.nn import functional

    from textmill.data.batch import IGNORE, Batch
    from textmill.models.heads import POOLED, Headed
    from textmill.models.model import SourceReader

    width = max(map(len, rows))
    inputs = torch.full((len(rows), width), published.tokenizer.pad)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        inputs[place, : len(row)] = torch.tensor(row)
        real[place, : len(row)] = True
    model = published.model.body if isinstance(published.model, Headed) else published.model
    mask = None if bool(real.all()) else real
    if isinstance(model, SourceReader):
        states = model.encode(inputs, mask)
    else:
        states = model.hidden(Batch(inputs, torch.full_like(inputs, IGNORE), mask))
    states = states.float()
    if said.pooling == "max":
        vectors = states.masked_fill(~real[..., None], -torch.inf).amax(1)
    else:
        vectors = POOLED[said.pooling](states, mask)
    return functional.normalize(vectors, dim=-1) if said.normalised else vectors
