"""How often a decoder reads the target while it is trained, and how often its own last guess, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.schema import About


@dataclass(frozen=True, kw_only=True)
class ConstantForcing:
    """The decoder always reads the target with this probability, else its own last guess."""

    kind: Literal["constant"] = "constant"
    ratio: Annotated[
        float,
        About(
            "probability of teacher forcing: reading the target token instead of the model's own", ge=0, le=1
        ),
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class LinearForcing:
    """The probability falls in a straight line over the run (Bengio et al. 2015, section 2.4)."""

    kind: Literal["linear"] = "linear"
    start: Annotated[float, About("probability at the first step", ge=0, le=1)] = 1.0
    end: Annotated[float, About("probability at the last step", ge=0, le=1)] = 0.0


@dataclass(frozen=True, kw_only=True)
class SigmoidForcing:
    """k / (k + exp(i / k)) at step i (Bengio et al. 2015, section 2.4, inverse sigmoid)."""

    kind: Literal["sigmoid"] = "sigmoid"
    k: Annotated[float, About("inverse sigmoid: steps it stays near 1", "steps", ge=1)] = 500.0


Forcing = ConstantForcing | LinearForcing | SigmoidForcing
