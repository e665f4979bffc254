"""Models over one base as one model, whose step reads each matrix of the base once for the rows of all of them.

    model = joined([base, adapted, prompted])
    with computing(rows=(2, 1, 3)):              # so many rows of each, one model after the other
        logits, states = model.step_apart(tokens, states)

They are the same modules over the same tensors, low-rank additions apart; those are added to the rows of their own
model. What stands before a text (soft prompts, prefixes) is in the states of its rows once the prompt is read, and
plays no part in steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from textmill.models.model import Generator
from textmill.models.virtual import PromptEmbedding, Virtual
from textmill.nn.attention import Prefix
from textmill.nn.low_rank import LowRankEmbedding, LowRankLinear, Several
from textmill.nn.shared import shared


def joined(models: Sequence[Generator]) -> Generator | None:
    """Generators as one, for steps with `nn.mode.Mode.rows`; None where they do not share a base, or read their rows
    one after the other in any case."""
    bodies = [_body(model) for model in models]
    apart = any(type(body).step_apart is Generator.step_apart for body in bodies)
    if apart or any(body.spec != bodies[0].spec for body in bodies):
        return None
    one = _joined(bodies)
    return one if isinstance(one, Generator) else None


def _body(model: Generator) -> Generator:
    return _body(model.body) if isinstance(model, Virtual) else model


def _joined(given: Sequence[nn.Module]) -> nn.Module | None:
    """Modules that stand in the same place as one; None where they are not the same, additions apart."""
    first = given[0]
    if all(module is first for module in given):
        return first
    if any(isinstance(module, (LowRankLinear, LowRankEmbedding, PromptEmbedding)) for module in given):
        base = _joined([_base(module) for module in given])
        adapted = [
            module if isinstance(module, (LowRankLinear, LowRankEmbedding)) else None for module in given
        ]
        return (
            Several(base, adapted) if base is not None and any(one is not None for one in adapted) else base
        )
    children = [_children(module) for module in given]
    names = children[0].keys()
    if not all(_same(module, first) for module in given) or any(own.keys() != names for own in children):
        return None
    one = shared(first)
    for name in names:
        child = _joined([own[name] for own in children])
        if child is None:
            return None
        one._modules[name] = child
    return one


def _base(module: nn.Module) -> nn.Module:
    adds = isinstance(module, (LowRankLinear, LowRankEmbedding, PromptEmbedding))
    return module.base if adds else module


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """What takes part in a step."""
    return {
        name: child
        for name, child in module._modules.items()
        if child is not None and not isinstance(child, Prefix)
    }


def _same(module: nn.Module, other: nn.Module) -> bool:
    """Whether they are of one class, over the same tensors of their own."""
    if type(module) is not type(other):
        return False
    places = [
        {
            name: (tensor.data_ptr(), tensor.shape)
            for name, tensor in {**one._parameters, **one._buffers}.items()
            if tensor is not None
        }
        for one in (module, other)
    ]
    return places[0] == places[1]
