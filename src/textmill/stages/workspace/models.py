"""Models as stages read them: an adapter beside its base, which the workspace keeps or the adapter names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textmill.base.errors import TextmillError
from textmill.stages.workspace import locate, starts
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained


def load_model(workspace: Workspace, path: Path) -> Pretrained:
    """The model at a path that `locate_model` gave; of an adapter, with its base.

    Raises TextmillError as `interop.load.load`, and where an adapter's base is not here, or is another one.
    """
    from textmill.interop.load import load

    return load(path, base=base_of(workspace, path))


def base_of(workspace: Workspace, path: Path) -> Pretrained | None:
    """What an adapter stands on: the copy that the workspace keeps, or else what the adapter names. None: it is none.

    Raises TextmillError where it is not here.
    """
    from textmill.interop.huggingface.peft import directory as peft
    from textmill.interop.load import load

    if not path.is_dir() or not peft.is_adapter(path):
        return None
    base = peft.read_about(path).base
    if base.content and (kept := starts.kept(workspace, base.content)) is not None:
        return starts.load(kept)
    try:
        return load(locate.locate_model(workspace, base.name))
    except TextmillError as error:
        raise TextmillError(
            f"is an adapter, and its base {base.name or '(it names none)'} is not here",
            where=path,
            advice="put the base where it was, or keep the workspace that trained the adapter",
        ) from error
