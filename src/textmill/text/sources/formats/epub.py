"""EPUB books (EPUB 3.3, and 2): one document a book, its chapters in reading order; where they begin is metadata.

A book is a zip file of pages, so it needs no library of its own: ebooklib, the usual one, is AGPL.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats import html
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.package import package
from textmill.text.sources.formats.pages import joined
from textmill.text.sources.formats.stream import Fields, Input, SetAside
from textmill.text.sources.formats.xml_events import Element

_PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")
# Fonts are scrambled in books that are free to read (OCF §4.3); any other encryption is a lock.
_SCRAMBLED_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The one document of a book, and every chapter of it that cannot be read."""
    with package(item) as parts:
        if any(
            element.name == "EncryptionMethod" and element.attributes.get("Algorithm") not in _SCRAMBLED_FONTS
            for element in parts.elements("META-INF/encryption.xml")
        ):
            raise SetAside("is encrypted", "it has a copy protection")
        roots = [
            element.attributes.get("full-path", "")
            for element in parts.elements("META-INF/container.xml")
            if element.name == "rootfile"
        ]
        if not roots:
            raise SetAside("is damaged or not what its name says", "it has no META-INF/container.xml")
        book = parts.elements(parts.present(roots[0]))
        chapters = []
        for path in _chapters(book, posixpath.dirname(roots[0])):
            parts.deadline.check()
            try:
                source, _ = decode(parts.whole(path), "chapter.xhtml")
                chapters.append(html.extract(source, parts.deadline).text)
            except SetAside as error:
                yield Rejected(None, f"{item.place}!{path}", "read", error.reason, error.detail)
        text, starts = joined(chapters)
        if not text.strip():
            raise SetAside("holds no text")
        properties: dict[str, str] = {}
        for element in book:
            properties.setdefault(element.name, element.text)
        creators = ", ".join(" ".join(e.text.split()) for e in book if e.name == "creator" and e.text.strip())
        metadata = facts(
            properties.get("title", ""), creators, properties.get("date", ""), properties.get("language", "")
        )
        yield collected(text, item.place, {**metadata, "chapters": starts})


def _chapters(book: list[Element], folder: str) -> list[str]:
    """The parts that are pages, in reading order, each once."""
    manifest = {
        element.attributes.get("id", ""): element.attributes
        for element in book
        if element.name == "item" and element.attributes.get("media-type", "").lower() in _PAGES
    }
    order = [element.attributes.get("idref", "") for element in book if element.name == "itemref"]
    paths = [
        posixpath.normpath(posixpath.join(folder, unquote(manifest[name].get("href", ""))))
        for name in order
        if name in manifest
    ]
    return list(dict.fromkeys(paths))
