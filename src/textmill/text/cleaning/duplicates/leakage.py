"""Held-out documents that nearly repeat one of another split, where sources name their splits.

Near means what `near-duplicates` means by it, and clusters are chains as there. Of a cluster that holds documents of
several splits, each held-out one is marked (`@leak`: the split and the id of what it repeats), or the documents of one
side are skipped. Test text that validation has seen is a leak too: what is chosen by validation has then seen the test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from textmill.specs.cleaning import LeakageStep
from textmill.text.cleaning.duplicates.near import NearDuplicates
from textmill.text.document import NAMED_SPLIT, Document
from textmill.text.step import Mark, Reject, Sketched, Verdict

LEAK = "@leak"
_SPLITS = ("train", "validation", "test")  # each leaks into those behind it


class Leakage(NearDuplicates):
    """Mark held-out documents that nearly repeat one of another split, or skip one side."""

    name = "leakage"

    def __init__(self, spec: LeakageStep) -> None:
        super().__init__(spec)
        self._remove = spec.remove

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """The split of each, and what `NearDuplicates` compares. Nothing of a document without words."""
        splits = [_SPLITS.index(document.metadata.get(NAMED_SPLIT, "train")) for document in documents]
        return [
            bytes([split]) + sketch if sketch else b""
            for split, sketch in zip(splits, super().sketch(documents), strict=True)
        ]

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """Verdicts on the documents that leak. Memory as `NearDuplicates`, and a byte a document."""
        splits = bytearray()

        def bare() -> Iterator[Sketched]:
            for item in sketches():
                if item.sketch:
                    splits.append(item.sketch[0])
                yield Sketched(item.number, item.id, item.characters, item.sketch[1:])

        seen, members, roots = self._clustered(bare(), scratch)
        clusters: defaultdict[int, list[int]] = defaultdict(list)
        for member, root in zip(members.tolist(), roots.tolist(), strict=True):
            clusters[root].append(member)
        verdicts: dict[int, Verdict] = {}
        for together in clusters.values():
            first = {split: member for member in reversed(together) for split in (splits[member],)}
            for member in together:
                earlier = next((first[split] for split in sorted(first) if split < splits[member]), None)
                later = next((first[split] for split in sorted(first) if split > splits[member]), None)
                if self._remove == "training" and later is not None:
                    verdicts[member] = Reject(*_said(_SPLITS[splits[later]], seen.id(later)))
                elif self._remove == "held-out" and earlier is not None:
                    verdicts[member] = Reject(*_said(_SPLITS[splits[earlier]], seen.id(earlier)))
                elif self._remove == "nothing" and earlier is not None:
                    verdicts[member] = Mark({LEAK: f"{_SPLITS[splits[earlier]]} {seen.id(earlier)}"})
        for member in sorted(verdicts):
            yield int(seen.numbers[member]), verdicts[member]


def _said(split: str, name: str) -> tuple[str, str]:
    return f"is a near-duplicate of a document in the {split} split", f"id {name}"
