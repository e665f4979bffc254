"""`textmill forget`: documents that no corpus of this workspace holds again, and what was made from them.

    work/forget.jsonl   what `stages/workspace/forget_list.py` reads; only ever added to

A document is forgotten by id, by what it says, and, where it is a whole file, by its place: an added newline does not
bring it back. `collect` reads the list, leaves those documents out as a step of their own, and makes the list part of
what decides a corpus: so the next `prepare` of any recipe makes a new version. Where none of the documents was in it,
that version has the same content and the same id, and nothing made from it is out of date.

What is chosen is shown before anything is written, and can be taken off the list until something was trained without
it.
"""

from __future__ import annotations

import os
import shlex
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textmill.base import files, locks
from textmill.base.console import counted
from textmill.base.errors import RecipeError, TextmillError
from textmill.stages.tracing import descent, holdings, likeness
from textmill.stages.tracing.descent import Descendant
from textmill.stages.tracing.holdings import Holding
from textmill.stages.workspace.forget_list import Entry, entries, forgotten, list_of
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.forgotten import STEP, content_key
from textmill.text.document import Document


@dataclass(frozen=True)
class Chosen:
    """What names mean: documents by id, the files that are to be forgotten whole, and what the documents say."""

    corpora: list[Artifact]
    documents: dict[str, Holding] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    contents: dict[str, set[str]] = field(default_factory=dict)  # id -> keys
    near: dict[str, str] = field(default_factory=dict)  # id -> place, of what is left to the person


def choose(workspace: Workspace, names: Sequence[str], *, near: bool = False) -> Chosen:
    """The documents that names mean, with all that says the same. Nothing is written.

    names: ids, beginnings of ids, places, files or folders, as `holdings.find` reads them; a whole id, or a file that
    is there, may be in no corpus yet. near: what says nearly the same is chosen too, else only told.
    Raises RecipeError for a name that means everything, TextmillError when a name means nothing or several things, or
    when a corpus would be left without a document.
    """
    for name in names:
        _refuse(workspace, name)
    corpora = holdings.corpora(workspace)
    by_id: dict[str, Holding] = {}
    places: set[str] = set()
    said: list[Document] = []
    for name in names:
        read = holdings.in_file(name, corpora)
        said += read
        try:
            found = holdings.find(workspace, name, corpora)
        except TextmillError:
            if not (ids := holdings.ids_of(name, corpora)):
                raise
            found = [Holding(document, name) for document in ids]
            places |= _places(workspace, name, ())
        else:
            places |= _places(workspace, name, found)
        by_id |= {holding.document: holding for holding in found}
    same, nearly = holdings.alike(corpora, set(by_id))
    said += likeness.held(corpora, set(by_id))
    equal, close = likeness.alike(corpora, said)
    nearly |= close
    more = same | equal | (nearly if near else {})
    for document, source in more.items():
        found = holdings.find(workspace, document, corpora)
        by_id |= {holding.document: holding for holding in found} or {document: Holding(document, source)}
        places |= _places(workspace, document, found)
    said += likeness.held(corpora, set(more))
    contents: dict[str, set[str]] = {}
    for document in said:
        if key := content_key(document):
            contents.setdefault(document.id, set()).add(key)
    left = {} if near else {name: place for name, place in nearly.items() if name not in by_id}
    chosen = Chosen(corpora, by_id, sorted(places), contents, left)
    _refuse_all(chosen)
    return chosen


def _places(workspace: Workspace, name: str, found: Iterable[Holding]) -> set[str]:
    """The files that are forgotten whole: one that was named, all of a folder that was, and else those that are one
    document. A record has no place of its own: the line it stands in is another's tomorrow."""
    path = Path(name).expanduser()
    if path.is_file():
        return {holdings.place_of(workspace, path)}
    whole = path.is_dir()
    places = set()
    for holding in found:
        file, mark, _ = holding.source.partition(":")
        if "://" in holding.source:
            places.add(holding.source)
        elif file and (whole or not mark):
            standing, inside, member = file.partition("!")
            places.add(holdings.place_of(workspace, holdings.file_of(workspace, standing)) + inside + member)
    return places


def _refuse(workspace: Workspace, name: str) -> None:
    """Raises RecipeError for a name that means nothing or everything."""
    if not name.strip():
        raise RecipeError(
            "is empty, and would mean every document", where="DOCUMENT", advice="name a file or an id"
        )
    path = Path(name).expanduser()
    if not path.is_dir():
        return
    for folder, what in (
        (Path.cwd(), "you stand in"),
        (Path.home(), "that is your home"),
        (workspace.root, "of the workspace"),
    ):
        around = [each for each in (folder, *folder.parents) if each.is_dir()]
        if any(os.path.samefile(path, each) for each in around):
            raise RecipeError(
                f"is the folder {what}, or one around it",
                where=name,
                advice="name the files or folders in it that are to be forgotten",
            )


def _refuse_all(chosen: Chosen) -> None:
    """Raises TextmillError when a corpus of several documents would be left without any."""
    for artifact in chosen.corpora:
        held = {document for document, holding in chosen.documents.items() if artifact.id in holding.parts}
        total = sum(Corpus(artifact.path).count(part) for part in ("train", "validation", "test"))
        if total > 1 and len(held) >= total:
            raise TextmillError(
                f"nothing would remain of a corpus of {counted(total, 'document')}",
                where=str(artifact.path),
                advice="to remove all of it, take the source out of the recipe and remove what was made from it",
            )


