"""A linear-chain CRF over features of words: what a tagger is to beat (Lafferty et al. 2001; Ratinov & Roth 2009).

Of each word: itself, itself in lower case, its shape (Xx9), its first and last one to four letters, and whether it
holds a digit or a hyphen; of its two neighbours on either side themselves, their shapes, and pairs with them. Of hanzi,
whose words are single characters, the characters and pairs of them around it. Weights are those of the largest
penalised likelihood, found by L-BFGS (Liu & Nocedal 1989); there is nothing to draw and nothing to tune.

Shapes: W words of all texts, F features, C tags, B texts, T words of the longest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.nn.crf import CRF

PENALTY = 0.1  # on half the sum of squared weights
LEAST = 2  # training words that a feature must be of
STEPS = 60  # of L-BFGS
_SHAPES = ((re.compile(r"[A-Z]+"), "X"), (re.compile(r"[^\W\dA-Z_]+"), "x"), (re.compile(r"\d+"), "9"))
_EDGE = "\0"  # what stands beyond the first and the last word
Words = Sequence[str]


def shape(word: str) -> str:
    """How a word is written: runs of capitals, other letters and digits as one sign each.

    >>> shape("McDonald's-2019")
    "XxXx'x-9"
    """
    for run, sign in _SHAPES:
        word = run.sub(sign, word)
    return word


def features(words: Words) -> Iterator[list[str]]:
    """The names of the features of each word of a text."""
    around = [_EDGE, _EDGE, *words, _EDGE, _EDGE]
    lower, shapes = [word.lower() for word in around], [shape(word) for word in around]
    for place, word in enumerate(words, 2):
        mine = lower[place]
        names = [f"w={word}", f"l={mine}", f"s={shapes[place]}"]
        names += [f"a{n}={mine[:n]}" for n in range(1, min(5, len(mine)))]
        names += [f"z{n}={mine[-n:]}" for n in range(1, min(5, len(mine)))]
        names += [
            f"{kind}" for kind, held in (("9", any(map(str.isdigit, word))), ("-", "-" in word)) if held
        ]
        names += [f"l{by:+}={lower[place + by]}" for by in (-2, -1, 1, 2)]
        names += [f"s{by:+}={shapes[place + by]}" for by in (-1, 1)]
        names += [f"p{by}={lower[place + by]} {lower[place + by + 1]}" for by in (-2, -1, 0, 1)]
        names += [f"q={shapes[place - 1]} {shapes[place]}", f"t={lower[place - 1]} {mine} {lower[place + 1]}"]
        yield names


@dataclass(frozen=True, eq=False)
class FeatureCRF:
    """A trained one. weights (F + 1, C), the last row of features nobody has seen; crf: of moves from tag to tag."""

    tags: tuple[str, ...]
    numbers: dict[str, int]
    weights: Tensor
    crf: CRF

    def predict(self, texts: Sequence[Words]) -> list[list[str]]:
        """The likeliest tags of the words of each text."""
        found: list[list[str]] = [[] for _ in texts]
        order = [number for number in sorted(range(len(texts)), key=lambda n: len(texts[n])) if texts[number]]
        for start in range(0, len(order), 256):
            some = order[start : start + 256]
            ids, offsets = _numbered([texts[number] for number in some], self.numbers)
            scores, real = _spread(
                _sums((ids, offsets), self.weights).float(), [len(texts[number]) for number in some]
            )
            best = self.crf.best(scores, real)
            for number, row, there in zip(some, best, real, strict=True):
                found[number] = [self.tags[tag] for tag in row[there].tolist()]
        return found


def train(
    texts: Sequence[Words], tags: Sequence[Sequence[str]], *, penalty: float = PENALTY, steps: int = STEPS
) -> FeatureCRF:
    """A CRF of the features of these texts, each of whose words has a tag. Raises TextmillError when there is none."""
    pairs = [(words, some) for words, some in zip(texts, tags, strict=True) if words]
    if not pairs:
        raise TextmillError("there are no tagged words to learn from")
    pairs.sort(key=lambda pair: -len(pair[0]))
    texts, tags = [words for words, _ in pairs], [some for _, some in pairs]
    names = tuple(sorted({tag for some in tags for tag in some}))
    number = {name: place for place, name in enumerate(names)}
    counts = Counter(name for words in texts for some in features(words) for name in some)
    numbers = {
        name: place for place, name in enumerate(name for name, held in counts.items() if held >= LEAST)
    }
    ids, offsets = _numbered(texts, numbers)
    truth = torch.tensor([number[tag] for some in tags for tag in some])
    problem = _Problem(
        ids, offsets, truth, [len(words) for words in texts], len(numbers), len(names), penalty
    )
    flat = problem.minimised(steps)
    weights, crf = flat[: problem.cut].view(len(numbers), len(names)), CRF(len(names))
    start, end, moves = problem.moves(flat)
    with torch.no_grad():
        crf.start.copy_(start), crf.end.copy_(end), crf.transitions.copy_(moves)
    return FeatureCRF(names, numbers, weights.float(), crf)


@dataclass(eq=False)
class _Problem:
    """The penalised negative log-likelihood of tagged texts, longest first, and its gradient.

    Words are held step by step: the first of all texts, then the second of those that have one, and so on, so that a
    step of the forward-backward recursion is a product of two small matrices (scaled as Rabiner 1989 has it).
    """

    ids: Tensor
    offsets: Tensor
    truth: Tensor
    lengths: list[int]
    features: int
    tags: int
    penalty: float

    def __post_init__(self) -> None:
        starts = np.concatenate([[0], np.cumsum(self.lengths)])[:-1]
        lengths = np.array(self.lengths)
        steps = [starts[lengths > step] + step for step in range(int(lengths.max()))]
        self.active = [len(step) for step in steps]
        order = torch.from_numpy(np.concatenate(steps))
        self.rows = _taken(self.ids, self.offsets, order)
        self.columns = _turned(*self.rows, self.features)
        last = torch.from_numpy(starts + lengths - 1)
        first = torch.from_numpy(starts)
        follows = torch.ones(len(self.truth), dtype=torch.bool)
        follows[first] = False
        after = follows.nonzero()[:, 0]
        pairs = self.truth[after - 1] * self.tags + self.truth[after]
        self.seen_moves = torch.bincount(pairs, minlength=self.tags**2).view(self.tags, self.tags).double()
        self.seen_start = torch.bincount(self.truth[first], minlength=self.tags).double()
        self.seen_end = torch.bincount(self.truth[last], minlength=self.tags).double()
        self.truth = self.truth[order]
        self.cut = self.features * self.tags

    def moves(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of the first tag, (C,), of the last, (C,), and of moving from tag to tag, (C, C)."""
        rest, tags = flat[self.cut :], self.tags
        return rest[:tags], rest[tags : 2 * tags], rest[2 * tags :].view(tags, tags)

    def minimised(self, steps: int) -> Tensor:
        """The weights, flat, where the objective is least."""
        flat = torch.zeros(self.cut + 2 * self.tags + self.tags**2, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS(
            [flat], max_iter=steps, max_eval=2 * steps, history_size=6, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            value, flat.grad = self.value(flat.detach())
            return value

        solver.step(closure)
        return flat.detach()

    def value(self, flat: Tensor) -> tuple[float, Tensor]:
        """The objective and its gradient, by the forward-backward recursion."""
        start, end, moves = self.moves(flat)
        scores = _sums(self.rows, flat[: self.cut].view(self.features, self.tags))
        top = scores.amax(1, keepdim=True)
        emitted = (scores - top).exp().split(self.active)
        onward, leave = moves.exp(), end.exp()
        # 1. Forward: alpha, each row summing to one, and what it was divided by.
        alphas, scales = [], []
        alpha = start.exp() * emitted[0]
        for step, emission in enumerate(emitted):
            if step:
                alpha = (alphas[-1][: len(emission)] @ onward) * emission
            scale = alpha.sum(1, keepdim=True)
            alphas.append(alpha / scale)
            scales.append(scale)
        # 2. Backward: what remains to be said of a text after each word, a text's last word left by `end`.
        gradient = torch.zeros_like(moves)
        held = torch.empty_like(scores).split(self.active)
        left, beta = torch.zeros_like(end), torch.zeros(0, self.tags, dtype=torch.float64)
        nats = -(torch.cat(scales).log().sum() + top.sum())
        for step in range(len(self.active) - 1, -1, -1):
            alpha, ending = alphas[step], self.active[step] - len(beta)
            last = (alpha[len(beta) :] @ leave)[:, None] if ending else beta[:0, :1]
            nats -= last.log().sum()
            ends = leave / last if ending else beta[:0]
            held_now = alpha * torch.cat([beta, ends])
            held[step].copy_(held_now)
            left += held_now[len(beta) :].sum(0)
            if step:
                coming = emitted[step] * torch.cat([beta, ends]) / scales[step]
                gradient += alphas[step - 1][: len(coming)].T @ coming
                beta = coming @ onward.T
        # 3. The truth's own score, and what is expected less what was seen.
        expected, marginal = gradient * onward, torch.cat(held)
        truth = scores.gather(1, self.truth[:, None]).sum() + (self.seen_moves * moves).sum()
        truth += self.seen_start @ start + self.seen_end @ end
        first = marginal[: self.active[0]].sum(0) - self.seen_start
        marginal.scatter_add_(1, self.truth[:, None], marginal.new_full((len(marginal), 1), -1.0))
        slopes = [
            _sums(self.columns, marginal).flatten(),
            first,
            left - self.seen_end,
            (expected - self.seen_moves).flatten(),
        ]
        value = float(-nats - truth + self.penalty / 2 * flat.square().sum())
        return value, torch.cat(slopes) + self.penalty * flat


def _numbered(texts: Sequence[Words], numbers: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Numbers of the known features of all words one after the other, and where those of each word begin, (W,)."""
    ids: list[int] = []
    offsets = []
    for words in texts:
        for names in features(words):
            offsets.append(len(ids))
            ids += sorted({numbers[name] for name in names if name in numbers})
    return torch.tensor(ids, dtype=torch.int64), torch.tensor(offsets, dtype=torch.int64)


def _taken(ids: Tensor, offsets: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """The features of words in this order, as `_numbered` gives them."""
    ends = torch.cat([offsets, torch.tensor([len(ids)])])
    sizes = ends.diff()[order]
    begins = sizes.cumsum(0) - sizes
    places = torch.arange(len(ids)) + torch.repeat_interleave(offsets[order] - begins, sizes)
    return ids[places], begins


def _turned(ids: Tensor, offsets: Tensor, features: int) -> tuple[Tensor, Tensor]:
    """From the features of each word to the words of each feature, held in the same way."""
    sizes = torch.cat([offsets, torch.tensor([len(ids)])]).diff()
    words = torch.repeat_interleave(torch.arange(len(offsets)), sizes)
    held = torch.bincount(ids, minlength=features)
    return words[ids.argsort(stable=True)], held.cumsum(0) - held


def _sums(held: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    """Of each word the sum of the rows of its features, (W, C), or of each feature that of its words."""
    ids, offsets = held
    return torch.nn.functional.embedding_bag(ids, values.float(), offsets, mode="sum").double()


def _spread(scores: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Scores of words one after the other as (B, T, C), and which places are words, (B, T) bool."""
    parts = scores.split(list(lengths))
    spread = torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
    return spread, torch.arange(spread.shape[1]) < torch.tensor(lengths)[:, None]
