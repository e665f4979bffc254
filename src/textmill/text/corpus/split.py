"""Which part of the corpus a document belongs to: by a hash, so it never changes sides, or by its time.

Hashed is the id of a document, or the name of its group; near-duplicates that were marked as a cluster are dealt
as one, and groups that share such a cluster as well. What can only be said once all documents are known is in the
`Plan`: groups that were joined, and, by time, every part. Where sources name splits, nothing is dealt.

A corpus of a few documents may leave a part empty that way. Then, and only then, documents are moved, or the
end of the longest one is cut off for the part; the report says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from textmill.base.console import counted
from textmill.base.errors import TextmillError
from textmill.specs.corpus import SplitSpec
from textmill.text.chats import CHAT
from textmill.text.cleaning.duplicates.containment import WITHIN
from textmill.text.cleaning.duplicates.union_find import joined
from textmill.text.cleaning.privacy.patterns import redacted
from textmill.text.document import NAMED_SPLIT, Document
from textmill.text.marks import MARKS

PARTS = ("train", "validation", "test")
_SALT = b"textmill split 1\0"  # never change: every corpus would be dealt anew
_WATCHED = 1000  # documents; of more, no part of 1 % or above stays empty (0.99 ^ 1000 = 4e-5)
_MOVABLE = 20  # documents from which giving one away costs training at most a twentieth
_LARGEST = 0.3  # share of a corpus that is worth giving to one of the smaller parts
_SHORTEST_CUT = 400  # characters of a part that is cut off a document
_TIME_BYTES = 32  # compared of a time; 2026-11-22T09:15:35.123456+01:00 is as long
_AGE = np.dtype([("time", f"S{_TIME_BYTES}"), ("share", "f8")])
_WAITING = 1 << 16  # documents between two packings of their times


def share(name: str) -> float:
    """A number in [0, 1) that follows from a document id, uniform over ids."""
    digest = hashlib.blake2b(_SALT + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def part_of(name: str, split: SplitSpec) -> str:
    """The part of a document id: test from 0, validation above it, train the rest."""
    at = share(name)
    if at < split.test:
        return "test"
    return "validation" if at < split.test + split.validation else "train"


def unit_of(document: Document, split: SplitSpec) -> str:
    """What a document is dealt with: its group, the cluster of its near-duplicates, or else itself alone."""
    if split.by == "group" and (group := document.metadata.get(split.field or "")):
        return f"{split.field}={group}"
    return document.metadata.get("cluster") or document.id


def held_back(document: Document, part: str, split: SplitSpec) -> str | None:
    """The whole text that a document is a piece of, where a split by containment has that text held out: a held-out
    split holds whole texts only."""
    return document.metadata.get(WITHIN) if split.by == "containment" and part != "train" else None


@dataclass
class Plan:
    """What must change once all documents are dealt; usually nothing."""

    split: SplitSpec
    moves: dict[str, str] = field(default_factory=dict)  # unit, mostly a document id -> part it moves to
    cut: str = ""  # id of the document whose end is cut off
    at: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # part -> characters [from, to) of that document
    notes: dict[str, int] = field(default_factory=dict)  # counts a person should see beside the parts
    ages: Ages | None = None  # by time: where each part begins

    def __bool__(self) -> bool:
        return bool(self.moves or self.at or self.ages)

    def part(self, document: Document, dealt: str) -> str:
        """Where a document that was dealt to a part belongs in the end."""
        if self.ages:
            return self.ages.part(document)
        return self.moves.get(unit_of(document, self.split), dealt)


def _may_be_cut(document: Document) -> bool:
    """Whether a part of a document is one, too: of one text of which no stretch is marked."""
    return len(document.texts) == 1 and not any(name in document.metadata for name in (*MARKS, CHAT))


@dataclass
class _Unit:
    """Documents that stay together, in a corpus of few."""

    share: float
    part: str
    documents: int = 0
    characters: int = 0
    id: str = ""  # of the document, where there is only one, of one text


class Watch:
    """Deals documents one by one; `plan` then says what must change, now that all are known."""

    def __init__(self, split: SplitSpec) -> None:
        self.split = split
        self._units: dict[str, _Unit] = {}  # the first _WATCHED
        self._seen = dict.fromkeys(PARTS, 0)  # documents
        self._without = 0  # documents that lack the field of the split
        self._links: dict[tuple[str, str], None] = {}  # units that must stay together
        self._together: list[list[str]] = []  # once all are known: sets of such units
        self._ages = Ages(split) if split.by == "time" else None

    def deal(self, document: Document) -> str:
        """The part of the next document, as far as can be said."""
        metadata, named = document.metadata, self.split.field
        if self.split.by == "source":
            return metadata.get(NAMED_SPLIT, "train")
        if named and not metadata.get(named):
            self._without += 1
        if self._ages:
            self._ages.add(document)
            return "train"
        unit = unit_of(document, self.split)
        if named and redacted(metadata.get(named, "")):
            raise TextmillError(
                f"{named!r} no longer distinguishes groups: the personal-data step removed their names",
                where="corpus.split",
                advice="let that step write pseudonyms, which differ where the true values do "
                '(action = "pseudonymise", with a secret), or group by another column',
            )
        if "cluster" in metadata and unit != metadata["cluster"]:
            self._links[unit, metadata["cluster"]] = None
        part = part_of(unit, self.split)
        self._seen[part] += 1
        if unit in self._units or len(self._units) <= _WATCHED:
            row = self._units.setdefault(unit, _Unit(share(unit), part))
            row.id = "" if row.documents or not _may_be_cut(document) else document.id
            row.documents += 1
            row.characters += document.characters
        return part

    def plan(self) -> Plan:
        """What to change once the last document is dealt."""
        plan = Plan(self.split)
        if self.split.field:
            plan.notes["without_field"] = self._without
        if self._ages:
            self._ages.close()
            plan.ages = self._ages
            return plan
        self._together = joined(self._links)
        self._keep_together(plan)
        if self._units and len(self._units) <= _WATCHED:
            self._fill(plan)
        return plan

    def _keep_together(self, plan: Plan) -> None:
        """Groups that share a near-duplicate are all for training, lest a chain of them swallows another part.

        Documents without a group that nearly repeat one of a single group go where that group goes.
        """
        joined_groups = 0
        for units in self._together:
            groups = [unit for unit in units if unit.startswith(f"{self.split.field}=")]
            part = "train" if len(groups) > 1 else part_of(groups[0], self.split)
            self._move(plan, [unit for unit in units if part != part_of(unit, self.split)], part)
            joined_groups += len(groups) if len(groups) > 1 else 0
        if self.split.by == "group":
            plan.notes["joined_groups"] = joined_groups

    def _move(self, plan: Plan, units: Iterable[str], part: str) -> None:
        for unit in units:
            plan.moves[unit] = part
            if unit in self._units:
                row = self._units[unit]
                self._seen[row.part] -= row.documents
                self._seen[part] += row.documents
                row.part = part

    def _fill(self, plan: Plan) -> None:
        """See to it that no part that was asked for is empty, where documents can be spared."""
        if not self._seen["train"]:  # what is nearest to it goes there
            _, unit = max((row.share, unit) for unit, row in self._units.items())
            self._move(plan, next((units for units in self._together if unit in units), [unit]), "train")
        for part in ("validation", "test"):
            if getattr(self.split, part) and not self._seen[part]:
                self._give(plan, part)
        empty = [
            part for part in ("validation", "test") if getattr(self.split, part) and not self._seen[part]
        ]
        if empty and sum(self._seen.values()) < _MOVABLE and self.split.by == "document":
            self._cut(plan, empty)

    def _give(self, plan: Plan, part: str) -> None:
        """Move a unit of the training split: of those of fewest documents the one nearest to the size asked for."""
        bound = {unit for units in self._together for unit in units}
        total = sum(row.characters for row in self._units.values())
        wanted = getattr(self.split, part) * total
        spare = sorted(
            (row.documents, abs(row.characters - wanted), row.share, unit)
            for unit, row in self._units.items()
            if row.part == "train"
            and unit not in bound
            and (row.documents == 1 or self.split.by != "containment")  # pieces are never held out
        )
        few = self.split.by == "document" and sum(self._seen.values()) < _MOVABLE
        if spare and not few and self._seen["train"] > spare[0][0]:
            self._move(plan, [spare[0][-1]], part)

    def _cut(self, plan: Plan, empty: list[str]) -> None:
        rows = [row for row in self._units.values() if row.part == "train" and row.id]
        if not rows:
            return
        length, name = max((row.characters, row.id) for row in rows)
        total = sum(row.characters for row in self._units.values())
        end = length
        for part in reversed(empty):
            size = int(min(getattr(self.split, part) * total, length / 4))
            if size >= _SHORTEST_CUT:
                plan.cut, plan.at[part] = name, (end - size, end)
                end -= size
        if plan.at:
            plan.at["train"] = (0, end)


class Ages:
    """By time: the newest documents are for the test, those before them for validation.

    Near-duplicates go together, by the newest of them. Of one time, the order is that of `share`. A document
    without a time, and without a near-duplicate that has one, is for training. Memory: 40 bytes per document.
    """

    def __init__(self, split: SplitSpec) -> None:
        self._split, self._documents = split, 0
        self._waiting: list[tuple[bytes, float]] = []
        self._blocks: list[np.ndarray] = []
        self._clusters: dict[str, list[Any]] = {}  # cluster -> [newest time, documents]
        self._from: list[tuple[tuple[bytes, float], str]] = []  # where the parts begin, newest first

    def add(self, document: Document) -> None:
        """The next document."""
        self._documents += 1
        time, cluster = self._time(document), document.metadata.get("cluster")
        if cluster:
            row = self._clusters.setdefault(cluster, [b"", 0])
            row[:] = max(row[0], time), row[1] + 1
        elif time:
            self._waiting.append((time, share(document.id)))
            if len(self._waiting) == _WAITING:
                self._pack()

    def close(self) -> None:
        """All documents are known: find where each part begins."""
        self._pack()
        times = np.concatenate(self._blocks)
        clusters = [(time, share(name), count) for name, (time, count) in self._clusters.items() if time]
        grouped = np.array([row[:2] for row in clusters], _AGE)
        counts = np.concatenate([np.ones(len(times), np.int64), np.array([c[2] for c in clusters], np.int64)])
        times = np.concatenate([times, grouped])
        order = np.lexsort((times["share"], times["time"]))[::-1]
        wanted = [part for part in ("test", "validation") if getattr(self._split, part)]
        undated = self._documents > counts.sum()
        taken, ends = 0, np.cumsum(counts[order])
        for at, part in enumerate(wanted):
            most = len(order) - (len(wanted) - at) + undated  # so that those that come after get one each
            before = int(ends[taken - 1]) if taken else 0
            target = before + max(1, round(getattr(self._split, part) * self._documents))
            last = min(int(np.searchsorted(ends, target)) + 1, most)
            if last > taken:
                row = times[order[last - 1]]
                self._from.append(((bytes(row["time"]), float(row["share"])), part))
                taken = last

    def part(self, document: Document) -> str:
        """The part of a document, once `close` was called."""
        cluster = document.metadata.get("cluster")
        if cluster in self._clusters:
            age = (self._clusters[cluster][0], share(cluster))
        else:
            age = (self._time(document), share(document.id))
        return next((part for begin, part in self._from if age[0] and age >= begin), "train")

    def _time(self, document: Document) -> bytes:
        time = document.metadata.get(self._split.field or "", "")
        return time.encode("utf-8", "replace")[:_TIME_BYTES].rstrip(b"\0")

    def _pack(self) -> None:
        self._blocks.append(np.array(self._waiting, _AGE))
        self._waiting = []


def pieces(document: Document, at: dict[str, tuple[int, int]]) -> list[tuple[str, Document]]:
    """(part, piece) of a document of one text, cut as planned, each cut moved on to a line end when one is near."""
    [(role, text)] = document.texts.items()
    spans = sorted((start, part) for part, (start, _) in at.items())
    starts = [0 if start == 0 else _line_start(text, start) for start, _ in spans]
    ends = [*starts[1:], len(text)]
    pairs = []
    for (_, part), start, end in zip(spans, starts, ends, strict=True):
        metadata = {**document.metadata, "piece": f"characters {start} to {end}"}
        pairs.append((part, replace(document, texts={role: text[start:end]}, metadata=metadata)))
    return pairs


def _line_start(text: str, near: int) -> int:
    line_end = text.find("\n", near, near + _SHORTEST_CUT // 2)
    return near if line_end < 0 else line_end + 1


def check_sizes(parts: Mapping[str, Mapping[str, int]], split: SplitSpec) -> None:
    """Raises TextmillError when a split of plain text is so small that a score of it would mean nothing.

    parts: of each its `bytes` and `documents`. The rule is `split.least_bytes`; 400 bytes are some 70 words, the least
    that is ever cut off a document. A split that is empty, because a corpus could spare nothing for it, gives no score.
    """
    total = sum(row["bytes"] for row in parts.values())
    for part in ("test", "validation"):
        size, documents = parts[part]["bytes"], parts[part]["documents"]
        if not 0 < size < split.least_bytes:
            continue
        asked = split.test if part == "test" else split.validation
        larger = max(2 * split.least_bytes / total, 1.5 * asked, 0.1)
        advice = f"set corpus.split.{part} = {larger:.1g}" if larger <= _LARGEST else "add text"
        raise TextmillError(
            f"holds {size} bytes in {counted(documents, 'document')}: "
            "a score on so little text means nothing",
            where=f"the {part} split of the corpus",
            advice=f"{advice}; corpus.split.{part} = 0 does without, corpus.split.least_bytes = 0 takes any size",
        )
