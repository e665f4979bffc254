"""Which part of the corpus a document belongs to: by a hash of its id, so it never changes sides.

A corpus of a few documents may leave a part empty that way. Then, and only then, documents are moved, or the
end of the longest one is cut off for the part; the report says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from textmill.base.corpus_spec import SplitSpec
from textmill.text.document import Document

PARTS = ("train", "validation", "test")
_SALT = b"textmill split 1\0"  # never change: every corpus would be dealt anew
_WATCHED = 1000  # documents; of more, no part of 1 % or above stays empty (0.99 ^ 1000 = 4e-5)
_MOVABLE = 20  # documents from which giving one away costs training at most a twentieth
_SHORTEST_CUT = 400  # characters of a part that is cut off a document


def share(name: str) -> float:
    """Where a document id falls in [0, 1), uniformly."""
    digest = hashlib.blake2b(_SALT + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def part_of(name: str, split: SplitSpec) -> str:
    """The part of a document id: test from 0, validation above it, train the rest."""
    at = share(name)
    if at < split.test:
        return "test"
    return "validation" if at < split.test + split.validation else "train"


@dataclass
class Plan:
    """What must change once all documents are dealt, so that no part that was asked for is empty."""

    moves: dict[str, str] = field(default_factory=dict)  # document id -> part it moves to
    cut: str = ""  # id of the document whose end is cut off
    at: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # part -> characters [from, to) of that document

    def __bool__(self) -> bool:
        return bool(self.moves or self.at)


class Watch:
    """Follows how a small corpus is dealt. Rows: (share, id, part, characters)."""

    def __init__(self, split: SplitSpec) -> None:
        self.split, self._rows = split, []
        self._seen = dict.fromkeys(PARTS, 0)

    def deal(self, document: Document) -> str:
        """The part of the next document."""
        part = part_of(document.id, self.split)
        self._seen[part] += 1
        if len(self._rows) <= _WATCHED:
            self._rows.append((share(document.id), document.id, part, len(document.text)))
        return part

    def plan(self) -> Plan:
        """What to change; usually nothing."""
        plan = Plan()
        if not self._seen["train"]:  # the document nearest to it goes there
            _, name, part, _ = max(self._rows)
            plan.moves[name] = "train"
            self._rows = [row if row[1] != name else (*row[:2], "train", row[3]) for row in self._rows]
            self._seen["train"] += sum(row[2] == "train" for row in self._rows)
            self._seen[part] -= self._seen["train"]
        empty = [
            part for part in ("validation", "test") if getattr(self.split, part) and not self._seen[part]
        ]
        if empty and len(self._rows) <= _WATCHED:
            train = sorted(row for row in self._rows if row[2] == "train")
            if len(self._rows) >= _MOVABLE:
                plan.moves.update({row[1]: part for part, row in zip(empty, train, strict=False)})
            else:
                self._cut(plan, empty, train)
        return plan

    def _cut(self, plan: Plan, empty: list[str], train: list[tuple[float, str, str, int]]) -> None:
        length, name = max((row[3], row[1]) for row in train)
        total = sum(row[3] for row in self._rows)
        end = length
        for part in reversed(empty):
            size = int(min(getattr(self.split, part) * total, length / 4))
            if size >= _SHORTEST_CUT:
                plan.cut, plan.at[part] = name, (end - size, end)
                end -= size
        if plan.at:
            plan.at["train"] = (0, end)


def pieces(document: Document, at: dict[str, tuple[int, int]]) -> list[tuple[str, Document]]:
    """(part, piece) of a document cut as planned, each cut moved on to the next line end when one is near."""
    spans = sorted((start, part) for part, (start, _) in at.items())
    starts = [0 if start == 0 else _line_start(document.text, start) for start, _ in spans]
    ends = [*starts[1:], len(document.text)]
    found = []
    for (_, part), start, end in zip(spans, starts, ends, strict=True):
        metadata = {**document.metadata, "piece": f"characters {start} to {end}"}
        found.append((part, replace(document, text=document.text[start:end], metadata=metadata)))
    return found


def _line_start(text: str, near: int) -> int:
    found = text.find("\n", near, near + _SHORTEST_CUT // 2)
    return near if found < 0 else found + 1
