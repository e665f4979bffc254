"""`textmill quickstart`: from a person's texts or records to a published, verified model in a few minutes.

The recipe it makes is kept beside the artifacts, so that an interrupted quickstart goes on, and so that a person
has a recipe of their own to change.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textmill.base import files, schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.language import fill, say
from textmill.specs import recipe_file as recipes
from textmill.specs.corpus import named
from textmill.specs.model import TrainedSpec
from textmill.specs.recipe import Recipe
from textmill.stages import pipeline, report
from textmill.stages.preparation.prepare import prepare
from textmill.stages.preparation.starting import filled, load_recipe
from textmill.stages.preparation.suggest import Suggestion, described, named_after, plain, suggest
from textmill.stages.runs import history
from textmill.stages.tracing import trace
from textmill.stages.use import mix
from textmill.stages.use.examples import examples
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.tally import NothingKept

_SEQUENCE, _BATCH = 256, 8
_SHARE, _LARGEST_SHARE = 0.05, 0.2  # of the corpus, in each of the two splits that are held back
_HELD_BACK = 8000  # bytes a split should have
_VALIDATIONS = 12
_LEAST_VALIDATED = 2000  # tokens
_MOST_EPOCHS = 8  # of a small corpus: beyond this, more steps only memorise it


def quickstart(
    workspace: Workspace,
    *,
    minutes: float,
    corpus: Sequence[Path] = (),
    data: Sequence[Path] = (),
    task: str | None = None,
    columns: Sequence[str] = (),
    start: str | None = None,
    kind: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Collect, learn a tokenizer, train for about `minutes`, evaluate beside baselines, publish and verify. Then, of a
    language model: generate, trace and mix; of any other task: predict a few held-out records.

    corpus: texts for a language model; data: records for a task, which is guessed where it is not named, as `recipe
    new` does (stages/preparation/suggest.py, with `columns`, `start` and `kind`). Of a corpus `columns` says which
    column of records is the text (`text=body`, or `body` alone), and which other facts are kept.
    """
    started = time.monotonic()
    name = name or _name(minutes, corpus, data, [*columns, *filter(None, (task, start, kind))])
    path = workspace.root / f"{name}.toml"
    guessed = None
    if path.is_file():
        recipe = load_recipe(path, (), workspace)
        workspace.reporter.note(f"going on with {path}")
    elif data or task is not None:
        made = suggest(
            workspace,
            data,
            task=task,
            columns=columns,
            start=start,
            kind=kind,
            minutes=minutes,
            name=name,
        )
        _told(workspace, made)
        guessed = plain(made)
        recipe = _fit_to_time(_of_data(made, workspace), workspace, minutes)
        files.write_text(path, recipes.dumps(recipe))
    else:
        recipe = _recipe(name, _source_of(corpus, columns), share=_split_share(corpus))
        try:
            recipe = _fit_to_time(recipe, workspace, minutes)
        except NothingKept as error:
            raise _without_text(error, corpus) from error
        files.write_text(path, recipes.dumps(recipe))
    result = pipeline.run(recipe, workspace)
    run = workspace.run(name)
    curve = None
    if isinstance(recipe.model, TrainedSpec):
        curve = run.path / "loss.svg"
        files.write_text(curve, history.svg(workspace, [name]))
    page = report.write(workspace, name)["page"]
    seen = _continued(run, workspace, result) if _of_text(recipe) else _said(run, workspace)
    return (
        result
        | seen
        | {
            "guessed": guessed,
            "recipe": str(path),
            "loss_curve": None if curve is None else str(curve),
            "page": page,
            "seconds": round(time.monotonic() - started, 1),
        }
    )


def _told(workspace: Workspace, made: Suggestion) -> None:
    """What was guessed, before anything takes long."""
    for what, which, why in described(made):
        found = fill("{}, {}", which, say(why)) if which and why else which or say(why)
        workspace.reporter.note(fill("{}: {}", say(what), found))


def _continued(run: Run, workspace: Workspace, result: Mapping[str, Any]) -> dict[str, Any]:
    """Of a language model: its samples traced to their documents, and how n-grams do beside it and with it."""
    workspace.reporter.note("tracing the samples to their documents, and comparing the model with n-grams")
    scores = result["scores"]
    table = _beside(scores["table"], mix.beside(run, workspace, test_tokens=scores["targets"]))
    return {
        "scores": scores | {"table": table},
        "traces": trace.of_samples(run, workspace, scores["samples"]),
    }


