"""Which documents of the corpora here say the same as others, or nearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from textmill.specs.cleaning import NearDuplicatesStep
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run_data import PARTS
from textmill.text.batches import by_size
from textmill.text.cleaning.duplicates.shingles import shingles
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.forgotten import content_key
from textmill.text.document import Document
from textmill.text.words import hashes

_USUAL = NearDuplicatesStep()
_CHUNK = 1 << 22  # characters compared at once


class Likeness:
    """Documents that others are compared with: by their content, and by the runs of words they share."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.ids = {document.id for document in documents}
        self.contents = {key for document in documents if (key := content_key(document))}
        values, offsets = _shingles(documents)
        self._sizes = np.diff(offsets)
        owners = np.repeat(np.arange(len(documents)), self._sizes)
        order = np.argsort(values, kind="stable")
        self._values, self._owners = values[order], owners[order]

    def of(self, documents: Sequence[Document]) -> list[tuple[bool, float]]:
        """Of each document: whether it says the same as one of these, and the similarity to the nearest (Jaccard, of
        runs of words)."""
        values, offsets = _shingles(documents)
        return [
            (content_key(document) in self.contents, self._nearest(values[offsets[at] : offsets[at + 1]]))
            for at, document in enumerate(documents)
        ]

    def _nearest(self, values: NDArray[np.uint32]) -> float:
        low = np.searchsorted(self._values, values, side="left")
        counts = np.searchsorted(self._values, values, side="right") - low
        if not counts.any():
            return 0.0
        first = np.repeat(low - (np.cumsum(counts) - counts), counts)
        owners = self._owners[first + np.arange(len(first))]
        shared = np.bincount(owners, minlength=len(self._sizes))
        return float(np.max(shared / (self._sizes + len(values) - shared)))


def alike(
    corpora: Sequence[Artifact], documents: Sequence[Document]
) -> tuple[dict[str, str], dict[str, str]]:
    """The documents of corpora that say the same as one of these, and those nearly so: id -> place of each."""
    wanted = Likeness(documents)
    same: dict[str, str] = {}
    near: dict[str, str] = {}
    for chunk in by_size(_each_once(corpora, wanted.ids), _CHUNK):
        for document, (equal, nearness) in zip(chunk, wanted.of(chunk), strict=True):
            if equal:
                same[document.id] = document.source
            elif nearness >= _USUAL.similarity:
                near[document.id] = document.source
    return same, near


def _each_once(corpora: Sequence[Artifact], left_out: set[str]) -> Iterator[Document]:
    seen = set(left_out)
    for artifact in corpora:
        corpus = Corpus(artifact.path)
        for part in PARTS:
            for document in corpus.documents(part):
                if document.id not in seen:
                    seen.add(document.id)
                    yield document


def held(corpora: Sequence[Artifact], ids: set[str]) -> list[Document]:
    """The documents of these ids as corpora hold them: cleaned, and of one that was cut up, each piece."""
    found = []
    for artifact in corpora:
        corpus = Corpus(artifact.path)
        found += [document for part in PARTS for document in corpus.documents(part) if document.id in ids]
    return found


def _shingles(documents: Sequence[Document]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    texts = ["\n".join(document.texts.values()) for document in documents]
    return shingles(hashes(texts), _USUAL.shingle)
