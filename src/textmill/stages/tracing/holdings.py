"""Which corpora of a workspace hold a document, named as a person would name it.

A document has an id (the hash of its text as collected), and a place: the file, the member or the line it came from. A
person may give the id or the beginning of one, the place, the end of a place that only one file has, or the path of a
file or folder. A file that is still there is read again, so that its texts are found under whatever place they stood.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import read_json, read_jsonl
from textmill.specs import recipe_file
from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec
from textmill.stages.workspace import lineage
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import Document, printable

pc: Any = compute  # its functions are made when it is imported, so nobody can know their types
_BEGINNING = re.compile(r"[0-9a-f]{6,32}\Z")  # of an id
_ID = 32
_HOW_READ = ("format", "columns", "header", "text_fields")  # what of a source says how its files are read
_READ_PLAINLY = "[{}, null]"
_INSIDE = ("!", ":")  # what may follow a file's place in a document's: a member, a line, a page
_NAMED = 10  # candidates an error names


@dataclass
class Holding:
    """A document, and where it is."""

    document: str
    source: str
    parts: dict[str, list[str]] = field(default_factory=dict)  # corpus id -> parts that hold it, in its order
    repeats: str = ""  # it was skipped for repeating this document
    aside: str = ""  # why it was skipped, when no corpus holds it


@dataclass(frozen=True)
class _Wanted:
    """Names as they are looked up: any of these will do."""

    ids: tuple[str, ...] = ()
    beginning: str = ""
    places: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()

    def mask(self, ids: pa.ChunkedArray, sources: pa.ChunkedArray) -> pa.ChunkedArray:
        """(n,) bool: which of n documents are meant."""
        matches = pc.is_in(ids, value_set=pa.array(self.ids, pa.string()))
        if self.beginning:
            matches = pc.or_(matches, pc.starts_with(ids, self.beginning))
        for location in map(printable, self.places):  # as a corpus spells what is not UTF-8
            for start in (location.rstrip("/") + "/", *(location + mark for mark in _INSIDE)):
                matches = pc.or_(matches, pc.starts_with(sources, start))
            matches = pc.or_(matches, pc.equal(sources, location))
        for ending in map(printable, self.endings):
            pattern = f"(^|[/:!]){re.escape(ending)}($|[!:])"
            matches = pc.or_(matches, pc.match_substring_regex(sources, pattern))
        return matches


def corpora(workspace: Workspace) -> list[Artifact]:
    """Every corpus made in this workspace. Raises DamagedError when one was changed after it was
    written: what it holds is then not known."""
    artifacts = []
    for path in sorted((workspace.root / "corpus").glob("[!.]*")):
        if (path / lineage.NAME).is_file() and (path / "manifest.json").is_file():
            advice = "preparing its recipe makes it again; delete the folder where no recipe does"
            artifacts.append(lineage.require(lineage.read_lineage(path), workspace.root, advice))
    return artifacts


def homes(workspace: Workspace) -> list[Path]:
    """The folders that the relative places of corpora here may start at: those of the recipes of its runs, the one you
    stand in, and the one around the workspace."""
    found = []
    for run in workspace.runs():
        with contextlib.suppress(TextmillError):
            found.append(recipe_file.home_of(run.recipe()))
    return list(dict.fromkeys([*filter(None, found), Path.cwd(), workspace.project]))


def place_of(workspace: Workspace, path: Path) -> str:
    """A file or folder as the list of what is forgotten names it: from the folder around the workspace where it lies
    within, so that all of it can be moved."""
    whole, project = os.path.normpath(path.expanduser().absolute()), str(workspace.project)
    inside = workspace.project.name and whole.startswith(f"{project}{os.sep}")
    return os.path.relpath(whole, project) if inside else whole


def file_of(workspace: Workspace, source: str) -> Path:
    """The file a document's place stands for."""
    if os.path.isabs(source):
        return Path(source)
    found = (home / source for home in homes(workspace))
    return next((path for path in found if path.exists()), workspace.project / source)


def find(workspace: Workspace, name: str, within: Sequence[Artifact] | None = None) -> list[Holding]:
    """The documents a name means, in the corpora of the workspace, or only `within` these.

    Documents that were skipped are found too. Raises TextmillError when there is none, and when an end of a place
    or the beginning of an id means several things.
    """
    chosen = corpora(workspace) if within is None else list(within)
    ids, locations = _read(workspace, name, chosen)
    exact = _Wanted(ids=ids, places=locations)
    matches = _matching(chosen, exact)
    if not matches and _BEGINNING.match(name):
        matches = _matching(chosen, _Wanted(beginning=name))
        _one(name, sorted(matches), "ids")
    if not matches:
        matches = _matching(chosen, _Wanted(endings=(name,)))
        _one(name, sorted({_file(holding.source, name) for holding in matches.values()}), "files")
    if not matches:
        raise TextmillError(
            "is in no corpus here",
            where=name,
            advice=f"name it by its id, its source or its path (looked in {workspace.root})",
        )
    return list(matches.values())


def in_file(name: str, within: Sequence[Artifact]) -> list[Document]:
    """The documents of a file that is there, read as plain text and as the sources of these corpora read records."""
    path = Path(name).expanduser()
    if not path.is_file():
        return []
    read_as = {
        _READ_PLAINLY,
        *(_said(source, corpus) for corpus in within for source in corpus.spec["sources"]),
    }
    return [document for said in sorted(read_as) for document in _documents(path, said)]


