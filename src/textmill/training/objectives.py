"""What each objective costs: for every kind in specs/objective.py a loss, and a count of what bears it.

Every loss is (sum of nats, number of targets), and the loop divides once, by the number in the whole global batch. So
the gradient of a step is the same however its batch is padded, cut into micro-batches or dealt to ranks.

objective                              a target is                           its nats
causal, infilling, spans, continue     a token                               -log p
pairs                                  a token                               the same, labels smoothed
masked                                 a hidden token                        -log p; next sentence: see `masked`
classify                               a text                                -log p(label)
classify, multiple                     a label of a text, held or not        -log p of that (a sigmoid each)
regress                                a number                              (prediction - number)²: summed as nats are
tag                                    a tagged token                        -log p(tag)
tag, crf                               a tagged token                        its share of -log p(tags of the row)
answer                                 a span                                mean of -log p(first) and -log p(last)

Shapes: B rows, T tokens, D features, C labels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.specs.objective import (
    ConstantForcing,
    Forcing,
    LinearForcing,
    MaskedObjective,
    ObjectiveSpec,
    PairsObjective,
)
from textmill.training.loss import Count, Loss, causal, count_targets, sum_of_nats, widened


@dataclass(frozen=True)
class Losses:
    """What a model is trained by, and what it is looked at by."""

    training: Loss
    validation: Loss  # the same in plain nats: labels are not smoothed
    count: Count  # targets of a batch, as both losses count them


def losses(objective: ObjectiveSpec, *, sequence: int, chunk: int | None = None) -> Losses:
    """The losses of an objective.

    sequence: tokens of a row, which says how much a next-sentence decision weighs (see `masked`).
    chunk: logits of at most so many tokens exist at a time; see `causal`.
    """
    loss, count = LOSSES[objective.kind]
    if loss is causal:
        training = functools.partial(causal, chunk=chunk)
        if isinstance(objective, PairsObjective):
            smoothed = functools.partial(causal, chunk=chunk, smoothing=objective.label_smoothing)
            return Losses(smoothed, training, count)
        return Losses(training, training, count)
    if isinstance(objective, MaskedObjective):
        loss = functools.partial(masked, chunk=chunk, sentence_weight=objective.share * sequence)
    return Losses(loss, loss, count)


def masked(
    model: Any, batch: Batch, chunk: int | None = None, sentence_weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the hidden tokens, and where `batch.labels` says whether a row's second segment follows its
    first, of that decision too.

    Devlin et al. 2019 add two means: S / N over N hidden tokens, and R / B over B decisions. Two denominators are no
    (sum, number). But S / N + R / B = (S + N / B · R) / N, and N / B, the hidden tokens of a row, is `sentence_weight`,
    set once from the recipe as share × sequence, which it is on average. So the sum is S + sentence_weight · R and the
    number N: additive over rows, whence the same for every cut of the batch, and the paper's sum of two means when
    rows are full.
    """
    hidden = model.hidden(batch)
    nats = sum_of_nats(model, hidden, batch.targets, chunk)
    if batch.labels is not None:
        nats = nats + sentence_weight * _cross_entropy(model.next_sentence(hidden), batch.labels)
    return nats, (batch.targets != IGNORE).sum()


def classify(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """One label a text, targets (B,): cross-entropy. Several, (B, C) float of 0, 1 or NaN: a sigmoid each."""
    logits, targets = widened(model(batch)), batch.targets
    if not targets.is_floating_point():
        return _cross_entropy(logits, targets), (targets != IGNORE).sum()
    known = ~targets.isnan()
    asked = targets[known].to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits[known], asked, reduction="sum"), known.sum()


def regress(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Squared errors in place of nats, so that their mean is the mean squared error: targets (B, C) float, or NaN."""
    values, targets = widened(model(batch)), batch.targets
    known = ~targets.isnan()
    return (values[known] - targets[known].to(values.dtype)).square().sum(), known.sum()


def tag(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Targets (B, T): cross-entropy of each tag or, with a CRF, -log p of each row's tags together."""
    bears = batch.targets != IGNORE
    if model.head.crf is None:
        return sum_of_nats(model, model.hidden(batch), batch.targets), bears.sum()
    return model.head.crf.nats(widened(model(batch)), batch.targets, bears).sum(), bears.sum()


def answer(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Targets (B, 2), the first and last token of a span: the mean of both cross-entropies over a row's real tokens.

    A row where either is IGNORE bears no loss (Devlin et al. 2019, section 4.2; there padding shares in the sum).
    """
    logits = widened(model(batch))  # (B, T, 2)
    if batch.mask is not None:
        logits = logits.masked_fill(~batch.mask[..., None], -math.inf)
    bears = (batch.targets != IGNORE).all(1)
    return _cross_entropy(logits[bears].transpose(1, 2).flatten(0, 1), batch.targets[bears].flatten()) / 2, (
        bears.sum()
    )


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over rows that bear loss: (N, C), (N,) -> ()."""
    return F.cross_entropy(widened(logits), targets, ignore_index=IGNORE, reduction="sum")


def count_labels(batch: Batch) -> int:
    """Labels or numbers of a batch that bear loss: those that are not IGNORE, or not NaN."""
    if batch.targets.is_floating_point():
        return int((~batch.targets.isnan()).sum())
    return count_targets(batch)


def count_spans(batch: Batch) -> int:
    """Rows of a batch whose span is known."""
    return int((batch.targets != IGNORE).all(1).sum())


LOSSES: dict[str, tuple[Loss, Count]] = {
    "causal": (causal, count_targets),
    "masked": (masked, count_targets),
    "infilling": (causal, count_targets),
    "spans": (causal, count_targets),
    "continue": (causal, count_targets),
    "pairs": (causal, count_targets),
    "classify": (classify, count_labels),
    "regress": (regress, count_labels),
    "tag": (tag, count_targets),
    "answer": (answer, count_spans),
}


def teacher_forcing(forcing: Forcing, step: int, steps: int) -> float:
    """How often the decoder reads the target rather than its own last guess, at step 0 … steps - 1 of a run
    (Bengio et al. 2015, section 2.4; their inverse sigmoid decay is k / (k + exp(i / k)))."""
    if isinstance(forcing, ConstantForcing):
        return forcing.ratio
    if isinstance(forcing, LinearForcing):
        done = step / max(steps - 1, 1)
        return forcing.start + (forcing.end - forcing.start) * done
    # k / (k + exp(i / k)) with both halves divided by exp(i / k), which may be too large a number.
    return 1 - 1 / (1 + forcing.k * math.exp(-step / forcing.k))


def forcing_by_step(objective: ObjectiveSpec, steps: int) -> Callable[[int], float]:
    """`nn.mode.Mode.teacher_forcing` at each step of a run: a function of the step alone, so that a resumed run goes on
    with the ratio it would have had."""
    if not isinstance(objective, PairsObjective):
        return lambda step: 1.0
    return lambda step: teacher_forcing(objective.forcing, step, steps)
