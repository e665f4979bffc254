"""From a text to an n-gram model: counted, smoothed, laid out in tables."""

from __future__ import annotations

import numpy as np
import torch

from textmill.models.ngram import counts as ngram_counts
from textmill.models.ngram.model import NGram
from textmill.models.ngram.smoothing import smooth
from textmill.specs.model import NGramSpec

_MOST_ESCAPE = 64.0
_ESCAPES = 32  # lengths of contexts whose escape is estimated; longer ones share the last


def fit(
    spec: NGramSpec,
    ids: np.ndarray,
    vocabulary: int,
    end: int,
    *,
    order: np.ndarray | None = None,
    dtype: torch.dtype = torch.float32,
) -> NGram:
    """The model of a text, in eval mode.

    ids: (n,) an end-of-text, then documents, each followed by an end-of-text. order: (n,) its suffixes in order, as
    the corpus index has them; left out: sorted here. Raises TextmillError when that is too much at once.
    """
    ids = np.ascontiguousarray(ids, dtype=np.int32)
    order = ngram_counts.sort(ids, vocabulary) if order is None else np.asarray(order)
    endless = spec.smoothing == "infinity"
    shared = ngram_counts.common(ids, order, end, max(spec.order, _ESCAPES + 1 if endless else 0))
    counts = ngram_counts.count(ids, order, vocabulary, end, spec.order, shared)
    smoothed = smooth(counts, spec)
    tables = {"unigram": _floats(smoothed.unigram, dtype), "end": torch.tensor([end])}
    for index, level in enumerate(counts.levels):
        tables |= {
            f"levels.{index}.tokens": torch.from_numpy(level.tokens),
            f"levels.{index}.starts": torch.from_numpy(level.starts),
            f"levels.{index}.alpha": _floats(smoothed.alpha[index], dtype),
            f"levels.{index}.gamma": _floats(smoothed.gamma[index], dtype),
        }
    if endless:
        alike = ngram_counts.agreement(ids, order, shared, end, _ESCAPES)
        firsts = np.concatenate([[0], np.cumsum(np.bincount(ids, minlength=vocabulary))])
        tables |= {
            "stream.ids": torch.from_numpy(ids),
            "stream.order": torch.from_numpy(order.astype(np.int32)),
            "stream.first": torch.from_numpy(firsts.astype(np.int32)),
            "stream.escape": _floats(escapes(alike, spec.order), dtype),
            "stream.end": torch.tensor([end]),
        }
    model = NGram(spec, vocabulary)
    model.load_state_dict(tables)
    return model.eval()


def escapes(alike: np.ndarray, order: int) -> np.ndarray:
    """How much a context leaves to shorter ones, by its length, from how often lone contexts foretell rightly.

    A context that was seen once should say its token with probability a. The n-gram beneath says it already with
    about q, what contexts of order - 1 tokens reach. (1 + e·q) / (1 + e) = a gives e = (1 - a) / (a - q).
    """
    known = alike[order - 1] if order > 1 else 0.0
    return np.minimum((1 - alike) / np.maximum(alike - known, 1e-9), _MOST_ESCAPE)


def text_of(ids: np.ndarray, end: int) -> np.ndarray:
    """A token store's ids, in which every document ends with end-of-text, as a text to count: one more before them."""
    return np.concatenate([np.array([end], dtype=np.int32), np.asarray(ids, dtype=np.int32)])


def _floats(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64)).to(dtype)
