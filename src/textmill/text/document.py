"""What passes through the text room: a document, or what was set aside and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from textmill.base.files import content_id


@dataclass(frozen=True, slots=True)
class Document:
    """One text and where it came from.

    `id` is 32 hex digits, the BLAKE2b-128 of the text as collected. Cleaning changes `text` and keeps `id`; a
    piece of a document keeps its parent's id and says its place in `metadata["piece"]`.
    """

    id: str
    text: str
    source: str  # `path`, `path!member` of an archive, `path:line 12` of a file of records
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something read that did not become part of the corpus.

    `reason` is one of few fixed phrases, so that reports can count it; `detail` says what is particular here.
    """

    document: Document | None  # None when it could not even be read
    source: str
    step: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.source}: {self.reason}{detail}"


Item = Document | Rejected
Step = Callable[[Iterable[Item]], Iterator[Item]]  # one item out for each item in, in the same order


def collected(text: str, source: str, metadata: Mapping[str, str] | None = None) -> Document:
    """A document as a source hands it over: its id is the hash of exactly this text."""
    return Document(content_id(text), text, source, metadata or {})


def reject(document: Document, step: str, reason: str, detail: str = "") -> Rejected:
    """Set a document aside in a step."""
    return Rejected(document, document.source, step, reason, detail)


def printable(name: str) -> str:
    """A file or member name as text that can be written as UTF-8, on one line, whatever bytes it was made of."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


# What a place may end in after its file: a part of it, by number or name.
_PLACES = ("line ", "row ", "item ", "topic ", "page ", "sheet ", "message ", "record ")
_COMPRESSED = ("gz", "bz2", "xz", "lzma", "zst")


def ending(source: str) -> str:
    """The file ending a source place speaks of, such as `.jsonl` for `a.zip!b.jsonl:line 3`; `` for none."""
    name = source.rsplit("!", 1)[-1].rsplit("/", 1)[-1]
    name, mark, rest = name.rpartition(":")
    inside = bool(mark) and rest.startswith(_PLACES)
    if not inside:
        name = f"{name}{mark}{rest}"
    stem, dot, last = name.rpartition(".")
    if inside and last.lower() in _COMPRESSED and "." in stem:  # pages of x.warc.gz, lines of x.jsonl.zst
        stem, dot, last = stem.rpartition(".")
    return f".{last.lower()}" if dot and stem and last.isalnum() and len(last) <= 10 else ""
