"""What was trained here and how it went: overviews, curves, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textmill.base import schema
from textmill.specs import recipe_file as recipes
from textmill.stages.runs import chart
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace


def overview(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a run: where it stands, its losses and its score."""
    return [_row(run) for run in workspace.runs()]


def details(workspace: Workspace, name: str) -> dict[str, Any]:
    """A run's row, its curves and its events."""
    run = locate_run(workspace, name)
    return _row(run) | {"curves": curves(run), "events": list(run.events()), "report": run.report()}


def compare(workspace: Workspace, first: str, second: str) -> dict[str, Any]:
    """Two runs: the keys in which their recipes differ, and their figures."""
    runs = [locate_run(workspace, name) for name in (first, second)]
    plain = [schema.write(run.recipe()) for run in runs]
    changes = [
        {"key": key, "first": old, "second": new}
        for key, old, new in recipes.difference(*plain)
        if key != "name"
    ]
    return {"runs": [_row(run) | {"curves": curves(run)} for run in runs], "differences": changes}


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
    """The loss curves of runs as one SVG picture: of more than two, those of the validation part only."""
    from textmill.objectives.table import objective_of

    runs = [locate_run(workspace, name) for name in names]
    units = {objective_of(run.recipe().objective).loss_unit for run in runs}
    unit = units.pop() if len(units) == 1 else "loss"
    if len(runs) > 2:
        series = [chart.Series(run.name, curves(run)["validation"]) for run in runs]
        return chart.line_chart(series, title="Validation loss", x_label="step", y_label=unit)
    series = [
        chart.Series(f"{run.name} {kind}", points, smooth=kind == "training")
        for run in runs
        for kind, points in curves(run).items()
    ]
    return chart.line_chart(series, title="Loss", x_label="step", y_label=unit)


def _row(run: Run) -> dict[str, Any]:
    records = run.metrics()
    training = [record for record in records if "loss" in record]
    validations = [record["validation"] for record in records if "validation" in record]
    report = run.report() or {}
    events = [event["event"] for event in run.events()]
    done = max((record["step"] for record in records if "seconds" in record), default=0)
    state = "published" if "published" in events else "trained" if "finished" in events else "unfinished"
    return {
        "name": run.name,
        "state": state,
        "step": done,
        "steps": run.steps,
        "loss": training[-1]["loss"] if training else None,
        "best_validation": min(validations) if validations else None,
        "headline": report.get("headline", "bits per byte") if report else None,
        "score": report["table"][0]["value"] if report else None,
        "bits_per_byte": report.get("scores", {}).get("bits_per_byte"),
        "seconds": sum(record.get("seconds", 0.0) for record in records),
        "path": str(run.path),
    }