def _said(run: Run, workspace: Workspace) -> dict[str, Any]:
    """Of any other task: what it says of a few held-out records."""
    return {"examples": examples(run, workspace)}


def _beside(table: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The evaluation's table with other models after the run's own, which is scored already, and before baselines."""
    return [*table[:1], *(row for row in rows if row["name"] != mix.OWN), *table[1:]]


def _name(minutes: float, corpus: Sequence[Path], data: Sequence[Path], more: Sequence[str]) -> str:
    """`quickstart` for the plain command; other data or another time get a name of their own."""
    if not corpus and not data and not more and minutes == 4.0:
        return "quickstart"
    asked = [[str(path.absolute()) for path in (*corpus, *data)], minutes, *more]
    stem = named_after(data[0]) if data else "quickstart"
    return f"{stem}-{files.value_id(asked)[:8]}"


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


def _source_of(corpus: Sequence[Path], columns: Sequence[str]) -> dict[str, Any]:
    """Where the texts of a language model come from."""
    missing = [path for path in corpus if not path.exists()]
    if missing:
        raise RecipeError("no such file or folder", where=f"--corpus {missing[0]}")
    if not corpus:
        return {"kind": "python-stdlib"}
    source: dict[str, Any] = {"kind": "files", "paths": [str(path.absolute()) for path in corpus]}
    if columns:
        source["columns"] = dict(named(column if "=" in column else f"text={column}") for column in columns)
    return source


def _of_data(made: Suggestion, workspace: Workspace) -> Recipe:
    """The recipe that was suggested; of a language model, that of every quickstart on the same sources."""
    if made.task != "generate" or made.recipe.get("start") or made.recipe["model"]["kind"] != "decoder":
        return recipes.build(made.recipe, fill=partial(filled, workspace=workspace))
    corpus = made.recipe["corpus"]
    return _recipe(made.recipe["name"], *corpus["sources"], share=_SHARE)


def _recipe(name: str, *sources: dict[str, Any], share: float) -> Recipe:
    """A small language model."""
    data = {
        "name": name,
        "corpus": {"sources": list(sources), "split": {"validation": share, "test": share}},
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
    return recipes.build(data)


def _split_share(corpus: Sequence[Path]) -> float:
    """The share of a corpus that is held back, twice: more of a small one, so that a score of it means something."""
    if not corpus:
        return _SHARE
    files = (file for path in corpus for file in (path.rglob("*") if path.is_dir() else [path]))
    size = sum(file.stat().st_size for file in files if file.is_file())
    return min(_LARGEST_SHARE, max(_SHARE, _HELD_BACK / max(size, 1)))


def _of_text(recipe: Recipe) -> bool:
    """Whether a recipe is of running text, not of records."""
    from textmill.objectives.table import objective_of

    return objective_of(recipe.objective).reader is None


def _fit_to_time(recipe: Recipe, workspace: Workspace, minutes: float) -> Recipe:
    """The recipe with a budget of this time; how often it is validated and saved, and on how much, follows from the
    speed that is measured here, which may not last. A language model reads its own data a few times at most."""
    from textmill.stages.runs.check import seconds_per_step

    data = prepare(recipe, workspace)
    if not isinstance(recipe.model, TrainedSpec):
        return recipe  # it is made at once
    workspace.reporter.note("measuring this machine's speed")
    seconds = seconds_per_step(data)
    most = recipe.training.steps
    of_text = _of_text(recipe)
    if of_text:
        most = max(10, int(_MOST_EPOCHS * max(data.loader().steps_per_epoch, 1)))
    often = max(5, int(min(minutes * 60 / seconds, most)) // _VALIDATIONS)
    changes: dict[str, Any] = {
        "steps": most,
        "minutes": minutes,
        "evaluate_every": often,
        "save": {"every": often},
    }
    if not of_text:
        an_update = recipe.objective.batch_tokens or recipe.training.batch * recipe.sequence
        changes["evaluate_tokens"] = max(
            _LEAST_VALIDATED, min(recipe.training.evaluate_tokens, often * an_update // 4)
        )
    plain = schema.write(recipe)
    return schema.read(Recipe, {**plain, "training": {**plain["training"], **changes}})
