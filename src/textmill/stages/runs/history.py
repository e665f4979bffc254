"""What was trained here and how it went: overviews, curves, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.base.language import say
from textmill.specs import recipe_file as recipes
from textmill.stages.preparation.prepare import still_there
from textmill.stages.runs import chart
from textmill.stages.workspace import lineage, remembrance
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace


def overview(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a run: where it stands, its losses and its score; of one that cannot be read, why (`damage`)."""
    return [_readable(run, workspace) for run in workspace.runs()]


def _readable(run: Run, workspace: Workspace) -> dict[str, Any]:
    try:
        return _row(run, workspace)
    except TextmillError as error:
        return {"name": run.name, "state": "damaged", "path": str(run.path), "damage": str(error)}


def details(workspace: Workspace, name: str) -> dict[str, Any]:
    """A run's row, its curves and its events."""
    run = locate_run(workspace, name)
    return _row(run, workspace) | {
        "curves": curves(run),
        "events": list(run.events()),
        "report": run.report(),
    }


def compare(workspace: Workspace, first: str, second: str) -> dict[str, Any]:
    """Two runs: the keys in which their recipes differ, whether tokenizer and test text are the same (None: not known),
    and their figures."""
    runs = [locate_run(workspace, name) for name in (first, second)]
    plain = [schema.write(run.recipe()) for run in runs]
    changes = [
        {"key": key, "first": old, "second": new}
        for key, old, new in recipes.difference(*plain)
        if key != "name"
    ]
    return {
        "runs": [_row(run, workspace) | {"curves": curves(run)} for run in runs],
        "differences": changes,
        "same": _same(runs, workspace),
    }


def _same(runs: Sequence[Run], workspace: Workspace) -> dict[str, bool | None]:
    """Whether two runs have the same tokenizer, and are judged on the same documents: else their figures are of
    different things."""
    tokenizers = [lineage.read_lineage(run.path).spec["tokenizer"] for run in runs]
    same: dict[str, bool | None] = {"tokenizer": tokenizers[0] == tokenizers[1], "test text": None}
    data = [still_there(run, workspace) for run in runs]
    if all(data):
        read = [
            sorted(
                (text.document_ids[at].tobytes(), int(size))
                for at, size in enumerate(each.store("test").bytes)
            )
            for each in data
            if each is not None and (text := each.texts("test")) is not None
        ]
        same["test text"] = read[0] == read[1]
    return same


def curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Training and validation loss by step, in the unit of the objective."""
    records = run.metrics()
    return {
        "training": [(record["step"], record["loss"]) for record in records if "loss" in record],
        "validation": [
            (record["step"], record["validation"]) for record in records if "validation" in record
        ],
    }


def svg(workspace: Workspace, names: Sequence[str]) -> str:
    """The loss curves of runs as one SVG picture: of more than two, those of the validation split only."""
    from textmill.objectives.table import objective_of

    runs = [locate_run(workspace, name) for name in names]
    units = {objective_of(run.recipe().objective).loss_unit for run in runs}
    unit = units.pop() if len(units) == 1 else "loss"
    if len(runs) > 2:
        series = [chart.Series(run.name, curves(run)["validation"]) for run in runs]
        return chart.line_chart(series, title=say("Validation loss"), x_label=say("step"), y_label=say(unit))
    series = [
        chart.Series(f"{run.name} {say(kind)}", points, smooth=kind == "training")
        for run in runs
        for kind, points in curves(run).items()
    ]
    return chart.line_chart(series, title=say("Loss"), x_label=say("step"), y_label=say(unit))


def _row(run: Run, workspace: Workspace) -> dict[str, Any]:
    records = run.metrics()
    training = [record for record in records if "loss" in record]
    validations = [record["validation"] for record in records if "validation" in record]
    report = run.report() or {}
    forgotten = remembrance.held(run, workspace)
    done = max((record["step"] for record in records if "seconds" in record), default=0)
    start = run.start
    return {
        "name": run.name,
        "state": _state(run, done),
        "step": done,
        "steps": run.steps,
        "loss": training[-1]["loss"] if training else None,
        "best_validation": min(validations) if validations else None,
        "headline": report.get("headline", "bits per byte") if report else None,
        "score": report["table"][0]["value"] if report else None,
        "bits_per_byte": report.get("scores", {}).get("bits_per_byte"),
        "seconds": sum(record.get("seconds", 0.0) for record in records),
        "path": str(run.path),
        "forked": None if start is None or start.model else {"run": start.run, "step": start.step},
        "start": None if start is None else start.named,
        "forgotten": [] if forgotten is None else list(forgotten.documents),
    }


def _state(run: Run, done: int) -> str:
    """Where a run stands; a model that was published from an unfinished run is named by its step."""
    finished, published = False, None
    for event in run.events():
        finished = finished or event["event"] == "finished"
        if event["event"] == "published":
            published = event.get("step")
    if published is None:
        return "trained" if finished else "unfinished"
    return "published" if finished else f"unfinished, step {published:,} published"
