"""What passes through the text room: a document, or what was skipped and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from textmill.text import chats, marks

TEXT = "text"  # the role of a text that stands alone
NAMED_SPLIT = "@split"  # metadata: the split that a document's source names


@dataclass(frozen=True, slots=True)
class Document:
    """One or more texts, each in its role, and where they came from.

    A page has a `text`; a translation a `source` and a `target`, and `target 2` where it has a second one; a question
    its `passage`, `question` and `answer`; a chat a text for each turn (`text.chats`). Facts about the texts (label,
    language, licence) are metadata, which no step cleans; those that mark stretches of the first text move with it
    (`text.marks`).

    `id` is 32 hex digits, `document_id` of the texts as collected. Cleaning changes `texts` and keeps `id`; a piece
    of a document keeps its parent's id and says its place in `metadata["piece"]`.
    """

    id: str
    texts: Mapping[str, str]  # by role
    source: str  # `path`, `path!member` of an archive, `path:line 12` of a file of records
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The first text: the only one, unless this is a record of several. Of a chat all of it, each turn behind its
        role."""
        if chats.is_chat(self.metadata):
            return chats.rendered(self.texts, self.metadata)
        return next(iter(self.texts.values()))

    @property
    def whole(self) -> str:
        """All texts with an empty line between them: what a document is judged by."""
        return "\n\n".join(self.texts.values())

    @property
    def characters(self) -> int:
        """Characters of all texts."""
        return sum(map(len, self.texts.values()))

    @property
    def bytes(self) -> int:
        """Bytes of all texts as UTF-8."""
        return sum(map(utf8_size, self.texts.values()))


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


def collected(
    texts: str | Mapping[str, str], source: str, metadata: Mapping[str, str] | None = None
) -> Document:
    """A document as a source hands it over: its id is the hash of exactly these texts."""
    texts = {TEXT: texts} if isinstance(texts, str) else texts
    return Document(document_id(texts), texts, source, metadata or {})


def document_id(texts: Mapping[str, str]) -> str:
    """The id of a document of these texts: `digest` as 32 hex digits."""
    return digest(texts).hex()


def digest(texts: Mapping[str, str]) -> bytes:
    """The BLAKE2b-128 of a document's texts: equal where the same roles have the same texts, in whatever order.

    Of one `text` it is the hash of that text. Of anything else it is that of a JSON object, keys sorted, in a hash of
    its own, so that no text can be written that has the id of a record.
    """
    if len(texts) == 1 and TEXT in texts:
        return hashlib.blake2b(texts[TEXT].encode("utf-8", "surrogatepass"), digest_size=16).digest()
    written = json.dumps(dict(texts), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(written, digest_size=16, person=b"textmill texts").digest()


def rewritten(document: Document, texts: Mapping[str, str], step: str, removed: int = 0) -> Item:
    """The document with its texts as a step leaves them, and what marks stretches of them moved along; skipped where a
    text is blank that was not before, or where what was marked was cut.

    removed: how many lines, paragraphs or passages the step took out. The metadata `removed` adds them up by step.
    """
    for role, text in texts.items():
        if blank(text) and not blank(document.texts[role]):
            return reject(document, step, f"has no {kind_of(role)} left")
    first, metadata = next(iter(document.texts), ""), dict(document.metadata)
    try:
        metadata |= marks.moved(document.texts.get(first, ""), texts.get(first, ""), metadata)
    except marks.Lost:
        return reject(document, step, "changes an annotated word or span")
    if removed:
        counts = read_counts(metadata.get("removed", ""))
        counts[step] = counts.get(step, 0) + removed
        metadata["removed"] = write_counts(counts)
    return replace(document, texts=texts, metadata=metadata)


def kind_of(role: str) -> str:
    """A role without its number: `target` for `target 2`, `user` for `user 1`.

    >>> kind_of("assistant 3 reasoning")
    'assistant reasoning'
    """
    return " ".join(part for part in role.split(" ") if not (part.isascii() and part.isdecimal())) or role


def several(texts: Mapping[str, str], role: str) -> list[str]:
    """All texts of a role: `target`, then `target 2`, `target 3` …; none where there is none.

    >>> several({"target": "a", "target 2": "b"}, "target")
    ['a', 'b']
    """
    found = [texts[role]] if role in texts else []
    while (more := f"{role} {len(found) + 1}") in texts:
        found.append(texts[more])
    return found


def write_counts(counts: Mapping[str, int]) -> str:
    """Counts as metadata: `email:2 phone:1`, sorted by name."""
    return " ".join([f"{name}:{number}" for name, number in sorted(counts.items())])


def read_counts(text: str) -> dict[str, int]:
    """Counts from metadata."""
    pairs = (pair.partition(":") for pair in text.split())
    return {name: int(number) for name, _, number in pairs if number.isascii() and number.isdecimal()}


def utf8_size(text: str) -> int:
    """Bytes of a text as UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def blank(text: str) -> bool:
    """Whether there is nothing in a text but white space."""
    return not text or text.isspace()


def reject(document: Document, step: str, reason: str, detail: str = "") -> Rejected:
    """Set a document aside in a step."""
    return Rejected(document, document.source, step, reason, detail)


def printable(name: str) -> str:
    """A file or member name as text that can be written as UTF-8, on one line, whatever bytes it was made of."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


# What a source may end in after its file: a part of it, by number or name.
_PLACES = ("line ", "row ", "item ", "topic ", "page ", "slide ", "sheet ", "message ", "record ")
_COMPRESSED = ("gz", "bz2", "xz", "lzma", "zst")


def ending(source: str) -> str:
    """The file ending that a source names, such as `.jsonl` for `a.zip!b.jsonl:line 3`; `` for none."""
    name = source.rsplit("!", 1)[-1].rsplit("/", 1)[-1]
    name, mark, rest = name.rpartition(":")
    inside = bool(mark) and rest.startswith(_PLACES)
    if not inside:
        name = f"{name}{mark}{rest}"
    stem, dot, last = name.rpartition(".")
    if inside and last.lower() in _COMPRESSED and "." in stem:  # pages of x.warc.gz, lines of x.jsonl.zst
        stem, dot, last = stem.rpartition(".")
    return f".{last.lower()}" if dot and stem and last.isalnum() and len(last) <= 10 else ""
