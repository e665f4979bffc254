"""What a stored thing is: of a run its progress, of a model its architecture, size and licence. No weights are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import read_json
from textmill.stages.storage.inventory import MODEL, RUN, Inventory, Stored, files_of
from textmill.stages.workspace import lineage
from textmill.stages.workspace.catalogue import CATALOGUE
from textmill.stages.workspace.models_folder import is_model, model_in
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

ADAPTER = "adapter"


def details(workspace: Workspace, name: str) -> dict[str, Any]:
    """Everything that is known of a stored thing; see Inventory.named for errors."""
    stock = Inventory(workspace)
    item = stock.named(name)
    return stock.row(item) | {
        "made_from": [other.name for other in stock.parents(item)],
        "files": _files(item.path),
        "about": _about(item),
    }


def models(workspace: Workspace) -> dict[str, Any]:
    """The models that commands take by a short name, and those that can be had."""
    stock = Inventory(workspace)
    here = [_listed(stock.row(item) | _about(item)) for item in stock.items if item.kind in (RUN, MODEL)]
    offers = [
        {
            "name": name,
            "about": offer.about,
            "licence": offer.licence,
            "bytes": offer.bytes,
            "here": workspace.models.entry(name) is not None,
        }
        for name, offer in CATALOGUE.items()
    ]
    return {"models": here, "offers": offers, "folder": str(workspace.models.path)}


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    """An adapter is of a kind of its own, whether a run trained it here or it was put into the models folder."""
    return row | {"kind": ADAPTER} if "adapter" in row else row


def _about(item: Stored) -> dict[str, Any]:
    try:
        if item.kind == RUN:
            return _run(Run(item.path))
        if item.kind == MODEL:
            return _model(item.path)
    except TextmillError as error:
        return {"damage": str(error)}
    return {}


def _run(run: Run) -> dict[str, Any]:
    recipe = run.recipe()
    published = is_model(run.model)
    steps = [int(path.name.rpartition("-")[2]) for path in sorted(run.checkpoints.glob("step-*"))]
    about = {"architecture": recipe.model.kind, "objective": recipe.objective.kind, "published": published}
    if recipe.tuning is not None and recipe.start is not None:
        base = getattr(recipe.start.model, "written", recipe.start.model)
        about |= {"adapter": recipe.tuning.kind, "base": str(base)}
    return about | {"step": max(steps, default=0), "steps": run.steps, "checkpoints": steps}


def _model(path: Path) -> dict[str, Any]:
    """Raises TextmillError where its files cannot be believed."""
    model = model_in(path)
    if model is None:
        return {}
    home = model if model.is_dir() else model.parent
    about = _directory(model) if model.is_dir() else _gguf(model)
    if (home / lineage.NAME).is_file() and "fetched" in (spec := lineage.read_lineage(home).spec):
        about |= {key: spec[key] for key in ("about", "licence", "packages") if key in spec}
    return about


def _directory(path: Path) -> dict[str, Any]:
    from textmill.interop.huggingface import headers

    adapter = (path / "adapter_config.json").is_file()
    config = read_json(path / ("adapter_config.json" if adapter else "config.json"))
    shapes = [
        entry.shape for file in sorted(path.glob("*.safetensors")) for entry in headers.read(file).values()
    ]
    about: dict[str, Any] = {"parameters": sum(map(math.prod, shapes)) or None}
    if adapter:
        kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
        about |= {"adapter": str(kind).lower(), "base": base}
    else:
        about["architecture"] = config.get("model_type")
    if (path / "textmill.json").is_file() and (origin := read_json(path / "textmill.json").get("origin")):
        about["origin"] = origin
    return about


def _gguf(path: Path) -> dict[str, Any]:
    from textmill.interop.gguf import reader

    file = reader.read_file(path)
    about = {
        "architecture": file.metadata.get("general.architecture"),
        "parameters": sum(math.prod(entry.shape) for entry in file.tensors.values()),
        "licence": file.metadata.get("general.license"),
    }
    return {key: value for key, value in about.items() if value is not None}


def _files(path: Path) -> dict[str, int]:
    """The bytes of each file and folder in a thing."""
    if not path.is_dir():
        return {path.name: path.stat().st_size}
    entries = sorted(path.iterdir())
    return {entry.name: sum(file.lstat().st_size for file in files_of(entry)) for entry in entries}
