"""Hugging Face data sets on disk, without their library: folders of the hub, and what `save_to_disk` writes.

A hub folder says in the YAML header of its README.md which files belong to which split; where it does not, names of
folders and files do (`data/train-00000-of-00002.parquet`, `test.jsonl`, `validation/x.csv`). `save_to_disk` writes
Arrow streams, one folder a split, each with a state.json that lists its files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs.corpus import DatasetSource, LimitSpec, RecordSpec
from textmill.text.document import Document, Rejected, printable
from textmill.text.sources import front_matter
from textmill.text.sources.formats.stream import Fields
from textmill.text.sources.formats.table import open_file

_CARD, _DICT, _STATE, _INFO = "README.md", "dataset_dict.json", "state.json", "dataset_info.json"
_DESCRIPTIONS = (_CARD, _INFO)  # they decide metadata, so they are among the files whose hashes count
_LONGEST = 1 << 24  # bytes of a description that are read
_ENDINGS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".arrow", ".feather")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_ARCHIVES = (".zip", ".tar", ".tgz")
_OTHER = frozenset((_DICT, _STATE, _INFO, "dataset_infos.json"))
# The words by which the library of data sets knows splits in names.
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_SHARD = re.compile(r"(?:.*/)?data/([\w.]+?)-\d{5}-of-\d{5}\.[a-z.]+")
_PARTS = re.compile(r"[^A-Za-z]+")
_ELSEWHERE = "is not in this folder"
Patterns = tuple[tuple[str, str], ...]  # (split, glob of files), in the order of the header


def files(source: DatasetSource, base: Path) -> Iterator[tuple[Path, str] | Rejected]:
    """(path, location) of every file of the splits that are read, in the order of the splits; descriptions come first.

    base: the folder `source.path` starts at. Raises RecipeError when there is no such folder, no data in it, or
    no such split.
    """
    folder = Path(base) / Path(source.path).expanduser()
    where = f"corpus.sources.path: {source.path}"
    if not folder.is_dir():
        raise RecipeError("is not a folder", where=where, advice="name the folder of the data set")
    data_files, strange = _saved(folder) if _is_saved(folder) else _hub(folder)
    chosen = [name for name, split in data_files if source.split in (None, split)]
    if not chosen:
        splits = ", ".join(sorted({split for _, split in data_files}))
        if not splits:
            raise RecipeError("holds no data file of a known format", where=where)
        raise RecipeError(f"has no split {source.split!r}", where=where, advice=f"it has {splits}")
    above = {str(parent) for name in chosen for parent in PurePosixPath(name).parents}
    for name in sorted(f"{parent}/{name}".removeprefix("./") for parent in above for name in _DESCRIPTIONS):
        if (folder / name).is_file():
            yield folder / name, _place(source, name)
    for name, reason in strange:
        yield Rejected(None, _place(source, name), "read", reason)
    for name in chosen:
        yield folder / name, _place(source, name)


def documents(
    source: DatasetSource, path: Path, location: str, limits: LimitSpec, record: RecordSpec | None = None
) -> Iterator[Document | Rejected]:
    """The rows of one file, each with the data set's licence and the file's split. Descriptions hold none."""
    if path.name in _DESCRIPTIONS:
        return
    name = location[len(_place(source, "")) :]
    folder = path.parents[name.count("/")]
    more = {"split": _split(folder, path.relative_to(folder).as_posix())} | _licence(folder, path.parent)
    for item in open_file(path, location, Fields.of(source, record), limits):
        yield replace(item, metadata={**more, **item.metadata}) if isinstance(item, Document) else item


def _place(source: DatasetSource, name: str) -> str:
    return printable(f"{source.path.rstrip('/') or '/'}/{name}")


def _split(folder: Path, name: str) -> str:
    """The split of a file, by what the data set says, else by its name, else train."""
    if _is_saved(folder):
        return _saved_split(folder / PurePosixPath(name).parent)
    patterns = _patterns(_card(folder))
    return next((split for split, glob in patterns if _glob(glob).fullmatch(name)), None) or (
        split_in(name) or "train"
    )


# --- save_to_disk -------------------------------------------------------------------------------------------------
def _is_saved(folder: Path) -> bool:
    return (folder / _DICT).is_file() or (folder / _STATE).is_file()


def _saved(folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(name, split) of the Arrow files, and (name, why) of what cannot be read."""
    splits = _object(folder / _DICT).get("splits") if (folder / _DICT).is_file() else None
    parts = [split for split in splits if isinstance(split, str)] if isinstance(splits, list) else ["."]
    data_files, strange = [], []
    for part in parts:
        if part != "." and not _inside(part):
            strange.append((part, _ELSEWHERE))
            continue
        listed = _object(folder / part / _STATE).get("_data_files")
        names = (
            [item.get("filename") for item in listed if isinstance(item, dict)]
            if isinstance(listed, list)
            else []
        )
        if not names:
            strange.append((f"{part}/{_STATE}", "lists no data file"))
        for name in names:
            whole = f"{part}/{name}".removeprefix("./")
            if isinstance(name, str) and _inside(name) and (folder / whole).is_file():
                data_files.append((whole, _saved_split(folder / part)))
            else:
                strange.append((whole, _ELSEWHERE))
    return data_files, strange


