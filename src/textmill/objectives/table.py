"""The objectives there are. A new one is a file in this room, its spec in specs/objective.py, and a line here."""

from __future__ import annotations

from textmill.objectives import (
    causal,
    chat,
    classify,
    denoising,
    embed,
    extract,
    masked,
    pairs,
    prefer,
    regress,
    span,
    tag,
)
from textmill.objectives.objective import Objective
from textmill.specs.objective import ObjectiveSpec

OBJECTIVES: dict[str, Objective] = {
    objective.kind: objective
    for objective in (
        causal.CAUSAL,
        masked.MASKED,
        denoising.INFILLING,
        denoising.SPANS,
        denoising.CONTINUE,
        pairs.PAIRS,
        chat.CHAT,
        classify.CLASSIFY,
        regress.REGRESS,
        tag.TAG,
        span.SPAN,
        prefer.PREFER,
        embed.EMBED,
        extract.EXTRACT,
    )
}


def objective_of(spec: ObjectiveSpec) -> Objective:
    """The objective a spec is of."""
    return OBJECTIVES[spec.kind]
