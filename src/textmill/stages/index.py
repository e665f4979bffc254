"""`textmill index`: what a corpus says, how often and where; made once, found again by everything that asks it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import files, lineage, recipe
from textmill.base.errors import BusyError, DamagedError, RecipeError, TextmillError
from textmill.base.lineage import Artifact
from textmill.data.tokens import TokenStore
from textmill.index import build as building
from textmill.index.search import Index
from textmill.stages.locate import locate_run
from textmill.stages.prepare import PARTS, Prepared, prepare
from textmill.stages.workspace import Workspace
from textmill.text.corpus import Corpus
from textmill.text.tokenizer import Tokenizer

_MEMORY = 6  # bytes of memory that sorting takes for each byte of tokens in a shard


@dataclass(frozen=True)
class Opened:
    """An index, the tokenizer its ids are of, and its artifact."""

    index: Index
    tokenizer: Tokenizer
    artifact: Artifact


def index(
    prepared: Prepared, space: Workspace, *, name: str, part: str = "train", memory: int | None = None
) -> Artifact:
    """The index of one part of a prepared corpus: found, or built from its tokens.

    memory: bytes that sorting may take, which decides how many shards there are, and nothing else.
    Raises RecipeError for an unknown part, TextmillError when the part is empty.
    """
    if part not in PARTS:
        raise RecipeError(
            f"{part!r} is no part of a corpus", where="--part", advice=f"one of {', '.join(PARTS)}"
        )
    home = space.root / "index"
    finished = home / ".shards"
    shard_bytes = building.SHARD_BYTES if memory is None else max(1, memory // _MEMORY)

    def make(directory: Path) -> None:
        store = TokenStore(prepared.tokens.path / part)
        with files.lock(finished, "textmill index"):
            building.build(
                directory,
                store,
                _sources(prepared, store, part),
                finished=finished,
                known=[path for path in home.glob("[!.]*") if path.is_dir()],
                shard_bytes=shard_bytes,
                tell=lambda done, total: space.reporter.progress("indexing", done, total, "tokens"),
            )

    artifact = space.artifact(
        "index", version=1, spec={"part": part}, parents=(prepared.tokens,), make=make, name=name
    )
    with contextlib.suppress(BusyError), files.lock(finished, "textmill index"):
        building.forget(artifact.path, finished)
    return artifact


def _sources(prepared: Prepared, store: TokenStore, part: str) -> Iterator[str]:
    """Where each document of a part came from, in the order of the tokens. Raises DamagedError when they differ."""
    for number, document in enumerate(Corpus(prepared.corpus.path).documents(part)):
        if number >= len(store) or store.document_id(number) != document.id:
            raise DamagedError(
                "holds other documents than its corpus",
                where=store.directory,
                advice="prepare the data again",
            )
        yield document.source


def prepared_of(space: Workspace, target: str) -> tuple[Prepared, str]:
    """What a recipe is prepared to, or what a run was trained on; and its name.

    A run's artifacts are found through its lineage, so its sources need not be there any more. Raises
    TextmillError when there is no such run or recipe.
    """
    if target.endswith(".toml"):
        if not Path(target).is_file():
            raise RecipeError("there is no such recipe", where=target)
        asked = recipe.load(Path(target))
        return prepare(asked, space), asked.name
    run = locate_run(space, target)
    above = {
        item.kind: item
        for _, item in lineage.walk(lineage.read(run.path))
        if isinstance(item, Artifact) and item.kind in ("corpus", "tokenizer", "tokens")
    }
    if len(above) < 3:  # cleared away since: make them again
        return prepare(run.recipe(), space), run.name
    return Prepared(above["corpus"], above["tokenizer"], above["tokens"]), run.name


def open_index(space: Workspace, target: str, part: str = "train") -> Opened:
    """The index of what a run was trained on, or of a recipe's corpus, built first where it is missing."""
    prepared, name = prepared_of(space, target)
    artifact = index(prepared, space, name=name, part=part)
    return Opened(Index(artifact.path), prepared.open_tokenizer(), artifact)


def build(space: Workspace, target: str, *, part: str = "train", memory: int | None = None) -> dict[str, Any]:
    """Build an index, and say what it holds."""
    prepared, name = prepared_of(space, target)
    artifact = index(prepared, space, name=name, part=part, memory=memory)
    opened = Index(artifact.path)
    size = sum(path.stat().st_size for path in artifact.path.rglob("*") if path.is_file())
    return {
        "index": str(artifact.path),
        "id": artifact.id,
        "part": part,
        "documents": opened.documents,
        "tokens": opened.tokens,
        "vocabulary": opened.vocabulary,
        "shards": len(opened.shards),
        "bytes": size,
    }


def count(space: Workspace, target: str, texts: Sequence[str], *, part: str = "train") -> dict[str, Any]:
    """How often each text occurs."""
    opened = open_index(space, target, part)
    rows = []
    for text in texts:
        runs = ways(opened.tokenizer, text)
        rows.append(
            {
                "text": text,
                "tokens": len(runs[0]),
                "count": sum(opened.index.count(run) for run in runs),
            }
        )
    return {"index": str(opened.artifact.path), "part": part, "of": opened.index.tokens, "counts": rows}


def search(
    space: Workspace, target: str, text: str, *, part: str = "train", limit: int = 5, context: int = 16
) -> dict[str, Any]:
    """Where a text occurs: the first `limit` places, with `context` tokens on either side, and their documents."""
    opened = open_index(space, target, part)
    index, decode = opened.index, opened.tokenizer.decode
    places, total, documents = [], 0, set()
    for run in ways(opened.tokenizer, text):
        total += index.count(run)
        documents.update(index.document_numbers(run).tolist())
        for place in index.locate(run, limit):
            before, after = index.around(place, len(run), context, context)
            row = {"document": place.document, "source": place.source, "token": place.token}
            row |= {"before": decode(before), "text": decode(run), "after": decode(after)}
            places.append(((place.shard, place.at), row))
    rows = [_trimmed(row) for _, row in sorted(places, key=lambda pair: pair[0])[:limit]]
    return {
        "index": str(opened.artifact.path),
        "part": part,
        "text": text,
        "count": total,
        "documents": len(documents),
        "places": rows,
    }


def ways(tokenizer: Tokenizer, text: str) -> list[np.ndarray]:
    """The runs of tokens a text may stand as: as it is, and after a space, which many tokenizers make part of a word.

    No place is an occurrence of both. Raises TextmillError for a text without tokens.
    """
    plain = tokenizer.encode(text)
    if not len(plain):
        raise TextmillError("there is nothing to look for in an empty text", where="TEXT")
    if text[0].isspace():
        return [plain]
    spaced = tokenizer.encode(f" {text}")
    same = len(spaced) > len(plain) and np.array_equal(spaced[-len(plain) :], plain)
    return [plain] if same else [plain, spaced]


def _trimmed(row: dict[str, Any]) -> dict[str, Any]:
    """Without the halves of characters at the outer ends of a context."""
    return row | {"before": row["before"].lstrip("\ufffd"), "after": row["after"].rstrip("\ufffd")}
