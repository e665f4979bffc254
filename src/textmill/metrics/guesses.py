"""How well tokens are guessed where a model is told what stands before, or around: nats and accuracy.

With n_d the nats spent on the targets of document d, h_d how many of them were the likeliest token, and t_d how many
there are:

    nats per token  =  Σ n_d / Σ t_d
    accuracy        =  Σ h_d / Σ t_d

Unlike bits per byte, both depend on the tokenizer, so they compare models of one tokenizer only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from textmill.metrics.score import BOOTSTRAP, LOWER, Bootstrap, Score, Sums, share


def token_scores(
    nats: ArrayLike,
    hits: ArrayLike,
    targets: ArrayLike,
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    accuracy: str = "token accuracy",
    target: str = "token",
    how: str = "",
) -> dict[str, Score]:
    """`nats per {target}` and the accuracy, under the name it is given, of (D,) figures of documents.

    Raises TextmillError when there is no target.
    """
    columns = np.stack([np.asarray(part, np.float64) for part in (nats, hits, targets)], axis=1)
    sums = Sums.of(columns, bootstrap)
    label = accuracy.replace(" ", "-")
    return {
        accuracy: sums.score(f"{label}|hits/targets", share(1, 2), how=how),
        f"nats per {target}": sums.score(
            f"nats-per-{target.replace(' ', '-')}|nats/targets",
            share(0, 2),
            unit="nats/token",
            how=how,
            better=LOWER,
        ),
    }


def proportion(name: str, hits: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = "") -> Score:
    """The mean of a figure between 0 and 1 that each document has: (D,). Exact matches, correct labels."""
    values = np.asarray(hits, np.float64)
    columns = np.stack([values, np.ones(len(values))], axis=1)
    return Sums.of(columns, bootstrap).score(name, share(0, 1), how=how)


def unigram_nats(counts: np.ndarray) -> np.ndarray:
    """What each token costs a model that knows how often each occurs: -ln((c + 1) / (N + V)), (V,) -> (V,)."""
    return np.log(counts.sum() + len(counts)) - np.log(counts + 1.0)
