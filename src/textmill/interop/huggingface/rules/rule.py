"""What a rule of weights is: one parameter of ours, and what a published file holds for it.

Ours are wider than the published ones: queries, keys and values are one matrix, and so are gate and up. Rows of ours
that belong together become tensors of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textmill.specs.model import ModelSpec, TransformerSpec

if TYPE_CHECKING:  # what types there are is told without a tensor library: `textmill import --list`
    import torch
    from torch import Tensor

LAYER = "{i}"  # stands for the number of a block in names


@dataclass(frozen=True, slots=True)
class Rule:
    """One parameter of ours and what the published file holds for it."""

    ours: str
    theirs: tuple[str, ...]  # several: rows of ours shared out in this order, as `rows` says
    rows: Callable[[TransformerSpec], tuple[int, ...]] | None = None
    transposed: bool = False  # GPT-2's Conv1D keeps matrices as (in, out)
    added: float = 0.0  # ours is theirs and this (Gemma's norms keep what differs from 1)
    front: Callable[[Mapping[str, Any]], int] | None = None  # rows before ours, of config.json; we keep none
    flat: bool = False  # a vector of ours is a matrix of one row there
    also: tuple[str, ...] = ()  # other names of the same tensor, read where the first is not there
    copied: bool = False  # written under the other names too
    head: bool = False  # may be missing: it sits on the model, and others may have left it out

    def named(self, name: str, block: str) -> Rule:
        """The same rule for a parameter of this name, in the block of this number."""
        theirs, also = (
            tuple(pattern.replace(LAYER, block) for pattern in names) for names in (self.theirs, self.also)
        )
        return Rule(
            name,
            theirs,
            self.rows,
            self.transposed,
            self.added,
            self.front,
            self.flat,
            also,
            self.copied,
            self.head,
        )

    def stored_shapes(
        self, spec: ModelSpec, shape: tuple[int, ...], config: Mapping[str, Any]
    ) -> list[tuple[int, ...]]:
        """The shapes of what is stored for a parameter of ours of this shape."""
        rows = self._rows(spec)
        shapes: list[tuple[int, ...]] = [tuple(shape)]
        if rows is not None:
            shapes = [(count, *shape[1:]) for count in rows]
        if self.front is not None:
            shapes = [(rows + self.front(config), *others) for rows, *others in shapes]
        if self.flat:
            shapes = [(1, *shape) for shape in shapes]
        return [tuple(reversed(shape)) for shape in shapes] if self.transposed else shapes

    def publish(self, spec: ModelSpec, tensor: Tensor, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """A tensor of ours as it is stored, by name; each contiguous and with storage of its own."""
        import torch

        rows = self._rows(spec)
        parts = tensor.detach().split(rows) if rows else (tensor.detach(),)
        result = {}
        for name, part in zip(self.theirs, parts, strict=True):
            laid = part.T if self.transposed else part
            if self.added:
                laid = _less(laid, self.added)
            if self.front is not None:
                laid = torch.cat([laid.new_zeros(self.front(config), *laid.shape[1:]), laid])
            if self.flat:
                laid = laid[None]
            for spelling in (name, *(self.also if self.copied else ())):
                result[spelling] = laid.clone(memory_format=torch.contiguous_format)
        return result

    def _rows(self, spec: ModelSpec) -> tuple[int, ...] | None:
        if self.rows is None:
            return None
        assert isinstance(spec, TransformerSpec)  # others are stored as they are
        return self.rows(spec)

    def take(self, parts: list[Tensor], config: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
        """The tensor of ours, from what is stored for it."""
        return self._whole([self._one(part, config, dtype) for part in parts])

    def _one(self, part: Tensor, config: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
        import torch

        if self.added:
            part = part.to(torch.promote_types(part.dtype, dtype)) + self.added
        part = part.to(dtype)
        if self.flat:
            part = part[0]
        if self.front is not None:
            part = part[self.front(config) :].contiguous()
        return part.T.contiguous() if self.transposed else part

    def _whole(self, parts: list[Tensor]) -> Tensor:
        import torch

        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _less(tensor: Tensor, number: float) -> Tensor:
    """tensor - number, in the narrowest format from which adding the number gives the tensor back to the bit."""
    import torch

    for dtype in dict.fromkeys((tensor.dtype, torch.float32, torch.float64)):
        part = tensor.to(dtype) - number
        if torch.equal((part + number).to(tensor.dtype), tensor):
            break
    return part


def qkv_rows(spec: TransformerSpec) -> tuple[int, ...]:
    """Rows of queries, keys and values in our one matrix."""
    return spec.heads * spec.head_width, *key_value_rows(spec)


def key_value_rows(spec: TransformerSpec) -> tuple[int, ...]:
    """Rows of keys and values."""
    width = spec.key_heads * spec.head_width
    return width, width


def gate_rows(spec: TransformerSpec) -> tuple[int, ...]:
    """Rows of gate and up; of up alone where there is no gate."""
    return (spec.d_ff, spec.d_ff) if spec.gated else (spec.d_ff,)


def both(ours: str, *theirs: str, **more: Any) -> tuple[Rule, Rule]:
    """The rule of a matrix and that of its bias, which is never transposed."""
    bias = {name: value for name, value in more.items() if name != "transposed"}
    return (
        Rule(ours + ".weight", tuple(name + ".weight" for name in theirs), **more),
        Rule(ours + ".bias", tuple(name + ".bias" for name in theirs), **bias),
    )
