"""The models that runs begin with, kept: `work/start/KEY` holds one as it was read, named by its content.

A run that began with a model needs nothing of the place it was read from: that may be changed, or gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textmill.base.errors import DamagedError, TextmillError
from textmill.stages.workspace import lineage, verified
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.model import Form
    from textmill.models.pretrained import Pretrained

KIND = "start"
ELSEWHERE = "not known: made elsewhere"  # what a model was trained on that no run here made


def kept(workspace: Workspace, content: str) -> Artifact | None:
    """The model of this content hash, whole; None where it is not kept here."""
    for path in sorted((workspace.root / KIND).glob(f"[!.]*/{lineage.NAME}")):
        try:
            artifact = lineage.read_lineage(path.parent)
        except TextmillError:
            continue
        if artifact.spec.get("hash") == content:
            return None if verified.damage(artifact.path, artifact.files, workspace.root) else artifact
    return None


def require(workspace: Workspace, content: str, model: str) -> Artifact:
    """The same. Raises DamagedError where it is gone or not what was written."""
    artifact = kept(workspace, content)
    if artifact is None:
        raise DamagedError(
            f"the copy of {model} that was kept is gone or damaged",
            where=workspace.root / KIND,
            advice="put the model back where it was read, as it was then: it is copied again",
        )
    return artifact


def load(artifact: Artifact, form: Form | None = None) -> Pretrained:
    """The model that is kept, in float32, or in the form that is asked for (interop.load.load). Raises DamagedError
    when it is not what was written."""
    from textmill.interop.load import load
    from textmill.models.model import as_it_is

    return load(model_path(artifact.path), form=form or as_it_is)


def described(artifact: Artifact) -> Pretrained:
    """The same without its weights, which takes no memory and no time: its spec, tokenizer and settings."""
    from textmill.interop.load import load

    return load(model_path(artifact.path), None)


def model_path(directory: Path) -> Path:
    """The model in a directory that keeps one: the directory itself, or the one .gguf file in it."""
    return next(iter(sorted(directory.glob("*.gguf"))), directory)


def made_by(artifact: Artifact, root: Path) -> Run | None:
    """The run here that made a kept model; None where it was made elsewhere."""
    for depth, item in lineage.walk(artifact, root):
        if depth and isinstance(item, Artifact) and item.kind == "run":
            return Run(item.path)
    return None
