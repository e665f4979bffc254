"""Files, folders and globs on this machine, in an order that does not depend on the file system."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator
from pathlib import Path

from textmill.base.errors import RecipeError
from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec
from textmill.text.document import Document, Rejected, printable
from textmill.text.sources.formats import parallel
from textmill.text.sources.formats.stream import Fields
from textmill.text.sources.formats.table import open_file

# Folders a walk does not enter, besides hidden ones (whose names begin with a dot), virtual environments
# (they hold pyvenv.cfg) and what Textmill itself made (it holds lineage.json). Named in `paths`, they are read.
JUNK = frozenset({"__pycache__", "node_modules", "__MACOSX"})
_MARKS = ("pyvenv.cfg", "lineage.json")


def documents(
    source: FilesSource, path: Path, location: str, limits: LimitSpec, record: RecordSpec | None = None
) -> Iterator[Document | Rejected]:
    """The documents of one file; of files line by line beside each other, all of them with the first."""
    fields = Fields.of(source, record)
    if source.format == "parallel":
        return parallel.documents(source.paths, path, location, fields, limits)
    return open_file(path, location, fields, limits)


def files(source: FilesSource, base: Path) -> Iterator[tuple[Path, str] | Rejected]:
    """(path, location) of every file of a source, each once; what cannot be entered is Rejected.

    base: the folder relative paths start at. Locations read as the person wrote the path, so that a corpus is the
    same wherever its folder stands. Raises RecipeError for a path that matches nothing.
    """
    seen: set[str] = set()
    if source.format == "parallel":
        yield from parallel.files([_only(pattern, Path(base)) for pattern in source.paths])
        return
    roots = [(root, name) for pattern in source.paths for root, name in _roots(pattern, Path(base))]
    for root, name in roots:
        entries = _walk(root, name, source.exclude) if root.is_dir() else iter([(root, name)])
        for item in entries:
            if isinstance(item, Rejected):
                yield item
                continue
            path, location = item
            if _excluded(location, path.name, source.exclude):
                continue
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path, printable(location)


def _only(pattern: str, base: Path) -> tuple[Path, str]:
    """The one file a path stands for. Raises RecipeError where it is none, or several."""
    roots = _roots(pattern, base)
    if len(roots) != 1 or not roots[0][0].is_file():
        raise RecipeError(
            "is not one file",
            where=f"corpus.sources.paths: {pattern}",
            advice='format = "parallel" aligns files line by line: name each',
        )
    return roots[0][0], printable(roots[0][1])


def _roots(pattern: str, base: Path) -> list[tuple[Path, str]]:
    """What a path of the recipe stands for: itself, or what its glob matches, sorted."""
    expanded = os.path.expanduser(pattern)
    whole = base / expanded
    if whole.exists() or whole.is_symlink():
        return [(whole, expanded.rstrip("/") or "/")]
    if not glob.has_magic(expanded):
        raise RecipeError(
            "does not exist", where=f"corpus.sources.paths: {pattern}", advice=f"looked in {base}"
        )
    fixed = {part for part in Path(expanded).parts if not glob.has_magic(part)}
    names = sorted(set(glob.glob(expanded, root_dir=base, recursive=True)), key=lambda name: name.split("/"))
    entered: dict[str, bool] = {}
    names = [name.rstrip("/") for name in names if name and _entered(base, name.rstrip("/"), fixed, entered)]
    if not names:
        raise RecipeError(
            "matches no file",
            where=f"corpus.sources.paths: {pattern}",
            advice=f"the glob was tried in {base}",
        )
    return [(base / name, name) for name in names]


def _entered(base: Path, name: str, fixed: set[str], known: dict[str, bool]) -> bool:
    """Whether a glob may match this: no folder on the way to it, but those it spells out, is one a walk passes by."""
    if not name or name == "/":
        return True
    if name not in known:
        above, _, last = name.rpartition("/")
        junk = last not in fixed and (last in JUNK or any((base / name / mark).exists() for mark in _MARKS))
        known[name] = not junk and _entered(base, above, fixed, known)
    return known[name]


def _walk(root: Path, name: str, exclude: tuple[str, ...]) -> Iterator[tuple[Path, str] | Rejected]:
    """The files below a folder, depth first, names sorted; without recursion, since folders nest without bound."""
    waiting = [(root, name)]
    while waiting:
        path, location = waiting.pop()
        if not path.is_dir():  # follows links, so that a linked file is read
            yield path, location
            continue
        if path != root and path.is_symlink():
            yield Rejected(
                None, printable(location), "read", "is a link to a folder", "name it in paths to read it"
            )
            continue
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            yield Rejected(
                None, printable(location), "read", "cannot be opened", error.strerror or str(error)
            )
            continue
        if path != root and any(entry.name in _MARKS for entry in entries):
            continue
        for entry in reversed(entries):
            below = f"{location.rstrip('/')}/{entry.name}"
            if not (
                entry.name.startswith(".") or entry.name in JUNK or _excluded(below, entry.name, exclude)
            ):
                waiting.append((path / entry.name, below))


def _excluded(location: str, name: str, exclude: tuple[str, ...]) -> bool:
    """Whether a name, or a location or its end, fits one of the globs; `*` also crosses folders."""
    return any(
        fnmatch.fnmatchcase(name, mark)
        or fnmatch.fnmatchcase(location, mark)
        or fnmatch.fnmatchcase(location, f"*/{mark}")
        for mark in (pattern.rstrip("/") for pattern in exclude)
    )
