"""What is trained of a model that a run begins from, as plain data: all weights, or an adapter beside them.

An adapter leaves the base as it is. It is small, belongs to one base, and several may stand beside one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About

LINEAR = "all-linear"  # every linear layer but the output layer and a head


@dataclass(frozen=True, kw_only=True)
class _Adapter:
    """base: the base's weights are frozen, so they may be kept in fewer bits."""

    kind: str = ""
    base: Annotated[
        Literal["fp32", "int8"],
        About("format of the frozen base weights; int8: a quarter of the memory, and slightly other logits"),
    ] = "fp32"


@dataclass(frozen=True, kw_only=True)
class LoRATuning(_Adapter):
    """Low-rank additions to matrices (Hu et al. 2021)."""

    kind: Literal["lora"] = "lora"
    rank: Annotated[int, About("rank of each addition", ge=1)] = 8
    alpha: Annotated[float, About("additions are multiplied by alpha / rank", gt=0)] = 16.0
    dropout: Annotated[float, About("probability of dropping what an addition reads", ge=0, lt=1)] = 0.0
    targets: Annotated[
        tuple[str, ...],
        About(
            "layers that get one: names, or patterns, such as q, v, gate, attention, blocks.0-3, "
            'embedding, output; PEFT\'s names such as q_proj mean the same; "all-linear": every linear layer'
        ),
    ] = (LINEAR,)
    rslora: Annotated[
        bool, About("multiplied by alpha / sqrt(rank) instead (rsLoRA, Kalajdzievski 2023)")
    ] = False
    dora: Annotated[
        bool, About("magnitude and direction of each matrix are trained apart (DoRA, Liu et al. 2024)")
    ] = False

    def __post_init__(self) -> None:
        if not self.targets:
            raise RecipeError("names no layer", where="targets", advice=f'"{LINEAR}" means all linear ones')

    @property
    def scale(self) -> float:
        """What an addition is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


@dataclass(frozen=True, kw_only=True)
class PromptTuning(_Adapter):
    """Trained vectors before the text (prompt tuning, Lester et al. 2021)."""

    kind: Literal["prompt"] = "prompt"
    tokens: Annotated[int, About("vectors before every text or source", "tokens", ge=1)] = 20
    text: Annotated[
        str | None, About("text whose token vectors they begin as, repeated; left out: random tokens'")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(_Adapter):
    """Trained keys and values before those of the text, in every layer (prefix tuning, Li & Liang 2021)."""

    kind: Literal["prefix"] = "prefix"
    tokens: Annotated[int, About("keys and values before every text", "tokens", ge=1)] = 20


TuningSpec = LoRATuning | PromptTuning | PrefixTuning
