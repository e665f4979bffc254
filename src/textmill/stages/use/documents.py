"""A person's own documents: read into a store, searched, asked; `textmill docs` and `textmill.Documents`."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from textmill.base.console import tracked
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import make_directory, sha256_file
from textmill.retrieval import answers
from textmill.retrieval.answers import Answered
from textmill.retrieval.chunks import SIZE
from textmill.retrieval.evidence import USUAL, Evidence
from textmill.retrieval.places import Filter, Place, Stored
from textmill.retrieval.reading import Reader, Sentences, Spans
from textmill.retrieval.search import Found, Hit, How, Search
from textmill.retrieval.store import Store
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.stages.use import citing
from textmill.stages.use.citing import source_of
from textmill.tasks.table import task_of
from textmill.tasks.task import Options
from textmill.text.cleaning import language
from textmill.text.document import Document, Item, Rejected
from textmill.text.sources import table

if TYPE_CHECKING:
    from textmill.stages.use.chat import Message
    from textmill.stages.use.model import LanguageModel

_READ = 20  # chunks that are read for an answer, or put in a new order
_ANYTHING = -1e9  # log odds below which no stretch is
_BATCH = 256  # documents whose language is found together
_WRITTEN_WITH = ("-wal", "-shm", "-journal")  # what SQLite keeps beside its file
_WEIGHTS = (".safetensors", ".gguf", ".json", ".model", ".txt")  # what decides the vectors of a directory


@dataclass
class Added:
    """What came of adding: files that are new, changed or as they were; what could not be read; files of the store that
    are no longer where they were."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    documents: int = 0
    chunks: int = 0
    vectors: int = 0

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return dict(self.__dict__)


class Embedder:
    """A model as what makes vectors for a search."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.id = content(model.path)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D) vectors of length 1."""
        return self._model.embed(texts, normalise=True).vectors

    def unknown(self, text: str) -> float:
        """The share of a text's tokens that the model has none for: no other special token is ever read in a text."""
        tokenizer = self._model.tokenizer
        ids = tokenizer.encode(text)
        return float(np.isin(ids, list(tokenizer.special.values())).mean()) if len(ids) else 0.0


def content(path: Path) -> str:
    """32 hex digits: a hash of the files of a model that decide what it says."""
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.suffix in _WEIGHTS)
    digest = hashlib.sha256()
    for item in files:
        digest.update(f"{item.name}\0{sha256_file(item)}\0".encode())
    return digest.hexdigest()[:32]


