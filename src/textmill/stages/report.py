"""`textmill report`: one page of a run, whole in one file, to read, print or mail: how it was trained, its scores, what
it writes, on which data, and where it comes from.

Everything shown was written down before, and nothing is computed anew; what is gone or was not done yet is said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textmill.base import renamed
from textmill.base.console import amount, duration
from textmill.base.errors import TextmillError
from textmill.base.files import check_free, read_json, write_text
from textmill.base.language import fill, say
from textmill.base.page import Html, element, facts, html, page, section, table
from textmill.objectives.table import objective_of
from textmill.stages.evaluation import page as evaluated
from textmill.stages.runs import chart, history
from textmill.stages.tracing import ancestry
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

NAME = "report.html"
_EVENTS = 40  # shown, the newest
_REASONS = 12  # shown, those of most documents


def write(workspace: Workspace, name: str, out: Path | None = None) -> dict[str, Any]:
    """Write a run's page beside it, where it replaces the last one, or to `out`, where nothing may be yet."""
    if out is not None:
        check_free(out)
    path = locate_run(workspace, name).path / NAME if out is None else out
    text = render(gather(workspace, name), path.absolute().parent)
    write_text(path, text, private=out is None)
    return {"run": name, "page": str(path), "bytes": len(text.encode())}


def gather(workspace: Workspace, name: str) -> dict[str, Any]:
    """What a run's page says, as plain data. Raises TextmillError when there is no such run, or its records are
    damaged."""
    run = locate_run(workspace, name)
    recipe = run.recipe()
    lineage, corpus = _lineage(run, workspace)
    return {
        "run": history.details(workspace, str(run.path)),
        "unit": objective_of(recipe.objective).loss_unit,
        "rates": [
            (record["step"], record["learning_rate"]) for record in run.metrics() if "learning_rate" in record
        ],
        "environment": run.environment(),
        "corpus": corpus,
        "lineage": lineage,
        "recipe": run.recipe_file.read_text(encoding="utf-8").partition("\n")[2],
    }


