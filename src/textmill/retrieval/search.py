"""Search in a store: by words, by meaning, or by all that is known of a chunk.

The index of words gives the first hundred chunks by BM25, vectors the nearest fifty. `hybrid` ranks these by a weighted
sum of what is known of each: BM25 of words and of runs of characters, over the chunk and over its best sentence (each
as a share of the best chunk's), whether the query names its document, and the cosine of its vector. A chunk is read
with the title of its document before it, or the name of its file. A sum of scores keeps how much better one is than
the next, which ranks lose (Bruch, Gai & Ingber 2023).

Shapes: n chunks, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from textmill.base.errors import RecipeError
from textmill.retrieval import grams, terms
from textmill.retrieval.places import Filter, Place
from textmill.retrieval.store import Store

How = Literal["hybrid", "words", "vectors"]
_DEEP, _NEAREST = 100, 50  # chunks by words and by meaning that are brought together
_FEW = 1000  # of the nearest are put in order, more than anybody asks for
# What counts beside the runs of a chunk, which count 1: its words, more of them in hanzi, of which runs are not parts;
# its best sentence; its title, where the query names it; its meaning, less the more of the query the encoder cannot
# read, and nothing from a fifth on.
_WORDS, _HANZI, _SENTENCE, _TITLE, _MEANING, _UNREAD = 0.5, 0.5, 0.5, 0.5, 1.0, 0.2


class Encoder(Protocol):
    """What makes vectors of texts: of length 1, so that their product says how near they are."""

    id: str  # of the model: vectors of another one are never compared with its own

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D) vectors of texts."""
        ...

    def unknown(self, text: str) -> float:
        """The share of a text's tokens that the model has none for, 0 to 1."""
        ...


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. score: as `how` ranks them; words, meaning: its rank in either list, from 1; held: the
    share of the query that it holds; near: the cosine of their vectors, 0 where there is none."""

    place: Place
    score: float
    words: int | None = None
    meaning: int | None = None
    held: float = 0.0
    near: float = 0.0


@dataclass(frozen=True)
class Found:
    """What a search has found, the best first; where that is nothing, `why`."""

    hits: tuple[Hit, ...]
    why: str = ""

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        hits = [
            {**hit.place.plain(), "score": hit.score, "words": hit.words, "meaning": hit.meaning}
            for hit in self.hits
        ]
        return {"hits": hits, "why": self.why}


class Search:
    """A store in search. Vectors are read once, and again when the store has changed."""

    def __init__(self, store: Store, encoder: Encoder | None = None) -> None:
        self.store, self.encoder = store, encoder
        self._version: tuple[int, int] | None = None
        self._numbers: NDArray[np.int64] = np.empty(0, np.int64)
        self._vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def find(
        self, query: str, most: int = 10, *, how: How | None = None, chosen: Filter | None = None
    ) -> Found:
        """The chunks that fit a query best. how: left out, by all there is.

        Chunks of the same text count once, where they stand first. Raises RecipeError for vectors without an encoder.
        """
        how = how or "hybrid"
        if how == "vectors" and self.encoder is None:
            raise RecipeError(
                "needs a model that embeds texts", where="search", advice="name one: --embedder"
            )
        # 1. What shares words with it, and what lies near it.
        words = dict(self.store.matching(query, max(_DEEP, most), chosen)) if how != "vectors" else {}
        numbers, near = self._near(query, chosen) if how != "words" else _NOTHING
        top = np.argsort(-near, kind="stable") if len(near) <= _FEW else np.argpartition(-near, _FEW)[:_FEW]
        top = top[np.lexsort((numbers[top], -near[top]))]
        nearest = numbers[top[: max(_NEAREST if words else _DEEP, most)]].tolist()
        order = list(dict.fromkeys([*words, *nearest]))
        ranks = [{chunk: rank for rank, chunk in enumerate(side, 1)} for side in (words, nearest)]
        # 2. All that is known of each.
        places = self.store.places(order)
        titles = [place.title or Path(place.path).stem for place in places]
        texts = [f"{title}.\n{place.text}" for title, place in zip(titles, places, strict=True)]
        fits = grams.fit(query, texts)
        cosines = _looked_up(numbers, near, [place.chunk for place in places])
        if how == "hybrid":
            known = np.array([words.get(place.chunk, 0.0) for place in places])
            scores = (
                _of_best(fits.whole)
                + (_WORDS + _HANZI * terms.hanzi(query)) * _of_best(known)
                + _SENTENCE * _of_best(fits.sentence)
                + _TITLE * grams.named(query, titles) ** 2
                + self._meaning(query) * cosines
            )
        else:
            scores = np.array([words[place.chunk] for place in places]) if how == "words" else cosines
        # 3. The best first, each text once.
        hits: dict[str, Hit] = {}
        for at in np.lexsort((np.array([place.chunk for place in places], np.int64), -scores)):
            place = places[at]
            by_words, by_meaning = (side.get(place.chunk) for side in ranks)
            hit = Hit(
                place, float(scores[at]), by_words, by_meaning, float(fits.held[at]), float(cosines[at])
            )
            hits.setdefault(place.text, hit)
        best = tuple(islice(hits.values(), most))
        return Found(best, "" if best else self._why(how, chosen))

    def _meaning(self, query: str) -> float:
        """How much the meaning of a query counts."""
        if self.encoder is None:
            return 0.0
        return _MEANING * max(0.0, 1 - self.encoder.unknown(query) / _UNREAD)

    def _near(self, query: str, chosen: Filter | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(n,) chunks that have vectors, and (n,) their cosines to that of a query."""
        if self.encoder is None:
            return _NOTHING
        self._refresh()
        if not len(self._numbers):
            return _NOTHING
        near = self._vectors @ self.encoder.embed([query])[0]
        if chosen is None or chosen == Filter():
            return self._numbers, near
        fitting = np.isin(self._numbers, self.store.numbers(chosen))
        return self._numbers[fitting], near[fitting]

    def _refresh(self) -> None:
        assert self.encoder is not None
        version = self.store.version
        if version != self._version:
            self._numbers, self._vectors = self.store.vectors(self.encoder.id)
            self._version = version

    def _why(self, how: How, chosen: Filter | None) -> str:
        """Why a search has found nothing."""
        if not self.store.files():
            return "the store is empty"
        if chosen is not None and not len(self.store.numbers(chosen)):
            return "no document fits the filters"
        if how == "vectors":
            return "no document has vectors of this model"
        return "no document shares a word with it"


_NOTHING = np.empty(0, np.int64), np.empty(0, np.float32)


def _looked_up(
    numbers: NDArray[np.int64], values: NDArray[np.float32], wanted: Sequence[int]
) -> NDArray[np.float64]:
    """The value of each wanted number; 0 where it has none."""
    order = np.argsort(numbers, kind="stable")  # nearly in order already
    found = np.zeros(len(wanted))
    if len(numbers):
        at = order[np.minimum(np.searchsorted(numbers, wanted, sorter=order), len(numbers) - 1)]
        there = numbers[at] == np.asarray(wanted)
        found[there] = values[at[there]]
    return found


def _of_best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores as shares of the best."""
    return scores / max(scores.max(initial=0.0), 1e-9)
