"""What a step of preparing may be: over one document at a time, or over all of them.

A document step (`text.document.Step`) takes items and gives one back for each, in the same order; it looks at
nothing but the item at hand, so many processes may run it on parts of the corpus, and the result is the same.

A corpus step must know every document. It works in three turns, of which only the second is made by one
process: `sketch` says in few bytes what matters about each document, `decide` reads the sketches of all of
them in the order of the corpus and gives verdicts, and `apply` carries those out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from textmill.text.document import Document, Item, reject, rewritten


@dataclass(frozen=True, slots=True)
class Reject:
    """The document is skipped."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """Runs of characters of some of the document's texts, [from, to) in rising order, give way to `fill`."""

    spans: Mapping[str, Sequence[tuple[int, int]]]  # by role
    fill: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """The document's metadata grows."""

    metadata: Mapping[str, str]


Verdict = Reject | Cut | Mark


@dataclass(frozen=True, slots=True)
class Sketched:
    """What `decide` is told of a document."""

    number: int  # its place among the documents that reached the step, from 0
    id: str
    characters: int
    sketch: bytes


class CorpusStep(Protocol):
    """A step that must know every document."""

    name: str

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """What matters about each, of a few megabytes of documents. Run by many processes."""
        ...

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """(number, verdict), numbers rising, for the documents that do not simply stay as they are.

        `sketches` may be called more than once, each time giving all of them in the order of the corpus.
        `scratch` is an empty folder for what does not fit into memory; it is removed afterwards.
        """
        ...


def carry_out(document: Document, verdict: Verdict, step: str) -> Item:
    """The document after a verdict, or what is skipped for it."""
    if isinstance(verdict, Reject):
        return reject(document, step, verdict.reason, verdict.detail)
    if isinstance(verdict, Mark):
        return replace(document, metadata={**document.metadata, **verdict.metadata})
    cut = {role: _cut(document.texts[role], spans, verdict.fill) for role, spans in verdict.spans.items()}
    return rewritten(document, {**document.texts, **cut}, step, sum(map(len, verdict.spans.values())))


def _cut(text: str, spans: Sequence[tuple[int, int]], fill: str) -> str:
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], fill]
        at = end
    return "".join([*pieces, text[at:]])
