"""A small classifier of the user's own: what the good examples have and the bad ones do not.

Features are the words and pairs of neighbouring words of a text (`words.hashes`: without regard to case, hanzi one
by one, so that Chinese gives single characters and pairs), hashed into 2**18 buckets (Weinberger et al. 2009). A
feature is there or not, and a text is a vector of length one, so that long documents and short examples compare.
On them logistic regression with an L2 penalty, fitted in the process that needs it; the two files count the same
however many examples each holds. A document's logit is a sum of whole numbers, so that its probability does not
depend on the order of additions.

Examples should be texts of the kind and length of the documents. Of a long document only the beginning is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textmill.base.errors import RecipeError
from textmill.base.hashing import mixed
from textmill.specs.cleaning import ClassifierStep
from textmill.text import words
from textmill.text.batches import in_batches
from textmill.text.cleaning.quality.logistic import Rows, fit
from textmill.text.document import Document, Item, Step, reject

BITS = 18  # of a feature's bucket
STRENGTH = 10.0  # of the examples against the penalty (`C` elsewhere)
READ = 1 << 20  # characters of a document that are looked at
_UNIT = 1 << 24  # weights are whole multiples of 1 / _UNIT
_STEP = np.uint64(0xD6E8FEB86659FD93)


def files(spec: ClassifierStep) -> tuple[str, ...]:
    """The files that decide, beside the spec, what the step does; relative to the working folder."""
    return (spec.good, spec.bad)


def step(spec: ClassifierStep) -> Step:
    """Note the probability of being good as metadata `quality`; skip documents under `least`.

    Raises RecipeError when a file of examples is missing, empty or cannot be read.
    """
    return judging(train(examples(spec.good, "good"), examples(spec.bad, "bad")), spec)


def judging(model: Classifier, spec: ClassifierStep) -> Step:
    """The step of a classifier that is fitted already."""

    def work(documents: Sequence[Document]) -> list[Item]:
        chances = probabilities(model, [document.whole for document in documents])
        return [_judged(*pair, spec.least) for pair in zip(documents, chances, strict=True)]

    return in_batches(work)


def _judged(document: Document, chance: float, least: float) -> Item:
    document = replace(document, metadata={**document.metadata, "quality": f"{chance:.2f}"})
    if chance < least:
        return reject(document, "classifier", "is unlike the good examples", f"{chance:.4f} < {least}")
    return document


@dataclass(frozen=True)
class Classifier:
    """Weights of the features and a bias, in units of 1 / _UNIT."""

    weights: NDArray[np.int64]  # (2**BITS,)
    bias: int


def train(good: Sequence[str], bad: Sequence[str]) -> Classifier:
    """Fit a classifier on at least one example of either kind. The same examples give the same classifier."""
    texts = [*good, *bad]
    labels = np.arange(len(texts)) < len(good)
    weight = np.where(labels, len(texts) / (2 * len(good)), len(texts) / (2 * len(bad)))
    weights, bias = fit(features(texts), labels, weight, STRENGTH)
    return Classifier(np.rint(weights * _UNIT).astype(np.int64), round(bias * _UNIT))


def probabilities(model: Classifier, texts: Sequence[str]) -> list[float]:
    """The probability of each text that it is good."""
    rows = features(texts)
    before = np.concatenate([[0], np.cumsum(model.weights[rows.column])])
    begins = np.searchsorted(rows.row, np.arange(rows.count + 1))
    sums = np.diff(before[begins])
    logits = (sums / np.sqrt(np.maximum(np.diff(begins), 1)) + model.bias) / _UNIT
    return [_sigmoid(logit) for logit in logits.tolist()]


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(min(logit, 500.0), -500.0)))


def features(texts: Sequence[str]) -> Rows:
    """The buckets of the words and pairs of words of each text."""
    hashed = words.hashes([text[:READ] for text in texts])
    document = np.repeat(np.arange(len(texts)), np.diff(hashed.offsets))
    inside = document[1:] == document[:-1]
    pairs = mixed(hashed.hash[:-1] * _STEP + hashed.hash[1:])[inside]
    buckets = (np.concatenate([hashed.hash, pairs]) >> np.uint64(64 - BITS)).astype(np.int64)
    keys = np.concatenate([document, document[1:][inside]]) << BITS | buckets
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) != 0]
    return Rows(keys >> BITS, keys & ((1 << BITS) - 1), len(texts), 1 << BITS)


def examples(name: str, field: str) -> list[str]:
    """The examples of a file, JSON lines with `text` (`.jsonl`, `.json`) or one text a line; empty ones left out."""
    where = f"classifier.{field}: {name}"
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        cause = "is not UTF-8" if isinstance(error, ValueError) else (error.strerror or "cannot be read")
        raise RecipeError(f"cannot be read: {cause}", where=where) from None
    if Path(name).suffix in (".jsonl", ".json"):
        lines = [_text(line, f"{where}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise RecipeError("holds no example", where=where, advice="give at least some tens of either kind")
    return texts


def _text(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise RecipeError("is not a JSON object with a `text`", where=where)
    return text
