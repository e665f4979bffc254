"""What sampling came to, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from textmill.cli.show.output import OUT as _OUT


def sampled(result: Mapping[str, Any]) -> None:
    """How many prompts were kept, what choosing gained, and how far it moves from the model."""
    one, best, kl = result["mean_reward_of_one"], result["mean_reward_of_best"], result["kl_at_most"]
    _OUT.print(f"prompts    {result['read']:,} read, {result['kept']:,} kept")
    _OUT.print(f"reward     {one:.4g} of one sample, {best:.4g} of the best of {result['samples']}")
    _OUT.print(f"distance   at most {kl:.3f} nats from the model (KL)")
    _OUT.print(f"data set   {escape(result['out'])}", soft_wrap=True)
