"""How well a language model predicts text: nats per token, perplexity, bits per byte.

With n_d the nats the model spends on document d (the sum of -ln p over its targets), t_d its number of
targets and b_d its bytes of UTF-8:

    nats per token  =  Σ n_d / Σ t_d
    perplexity      =  exp(nats per token)
    bits per byte   =  Σ n_d / (ln 2 · Σ b_d)

Bits per byte does not depend on the tokenizer, so it is the number to compare. The end-of-text token is a
target like any other, unless a recipe leaves it out, and its nats count, though it has no bytes: a model pays for
knowing where a document ends. The interval is the 95 % percentile bootstrap over documents, or over the groups they
were split by: they are drawn with replacement, and each ratio above is computed anew from the sums of the drawn ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from textmill.base.errors import TextmillError
from textmill.metrics.score import BOOTSTRAP, LOWER, Bootstrap, Score, percentiles


def language_model(
    nats: ArrayLike,
    targets: ArrayLike,
    sizes: ArrayLike,
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
    end: bool = True,
) -> dict[str, Score]:
    """Scores of a model on documents, by name: `bits per byte`, `nats per token`, `perplexity`.

    `nats`, `targets` and `sizes` (bytes of UTF-8) have one entry a document, shape (D,). `how` is what the
    caller did to get the nats (context, overlap), and becomes part of the signatures, as does whether the ends of texts
    are among the targets (`end`). With one document
    there is no interval. Raises TextmillError when there is nothing to score or the shapes differ.
    """
    table = _columns(nats, targets, sizes)
    documents = len(table)
    total = table.sum(0)
    if total[1] == 0 or total[2] == 0:
        raise TextmillError("no text to score", advice="give a split of the corpus that holds documents")
    sums = bootstrap.sums(table)
    if sums is not None:  # a sample of empty documents only says nothing
        sums = sums[(sums[:, 1] > 0) & (sums[:, 2] > 0)]
    ends = "scored" if end else "not scored"
    tail = f"end:{ends}|documents:{documents}|{bootstrap.words(documents)}" + (f"|{how}" if how else "")

    def score(name: str, unit: str, ratio) -> Score:
        value = float(ratio(total[None])[0])
        low, high = percentiles(ratio(sums)) if sums is not None else (None, None)
        return Score(value, low, high, unit, documents, f"{name}|{tail}", LOWER)

    return {
        "bits per byte": score(
            "bits-per-byte|nats/(ln2*bytes)", "bits/byte", lambda s: s[:, 0] / s[:, 2] / math.log(2)
        ),
        "nats per token": score("nats-per-token|nats/targets", "nats/token", lambda s: s[:, 0] / s[:, 1]),
        "perplexity": score("perplexity|exp(nats/targets)", "", lambda s: _exp(s[:, 0] / s[:, 1])),
    }


def _columns(nats: ArrayLike, targets: ArrayLike, sizes: ArrayLike) -> np.ndarray:
    columns = [np.asarray(column, dtype=np.float64) for column in (nats, targets, sizes)]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns) or not len(columns[0]):
        shapes = ", ".join(str(column.shape) for column in columns)
        raise TextmillError(
            f"nats, targets and bytes have shapes {shapes}", advice="give one number of each per document"
        )
    table = np.stack(columns, axis=1)
    if not np.isfinite(table).all() or (table < 0).any():
        raise TextmillError(
            "a document has nats, targets or bytes that are negative or not finite",
            advice="the model's weights are probably damaged",
        )
    return table


def _exp(values: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(values, 700.0))  # e^700 is near the end of float64; no vocabulary reaches it
