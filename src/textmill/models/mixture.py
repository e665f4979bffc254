"""A mixture: the probabilities of several models of one tokenizer, weighted and added up.

    P(w | h) = Σ_i λ_i(h) · P_i(w | h)        λ(h) = softmax(W · clues(h) + b)

Without clues the weights are constants (linear interpolation; Jelinek & Mercer 1980). With them they depend on what
is known before the token is: how long a context an n-gram model has seen, how sure a neural one is.

Shapes: B rows, T positions, N positions in one row, V vocabulary, P parts, C clues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.models.model import Generator, Model, TokenScorer
from textmill.models.ngram.model import NGram
from textmill.models.ngram.tables import Tables
from textmill.nn.state import State
from textmill.specs.model import MixtureSpec


@dataclass(slots=True)
class MixtureState(State):
    """What each part remembers."""

    parts: list[State]

    def reorder(self, rows: Tensor) -> MixtureState:
        """The state whose row i is row rows[i] of this one."""
        return MixtureState([part.reorder(rows) for part in self.parts])


class Mixture(Tables, TokenScorer[MixtureState]):
    """Parts and how they are weighted: `weight` (P, C), `bias` (P,), and the `mean` and `scale` (C,) of the clues."""

    spec: MixtureSpec
    weight: nn.Parameter
    bias: nn.Parameter
    mean: nn.Parameter
    scale: nn.Parameter

    @property
    def hidden_width(self) -> int:
        """Numbers `hidden` gives for a position."""
        return sum(part.hidden_width for part in self._all())

    def __init__(self, parts: Sequence[Model], gate: dict[str, Tensor] | None = None) -> None:
        """gate: the four tables by name; left out: equal weights. Raises TextmillError when vocabularies differ."""
        super().__init__("weight", "bias", "mean", "scale")
        if not all(isinstance(part, Generator) for part in parts):
            raise TextmillError("one of them does not generate text", where="the models of a mixture")
        self.parts = nn.ModuleList(parts)
        self.vocabulary = parts[0].vocabulary
        if any(part.vocabulary != self.vocabulary for part in parts):
            raise TextmillError("their vocabularies differ", where="the models of a mixture")
        self.spec = MixtureSpec(parts=len(parts), context=min(part.spec.context for part in parts))
        self.put("bias", torch.zeros(len(parts)))
        self.put("weight", torch.zeros(len(parts), 0))
        for name, table in (gate or {}).items():
            self.put(name, table)

    @torch.no_grad()
    def hidden(self, batch: Batch) -> Tensor:
        """What the parts' outputs read, side by side: (B, T, `hidden_width`) float64."""
        return self._joined([part.hidden(batch) for part in self._all()])

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> log probabilities (…, V)."""
        pairs = [_logp_and_clues(part, own.flatten(0, -2)) for part, own in self._split(hidden)]
        return self._mix(pairs).view(*hidden.shape[:-1], self.vocabulary)

    @torch.no_grad()
    def log_probs(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Log probabilities (N,) of one token after each position (N, D)."""
        parts, clues = self.evidence(hidden, tokens, clues=bool(self.weight.shape[1]))
        return torch.logsumexp(parts + self.shares(clues), -1)

    @torch.no_grad()
    def evidence(self, hidden: Tensor, tokens: Tensor, *, clues: bool = True) -> tuple[Tensor, Tensor]:
        """Each part's log probability of one token after each position, (N, P), and the clues (N, C)."""
        costs, known = [], []
        for part, own in self._split(hidden):
            if isinstance(part, NGram):
                costs.append(part.log_probs(own, tokens).float())
                known += [part.clues(own)] if clues else []
            elif isinstance(part, TokenScorer) and not clues:
                costs.append(part.log_probs(own, tokens).float())
            else:
                logp, about = _logp_and_clues(part, own)
                costs.append(logp.gather(1, tokens[:, None])[:, 0])
                known.append(about)
        empty = hidden.new_zeros(len(hidden), 0, dtype=torch.float32)
        return torch.stack(costs, -1), torch.cat(known, -1) if clues else empty

    def shares(self, clues: Tensor) -> Tensor:
        """(N, C) -> the logarithms of the parts' weights (N, P)."""
        if not self.weight.shape[1]:
            return self.bias.log_softmax(-1).expand(len(clues), -1)
        return (((clues - self.mean) / self.scale) @ self.weight.T + self.bias).log_softmax(-1)

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, MixtureState]:
        """As `Generator.hidden_begin`: what the parts' outputs read, side by side."""
        read = [part.hidden_begin(batch, capacity) for part in self._all()]
        return self._joined([hidden for hidden, _ in read]), MixtureState([state for _, state in read])

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: MixtureState) -> tuple[Tensor, MixtureState]:
        """As `Generator.hidden_step`."""
        read = [part.hidden_step(tokens, own) for part, own in zip(self._all(), state.parts, strict=True)]
        return self._joined([hidden for hidden, _ in read]), MixtureState([after for _, after in read])

    def _mix(self, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Log probabilities (N, V) and clues of every part -> those of the mixture."""
        shares = self.shares(torch.cat([clues for _, clues in pairs], -1))
        mixed = pairs[0][0] + shares[:, :1]
        for part, (logp, _) in enumerate(pairs[1:], 1):
            mixed = torch.logaddexp(mixed, logp + shares[:, part : part + 1])
        return mixed

    def _all(self) -> list[Generator]:
        return [part for part in self.parts if isinstance(part, Generator)]

    @staticmethod
    def _joined(hidden: list[Tensor]) -> Tensor:
        """In float64, in which whole numbers stay exact."""
        return torch.cat([own.double() for own in hidden], -1)

    def _split(self, hidden: Tensor) -> list[tuple[Generator, Tensor]]:
        """Each part with its own columns, in its own dtype."""
        parts = self._all()
        columns = hidden.split([part.hidden_width for part in parts], -1)
        return [(part, own.to(_dtype(part))) for part, own in zip(parts, columns, strict=True)]


def _logp_and_clues(part: Generator, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities (N, V) of a part, and its clues (N, C): of a neural one, how sure it is: the largest of them,
    and their entropy in nats."""
    logits = part.logits(hidden).float()
    if isinstance(part, NGram):
        return logits, part.clues(hidden)
    logp = logits.log_softmax(-1)
    entropy = -(logp.exp() * logp).nansum(-1)
    return logp, torch.stack([logp.amax(-1), entropy], -1)


def _dtype(part: Generator) -> torch.dtype:
    if isinstance(part, NGram):
        return torch.int64
    return torch.float64 if isinstance(part, Mixture) else next(part.parameters()).dtype
