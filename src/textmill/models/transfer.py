"""The weights of one model as the first of another: by name, whatever stands on either, with rows for new tokens.

A body is a body: what a model computes its states by is taken as it is, to the bit. What stands on it (an output layer,
BERT's transform and pooler, a head) is taken where both have it; what only the new model has keeps its first values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.models.heads import Headed
from textmill.models.model import Model

_BODY, _HEAD = "body.", "head."


@dataclass(frozen=True)
class Taken:
    """What became of two models' tensors, by name."""

    new: tuple[str, ...]  # of the new model, which the old one does not have: they keep their first values
    left: tuple[str, ...]  # of the old model, which the new one has no place for
    rows: tuple[int, ...]  # ids that got a row


@torch.no_grad()
def take(
    model: Model, start: Model, *, pieces: Mapping[int, np.ndarray] | None = None, head: bool = False
) -> Taken:
    """Fill a model with the weights of another, in place.

    pieces: what each new id is made of, (n,) ids of the old vocabulary. Its rows of embedding and output layer begin as
    the mean of theirs (Hewitt 2021), and as the mean of all rows where it is made of nothing. head: whether the head is
    taken too; else it keeps its first values. Raises RecipeError where two tensors of one name have other shapes, or
    the head to be kept is not the one there is.
    """
    ours, theirs = _tensors(model), _tensors(start)
    if head:
        _check_heads(model, start)
    else:
        theirs = {name: tensor for name, tensor in theirs.items() if not name.startswith(_HEAD)}
    pieces = pieces or {}
    for name, tensor in ours.items():
        if (source := theirs.get(name)) is None:
            continue
        if tensor.shape == source.shape:
            tensor.copy_(source)
        elif _by_token(tensor, source, model, start):
            tensor[: len(source)].copy_(source)
            tensor[len(source) :].copy_(source.mean(0))
        else:
            raise RecipeError(
                f"{name} has shape {tuple(source.shape)} in the start and {tuple(tensor.shape)} here",
                where="start.model",
            )
        if _by_token(tensor, source, model, start):
            for token, parts in pieces.items():
                known = parts[parts < len(source)].tolist()
                if token < len(tensor):
                    tensor[token].copy_(source[known].mean(0) if known else source.mean(0))
    return Taken(
        tuple(sorted(ours.keys() - theirs.keys())),
        tuple(sorted(theirs.keys() - ours.keys())),
        tuple(token for token in pieces if token < model.vocabulary),
    )


def _tensors(model: Model) -> dict[str, Tensor]:
    """Weights and buffers by name, each once, without what a head puts before the names of its body."""
    return {name.removeprefix(_BODY): tensor for name, tensor in model.state_dict().items()}


def _by_token(tensor: Tensor, source: Tensor, model: Model, start: Model) -> bool:
    """Whether these have a row for each token."""
    same = tensor.shape[1:] == source.shape[1:]
    return (
        same
        and (len(tensor), len(source)) == (model.vocabulary, start.vocabulary)
        and len(tensor) >= len(source)
    )


def _check_heads(model: Model, start: Model) -> None:
    """Raises RecipeError where the head to be kept is not what the objective wants."""
    if not isinstance(start, Headed):
        raise RecipeError(
            "the start has no head to keep",
            where="start.keep_head",
            advice="leave it out: a new one is attached",
        )
    if not isinstance(model, Headed):
        raise RecipeError(
            "the objective wants no head",
            where="start.keep_head",
            advice="leave it out: the start's is taken off",
        )
    kinds = model.head.spec.kind, start.head.spec.kind
    if kinds[0] != kinds[1]:
        raise _other_head([_differs("kind", repr(kinds[1]), repr(kinds[0]))])
    names = [field.name for field in dataclasses.fields(model.head.spec) if field.name != "dropout"]
    pairs = [(name, getattr(start.head.spec, name), getattr(model.head.spec, name)) for name in names]
    if different := [_differs(name, was, now) for name, was, now in pairs if was != now]:
        raise _other_head(different)


def _differs(name: str, was: object, now: object) -> str:
    return f"{name}: {was} in the start, {now} here"


def _other_head(different: list[str]) -> RecipeError:
    return RecipeError(
        f"the objective wants another head than the start's; {'; '.join(different)}",
        where="start.keep_head",
        advice="leave it out: a new head is attached",
    )
