"""How a model tells positions apart, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About


@dataclass(frozen=True, kw_only=True)
class NoPositions:
    """No position information but the causal mask (NoPE; Kazemnejad et al. 2023)."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class SinusoidalPositions:
    """Fixed sines and cosines added to the embeddings (Vaswani et al. 2017, section 3.5)."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    layout: Annotated[
        Literal["interleaved", "halves"],
        About("sine and cosine alternating, or all sines before all cosines (Marian)"),
    ] = "interleaved"


@dataclass(frozen=True, kw_only=True)
class LearnedPositions:
    """One trained vector a position, added to the embeddings (GPT-2, BERT)."""

    kind: Literal["learned"] = "learned"


@dataclass(frozen=True, kw_only=True)
class RelativePositions:
    """Clipped relative positions with key and value terms (Shaw et al. 2018, equations 3 and 4)."""

    kind: Literal["relative"] = "relative"
    clip: Annotated[int, About("distance at which relative positions are clipped", "tokens", ge=1)] = 16


@dataclass(frozen=True, kw_only=True)
class T5Positions:
    """A trained bias a head for each bucket of distance, shared by all layers (Raffel et al. 2020)."""

    kind: Literal["t5"] = "t5"
    buckets: Annotated[int, About("number of distance buckets", ge=2)] = 32
    max_distance: Annotated[int, About("distance from which all share the last bucket", "tokens", ge=2)] = 128

    def __post_init__(self) -> None:
        if self.max_distance <= self.buckets // 2:
            raise RecipeError("must be more than buckets / 2", where="max_distance")


@dataclass(frozen=True, kw_only=True)
class LinearScaling:
    """All rotary frequencies divided by one factor (Chen et al. 2023)."""

    kind: Literal["linear"] = "linear"
    factor: Annotated[float, About("factor by which the context grows", ge=1)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling:
    """Slow rotary frequencies divided, fast ones kept, those between in between (Llama 3.1)."""

    kind: Literal["llama3"] = "llama3"
    factor: Annotated[float, About("factor by which the context grows", ge=1)] = 8.0
    low_freq_factor: Annotated[
        float, About("wavelengths over original_context / this are stretched", gt=0)
    ] = 1.0
    high_freq_factor: Annotated[float, About("wavelengths under original_context / this are kept", gt=0)] = (
        4.0
    )
    original_context: Annotated[int, About("context before stretching", "tokens", ge=1)] = 8192

    def __post_init__(self) -> None:
        if self.high_freq_factor <= self.low_freq_factor:
            raise RecipeError("must be more than low_freq_factor", where="high_freq_factor")


@dataclass(frozen=True, kw_only=True)
class YarnScaling:
    """As llama3, but by the pair's place in the row; queries and keys grow a little (Peng et al. 2023)."""

    kind: Literal["yarn"] = "yarn"
    factor: Annotated[float, About("factor by which the context grows", ge=1)] = 4.0
    original_context: Annotated[int, About("context before stretching", "tokens", ge=1)] = 32768
    beta_fast: Annotated[
        float, About("dimension pairs that turn more often than this over original_context are kept", gt=0)
    ] = 32.0
    beta_slow: Annotated[
        float,
        About("dimension pairs that turn less often than this over original_context are stretched", gt=0),
    ] = 1.0
    attention_factor: Annotated[
        float | None, About("what queries and keys are multiplied by; none: 0.1 ln(factor) + 1", gt=0)
    ] = None

    def __post_init__(self) -> None:
        if self.beta_fast <= self.beta_slow:
            raise RecipeError("must be more than beta_slow", where="beta_fast")

    @property
    def gain(self) -> float:
        """What queries and keys are multiplied by, equation 22 of the paper where no other is set."""
        return 0.1 * math.log(self.factor) + 1.0 if self.attention_factor is None else self.attention_factor


Scaling = LinearScaling | Llama3Scaling | YarnScaling


@dataclass(frozen=True, kw_only=True)
class RotaryPositions:
    """Queries and keys rotated by their position (Su et al. 2021)."""

    kind: Literal["rotary"] = "rotary"
    theta: Annotated[float, About("base of the geometric progression of wavelengths (RoPE theta)", gt=1)] = (
        10000.0
    )
    scaling: Annotated[Scaling | None, About("stretching for longer contexts")] = None


@dataclass(frozen=True, kw_only=True)
class AlibiPositions:
    """A fixed linear penalty on distance, one slope a head (Press et al. 2022)."""

    kind: Literal["alibi"] = "alibi"


Positions = (
    NoPositions
    | SinusoidalPositions
    | LearnedPositions
    | RelativePositions
    | T5Positions
    | RotaryPositions
    | AlibiPositions
)
