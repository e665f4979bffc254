"""The corpus: cleaned documents as Parquet shards, what was set aside, a report, and the hash of each file.

    corpus/  train-00000.parquet …  validation-00000.parquet …  test-00000.parquet …
             rejected.jsonl   one object for everything set aside: where, in which step, why
             report.json      how much was read, kept, set aside and why, by part and by kind of file
             manifest.json    SHA-256, bytes and documents of each shard; its hash is the corpus id

The same documents give the same bytes, whenever and wherever they are written.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.corpus_spec import CorpusSpec, SplitSpec
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import read_json, sha256_file, value_id, write_json
from textmill.text import clean
from textmill.text.document import Document, Item, Rejected, ending, reject
from textmill.text.shards import ShardWriter, documents_in, ids_in, row_in
from textmill.text.sources import table
from textmill.text.split import PARTS, Plan, Watch, pieces

FORMAT, VERSION = "textmill-corpus", 1
_SAMPLES = 3  # places named for each reason in the report
_REASONS = 200  # different reasons counted apart


class Collected:
    """Counts what a source hands over, before any step: the `read` of read = kept + set aside."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self.items, self.bytes = 0, 0  # bytes: of the text as UTF-8

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.items += 1
            if isinstance(item, Document):
                self.bytes += _size(item.text)
            yield item


def build(directory: Path, spec: CorpusSpec, base: Path) -> dict[str, Any]:
    """Read the sources of a recipe, clean them and write the corpus; the report.

    base: the folder relative paths start at. Raises RecipeError for a path that matches nothing, and
    TextmillError when nothing is left to write.
    """
    read = Collected(item for source in spec.sources for item in table.read(source, spec.limits, base))
    return write(directory, clean.apply(read, spec.steps), spec.split, read)


def write(
    directory: Path, items: Iterable[Item], split: SplitSpec, collected: Collected | None = None
) -> dict:
    """Write a corpus into an existing directory, which whoever calls makes whole or absent; the report.

    items: documents and what was set aside. collected: where they came from, when it was counted, so that
    the report can say how much was read before cleaning, and that nothing was lost.
    Raises TextmillError when no document is left, or when read is not kept + set aside.
    """
    directory = Path(directory)
    tally, watch, writer = _Tally(), Watch(split), ShardWriter(directory)
    with writer, open(directory / "rejected.jsonl", "w", encoding="utf-8", newline="\n") as aside:
        for item in map(_writable, items):
            if isinstance(item, Document):
                tally.keep(item)
                writer.add(watch.deal(item), item)
            else:
                tally.set_aside(item)
                aside.write(json.dumps(_aside(item), ensure_ascii=False) + "\n")
    tally.check(collected)
    plan = watch.plan()
    shards = _deal_again(directory, writer.shards, plan) if plan else writer.shards
    report = tally.report(collected, shards, plan)
    write_json(directory / "report.json", report)
    files = {
        shard["file"]: {
            "sha256": sha256_file(directory / shard["file"]),
            **{k: v for k, v in shard.items() if k != "file"},
        }
        for shard in shards
    }
    others = {name: {"sha256": sha256_file(directory / name)} for name in ("rejected.jsonl", "report.json")}
    write_json(
        directory / "manifest.json", {"format": FORMAT, "version": VERSION, "shards": files, "files": others}
    )
    return report


def _writable(item: Item) -> Item:
    """The item, or, when its text cannot be written as UTF-8, what is set aside for it."""
    if isinstance(item, Document) and not item.text.isascii():
        try:
            item.text.encode("utf-8")
        except UnicodeEncodeError:
            return reject(item, "corpus", "holds lone surrogates", "the repair step removes them")
    return item


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _aside(item: Rejected) -> dict[str, str]:
    record = {"source": item.source, "step": item.step, "reason": item.reason}
    if item.detail:
        record["detail"] = item.detail.encode("utf-8", "backslashreplace").decode()
    if item.document is not None:
        record["id"] = item.document.id
    return record


