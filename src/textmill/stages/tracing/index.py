"""`textmill index`: what a corpus says, how often and where; made once, found again by everything that asks it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import locks
from textmill.base.errors import BusyError, RecipeError, TextmillError
from textmill.data.examples import ExampleStore
from textmill.index import build as building
from textmill.index.search import Index
from textmill.index.strings import Occurrence, Strings
from textmill.stages.preparation import starting
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run_data import PARTS, RunData
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import Document
from textmill.tokenization.characters import without_surrogates
from textmill.tokenization.protocol import AnyTokenizer

_MEMORY = 6  # bytes of memory that sorting takes for each byte of tokens in a shard


@dataclass(frozen=True)
class Opened:
    """An index, the tokenizer its ids are of, its artifact, and the texts it was made of, in their order."""

    index: Index
    tokenizer: AnyTokenizer
    artifact: Artifact
    texts: Callable[[], Iterator[tuple[Document, str]]]

    @functools.cached_property
    def strings(self) -> Strings:
        """Its strings, by the bytes of its tokens. Where the tokenizer is not lossless these are not the texts'."""
        names = [self.tokenizer.token_bytes(token) for token in range(self.index.vocabulary)]
        return Strings(self.index, names)


def index(data: RunData, workspace: Workspace, *, part: str = "train", memory: int | None = None) -> Artifact:
    """The index of one part of a prepared corpus: found, or built from its tokens.

    Of records all texts are indexed that are read or written: source and target, text and question.

    memory: bytes that sorting may take, which decides how many shards there are, and nothing else.
    Raises RecipeError for an unknown part, TextmillError when the part is empty.
    """
    if part not in PARTS:
        raise RecipeError(
            f"{part!r} is not a split of a corpus", where="--split", advice=f"one of {', '.join(PARTS)}"
        )
    home = workspace.root / "index"
    finished = home / ".shards"
    shard_bytes = building.SHARD_BYTES if memory is None else max(1, memory // _MEMORY)

    def make(directory: Path) -> None:
        store = data.store(part)
        records = isinstance(store, ExampleStore)
        texts = store.ended_texts(data.tokenizer.end) if records else store
        each = len(store.text_fields) if records else 1
        with locks.lock(finished, "textmill index"):
            building.build(
                directory,
                texts,
                (document.source for document in data.documents(part) for _ in range(each)),
                finished=finished,
                known=[path for path in home.glob("[!.]*") if path.is_dir()],
                shard_bytes=shard_bytes,
                tell=lambda done, total: workspace.reporter.progress("indexing", done, total, "tokens"),
            )

    artifact = workspace.artifact(
        "index",
        version=1,
        spec={"part": part},
        parents=(data.prepared.tokens,),
        make=make,
        name=data.recipe.name,
    )
    with contextlib.suppress(BusyError), locks.lock(finished, "textmill index"):
        building.forget(artifact.path, finished)
    return artifact


def data_of(workspace: Workspace, target: str) -> RunData:
    """What a recipe is prepared to, or what a run was trained on.

    A run's artifacts are found through its lineage, so its sources need not be there any more. Raises
    TextmillError when there is no such run or recipe.
    """
    if target.endswith(".toml"):
        if not Path(target).is_file():
            raise RecipeError("no such recipe", where=target)
        return prepare(starting.load_recipe(Path(target), (), workspace), workspace)
    return trained_on(locate_run(workspace, target), workspace)


def open_index(workspace: Workspace, target: str, part: str = "train") -> Opened:
    """The index of what a run was trained on, or of a recipe's corpus, built first where it is missing."""
    return opened(data_of(workspace, target), workspace, part)


def opened(data: RunData, workspace: Workspace, part: str = "train") -> Opened:
    """The same of a run's data that is open already."""
    artifact = index(data, workspace, part=part)
    roles = None  # of plain text there is one text a document
    if isinstance(store := data.store(part), ExampleStore):
        roles = store.text_fields

    def texts() -> Iterator[tuple[Document, str]]:
        for document in data.documents(part):
            if roles is None:
                yield document, document.text
            else:
                yield from ((document, document.texts[role]) for role in roles if role in document.texts)

    return Opened(Index(artifact.path), data.tokenizer, artifact, texts)


def build(
    workspace: Workspace, target: str, *, part: str = "train", memory: int | None = None
) -> dict[str, Any]:
    """Build an index, and say what it holds."""
    artifact = index(data_of(workspace, target), workspace, part=part, memory=memory)
    built = Index(artifact.path)
    size = sum(path.stat().st_size for path in artifact.path.rglob("*") if path.is_file())
    return {
        "index": str(artifact.path),
        "id": artifact.id,
        "split": part,
        "documents": built.documents,
        "tokens": built.tokens,
        "vocabulary": built.vocabulary,
        "shards": len(built.shards),
        "bytes": size,
    }


def count(workspace: Workspace, target: str, texts: Sequence[str], *, part: str = "train") -> dict[str, Any]:
    """In how many places of the documents each text stands, wherever tokens are cut; places that overlap are counted
    each, and none reaches from one document into the next.

    Raises TextmillError for an empty text.
    """
    opened = open_index(workspace, target, part)
    wanted = [_some(text) for text in texts]
    if opened.tokenizer.lossless:
        counts = [opened.strings.count(text) for text in wanted]
    else:
        counts = [0] * len(wanted)
        for _, held in opened.texts():
            counts = [number + _times(held, text) for number, text in zip(counts, wanted, strict=True)]
    rows = [{"text": text, "count": number} for text, number in zip(texts, counts, strict=True)]
    return {"index": str(opened.artifact.path), "split": part, "tokens": opened.index.tokens, "counts": rows}


def search(
    workspace: Workspace, target: str, text: str, *, part: str = "train", limit: int = 5, context: int = 16
) -> dict[str, Any]:
    """Where a text stands: the first `limit` places, with `context` tokens on either side, and their documents."""
    opened = open_index(workspace, target, part)
    text = _some(text)
    if opened.tokenizer.lossless:
        occurrences, documents = opened.strings.find(text, limit)
        total = opened.strings.count(text)
        places = [_row(opened, text, occurrence, context) for occurrence in occurrences]
    else:
        total, documents, places = _in_texts(opened, text, limit, context)
    return {
        "index": str(opened.artifact.path),
        "split": part,
        "text": text,
        "count": total,
        "documents": documents,
        "places": places,
    }


def _some(text: str) -> str:
    text = without_surrogates(text)
    if not text:
        raise TextmillError("an empty text cannot be searched for", where="TEXT")
    return text


def _row(opened: Opened, text: str, occurrence: Occurrence, context: int) -> dict[str, Any]:
    """One place: the text as it was searched for, and what stands around it, without halves of characters."""
    index, names = opened.index, opened.tokenizer.token_bytes
    shard = index.shards[occurrence.shard]
    owner = int(shard.documents_at(np.array([occurrence.at]))[0])
    first, last = int(shard.offsets[owner]), int(shard.offsets[owner + 1])
    start, stop = max(first, occurrence.at - context), min(last, occurrence.end + context)
    data = b"".join(names(int(token)) for token in shard.ids[start:stop])
    begin = occurrence.skip + sum(len(names(int(token))) for token in shard.ids[start : occurrence.at])
    end = begin + len(text.encode("utf-8"))
    return {
        "document": shard.document_ids[owner].tobytes().hex(),
        "source": shard.source(owner),
        "token": occurrence.at - first,
        "before": data[:begin].decode("utf-8", "ignore"),
        "text": data[begin:end].decode("utf-8"),
        "after": data[end:].decode("utf-8", "ignore"),
    }


# --- tokens that do not give the text back ------------------------------------------------------------------------
_LETTERS = 4  # of a token, about: as much is shown around a place


def _times(held: str, text: str) -> int:
    number, at = 0, held.find(text)
    while at >= 0:
        number, at = number + 1, held.find(text, at + 1)
    return number


def _in_texts(opened: Opened, text: str, limit: int, context: int) -> tuple[int, int, list[dict[str, Any]]]:
    """(places, documents, the first places) of a text, looked for in the texts themselves."""
    total, documents, places, reach = 0, 0, [], context * _LETTERS
    for document, held in opened.texts():
        total += (times := _times(held, text))
        documents += times > 0
        at = held.find(text)
        while at >= 0 and len(places) < limit:
            end = at + len(text)
            places.append(
                {
                    "document": document.id,
                    "source": document.source,
                    "token": len(opened.tokenizer.encode(held[:at])),
                    "before": held[max(0, at - reach) : at],
                    "text": text,
                    "after": held[end : end + reach],
                }
            )
            at = held.find(text, at + 1)
    return total, documents, places
