"""The commands that say of rows what a model's task says of them: `predict`, and one by the name of each task."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base import machine, schema
from textmill.base.console import counted
from textmill.base.errors import RecipeError
from textmill.base.language import say
from textmill.cli import completion
from textmill.cli.generation import options
from textmill.cli.models import AdapterName, Checkpoint, Weights
from textmill.cli.options import Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.base.console import Reporter
    from textmill.specs.generation import GenerationOptions
    from textmill.stages.use.predict import Predicted
    from textmill.stages.workspace.workspace import Workspace

_TOLD = 10  # rows that are skipped, one by one
Given = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Texts, or files of rows (text lines, JSONL, CSV, TSV, Parquet); `-` or nothing reads stdin.",
        show_default=False,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=COLUMN",
        help="Column that holds a text, such as source=en; left out: the column of that name.",
        show_default=False,
    ),
]
Constant = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="ROLE=TEXT",
        help="The same text for every row, such as question=...",
        show_default=False,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="jsonl|csv|tsv|parquet|text",
        help="Format of the input, whatever its name says.",
        autocompletion=completion.among("jsonl", "csv", "tsv", "parquet", "text"),
        show_default=False,
    ),
]
Header = Annotated[bool, typer.Option(help="Whether the first row of a table names its columns.")]
Top = Annotated[int, typer.Option(min=1, max=1000, help="How many answers to each row, best first.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Several labels: least probability; answers: least log odds against having none.",
        show_default=False,
    ),
]
Truncate = Annotated[
    bool,
    typer.Option("--truncate", help="Cut a source that is longer than the model reads; the row says so."),
]
Why = Annotated[
    bool,
    typer.Option("--why", help="Linear models: the n-grams that speak most for the answer, or against it."),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Write rows to this file: .jsonl, .csv, .tsv, .parquet or .txt.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an output that was stopped.")]
As = Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the prediction beside a row.")]


def _predicting(task: str | None, *, writes: bool) -> Callable[..., None]:
    """The command of a task, or with None that of whatever task the model has; writes: with options for how texts are
    written."""
    from textmill.specs.generation import GenerationSpec

    def act(
        workspace: Workspace,
        target: Target,
        given: Given = None,
        file: Annotated[
            list[Path] | None, typer.Option(help="Also read this file.", show_default=False)
        ] = None,
        columns: Columns = None,
        constant: Constant = None,
        kind: Kind = None,
        header: Header = True,
        top: Top = 1,
        threshold: Threshold = None,
        truncate: Truncate = False,
        why: Why = False,
        out: Out = None,
        resume: Resume = False,
        name: As = "prediction",
        weights: Weights = "fp32",
        checkpoint: Checkpoint = None,
        adapter: AdapterName = None,
        json: bool = False,
        *,
        changes: GenerationOptions,
    ) -> Outcome:
        from textmill.stages.judging.rows import columns_of
        from textmill.stages.use import outputs
        from textmill.stages.use import predict as stage
        from textmill.stages.use.model import LanguageModel
        from textmill.tasks.task import Options

        # 1. What is asked, before anything heavy is loaded.
        if resume and out is None:
            raise RecipeError("goes on with an output: name it", where="--resume", advice="--out rows.jsonl")
        place = None if out is None else outputs.Place.of(out)
        texts, files, stdin = stage.sorted_out(given or [])
        inputs = stage.Inputs(
            texts,
            [*files, *(file or [])],
            sys.stdin.buffer if stdin or not (given or file) else None,
            kind,
            header,
            columns_of(columns or []),
            _constant(constant or []),
        )

        # 2. The model, and how it is asked.
        machine.keep_memory()
        model = LanguageModel(workspace, target, weights=weights, checkpoint=checkpoint)
        model = model if adapter is None else model.with_adapter(adapter)
        for text in model.pretrained.warnings:
            workspace.reporter.warn(text)
        generation = model.settings(**changes) if changes else None
        asked = Options(top=top, threshold=threshold, truncate=truncate, why=why, generation=generation)
        predictor = stage.predictor_of(model, asked, task)

        # 3. Row by row.
        counts = Counts(workspace.reporter)
        result = {"model": target, "task": predictor.task.name}
        if place is None:
            found = counts.of(
                stage.predict(predictor, inputs, name=name), seen=sys.stdout.isatty() and not json
            )
            return {**result, **_shown(found, counts, name, whole=json)}, _ends
        decided = stage.decided(predictor, inputs, name)
        with outputs.Output(place, decided, resume=resume) as output:
            for _ in counts.of(stage.written(predictor, inputs, output, name)):
                pass
        return {**result, **counts.plain(), "out": str(out)}, _ends

    act.__name__ = "predict" if task is None else task
    left_out = () if writes else tuple(schema.fields(GenerationSpec))
    return verb()(options(*left_out)(act))


class Counts:
    """How many rows were read, predicted and skipped; each that is skipped is told, the first of them one by one."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.read = self.known = 0
        self.skipped: list[dict[str, Any]] = []

    def of(self, found: Iterator[Predicted], *, seen: bool = False) -> Iterator[Predicted]:
        """The rows, as they are found. seen: they are shown on the screen as they come."""
        from textmill.tasks.prediction import Refused

        for one in found:
            self.read += 1
            self.known += one.said is None
            if isinstance(one.said, Refused):
                self.skipped.append(
                    {"place": one.place, "reason": one.said.reason, "detail": one.said.detail}
                )
                if len(self.skipped) <= _TOLD:
                    self._reporter.warn(f"{one.place}: skipped: {one.said}")
            if not seen and self.read > 1:
                self._reporter.progress("predicting", self.read, unit="rows")
            yield one
        if len(self.skipped) > _TOLD:
            self._reporter.warn(f"{len(self.skipped) - _TOLD:,} more rows skipped")

    def plain(self) -> dict[str, Any]:
        """read = predicted + skipped; `resumed` of the predicted stood in the output before. Where every row was
        skipped, what was asked is not done."""
        return {
            "ok": not self.skipped or self.read > len(self.skipped),
            "read": self.read,
            "predicted": self.read - len(self.skipped),
            "resumed": self.known,
            "skipped": len(self.skipped),
            "skipped_rows": self.skipped,
        }


