"""Options that several commands share, and how a command ends: in a table or in one JSON object (errors: ending)."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from textmill.base.console import Reporter, Silent, listening, print_json
from textmill.base.errors import FAILED, RecipeError
from textmill.cli import completion

if TYPE_CHECKING:
    from textmill.specs.recipe import Recipe
    from textmill.stages.workspace.workspace import Workspace


@dataclass(frozen=True)
class Named:
    """Marks a parameter that names a run or a model (`runs`: only a run): it is looked up before a command begins."""

    runs: bool = False


RecipeFile = Annotated[Path, typer.Argument(help="Recipe, a TOML file.", show_default=False)]
_TARGET = typer.Argument(
    help="Name of a run or of a model of `textmill models`, or a path: a run, a model's directory, a .gguf file.",
    show_default=False,
    autocompletion=completion.targets,
)
Target = Annotated[str, _TARGET, Named()]
OptionalTarget = Annotated[str | None, _TARGET, Named()]
RunName = Annotated[
    str,
    typer.Argument(
        help="Name of a run, or path of its folder.", show_default=False, autocompletion=completion.runs
    ),
    Named(runs=True),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=V",
        help="Override a key of the recipe; may be given several times.",
        show_default=False,
        autocompletion=completion.keys,
    ),
]
Phase = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="One phase of a recipe that has several.", show_default=False),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="MODEL",
        help="Begin with a trained model: a run, a model's directory or a .gguf file (start.model).",
        show_default=False,
    ),
]
# Of completion.TASKS those that data are recognised for.
TASK_NAMES = ("translate", "summarize", "answer", "classify", "tag", "embed", "regress", "chat", "generate")
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="What it is for: " + ", ".join(TASK_NAMES) + "; left out: guessed from the data.",
        show_default=False,
        autocompletion=completion.among(*TASK_NAMES),
    ),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Your records: CSV, TSV, JSON lines, Parquet, CoNLL, SQuAD …, or a folder of them; train, dev and test in "
        "their names are splits. Two files aligned line by line: both.",
        show_default=False,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=COLUMN",
        help="Which column is what, such as text=body,label=3; left out: guessed.",
        show_default=False,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        help="Family of the model, such as linear, encoder, recurrent; left out: the usual one of the task.",
        show_default=False,
        autocompletion=completion.among(
            "linear", "encoder", "decoder", "recurrent", "encoder-decoder", "recurrent-encoder-decoder"
        ),
    ),
]
Work = Annotated[
    Path,
    typer.Option("--work", envvar="TEXTMILL_WORK", metavar="DIR", help="Where artifacts and runs are kept."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")]
WORK = Path("work")
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_SHARED = {
    "work": inspect.Parameter("work", _KEYWORD, default=WORK, annotation=Work),
    "json": inspect.Parameter("json", _KEYWORD, default=False, annotation=Json),
    "quiet": inspect.Parameter("quiet", _KEYWORD, default=False, annotation=Quiet),
}
# What a command found out, as plain data, and what shows it to a person; None where there is nothing to say.
Outcome = tuple[Any, Callable[[Any], None]] | None


def verb(*, silent: bool = False) -> Callable[[Callable[..., Outcome]], Callable[..., None]]:
    """Makes a command of a function that acts in a workspace, its first parameter. The others are its options,
    with --work, --json and, unless it is `silent`, --quiet after them.

    The command shows the outcome, or prints its data as one JSON object. Data that say they are not `ok` end it with 1.
    """

    def give(act: Callable[..., Outcome]) -> Callable[..., None]:
        def command(work: Path, json: bool, quiet: bool = True, **arguments: Any) -> None:
            for name, value in arguments.items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise RecipeError("must be a finite number", where=f"--{name.replace('_', '-')}")
            with opened(work, quiet) as workspace:
                for name, named in wanted.items():
                    for target in _given(arguments[name]):
                        check_named(workspace, target, runs=named.runs)
                outcome = act(workspace, **arguments, **({"json": json} if asks else {}))
            if outcome is None:
                return
            result, show = outcome
            print_json(result) if json else show(result)
            if isinstance(result, Mapping) and not result.get("ok", True):
                raise typer.Exit(FAILED)

        own = parameters(act, "workspace")
        asks = any(each.name == "json" for each in own)  # what is printed row by row asks whether it may be
        own = [each for each in own if each.name != "json"]
        wanted = {each.name: named for each in own if (named := _named(each)) is not None}
        shared = [parameter for name, parameter in _SHARED.items() if not (silent and name == "quiet")]
        return declared(command, act, [*own, *shared])

    return give


def _named(parameter: inspect.Parameter) -> Named | None:
    """How a parameter is marked as a name."""
    marks = [mark for mark in get_args(parameter.annotation) if isinstance(mark, Named)]
    return marks[0] if marks else None


def _given(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def declared(
    command: Callable[..., None], act: Callable[..., object], options: Iterable[inspect.Parameter]
) -> Callable[..., None]:
    """`command` under the name and with the help of `act`, as a command with these options."""
    functools.update_wrapper(command, act)
    del command.__wrapped__  # type: ignore[attr-defined]  (its options are not these)
    command.__signature__ = inspect.Signature(list(options))  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command


def parameters(act: Callable[..., object], left_out: str) -> list[inspect.Parameter]:
    """The parameters of a function but one, all by keyword, so that options may stand after those with defaults."""
    names = {
        "Workspace": object,
        "Outcome": object,
        "GenerationOptions": object,
        "Filter": object,
    }  # known to type checkers only
    own = inspect.signature(act, locals=names, eval_str=True).parameters.values()
    return [parameter.replace(kind=_KEYWORD) for parameter in own if parameter.name != left_out]


def check_named(workspace: Workspace, target: str, *, runs: bool = False) -> None:
    """See stages/workspace/locate.py, which is not loaded before it is needed."""
    from textmill.stages.workspace import locate

    locate.check_named(workspace, target, runs=runs)


def open_workspace(work: Path, *, quiet: bool = False) -> Workspace:
    """The workspace of these options: a live screen on a terminal, plain lines elsewhere."""
    from textmill.stages.workspace.workspace import Workspace

    return Workspace(Path(work).expanduser().absolute(), reporter(quiet))


@contextlib.contextmanager
def opened(work: Path, quiet: bool) -> Iterator[Workspace]:
    """The same, for as long as the work takes; the terminal is given back however it ends.

    Raises RecipeError for a --work that is no folder and cannot become one."""
    workspace = open_workspace(work, quiet=quiet)
    _check_folder(workspace.root)
    try:
        with listening(workspace.reporter):
            yield workspace
    finally:
        workspace.reporter.close()


def _check_folder(path: Path) -> None:
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecipeError(f"cannot be read ({error.strerror})", where=f"--work: {path}") from error
    if not stat.S_ISDIR(kind):
        raise RecipeError("is not a folder", where=f"--work: {path}")


def reporter(quiet: bool) -> Reporter:
    """Whom the stages tell."""
    if quiet:
        return Silent()
    if sys.stderr.isatty():
        from textmill.cli.screen import Screen

        return Screen()
    return Reporter()


def read_recipe(
    path: Path, overrides: list[str] | None, workspace: Workspace, *, phase: str | None = None
) -> Recipe:
    """The checked recipe of these options; of one with phases, the phase of that name."""
    from textmill.stages.preparation import starting

    _check_there(path)
    return starting.load_recipe(path, overrides or (), workspace, phase=phase)


def read_recipes(
    path: Path, overrides: list[str] | None, workspace: Workspace, *, start: str | None, phase: str | None
) -> Iterator[Recipe]:
    """The recipe of these options, or its phases one after the other; start: the model the first one begins with."""
    from textmill.stages.preparation import starting

    _check_there(path)
    return starting.load_recipes(path, overrides or (), workspace, start=start, phase=phase)


def _check_there(path: Path) -> None:
    if path.suffix != ".toml" and not path.exists():
        raise RecipeError("no such recipe", where=path, advice="`textmill recipe new NAME.toml` makes one")
