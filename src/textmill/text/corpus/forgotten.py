"""Leaving out documents a person asked to forget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from textmill.text.document import Document, Item, reject

STEP, REASON = "forget", "forgotten on request"


@dataclass(frozen=True)
class Forget:
    """A document step that sets aside the documents of these ids, and keeps no word of them.

    It comes first, since an id is the hash of the text as collected: whatever cleaning would make of it, it is
    gone. What is set aside says its id and its place only.
    """

    ids: frozenset[str]

    def __call__(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Document) and item.id in self.ids:
                yield reject(replace(item, texts={}, metadata={}), STEP, REASON)
            else:
                yield item
