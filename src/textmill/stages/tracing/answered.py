"""An answer from documents, traced: what of it stands in the documents that were retrieved, what in the text that the
model was trained on, what in both and what in neither."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textmill.base.errors import RecipeError
from textmill.index.trace import COMMON, HOLDERS, SHORTEST
from textmill.stages.tracing import trace as training
from textmill.stages.workspace.workspace import Workspace
from textmill.text.words import SYMBOL, spelt

_RUN = (
    3  # words of an answer that stand together in a document, at least; a shorter answer is looked for whole
)


def trace(
    workspace: Workspace,
    target: str,
    answer: Mapping[str, Any],
    *,
    part: str = "train",
    shortest: int = SHORTEST,
    common: int = COMMON,
    documents: int = HOLDERS,
) -> dict[str, Any]:
    """The trace of an answer (`docs ask --json`) by a run, with the runs of words that stand in what it cites.

    `retrieved` names each such run and its places; `words` says how many of the answer's stand in the documents that
    were retrieved only, in the training text only, in both, and in neither. Raises RecipeError for what is no answer.
    """
    text = answer.get("answer")
    sentences = answer.get("sentences")
    if not isinstance(text, str) or not text.strip() or not isinstance(sentences, list):
        raise RecipeError(
            "holds no answer of `textmill docs ask --json`",
            where="--answer",
            advice="the documents may not say",
        )
    found = training.trace(
        workspace, target, text, part=part, shortest=shortest, common=common, documents=documents
    )
    cited = [place for sentence in sentences for place in sentence["cited"]]
    retrieved = _retrieved(text, cited)
    return {**found, "retrieved": retrieved, "words": _apart(text, found["texts"][0]["spans"], retrieved)}


def _retrieved(text: str, cited: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs of words of a text that stand in the places it cites, each as long as can be."""
    own, begins, ends = _words(text)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for place in cited:
        theirs, first, last = _words(place["text"])
        for block in SequenceMatcher(None, own, theirs, autojunk=False).get_matching_blocks():
            if block.size >= min(_RUN, max(len(own), 1)):
                start, end = int(begins[block.a]), int(ends[block.a + block.size - 1])
                run = {"start": start, "end": end, "text": text[start:end], "places": []}
                found.setdefault((start, end), run)["places"].append(
                    {
                        "path": place["path"],
                        "source": place["source"],
                        "page": place["page"],
                        "start": place["start"] + int(first[block.b]),
                        "end": place["start"] + int(last[block.b + block.size - 1]),
                    }
                )
    return [found[span] for span in sorted(found)]


def _apart(text: str, spans: list[Any], retrieved: list[dict[str, Any]]) -> dict[str, int]:
    """How many words stand where."""
    _, begins, ends = _words(text)
    inside = [_inside(begins, ends, some) for some in (retrieved, spans)]
    documents, trained = inside
    return {
        "documents": int((documents & ~trained).sum()),
        "training": int((trained & ~documents).sum()),
        "both": int((documents & trained).sum()),
        "neither": int((~documents & ~trained).sum()),
    }


def _inside(begins: NDArray[np.int64], ends: NDArray[np.int64], spans: list[Any]) -> NDArray[np.bool_]:
    """(n,), whether each word lies in a span of a text."""
    within = np.zeros(len(begins), bool)
    for span in spans:
        within |= (begins >= span["start"]) & (ends <= span["end"])
    return within


def _words(text: str) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """The words of a text, case aside, hanzi one each, and the characters they begin and end at."""
    words = spelt([text])
    kept = words.kind != SYMBOL
    return words.hash[kept].tolist(), words.start[kept], words.end[kept]
