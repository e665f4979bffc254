"""What of a store is chosen, and what it gives back: filters, files, and places of its chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textmill.retrieval.chunks import page_of


@dataclass(frozen=True)
class Place:
    """A stretch of a document of the store.

    text      as it was collected, [start, end) characters of the document
    pages     the character each page of the document begins at
    """

    chunk: int
    document: str  # the id of its content
    path: str
    source: str
    title: str
    start: int
    end: int
    text: str
    language: str
    date: str
    hash: str  # of the file, as it was read
    pages: tuple[int, ...] = ()

    @property
    def page(self) -> int | None:
        """The page it begins on, from 1."""
        return page_of(self.start, self.pages)

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        plain = {name: value for name, value in self.__dict__.items() if name not in ("pages", "hash")}
        return {**plain, "page": self.page, "last_page": page_of(max(self.end - 1, self.start), self.pages)}


@dataclass(frozen=True)
class Stored:
    """A file of the store, and what it holds."""

    path: str
    hash: str
    added: str
    documents: int
    chunks: int
    characters: int
    skipped: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**self.__dict__, "skipped": list(self.skipped)}


@dataclass(frozen=True)
class Filter:
    """What is searched: of the documents those that fit all that is given.

    folder    their path is this file, or lies in this folder
    language  its code, ISO 639: zh, en; `und` where nothing said so
    since, until  their date, ISO 8601, both included
    metadata  facts with just these values
    """

    folder: str | None = None
    language: str | None = None
    since: str | None = None
    until: str | None = None
    metadata: Mapping[str, str] | None = None

    def where(self) -> tuple[str, list[Any]]:
        """An SQL condition over `documents d` and `files f`, and its parameters."""
        said: list[str] = ["1"]
        given: list[Any] = []
        if self.folder is not None:
            folder = self.folder.rstrip("/")
            said.append("(f.path = ? OR substr(f.path, 1, ?) = ?)")
            given += [folder, len(folder) + 1, f"{folder}/"]
        if self.language is not None:
            said.append("d.language = ?")
            given.append(self.language)
        if self.since is not None:
            said.append("d.date >= ?")
            given.append(self.since)
        if self.until is not None:  # a day holds all of its hours
            said.append("d.date <> '' AND substr(d.date, 1, ?) <= ?")
            given += [len(self.until), self.until]
        for key, value in (self.metadata or {}).items():
            said.append("EXISTS (SELECT 1 FROM json_each(d.metadata) m WHERE m.key = ? AND m.value = ?)")
            given += [key, value]
        return " AND ".join(said), given
