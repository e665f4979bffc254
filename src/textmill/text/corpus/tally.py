"""What a corpus report counts: read, kept, skipped and why, and what the steps learnt about the documents."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.language import fill, say
from textmill.specs.cleaning import CleaningStep, PersonalDataStep
from textmill.specs.corpus import RecordSpec
from textmill.text.cleaning.duplicates.leakage import LEAK
from textmill.text.cleaning.privacy.step import excerpt
from textmill.text.corpus.labels import Labels
from textmill.text.corpus.split import PARTS, Plan
from textmill.text.document import NAMED_SPLIT, Document, ending, kind_of, read_counts, utf8_size

Aside = dict[str, Any]  # source, step, reason, detail, id, bytes, excerpt of something skipped
_SAMPLES = 3  # shown for each reason
_NAMES = 200  # different reasons, languages, licences … counted apart
_LEAKED = 20  # shown of documents that repeat one of another split
_OTHER = "(other)"
_LONGEST_NAME = 200  # characters of a language, a licence or an evaluation set


@functools.lru_cache(maxsize=4096)
def _shown(name: str) -> str:
    """A value of metadata as a report may name it: a report leaves the house."""
    return excerpt(name, _LONGEST_NAME)


class NothingKept(TextmillError):
    """A corpus without a document, because all that was read was skipped; detail: of one, what was particular there."""

    kind = "empty"

    def __init__(self, what: str, *, where: object = "", advice: str = "", detail: str = "") -> None:
        super().__init__(what, where=where, advice=advice)
        self.detail = detail


@dataclass
class Found:
    """How many of something were found or removed, and in how many documents, by kind."""

    documents: Counter[str] = field(default_factory=Counter)
    number: Counter[str] = field(default_factory=Counter)

    def add(self, counts: str) -> None:
        """Count what a document's metadata says, such as `email:2 phone:1`."""
        for kind, number in read_counts(counts).items():
            self.documents[kind] += 1
            self.number[kind] += number

    def plain(self, name: str) -> dict[str, dict[str, int]]:
        return {
            kind: {"documents": self.documents[kind], name: self.number[kind]}
            for kind in sorted(self.documents)
        }