def _shown(found: Iterator[Predicted], counts: Counts, name: str, *, whole: bool) -> dict[str, Any]:
    """Rows on a terminal readable, in a pipe as lines of JSON, each as soon as it is known; whole: kept for one object
    of JSON instead."""
    from textmill.cli.show import predictions as show
    from textmill.tasks.prediction import Refused

    kept: list[dict[str, Any]] = []
    for one in found:
        if one.said is None or isinstance(one.said, Refused):
            continue
        if whole:
            kept.append(one.plain(name))
        elif sys.stdout.isatty():
            show.prediction(one.row or {}, one.said)
        else:
            print(json.dumps(one.plain(name), ensure_ascii=False), flush=True)
    return {**counts.plain(), **({"predictions": kept} if whole else {})}


def _ends(result: Mapping[str, Any]) -> None:
    """How many rows there were, on stderr: on stdout are the rows."""
    read, predicted, skipped = (result[key] for key in ("read", "predicted", "skipped"))
    text = f"read {counted(read, 'row')}: predicted {predicted:,}, skipped {skipped:,}"
    if result["resumed"]:
        text = f"{text}; {result['resumed']:,} were there before"
    print(say(text), file=sys.stderr)
    reasons = [
        row["reason"] for row in result["skipped_rows"]
    ]  # of tasks/records.py, where a row lacks a text
    missing = [reason.removeprefix("has no ") for reason in reasons if reason.startswith("has no ")]
    if not result["ok"] and len(missing) == skipped:
        roles = ",".join(f"{role}=…" for role in dict.fromkeys(missing))
        text = f"name its columns: --columns {roles}; the same for every row: --with {roles}"
        print(say(text), file=sys.stderr)


def _constant(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        role, equals, value = text.partition("=")
        if not (equals and role.strip()):
            raise RecipeError(f"{text!r} is not ROLE=TEXT", where="--with", advice='such as question="Who?"')
        pairs[role.strip()] = value
    return pairs


predict = _predicting(None, writes=True)
translate = _predicting("translate", writes=True)
summarize = _predicting("summarize", writes=True)
answer = _predicting("answer", writes=False)
classify = _predicting("classify", writes=False)
tag = _predicting("tag", writes=False)
