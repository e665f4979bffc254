"""`textmill ngram`: n-gram models to and from ARPA files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import check_free, sha256_file
from textmill.specs.generation import GenerationSpec
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.workspace import Workspace


def export(workspace: Workspace, target: str, path: Path) -> dict[str, Any]:
    """Write a published n-gram model as an ARPA file; how many n-grams it holds.

    Raises TextmillError for another kind of model, and for what such a file cannot say.
    """
    from textmill.interop import arpa
    from textmill.interop.huggingface import directory
    from textmill.models.ngram.model import NGram

    model = directory.read_directory(locate_model(workspace, target))
    if not isinstance(model.model, NGram):
        raise TextmillError("is not an n-gram model", where=target, advice='export one of kind = "ngram"')
    check_free(path)
    sizes = arpa.write_arpa(path, model.model, model.tokenizer)
    return {"file": str(path), "bytes": path.stat().st_size, "ngrams": sizes}


def take_in(workspace: Workspace, path: Path, like: str, out: Path) -> dict[str, Any]:
    """Write the standard directory of an ARPA file's model, with the tokenizer of another model (`like`).

    Raises TextmillError when `out` already exists, or when the file holds words that are no tokens.
    """
    from textmill.interop import arpa
    from textmill.interop.huggingface import directory
    from textmill.objectives.causal import CAUSAL
    from textmill.tokenization.tokenizer import Tokenizer

    check_free(out)
    if not path.is_file():
        raise TextmillError("no such file", where=path)
    tokenizer = Tokenizer.load(locate_model(workspace, like))
    model = arpa.read_arpa(path, tokenizer).float()
    info = {"name": path.stem, "objective": CAUSAL.kind, "lineage": {"arpa": sha256_file(path)}}
    directory.write_directory(out, model, tokenizer, GenerationSpec(), info)
    return {"model": str(out), "order": model.spec.order, "vocabulary": model.vocabulary}
