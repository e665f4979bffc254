"""Document steps that look at many documents at once, and still give each item back in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from textmill.text.document import Document, Item, Step, reject
from textmill.text.step import Reject

CHARACTERS = 1 << 20  # of a batch: numpy is at its best, and what a batch needs fits into the caches
ITEMS = 1 << 14  # of a batch, so that a long run of rejected items does not pile up


def in_batches(
    work: Callable[[Sequence[Document]], Sequence[Item]], characters: int = CHARACTERS, items: int = ITEMS
) -> Step:
    """A step from what is to become of a batch of documents, one item for each.

    A batch is full when it holds `characters` characters or `items` items; one long document is a batch alone.
    `work` must decide on each document by that document only.
    """

    def step(stream: Iterable[Item]) -> Iterator[Item]:
        held: list[Item] = []
        size = 0
        for item in stream:
            length = item.characters if isinstance(item, Document) else 0
            if held and (size + length > characters or len(held) >= items):
                yield from _worked(held, work)
                held, size = [], 0
            held.append(item)
            size += length
        yield from _worked(held, work)

    return step


def judged(
    name: str, judge: Callable[[Sequence[Document]], Sequence[Reject | None]]
) -> Callable[[Sequence[Document]], list[Item]]:
    """The work of a step that only sets documents aside, from its verdicts."""

    def work(documents: Sequence[Document]) -> list[Item]:
        return [
            document if verdict is None else reject(document, name, verdict.reason, verdict.detail)
            for document, verdict in zip(documents, judge(documents), strict=True)
        ]

    return work


def _worked(held: list[Item], work: Callable[[Sequence[Document]], Sequence[Item]]) -> list[Item]:
    documents = [item for item in held if isinstance(item, Document)]
    if not documents:
        return held
    done = iter(work(documents))
    return [next(done) if isinstance(item, Document) else item for item in held]


def by_size(documents: Iterable[Document], characters: int) -> Iterator[list[Document]]:
    """The documents in lists, each closed by the one that brings it to so many characters."""
    waiting: list[Document] = []
    size = 0
    for document in documents:
        waiting.append(document)
        size += document.characters
        if size >= characters:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting
