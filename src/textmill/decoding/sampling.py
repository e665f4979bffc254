"""How the next token is chosen: penalties and filters over logits, then one draw a row.

A strategy is a tiny frozen dataclass, called with logits (B, V) and the rows' history, that gives new
logits (B, V); a dropped token gets -inf. `strategies` puts them in the order transformers uses, so one
set of settings means the same in both:

    repetition  ->  presence and frequency  ->  bans  ->  first and last  ->  decay  ->  temperature  ->  top-k
    ->  top-p  ->  min-p  ->  typical  ->  epsilon  ->  eta

(Bans are of ids and runs that never come, of ends that come too early and of repeated n-grams; `first` and `last` are
forced, and what may not begin an answer comes after them.
transformers has no presence and frequency penalties; theirs is the place vLLM gives them.) A strategy that would
change nothing is left out. All of them are functions of a row alone, and ties at a threshold are kept together, so
a row's result does not depend on its neighbours or on the order of equal logits.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data.codec import padded
from textmill.decoding.prompt import Fitted
from textmill.specs.generation import GenerationSpec

_ROWS = 16  # whose log probabilities are made at once
_BLOCK, _WIDE = 64, 4096  # logits whose maximum is looked at first, where there are so many
_HEAD = 512  # likeliest tokens looked at before a whole vocabulary is sorted


@dataclass(frozen=True)
class History:
    """What each row has read and written so far. All rows have written as many tokens."""

    text: Tensor  # (B, L) int64, -1 before the shorter ones
    written: int  # how many of the last columns were generated
    source: Tensor  # (B, S) int64, -1 before the shorter ones: what was read before anything was written

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        device: torch.device | str = "cpu",
        sources: Sequence[Sequence[int] | None] | None = None,
    ) -> History:
        """The history of rows that have read their prompts and written nothing. sources: of a model that reads some;
        for any other the prompts are what was read."""
        text = _rows(prompts).to(device)
        if sources is None or sources[0] is None:
            return cls(text, 0, text)
        return cls(text, 0, _rows([source or () for source in sources]).to(device))

    def add(self, tokens: Tensor) -> History:
        """The history once each row has generated a token (B,)."""
        return History(torch.cat([self.text, tokens[:, None]], 1), self.written + 1, self.source)

    def reorder(self, rows: Tensor) -> History:
        """The history of the given rows, in that order."""
        return History(self.text[rows], self.written, self.source[rows])

    @property
    def generated(self) -> Tensor:
        """(B, written): the tokens that were generated."""
        return self.text[:, self.text.shape[1] - self.written :]


def read_by(prompts: Sequence[Fitted], device: torch.device | str) -> History:
    """The history of rows that have read these prompts."""
    return History.of([prompt.ids for prompt in prompts], device, [prompt.source for prompt in prompts])


def _rows(prompts: Sequence[Sequence[int]]) -> Tensor:
    """(B, L) int64: rows of ids that end together, -1 before the shorter ones."""
    return torch.from_numpy(padded(prompts, -1, front=True)[0])


Strategy = Callable[[Tensor, "History | None"], Tensor]


@dataclass(frozen=True)
class RepetitionPenalty:
    """Logits of tokens already seen, prompt included, are divided by `penalty` (multiplied when negative).

    Keskar et al. 2019 (CTRL), section 4.1.
    """

    penalty: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        text = history.text
        if not text.shape[1]:
            return logits
        # Columns before a shorter row point at its last token once more.
        text = torch.where(text < 0, text[:, -1:], text).clamp(min=0)
        seen = logits.gather(1, text)
        penalised = torch.where(seen < 0, seen * self.penalty, seen / self.penalty)
        return logits.scatter(1, text, penalised)


@dataclass(frozen=True)
class CountPenalty:
    """`presence` once, and `frequency` for each time, off the logit of a token the row has generated."""

    presence: float
    frequency: float

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        written = history.generated
        counts = torch.zeros_like(logits).scatter_add_(
            1, written, torch.ones_like(written, dtype=logits.dtype)
        )
        return logits - self.presence * (counts > 0) - self.frequency * counts


@dataclass(frozen=True)
class Forbidden:
    """Ids that are never written."""

    ids: tuple[int, ...]

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        return _without(logits, _table(self.ids, logits.shape[-1], logits.device))


@functools.lru_cache(maxsize=16)
def _table(ids: tuple[int, ...], width: int, device: torch.device) -> Tensor:
    """(1, V) bool: whether an id is one of these; those beyond the vocabulary are none."""
    table = torch.zeros(1, width, dtype=torch.bool, device=device)
    table[:, [token for token in ids if token < width]] = True
    return table


@dataclass(frozen=True)
class ForbiddenRuns:
    """Runs of ids that never come, the prompt's end included: the last of one is ruled out behind the others."""

    runs: tuple[tuple[int, ...], ...]

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        banned = torch.zeros_like(logits, dtype=torch.bool)
        for *before, last in self.runs:
            if last < logits.shape[-1] and len(before) <= history.text.shape[1]:
                end = history.text[:, history.text.shape[1] - len(before) :]
                banned[:, last] |= (end == torch.tensor(before, dtype=end.dtype, device=end.device)).all(1)
        return _without(logits, banned)


