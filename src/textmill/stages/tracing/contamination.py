"""`textmill data contamination`: how much of an evaluation set a corpus holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs.cleaning import ContaminationStep
from textmill.specs.corpus import named
from textmill.stages.tracing.index import data_of
from textmill.stages.workspace.run_data import PARTS
from textmill.stages.workspace.workspace import Workspace
from textmill.text.cleaning.contamination import contamination
from textmill.text.document import TEXT


def overlap(
    workspace: Workspace, target: str, files: Sequence[Path], *, part: str = "train", ngram: int = 13
) -> dict[str, Any]:
    """Of each evaluation set: its examples, and how many are found in a part of a corpus, in which way and where.

    target: a recipe or a run; records of a set are read as those of its corpus are. ngram: words in a row that count
    as found.
    Raises RecipeError for an unknown part and for a set that cannot be read.
    """
    if part not in PARTS:
        raise RecipeError(
            f"{part!r} is not a split of a corpus", where="--split", advice=f"one of {', '.join(PARTS)}"
        )
    data = data_of(workspace, target)
    sources = data.prepared.corpus.spec["sources"]
    texts = [field for source in sources for field in source.get("text_fields") or ()]
    fields = dict.fromkeys([*(name for field in texts for name in reversed(named(field))), TEXT])
    spec = ContaminationStep(files=tuple(map(str, files)), fields=tuple(fields), ngram=ngram, action="report")
    sets = contamination.overlap(data.corpus.documents(part), spec, Path.cwd())
    return {
        "corpus": str(data.prepared.corpus.path),
        "name": data.recipe.name,
        "split": part,
        "ngram": ngram,
        "sets": sets,
    }
