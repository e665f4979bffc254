"""From a person's files to a recipe: look at them (guess.py), propose a recipe (proposal.py), write it down with what
was guessed and how to change it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textmill.base.errors import RecipeError
from textmill.base.language import fill, say
from textmill.base.toml import value
from textmill.specs.corpus import FilesSource, named
from textmill.stages.preparation import starting
from textmill.stages.preparation.guess import Guess, guess, is_tagged
from textmill.stages.preparation.proposal import NOTES, Plain, Start, propose
from textmill.stages.workspace.catalogue import CATALOGUE
from textmill.stages.workspace.models_folder import ModelsFolder, default_folder
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import Rejected
from textmill.text.sources import local
from textmill.text.sources.dataset import split_in
from textmill.text.sources.sample import Sample, sample

_ENDINGS = re.compile(
    r"(\.(csv|tsv|jsonl|ndjson|json|parquet|arrow|conll|txt|gz|bz2|xz|zst))+$", re.IGNORECASE
)
_MOST_FILES = 50  # of a folder that are looked at
_ENGLISH_ENCODER = (
    "minilm-l6-v2"  # reads English, and was trained on more of it than anybody's own records hold
)
_HELPED = (
    "classify",
    "regress",
    "tag",
    "answer",
    "embed",
    "summarize",
)  # tasks that such an encoder helps much


@dataclass(frozen=True)
class Suggestion:
    """A recipe as plain data, with the guess behind it. `start`: a model that would help, and whether it is at hand."""

    recipe: Plain
    guess: Guess
    files: Mapping[str, tuple[str, ...]]  # of each split (`all`: dealt by the recipe)
    aside: tuple[str, ...]  # files of a folder that are not read
    start: str | None = None
    at_hand: bool = False

    @property
    def task(self) -> str:
        """The task it is for."""
        return self.guess.task


def suggest(
    workspace: Workspace,
    paths: Sequence[Path],
    *,
    task: str | None = None,
    columns: Sequence[str] = (),
    start: str | None = None,
    kind: str | None = None,
    minutes: float | None = None,
    name: str | None = None,
    base: Path | None = None,
) -> Suggestion:
    """What to begin with on these files. base: the folder the recipe will stand in; None: paths are absolute.

    columns: `role=column` each, as a person says them. Raises RecipeError where nothing can be made of the files.
    """
    samples, aside = _samples(paths)
    groups = _groups(samples)
    given = _columns(columns)
    main, *others = groups
    found = _guess(groups[main], task, given)
    sources = [_source(found, main, groups[main], base)]
    for part in others:
        like = _guess(groups[part], found.task, given)
        like = (
            replace(like, columns=found.columns)
            if like.format == found.format and like.header == found.header
            else like
        )
        sources.append(_source(like, part, groups[part], base))
    if len(sources) == 2 and main == "train":
        sources[1]["part"] = "test"  # nothing but a score is made of the only part that is held out
    if name is None:
        stem = named_after(Path(samples[0].path))
        name = stem if stem.endswith(found.task) else f"{stem}-{found.task}"
    recipe = propose(found, sources, name=name, minutes=minutes, start=_start(start, workspace), kind=kind)
    helpful = None if start is not None or not _english(found) else _ENGLISH_ENCODER
    return Suggestion(
        recipe,
        found,
        {part: tuple(each.path for each in group) for part, group in groups.items()},
        aside,
        helpful,
        helpful in ModelsFolder(default_folder()).entries(),
    )


def _guess(samples: Sequence[Sample], task: str | None, given: Mapping[str, str | int]) -> Guess:
    """What the files of a split hold: lines that belong together, or all the same, so that the first of them tells."""
    of_lines = len(samples) > 1 and all(sample.lines for sample in samples)
    if of_lines and task in (None, "translate", "summarize", "embed") and not is_tagged(samples[0]):
        aligned = len({sample.rows for sample in samples}) == 1
        if aligned or task is not None:
            return guess(samples, task, given)
    return guess(samples[:1], task, given)


def _english(found: Guess) -> bool:
    return found.task in _HELPED and all(
        column.english for role, column in found.texts.items() if role != "answer"
    )


def _start(model: str | None, workspace: Workspace) -> Start | None:
    """What is to be known of the model to begin with."""
    if model is None:
        return None
    path = Path(model)
    model = str(path.absolute()) if path.exists() and (os.sep in model or model.endswith(".gguf")) else model
    spec = starting.filled({"start": {"model": model}}, f"--from {model}", workspace)["model"]
    return Start(model, spec["kind"], spec["context"])


def _columns(columns: Sequence[str]) -> dict[str, str | int]:
    """What `role=column` says; a column that is a number, and no name, is one."""
    found: dict[str, str | int] = {}
    for each in (part for text in columns for part in text.split(",")):
        role, column = named(each)
        if "=" not in each or not role or not column:
            raise RecipeError(
                f"{each!r} does not say which column is what",
                where="--columns",
                advice="write ROLE=COLUMN, such as text=body",
            )
        found[role] = int(column) if column.lstrip("-").isdecimal() else column
    return found


# --- files --------------------------------------------------------------------------------------------------------
def _samples(paths: Sequence[Path]) -> tuple[list[Sample], tuple[str, ...]]:
    """A look into every file. Text in a folder beside records is no data (README, a list of labels)."""
    if not paths:
        raise RecipeError(
            "names no file", where="--data", advice="give a table (CSV, TSV), JSON lines, Parquet …"
        )
    named_files: list[Path] = []
    of_folders: list[Path] = []
    for path in paths:
        if not path.exists():
            raise RecipeError("no such file or folder", where=f"--data {path}")
        if path.is_dir():
            found = local.files(FilesSource(paths=(str(path),)), Path())
            of_folders += [item[0] for item in found if not isinstance(item, Rejected)][:_MOST_FILES]
        else:
            named_files.append(path)
    samples = [sample(path) for path in [*named_files, *of_folders]]
    readable = [each for each in samples if each.records or any(map(str.strip, each.lines))]
    of_records = [each for each in readable if each.records]
    kept = of_records if of_folders and of_records else readable
    if not kept:
        reasons = "; ".join(f"{each.path}: {each.reason or 'it is empty'}" for each in samples[:3])
        raise RecipeError(f"nothing here can be read: {reasons}", where="--data")
    names = {each.path for each in kept}
    return kept, tuple(each.path for each in samples if each.path not in names)


def _groups(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Files by the split that their names say (`train`, `dev`, `test`), training first; `all` where none says so."""
    parts = {each.path: split_in(Path(each.path).name) for each in samples}
    if "train" not in parts.values() or not {"validation", "test"} & set(parts.values()):
        return {"all": list(samples)}
    groups: dict[str, list[Sample]] = {}
    for part in ("train", "validation", "test"):
        if chosen := [each for each in samples if (parts[each.path] or "train") == part]:
            groups[part] = chosen
    return groups


