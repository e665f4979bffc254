"""`textmill index`: what a corpus says, how often and where; made once, found again by everything that asks it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import locks
from textmill.base.errors import BusyError, RecipeError, TextmillError
from textmill.data.examples import ExampleStore
from textmill.index import build as building
from textmill.index.search import Index, Place
from textmill.specs import recipe_file
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run_data import PARTS, RunData
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.protocol import AnyTokenizer

_MEMORY = 6  # bytes of memory that sorting takes for each byte of tokens in a shard


@dataclass(frozen=True)
class Opened:
    """An index, the tokenizer its ids are of, and its artifact."""

    index: Index
    tokenizer: AnyTokenizer
    artifact: Artifact


def index(data: RunData, workspace: Workspace, *, part: str = "train", memory: int | None = None) -> Artifact:
    """The index of one part of a prepared corpus: found, or built from its tokens.

    Of records all texts are indexed that are read or written: source and target, text and question.

    memory: bytes that sorting may take, which decides how many shards there are, and nothing else.
    Raises RecipeError for an unknown part, TextmillError when the part is empty.
    """
    if part not in PARTS:
        raise RecipeError(
            f"{part!r} is no part of a corpus", where="--part", advice=f"one of {', '.join(PARTS)}"
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
            raise RecipeError("there is no such recipe", where=target)
        return prepare(recipe_file.load(Path(target)), workspace)
    return trained_on(locate_run(workspace, target), workspace)


def open_index(workspace: Workspace, target: str, part: str = "train") -> Opened:
    """The index of what a run was trained on, or of a recipe's corpus, built first where it is missing."""
    return opened(data_of(workspace, target), workspace, part)


def opened(data: RunData, workspace: Workspace, part: str = "train") -> Opened:
    """The same of a run's data that is open already."""
    artifact = index(data, workspace, part=part)
    return Opened(Index(artifact.path), data.tokenizer, artifact)


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
        "part": part,
        "documents": built.documents,
        "tokens": built.tokens,
        "vocabulary": built.vocabulary,
        "shards": len(built.shards),
        "bytes": size,
    }


def count(workspace: Workspace, target: str, texts: Sequence[str], *, part: str = "train") -> dict[str, Any]:
    """How often each text occurs, as whole tokens: see `runs_of`."""
    opened = open_index(workspace, target, part)
    rows = [
        {"text": text, "count": sum(opened.index.count(run) for run in runs_of(opened, text))}
        for text in texts
    ]
    return {"index": str(opened.artifact.path), "part": part, "tokens": opened.index.tokens, "counts": rows}


def search(
    workspace: Workspace, target: str, text: str, *, part: str = "train", limit: int = 5, context: int = 16
) -> dict[str, Any]:
    """Where a text occurs: the first `limit` places, with `context` tokens on either side, and their documents."""
    opened = open_index(workspace, target, part)
    index, matches, total, documents = opened.index, [], 0, set()
    for run in runs_of(opened, text):
        total += index.count(run)
        documents.update(index.document_numbers(run).tolist())
        matches += [(match.shard, match.at, match, run) for match in index.locate(run, limit)]
    matches = sorted(matches, key=lambda item: item[:2])[:limit]
    return {
        "index": str(opened.artifact.path),
        "part": part,
        "text": text,
        "count": total,
        "documents": len(documents),
        "places": [_row(opened, text, match, run, context) for _, _, match, run in matches],
    }


def runs_of(opened: Opened, text: str) -> list[np.ndarray]:
    """The runs of tokens that hold a text: it begins with a token, or after a token's space, and ends anywhere.

    Many tokenizers make a space part of the word after it, and the end of a text the beginning of a longer token. No
    place is an occurrence of two runs. (A text that begins inside a word is found where the tokenizer cuts there.)
    Raises TextmillError for a text without tokens.
    """
    encode = opened.tokenizer.encode
    plain = encode(text)
    if not len(plain):
        raise TextmillError("there is nothing to look for in an empty text", where="TEXT")
    starts = [plain]
    if not text[0].isspace():
        spaced = encode(f" {text}")
        if not np.array_equal(spaced[-len(plain) :], plain):
            starts.append(spaced)
    return [run for start in starts for run in (start, *_longer(opened, start))]


def _longer(opened: Opened, run: np.ndarray) -> Iterator[np.ndarray]:
    """The runs in which one longer token stands in the place of the last tokens of `run`, and goes on after them."""
    token_bytes = opened.tokenizer.token_bytes
    widest, rest = int(opened.tokenizer.byte_counts().max()), b""
    for keep in range(len(run) - 1, -1, -1):
        rest = token_bytes(int(run[keep])) + rest
        if len(rest) >= widest:
            return
        following, _ = opened.index.next_counts(run[:keep])
        for token in following.tolist():
            if (data := token_bytes(token)).startswith(rest) and len(data) > len(rest):
                yield np.append(run[:keep], token)


def _row(opened: Opened, text: str, match: Place, run: np.ndarray, context: int) -> dict[str, Any]:
    """One match: the text as it was searched for, and what stands around it, without halves of characters."""
    before, after = (
        opened.tokenizer.decode(ids) for ids in opened.index.around(match, len(run), context, context)
    )
    here = opened.tokenizer.decode(run)
    start = max(0, here.find(text))
    return {
        "document": match.document,
        "source": match.source,
        "token": match.token,
        "before": before.lstrip("\ufffd") + here[:start],
        "text": here[start : start + len(text)],
        "after": here[start + len(text) :] + after.rstrip("\ufffd"),
    }
