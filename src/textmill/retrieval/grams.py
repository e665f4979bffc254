"""How well texts fit a query by what their words are made of: BM25 over runs of four characters.

A word of the query counts by its parts, so `Kanal` finds `Kanalisation` and `burning` in part finds `burnt`: inflected
and compound words are met without rules of any language (McNamee & Mayfield 2004, who found four characters best for
European languages). Words of two and three characters are one run each, with a space at their ends; hanzi and kana are
single characters and pairs, as in the index.

Only texts that were found by their words or their meaning are ranked so, a hundred or two; what a run is worth is told
by how many of these hold it.

Shapes: n texts, T runs, Q runs of the query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import GOLDEN, mixed
from textmill.retrieval import terms
from textmill.text.words import ALONE_RANGES

_MARKS = re.compile("[\u0300-\u036f]")
_END = (
    ".!?;。！？；\n"  # where a sentence may end, before whatever is no word; one too many does no harm here
)
_TABLE = 0x40000  # code points with an entry of their own; there are no words above
_APART, _LETTER, _ALONE, _ENDING = range(4)  # what a code point is
_K1, _B = 1.2, 0.75  # as FTS5 has them
_USUAL = 100  # texts


@dataclass(frozen=True)
class Fit:
    """How well n texts fit a query.

    whole     (n,) BM25 over all runs of a text
    sentence  (n,) and over those of its best sentence
    held      (n,) the share of the query that a text holds, 0 to 1, each run as much as it is worth
    """

    whole: NDArray[np.float64]
    sentence: NDArray[np.float64]
    held: NDArray[np.float64]


def fit(query: str, texts: Sequence[str]) -> Fit:
    """How well each of some texts fits a query."""
    runs, owners, sentences = _runs([query, *texts])
    asked = np.unique(runs[owners == 0])
    own = owners > 0
    runs, owners, sentences = runs[own], owners[own] - 1, sentences[own]
    kept = np.isin(runs, asked)
    places = np.searchsorted(asked, runs[kept])
    count = len(texts)
    holds = np.zeros((len(asked), count), bool)
    holds[places, owners[kept]] = True
    holding = holds.sum(1)
    worth = _worth(holding, count)
    whole = _bm25(places, owners[kept], np.bincount(owners, minlength=count), worth)
    names, piece = np.unique(sentences, return_inverse=True)
    each = _bm25(places, piece[kept], np.bincount(piece, minlength=len(names)), worth)
    best = np.zeros(count)
    np.maximum.at(best, owners, each[piece])
    usual = _worth(holding, max(count, _USUAL))  # so that the share means the same in a store of two texts
    return Fit(whole, best, usual @ holds / max(usual.sum(), 1e-9))


def _worth(holding: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """What runs are worth that so many of `count` texts hold."""
    return np.log1p((count - holding + 0.5) / (holding + 0.5))


def named(query: str, titles: Sequence[str]) -> NDArray[np.float64]:
    """(n,), the share of each title that stands in a query, 0 to 1: 1 where the query names it."""
    runs, owners, _ = _runs([query, *titles])
    own = owners > 0
    there = np.isin(runs[own], runs[~own])
    every = np.bincount(owners[own] - 1, minlength=len(titles))
    return np.bincount(owners[own] - 1, weights=there, minlength=len(titles)) / np.maximum(every, 1)


def _bm25(
    places: NDArray[np.int64],
    owners: NDArray[np.int64],
    lengths: NDArray[np.int64],
    worth: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n,): places: of each occurrence the run of the query, owners: the text it stands in, lengths: (n,) of texts."""
    count = len(lengths)
    met, often = np.unique(places * count + owners, return_counts=True)
    run, owner = np.divmod(met, max(count, 1))
    relative = lengths / max(lengths.mean(), 1e-9) if count else lengths
    dampened = often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * relative[owner]))
    return np.bincount(owner, weights=worth[run] * dampened, minlength=count).astype(np.float64)


def _runs(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """(T,) hashes of the runs of some texts, (T,) the text and (T,) the sentence of each, counted over all texts."""
    joined = [f" {_folded(text)} " for text in texts]
    codes = np.frombuffer("".join(joined).encode("utf-32-le", "replace"), "<u4").astype(np.uint64)
    owner = np.repeat(np.arange(len(joined)), [len(text) for text in joined])
    kinds = _kinds().take(codes, mode="clip")
    spelt, alone = kinds == _LETTER, kinds == _ALONE
    ends = np.append((kinds[:-1] == _ENDING) & ~(spelt | alone)[1:], False)
    sentence = np.cumsum(ends) + owner
    # Four characters of which the middle two belong to one word, with its end or the next of it at either side.
    first = np.flatnonzero(spelt[1:-2] & spelt[2:-1])
    letters = np.where(spelt, codes, np.uint64(ord(" ")))
    words = np.zeros(len(first), np.uint64)
    for place in range(4):
        words = mixed(words * np.uint64(GOLDEN) + letters[first + place])
    single = np.flatnonzero(alone)
    pair = np.flatnonzero(alone[:-1] & alone[1:])
    pairs = mixed(codes[pair] * np.uint64(GOLDEN) + codes[pair + 1])
    at = np.concatenate([first, single, pair])
    return np.concatenate([words, codes[single], pairs]), owner[at], sentence[at]


@cache
def _kinds() -> NDArray[np.uint8]:
    """What each code point is: parts words, is a letter or digit of one, a word alone, or parts sentences too."""
    kinds = np.array([chr(code).isalnum() for code in range(_TABLE)], np.uint8)  # _APART, _LETTER
    for low, high in ALONE_RANGES:
        kinds[low : high + 1] *= _ALONE
    kinds[[ord(mark) for mark in _END]] = _ENDING
    return kinds


def _folded(text: str) -> str:
    """A text without case and accents, of one form of each letter."""
    text = terms.readable(text).lower()
    return text if text.isascii() else _MARKS.sub("", unicodedata.normalize("NFKD", text))
