"""The corpus: cleaned documents as Parquet shards, what was skipped, a report, and the hash of each file.

    corpus/  train-00000.parquet …  validation-00000.parquet …  test-00000.parquet …
             rejected.jsonl   one object for everything skipped: where, in which step, why
             report.json      how much was read, kept, skipped and why, by part, kind of file, language …
             card.html        the same as a page: the data card; card.zh.html in Chinese
             manifest.json    SHA-256, bytes and documents of each shard; its hash is the corpus id

The same documents give the same bytes, whenever and wherever they are written.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import renamed
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import read_json, sha256_file, value_id, write_json, write_text
from textmill.base.language import LANGUAGES, chosen, speaking
from textmill.specs.cleaning import CleaningStep
from textmill.specs.corpus import RecordSpec, SplitSpec
from textmill.text.cleaning.privacy.step import excerpt
from textmill.text.corpus import data_card
from textmill.text.corpus.shards import ShardWriter, documents_in, ids_in, row_in
from textmill.text.corpus.split import PARTS, Plan, Watch, held_back, pieces
from textmill.text.corpus.tally import Aside, Tally
from textmill.text.document import Document, Item, Rejected, reject

FORMAT, VERSION = "textmill-corpus", 2
CARDS = {"en": "card.html", "zh": "card.zh.html"}  # a data card for each language, whoever prepares
_OTHERS = ("rejected.jsonl", "report.json", *CARDS.values())
_EXCERPT, _LONGEST_DETAIL = 200, 1000  # characters of a text that was skipped, and of what is said of it


@dataclass
class Count:
    """How much was read before any step: the `read` of read = kept + skipped."""

    items: int = 0
    bytes: int = 0  # of the texts as UTF-8

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items, counted as they pass."""
        for item in items:
            self.items += 1
            if isinstance(item, Document):
                self.bytes += item.bytes
            yield item


def write_corpus(
    directory: Path,
    items: Iterable[Item],
    split: SplitSpec,
    read: Count | None = None,
    steps: Sequence[CleaningStep] = (),
) -> dict:
    """Write a corpus into an existing directory, which whoever calls makes whole or absent; the report.

    items: documents and what was skipped. read: what they were before cleaning, when it was counted, so that
    the report can say how much that was, and that nothing was lost. steps: those they went through, so that it can
    say what was looked for.
    Raises TextmillError when no document is left, or when read is not kept + skipped.
    """
    return write_records(directory, (_record(item) for item in items), split, read, steps)


def write_records(
    directory: Path,
    items: Iterable[Document | Aside],
    split: SplitSpec,
    read: Count | None = None,
    steps: Sequence[CleaningStep] = (),
    record: RecordSpec | None = None,
) -> dict:
    """As `write`, where what was skipped is already told in the terms of rejected.jsonl."""
    directory = Path(directory)
    tally, watch, writer = Tally(record), Watch(split), ShardWriter(directory)
    with writer, open(directory / "rejected.jsonl", "w", encoding="utf-8", newline="\n") as rejected:
        for item in items:
            told = item
            if isinstance(item, Document):
                part = watch.deal(item)
                whole = held_back(item, part, split)
                if whole is None:
                    tally.keep(item)
                    writer.add(part, item)
                    continue
                why = "stands inside a longer text that is held out"
                told = aside(reject(item, "split", why, f"id {whole}"))
            assert not isinstance(told, Document)
            tally.set_aside(told)
            rejected.write(json.dumps(told, ensure_ascii=False) + "\n")
    tally.check(None if read is None else read.items)
    plan = watch.plan()
    shards = _deal_again(directory, writer.shards, plan) if plan else writer.shards
    report = tally.report(None if read is None else read.bytes, shards, plan, steps)
    write_json(directory / "report.json", report)
    write_cards(directory, report)
    files = {
        shard["file"]: {
            "sha256": sha256_file(directory / shard["file"]),
            **{k: v for k, v in shard.items() if k != "file"},
        }
        for shard in shards
    }
    others = {name: {"sha256": sha256_file(directory / name)} for name in _OTHERS}
    write_json(
        directory / "manifest.json", {"format": FORMAT, "version": VERSION, "shards": files, "files": others}
    )
    return report


