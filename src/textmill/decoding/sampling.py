"""How the next token is chosen: penalties and filters over logits, then one draw a row.

A strategy is a tiny frozen dataclass, called with logits (B, V) and the rows' history, that gives new
logits (B, V); a dropped token gets -inf. `strategies` puts them in the order transformers uses, so one
set of settings means the same in both:

    repetition  ->  presence and frequency  ->  temperature  ->  top-k  ->  top-p  ->  min-p  ->  typical

(transformers has no presence and frequency penalties; theirs is the place vLLM gives them.) A strategy that
would change nothing is left out. All of them are functions of a row alone, and ties at a threshold are kept
together, so a row's result does not depend on its neighbours or on the order of equal logits.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.base.spec import GenerationSpec

_HEAD = 512  # likeliest tokens looked at before a whole vocabulary is sorted


@dataclass(frozen=True)
class History:
    """What each row has read and written so far, as far as penalties need it."""

    seen: Tensor  # (B, V) bool: in the prompt or generated
    counts: Tensor  # (B, V) float32: how often generated

    @classmethod
    def of(
        cls, prompts: Sequence[Sequence[int]], vocabulary: int, device: torch.device | str = "cpu"
    ) -> History:
        """The history of rows that have read their prompts and written nothing."""
        seen = torch.zeros(len(prompts), vocabulary, dtype=torch.bool, device=device)
        for row, prompt in enumerate(prompts):
            seen[row, torch.as_tensor(list(prompt), dtype=torch.int64, device=device)] = True
        return cls(seen, torch.zeros(len(prompts), vocabulary, device=device))

    def add(self, tokens: Tensor) -> None:
        """Take in the token (B,) each row has just generated."""
        rows = torch.arange(len(tokens), device=tokens.device)
        self.seen[rows, tokens] = True
        self.counts[rows, tokens] += 1

    def reorder(self, rows: Tensor) -> History:
        """The history of the given rows, in that order."""
        return History(self.seen[rows], self.counts[rows])


Strategy = Callable[[Tensor, "History | None"], Tensor]


@dataclass(frozen=True)
class RepetitionPenalty:
    """Logits of tokens already seen, prompt included, are divided by `penalty` (multiplied when negative).

    Keskar et al. 2019 (CTRL), section 4.1.
    """

    penalty: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        penalised = torch.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return torch.where(history.seen, penalised, logits)


@dataclass(frozen=True)
class CountPenalty:
    """`presence` once, and `frequency` for each time, off the logit of a token the row has generated."""

    presence: float
    frequency: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return logits - self.presence * (history.counts > 0) - self.frequency * history.counts


@dataclass(frozen=True)
class Temperature:
    """Logits, taken relative to the row's highest so that none overflows, divided by `temperature` > 0."""

    temperature: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        return (logits - logits.amax(-1, keepdim=True)) / max(self.temperature, 1e-30)


@dataclass(frozen=True)
class TopK:
    """Keep the `k` likeliest tokens, and those that tie with the last of them (Fan et al. 2018)."""

    k: int

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        least = logits.topk(min(self.k, logits.shape[-1])).values[:, -1:]
        return logits.masked_fill(logits < least, -math.inf)


@dataclass(frozen=True)
class TopP:
    """Keep the fewest likeliest tokens whose probability reaches `p` (Holtzman et al. 2020)."""

    p: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        total = logits.logsumexp(-1, keepdim=True)
        # The nucleus is nearly always small, and the largest few come much cheaper than a whole sort.
        head = logits.topk(min(_HEAD, logits.shape[-1])).values
        mass = (head - total).exp().cumsum(-1)
        if head.shape[-1] < logits.shape[-1] and bool((mass[:, -1] < self.p).any()):
            head = logits.sort(dim=-1, descending=True).values
            mass = (head - total).exp().cumsum(-1)
        kept = (mass < self.p).sum(-1, keepdim=True).clamp(max=head.shape[-1] - 1)
        return logits.masked_fill(logits < head.gather(-1, kept), -math.inf)


@dataclass(frozen=True)
class MinP:
    """Drop tokens less probable than `p` times the likeliest one (Nguyen et al. 2024)."""

    p: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        least = logits.amax(-1, keepdim=True) + math.log(self.p)
        return logits.masked_fill(logits < least, -math.inf)


@dataclass(frozen=True)
class Typical:
    """Keep the tokens of surprisal nearest the entropy, until they hold `mass` (Meister et al. 2022)."""

    mass: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        logs = logits.log_softmax(-1)
        entropy = -(logs.exp() * logs).nansum(-1, keepdim=True)  # 0 · -inf of dropped tokens counts as 0
        distance = (-logs - entropy).abs()
        nearest, order = distance.sort(dim=-1)
        mass = logs.gather(-1, order).exp().cumsum(-1)
        kept = (mass < self.mass).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
        return logits.masked_fill(distance > nearest.gather(-1, kept), -math.inf)


def strategies(spec: GenerationSpec) -> tuple[Strategy, ...]:
    """The strategies a spec asks for, in the documented order. At temperature 0 only penalties matter."""
    chain: list[Strategy] = []
    if spec.repetition_penalty != 1:
        chain.append(RepetitionPenalty(spec.repetition_penalty))
    if spec.presence_penalty or spec.frequency_penalty:
        chain.append(CountPenalty(spec.presence_penalty, spec.frequency_penalty))
    if spec.temperature == 0:
        return tuple(chain)
    if spec.temperature != 1:
        chain.append(Temperature(spec.temperature))
    if spec.top_k is not None:
        chain.append(TopK(spec.top_k))
    if spec.top_p is not None and spec.top_p < 1:
        chain.append(TopP(spec.top_p))
    if spec.min_p:
        chain.append(MinP(spec.min_p))
    if spec.typical_p is not None and spec.typical_p < 1:
        chain.append(Typical(spec.typical_p))
    return tuple(chain)


def penalises(spec: GenerationSpec) -> bool:
    """Whether the spec needs a History."""
    return spec.repetition_penalty != 1 or bool(spec.presence_penalty or spec.frequency_penalty)


def seeded(seed: int, sample: int, prompt: Sequence[int]) -> torch.Generator:
    """The random stream of one sample of one prompt: a function of these three, never of a place in a batch.

    The prompt takes part so that different prompts under one seed do not share their draws. It lives on the
    CPU whatever the device, so a seed means the same everywhere.
    """
    said = f"{seed} {sample} {' '.join(map(str, prompt))}".encode()
    number = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(number >> 1)


def draw(logits: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
    """The token (B,) each row takes from logits (B, V): the likeliest, or one drawn with the row's generator.

    A draw inverts the cumulative distribution in float64 with one uniform number a row, so noise of 1e-7 in
    the logits changes about one draw in ten million. A token of probability 0 is never drawn.
    """
    if generators is None:
        return logits.argmax(-1)
    cumulative = logits.double().softmax(-1).cumsum(-1)
    uniform = torch.tensor(
        [[torch.rand((), generator=generator, dtype=torch.float64).item()] for generator in generators],
        dtype=torch.float64,
        device=logits.device,
    )
    # A hair under 1, so that rounding never points past the last token that has any probability.
    points = uniform * cumulative[:, -1:] * (1 - 2**-50)
    tokens = torch.searchsorted(cumulative, points, right=True).squeeze(-1)
    return tokens.clamp(max=logits.shape[-1] - 1)  # past the end only where logits are NaN: the caller sees