@dataclass
class Sums:
    """Documents and bytes by name; past many names, all others together."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, size: int) -> None:
        if name not in self.documents and len(self.documents) >= _NAMES:
            name = _OTHER
        self.documents[name] += 1
        self.bytes[name] += size

    def plain(self) -> dict[str, dict[str, int]]:
        return {
            name: {"documents": self.documents[name], "bytes": self.bytes[name]}
            for name in sorted(self.documents)
        }


_DONE = {
    "redact": "replaced by their kind, such as [EMAIL]",
    "pseudonymise": "replaced by made-up values",
    "report": "counted, and left in the text",
}


def personal_data(report: dict[str, Any]) -> str:
    """What a corpus report says of personal data, in a line for the screen."""
    action = report["personal_action"]
    if action is None:
        return "personal data: no step of the recipe searches for any"
    if not (found := report["personal"]):
        return "personal data: searched for, none found in what was kept"
    counts = fill(", ").join(f"{row['found']:,} {say(kind)}" for kind, row in found.items())
    kept = (
        "" if action == "report" else '; to keep them, leave { kind = "personal-data" } out of corpus.steps'
    )
    return f"personal data: {counts}: {_DONE.get(action, 'found')}{kept}"


HELD = 12  # bytes a process holds for each character of a document: measured on one of 40 MB, with the usual steps


class Tally:
    """Follows a corpus as it is written."""

    def __init__(self, record: RecordSpec | None = None) -> None:
        """record: what is to be known of records beside their texts."""
        self.labels = Labels(record)
        self.leaks: Counter[str] = Counter()  # held-out documents that nearly repeat one of another split
        self.leaked: list[dict[str, str]] = []
        self.kept, self.kept_bytes, self.aside, self.aside_bytes = 0, 0, 0, 0
        self.reasons: dict[tuple[str, str], dict[str, Any]] = {}
        self.texts, self.endings, self.languages = Sums(), Sums(), Sums()
        self.licences, self.contaminated = Sums(), Sums()
        self.lengths: Counter[int] = Counter()  # by the number of binary digits of the length in characters
        self.personal, self.removed = Found(), Found()
        self.clusters, self.clustered = 0, 0
        self.longest = 0  # characters of a document: what a process must hold at once

    def keep(self, document: Document) -> None:
        """Count a document that stays."""
        size, metadata = 0, document.metadata
        for role, text in document.texts.items():
            self.texts.add(kind_of(role), of_this := utf8_size(text))
            size += of_this
        self.labels.keep(document)
        if leak := metadata.get(LEAK):
            split, _, other = leak.partition(" ")
            self.leaks[f"{metadata.get(NAMED_SPLIT, '')} in {split}"] += 1
            if len(self.leaked) < _LEAKED:
                self.leaked.append({"source": document.source, "repeats": other})
        self.kept += 1
        self.kept_bytes += size
        self.endings.add(ending(document.source) or "(none)", size)
        self.lengths[document.characters.bit_length()] += 1
        self.longest = max(self.longest, document.characters)
        for key, sums in (
            ("language", self.languages),
            ("licence", self.licences),
            ("license", self.licences),  # as data sets spell it
            ("contaminated", self.contaminated),
        ):
            if key in metadata:
                sums.add(_shown(metadata[key]), size)
        self.personal.add(metadata.get("personal", ""))
        self.removed.add(metadata.get("removed", ""))
        if "cluster" in metadata:
            self.clustered += 1
            self.clusters += metadata["cluster"] == document.id

    def set_aside(self, item: Aside) -> None:
        """Count what does not."""
        self.labels.skip(item["source"], item["reason"])
        self.aside += 1
        self.aside_bytes += item.get("bytes", 0)
        key = (item["step"], item["reason"])
        if key not in self.reasons and len(self.reasons) >= _NAMES:
            key = (item["step"], "(other reasons)")
        entry = self.reasons.setdefault(key, {"documents": 0, "bytes": 0, "samples": []})
        entry["documents"] += 1
        entry["bytes"] += item.get("bytes", 0)
        if len(entry["samples"]) < _SAMPLES:
            entry["samples"].append(
                {key: item[key] for key in ("source", "detail", "excerpt") if key in item}
            )

    def check(self, read: int | None) -> None:
        """Raises TextmillError when nothing is left, or something was lost on the way."""
        if read is not None and read != self.kept + self.aside:
            raise TextmillError(
                f"{read} read, but {self.kept} kept and {self.aside} skipped",
                where="corpus",
                advice="a step lost documents: report this bug",
            )
        if self.kept:
            return
        if not self.aside:
            raise TextmillError(
                "holds no document", where="corpus", advice="its sources are empty; check the paths"
            )
        (_, reason), entry = max(self.reasons.items(), key=lambda pair: pair[1]["documents"])
        sample = entry["samples"][0]
        detail = f", with the detail: {sample['detail']}" if "detail" in sample else ""
        skipped = f"holds no document: all {self.aside} were skipped, most because each {reason}"
        if self.aside == 1:
            skipped = f"holds no document: the only one was skipped, because it {reason}"
        raise NothingKept(
            skipped,
            where="corpus",
            advice=f"look at {sample['source']}{detail}",
            detail=sample.get("detail", ""),
        )

    def report(
        self,
        read_bytes: int | None,
        shards: list[dict[str, Any]],
        plan: Plan,
        steps: Sequence[CleaningStep] = (),
    ) -> dict[str, Any]:
        """All of it as plain data. steps: those the documents went through."""
        parts = {part: {"documents": 0, "bytes": 0, "characters": 0} for part in PARTS}
        for shard in shards:
            for key in ("documents", "bytes", "characters"):
                parts[shard["part"]][key] += shard[key]
        read: dict[str, Any] = {"documents": self.kept + self.aside}
        if read_bytes is not None:
            read["bytes"] = read_bytes
        return {
            "read": read,
            "kept": {"documents": self.kept, "bytes": self.kept_bytes},
            "skipped": {"documents": self.aside, "bytes": self.aside_bytes},
            "reasons": [
                {"step": step, "reason": reason, **self.reasons[step, reason]}
                for step, reason in sorted(self.reasons)
            ],
            "splits": parts,
            "texts": self.texts.plain(),
            "extensions": self.endings.plain(),
            "languages": self.languages.plain(),
            "licences": self.licences.plain(),
            "contaminated": self.contaminated.plain(),
            "lengths": [
                {"from": 1 << digits >> 1, "below": 1 << digits, "documents": self.lengths[digits]}
                for digits in sorted(self.lengths)
            ],
            "steps": [step.kind for step in steps],
            "longest": self.longest,
            "personal": self.personal.plain("found"),
            "personal_action": next(
                (step.action for step in steps if isinstance(step, PersonalDataStep)), None
            ),
            "removed": self.removed.plain("removed"),
            "labels": self.labels.plain(),
            "leaks": {"documents": dict(self.leaks), "samples": self.leaked},
            "clusters": {"clusters": self.clusters, "documents": self.clustered},
            "split": dict(plan.notes),
            "moved": {_shown(unit): part for unit, part in sorted(plan.moves.items())},
            "cut": {"id": plan.cut, **{part: list(span) for part, span in plan.at.items()}}
            if plan.at
            else {},
        }
