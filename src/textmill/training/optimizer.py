"""Optimisers by spec: which rule, learning rate and decay each parameter gets, and a state saved by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textmill.base.errors import DamagedError
from textmill.models.initial import kind_of_parameter, learning_rate_scale
from textmill.models.model import Model
from textmill.models.names import rate_by_layer
from textmill.specs.model import GATES, RecurrentEncoderDecoderSpec, RecurrentSpec, TransformerSpec
from textmill.specs.training import AdamWSpec, MuonSpec
from textmill.training.distributed import placed
from textmill.training.muon import Muon


class Optimizer:
    """One or two torch optimisers over one model, with one learning rate and a state named by parameter."""

    def __init__(self, parts: list[torch.optim.Optimizer], names: Mapping[Tensor, str]) -> None:
        self.parts, self.names = parts, dict(names)
        for group in self.groups():
            group["peak"] = group["lr"]

    def groups(self) -> Iterator[dict[str, Any]]:
        """Every group of parameters."""
        for part in self.parts:
            yield from part.param_groups

    def parameters(self) -> list[Tensor]:
        """Every parameter that is updated, in the order of the groups."""
        return [weight for group in self.groups() for weight in group["params"]]

    def step(self, rate: float) -> None:
        """Update every parameter, with `rate` times the peak learning rate of its group."""
        for group in self.groups():
            group["lr"] = group["peak"] * rate
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """What must be saved: `parameter name/quantity` -> tensor, sorted by name."""
        tensors = {
            f"{self.names[weight]}/{key}": value
            for part in self.parts
            for weight, values in part.state.items()
            for key, value in values.items()
        }
        return dict(sorted(tensors.items()))

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a saved state. Raises DamagedError when it belongs to other parameters."""
        by_name: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            name, _, quantity = key.rpartition("/")
            by_name.setdefault(name, {})[quantity] = value
        if unknown := set(by_name) - set(self.names.values()):
            raise DamagedError(
                f"holds the state of {sorted(unknown)[0]}, which the model does not have", where="optimizer"
            )
        for part in self.parts:
            part.state.clear()
            for weight in (weight for group in part.param_groups for weight in group["params"]):
                for quantity, value in by_name.get(self.names[weight], {}).items():
                    if value.ndim and value.shape != weight.shape:
                        raise DamagedError(
                            f"{self.names[weight]} has shape {tuple(value.shape)}", where="optimizer"
                        )
                    part.state[weight][quantity] = placed(value, weight)


def build(model: nn.Module, spec: AdamWSpec | MuonSpec, *, layer_decay: float | None = None) -> Optimizer:
    """The optimiser of a recipe for a model: of what is trained of it.

    Decay falls on matrices inside blocks and on an untied output layer; never on norms, biases or embeddings
    (a decayed embedding shrinks the input of every norm and so raises its gradients: OLMo 2, 2025).
    With µP (`base_width` of the model's spec) Adam's rates follow `models.initial.learning_rate_scale`. Muon's updates
    have a fixed spectral norm, so its rate carries over widths as it is. layer_decay: see `models.names.rate_by_layer`;
    it holds for all rates.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    kinds = kind_of_parameter(model)
    scales = learning_rate_scale(model) if isinstance(model, Model) else {}
    layers = {} if layer_decay is None else rate_by_layer(model, layer_decay)
    muon = [name for name in named if kinds[name] == "hidden" and isinstance(spec, MuonSpec)]
    adam = spec.rest if isinstance(spec, MuonSpec) else spec
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name in (name for name in named if name not in set(muon)):
        decay = adam.weight_decay if kinds[name] in ("hidden", "output") else 0.0
        lr = adam.lr * scales.get(name, 1.0) * layers.get(name, 1.0)
        groups.setdefault((lr, decay), []).append(named[name])
    parts: list[torch.optim.Optimizer] = []
    if groups:
        options = [{"params": some, "lr": lr, "weight_decay": decay} for (lr, decay), some in groups.items()]
        parts.append(torch.optim.AdamW(options, lr=adam.lr, betas=adam.betas, eps=adam.eps, fused=True))
    if muon and isinstance(spec, MuonSpec):
        together: dict[float, list[str]] = {}
        for name in muon:
            together.setdefault(spec.lr * layers.get(name, 1.0), []).append(name)
        options = [
            {"params": [named[n] for n in some], "splits": [fused_rows(model, n) for n in some], "lr": lr}
            for lr, some in together.items()
        ]
        parts.append(Muon(options, spec.lr, spec.momentum, spec.iterations, spec.weight_decay))
    return Optimizer(parts, {weight: name for name, weight in named.items()})


def fused_rows(model: nn.Module, name: str) -> tuple[int, ...]:
    """Rows of each matrix that a parameter holds: queries, keys and values, gate and up, or a cell's gates.

    Muon orthogonalises each of them on its own, since one spectrum over all would couple their scales.
    """
    rows = model.get_parameter(name).shape[0]
    spec = model.spec if isinstance(model, Model) else None
    if isinstance(spec, (TransformerSpec, RecurrentSpec)) and name.endswith("attention.qkv.weight"):
        return (spec.heads * spec.head_width, *(2 * (spec.key_heads * spec.head_width,)))
    if isinstance(spec, TransformerSpec) and name.endswith("feedforward.up.weight") and spec.gated:
        return (rows // 2, rows // 2)
    if isinstance(spec, (RecurrentSpec, RecurrentEncoderDecoderSpec)) and ".core.weight_" in name:
        return GATES[spec.cell] * (rows // GATES[spec.cell],)
    return (rows,)
