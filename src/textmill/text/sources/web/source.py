"""Pages of the web that a recipe names, and those that its sitemaps list. Nothing else touches the network.

    folder/  example.org-about-1f2e3d4c5b6a7988.html …  what was fetched, under endings that say the format
             manifest.jsonl  one object a file: url, file, sha256, bytes, content type, charset, etag, when
             failed.jsonl    one object an address that was refused or is not there: delete it to try them again

What the manifest holds is never asked for again, so once all is there, no connection is made. An address the
network failed for is not written down, and the next run tries it again.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from textmill.base.files import (
    append_jsonl,
    content_id,
    read_jsonl,
    remove_partial,
    value_id,
    write_bytes,
)
from textmill.base.locks import lock
from textmill.specs.corpus import LimitSpec, RecordSpec, WebSource
from textmill.text.document import Document, Rejected, printable
from textmill.text.sources.formats.stream import SetAside
from textmill.text.sources.formats.table import open_file
from textmill.text.sources.web import fetch, sitemap
from textmill.text.sources.web.visitor import Page, Visitor

MANIFEST, FAILED = "manifest.jsonl", "failed.jsonl"
_SITEMAPS = 1000  # read for one source
_SITEMAP_TYPES = frozenset(
    ("application/xml", "text/xml", "text/plain", "application/gzip", "application/x-gzip")
)
_ENDINGS = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "application/pdf": ".pdf",
    "application/json": ".json",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "text/csv": ".csv",
    "application/epub+zip": ".epub",
}
# Kinds of files that servers often send under a broader type: there, the address's own ending is kept.
_BROAD = frozenset(("text/plain", "application/json", "application/octet-stream", ""))
_KEPT = (
    ".md",
    ".rst",
    ".py",
    ".csv",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".json",
    ".srt",
    ".vtt",
    ".ipynb",
    ".tex",
    ".eml",
)
_BINARY_KEPT = (
    ".pdf",
    ".docx",
    ".pptx",
    ".xlsx",
    ".epub",
    ".zip",
    ".gz",
    ".tgz",
    ".zst",
    ".parquet",
    ".mbox",
    ".warc",
)
_TYPES = mimetypes.MimeTypes(filenames=())  # the built-in table, the same on every machine

# (folder, address) -> why it cannot be had for now. A fingerprint is taken just before the text is read: within
# one process both must see the same pages.
_failing: dict[tuple[str, str], SetAside] = {}


def documents(
    source: WebSource, path: Path, location: str, limits: LimitSpec, record: RecordSpec | None = None
) -> Iterator[Document | Rejected]:
    """The documents of one fetched file; `location` is its address."""
    return open_file(path, location, None, limits)


def files(
    source: WebSource, base: Path, visitor: Visitor | None = None
) -> Iterator[tuple[Path, str] | Rejected]:
    """(path, address) of every page, in the order of the recipe and its sitemaps; what is not yet in the folder
    is fetched. base: the folder `source.folder` starts at.

    Raises BusyError when another process is fetching into the folder.
    """
    store = _Store(Path(base) / source.folder, source)
    with ExitStack() as stack:
        session = _Session(source, store, visitor or Visitor(source), stack)
        count = 0
        for item in session.addresses():
            if isinstance(item, Rejected):
                yield item
                continue
            count += 1
            if count > source.pages:
                detail = f"the first {source.pages} are read"
                yield Rejected(None, item, "fetch", "and the rest is over the limit `pages`", detail)
                return
            try:
                yield session.have(item), item
            except SetAside as error:
                yield _aside(item, error)


class _Session:
    """One walk over the addresses of a source. The folder is locked from the first fetch to the end."""

    def __init__(self, source: WebSource, store: _Store, visitor: Visitor, stack: ExitStack) -> None:
        self._source, self._store, self._visitor, self._stack = source, store, visitor, stack
        self._locked = False

    def addresses(self) -> Iterator[str | Rejected]:
        """Every address once, normalised; sitemaps are read when their turn comes."""
        seen: set[str] = set()
        for url in self._source.urls:
            yield from self._once(url, seen)
        waiting = list(reversed(self._source.sitemaps))
        known: set[str] = set()
        while waiting:
            try:
                url = fetch.normalise(waiting.pop())
            except SetAside as error:
                yield Rejected(None, "sitemaps", "fetch", error.reason, error.detail)
                continue
            if url in known:
                continue
            known.add(url)
            if len(known) > _SITEMAPS:
                yield Rejected(None, url, "fetch", "and the rest is over the limit of sitemaps")
                return
            try:
                listed = sitemap.parse(self.have(url, listing=True).read_bytes())
            except SetAside as error:
                yield _aside(url, error)
                continue
            inside, outside = _same_host(listed.sitemaps, url)
            waiting += reversed(inside)
            pages, strangers = _same_host(listed.pages, url)
            for stranger in [*outside, *strangers]:
                yield Rejected(
                    None, printable(stranger), "fetch", "is on another host than the sitemap that lists it"
                )
            for page in pages:
                yield from self._once(page, seen)

    def _once(self, url: str, seen: set[str]) -> Iterator[str | Rejected]:
        try:
            address = fetch.normalise(url)
        except SetAside as error:
            shown = printable(re.sub(r"//[^/@]*@", "//…@", url))[:300]
            yield Rejected(None, shown, "fetch", error.reason, error.detail)
            return
        if address not in seen:
            seen.add(address)
            yield address

    def have(self, url: str, *, listing: bool = False) -> Path:
        """The file of an address, fetched when it is not there yet. Raises SetAside when it cannot be had.

        listing: it is a sitemap, which has its own types and cap.
        """
        key = (str(self._store.folder.absolute()), url)
        if path := self._store.path(url):
            return path
        if refused := self._store.refusal(url) or _failing.get(key):
            raise refused
        self._lock()
        if path := self._store.path(url):  # somebody else fetched it meanwhile
            return path
        types = _SITEMAP_TYPES if listing else frozenset(self._source.content_types)
        most = sitemap.MOST_BYTES if listing else self._source.file_bytes
        try:
            return self._store.keep(self._visitor.visit(url, types, most, unnamed=listing))
        except fetch.Unreachable as error:
            _failing[key] = error
            raise
        except SetAside as error:
            self._store.refuse(url, error)
            raise

    def _lock(self) -> None:
        if not self._locked:
            self._stack.enter_context(lock(self._store.folder, "fetching"))
            self._locked = True
            remove_partial(self._store.folder)
            self._store.load()


class _Store:
    """The folder of what was fetched, and the two lists that say what is in it."""

    def __init__(self, folder: Path, source: WebSource) -> None:
        self.folder = folder
        # A refusal holds as long as the rules that led to it.
        self._rules = value_id([sorted(source.content_types), source.file_bytes, source.private_addresses])
        self.load()

    def load(self) -> None:
        """Read both lists again. A later line about an address stands for an earlier one."""
        self._files = {str(line.get("url")): line for line in _objects(self.folder / MANIFEST)}
        self._failed = {
            str(line.get("url")): SetAside(str(line.get("reason")), str(line.get("detail", "")))
            for line in _objects(self.folder / FAILED)
            if line.get("rules") == self._rules
        }

    def path(self, url: str) -> Path | None:
        """Where the page of an address lies, if it does and has the size it had."""
        record = self._files.get(url)
        if record is None:
            return None
        path = self.folder / Path(str(record.get("file"))).name
        try:
            return path if os.stat(path).st_size == record.get("bytes") else None
        except OSError:
            return None

    def refusal(self, url: str) -> SetAside | None:
        """Why an address was refused earlier, under the rules that still hold."""
        return self._failed.get(url)

    def refuse(self, url: str, error: SetAside) -> None:
        """Write down that an address is not to be had."""
        record = {"url": url, "reason": error.reason, "detail": error.detail, "rules": self._rules}
        append_jsonl(self.folder / FAILED, record | {"when": _now()})
        self._failed[url] = error

    def keep(self, page: Page) -> Path:
        """Write a page whole, and only then its line."""
        path = self.folder / _name(page)
        write_bytes(path, page.body)
        record: dict[str, Any] = {
            "url": page.url,
            "file": path.name,
            "sha256": hashlib.sha256(page.body).hexdigest(),
            "bytes": len(page.body),
            "content_type": page.head.content_type,
            "charset": page.head.charset,
            "etag": page.head.etag,
            "modified": page.head.modified,
            "fetched": _now(),
        }
        if page.head.url != page.url:
            record["from"] = page.head.url
        append_jsonl(self.folder / MANIFEST, record)
        self._files[page.url] = record
        return path


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    return (line for line in read_jsonl(path) if isinstance(line, dict))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _aside(url: str, error: SetAside) -> Rejected:
    return Rejected(None, url, "fetch", error.reason, printable(error.detail))


def _same_host(urls: tuple[str, ...], listed_in: str) -> tuple[list[str], list[str]]:
    """What a sitemap may list, and what it may not: the pages of its own host (sitemaps.org, `location`)."""
    host, inside, outside = fetch.host_of(listed_in), [], []
    for url in urls:
        try:
            ours = fetch.host_of(fetch.normalise(url)) == host
        except SetAside:
            ours = True  # reported as what it is where it is asked for
        (inside if ours else outside).append(url)
    return inside, outside


def _name(page: Page) -> str:
    """A file name a person recognises, that is unique, and whose ending says the format."""
    parts = urlsplit(page.url)
    words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{parts.hostname}-{unquote(parts.path)}").strip("-.")[:80]
    own = os.path.splitext(parts.path)[1].lower()
    stem = words[: -len(own)] if own and words.lower().endswith(own) else words
    return f"{stem.rstrip('-.')}-{content_id(page.url)[:16]}{_ending(page.head.content_type, own)}"


def _ending(content_type: str, own: str) -> str:
    if content_type in _BROAD and own in _KEPT:
        return own
    if content_type in ("application/octet-stream", "") and own in _BINARY_KEPT:
        return own
    return _ENDINGS.get(content_type) or _TYPES.guess_extension(content_type, strict=True) or ".bin"
