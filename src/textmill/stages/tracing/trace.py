"""`textmill trace`: which documents hold the phrases of a text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from textmill.base.errors import TextmillError
from textmill.index.trace import COMMON, HOLDERS, SHORTEST, Span
from textmill.index.trace import trace as spans_of
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.tracing.index import Opened, open_index, opened
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.characters import without_surrogates

_SHORT = 32  # tokens of a text that is also looked for as a string
_SAMPLE_SPAN = 5  # tokens of a span in a sample, at least


class SpanDocument(TypedDict):
    """A document that holds a span: its id, where it came from, how often it does, and first where, in tokens."""

    document: str
    source: str
    count: int
    token: int


class TracedSpan(TypedDict):
    """Characters [start, end) of a text that stand in the corpus: how long, how rare (bits under the corpus' own
    frequencies), how often, and in how many documents, of which `found_in` names the first."""

    start: int
    end: int
    text: str
    tokens: int
    bits: float
    count: int
    documents: int
    found_in: list[SpanDocument]


class CommonSpan(TypedDict):
    """Characters [start, end) that stand in the corpus, but so often, or in such common words, that it says nothing."""

    start: int
    end: int
    text: str
    tokens: int
    count: int


class Trace(TypedDict):
    """A text, its spans in order, those that are common apart, and how many of its tokens are in a span (`covered`)."""

    text: str
    tokens: int
    covered: int
    seconds: float
    spans: list[TracedSpan]
    common: list[CommonSpan]


def trace(
    workspace: Workspace,
    target: str,
    text: str | None = None,
    *,
    part: str = "train",
    shortest: int = SHORTEST,
    common: int = COMMON,
    documents: int = HOLDERS,
) -> dict[str, Any]:
    """The longest spans of a text found word for word in the corpus, each with its documents.

    text: left out, the samples of the run's evaluation. Raises TextmillError when there are none.
    """
    texts = [text] if text is not None else _samples(workspace, target)
    corpus_index = open_index(workspace, target, part)
    settings = {"shortest": shortest, "common": common, "documents": documents}
    return {
        "index": str(corpus_index.artifact.path),
        "split": part,
        **settings,
        "texts": [_traced(corpus_index, item, **settings) for item in texts],
    }


def of_samples(
    run: Run,
    workspace: Workspace,
    samples: Sequence[Mapping[str, Any]],
    *,
    spans: int = 3,
    documents: int = 2,
) -> list[dict[str, Any]]:
    """The trace of each sample's own text (its `text`, without its `prompt`), short: the longest spans, in their order.

    The index of what the run was trained on is built where it is missing. Each sample comes with how many of its
    tokens stand in the corpus word for word (`covered` of `tokens`), and with its longest spans and their documents;
    `start` and `end` are characters of `text`. Spans are shorter than a trace's own: a sample is short itself.
    """
    corpus_index = opened(trained_on(run, workspace), workspace)
    rows = []
    for sample in samples:
        row = _traced(corpus_index, sample["text"], shortest=_SAMPLE_SPAN, common=COMMON, documents=documents)
        longest = sorted(row["spans"], key=lambda span: -span["tokens"])[:spans]
        rows.append(row | {"spans": sorted(longest, key=lambda span: span["start"])})
    return rows


def _samples(workspace: Workspace, target: str) -> list[str]:
    advice = "give a text, or `-` to read one from stdin"
    if target.endswith(".toml"):
        raise TextmillError("no text to trace", where=target, advice=advice)
    run = locate_run(workspace, target)
    samples = (run.report() or {}).get("samples", [])
    if not samples:
        raise TextmillError("has no samples to trace", where=run.path, advice=advice)
    return [sample["prompt"] + sample["text"] for sample in samples]


def _traced(opened: Opened, text: str, *, shortest: int, common: int, documents: int) -> Trace:
    begin = time.perf_counter()
    text = without_surrogates(text)
    ids = opened.tokenizer.encode(text)
    spans = spans_of(opened.index, ids, shortest=shortest, common=common, holders=documents)
    seconds = time.perf_counter() - begin
    characters = _Characters(text, opened.tokenizer.byte_counts()[ids])
    covered = np.zeros(len(ids), dtype=bool)
    telling, others = [span for span in spans if not span.common], [span for span in spans if span.common]
    for span in telling:
        covered[span.start : span.end] = True
    return {
        "text": text,
        "tokens": len(ids),
        "covered": int(covered.sum()),
        "seconds": seconds,
        "spans": [_row(span, text, characters) for span in telling],
        "common": [_common(span, text, characters) for span in others]
        or _whole(opened, text, len(ids), telling),
    }


def _whole(opened: Opened, text: str, tokens: int, telling: list[Span]) -> list[CommonSpan]:
    """A short text that stands in the corpus, but is cut there into other tokens than here."""
    if telling or not text.strip() or tokens > _SHORT or not opened.tokenizer.lossless:
        return []
    count = opened.strings.count(text)
    whole: CommonSpan = {"start": 0, "end": len(text), "text": text, "tokens": tokens, "count": count}
    return [whole] if count else []


def _common(span: Span, text: str, characters: _Characters) -> CommonSpan:
    start, end = characters.span(span.start, span.end)
    return {
        "start": start,
        "end": end,
        "text": text[start:end],
        "tokens": span.end - span.start,
        "count": span.count,
    }


def _row(span: Span, text: str, characters: _Characters) -> TracedSpan:
    return {
        **_common(span, text, characters),
        "bits": round(span.bits, 1),
        "documents": span.documents,
        "found_in": [
            {"document": h.document, "source": h.source, "count": h.count, "token": h.first.token}
            for h in span.holders
        ],
    }


class _Characters:
    """From tokens, which stand for bytes, to characters of the text."""

    def __init__(self, text: str, lengths: np.ndarray) -> None:
        data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        self._bytes = np.concatenate([[0], np.cumsum(lengths)])
        self._inside = np.append((data & 0xC0) == 0x80, False)  # a byte that goes on with a character
        self._begun = np.concatenate([[0], np.cumsum(~self._inside[:-1])])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The whole characters of tokens [start, end)."""
        first, last = int(self._bytes[start]), int(self._bytes[end])
        return int(self._begun[first]), int(self._begun[last]) - int(self._inside[last])