def _saved_split(folder: Path) -> str:
    """The split a folder holds: its name where it is one of several, else what its state says."""
    if (folder.parent / _DICT).is_file():
        return folder.name
    split = _object(folder / _STATE).get("_split")
    return split if isinstance(split, str) and split else "train"


def _inside(name: str) -> bool:
    """Whether a name stays in its folder."""
    return (
        bool(name) and "/" not in name and "\\" not in name and name not in (".", "..") and "\0" not in name
    )


# --- a folder of the hub ------------------------------------------------------------------------------------------
def _hub(folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(name, split) of the data files, and (name, why) of what is not read."""
    names = [name for name in _walk(folder) if _is_data(name)]
    patterns = _patterns(_card(folder))
    if patterns:
        return _by_header(names, patterns)
    splits = {name: split_in(name) for name in names}
    order = {split: number for number, split in enumerate(_WORDS)}
    if not any(splits.values()):
        return [(name, "train") for name in names], []
    named = [(name, split) for name, split in splits.items() if split]
    strange = [(name, "belongs to no split, while others do") for name, split in splits.items() if not split]
    return sorted(named, key=lambda pair: (order.get(pair[1], len(order)), pair[1], pair[0])), strange


def _by_header(names: list[str], patterns: Patterns) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What the header lists, in its order; a file that two of its patterns fit is read once."""
    split_of: dict[str, str] = {}
    strange = []
    for split, pattern in patterns:
        fitting = [name for name in names if _glob(pattern).fullmatch(name)]
        for name in fitting:
            split_of.setdefault(name, split)
        if not fitting:
            strange.append((pattern, _ELSEWHERE))
    return list(split_of.items()), strange


def _walk(folder: Path) -> list[str]:
    """The files below a folder, sorted, with `/`; nothing hidden, and no link that leads out of it."""
    root = folder.resolve()
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            # The hub's own cache links its snapshots to blobs beside them, which is as good as inside.
            real = path.resolve()
            if real.is_relative_to(root) or real.parent.name == "blobs":
                names.append(name)
    return sorted(names)


def _is_data(name: str) -> bool:
    last = PurePosixPath(name).name.lower()
    for packed in _PACKED:
        last = last.removesuffix(packed)
    return last not in _OTHER and last.endswith((*_ENDINGS, *_ARCHIVES)) and last != "readme.txt"


def split_in(name: str) -> str:
    """The split a name speaks of: that of a shard, else a word in the file's name, else in a folder's."""
    if shard := _SHARD.fullmatch(name):
        return shard[1]
    path = PurePosixPath(name)
    for part in (path.name, *(parent.name for parent in path.parents)):
        for word in _PARTS.split(part.lower()):
            if word in _SPLIT_OF:
                return _SPLIT_OF[word]
    return ""


def _patterns(card: dict[str, Any]) -> Patterns:
    """The files that a header's `configs` name: of the default one, or of all where none is."""
    configs = card.get("configs")
    configs = [config for config in configs if isinstance(config, dict)] if isinstance(configs, list) else []
    named = [c for c in configs if c.get("default") == "true" or c.get("config_name") == "default"]
    patterns = [
        (split, pattern)
        for config in named[:1] or configs
        for split, pattern in _config(config.get("data_files"), str(config.get("data_dir") or ""))
    ]
    return tuple(dict.fromkeys(patterns))


def _config(data_files: Any, folder: str) -> Iterator[tuple[str, str]]:
    if isinstance(data_files, dict):
        entries = list(data_files.items())
    else:
        listed = data_files if isinstance(data_files, list) else [data_files] if data_files else []
        entries = [
            (item.get("split") or "train", item.get("path")) if isinstance(item, dict) else ("train", item)
            for item in listed
        ]
    for split, paths in entries:
        for path in paths if isinstance(paths, list) else [paths]:
            if isinstance(path, str) and path:
                whole = f"{folder.strip('/')}/{path}" if folder.strip("./") else path
                yield str(split), whole.removeprefix("./")
    if not entries and folder.strip("./"):
        yield "train", f"{folder.strip('/').removeprefix('./')}/**"


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """A glob of paths: `*` stays within a folder, `**` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))


# --- descriptions -------------------------------------------------------------------------------------------------
def _licence(*folders: Path) -> dict[str, str]:
    """What the card or the description of a data set says of its licence."""
    for folder in dict.fromkeys(folders):
        for description in (_card(folder), _object(folder / _INFO)):
            licence = description.get("license") or description.get("licence")
            parts = licence if isinstance(licence, list) else [licence]
            text = ", ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
            if text == "other" and isinstance(description.get("license_name"), str):
                text = description["license_name"]
            if text:
                return {"licence": printable(" ".join(text.split()))[:200]}
    return {}


def _card(folder: Path) -> dict[str, Any]:
    return _read(folder / _CARD, front_matter.header)


def _object(path: Path) -> dict[str, Any]:
    return _read(path, json.loads)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """A description, read once for each state it is in; an empty one where it cannot be read."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return {}
    return _parsed(path, parse, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _parsed(path: Path, parse: Callable[[str], Any], changed: int, size: int) -> dict[str, Any]:
    if size > _LONGEST or not path.is_file():
        return {}
    try:
        value = parse(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