@dataclass(frozen=True)
class NotFirst:
    """Ids that no answer begins with, or goes on with after `first`, where there is such an id."""

    ids: tuple[int, ...]
    place: int

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return logits if history.written != self.place else Forbidden(self.ids)(logits, history)


@dataclass(frozen=True)
class MinTokens:
    """So many tokens are written before any of `ends`."""

    least: int
    ends: tuple[int, ...]

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return logits if history.written >= self.least else Forbidden(self.ends)(logits, history)


@dataclass(frozen=True)
class NoRepeat:
    """No run of `n` tokens comes twice, prompt included (Paulus et al. 2018, section 2.5)."""

    n: int

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return _without(logits, _again(logits, history.text, history.text, self.n))


@dataclass(frozen=True)
class NoRepeatSource:
    """No run of `n` tokens of what was read (the source, or the prompt) is written."""

    n: int

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return _without(logits, _again(logits, history.source, history.text, self.n))


def _again(logits: Tensor, read: Tensor, text: Tensor, n: int) -> Tensor:
    """(B, V) bool: tokens with which the end of a text (B, L) would be a run of n tokens of what was read (B, S)."""
    banned = torch.zeros_like(logits, dtype=torch.bool)
    if read.shape[1] < n or text.shape[1] < n - 1:
        return banned
    runs = read.unfold(1, n, 1)  # (B, W, n)
    last = text[:, text.shape[1] - n + 1 :]
    row, start = ((runs[..., :-1] == last[:, None]).all(-1) & (runs[..., 0] >= 0)).nonzero(as_tuple=True)
    banned[row, runs[row, start, -1]] = True
    return banned


@dataclass(frozen=True)
class First:
    """An answer begins with this id, which costs nothing: its log probability counts as 0."""

    id: int

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return logits if history.written else _forced(logits, (self.id,), "first")


@dataclass(frozen=True)
class Last:
    """An answer that goes on for `tokens` tokens ends with one of these ids, which costs nothing."""

    ids: tuple[int, ...]
    tokens: int

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        return logits if history.written != self.tokens - 1 else _forced(logits, self.ids, "last")


def _forced(logits: Tensor, ids: tuple[int, ...], where: str) -> Tensor:
    """Logits (B, V) that leave nothing but these ids."""
    if max(ids) >= logits.shape[-1]:
        raise RecipeError(f"the vocabulary has {logits.shape[-1]} ids, and no {max(ids)}", where=where)
    return torch.full_like(logits, -math.inf).masked_fill(_table(ids, logits.shape[-1], logits.device), 0.0)


@dataclass(frozen=True)
class Decay:
    """After `after` tokens the logit of each end rises by its size times growth^n - 1, n tokens further on."""

    growth: float
    after: int
    ends: tuple[int, ...]

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        assert history is not None
        further = history.written - self.after
        if further <= 0:
            return logits
        risen = logits + logits.abs() * (self.growth**further - 1)
        there = _table(self.ends, logits.shape[-1], logits.device) & logits.isfinite()
        return torch.where(there, risen, logits)


def _without(logits: Tensor, banned: Tensor) -> Tensor:
    """Logits (B, V) without banned tokens. A row for which nothing would be left keeps what it has."""
    left = logits.masked_fill(banned, -math.inf)
    return torch.where(left.amax(-1, keepdim=True) == -math.inf, logits, left)


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


@dataclass(frozen=True)
class Epsilon:
    """Drop tokens less probable than `least`, the likeliest apart (Hewitt et al. 2022, section 4).

    With `by_entropy`, less is asked of a token where the distribution is flatter: min(least, sqrt(least) · e^-H), the
    eta sampling of section 5.
    """

    least: float
    by_entropy: bool = False

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        logs = logits.log_softmax(-1)
        least: float | Tensor = math.log(self.least)
        if self.by_entropy:
            entropy = -(logs.exp() * logs).nansum(-1, keepdim=True)
            least = (least / 2 - entropy).clamp(max=least)
        return logits.masked_fill((logs < least) & (logits < logits.amax(-1, keepdim=True)), -math.inf)


