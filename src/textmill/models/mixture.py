"""A mixture: the probabilities of several models of one tokenizer, weighed and added up.

    P(w | h) = Σ_i λ_i(h) · P_i(w | h)        λ(h) = softmax(W · clues(h) + b)

Without clues the weights are constants (linear interpolation; Jelinek & Mercer 1980). With them they depend on what
is known before the token is: how long a context an n-gram model has seen, how sure a neural one is.

Shapes: B rows, T positions, N positions in one row, V vocabulary, P parts, C clues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.models.ngram.tables import Tables
from textmill.specs.model import MixtureSpec


@dataclass(slots=True)
class MixtureState:
    """What each part remembers."""

    parts: list[Any]

    def reorder(self, rows: Tensor) -> MixtureState:
        """The state whose row i is row rows[i] of this one."""
        return MixtureState([part.reorder(rows) for part in self.parts])


class Mixture(Tables):
    """Parts and how they are weighed: `weight` (P, C), `bias` (P,), and the `mean` and `scale` (C,) of the clues."""

    weight: nn.Parameter
    bias: nn.Parameter
    mean: nn.Parameter
    scale: nn.Parameter

    def __init__(self, parts: Sequence[nn.Module], gate: dict[str, Tensor] | None = None) -> None:
        """gate: the four tables by name; left out: equal weights. Raises TextmillError when vocabularies differ."""
        super().__init__("weight", "bias", "mean", "scale")
        self.parts = nn.ModuleList(parts)
        found: list[Any] = list(parts)
        self.vocabulary: int = found[0].vocabulary
        if any(part.vocabulary != self.vocabulary for part in found):
            raise TextmillError("their vocabularies differ", where="the parts of a mixture")
        self.spec = MixtureSpec(parts=len(parts), context=min(part.spec.context for part in found))
        self.put("bias", torch.zeros(len(parts)))
        self.put("weight", torch.zeros(len(parts), 0))
        for name, table in (gate or {}).items():
            self.put(name, table)

    def forward(self, batch: Batch) -> Tensor:
        """Log probabilities (B, T, V) of the token after each of `batch.inputs`."""
        return self.logits(self.hidden(batch))

    @torch.no_grad()
    def hidden(self, batch: Batch) -> Tensor:
        """What the parts' outputs read, side by side: (B, T, …) float64, in which whole numbers stay exact."""
        return torch.cat([part.hidden(batch).double() for part in self._all()], -1)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> log probabilities (…, V)."""
        pairs = [self._read(part, one.flatten(0, -2)) for part, one in self._split(hidden)]
        return self._mix(pairs).view(*hidden.shape[:-1], self.vocabulary)

    @torch.no_grad()
    def log_probs(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Log probabilities (N,) of one token after each position (N, D)."""
        parts, clues = self.evidence(hidden, tokens, clues=bool(self.weight.shape[1]))
        return torch.logsumexp(parts + self.shares(clues), -1)

    @torch.no_grad()
    def evidence(self, hidden: Tensor, tokens: Tensor, *, clues: bool = True) -> tuple[Tensor, Tensor]:
        """Each part's log probability of one token after each position, (N, P), and the clues (N, C)."""
        costs, found = [], []
        for part, one in self._split(hidden):
            if hasattr(part, "log_probs") and (not clues or hasattr(part, "clues")):
                costs.append(part.log_probs(one, tokens).float())
                found += [part.clues(one)] if clues else []
            else:
                logp, about = self._read(part, one)
                costs.append(logp.gather(1, tokens[:, None])[:, 0])
                found.append(about)
        empty = hidden.new_zeros(len(hidden), 0, dtype=torch.float32)
        return torch.stack(costs, -1), torch.cat(found, -1) if clues else empty

    def shares(self, clues: Tensor) -> Tensor:
        """(N, C) -> the logarithms of the parts' weights (N, P)."""
        if not self.weight.shape[1]:
            return self.bias.log_softmax(-1).expand(len(clues), -1)
        return (((clues - self.mean) / self.scale) @ self.weight.T + self.bias).log_softmax(-1)

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, MixtureState]:
        """Read the prompts (B, T): log probabilities (B, V) after each one's last token, and the state."""
        pairs, states = [], []
        for part in self._all():
            if hasattr(part, "clues"):
                hidden, state = part.start(batch)
                pairs.append(self._read(part, hidden))
            else:
                logits, state = part.begin(batch, capacity)
                pairs.append(_sure(logits))
            states.append(state)
        return self._mix(pairs), MixtureState(states)

    @torch.no_grad()
    def step(self, tokens: Tensor, state: MixtureState) -> tuple[Tensor, MixtureState]:
        """Read `tokens` (B, n) after what `state` holds: log probabilities (B, n, V), and the new state."""
        pairs, states = [], []
        for part, known in zip(self._all(), state.parts, strict=True):
            if hasattr(part, "clues"):
                hidden, after = part.go_on(tokens, known)
                pairs.append(self._read(part, hidden.flatten(0, 1)))
            else:
                logits, after = part.step(tokens, known)
                pairs.append(_sure(logits.flatten(0, 1)))
            states.append(after)
        return self._mix(pairs).view(*tokens.shape, self.vocabulary), MixtureState(states)

    def _mix(self, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Log probabilities (N, V) and clues of every part -> those of the mixture."""
        shares = self.shares(torch.cat([clues for _, clues in pairs], -1))
        mixed = pairs[0][0] + shares[:, :1]
        for place, (logp, _) in enumerate(pairs[1:], 1):
            mixed = torch.logaddexp(mixed, logp + shares[:, place : place + 1])
        return mixed

    @staticmethod
    def _read(part: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities (N, V) and clues (N, C) of a part."""
        logits = part.logits(hidden)
        return (logits.float(), part.clues(hidden)) if hasattr(part, "clues") else _sure(logits)

    def _all(self) -> list[Any]:
        return list(self.parts)

    def _split(self, hidden: Tensor) -> list[tuple[Any, Tensor]]:
        """Each part with its own columns, in its own dtype."""
        parts = self._all()
        widths = [_width(part) for part in parts]
        pairs = zip(parts, hidden.split(widths, -1), strict=True)
        return [(part, one.to(_dtype(part))) for part, one in pairs]


def _sure(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities (N, V), and how sure they are: the largest, and their entropy in nats (N, 2)."""
    logp = logits.float().log_softmax(-1)
    entropy = -(logp.exp() * logp).nansum(-1)
    return logp, torch.stack([logp.amax(-1), entropy], -1)


def _width(part: Any) -> int:
    return part.hidden_width if hasattr(part, "hidden_width") else part.spec.d_model


def _dtype(part: Any) -> torch.dtype:
    if isinstance(part, Mixture):
        return torch.float64
    return torch.int64 if hasattr(part, "hidden_width") else next(part.parameters()).dtype
