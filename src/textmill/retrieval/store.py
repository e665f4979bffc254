"""A person's documents in one SQLite file: chunks with their places, an index of their words, and their vectors.

    files       what was read: its path, and the hash of its bytes, so that reading it again does nothing
    documents   what a file held: id, source (with the member or row inside the file), facts
    chunks      stretches of a document, in the order of the file
    words       an FTS5 index over the words of chunks
    vectors     a BLOB for each document and model: (chunks, D) float32

A file is added, replaced or removed in one transaction; so whatever ends the process, no part of a file is ever there.
Readers see what was committed when they began, also while somebody writes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from textmill.base.errors import BusyError, RecipeError
from textmill.retrieval import database, terms
from textmill.retrieval.chunks import SIZE, chunks
from textmill.retrieval.places import Filter, Place, Stored
from textmill.text.document import Document

if TYPE_CHECKING:
    import apsw

_VERSION = 1
_CHUNKS = "chunks c JOIN documents d ON d.id = c.document JOIN files f ON f.id = d.file"
_WALKED = 40_000  # places of words in chunks that one query walks through at most: some 50 ms
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, added TEXT NOT NULL, skipped TEXT NOT NULL);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE, content TEXT NOT NULL,
    source TEXT NOT NULL, title TEXT NOT NULL, language TEXT NOT NULL, date TEXT NOT NULL, characters INTEGER NOT NULL,
    pages TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE INDEX documents_of_file ON documents (file);
CREATE INDEX documents_by_content ON documents (content);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document);
CREATE TABLE vectors (
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE, model TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (document, model)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (terms, content = '', tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
"""