def constraints(spec: GenerationSpec, ends: Sequence[int] = ()) -> tuple[Strategy, ...]:
    """The penalties and bans a spec asks for: what holds however the next token is chosen."""
    chain: list[Strategy] = []
    if spec.repetition_penalty != 1:
        chain.append(RepetitionPenalty(spec.repetition_penalty))
    if spec.presence_penalty or spec.frequency_penalty:
        chain.append(CountPenalty(spec.presence_penalty, spec.frequency_penalty))
    if spec.suppressed_tokens:
        chain.append(Forbidden(spec.suppressed_tokens))
    if spec.suppressed_sequences:
        chain.append(ForbiddenRuns(spec.suppressed_sequences))
    if spec.min_tokens and ends:
        chain.append(MinTokens(spec.min_tokens, tuple(ends)))
    if spec.no_repeat_source_ngram:
        chain.append(NoRepeatSource(spec.no_repeat_source_ngram))
    if spec.no_repeat_ngram:  # the last of the bans, so that it is the first to give way
        chain.append(NoRepeat(spec.no_repeat_ngram))
    if spec.forced_first_token is not None:
        chain.append(First(spec.forced_first_token))
    if spec.forced_last_tokens:
        chain.append(Last(spec.forced_last_tokens, spec.tokens))
    if spec.decay != 1 and ends:
        chain.append(Decay(spec.decay, spec.decay_after, tuple(ends)))
    if spec.suppressed_first_tokens:
        chain.append(NotFirst(spec.suppressed_first_tokens, int(spec.forced_first_token is not None)))
    return tuple(chain)


def strategies(spec: GenerationSpec, ends: Sequence[int] = ()) -> tuple[Strategy, ...]:
    """The strategies a spec asks for, in the documented order. At temperature 0 only constraints matter.

    ends: the ids that end a row, for `spec.min_tokens`.
    """
    chain = list(constraints(spec, ends))
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
    if spec.epsilon_cutoff:
        chain.append(Epsilon(spec.epsilon_cutoff))
    if spec.eta_cutoff:
        chain.append(Epsilon(spec.eta_cutoff, by_entropy=True))
    return tuple(chain)


def changed(logits: Tensor, chain: Sequence[Strategy], history: History | None) -> Tensor:
    """Logits (B, V) in float32 after penalties, bans and filters."""
    result = logits.float()
    for strategy in chain:
        result = strategy(result, history)
    return result


def normalizer(logits: Tensor) -> Tensor:
    """(B, 1): the logarithm of the sum of exp(logits) of each row (B, V); a logit may be -inf.

    A few rows at a time, whose log probabilities then fit the processor's cache: the highest tells it.
    """
    parts = logits.split(_ROWS)
    return torch.cat([part.amax(-1, True) - part.log_softmax(-1).amax(-1, True) for part in parts])


def likeliest(logits: Tensor) -> Tensor:
    """(B,): the first of the highest logits of each row (B, V), as `argmax`.

    It is sought in the first block whose maximum is highest: maxima of blocks are found ten times as quickly.
    """
    rows, width = logits.shape
    if width < _WIDE:
        return logits.argmax(-1)
    cut = width - width % _BLOCK
    blocks = logits[:, :cut].view(rows, -1, _BLOCK)
    highest, block = blocks.amax(-1).max(-1)
    inside = blocks[torch.arange(rows, device=logits.device), block].argmax(-1)
    best = block * _BLOCK + inside
    if cut == width:
        return best
    rest, last = logits[:, cut:].max(-1)
    return torch.where(rest > highest, cut + last, best)


def highest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of each row of (B, V) and where they stand, highest first: (B, k) twice, as `topk`.

    They stand in the k blocks of a row whose maxima are highest, or in what is left over behind the blocks; to find a
    maximum is ten times quicker than to sort.
    """
    rows, width = scores.shape
    blocks = width // _BLOCK
    if blocks <= k:
        return scores.topk(k)
    cut = blocks * _BLOCK
    block = scores[:, :cut].view(rows, blocks, _BLOCK).amax(-1).topk(k).indices  # (B, k)
    indices = (block[..., None] * _BLOCK + torch.arange(_BLOCK, device=scores.device)).view(rows, -1)
    rest = torch.arange(cut, width, device=scores.device).expand(rows, -1)
    indices = torch.cat([indices, rest], 1)
    best, index = scores.gather(1, indices).topk(k)
    return best, indices.gather(1, index)


def seeded(seed: int, sample: int, prompt: Sequence[int]) -> torch.Generator:
    """The random stream of one sample of one prompt: a function of these three, never of a place in a batch.

    The prompt takes part so that different prompts under one seed do not share their draws. It lives on the
    CPU whatever the device, so a seed means the same everywhere.
    """
    key = f"{seed} {sample} {' '.join(map(str, prompt))}".encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(number >> 1)


def draw(logits: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
    """The token (B,) each row takes from logits (B, V): the likeliest, or one drawn with the row's generator.

    A draw inverts the cumulative distribution in float64 with one uniform number a row, so noise of 1e-7 in
    the logits changes about one draw in ten million. A token of probability 0 is never drawn.
    """
    if generators is None:
        return likeliest(logits)
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
