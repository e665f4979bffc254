"""From labelled texts to a linear model of their n-grams: the whole training, in seconds.

What is least is  sum of losses + penalty/2 · |weights|²,  biases apart: cross-entropy of one label a text, a sigmoid
for each of several labels, half of squared errors of numbers. That is scikit-learn's LogisticRegression at
C = 1/penalty (two labels have one weight vector, as there), and its Ridge.

N-grams that occur in the same texts, as often in each, cannot be told apart: m of them are one column here, sqrt(m)
times as large, whose weight they share; that is what the least penalty gives them anyway. Most n-grams of a corpus
occur in one text, so this takes away more than half of them, and changes no result.

Shapes: N texts, n features of all of them, F n-grams, G groups of n-grams alike, C labels or numbers, K columns of
weights (1 of two labels, else C).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.base.hashing import mixed
from textmill.data.batch import IGNORE
from textmill.models.linear.features import Features, Row, features
from textmill.models.linear.lbfgs import Vector, minimise, zeros
from textmill.models.linear.weighting import inverse_frequencies, log_ratios, looked_up, values
from textmill.specs.model import LinearSpec

PENALTIES = (1.0, 0.25, 0.0625, 0.015625)  # tried where a spec names none, from the strongest on
USUAL = 1.0  # where there is too little to choose by
_HELD = 10  # one in so many texts chooses the penalty where there is no validation split,
_FEWEST = 10  # if that makes so many,
_ENOUGH = 20_000  # of about so many texts: what penalty is best hardly depends on their number
_ROUGH = 1e-3  # tolerance while the penalty is chosen


@dataclass(frozen=True, eq=False)
class Labelled:
    """Texts and what is to be said of them.

    targets: (N,) int64, one label, IGNORE for one that is not known; (N, C) bool, several; (N, C) float, numbers.
    """

    rows: Sequence[Row]
    targets: NDArray


@dataclass(frozen=True, eq=False)
class Fitted:
    """keys (F,) int64, rising; scale (F,) what an n-gram counts for; weight (F, C); bias (C,); and how it was found:
    the penalty, and the loss a held-out text under each that was tried."""

    keys: NDArray[np.int64]
    scale: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    tried: dict[float, float]


def fit(
    spec: LinearSpec,
    train: Labelled,
    outputs: int,
    validation: Labelled | None = None,
    *,
    tolerance: float = 3e-4,
) -> Fitted:
    """The model of labelled texts: a function of what is given alone.

    tolerance: of what is least, the part that the last steps may still have gained.
    outputs: C. validation: what the penalty is chosen by, where the spec names none; without it, a tenth of the texts,
    from which the model is learnt as well once the penalty is chosen. Of many texts it is chosen with some.

    Raises RecipeError where no text with a label has an n-gram, and where naive Bayes has no labels to weigh by.
    """
    rows, targets = _labelled(train)
    if spec.penalty is None and (parts := _apart(rows, targets, validation)):
        rough = fit(spec, parts[0], outputs, parts[1], tolerance=_ROUGH)
        whole = fit(replace(spec, penalty=rough.penalty), train, outputs, tolerance=tolerance)
        return replace(whole, tried=rough.tried)
    # 1. The n-grams, as columns of a table; those that cannot be told apart are one.
    read = features(rows, spec)
    keys, columns = np.unique(read.keys, return_inverse=True)
    if not len(keys):
        raise RecipeError("has no labelled text with an n-gram to learn from", where="corpus")
    owners = read.owners
    scale = inverse_frequencies(spec, columns, len(keys), len(rows))
    worth = values(spec, read.counts, scale[columns], owners, len(rows))
    firsts, group, times = _alike(columns, owners, read.counts)
    kept = np.zeros(len(keys), dtype=bool)
    kept[firsts] = True
    kept = kept[columns]
    root = np.sqrt(times).astype(np.float32)
    column = group[columns[kept]]
    table = _Table.of(worth[kept] * root[column], owners[kept], column, (len(rows), len(times)))
    # 2. What is to be least.
    loss = loss_of(targets, outputs)
    ratio = None
    if spec.weighting == "naive-bayes":
        if isinstance(loss, _Numbers):
            raise RecipeError(
                "weighs n-grams by labels, and numbers are to be said",
                where="model.weighting",
                advice='set it to "tf-idf"',
            )
        ratio = torch.from_numpy(_ratios(loss.wanted.numpy(), column, owners[kept], times))
    aim = _Aim(table, loss, ratio)
    # 3. The weights, under each penalty until it gets no better; each begins where the one before ended.
    point, tried = aim.start(), {}
    held = None if validation is None else _Held.of(spec, keys, scale, validation, outputs)

    def expanded(point: Vector) -> tuple[NDArray, NDArray]:
        weight = aim.weights(point.own[:-1]) / torch.from_numpy(root)[:, None]
        return loss.expanded(weight[group], point.own[-1])

    penalty, best = spec.penalty or USUAL, point
    if spec.penalty is None and held is not None:
        for candidate in PENALTIES:
            point = aim.least(candidate, point, _ROUGH)
            tried[candidate] = held.loss(*expanded(point))
            if tried[candidate] > min(tried.values()):
                break
            penalty, best = candidate, point
    best = aim.least(penalty, best, tolerance)
    return Fitted(keys, scale, *expanded(best), penalty, tried)


def _labelled(texts: Labelled) -> tuple[list[Row], NDArray]:
    """Those whose label is known."""
    if texts.targets.dtype != np.int64:
        return list(texts.rows), texts.targets
    known = texts.targets != IGNORE
    return [row for row, label in zip(texts.rows, known.tolist(), strict=True) if label], texts.targets[known]


def _apart(
    rows: list[Row], targets: NDArray, validation: Labelled | None
) -> tuple[Labelled, Labelled] | None:
    """Texts to learn from and texts to choose a penalty by, dealt by their number, of so many texts about `_ENOUGH`;
    None where they would be too few to be dealt, or, with texts to choose by, are few enough."""
    every = max(1, len(rows) // _ENOUGH)
    drawn = mixed(np.arange(len(rows), dtype=np.uint64)) % np.uint64(_HELD * every)

    def those(side: NDArray) -> Labelled:
        return Labelled(
            [row for row, wanted in zip(rows, side.tolist(), strict=True) if wanted], targets[side]
        )

    if validation is not None:
        return None if every == 1 else (those(drawn < _HELD), validation)
    held = drawn == 0
    return None if held.sum() < _FEWEST else (those((drawn > 0) & (drawn < _HELD)), those(held))


def _alike(columns: NDArray, owners: NDArray, counts: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """(G,) the first of each group of n-grams that occur in the same texts, as often in each; (F,) the group of each;
    (G,) how many it has. Groups are told apart by a hash of 64 bits."""
    entry = mixed(mixed(owners.astype(np.uint64) + np.uint64(1)) + counts.astype(np.uint64))
    order = np.argsort(columns, kind="stable")
    begins = np.flatnonzero(np.diff(columns[order], prepend=-1))
    signs = np.add.reduceat(entry[order], begins)
    _, firsts, group, times = np.unique(signs, return_index=True, return_inverse=True, return_counts=True)
    return firsts, group, times


def _ratios(wanted: NDArray, column: NDArray, owners: NDArray, times: NDArray) -> NDArray[np.float32]:
    """(G, K), of labels wanted (N, K)."""
    number = len(times)
    held = np.stack([np.bincount(column, side[owners], minlength=number) for side in wanted.T], axis=1)
    return log_ratios(held, np.bincount(column, minlength=number), times)


@dataclass(frozen=True, eq=False)
class _Table:
    """What each text (N) holds of each column (G), and the same the other way round."""

    by_text: Tensor
    by_column: Tensor

    @classmethod
    def of(cls, worth: NDArray, row: NDArray, column: NDArray, shape: tuple[int, int]) -> _Table:
        """row and column: (n,) of each value, rows rising."""
        order = np.argsort(column, kind="stable")
        return cls(
            _sparse(worth, row, column, shape), _sparse(worth[order], column[order], row[order], shape[::-1])
        )


def _sparse(worth: NDArray, row: NDArray, column: NDArray, shape: tuple[int, ...]) -> Tensor:
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    begins, places = (torch.from_numpy(part.astype(np.int32)) for part in (offsets, column))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that such tensors are a beta feature
        return torch.sparse_csr_tensor(begins, places, torch.from_numpy(worth), size=shape)


class _Loss:
    """Logits (N, K) -> the sum of losses, and its gradient (N, K). wanted: (N, K) float32."""

    def __init__(self, wanted: NDArray) -> None:
        self.wanted = torch.from_numpy(np.ascontiguousarray(wanted, dtype=np.float32))

    def __call__(self, logits: Tensor) -> tuple[float, Tensor]:
        raise NotImplementedError

    def expanded(self, weight: Tensor, bias: Tensor) -> tuple[NDArray, NDArray]:
        """Weights (F, K) and biases (K,) as those of all labels, (F, C) and (C,)."""
        return weight.numpy(), bias.numpy()


class _Sigmoids(_Loss):
    """A sigmoid for each label."""

    def __call__(self, logits: Tensor) -> tuple[float, Tensor]:
        loss = F.binary_cross_entropy_with_logits(logits, self.wanted, reduction="none")
        return float(loss.sum(dtype=torch.float64)), logits.sigmoid() - self.wanted


class _TwoLabels(_Sigmoids):
    """Two labels, of which one is true: the sigmoid of the second one's logit over the first's."""

    def expanded(self, weight: Tensor, bias: Tensor) -> tuple[NDArray, NDArray]:
        """Half of it for the one, half against the other."""
        return torch.cat([-weight, weight], 1).numpy() / 2, torch.cat([-bias, bias]).numpy() / 2


class _OneLabel(_Loss):
    """One of several labels is true."""

    def __call__(self, logits: Tensor) -> tuple[float, Tensor]:
        logs = logits.log_softmax(1)
        return -float((logs * self.wanted).sum(dtype=torch.float64)), logs.exp_() - self.wanted


class _Numbers(_Loss):
    """Half of the squared error of numbers, which are brought to mean 0 and deviation 1."""

    def __init__(self, wanted: NDArray) -> None:
        self._mean, deviation = wanted.mean(0), wanted.std(0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        super().__init__((wanted - self._mean) / self._deviation)

    def standard(self, numbers: Tensor) -> Tensor:
        """Numbers in their units, brought to mean 0 and deviation 1."""
        return ((numbers - torch.from_numpy(self._mean)) / torch.from_numpy(self._deviation)).float()

    def __call__(self, logits: Tensor) -> tuple[float, Tensor]:
        error = logits - self.wanted
        return 0.5 * float(error.square().sum(dtype=torch.float64)), error

    def expanded(self, weight: Tensor, bias: Tensor) -> tuple[NDArray, NDArray]:
        """In the units of the numbers."""
        scaled = (weight.numpy() * self._deviation, bias.numpy() * self._deviation + self._mean)
        return scaled[0].astype(np.float32), scaled[1].astype(np.float32)


def loss_of(targets: NDArray, outputs: int) -> _Loss:
    """The loss of what is to be said of texts, as `Labelled` has it. outputs: C."""
    if targets.dtype == np.int64:
        wanted = np.eye(outputs, dtype=np.float32)[targets]
        return _TwoLabels(wanted[:, 1:]) if outputs == 2 else _OneLabel(wanted)
    return _Sigmoids(targets) if targets.dtype == bool else _Numbers(targets.astype(np.float64))


@dataclass(frozen=True, eq=False)
class _Aim:
    """What is to be least: a loss of texts. ratio: (G, K), what naive Bayes multiplies each column by."""

    table: _Table
    loss: _Loss
    ratio: Tensor | None

    def start(self) -> Vector:
        """Where to begin: weights of 0."""
        return zeros(torch.zeros(len(self.loss.wanted) + 1, self.loss.wanted.shape[1]))

    def weights(self, shares: Tensor) -> Tensor:
        """(G, K): what each column weighs, of shares (N, K) of the texts."""
        summed = self.table.by_column @ shares
        return summed if self.ratio is None else summed * self.ratio.square()

    def product(self, shares: Tensor) -> Tensor:
        """(N, K): the logits that these shares of the texts make."""
        return self.table.by_text @ self.weights(shares)

    def least(self, penalty: float, start: Vector, tolerance: float) -> Vector:
        """The shares of the texts in the best weights, and the bias."""
        return minimise(self.loss, self.product, penalty, start, tolerance=tolerance)


@dataclass(frozen=True, eq=False)
class _Held:
    """Held-out texts, to choose a penalty by."""

    spec: LinearSpec
    read: Features
    worth: NDArray
    loss_of: _Loss
    texts: int

    @classmethod
    def of(
        cls, spec: LinearSpec, keys: NDArray, scale: NDArray, held: Labelled, outputs: int
    ) -> _Held | None:
        """None where there are none with a label."""
        rows, targets = _labelled(held)
        if not rows:
            return None
        read, worth = bag(spec, keys, scale, rows)
        wanted = np.eye(outputs, dtype=np.float32)[targets] if targets.dtype == np.int64 else targets
        loss = _OneLabel(wanted) if targets.dtype == np.int64 else loss_of(targets, outputs)
        return cls(spec, read, worth, loss, len(rows))

    def loss(self, weight: NDArray, bias: NDArray) -> float:
        """A text's, of weights (F, C) and biases (C,)."""
        logits = scores(
            self.read, torch.from_numpy(self.worth), torch.from_numpy(weight), torch.from_numpy(bias)
        )
        if isinstance(self.loss_of, _Numbers):
            logits = self.loss_of.standard(logits)
        return self.loss_of(logits)[0] / self.texts


def bag(spec: LinearSpec, keys: NDArray, scale: NDArray, rows: Sequence[Row]) -> tuple[Features, NDArray]:
    """The known n-grams of texts as places in keys (F,), and (n,) what each counts for."""
    read = looked_up(keys, features(rows, spec))
    return read, values(spec, read.counts, scale[read.keys], read.owners, len(rows))


def scores(read: Features, worth: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits (N, C): the sum of what the n-grams of each text weigh, in a fixed order, whatever stands beside it."""
    if not len(read.keys):
        return bias.repeat(len(read.offsets) - 1, 1)
    places, offsets = torch.from_numpy(read.keys), torch.from_numpy(read.offsets[:-1])
    return F.embedding_bag(places, weight, offsets, mode="sum", per_sample_weights=worth) + bias
