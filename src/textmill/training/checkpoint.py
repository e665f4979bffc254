"""Checkpoints: whole or absent, the same bytes for the same state, never a pickle.

    checkpoints/step-00000500/  model.safetensors  optimizer.safetensors  [average.safetensors]
                                state.json  MANIFEST.json

`step` counts the updates made. The manifest holds the SHA-256 of every other file and is written last, in a
directory that takes its name only when everything in it is on the disk. No file holds a time or a path, so
equal states give equal bytes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textmill.base import locks
from textmill.base.disk import disk_errors
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import (
    atomic_directory,
    discard,
    read_json,
    remove_partial,
    sha256_file,
    sync,
)
from textmill.specs.training import SaveSpec

FORMAT = 1
MANIFEST = "MANIFEST.json"
_NAME = re.compile(r"step-(\d{8,})")
_PARTS = ("model", "optimizer", "average")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, tensors by name on the CPU."""

    step: int  # updates made
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]
    average: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint of a directory, if any, and what was passed over to find it."""

    path: Path | None
    damaged: list[DamagedError] = field(default_factory=list)


def path_of(directory: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates stands."""
    return Path(directory) / f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The number of updates a checkpoint's name says."""
    name = _NAME.fullmatch(Path(path).name)
    if not name:
        raise TextmillError("is not the name of a checkpoint", where=path, advice="it reads step-00000500")
    return int(name[1])


def listed(directory: Path) -> list[Path]:
    """All checkpoints of a directory that have a manifest, oldest first; nothing in them is read."""
    paths = [path for path in Path(directory).glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted((path for path in paths if (path / MANIFEST).is_file()), key=step_of)


def save(
    directory: Path,
    step: int,
    *,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
    average: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the checkpoint after `step` updates; when this returns, it is on the disk.

    `state` is plain JSON data without times and paths. A whole checkpoint of the same bytes is left alone.
    Raises TextmillError when the disk is full; earlier checkpoints are then untouched.
    """
    path = path_of(directory, step)
    tensors = {"model": model, "optimizer": optimizer, "average": average}
    with contextlib.suppress(_Unchanged), disk_errors(path), atomic_directory(path) as temporary:
        for name, part in tensors.items():
            if part is not None:
                _write_tensors(temporary / f"{name}.safetensors", part)
        _write_json(temporary / "state.json", dict(state))
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
            for file in sorted(temporary.iterdir())
        }
        manifest = {"format": FORMAT, "step": step, "files": files}
        if _same(path, manifest):
            raise _Unchanged
        _write_json(temporary / MANIFEST, manifest)
    return path


class _Unchanged(Exception):
    """What was to be written stands there already, whole."""


def _same(path: Path, manifest: Mapping[str, Any]) -> bool:
    try:
        return read_json(path / MANIFEST) == manifest and not _faults(path, manifest)
    except TextmillError:
        return False


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Contiguous CPU copies; safetensors orders its header by type and name, so the bytes are fixed."""
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # it wraps what the system said
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _faults(path: Path, manifest: Mapping[str, Any]) -> str:
    """The name of the first file that is not what the manifest says; empty when all are."""
    for name, facts in manifest["files"].items():
        file = path / name
        if (
            not file.is_file()
            or file.stat().st_size != facts["bytes"]
            or sha256_file(file) != facts["sha256"]
        ):
            return name
    return ""


def verify(path: Path) -> dict[str, Any]:
    """Read every byte of a checkpoint; returns its manifest.

    Raises DamagedError, naming the file, when one is missing or was changed after it was written.
    """
    path = Path(path)
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DamagedError("is not a manifest", where=path / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise DamagedError(f"has the unknown format {manifest.get('format')!r}", where=path / MANIFEST)
    if _NAME.fullmatch(path.name) and manifest.get("step") != step_of(path):
        raise DamagedError("is of another step than its folder's name", where=path / MANIFEST)
    try:
        bad = _faults(path, manifest)
    except (KeyError, TypeError) as error:
        raise DamagedError("is not a manifest", where=path / MANIFEST) from error
    if bad:
        fault = (
            "was changed after it was written (its SHA-256 differs)"
            if (path / bad).is_file()
            else "is missing"
        )
        raise DamagedError(
            fault, where=path / bad, advice="go back to an older checkpoint; this one can be deleted"
        )
    return manifest


def load(path: Path) -> Checkpoint:
    """Read a checkpoint after verifying it. Raises DamagedError as `verify` does."""
    path = Path(path)
    manifest = verify(path)
    parts = {
        name: load_file(path / f"{name}.safetensors")
        for name in _PARTS
        if f"{name}.safetensors" in manifest["files"]
    }
    missing = {"model", "optimizer"} - parts.keys()
    if missing or "state.json" not in manifest["files"]:
        raise DamagedError("does not list all files of a checkpoint", where=path / MANIFEST)
    state = read_json(path / "state.json")
    return Checkpoint(manifest["step"], parts["model"], parts["optimizer"], state, parts.get("average"))


def state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside tensors, which are not read. Raises DamagedError where it is damaged."""
    path = Path(path)
    manifest = read_json(path / MANIFEST)
    try:
        facts = {"state.json": manifest["files"]["state.json"]}
    except (KeyError, TypeError) as error:
        raise DamagedError("is not a manifest", where=path / MANIFEST) from error
    if _faults(path, {"files": facts}):
        raise DamagedError(
            "was changed after it was written (its SHA-256 differs)", where=path / "state.json"
        )
    return read_json(path / "state.json")


def newest_whole(directory: Path) -> Found:
    """The newest checkpoint whose every byte is as written, and the damage met on the way to it."""
    damaged = []
    for path in reversed(listed(directory)):
        try:
            verify(path)
            return Found(path, damaged)
        except DamagedError as error:
            damaged.append(error)
    return Found(None, damaged)


def prune(directory: Path, spec: SaveSpec, best: int | None = None) -> list[Path]:
    """Remove what the policy does not keep, oldest first; returns what was removed.

    Kept: the `spec.keep` newest, those at multiples of `spec.forever`, the one of step `best`, and for this time
    those somebody reads (`base.locks.shared`). A checkpoint loses its name before its files, so a crash in between
    leaves no half of it behind. Call it only after a newer checkpoint was saved.
    """
    paths = listed(directory)
    kept = {step_of(path) for path in paths[-spec.keep :]} | {best}
    removed = []
    for path in paths:
        step = step_of(path)
        if step in kept or (spec.forever and step % spec.forever == 0):
            continue
        with disk_errors(path), locks.unread(path) as alone:
            if not alone:
                continue
            discard(path)
            sync(path.parent)
        removed.append(path)
    return removed


__all__ = [
    "Checkpoint",
    "Found",
    "listed",
    "load",
    "newest_whole",
    "path_of",
    "prune",
    "remove_partial",
    "save",
    "state",
    "step_of",
    "verify",
]
