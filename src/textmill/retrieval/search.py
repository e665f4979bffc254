"""Search in a store: by words, by meaning, or by both.

Both are brought together by the ranks they give (reciprocal rank fusion; Cormack, Clarke & Büttcher 2009): a chunk
scores the sum of 1 / (60 + rank) over the lists it stands in.

Shapes: n chunks, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from textmill.base.errors import RecipeError
from textmill.retrieval.store import Filter, Place, Store

How = Literal["hybrid", "words", "vectors"]
_FUSED = 60  # what a rank is added to
_DEEP = 100  # of each list that are brought together


class Encoder(Protocol):
    """What makes vectors of texts: of length 1, so that their product says how near they are."""

    id: str  # of the model: vectors of another one are never compared with its own

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D) vectors of texts."""
        ...


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. score: as `how` ranks them; words, meaning: its rank in either list, from 1."""

    place: Place
    score: float
    words: int | None = None
    meaning: int | None = None


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
        """The chunks that fit a query best. how: left out, by both where there is an encoder, else by words.

        Chunks of the same text count once, where they stand first. Raises RecipeError for vectors without an encoder.
        """
        how = how or ("words" if self.encoder is None else "hybrid")
        if how != "words" and self.encoder is None:
            raise RecipeError(
                "needs a model that embeds texts", where="search", advice="name one: --embedder"
            )
        deep = max(_DEEP, most)
        by_words = self.store.matching(query, deep, chosen) if how != "vectors" else []
        by_meaning = self._nearest(query, deep, chosen) if how != "words" else []
        ranks = [{chunk: rank for rank, (chunk, _) in enumerate(side, 1)} for side in (by_words, by_meaning)]
        scores = (
            {
                chunk: sum(1 / (_FUSED + side[chunk]) for side in ranks if chunk in side)
                for chunk in ranks[0] | ranks[1]
            }
            if how == "hybrid"
            else dict(by_words or by_meaning)
        )
        order = sorted(scores, key=lambda chunk: (-scores[chunk], chunk))
        hits: list[Hit] = []
        seen: set[str] = set()
        for place in self.store.places(order[: 2 * most + _DEEP]):
            if place.text not in seen and len(hits) < most:
                seen.add(place.text)
                words, meaning = (side.get(place.chunk) for side in ranks)
                hits.append(Hit(place, scores[place.chunk], words, meaning))
        return Found(tuple(hits), "" if hits else self._why(how, chosen))

    def _nearest(self, query: str, most: int, chosen: Filter | None) -> list[tuple[int, float]]:
        """(chunk, cosine) of the chunks whose vectors are nearest to that of a query."""
        assert self.encoder is not None
        self._refresh()
        if not len(self._numbers):
            return []
        near = self._vectors @ self.encoder.embed([query])[0]
        if chosen is not None and chosen != Filter():
            near[~np.isin(self._numbers, self.store.numbers(chosen))] = -np.inf
        best = np.argpartition(-near, min(most, len(near)) - 1)[:most]
        best = best[np.lexsort((best, -near[best]))]
        return [(int(self._numbers[at]), float(near[at])) for at in best if np.isfinite(near[at])]

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
