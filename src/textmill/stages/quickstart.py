"""`textmill quickstart`: from raw text to a published, verified model in a few minutes.

The recipe it makes is kept beside the artifacts, so that an interrupted quickstart goes on, and so that a person
has a recipe of their own to change.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textmill.base import files, schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs import recipe_file as recipes
from textmill.specs.corpus import named
from textmill.specs.recipe import Recipe
from textmill.stages import pipeline, report
from textmill.stages.preparation.prepare import prepare
from textmill.stages.runs import history
from textmill.stages.tracing import trace
from textmill.stages.use import mix
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.tally import NothingKept

_SEQUENCE, _BATCH = 256, 8
_SHARE, _LARGEST_SHARE = 0.05, 0.2  # of the corpus, in each of the two splits that are held back
_HELD_BACK = 8000  # bytes a split should have
_MOST_EPOCHS = 8  # of a small corpus: beyond this, more steps only memorise it


def quickstart(
    workspace: Workspace,
    *,
    minutes: float,
    corpus: Sequence[Path] = (),
    columns: Sequence[str] = (),
    name: str | None = None,
) -> dict[str, Any]:
    """Collect, learn a tokenizer, train for about `minutes`, evaluate, generate, publish, verify, trace, mix.

    columns: of records, which column is the text (`text=body`, or `body` alone), and which other facts are kept.
    """
    started = time.monotonic()
    name = name or _name(minutes, corpus, columns)
    path = workspace.root / f"{name}.toml"
    if path.is_file():
        recipe = recipes.load(path)
        workspace.reporter.note(f"going on with {path}")
    else:
        recipe = _recipe(name, corpus, columns)
        try:
            recipe = _fit_to_time(recipe, workspace, minutes)
        except NothingKept as error:
            raise _without_text(error, corpus) from error
        files.write_text(path, recipes.dumps(recipe))
    result = pipeline.run(recipe, workspace)
    run = workspace.run(name)
    curve = run.path / "loss.svg"
    files.write_text(curve, history.svg(workspace, [name]))
    page = report.write(workspace, name)["page"]
    workspace.reporter.note("tracing the samples to their documents, and comparing the model with n-grams")
    scores = result["scores"]
    return result | {
        "scores": scores
        | {"table": _beside(scores["table"], mix.beside(run, workspace, test_tokens=scores["targets"]))},
        "traces": trace.of_samples(run, workspace, scores["samples"]),
        "recipe": str(path),
        "loss_curve": str(curve),
        "page": page,
        "seconds": round(time.monotonic() - started, 1),
    }


def _beside(table: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The evaluation's table with other models after the run's own, which is scored already, and before baselines."""
    return [*table[:1], *(row for row in rows if row["name"] != mix.OWN), *table[1:]]


def _name(minutes: float, corpus: Sequence[Path], columns: Sequence[str]) -> str:
    """`quickstart` for the plain command; another corpus or time gets a name of its own."""
    if not corpus and minutes == 4.0:
        return "quickstart"
    asked = [[str(path.absolute()) for path in corpus], minutes, *columns]
    return "quickstart-" + files.value_id(asked)[:8]


def _without_text(error: NothingKept, corpus: Sequence[Path]) -> TextmillError:
    """The error of a corpus of records none of which has a column `text`: what it has, and the line to run."""
    suggested = re.search(r'"(text=[^"]+)"', error.detail)
    if suggested is None:
        return error
    paths = " ".join(f"--corpus {shlex.quote(str(path))}" for path in corpus)
    return RecipeError(
        f"none of its columns is called text: {error.detail.partition(';')[0]}",
        where=", ".join(map(str, corpus)),
        advice=f"say which column is the text: textmill quickstart {paths} --columns {shlex.quote(suggested[1])}",
    )


def _recipe(name: str, corpus: Sequence[Path], columns: Sequence[str]) -> Recipe:
    missing = [path for path in corpus if not path.exists()]
    if missing:
        raise RecipeError("no such file or folder", where=f"--corpus {missing[0]}")
    if corpus:
        source: dict[str, Any] = {"kind": "files", "paths": [str(path.absolute()) for path in corpus]}
        if columns:
            source["columns"] = dict(
                named(column if "=" in column else f"text={column}") for column in columns
            )
    else:
        source = {"kind": "python-stdlib"}
    share = _split_share(corpus)
    data = {
        "name": name,
        "corpus": {"sources": [source], "split": {"validation": share, "test": share}},
        "tokenizer": {"kind": "bpe", "vocabulary": 4096},
        "model": {
            "d_model": 192,
            "layers": 4,
            "heads": 3,
            "d_ff": 512,
            "context": _SEQUENCE,
        },
        "training": {
            "batch": _BATCH,
            "optimizer": {"kind": "muon", "rest": {"lr": 0.01}},
            "schedule": {"kind": "wsd", "warmup": 0.03, "decay": 0.6, "floor": 0.0},
            "evaluate_every": 100,
            "evaluate_tokens": 50_000,
            "save": {"every": 100},
        },
        "generation": {"tokens": 120, "temperature": 0.7},
    }
    return schema.read(Recipe, data)


def _split_share(corpus: Sequence[Path]) -> float:
    """The share of a corpus that is held back, twice: more of a small one, so that a score of it means something."""
    if not corpus:
        return _SHARE
    files = (file for path in corpus for file in (path.rglob("*") if path.is_dir() else [path]))
    size = sum(file.stat().st_size for file in files if file.is_file())
    return min(_LARGEST_SHARE, max(_SHARE, _HELD_BACK / max(size, 1)))


def _fit_to_time(recipe: Recipe, workspace: Workspace, minutes: float) -> Recipe:
    """The recipe with a budget of this time, within a few epochs of its own data; how often it is validated and saved
    follows from the speed that is measured here, which may not last."""
    from textmill.stages.runs.check import seconds_per_step

    data = prepare(recipe, workspace)
    workspace.reporter.note("measuring this machine's speed")
    seconds = seconds_per_step(data)
    epoch = data.loader().steps_per_epoch
    most = max(10, int(_MOST_EPOCHS * max(epoch, 1)))
    often = max(5, int(min(minutes * 60 / seconds, most)) // 12)
    changes = {"steps": most, "minutes": minutes, "evaluate_every": often, "save": {"every": often}}
    plain = schema.write(recipe)
    return schema.read(Recipe, {**plain, "training": {**plain["training"], **changes}})
