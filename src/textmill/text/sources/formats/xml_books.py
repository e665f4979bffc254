"""Books and texts in XML: FictionBook (.fb2), DAISY (DTBook), TEI, DocBook, JATS; subtitles in TTML; feeds (RSS, Atom).

A book is one document, as an EPUB is; a feed is a document an entry.
"""

from __future__ import annotations

import html as entities
import io
from collections.abc import Callable, Iterator

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats import html
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, read_whole
from textmill.text.sources.formats.xml_events import attribute, events
from textmill.text.sources.formats.xml_pages import (
    DAISY,
    DOCBOOK,
    FICTION_BOOK,
    JATS,
    TEI,
    TIMED_TEXT,
    Vocabulary,
    page,
)

# Where a book says what it is: the last names of the path to an element -> what it says.
_FACTS = {
    "title-info/book-title": "title",
    "titleStmt/title": "title",
    "titleStmt/author": "author",
    "title-group/article-title": "title",
    "info/title": "title",
    "author/first-name": "author",
    "author/middle-name": "author",
    "author/last-name": "author",
    "title-info/lang": "language",
    "title-info/date": "date",
    "publicationStmt/date": "date",
}
_HEADS = ("description", "teiHeader", "article-meta", "info")


def _reader(vocabulary: Vocabulary) -> Callable[[Input, Fields], Iterator[Document]]:
    def documents(item: Input, fields: Fields) -> Iterator[Document]:
        """The one document of a text in XML."""
        deadline = Deadline(item.limits)
        source, encoding = decode(read_whole(item), "book.xml", item.charset)
        found = html.extract(page(source, vocabulary, deadline), deadline, book=True)
        if not found.text:
            raise SetAside("holds no text")
        more = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
        yield collected(found.text, item.place, {**_said(source, deadline), **more})

    return documents


fiction_book = _reader(FICTION_BOOK)
daisy = _reader(DAISY)
tei = _reader(TEI)
docbook = _reader(DOCBOOK)
jats = _reader(JATS)
timed_text = _reader(TIMED_TEXT)


def _said(source: str, deadline: Deadline) -> dict[str, str]:
    """What a book says of itself, in its head."""
    said: dict[str, list[str]] = {}
    path: list[str] = []
    for event, name, attributes in events(io.BytesIO(source.encode("utf-8", "replace")), deadline, "utf-8"):
        if event == "start":
            path.append(name)
            if len(path) == 1 and (language := attribute(attributes, "lang")):
                said["language"] = [language]
        elif event == "end":
            path.pop()
        elif any(head in path for head in _HEADS) and name.strip():
            known = _FACTS.get("/".join(path[-2:]))
            if known and "document-info" not in path and "src-title-info" not in path:
                said.setdefault(known, []).append(name.strip())
    return facts(*(" ".join(said.get(each, ())) for each in ("title", "author", "date", "language")))


# --- feeds --------------------------------------------------------------------------------------------------------
# The elements of an entry (RSS 2.0, RSS 1.0 with its content module, Atom: RFC 4287) -> what they say.
_ENTRY = {
    "title": "title",
    "description": "summary",
    "summary": "summary",
    "encoded": "content",
    "content": "content",
    "creator": "author",
    "author": "author",
    "pubDate": "date",
    "published": "date",
    "updated": "date",
    "date": "date",
    "link": "url",
}


def feed(item: Input, fields: Fields) -> Iterator[Document | Rejected]:
    """The entries of a feed, each as `place:item N`: its title, then its content, or else its summary."""
    deadline = Deadline(item.limits)
    source, _ = decode(read_whole(item), "feed.xml", item.charset)
    for number, entry in enumerate(_entries(source, deadline), 1):
        item.budget.member()
        location = f"{item.place}:item {number}"
        body = html.extract(
            f"<body>{entry.get('content') or entry.get('summary', '')}", deadline, book=True
        ).text
        title = html.extract(f"<body>{entry.get('title', '')}", deadline, book=True).text
        if text := "\n\n".join(filter(None, (title, body))):
            url = {"url": entry["url"].strip()} if entry.get("url", "").strip() else {}
            known = facts(title, entry.get("author", ""), entry.get("date", ""))
            yield collected(text, location, {**known, **url})
        else:
            yield Rejected(None, location, "read", "holds no text")


def _entries(source: str, deadline: Deadline) -> Iterator[dict[str, str]]:
    """What each entry says, as HTML: as text that is markup, or as elements of XHTML within it."""
    entry: dict[str, str] | None = None
    path: list[str] = []
    for event, name, attributes in events(io.BytesIO(source.encode("utf-8", "replace")), deadline, "utf-8"):
        if event == "start":
            path.append(name)
            if name in ("item", "entry") and entry is None:
                entry, path = {}, [name]
            elif entry is not None and name == "link" and attributes.get("rel", "alternate") == "alternate":
                entry.setdefault("url", attributes.get("href", ""))
            elif entry is not None and len(path) > 2:
                _say(entry, path, f"<{name}>")
        elif event == "end":
            if entry is not None and len(path) == 1:
                yield entry
                entry = None
            elif entry is not None and len(path) > 2:
                _say(entry, path, f"</{name}>")
            path.pop() if path else None
        elif entry is not None and len(path) > 1:
            _say(entry, path, name if len(path) == 2 else entities.escape(name, quote=False))


def _say(entry: dict[str, str], path: list[str], text: str) -> None:
    if known := _ENTRY.get(path[1]):
        entry[known] = entry.get(known, "") + text
