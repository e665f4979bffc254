"""The weights of a mixture, fitted on text that no part of it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textmill.data.batch import IGNORE
from textmill.data.loader import Scored
from textmill.models.mixture import Mixture

_LOGITS = 1 << 25  # computed at once
_PENALTY = (
    1e-4  # on squared weights of standardised clues: nothing but what keeps a flat direction from running off
)


@dataclass(frozen=True)
class Evidence:
    """What every part made of each token. N tokens, P parts, C clues."""

    costs: Tensor  # (N, P): log probabilities
    clues: Tensor  # (N, C)
    documents: np.ndarray  # (N,): the document each token is of

    def nats(self, mixture: Mixture) -> np.ndarray:
        """(N,): what each token costs a mixture of the same parts."""
        return -torch.logsumexp(self.costs + mixture.shares(self.clues), -1).double().numpy()


@torch.inference_mode()
def gather(
    mixture: Mixture, batches: Iterable[Scored], *, progress: Callable[[int], None] = lambda tokens: None
) -> Evidence:
    """Ask every part about every target once. `progress` is told how many were asked about so far."""
    costs, clues, owners, seen = [], [], [], 0
    rows = max(1, _LOGITS // mixture.vocabulary)
    for scored in batches:
        chosen = (scored.batch.targets != IGNORE).flatten()
        hidden = mixture.hidden(scored.batch).flatten(0, 1)[chosen]
        wanted = scored.batch.targets.flatten()[chosen]
        for start in range(0, len(wanted), rows):
            cost, about = mixture.evidence(hidden[start : start + rows], wanted[start : start + rows])
            costs.append(cost)
            clues.append(about)
        owners.append(scored.documents.flatten()[chosen])
        seen += len(wanted)
        progress(seen)
    return Evidence(torch.cat(costs).clone(), torch.cat(clues).clone(), torch.cat(owners).numpy())


def linear(evidence: Evidence, *, rounds: int = 200, tolerance: float = 1e-7) -> dict[str, Tensor]:
    """Constant weights of the highest likelihood, by expectation and maximisation (Jelinek & Mercer 1980; Dempster,
    Laird & Rubin 1977): each part's share of the tokens becomes its weight, until that changes no more.

    Returns the gate of models.mixture.Mixture.
    """
    costs = evidence.costs.double()
    weights = torch.full((costs.shape[1],), 1 / costs.shape[1], dtype=torch.float64)
    for _ in range(rounds):
        posterior = (costs + weights.log()).softmax(-1).mean(0)
        change = (posterior - weights).abs().max()
        weights = posterior
        if change < tolerance:
            break
    return {"bias": weights.clamp(min=1e-12).log().float()}


def learned(evidence: Evidence, start: dict[str, Tensor], *, rounds: int = 60) -> dict[str, Tensor]:
    """Weights that depend on the clues: a multinomial logistic model of the highest likelihood, from the constant
    weights `start`, by L-BFGS. Returns the gate of models.mixture.Mixture."""
    costs, clues = evidence.costs.float(), evidence.clues.float()
    mean, scale = clues.mean(0), clues.std(0).clamp(min=1e-3)
    known = (clues - mean) / scale
    weight = torch.zeros(costs.shape[1], clues.shape[1], requires_grad=True)
    bias = start["bias"].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=rounds, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        shares = (known @ weight.T + bias).log_softmax(-1)
        loss = -torch.logsumexp(costs + shares, -1).mean() + _PENALTY * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # pyrefly: ignore[bad-argument-type]
    return {"weight": weight.detach(), "bias": bias.detach(), "mean": mean, "scale": scale}
