"""The models folder: other people's models under short names, for every workspace of one person.

`$TEXTMILL_MODELS`, or else where the platform keeps a person's data. A model is a folder there, whose name is its name,
or one `.gguf` file. What came with `textmill models get` or `textmill import` stands beside what a person put there.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from textmill.base.errors import TextmillError

VARIABLE = "TEXTMILL_MODELS"
_PART = re.compile(
    r"-\d{5}-of-\d{5}\.gguf\Z", re.IGNORECASE
)  # of a model in several files, which needs a folder
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf\Z", re.IGNORECASE)  # of a model in several files


def default_folder() -> Path:
    """Where models are kept: $TEXTMILL_MODELS, or a folder of the person's own by the platform's convention."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        given = Path(os.environ.get("XDG_DATA_HOME", ""))
        # the convention: what is not absolute is ignored
        data = given if given.is_absolute() else Path.home() / ".local" / "share"
    return data / "textmill" / "models"


def is_model(path: Path) -> bool:
    """Whether a directory is that of a model, or of an adapter."""
    return any((path / name).is_file() for name in ("config.json", "adapter_config.json"))


def model_in(path: Path) -> Path | None:
    """What is loaded where a path means a model: a directory with a config.json, a .gguf file, or the only .gguf file
    of a directory; None where it means none. Raises TextmillError where a directory holds several .gguf models."""
    if path.is_file():
        return path if path.suffix.lower() == ".gguf" else None
    if is_model(path):
        return path
    if len(files := _gguf_files(path)) > 1:
        raise TextmillError(
            f"holds several models: {', '.join(file.name for file in files)}",
            where=path,
            advice="give the path of the one you mean",
        )
    return files[0] if files else None


def model_files(path: Path) -> list[Path]:
    """The files that a model's directory holds, or that one in a .gguf file stands in; none where it is neither."""
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.is_file()) if is_model(path) else []
    if _PART.search(path.name) is None:
        return [path]
    alike = (one for one in sorted(path.parent.iterdir()) if _PART.search(one.name))
    return [one for one in alike if _PART.split(one.name)[0] == _PART.split(path.name)[0]]


def _gguf_files(path: Path) -> list[Path]:
    """The .gguf files of a directory; of a model in several files, the first."""
    if not path.is_dir():
        return []
    return [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() == ".gguf" and not _LATER_PART.search(file.name) and file.is_file()
    ]


@dataclass(frozen=True)
class ModelsFolder:
    """The models of one folder, by name."""

    path: Path

    def entries(self) -> dict[str, Path]:
        """Each model here: its name, and its folder or file. Whether it can be loaded is not asked."""
        found = {}
        for entry in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            if entry.name.startswith("."):
                continue
            alone = entry.is_file() and entry.suffix.lower() == ".gguf" and not _PART.search(entry.name)
            if alone or is_model(entry) or _gguf_files(entry):
                found[entry.name] = entry
        return found

    def entry(self, name: str) -> Path | None:
        """The folder or file of this name, a .gguf file with or without its extension; None: there is none."""
        entries = self.entries()
        return entries.get(name) or entries.get(f"{name}.gguf")
