"""What is trained of a model that a run begins from, as plain data: all weights, or an adapter beside them.

An adapter leaves the base as it is. It is small, belongs to one base, and several may stand beside one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
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


@dataclass(frozen=True, kw_only=True)
class PromptingTuning(_Adapter):
    """Nothing is trained: the model is asked, by a written prompt and examples (Brown et al. 2020), for a label."""

    kind: Literal["prompting"] = "prompting"
    instruction: Annotated[str, About("text before everything else")] = ""
    form: Annotated[
        str, About("how a text and its label are written, with {text} and, at the end, {label}")
    ] = "{text}\nLabel: {label}"
    between: Annotated[str, About("what stands between instruction, examples and the text")] = "\n\n"
    words: Annotated[
        dict[str, str], About('label words, such as { "0" = "negative" }; left out: the label itself')
    ] = field(default_factory=dict)
    examples: Annotated[int, About("few-shot examples before the text", ge=0, le=64)] = 0
    choose: Annotated[
        Literal["random", "bm25", "embedding"],
        About("how they are chosen: at random, once; or nearest to each text by shared words or by meaning"),
    ] = "random"
    pool: Annotated[int, About("training records that examples are chosen from, drawn at random", ge=1)] = (
        1000
    )
    calibrate: Annotated[
        tuple[str, ...],
        About(
            "contextual calibration (Zhao et al. 2021): texts without content by which the prompt's own leaning is "
            "taken out; none: uncalibrated"
        ),
    ] = ("N/A", "[MASK]", "")

    @property
    def before_label(self) -> str:
        """The form up to the label."""
        return self.form.partition("{label}")[0]

    def __post_init__(self) -> None:
        text, label = self.form.count("{text}"), self.form.count("{label}")
        if (text, label) != (1, 1) or not self.form.endswith("{label}"):
            raise RecipeError(
                "has {text} once, and {label} once at its end",
                where="form",
                advice='such as "Review: {text}\\nSentiment: {label}"',
            )


TuningSpec = LoRATuning | PromptTuning | PrefixTuning | PromptingTuning
