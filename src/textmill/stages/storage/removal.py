"""`textmill rm`: what is stored goes when a person says so, and nothing else goes with it.

What others were made from stays, unless it is forced; so does a folder that holds what Textmill did not write there, or
a source of any corpus. A folder loses its name before its files: a crash leaves no half of it under that name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from textmill.base import locks
from textmill.base.disk import disk_errors
from textmill.base.errors import BusyError, TextmillError
from textmill.base.files import TEMPORARY, discard, read_jsonl, remove_partial
from textmill.stages.storage.fetching import DOWNLOADS
from textmill.stages.storage.inventory import CACHE, MODEL, PARTIAL, PARTS, RUN, Inventory, Stored, files_of
from textmill.stages.workspace import lineage
from textmill.stages.workspace.run import WRITTEN
from textmill.stages.workspace.workspace import Workspace

_NAMED = 3


def plan(
    workspace: Workspace, names: Sequence[str], *, unused: bool = False, force: bool = False
) -> tuple[Inventory, list[Stored]]:
    """What would go: what is named, and with `unused` what no run or model was made from.

    Raises TextmillError where something depends on it or where it holds files that Textmill did not write (`force`:
    goes all the same), and always where it holds a source of a corpus.
    """
    stock = Inventory(workspace)
    chosen = [stock.named(name) for name in names]
    if unused:
        chosen += stock.unused()
    chosen = list(dict.fromkeys(chosen))
    for item in chosen:
        dependents = [other.name for other in stock.dependents(item, without=chosen)]
        if dependents and not force:
            raise TextmillError(
                f"is what {_some(dependents)} was made from",
                where=item.name,
                advice="remove that too, or --force",
            )
        if (others := _others(item)) and not force:
            raise TextmillError(
                f"holds files that Textmill did not write: {_some(others)}",
                where=item.path,
                advice="move them elsewhere, or --force",
            )
        if sources := list(_sources(stock, item)):
            raise TextmillError(
                f"holds sources of a corpus, which are never removed: {_some(sources)}",
                where=item.path,
                advice="move them elsewhere",
            )
    return stock, chosen


def remove(workspace: Workspace, stock: Inventory, chosen: Sequence[Stored]) -> dict[str, Any]:
    """Delete what `plan` gave; what is half made stays where a process is still at it.

    Raises BusyError, having deleted what came before, for anything else that another process uses.
    """
    rows = []
    for item in chosen:
        row = stock.row(item)
        try:
            with _held(item), disk_errors(item.path):
                _delete(item)
        except BusyError:
            if item.kind != PARTIAL:
                raise
            continue
        rows.append(row)
    left = Inventory(workspace)
    return {
        "removed": rows,
        "bytes": sum(row["bytes"] for row in rows),
        "unused_bytes": sum(item.bytes for item in left.unused()),
    }


def _delete(item: Stored) -> None:
    """Of a link, the link: what it leads to is somewhere else, and stays."""
    remove_partial(item.path.parent)
    if item.path.name.startswith(TEMPORARY):
        if item.path.exists():  # its writer lives
            raise BusyError("is being made", where=item.path)
    elif item.path.is_symlink() or item.path.is_file():
        item.path.unlink()
    else:
        discard(item.path)
    if item.kind == MODEL:  # a proof stands beside what it is of
        stem = item.path.name if item.path.suffix.lower() != ".gguf" else item.path.stem
        item.path.with_name(f"{stem}.parity.json").unlink(missing_ok=True)


@contextlib.contextmanager
def _held(item: Stored) -> Iterator[None]:
    """Hold what is being deleted. Raises BusyError when another process writes it or reads its checkpoints."""
    with contextlib.ExitStack() as held:
        for path in _locks(item) if not item.path.is_symlink() else ():
            held.enter_context(locks.lock(path, "textmill rm"))
        if item.kind == RUN and not item.path.is_symlink():
            for path in sorted((item.path / "checkpoints").glob("step-*")):
                if not held.enter_context(locks.unread(path)):
                    raise BusyError("is being read by another process", where=path, advice="wait for it")
        yield


def _locks(item: Stored) -> list[Path]:
    """The folders whose locks are held by whoever writes a thing."""
    if item.kind == RUN or item.path.parent.name == DOWNLOADS:
        return [item.path]
    if item.path.name.startswith(PARTS):  # whichever corpus is being made may be the one
        return [path.parent for path in item.path.parent.glob(f".*/{locks.NAME}")]
    return [item.path.with_name(f".{item.path.name}")] if item.kind == CACHE else []


def _others(item: Stored) -> list[str]:
    """The files in a run or a cache that Textmill did not write there."""
    if item.path.is_symlink() or item.kind not in (RUN, CACHE):
        return []
    if item.kind == RUN:
        return [
            entry.name
            for entry in sorted(item.path.iterdir())
            if entry.name not in WRITTEN and not entry.name.startswith((TEMPORARY, locks.NAME))
        ]
    try:
        written = lineage.read_lineage(item.path).files
    except TextmillError:
        return []
    names = (path.relative_to(item.path).as_posix() for path in files_of(item.path))
    return [name for name in sorted(names) if name not in written and name not in (lineage.NAME, locks.NAME)]


def _sources(stock: Inventory, item: Stored) -> Iterator[str]:
    """The sources of corpora here that stand within a thing, and are no copy of them."""
    from textmill.stages.tracing.holdings import homes

    starts = [str(home) for home in homes(stock.workspace)]
    inside = f"{item.path}{os.sep}"
    for corpus in (other for other in stock.items if other.name.startswith("corpus/")):
        with contextlib.suppress(TextmillError):
            for row in read_jsonl(corpus.path / "inputs.jsonl"):
                for start in starts:
                    path = os.path.normpath(os.path.join(start, str(row["place"])))
                    if path.startswith(inside) and os.path.exists(path):
                        yield path


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
