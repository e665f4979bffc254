"""`textmill verify`: does the published model say the same everywhere?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import write_json
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.models import base_of
from textmill.stages.workspace.workspace import Workspace

# Text to compare on when a person gives none: plain English, Chinese, code, and what is rare in all of them.
TEXTS = (
    "The mill stood where the two streams met, and on quiet evenings one could hear the wheel from the road.",
    "磨坊在两条小溪交汇的地方，安静的傍晚，从路上就能听见水轮的声音。",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / 2\n",
    "naïve café, 42 €, \t¬ \u2003 𝔘𝔫𝔦 👩‍🔬 e\u0301 <|endoftext|> \x7f\n\n\n",
)
_CHARACTERS = 2000  # of each file that is compared on


def verify(
    workspace: Workspace,
    target: str,
    *,
    files: Sequence[Path] = (),
    compiled: bool = False,
    weights: Sequence[str] = (),
    exports: Sequence[str] = (),
) -> dict[str, Any]:
    """The parity report of a published model, on files or on a built-in mix; also written beside it (`proof_of`), and
    where is said as "proof": None where nothing can be written there.

    weights: also with such weights. exports: also by way of these formats.
    Raises TextmillError when a file cannot be read.
    """
    from textmill.interop import parity

    texts = [read_text(path) for path in files] or TEXTS
    path = locate_model(workspace, target)
    base = base_of(workspace, path)
    report = parity.verify(
        path, texts, compiled=compiled, weights=weights, exports=exports, base=base
    ).plain()
    proof = proof_of(path)
    try:
        write_json(proof, report)
    except (OSError, TextmillError):  # a model may lie where only reading is allowed
        return report | {"proof": None}
    return report | {"proof": str(proof)}


def proof_of(model: Path) -> Path:
    """Where a proof of a model is written: beside it, never in it, since a directory's files are hashed."""
    model = model.absolute()
    return model.with_name(f"{model.name if model.is_dir() else model.stem}.parity.json")


def read_text(path: Path) -> str:
    """The beginning of a text file. Raises TextmillError for what is none."""
    if path.exists() and not path.is_file():  # a pipe may wait for ever, a device may never end
        raise TextmillError("is not a regular file", where=path)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_CHARACTERS)
    except (OSError, UnicodeDecodeError) as error:
        raise TextmillError(f"cannot be read as UTF-8 text ({error})", where=path) from error
