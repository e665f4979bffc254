"""Weights kept as a pickle (.bin, .pt, .pth), turned into safetensors by a process of its own.

A pickle is a program. This process never reads one: `pickle_worker.py` does, sandboxed, and only when somebody asks for
it by name.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from textmill.base.confined import Child, ChildEnded, ChildFailed, Limits, Permissions, python_files
from textmill.base.errors import TextmillError
from textmill.base.files import atomic_directory, sha256_file, value_id, write_json
from textmill.interop.huggingface import headers
from textmill.interop.huggingface.stored import INDEX, WEIGHTS

ENDINGS = (".bin", ".pt", ".pth")
_WORKER = Path(__file__).with_name("pickle_worker.py")
_BESIDE = (".json", ".jinja", ".txt", ".model", ".spm")  # what a model needs besides, none of it code
_LARGEST_BESIDE = 256 << 20
_SECONDS, _CPU_SECONDS = 3600, 1800  # for one file
_BASE_BYTES = 8 << 30  # of address space, which torch takes much of before it reads anything
# Of other weights of the same model: optimisers, and the arguments of who trained it.
_NOT_WEIGHTS = ("optimizer", "scheduler", "training_args", "rng_state", "scaler")


def converted(path: Path, under: Path) -> Path:
    """A directory of safetensors with what lies beside the pickles of `path`, a directory or one such file.

    It is kept in `under`, by the hash of what it was made from, so that nothing is converted twice.

    Raises TextmillError where there is no pickle, or where one holds something else than tensors.
    """
    directory = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(file for file in directory.iterdir() if _is_pickle(file))
    if not files or not all(_is_pickle(file) for file in files):
        raise TextmillError(f"holds no pickle ({', '.join('*' + end for end in ENDINGS)})", where=path)
    beside = [
        file
        for file in sorted(directory.iterdir())
        if file.suffix in _BESIDE and file.is_file() and not file.name.endswith(".index.json")
    ]
    name = value_id([(file.name, sha256_file(file)) for file in (*files, *beside)])
    target = under / name
    if target.is_dir():
        return target
    with atomic_directory(target) as place:
        names = _names(len(files))
        for file, into in zip(files, names, strict=True):
            convert(file, place / into)
        if len(names) > 1:
            write_json(place / INDEX, {"weight_map": _map(place, names, path)})
        for file in beside:
            if file.stat().st_size <= _LARGEST_BESIDE:
                shutil.copyfile(file, place / file.name)
    return target


def convert(source: Path, target: Path) -> dict[str, object]:
    """Write the tensors of a pickle as a safetensors file; what the process that read it could give up beforehand.

    Raises TextmillError where it holds something else, or takes too much memory or time.
    """
    size = _BASE_BYTES + 4 * source.stat().st_size
    limits = Limits(_SECONDS, _CPU_SECONDS, memory=size, file_bytes=size, answer_bytes=1 << 16)
    permissions = Permissions(
        open_files=True,
        read=(*python_files(), str(source.resolve())),
        write=(str(target.resolve().parent),),
        threads=True,
    )
    request = {"source": str(source.resolve()), "target": str(target.resolve())}
    try:
        with Child(
            _WORKER, limits=limits, permissions=permissions, environment={"OMP_NUM_THREADS": "1"}
        ) as child:
            told = {**child.given_up(), "tensors": child.ask(request)}
    except (ChildEnded, ChildFailed) as error:
        late = isinstance(error, ChildEnded) and error.reason == "time"
        raise TextmillError(
            f"was not read within {_SECONDS // 60} minutes"
            if late
            else f"could not be read as tensors ({str(error).strip().splitlines()[0][:300]})",
            where=source,
            advice="fetch the model's .safetensors files instead",
        ) from error
    headers.read(target)
    return told


def _is_pickle(file: Path) -> bool:
    return file.suffix in ENDINGS and file.is_file() and not file.stem.startswith(_NOT_WEIGHTS)


def _names(count: int) -> list[str]:
    if count == 1:
        return [WEIGHTS]
    return [f"model-{place:05d}-of-{count:05d}.safetensors" for place in range(1, count + 1)]


def _map(place: Path, names: list[str], where: Path) -> dict[str, str]:
    """Which file holds which tensor."""
    found: dict[str, str] = {}
    for name in names:
        held = headers.read(place / name)
        both = found.keys() & held.keys()
        if both:
            raise TextmillError(
                f"{min(both)} is in two of its pickles",
                where=where,
                advice="name the one file that is the model",
            )
        found |= dict.fromkeys(held, name)
    return found
