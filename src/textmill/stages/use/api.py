"""What `import textmill` opens: a model by its name or place, and the trace of a text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.base.console import Silent
from textmill.index.trace import COMMON, HOLDERS, SHORTEST
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.stages.tracing.trace import Trace


def load(
    path: str | Path,
    *,
    work: str | Path | None = None,
    weights: str = "fp32",
    checkpoint: str | int | None = None,
) -> LanguageModel:
    """A model: the name of a run or of a model in the models folder, a run's folder, a published directory, or a .gguf
    file. A run that is not published is its best checkpoint so far.

    work: the workspace runs are looked for in; left out: $TEXTMILL_WORK, or `work`. weights: arithmetic of the weights,
    fp32, bf16 or int8. checkpoint: of a run, "latest", "best" or a step, instead of what it has published.

    Raises TextmillError, with the nearest name, when there is no such model, DamagedError when it is not whole,
    RecipeError for weights or a checkpoint there are not.
    """
    chosen = None if checkpoint is None else str(checkpoint)
    return LanguageModel(_workspace(work), str(path), weights=weights, checkpoint=chosen)


def trace(
    run: str | Path,
    text: str,
    *,
    split: str = "train",
    shortest: int = SHORTEST,
    common: int = COMMON,
    documents: int = HOLDERS,
    work: str | Path | None = None,
) -> Trace:
    """The longest spans of a text that stand word for word in what a run was trained on, and in which documents.

    run: a run's name or folder, or a recipe (.toml). split: of its corpus. shortest: tokens a span has at least.
    common: spans that occur more often are nobody's. documents: named for each span. The index is built where it is
    missing.

    Raises TextmillError when there is no such run, RecipeError for an unknown part.
    """
    from textmill.stages.tracing import trace as stage

    options = {"part": split, "shortest": shortest, "common": common, "documents": documents}
    [traced] = stage.trace(_workspace(work), str(run), text, **options)["texts"]
    return traced


def _workspace(work: str | Path | None) -> Workspace:
    root = Path(os.environ.get("TEXTMILL_WORK", "work") if work is None else work)
    return Workspace(root.expanduser().absolute(), Silent())