def _deal_again(directory: Path, shards: list[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    """Write the shards once more with documents moved or cut; only ever done to a small number of documents."""
    old = []
    for shard in shards:
        path = directory / f"dealt-{shard['file']}"
        (directory / shard["file"]).rename(path)
        old.append((shard["part"], path))
    with ShardWriter(directory) as writer:
        for part, path in old:
            for document in documents_in(path):
                if document.id == plan.cut and plan.at:
                    for piece_part, piece in pieces(document, plan.at):
                        writer.add(piece_part, piece)
                else:
                    writer.add(plan.moves.get(document.id, part), document)
    for _, path in old:
        path.unlink()
    return writer.shards


class _Tally:
    """What the report counts."""

    def __init__(self) -> None:
        self.kept, self.kept_bytes, self.aside, self.aside_bytes = 0, 0, 0, 0
        self.reasons: dict[tuple[str, str], dict[str, Any]] = {}
        self.endings: Counter[str] = Counter()
        self.ending_bytes: Counter[str] = Counter()

    def keep(self, document: Document) -> None:
        size = _size(document.text)
        self.kept += 1
        self.kept_bytes += size
        kind = ending(document.source) or "(none)"
        self.endings[kind] += 1
        self.ending_bytes[kind] += size

    def set_aside(self, item: Rejected) -> None:
        self.aside += 1
        self.aside_bytes += _size(item.document.text) if item.document else 0
        key = (item.step, item.reason)
        if key not in self.reasons and len(self.reasons) >= _REASONS:
            key = (item.step, "(other reasons)")
        entry = self.reasons.setdefault(key, {"documents": 0, "samples": []})
        entry["documents"] += 1
        if len(entry["samples"]) < _SAMPLES:
            entry["samples"].append(item.source)

    def check(self, collected: Collected | None) -> None:
        """Raises TextmillError when nothing is left, or something was lost on the way."""
        if collected is not None and collected.items != self.kept + self.aside:
            raise TextmillError(
                f"{collected.items} read, but {self.kept} kept and {self.aside} set aside",
                where="corpus",
                advice="a step lost documents: report this",
            )
        if self.kept:
            return
        if not self.aside:
            raise TextmillError(
                "holds no document", where="corpus", advice="its sources are empty; check the paths"
            )
        (_, reason), entry = max(self.reasons.items(), key=lambda pair: pair[1]["documents"])
        raise TextmillError(
            f"holds no document: all {self.aside} were set aside, most because each {reason}",
            where="corpus",
            advice=f"look at {entry['samples'][0]}",
        )

    def report(self, collected: Collected | None, shards: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
        parts = {part: {"documents": 0, "bytes": 0, "characters": 0} for part in PARTS}
        for shard in shards:
            for key in ("documents", "bytes", "characters"):
                parts[shard["part"]][key] += shard[key]
        read: dict[str, Any] = {"documents": self.kept + self.aside}
        if collected is not None:
            read["bytes"] = collected.bytes
        return {
            "read": read,
            "kept": {"documents": self.kept, "bytes": self.kept_bytes},
            "set_aside": {"documents": self.aside, "bytes": self.aside_bytes},
            "reasons": [
                {"step": step, "reason": reason, **self.reasons[step, reason]}
                for step, reason in sorted(self.reasons)
            ],
            "parts": parts,
            "endings": {
                kind: {"documents": self.endings[kind], "bytes": self.ending_bytes[kind]}
                for kind in sorted(self.endings)
            },
            "moved": dict(sorted(plan.moves.items())),
            "cut": {"id": plan.cut, **{part: list(span) for part, span in plan.at.items()}}
            if plan.at
            else {},
        }


class Corpus:
    """A corpus on disk, read as a stream; each shard's hash is checked before its first row is believed."""

    def __init__(self, directory: Path) -> None:
        """Raises DamagedError when the manifest is missing or a shard has not the size it had."""
        self.directory = Path(directory)
        manifest = read_json(self.directory / "manifest.json")
        if (
            not isinstance(manifest, dict)
            or manifest.get("format") != FORMAT
            or manifest.get("version") != VERSION
        ):
            raise DamagedError(
                "is no corpus of this version of Textmill", where=directory, advice="collect the text again"
            )
        self._shards: dict[str, dict[str, Any]] = manifest["shards"]
        self.id: str = value_id(manifest)  # content id: equal for equal documents, parts, reasons
        self._checked: set[str] = set()

    @property
    def report(self) -> dict[str, Any]:
        """Counts, bytes and reasons, as written by `write`."""
        return read_json(self.directory / "report.json")

    def count(self, part: str) -> int:
        """Documents of a part."""
        return sum(shard["documents"] for _, shard in self._of(part))

    def bytes(self, part: str) -> int:
        """Bytes of a part's text as UTF-8."""
        return sum(shard["bytes"] for _, shard in self._of(part))

    def documents(self, part: str) -> Iterator[Document]:
        """The documents of a part, in the order they were collected. Raises DamagedError for a changed shard."""
        for name, _ in self._of(part):
            yield from documents_in(self._whole(name))

    def get(self, name: str) -> Document:
        """The document of an id; of one that was cut, its training piece. Raises TextmillError when not here."""
        for shard, (names, rows) in self._index.items():
            key = name.encode("ascii", "replace")
            at = int(np.searchsorted(names, key))
            if at < len(names) and names[at] == key:
                return row_in(self._whole(shard), int(rows[at]))
        raise TextmillError(f"holds no document {name}", where=self.directory)

    def _of(self, part: str) -> list[tuple[str, dict[str, Any]]]:
        if part not in PARTS:
            raise TextmillError(f"{part!r} is no part of a corpus", advice=f"choose among {', '.join(PARTS)}")
        return [(name, shard) for name, shard in self._shards.items() if shard["part"] == part]

    @functools.cached_property
    def _index(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each shard: its ids sorted (32 bytes each), and the row each stands in."""
        found = {}
        for name in self._shards:
            names = np.array(ids_in(self._whole(name)), dtype="S32")
            order = np.argsort(names, kind="stable")
            found[name] = (names[order], order)
        return found

    def _whole(self, name: str) -> Path:
        """The path of a shard whose bytes are those that were written."""
        path = self.directory / name
        if name not in self._checked:
            if not path.is_file():
                raise DamagedError("is missing", where=path, advice="collect the text again")
            if sha256_file(path) != self._shards[name]["sha256"]:
                raise DamagedError(
                    "is not what was written (its hash differs)", where=path, advice="collect again"
                )
            self._checked.add(name)
        return path
