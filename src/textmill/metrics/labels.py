"""How well labels are guessed: accuracy, F1, correlation, and what is taken for what.

Of one label, with h how often it was rightly said, m how often missed and f how often falsely said:

    precision  =  h / (h + f)        recall  =  h / (h + m)        F1  =  2h / (2h + m + f)

Micro F1 is that of the sums over labels; macro F1 the mean over labels (van Rijsbergen 1979; Sebastiani 2002, section
7.1.1). A label that nobody said and that is nobody's has no F1, and is left out of the mean, as scikit-learn does
with zero_division=nan. Texts, or the units they were drawn in, are resampled for the intervals.

The Matthews correlation coefficient is Pearson's r of truth and guess as 0/1 columns, one a label (Matthews 1975;
Gorodkin 2004): 1 is all right, 0 what chance gives whatever the balance of labels. It has no value where either side
always says the same.

Shapes: D texts, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Figures, Score, Sums, right_or_wrong


def one_label(
    truth: np.ndarray,
    guess: np.ndarray,
    labels: int,
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> dict[str, Score]:
    """`accuracy`, `macro F1` and, where it has a value, `MCC` of one label a text: (D,), (D,) numbers of labels.

    Raises TextmillError when there is no text.
    """
    right = truth == guess
    wrong = np.flatnonzero(~right)
    sums = _sums(
        len(truth), labels,
        hit=(np.flatnonzero(right), truth[right]),
        missed=(wrong, truth[wrong]),
        false=(wrong, guess[wrong]),
        bootstrap=bootstrap,
    )  # fmt: skip
    made = {
        "accuracy": proportion("accuracy|right/texts", right, bootstrap, how=how),
        "macro F1": sums.score("macro-F1|mean over labels that occur", macro_f1, how=how),
    }
    if np.isfinite(mcc(sums.total)[0]):
        made["MCC"] = sums.score("MCC|Gorodkin 2004", mcc, how=how)
    return made


def several_labels(
    truth: np.ndarray, guess: np.ndarray, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`micro F1`, `macro F1` and `subset accuracy` (no label missed, none falsely said): (D, C), (D, C) bool.

    Where no label is anybody's or said at all there is no F1, and both are left out.
    """
    parts = {"hit": truth & guess, "missed": truth & ~guess, "false": ~truth & guess}
    indices = {name: np.nonzero(part) for name, part in parts.items()}
    sums = _sums(len(truth), truth.shape[1], bootstrap=bootstrap, **indices)
    exact = proportion(
        "subset-accuracy|texts all right/texts",
        (truth == guess).all(1),
        bootstrap,
        how=how,
    )
    if not sums.total.any():
        return {"subset accuracy": exact}
    return {
        "micro F1": sums.score("micro-F1|2h/(2h+m+f)", micro_f1, how=how),
        "macro F1": sums.score("macro-F1|mean over labels that occur", macro_f1, how=how),
        "subset accuracy": exact,
    }


def figures(truth: np.ndarray, guess: np.ndarray) -> Figures:
    """What accuracy is made of, text by text, of (D,) numbers of one label; of several, (D, C) bool, micro F1."""
    if truth.ndim == 1:
        return right_or_wrong("accuracy", truth == guess)
    columns = [(truth & guess).sum(1), (truth & ~guess).sum(1), (~truth & guess).sum(1)]
    return Figures("micro F1", np.column_stack(columns).astype(np.float64), micro_f1)


def _sums(documents: int, labels: int, *, bootstrap: Bootstrap, **events: Any) -> Sums:
    """Sums in 3 · C columns: hits of each label, misses, and where it was falsely said."""
    owners = np.concatenate([events[name][0] for name in ("hit", "missed", "false")])
    kinds = [events[name][1] + number * labels for number, name in enumerate(("hit", "missed", "false"))]
    return Sums.of_events(documents, owners, np.concatenate(kinds), 3 * labels, bootstrap)


def _thirds(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hit, missed, false = np.split(sums, 3, axis=1)
    return hit, missed, false


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """(S, 3 · C) hits, misses, false ones -> (S,); NaN where nothing occurs."""
    hit, missed, false = _thirds(sums)
    there = hit + missed + false > 0
    each = 2 * hit / np.where(there, 2 * hit + missed + false, 1)
    return each.sum(1) / there.sum(1)


def micro_f1(sums: np.ndarray) -> np.ndarray:
    """(S, 3 · C) hits, misses, false ones -> (S,); NaN where nothing occurs."""
    hit, missed, false = (part.sum(1) for part in _thirds(sums))
    return 2 * hit / (2 * hit + missed + false)


def mcc(sums: np.ndarray) -> np.ndarray:
    """(S, 3 · C) hits, misses, false ones of one label a text -> (S,); NaN where a side always says the same."""
    hit, missed, false = _thirds(sums)
    true, said = hit + missed, hit + false
    number = true.sum(1)
    spread = (number**2 - (true**2).sum(1)) * (number**2 - (said**2).sum(1))
    together = number * hit.sum(1) - (true * said).sum(1)
    return together / np.sqrt(np.where(spread > 0, spread, np.nan))


def by_label(
    labels: Sequence[str], hit: np.ndarray, missed: np.ndarray, false: np.ndarray
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each label that occurs, from (C,) counts; None where a ratio has no bottom."""

    def ratio(top: float, bottom: float) -> float | None:
        return float(top / bottom) if bottom else None

    return [
        {
            "label": label,
            "precision": ratio(h, h + f),
            "recall": ratio(h, h + m),
            "F1": ratio(2 * h, 2 * h + m + f),
            "texts": int(h + m),
        }
        for label, h, m, f in zip(labels, hit.tolist(), missed.tolist(), false.tolist(), strict=True)
        if h + m + f
    ]


def counts_of_one(
    truth: np.ndarray, guess: np.ndarray, labels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C,) hits, misses and false ones of one label a text: (D,), (D,)."""
    hit = np.bincount(truth[truth == guess], minlength=labels)
    return hit, np.bincount(truth, minlength=labels) - hit, np.bincount(guess, minlength=labels) - hit


def confusion(truth: np.ndarray, guess: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """What was taken for what, and how often: label -> guess -> number. Pairs that never occur are left out."""
    pairs, times = np.unique(np.stack([truth, guess], axis=1), axis=0, return_counts=True)
    table: dict[str, dict[str, int]] = {}
    for (true, guessed), number in zip(pairs.tolist(), times.tolist(), strict=True):
        table.setdefault(labels[true], {})[labels[guessed]] = number
    return table
