"""EPUB books (EPUB 3.3, and 2): one document a book, its chapters in reading order; where they begin is metadata.

A book is a zip file of pages, so it needs no library of its own: ebooklib, the usual one, is AGPL. Its pages are
XHTML, which is XML. There is no site around a chapter: footnotes and asides of every kind are text of the book. What a
book lists and gives no text (a cover that is a picture, a chapter under lock) is said, each at its own place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats import html
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.pages import joined
from textmill.text.sources.formats.stream import Fields, Input, SetAside
from textmill.text.sources.formats.xml_events import Element
from textmill.text.sources.formats.xml_pages import DAISY, XHTML, Vocabulary, from_xhtml, page

_PAGES: dict[str, Vocabulary] = {
    "application/xhtml+xml": XHTML,
    "text/html": XHTML,
    "text/x-oeb1-document": XHTML,
    "application/x-dtbook+xml": DAISY,
}
# Fonts are scrambled in books that are free to read (OCF §4.3); any other encryption is a lock.
_SCRAMBLED_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_LOCKED = SetAside("is encrypted", "it has copy protection")
_FALLBACKS = 10  # from one form of a chapter to the next


@dataclass(frozen=True)
class _Chapter:
    """A place in the reading order: the part it is, how that is read, or why it is not."""

    path: str
    vocabulary: Vocabulary | None
    refusal: SetAside | None = None


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The one document of a book, and every chapter of it that cannot be read."""
    with package(item) as parts:
        locked = _locked(parts)
        roots = [
            element.attributes.get("full-path", "")
            for element in parts.elements("META-INF/container.xml")
            if element.name == "rootfile"
        ]
        if not roots:
            raise SetAside(
                "is damaged, or not what its file extension says", "it has no META-INF/container.xml"
            )
        book = parts.elements(parts.present(roots[0]))
        chapters: list[str] = []
        refused = 0
        for chapter in _chapters(book, posixpath.dirname(roots[0])):
            parts.deadline.check()
            try:
                chapters.append(_text(parts, chapter, locked))
            except SetAside as error:
                refused += error.reason == _LOCKED.reason
                yield Rejected(None, f"{item.place}!{chapter.path}", "read", error.reason, error.detail)
        text, starts = joined(chapters)
        if not text.strip():
            raise _LOCKED if refused else SetAside("holds no text")
        yield collected(text, item.place, {**_facts(book), "chapters": starts})
        for other in dict.fromkeys(roots[1:]):
            if other != roots[0]:
                yield Rejected(
                    None,
                    f"{item.place}!{other}",
                    "read",
                    "is another edition of the book",
                    "the first is read",
                )


def _text(parts: Package, chapter: _Chapter, locked: frozenset[str]) -> str:
    """The text of a chapter. Raises SetAside for one that gives none."""
    if chapter.refusal or not chapter.vocabulary:
        raise chapter.refusal or SetAside("holds no text")
    if chapter.path.lower() in locked:
        raise _LOCKED
    source, _ = decode(parts.whole(chapter.path), "chapter.xhtml")
    if chapter.vocabulary is XHTML:
        source = from_xhtml(source, parts.deadline)
    else:
        source = page(source, chapter.vocabulary, parts.deadline)
    text = html.extract(source, parts.deadline, book=True).text
    if not text.strip():
        raise SetAside("holds no text", "only pictures" if "<img" in source or "<svg" in source else "")
    return text


def _locked(parts: Package) -> frozenset[str]:
    """The parts under lock, in small letters. Raises SetAside where all are, or it is not said which."""
    locked: list[str] = []
    encryption = parts.elements("META-INF/encryption.xml")
    under_lock = False
    for element in encryption:
        if element.name == "EncryptedData":
            under_lock = False
        elif element.name == "EncryptionMethod":
            under_lock = element.attributes.get("Algorithm") not in _SCRAMBLED_FONTS
            if under_lock and not any(each.name == "CipherReference" for each in encryption):
                raise _LOCKED
        elif element.name == "CipherReference" and under_lock:
            locked.append(posixpath.normpath(unquote(element.attributes.get("URI", ""))).lower())
    return frozenset(locked)


def _facts(book: list[Element]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for element in book:
        properties.setdefault(element.name, element.text)
    creators = ", ".join(" ".join(e.text.split()) for e in book if e.name == "creator" and e.text.strip())
    return facts(
        properties.get("title", ""), creators, properties.get("date", ""), properties.get("language", "")
    )


def _chapters(book: list[Element], folder: str) -> Iterator[_Chapter]:
    """The chapters in reading order, each once; without an order, as they are listed."""
    manifest = {e.attributes.get("id", ""): e.attributes for e in book if e.name == "item"}
    order = [element.attributes.get("idref", "") for element in book if element.name == "itemref"]
    if not order:
        order = [
            name for name, known in manifest.items() if _kind(known) in _PAGES and not _is_contents(known)
        ]
    seen: set[str] = set()
    for name in dict.fromkeys(order):
        chapter = _chapter(manifest, name, folder)
        if chapter.path not in seen:
            seen.add(chapter.path)
            yield chapter


def _kind(known: Mapping[str, str]) -> str:
    return known.get("media-type", "").lower().strip()


def _is_contents(known: Mapping[str, str]) -> bool:
    return "nav" in known.get("properties", "").split()


def _chapter(manifest: Mapping[str, Mapping[str, str]], name: str, folder: str) -> _Chapter:
    """What is read for a place in the order: the part it names, or what that falls back to (EPUB 3.3 §3.5.1)."""
    known = manifest.get(name)
    if known is None:
        return _Chapter(
            name or "spine",
            None,
            SetAside("is damaged, or not what its file extension says", "the book does not list it"),
        )
    path = _path(known, folder)
    if _is_contents(known):
        return _Chapter(path, None, SetAside("is a table of contents"))
    for _ in range(_FALLBACKS):
        if (vocabulary := _PAGES.get(_kind(known))) is not None:
            return _Chapter(_path(known, folder), vocabulary)
        further = manifest.get(known.get("fallback", ""))
        if further is None:
            break
        known = further
    if _kind(known).startswith("image/"):
        return _Chapter(path, None, SetAside("holds no text", "only pictures"))
    return _Chapter(path, None, SetAside("is not in a format that is read", _kind(known)[:60]))


def _path(known: Mapping[str, str], folder: str) -> str:
    href = urlsplit(known.get("href", "").strip()).path
    return posixpath.normpath(posixpath.join(folder, unquote(href)))
