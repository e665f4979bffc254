"""What is to be forgotten and a run has seen all the same: a model cannot unlearn, so whoever uses it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from textmill.base.console import counted
from textmill.stages.workspace import lineage
from textmill.stages.workspace.forget_list import forgotten
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import PARTS
from textmill.stages.workspace.workspace import Workspace

_NAMED = 3


@dataclass(frozen=True)
class Held:
    """Documents that are to be forgotten and are in what a run, or one it began with, was trained on."""

    documents: tuple[str, ...]

    def said(self) -> str:
        """In a sentence: how many, and which."""
        count = len(self.documents)
        named = ", ".join(self.documents[:_NAMED]) + (", …" if count > _NAMED else "")
        return f"{counted(count, 'document')} on the list of what is to be forgotten ({named})"


def held(run: Run, workspace: Workspace) -> Held | None:
    """The forgotten documents a run has seen; None where there are none. What is gone from the workspace is not known.

    Raises DamagedError when the tokens it was trained on were changed after they were written.
    """
    wanted = forgotten(workspace).ids
    if not wanted or not (run.path / lineage.NAME).is_file():
        return None
    listed = np.frombuffer(bytes.fromhex("".join(sorted(wanted))), dtype="V16")
    found: set[str] = set()
    for tokens in _tokens(run, workspace):
        for part in PARTS:
            names = np.fromfile(tokens.path / part / "documents.bin", dtype="V16")
            found |= {name.tobytes().hex() for name in names[np.isin(names, listed)]}
    return Held(tuple(sorted(found))) if found else None


def _tokens(run: Run, workspace: Workspace) -> Iterator[Artifact]:
    """What a run, and those it began with, were trained on. What their tokenizers were learnt from is another matter:
    the same tokenizer may have come from a text with a document and from one without it."""
    for _, item in lineage.walk(lineage.read_lineage(run.path), workspace.root, last="tokens"):
        if isinstance(item, Artifact) and item.kind == "tokens":
            yield lineage.require(item, workspace.root, "prepare the recipe of the run again")


def warn(run: Run, workspace: Workspace) -> None:
    """Tell whoever uses a run what it should not have seen."""
    if found := held(run, workspace):
        workspace.reporter.warn(
            f"{run.name} was trained on {found.said()}; a model cannot unlearn: train again without it"
        )