def named_after(path: Path) -> str:
    """What a recipe on a file is called after: the file, or its folder where that only names a split."""
    stem = _ENDINGS.sub("", path.name)
    if split_in(stem):
        stem = path.absolute().parent.name
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "data"


def _source(found: Guess, part: str, samples: Sequence[Sample], base: Path | None) -> Plain:
    """A source of a recipe that reads these files so."""
    source: dict[str, Any] = {
        "kind": "files",
        "paths": [_relative(Path(each.path), base) for each in samples],
    }
    if found.format is not None:
        source["format"] = found.format
    if not found.header:
        source["header"] = False
    if found.columns:
        source["columns"] = dict(found.columns)
    if part != "all":
        source["part"] = part
    return source


def _relative(path: Path, base: Path | None) -> str:
    """A path as a recipe in `base` has it: relative where it lies below it, or beside it."""
    if base is None:
        return str(path.absolute())
    relative = os.path.relpath(path.absolute(), base.absolute())
    return relative if not relative.startswith(os.path.join("..", "..")) else str(path.absolute())


# --- what is said and written -------------------------------------------------------------------------------------
def described(suggestion: Suggestion) -> list[tuple[str, str, str]]:
    """(what, which, why) of all that was guessed, in words: the task, then each role."""
    found = suggestion.guess
    rows = [("task", found.task, found.why.get("task", ""))]
    for role in {**found.columns, **found.texts}:
        column = found.columns.get(role)
        which = "" if column is None else called(column)
        why = found.why.get(role, "")
        if not which and role in found.texts:
            why = f"{found.texts[role].characters:.0f} characters on average"
        rows.append((role, which, why))
    return rows


def called(column: str | int) -> str:
    """A column, for a person."""
    return fill("column {}", str(column)) if isinstance(column, int) else column


def written(suggestion: Suggestion) -> str:
    """The recipe as TOML, short, with what was guessed and how to change it."""
    recipe = dict(suggestion.recipe)
    found = suggestion.guess
    lines = [
        f"# {say('A recipe of Textmill. `textmill recipe show` spells out every key with its meaning and default.')}"
    ]
    many = f"{found.rows:,}" if found.whole else f"≈ {found.rows:,}"
    lines += [f"# {say(f'Made for {found.task}, from {many} records. What was guessed:')}"]
    for what, which, why in described(suggestion):
        said = ", ".join(filter(None, (which, say(why) if why else "")))
        lines.append(f"#   {what}: {said}")
    if found.left:
        lines.append(f"# {say('left out')}: {', '.join(map(called, found.left))}")
    if found.columns:
        lines.append(f"# {say('Where that is wrong, change `columns` below.')}")
    lines += [f"name = {value(recipe.pop('name'))}", f"task = {value(recipe.pop('task'))}"]
    sources = recipe["corpus"]["sources"]
    recipe["corpus"] = {key: item for key, item in recipe["corpus"].items() if key != "sources"}
    for table, content in recipe.items():
        lines += _table(f"[{table}]", content) if content else []
        for source in sources if table == "corpus" else ():
            lines += _table("[[corpus.sources]]", source)
    return "\n".join(lines) + "\n"


def _table(header: str, content: Mapping[str, Any]) -> list[str]:
    """A table of a recipe, with what its keys are for."""
    lines = ["", header]
    for key, item in content.items():
        text, note = f"{key} = {value(item)}", NOTES.get(key)
        lines.append(f"{text:<39} # {say(note)}" if note and "\n" not in text else text)
    return lines


def offered(suggestion: Suggestion) -> str | None:
    """The command that fetches the model that would help; None: it is at hand, or none would."""
    if suggestion.start is None or suggestion.at_hand or suggestion.start not in CATALOGUE:
        return None
    return f"textmill models get {suggestion.start}"


def plain(suggestion: Suggestion) -> dict[str, Any]:
    """All of it as plain data."""
    found = suggestion.guess
    return {
        "task": found.task,
        "records": found.rows,
        "exact": found.whole,
        "format": found.format,
        "header": found.header,
        "columns": dict(found.columns),
        "why": dict(found.why),
        "left_out": list(found.left),
        "labels": list(found.labels),
        "files": {part: list(paths) for part, paths in suggestion.files.items()},
        "files_left_out": list(suggestion.aside),
        "start": suggestion.start,
        "start_at_hand": suggestion.at_hand,
    }