def write_cards(directory: Path, report: Mapping[str, Any], fit: Mapping[str, Any] | None = None) -> None:
    """Write the data card of a report in each language. fit: as `data_card.page`'s."""
    for language, name in CARDS.items():
        with speaking(language):
            write_text(directory / name, data_card.page(report, fit))


def card_of(directory: Path) -> Path:
    """The data card of a corpus in the chosen language; in English where it was written before there were two."""
    card = directory / CARDS[chosen()]
    return card if card.is_file() else directory / CARDS[LANGUAGES[0]]


def _record(item: Item) -> Document | Aside:
    item = writable(item)
    return item if isinstance(item, Document) else aside(item)


def writable(item: Item) -> Item:
    """The item, or, when its texts cannot be written as UTF-8, what is skipped for it."""
    if isinstance(item, Document):
        try:
            for text in item.texts.values():
                text.isascii() or text.encode("utf-8")
        except UnicodeEncodeError:
            return reject(item, "corpus", "holds lone surrogates", "the repair step removes them")
    return item


def aside(item: Rejected) -> Aside:
    """What rejected.jsonl says of something skipped; an excerpt too, unless personal data were the reason.

    Whatever was skipped, in whichever step: what is quoted of it here holds no personal data that can be found.
    """
    record: Aside = {"source": item.source, "step": item.step, "reason": item.reason}
    if item.detail:
        record["detail"] = _encodable(excerpt(item.detail, _LONGEST_DETAIL))
    if item.document is not None:
        record |= {"id": item.document.id, "bytes": item.document.bytes}
        if item.step != "personal-data":
            record["excerpt"] = _encodable(_excerpt(item.document.texts))
    return record


def _excerpt(texts: Mapping[str, str]) -> str:
    """The beginning of a text; of several, that of each behind its role."""
    if len(texts) <= 1:
        return excerpt("".join(texts.values()), _EXCERPT)
    return "\n".join(f"{role}: {excerpt(text, _EXCERPT // len(texts))}" for role, text in texts.items())


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _deal_again(directory: Path, shards: list[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    """Write the shards once more with documents moved or cut."""
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
                    writer.add(plan.part(document, part), document)
    for _, path in old:
        path.unlink()
    return writer.shards


class Corpus:
    """A corpus on disk, read as a stream; each shard's hash is checked before its first row is believed."""

    def __init__(self, directory: Path | str) -> None:
        """Raises DamagedError when the manifest is missing or a shard has not the size it had."""
        self.directory = Path(directory)
        manifest = read_json(self.directory / "manifest.json")
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise DamagedError("is not a corpus", where=directory, advice="prepare the data again")
        if manifest.get("version") != VERSION:
            raise DamagedError(
                f"is a corpus of version {manifest.get('version')}, and this Textmill reads {VERSION}",
                where=directory,
                advice="prepare its recipe again: a corpus is prepared again, not converted",
            )
        self._shards: dict[str, dict[str, Any]] = manifest["shards"]
        self.id: str = value_id(manifest)  # content id: equal for equal documents, parts, reasons
        self._checked: set[str] = set()

    @property
    def report(self) -> dict[str, Any]:
        """Counts, bytes and reasons, as written by `write`."""
        return renamed.current(read_json(self.directory / "report.json"))

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
            raise TextmillError(
                f"{part!r} is not a split of a corpus", advice=f"choose among {', '.join(PARTS)}"
            )
        return [(name, shard) for name, shard in self._shards.items() if shard["part"] == part]

    @functools.cached_property
    def _index(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each shard: its ids sorted (32 bytes each), and the row each stands in."""
        index = {}
        for name in self._shards:
            names = np.array(ids_in(self._whole(name)), dtype="S32")
            order = np.argsort(names, kind="stable")
            index[name] = (names[order], order)
        return index

    def _whole(self, name: str) -> Path:
        """The path of a shard whose bytes are those that were written."""
        path = self.directory / name
        if name not in self._checked:
            if not path.is_file():
                raise DamagedError("is missing", where=path, advice="prepare the data again")
            if sha256_file(path) != self._shards[name]["sha256"]:
                raise DamagedError(
                    "was changed after it was written (its SHA-256 differs)",
                    where=path,
                    advice="prepare the data again",
                )
            self._checked.add(name)
        return path