def _lineage(run: Run, workspace: Workspace) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The artifacts a run comes from, and the report of its corpus with where its data card is; None: gone."""
    try:
        rows = ancestry.tree(workspace, str(run.path))["artifacts"]
    except TextmillError:  # a run that was begun before there was a lineage, or whose lineage is damaged
        return [], None
    for row in rows:
        if row.get("kind") == "corpus" and (Path(row["path"]) / "report.json").is_file():
            report = renamed.current(read_json(Path(row["path"]) / "report.json"))
            return rows, {"report": report, "path": row["path"]}
    return rows, None


def render(gathered: Mapping[str, Any], near: Path) -> str:
    """The page of what was gathered, as HTML. Places are told from the folder it stands in, `near`."""
    run = gathered["run"]
    return page(
        run["name"],
        (
            _summary(gathered),
            section(say("Curves"), *_curves(gathered)),
            section(say("Scores"), _scores(run["report"])),
            *(evaluated.sections(run["report"]) if run["report"] is not None else ()),
            section(say("Samples"), *_samples(run["report"])),
            section(say("Data"), _data(gathered["corpus"], near)),
            section(say("Lineage"), _ancestors(gathered["lineage"], near)),
            section(say("Events"), _events(run["events"])),
            section(say("Settings"), element("pre", gathered["recipe"])),
        ),
    )


def _summary(gathered: Mapping[str, Any]) -> Html:
    run, made_on = gathered["run"], gathered["environment"]
    machine = [f"{made_on[key]}" for key in ("cpu", "machine", "system") if key in made_on]
    return facts(
        {
            say("state"): say(run["state"]),
            say("steps"): f"{run['step']:,} / {run['steps']:,}",
            say("best validation loss"): _figure(run["best_validation"], gathered["unit"]),
            say("score"): _figure(run["score"], run["headline"] or ""),
            say("training time"): duration(run["seconds"]),
            say("started from"): say(run["start"] or "") or None,
            say("forgotten documents it was trained on"): ", ".join(run["forgotten"]) or None,
            say("machine"): ", ".join([*machine, *made_on.get("gpus", ())]) or None,
            say("software"): f"textmill {made_on.get('textmill', '?')}, torch {made_on.get('torch', '?')}",
        }
    )


def _figure(value: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return fill("{} {}", f"{value:.4f}", say(unit)) if unit else f"{value:.4f}"


def _curves(gathered: Mapping[str, Any]) -> list[Html]:
    curves, rates = gathered["run"]["curves"], gathered["rates"]
    losses = [chart.Series(kind, points, smooth=kind == "training") for kind, points in curves.items()]
    charts = []
    if any(line.points for line in losses):
        charts.append(
            chart.line_chart(losses, title=say("Loss"), x_label=say("step"), y_label=say(gathered["unit"]))
        )
    if rates:
        series = [chart.Series(say("learning rate"), rates, marked=False)]
        charts.append(
            chart.line_chart(
                series, title=say("Learning rate"), x_label=say("step"), y_label=say("learning rate")
            )
        )
    return [Html(drawn) for drawn in charts]


def _scores(report: Mapping[str, Any] | None) -> Html:
    if report is None:
        return element("p", say("not evaluated yet"), kind="dim")
    sizes = f"{report['documents']:,} / {report['targets']:,} / {amount(report['bytes'], 'B')}"
    return html(
        element("p", say(report["on"]), kind="dim"),
        evaluated.summary(report),
        element("p", f"{say('documents, targets, bytes')}: {sizes}", kind="dim"),
    )


def _samples(report: Mapping[str, Any] | None) -> list[Html]:
    parts = []
    for sample in (report or {}).get("samples", ()):
        parts.append(element("blockquote", element("b", sample["prompt"]), sample["text"]))
        if truth := sample.get("truth"):
            parts.append(element("p", say("the document says:"), " ", truth, kind="dim"))
    return parts


def _data(corpus: Mapping[str, Any] | None, near: Path) -> Html:
    if corpus is None:
        return element("p", say("its corpus no longer exists"), kind="dim")
    report = corpus["report"]
    counts = {key: f"{report[key]['documents']:,}" for key in ("read", "kept", "skipped")}
    splits = [
        (name, f"{row['documents']:,}", amount(row["bytes"], "B")) for name, row in report["splits"].items()
    ]
    reasons = sorted(report["reasons"], key=lambda row: -row["documents"])[:_REASONS]
    personal = [
        (say(kind), f"{row['found']:,}", f"{row['documents']:,}") for kind, row in report["personal"].items()
    ]
    languages = sorted(report["languages"].items(), key=lambda pair: -pair[1]["bytes"])[:_REASONS]
    card = os.path.relpath(Path(corpus["path"]) / "card.html", near)
    return html(
        facts(
            {
                say("documents read"): counts["read"],
                say("documents kept"): counts["kept"],
                say("documents skipped"): counts["skipped"],
                say("data card"): card,
            }
        ),
        table((say("split"), say("documents"), say("bytes")), splits, right=(1, 2)),
        table(
            (say("skipped by"), say("reason"), say("documents")),
            [(row["step"], say(row["reason"]), f"{row['documents']:,}") for row in reasons],
            right=(2,),
        ),
        table((say("personal data"), say("found"), say("documents")), personal, right=(1, 2)),
        table(
            (say("language"), say("documents"), say("bytes")),
            [(name, f"{row['documents']:,}", amount(row["bytes"], "B")) for name, row in languages],
            right=(1, 2),
        ),
    )


def _ancestors(rows: Sequence[Mapping[str, Any]], near: Path) -> Html:
    lines = []
    for row in rows:
        start = row.get("start")
        began = say(f"started from {start}") if start else ""
        sources = f"{say('source files')}: {row['inputs']:,}" if "inputs" in row else ""
        place = os.path.relpath(row["path"], near) if "path" in row else row.get("state", "")
        kind = "\N{NO-BREAK SPACE}" * (4 * row["depth"]) + say(row.get("kind", "?"))
        lines.append((kind, row.get("id", "")[:16], place, "; ".join(filter(None, (began, sources)))))
    return table((say("artifact"), say("id"), say("path"), ""), lines)


def _events(events: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        (
            event["time"],
            event["event"],
            ", ".join(f"{key} {value}" for key, value in event.items() if key not in ("time", "event")),
        )
        for event in [event for event in events if event["event"] != "saved"][-_EVENTS:]
    ]
    return table((say("time"), say("event"), ""), rows)
