"""What an n-gram counts for in a text, and how much of a label it is a sign of.

Shapes: N texts, n features of all of them, F different n-grams, C labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textmill.models.linear.features import Features
from textmill.specs.model import LinearSpec

_SMOOTHING = 1.0  # added to every count of naive Bayes (Wang & Manning 2012, section 2)


def inverse_frequencies(spec: LinearSpec, columns: NDArray, number: int, texts: int) -> NDArray[np.float32]:
    """(F,): log((1 + N) / (1 + texts that hold it)) + 1, as scikit-learn has it; ones where a spec asks for none."""
    if spec.weighting != "tf-idf":
        return np.ones(number, np.float32)
    held = np.bincount(columns, minlength=number)
    return (np.log((1 + texts) / (1 + held)) + 1).astype(np.float32)


def values(
    spec: LinearSpec, counts: NDArray, scale: NDArray, owners: NDArray, texts: int
) -> NDArray[np.float32]:
    """(n,): of tf-idf (1 + log count) · scale, each text's of length 1; else 1. scale: (n,), that of each."""
    if spec.weighting != "tf-idf":
        return np.ones(len(counts), np.float32)
    worth = (1 + np.log(counts)) * scale
    norms = np.sqrt(np.bincount(owners, worth.astype(np.float64) ** 2, minlength=texts)).astype(np.float32)
    return (worth / norms[owners]).astype(np.float32)


def log_ratios(held: NDArray, labelled: NDArray, times: NDArray) -> NDArray[np.float32]:
    """(G, C): log of how much likelier an n-gram is in texts of a label than in others (Wang & Manning 2012, eq. 2).

    held: (G, C) texts of each label that hold it; labelled: (G,) texts that hold it; times: (G,) n-grams it stands for.
    """
    with_label, without = held + _SMOOTHING, labelled[:, None] - held + _SMOOTHING
    shares = [side / (side * times[:, None]).sum(0) for side in (with_label, without)]
    return np.log(shares[0] / shares[1]).astype(np.float32)


def looked_up(keys: NDArray[np.int64], read: Features) -> Features:
    """The features that are among keys (F,), as their places there: what was never seen says nothing."""
    place = np.searchsorted(keys, read.keys)
    place[place == len(keys)] = 0
    known = keys[place] == read.keys if len(keys) else np.zeros(len(place), bool)
    kept = np.concatenate([[0], np.cumsum(known)])
    return Features(place[known], read.counts[known], kept[read.offsets])