class Documents:
    """A store of documents, opened; to be closed, or used in a `with`.

    Nothing of it leaves the machine, and the files that are added are only read. Removing one overwrites all that the
    store held of it.
    """

    def __init__(
        self, store: str | Path, *, embedder: LanguageModel | None = None, create: bool = False
    ) -> None:
        """store: its file. embedder: a model whose vectors search by meaning.

        Raises RecipeError where there is no store and none is to be made, DamagedError where it is not whole.
        """
        path = Path(store).expanduser().absolute()
        if create:
            make_directory(path.parent)
        self._store = Store(path, create=create)
        self._search = Search(self._store, None if embedder is None else Embedder(embedder))

    def __enter__(self) -> Documents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The store's file may be moved from here on."""
        self._store.close()

    # --- Putting in, taking out -----------------------------------------------------------------------------------
    def add(self, *paths: str | Path, limits: LimitSpec | None = None, size: int = SIZE) -> Added:
        """Read files, folders and globs into the store: those that are new or have changed since.

        Files are taken one by one, so that whoever stops the work may go on with it. What cannot be read is named.
        size: of a chunk, in characters, where a hanzi counts as three. Raises RecipeError for a path that matches
        nothing.
        """
        limits, added = limits or LimitSpec(), Added()
        source = source_of(*(str(Path(path).expanduser().absolute()) for path in paths))
        found: list[tuple[Path, str]] = []
        for item in table.files(source, Path("/")):
            if isinstance(item, Rejected):
                added.skipped.append(str(item))
            elif not self._is_own(item[0]):
                found.append(item)
        for path, location in tracked(found, "reading", len(found), "files"):
            self._add_file(source, path, location, limits, size, added)
        roots = [str(Path(path).expanduser().absolute()) for path in paths]
        added.gone = [
            stored.path
            for root in roots
            for stored in self._store.files(Filter(folder=root))
            if not os.path.lexists(stored.path)
        ]
        added.vectors = self._embed()
        if added.changed:
            self._store.compact_if_free()
        return added

    def _is_own(self, path: Path) -> bool:
        """Whether a file is the store itself, or part of it."""
        own = str(self._store.path)
        return str(path) in (own, *(own + ending for ending in _WRITTEN_WITH))

    def _add_file(
        self, source: FilesSource, path: Path, location: str, limits: LimitSpec, size: int, added: Added
    ) -> None:
        known, hashed = self._store.known(location), table.content_of(path)
        hashed = f"{hashed} {size}"
        if known == hashed:
            added.unchanged += 1
            return
        skipped: list[str] = []
        documents = 0

        def kept() -> Iterator[Document]:
            nonlocal documents
            for item in _with_language(table.documents(source, path, location, limits)):
                if isinstance(item, Rejected):
                    skipped.append(str(item))
                else:
                    documents += 1
                    yield item

        date = ""
        if path.is_file():
            changed = datetime.datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            date = changed.isoformat(timespec="seconds")
        added.chunks += self._store.add(location, hashed, kept(), lambda: skipped, size=size, date=date)
        added.documents += documents
        added.skipped += skipped
        (added.new if known is None else added.changed).append(location)

    def _embed(self) -> int:
        """Vectors for all documents that have none of this model; how many documents that were."""
        encoder = self._search.encoder
        if encoder is None:
            return 0
        waiting = self._store.without_vectors(encoder.id)
        count = 0
        for document, texts in tracked(waiting, "embedding", None, "documents"):
            self._store.set_vectors(encoder.id, document, encoder.embed(texts))
            count += 1
        return count

    def files(self, chosen: Filter | None = None) -> list[Stored]:
        """The files of the store whose documents fit."""
        return self._store.files(chosen)

    def show(self, path: str | Path) -> tuple[Stored, list[Place]]:
        """A file of the store and its chunks. Raises RecipeError where there is none of that path."""
        [location] = self._located([path], below=False)
        stored = next(
            stored for stored in self._store.files(Filter(folder=location)) if stored.path == location
        )
        return stored, self._store.chunks_of(location)

    def remove(self, *paths: str | Path, gone: bool = False) -> list[str]:
        """Remove files, or all files of folders, and overwrite what was known of them; the paths that were removed.

        gone: also those of the store that are no longer on the disk. The files themselves are not touched. Raises
        RecipeError for a path the store does not know, BusyError where a reader still holds what was removed.
        """
        chosen = self._located(paths, below=True)
        if gone:
            chosen += [stored.path for stored in self._store.files() if not os.path.lexists(stored.path)]
        chosen = list(dict.fromkeys(chosen))
        self._store.remove(chosen)
        return chosen

    def _located(self, paths: Sequence[str | Path], *, below: bool) -> list[str]:
        """The paths of the store that are meant: files, and `below` all those in a folder."""
        known = [stored.path for stored in self._store.files()]
        found: list[str] = []
        for path in paths:
            whole = str(Path(path).expanduser().absolute())
            some = [
                one for one in known if one == whole or (below and one.startswith(whole.rstrip("/") + "/"))
            ]
            if not some:
                some = [one for one in known if one.endswith(f"/{path}")]
            if not some or (not below and len(some) > 1):
                what = "is not in the store" if not some else f"stands for {len(some)} files of the store"
                raise RecipeError(what, where=path, advice="`textmill docs list` shows what is")
            found += some
        return found

    def compact(self) -> None:
        """Overwrite what was removed while somebody read. Raises BusyError where somebody still does."""
        self._store.compact()

    def check(self) -> list[str]:
        """What is wrong with the store, a line each."""
        return self._store.check()

    # --- Finding --------------------------------------------------------------------------------------------------
    def search(
        self,
        query: str,
        most: int = 10,
        *,
        how: How | None = None,
        chosen: Filter | None = None,
        model: LanguageModel | None = None,
    ) -> Found:
        """What stands in the documents about something: by words, by meaning, or by all that is known (the default).

        model: one of the task `answer`, by whose odds the best 20 are put in a new order. Raises RecipeError for a
        search by meaning without a model that embeds, TextmillError for another model.
        """
        if chosen is not None and chosen.folder is not None:
            folder = str(Path(chosen.folder).expanduser().absolute())
            chosen = replace(chosen, folder=folder)
        found = self._search.find(query, max(most, _READ if model else 0), how=how, chosen=chosen)
        if model is None:
            return found
        reader = self.reader(model)
        first = answers.read(reader, query, found.hits[:_READ], self.evidence(reader))
        hits = [replace(hit, score=p) for hit, _, p in first] + list(found.hits[_READ:])
        return replace(found, hits=tuple(hits[:most]))

    def ask(
        self,
        question: str,
        model: LanguageModel | None = None,
        *,
        most: int = _READ,
        least: float | None = None,
        chosen: Filter | None = None,
        how: How | None = None,
    ) -> Answered:
        """The answer to a question, with file, place and page of what it rests on; or that the documents do not say.

        model: of the task `answer`, whose answer is a stretch of a document; or one that chats, whose sentences are
        held against the documents; left out, the answer is the sentence that fits best. most: chunks it reads. least:
        probability under which a stretch is no answer; left out, as `docs evaluate --fit` found it, or the usual one.

        Raises DamagedError where a file that is cited is no longer what was read, or does not hold what is cited;
        TextmillError for another model.
        """
        found = self.search(question, most, how=how, chosen=chosen)
        if not found.hits:
            return Answered(None, why=found.why)
        if model is None or task_of(model.pretrained).name == "answer":
            reader = self.reader(model)
            answer = answers.extracted(reader, question, found.hits, self.evidence(reader), least=least)
        else:
            answer = self._written(question, model, found.hits)
        citing.check(answer)
        return answer

    def _written(self, question: str, model: LanguageModel, hits: Sequence[Hit]) -> Answered:
        """What a chat model writes: as many chunks as it reads, with half of its context left for the answer."""

        def write(messages: list[dict[str, str]]) -> str:
            return model.chat(cast("Sequence[Message]", messages)).text

        return answers.written(write, question, _that_fit(model, question, hits), self._search.encoder)

    def reader(self, model: LanguageModel | None) -> Reader:
        """What finds the stretches of chunks: a model of the task `answer`, or without one their best sentences."""
        if model is None:
            return Sentences()
        predictor = model.predictor(Options(threshold=_ANYTHING))
        if predictor.task.name != "answer":
            raise TextmillError(
                f"is of the task {predictor.task.name}",
                where=model.path,
                advice="it takes one of the task answer",
            )
        return Spans(predictor, content(model.path))

    def evidence(self, reader: Reader) -> Evidence:
        """How a reader's stretches are weighed: as was fitted to this store, or as usual."""
        kept = self._store.setting(self._fitted_to(reader))
        if kept is not None:
            return Evidence(**json.loads(kept))
        return USUAL["sentences" if reader.id == Sentences.id else "span"]

    def keep_evidence(self, reader: Reader, evidence: Evidence) -> None:
        """From now on a reader's stretches are weighed so, in this store."""
        self._store.set_setting(self._fitted_to(reader), json.dumps(evidence.plain()))

    def _fitted_to(self, reader: Reader) -> str:
        encoder = self._search.encoder
        return f"evidence {reader.id} {encoder.id if encoder else '-'}"


def _that_fit(model: LanguageModel, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
    """As many of the chunks as the model reads, with half of its context left for the answer; one at least."""
    room = model.spec.context // 2
    for count in range(len(hits), 1, -1):
        said = "".join(message["content"] for message in answers.prompt(question, hits[:count]))
        if len(model.tokenizer.encode(said)) <= room:
            return hits[:count]
    return hits[:1]


def _with_language(items: Iterator[Item]) -> Iterator[Item]:
    """Items, each document with its language where nothing said it."""
    while batch := list(islice(items, _BATCH)):
        unknown = [item for item in batch if isinstance(item, Document) and "language" not in item.metadata]
        try:
            guesses = iter(language.identify([document.whole for document in unknown]))
        except ImportError:  # without py3langid
            guesses = iter([language.Guess(language.UNDETERMINED, 0.0)] * len(unknown))
        for item in batch:
            if isinstance(item, Document) and "language" not in item.metadata:
                code = next(guesses).language
                yield replace(item, metadata={**item.metadata, "language": code})
            else:
                yield item