def _said(source: dict[str, Any], corpus: Artifact) -> str:
    """How a source of a corpus reads a file, in one text; files beside each other are not read one by one."""
    if source.get("format") == "parallel":
        return _READ_PLAINLY
    said = {key: source[key] for key in _HOW_READ if key in source}
    return json.dumps([said, corpus.spec.get("record")], sort_keys=True)


def ids_of(name: str, within: Sequence[Artifact]) -> tuple[str, ...]:
    """The ids a name gives by itself: a whole id, or those of the documents of a file that is there."""
    ids = [name] if _BEGINNING.match(name) and len(name) == _ID else []
    return (*ids, *(document.id for document in in_file(name, within)))


def _read(
    workspace: Workspace, name: str, within: Sequence[Artifact]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(ids, locations) a name may mean, before any corpus is searched."""
    locations, path = [name], Path(name).expanduser()
    if path.exists():
        places = (path, path.resolve())
        locations += [
            *map(str, (path.absolute(), path.resolve())),
            *(place_of(workspace, each) for each in places),
        ]
    elif path.is_absolute():
        locations.append(place_of(workspace, path))
    return ids_of(name, within), tuple(dict.fromkeys(locations))


def _documents(path: Path, said: str) -> Iterator[Document]:
    """The documents a file holds now, read as a source says."""
    from textmill.text.sources import table

    how, record = json.loads(said)
    try:
        source = schema.read(FilesSource, {**how, "paths": [str(path.absolute())]})
        known = None if record is None else schema.read(RecordSpec, record)
        for item in table.read_documents(source, LimitSpec(), Path.cwd(), known):
            if isinstance(item, Document):
                yield item
    except RecipeError:
        return


def _one(name: str, candidates: list[str], kind: str) -> None:
    """Raises TextmillError unless a name means one thing at most."""
    if len(candidates) > 1:
        named = "".join(f"\n  {candidate}" for candidate in candidates[:_NAMED])
        raise TextmillError(
            f"means {len(candidates)} {kind}:{named}\n", where=name, advice="write more of its id or path"
        )


def _file(source: str, ending: str) -> str:
    """A place up to and with the end that was asked for."""
    return source[: source.rindex(ending) + len(ending)]


def _matching(chosen: Sequence[Artifact], wanted: _Wanted) -> dict[str, Holding]:
    holdings: dict[str, Holding] = {}
    for corpus in chosen:
        for part, path in _shards(corpus):
            with pq.ParquetFile(path) as file:
                rows = file.read(columns=["id", "source"])
            rows = rows.filter(wanted.mask(rows["id"], rows["source"]))
            for document, source in zip(rows["id"].to_pylist(), rows["source"].to_pylist(), strict=True):
                holding = holdings.setdefault(document, Holding(document, source))
                parts = holding.parts.setdefault(corpus.id, [])
                if part not in parts:
                    parts.append(part)
        _skipped(corpus, wanted, holdings)
    return holdings


def _shards(corpus: Artifact) -> Iterator[tuple[str, Path]]:
    """(part, path) of each shard."""
    for name, shard in read_json(corpus.path / "manifest.json")["shards"].items():
        yield shard["part"], corpus.path / name


def _skipped(corpus: Artifact, wanted: _Wanted, holdings: dict[str, Holding]) -> None:
    """Add what a corpus skipped of what is wanted, and the id each of those repeats."""
    rows = [row for row in read_jsonl(corpus.path / "rejected.jsonl") if "id" in row]
    if not rows:
        return
    ids = pa.chunked_array([pa.array([row["id"] for row in rows], pa.string())])
    sources = pa.chunked_array([pa.array([row["source"] for row in rows], pa.string())])
    for index in pc.indices_nonzero(wanted.mask(ids, sources)).to_pylist():
        row = rows[index]
        holding = holdings.setdefault(row["id"], Holding(row["id"], row["source"]))
        holding.repeats = holding.repeats or _repeated(row, "exact-duplicates")
        holding.aside = holding.aside or f"{row['step']}: {row['reason']}"


def _repeated(row: dict[str, Any], step: str) -> str:
    """The id a document was skipped for repeating, or nothing."""
    words = str(row.get("detail", "")).replace(",", " ").split()
    return words[1] if row["step"] == step and len(words) > 1 and words[0] == "id" else ""


def alike(chosen: Sequence[Artifact], ids: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What was skipped for repeating documents: (exactly, nearly), each id -> its place.

    Exact repeats are followed to the end in both directions: what holds the same text is the same to a reader.
    """
    same, pairs, near = dict.fromkeys(ids, ""), [], {}
    for corpus in chosen:
        for row in read_jsonl(corpus.path / "rejected.jsonl"):
            if other := _repeated(row, "exact-duplicates"):
                pairs.append((row["id"], other, row["source"]))
            elif other := _repeated(row, "near-duplicates"):
                near[row["id"]] = (other, row["source"])
    grown = True
    while grown:
        grown = False
        for name, other, source in pairs:
            if (name in same) != (other in same):
                same |= {name: source} if other in same else {other: ""}
                grown = True
    exact = {name: source for name, source in same.items() if name not in ids}
    return exact, {name: source for name, (other, source) in near.items() if other in same or name in same}


def plain(holding: Holding) -> dict[str, Any]:
    """A holding as plain data."""
    result: dict[str, Any] = {"document": holding.document, "source": holding.source}
    result["corpora"] = [{"corpus": corpus, "splits": parts} for corpus, parts in holding.parts.items()]
    if holding.repeats:
        result["repeats"] = holding.repeats
    if holding.aside and not holding.parts:
        result["skipped"] = holding.aside
    return result