def add(workspace: Workspace, chosen: Chosen) -> tuple[str, list[str]]:
    """Put what was chosen on the list; the request, and the ids that were not on it yet."""
    path, stamp = list_of(workspace), time.strftime("%Y-%m-%dT%H:%M:%S%z")
    request = uuid.uuid4().hex[:12]
    with locks.lock(workspace.root / ".forget", "textmill forget", waiting=lambda holder: None):
        before = forgotten(workspace)
        records: list[dict[str, str]] = []
        for document, holding in chosen.documents.items():
            keys = chosen.contents.get(document, set()) - before.contents
            if document not in before.ids or keys:
                row = {"document": document, "source": holding.source}
                records += [row | {"content": key} for key in sorted(keys)] or [row]
        records += [{"place": place} for place in chosen.places if place not in before.places]
        for record in records:
            files.append_jsonl(path, {"request": request, **record, "time": stamp})
        if records:
            files.sync(path)
    return request, [document for document in chosen.documents if document not in before.ids]


def forget(
    workspace: Workspace, names: Sequence[str], *, near: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Put documents on the list, and say what was made from corpora that hold them. Nothing is deleted.

    Arguments and errors as in `choose`; `dry_run` writes nothing.
    """
    chosen = choose(workspace, names, near=near)
    return account(workspace, chosen, write=not dry_run)


def account(workspace: Workspace, chosen: Chosen, *, write: bool) -> dict[str, Any]:
    """What is, or without `write` would be, put on the list, and what was made from it."""
    before = forgotten(workspace).ids
    request, new = (
        add(workspace, chosen) if write else ("", [name for name in chosen.documents if name not in before])
    )
    return {
        "list": str(list_of(workspace)),
        "listed": write,
        "request": request,
        "documents": [
            holdings.plain(holding) | {"new": holding.document in new}
            for holding in chosen.documents.values()
        ],
        "places": chosen.places,
        "near": [{"document": document, "source": source} for document, source in chosen.near.items()],
        "made_from": _made_from(workspace, chosen.documents.values()),
        "left_over": [str(path) for path in sorted((workspace.root / "corpus").glob(".parts-*"))],
    }


def undo(workspace: Workspace) -> dict[str, Any]:
    """Take off the list what the last request put there.

    Raises TextmillError when there is none, or when something was trained without it since.
    """
    listed = [entry for entry in entries(workspace) if entry.request]
    if not listed:
        raise TextmillError("there is nothing to undo", where=list_of(workspace))
    request = listed[-1].request
    undone = [entry for entry in listed if entry.request == request]
    if runs := _without(workspace, undone):
        raise TextmillError(
            f"trained without it since: {', '.join(runs)}",
            where="--undo",
            advice="what they were trained without stays forgotten; remove those runs first",
        )
    with locks.lock(workspace.root / ".forget", "textmill forget", waiting=lambda holder: None):
        files.append_jsonl(
            list_of(workspace), {"undo": request, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        )
        files.sync(list_of(workspace))
    names = {entry.document: entry.source for entry in undone if entry.document}
    return {
        "list": str(list_of(workspace)),
        "undone": request,
        "documents": [{"document": document, "source": source} for document, source in names.items()],
        "places": [entry.place for entry in undone if entry.place],
    }


def _without(workspace: Workspace, listed: Sequence[Entry]) -> list[str]:
    """The runs that were trained on a corpus that leaves out one of these."""
    ids = {entry.document for entry in listed if entry.document}
    places = {entry.place for entry in listed if entry.place}
    without = {
        corpus.id
        for corpus in holdings.corpora(workspace)
        for row in files.read_jsonl(corpus.path / "rejected.jsonl")
        if row.get("step") == STEP and (row.get("id") in ids or row.get("source") in places)
    }
    made = descent.descendants(workspace, without)
    return [item.artifact.path.name for item in made if item.artifact.kind == "run"]


def _made_from(workspace: Workspace, documents: Iterable[Holding]) -> list[dict[str, Any]]:
    """Every artifact that came from a corpus with one of the documents: where it is, and why it is out of date."""
    trained, only = set(), set()
    for holding in documents:
        for corpus, parts in holding.parts.items():
            (trained if "train" in parts else only).add(corpus)
    made = descent.descendants(workspace, trained | only)
    runs = [item.artifact.path.name for item in made if item.artifact.kind == "run"]
    anew = {name: _free(workspace, name) for name in runs}
    return [_stale(descendant, trained, anew) for descendant in made]


def _stale(descendant: Descendant, trained: set[str], anew: Mapping[str, str]) -> dict[str, Any]:
    """anew: the names that runs get when they are trained again."""
    item, learnt = descendant.artifact, bool(descendant.roots & trained)
    row: dict[str, Any] = {
        "kind": item.kind,
        "id": item.id,
        "path": str(item.path.resolve()),
        "bytes": sum(path.stat().st_size for path in item.path.rglob("*") if path.is_file()),
        "why": "made from it" if learnt else "it is in the validation or test split only",
        "trained_on": learnt,
    }
    if item.kind == "run":
        run = Run(item.path)
        recipe = os.path.relpath(run.recipe_file)
        command = ["textmill", "run", recipe, "--set", f"name={anew[run.name]}"]
        if (start := run.start) is not None and start.model and start.run in anew:
            command += ["--from", anew[start.run]]
        row |= {"run": item.path.name, "recipe": recipe, "again": shlex.join(command)}
    return row


def _free(workspace: Workspace, name: str) -> str:
    """A name like this one that no run has."""
    number = 2
    while workspace.run(f"{name}-{number}").path.exists():
        number += 1
    return f"{name}-{number}"
