"""What sampling came to, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from textmill.base.language import fill
from textmill.cli.show.output import OUT as _OUT


def sampled(result: Mapping[str, Any]) -> None:
    """How many prompts were kept, what choosing gained, and how far it moves from the model."""
    _OUT.print(fill("prompts     {} read, {} kept", f"{result['read']:,}", f"{result['kept']:,}"))
    one, best = result["mean_reward_of_one"], result["mean_reward_of_best"]
    _OUT.print(
        fill(
            "reward      {} of one sample, {} of the best of {}",
            f"{one:.4g}",
            f"{best:.4g}",
            result["samples"],
        )
    )
    _OUT.print(fill("distance    at most {} nats from the model (KL)", f"{result['kl_at_most']:.3f}"))
    _OUT.print(fill("data set    {}", escape(result["out"])), soft_wrap=True)