class Store:
    """The file, opened; to be closed, or used in a `with`."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises RecipeError where it is not there or is no store, DamagedError where it cannot be read."""
        self.path = Path(path)
        self._database = database.connect(self.path, create=create)
        try:
            with database.errors(self.path):
                self._begin(create)
                self._database.execute(
                    "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab (main, words, row)"
                )
        except BaseException:
            self._database.close()
            raise

    def _begin(self, create: bool) -> None:
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master")}
        if not tables and create:
            with self._writing():
                if not {name for (name,) in self._rows("SELECT name FROM sqlite_master")}:
                    self._database.execute(_SCHEMA)
                    about = {"textmill": str(_VERSION), "terms": str(terms.VERSION)}
                    self._database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
            return
        if "about" not in tables or "chunks" not in tables:
            raise RecipeError("is not a store of documents", where=self.path)
        about = dict(self._rows("SELECT key, value FROM about"))
        if about.get("textmill") != str(_VERSION) or about.get("terms") != str(terms.VERSION):
            raise RecipeError(
                "was made by another version of Textmill",
                where=self.path,
                advice="add the documents to a new store",
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left to be written; another `Store` may open the file."""
        self._database.close()

    # --- Writing --------------------------------------------------------------------------------------------------
    def add(
        self,
        path: str,
        hash: str,
        documents: Iterable[Document],
        skipped: Callable[[], Sequence[str]] = tuple,
        *,
        size: int = SIZE,
        date: str = "",
    ) -> int:
        """Put a file and what it holds in place of what was known of that path; how many chunks there are now.

        hash: of its bytes. skipped: what of the file could not be read, once its documents have been. date: of
        documents that have none of their own. One transaction: it is there whole, or as before.
        """
        count = 0
        with database.errors(self.path), self._writing():
            self._remove([path])
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            file = self._insert("INSERT INTO files (path, hash, added, skipped)", path, hash, now, "")
            for document in documents:
                count += self._add(file, document, size, date)
            self._database.execute(
                "UPDATE files SET skipped = ? WHERE id = ?",
                (json.dumps(list(skipped()), ensure_ascii=False), file),
            )
        return count

    def _add(self, file: int, document: Document, size: int, date: str) -> int:
        text, facts = document.whole, dict(document.metadata)
        pages = facts.pop("pages", "")
        number = self._insert(
            "INSERT INTO documents (file, content, source, title, language, date, characters, pages, metadata)",
            file,
            document.id,
            document.source,
            facts.get("title", ""),
            facts.get("language", "und"),
            facts.get("date") or date,
            len(text),
            pages,
            json.dumps(facts, ensure_ascii=False),
        )
        cut = chunks(text, size)
        for chunk in cut:
            said = text[chunk.start : chunk.end]
            place = self._insert(
                'INSERT INTO chunks (document, start, "end", text)', number, chunk.start, chunk.end, said
            )
            self._database.execute("INSERT INTO words (rowid, terms) VALUES (?, ?)", (place, _terms(said)))
        return len(cut)

    def remove(self, paths: Sequence[str]) -> int:
        """Remove files and all that is known of them, to the last byte of the disk; how many there were.

        Raises BusyError where a reader still holds pages of before: they are overwritten when it has gone and `compact`
        is called.
        """
        with database.errors(self.path):
            with self._writing():
                count = self._remove(paths)
                if count:
                    self._database.execute("INSERT INTO words (words) VALUES ('optimize')")
            if count:
                self.compact()
        return count

    def _remove(self, paths: Sequence[str]) -> int:
        count = 0
        for path in paths:
            for place, text in self._rows(
                f"SELECT c.id, c.text FROM {_CHUNKS} WHERE f.path = ?",
                path,
            ):
                self._database.execute(
                    "INSERT INTO words (words, rowid, terms) VALUES ('delete', ?, ?)", (place, _terms(text))
                )
            self._database.execute("DELETE FROM files WHERE path = ?", (path,))
            count += self._database.changes()
        return count

    def compact(self) -> None:
        """Write all there is into the one file, and cut the journal beside it to nothing. Raises BusyError as
        `remove`."""
        with database.errors(self.path):
            busy, *_ = self._database.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()[0]
        if busy:
            raise BusyError(
                "is being read by another process, so what was removed still stands in the journal",
                where=self.path,
                advice="`textmill docs compact` overwrites it when that process has ended",
            )

    def compact_if_free(self) -> None:
        """The same, where nobody reads: of a file that was replaced the old text goes with the next occasion else."""
        with contextlib.suppress(BusyError):
            self.compact()

    def set_vectors(self, model: str, document: int, vectors: NDArray[np.float32]) -> None:
        """The vectors (chunks, D) of a document by a model, in the order of its chunks; nothing happens where the
        document has been removed meanwhile."""
        with database.errors(self.path), self._writing():
            held = self._rows("SELECT count(*) FROM chunks WHERE document = ?", document)[0][0]
            if held == len(vectors) > 0:
                data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
                self._database.execute(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", (document, model, data)
                )

    # --- Reading --------------------------------------------------------------------------------------------------
    def known(self, path: str) -> str | None:
        """The hash of the bytes that were read of a path, or None."""
        found = self._rows("SELECT hash FROM files WHERE path = ?", path)
        return found[0][0] if found else None

    def files(self, chosen: Filter | None = None) -> list[Stored]:
        """The files whose documents fit, by their paths."""
        where, given = (chosen or Filter()).where()
        return [
            Stored(path, hash, added, documents, count, characters or 0, tuple(json.loads(skipped)))
            for path, hash, added, skipped, documents, count, characters in self._rows(
                "SELECT f.path, f.hash, f.added, f.skipped, count(d.id), "
                "coalesce(sum((SELECT count(*) FROM chunks c WHERE c.document = d.id)), 0), sum(d.characters) "
                f"FROM files f LEFT JOIN documents d ON d.file = f.id WHERE {where} GROUP BY f.id ORDER BY f.path",
                *given,
            )
        ]

    def chunks_of(self, path: str) -> list[Place]:
        """All of a file, in its order."""
        return self.places(
            [
                row[0]
                for row in self._rows(
                    f"SELECT c.id FROM {_CHUNKS} WHERE f.path = ? ORDER BY c.id",
                    path,
                )
            ]
        )

    def places(self, numbers: Sequence[int]) -> list[Place]:
        """The chunks of these numbers, in this order; those that were removed meanwhile are left out."""
        found = {}
        for start in range(0, len(numbers), 500):
            some = list(map(int, numbers[start : start + 500]))
            for row in self._rows(
                'SELECT c.id, d.content, f.path, d.source, d.title, c.start, c."end", c.text, '
                f"d.language, d.date, f.hash, d.pages FROM {_CHUNKS} "
                f"WHERE c.id IN ({', '.join('?' * len(some))})",
                *some,
            ):
                *facts, pages = row
                found[row[0]] = Place(*facts, pages=tuple(map(int, pages.split())))
        return [found[number] for number in map(int, numbers) if number in found]

    def matching(self, query: str, most: int, chosen: Filter | None = None) -> list[tuple[int, float]]:
        """(chunk, BM25) of those that share a word with a query, the best first (FTS5: k1 = 1.2, b = 0.75).

        Where a store is so large that a query would walk through more than _WALKED places, its commonest words are left
        out, which say least.
        """
        asked = self._affordable(terms.wanted(terms.readable(query)))
        if not asked:
            return []
        wanted = terms.any_of(asked)
        if chosen is None or chosen == Filter():
            sql, given = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", [wanted]
        else:
            where, given = chosen.where()
            sql = (
                f"SELECT w.rowid, -w.rank FROM {_CHUNKS} JOIN words w ON w.rowid = c.id "
                f"WHERE w.words MATCH ? AND {where} ORDER BY w.rank LIMIT ?"
            )
            given = [wanted, *given]
        return self._rows(sql, *given, most)

    def _affordable(self, asked: list[str]) -> list[str]:
        """Of these terms the rarest, as many as a query may walk through; at least one."""
        counted: dict[str, int] = {}
        for word in {part for term in asked for part in term.split()}:
            found = self._rows("SELECT doc FROM temp.vocabulary WHERE term = ?", terms.folded(word))
            counted[word] = found[0][0] if found else 0
        cost = {term: min(counted[part] for part in term.split()) for term in asked}
        left = _WALKED
        kept = []
        for term in sorted(asked, key=cost.__getitem__):
            left -= cost[term]
            if left < 0 and kept:
                break
            kept.append(term)
        return kept

    def numbers(self, chosen: Filter) -> NDArray[np.int64]:
        """The chunks of the documents that fit, rising."""
        where, given = chosen.where()
        found = self._rows(
            f"SELECT c.id FROM {_CHUNKS} WHERE {where} ORDER BY c.id",
            *given,
        )
        return np.array([number for (number,) in found], dtype=np.int64)

    def without_vectors(self, model: str) -> Iterator[tuple[int, list[str]]]:
        """(document, texts of its chunks) of all that have no vectors of this model."""
        waiting = [
            row[0]
            for row in self._rows(
                "SELECT d.id FROM documents d WHERE EXISTS (SELECT 1 FROM chunks c WHERE c.document = d.id) "
                "AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.document = d.id AND v.model = ?) ORDER BY d.id",
                model,
            )
        ]
        for number in waiting:
            yield (
                number,
                [
                    text
                    for (text,) in self._rows(
                        "SELECT text FROM chunks WHERE document = ? ORDER BY id", number
                    )
                ],
            )

    def vectors(self, model: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(n,) chunks and (n, D) their vectors by a model, in the order of the chunks."""
        chunk_of: dict[int, list[int]] = {}
        numbers: list[int] = []
        data = bytearray()  # grows by each document's, so that they are in memory once
        with database.errors(self.path), self._database:  # both are of one moment, also where others write
            for document, chunk in self._rows("SELECT document, id FROM chunks ORDER BY id"):
                chunk_of.setdefault(document, []).append(chunk)
            for document, vectors in self._database.execute(
                "SELECT document, data FROM vectors WHERE model = ? ORDER BY document", (model,)
            ):
                numbers += chunk_of.get(document, [])
                data += vectors
        if not numbers:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        found = np.frombuffer(data, dtype="<f4").reshape(len(numbers), -1)
        return np.array(numbers, dtype=np.int64), found.astype(np.float32, copy=False)

    def models(self) -> dict[str, int]:
        """How many documents have vectors of each model."""
        return dict(self._rows("SELECT model, count(*) FROM vectors GROUP BY model ORDER BY model"))

    def setting(self, key: str) -> str | None:
        """What was kept under a name."""
        found = self._rows("SELECT value FROM about WHERE key = ?", key)
        return found[0][0] if found else None

    def set_setting(self, key: str, value: str) -> None:
        """Keep a few words under a name, in place of what was."""
        with database.errors(self.path), self._writing():
            self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    @property
    def version(self) -> tuple[int, int]:
        """What changes when anybody has written: another process, or this one."""
        return self._rows("PRAGMA data_version")[0][0], self._database.total_changes()

    def check(self) -> list[str]:
        """What is wrong with the file, a line each; nothing where it is whole."""
        with database.errors(self.path):
            found = [line for (line,) in self._rows("PRAGMA integrity_check") if line != "ok"]
            found += [
                f"{table}: row {row} has no parent"
                for table, row, *_ in self._rows("PRAGMA foreign_key_check")
            ]
            held, indexed = (
                self._rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("chunks", "words_docsize")
            )
            if held != indexed:
                found.append(f"{held} chunks, and the index of words knows {indexed}")
        return found

    # --- SQLite ---------------------------------------------------------------------------------------------------
    def _rows(self, sql: str, *given: Any) -> list[Any]:
        with database.errors(self.path):
            return self._database.execute(sql, given).fetchall()

    def _insert(self, into: str, *values: Any) -> int:
        self._database.execute(f"{into} VALUES ({', '.join('?' * len(values))})", values)
        return self._database.last_insert_rowid()

    def _writing(self) -> AbstractContextManager[Any]:
        return _Transaction(self._database)


class _Transaction:
    """All or nothing, and nobody else writes meanwhile: whoever waits does so before it begins."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if not self._connection.in_transaction:  # SQLite has rolled it back itself, as where the disk is full
            return
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _terms(text: str) -> str:
    return terms.segmented(terms.readable(text))
