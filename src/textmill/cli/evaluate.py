"""`textmill evaluate`: how good a model is, on its own test split or on anybody's rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmill.base.errors import RecipeError
from textmill.cli import completion
from textmill.cli.options import Outcome, Target, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

ROWS = "Score rows that say what is right"

Data = Annotated[
    list[Path] | None,
    typer.Option(
        help="Rows that say what is right (JSONL, CSV, TSV, Parquet, CoNLL, SQuAD).",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=COLUMN",
        help="Columns of --data, such as text=review,label=stars; a number counts columns from 1.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="table|json|conll|squad|spans|chat",
        help="Format of --data, whatever its name says.",
        autocompletion=completion.among("table", "json", "conll", "squad", "spans", "chat"),
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Header = Annotated[
    bool,
    typer.Option(help="Whether the first row of a table names its columns.", rich_help_panel=ROWS),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        help="Task to score; left out: the model's own, or choice where the rows are choices.",
        autocompletion=completion.tasks,
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Train = Annotated[
    list[Path] | None,
    typer.Option(
        help="Training rows for the baselines; left out: what the run was trained on.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Beside = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL|FILE",
        help="Another model, or a file of what another system or a person said of each row: is the difference "
        "real?",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Forms = Annotated[
    list[str] | None,
    typer.Option(
        metavar="'… {query} …'",
        help="Choices: how a query is written; several are averaged.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Alone = Annotated[
    bool,
    typer.Option("--alone", help="Choices: also score options without their query.", rich_help_panel=ROWS),
]
Samples = Annotated[
    int,
    typer.Option(min=1, help="Code: how often each problem is tried.", rich_help_panel=ROWS),
]
Instruct = Annotated[
    bool | None,
    typer.Option(
        "--instruct/--complete",
        help="Code: problems are put in words, or completed as they stand; left out: in words where the model "
        "has a chat template.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
Unsandboxed = Annotated[
    bool,
    typer.Option(
        "--unsandboxed",
        help="Code: run what a model wrote even where the kernel cannot confine it, with all your rights.",
        rich_help_panel=ROWS,
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(help="Also write the report as an HTML page.", show_default=False, rich_help_panel=ROWS),
]
TextFiles = Annotated[
    list[Path] | None,
    typer.Option(help="Score these files as plain text, in bits per byte.", show_default=False),
]
Context = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="With --file: longest window, in tokens; left out: the model's context.",
        show_default=False,
    ),
]
End = Annotated[
    bool | None,
    typer.Option(
        "--end/--no-end",
        help="With --file: whether the end-of-text token is scored; left out: it is.",
        show_default=False,
    ),
]


@verb()
def evaluate(
    workspace: Workspace,
    target: Target,
    data: Data = None,
    columns: Columns = None,
    format_: Format = None,
    header: Header = True,
    task: TaskName = None,
    train: Train = None,
    beside: Beside = None,
    form: Forms = None,
    alone: Alone = False,
    samples: Samples = 1,
    instruct: Instruct = None,
    unsandboxed: Unsandboxed = False,
    page: Page = None,
    file: TextFiles = None,
    context: Context = None,
    end: End = None,
) -> Outcome:
    """Score a run on its test split, or any model on rows that say what is right, with baselines beside it."""
    from textmill.cli.show import stages
    from textmill.stages.evaluation import evaluate as stage

    if not data:
        for name, given in (
            ("columns", columns),
            ("beside", beside),
            ("train", train),
            ("task", task),
            ("form", form),
            ("format", format_),
            ("page", page),
        ):
            if given:
                raise RecipeError(
                    "goes with --data", where=f"--{name}", advice="name a file of rows: --data rows.jsonl"
                )
        result = stage.evaluate(workspace, target, files=file or [], context=context, end=end)
        return result, stages.scores
    if file or context is not None or end is not None:
        raise RecipeError("is of plain text, and --data of rows", where="--file", advice="give one of them")
    from textmill.stages.judging import judge
    from textmill.stages.judging.rows import Files, columns_of
    from textmill.tasks.task import Options

    named = columns_of(columns or [])
    asked = judge.Asked(
        task=task,
        train=Files(train, named, format_, header) if train else None,
        beside=beside,
        options=Options(
            forms=tuple(form or ()), alone=alone, samples=samples, instruct=instruct, unsandboxed=unsandboxed
        ),
    )
    rows = Files(data, named, format_, header)
    return judge.evaluate_rows(workspace, target, rows, asked, out=page), stages.scores
