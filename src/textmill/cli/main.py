"""The command line `textmill`: its commands, and how an error ends."""

from __future__ import annotations

import copy
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer
import typer.main

from textmill import __version__
from textmill.cli import (
    chat,
    documents,
    embed,
    ending,
    evaluate,
    exchange,
    help,
    index,
    inspect,
    mcp,
    mix,
    models,
    ngram,
    predict,
    recipes,
    runs,
    sample,
    serve,
    stored,
    work,
)
from textmill.cli.app import App

app = App(
    name="textmill",
    help="Your own text in, your own language model out: collect, prepare, train, evaluate, serve, explain.",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"textmill {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


BEGIN, WORK, MODELS, LOOK = "Begin", "Make a model, stage by stage", "Use a model", "Look"
STORE = "Keep and remove"
app.command(rich_help_panel=BEGIN)(work.quickstart)
app.command(rich_help_panel=BEGIN)(inspect.doctor)
app.add_typer(recipes.app, name="recipe", rich_help_panel=BEGIN)
app.command(rich_help_panel=WORK)(work.check)
app.command(rich_help_panel=WORK)(work.run)
app.command(rich_help_panel=WORK)(work.prepare)
app.command(rich_help_panel=WORK)(work.train)
app.command(rich_help_panel=WORK)(evaluate.evaluate)
app.command(rich_help_panel=WORK)(models.publish)
app.command(
    help="Say of every row what the model's task says: the same rows come out, with the prediction beside them.",
    rich_help_panel=MODELS,
)(predict.predict)
app.command(help="Translate texts, or rows of them.", rich_help_panel=MODELS)(predict.translate)
app.command(help="Summarise texts, or rows of them.", rich_help_panel=MODELS)(predict.summarize)
app.command(help="Answer questions from a passage, row by row.", rich_help_panel=MODELS)(predict.answer)
app.command(help="Label texts, or rows of them.", rich_help_panel=MODELS)(predict.classify)
app.command(help="Find names and other spans in texts, or in rows of them.", rich_help_panel=MODELS)(
    predict.tag
)
app.command(rich_help_panel=MODELS)(models.generate)
app.command(rich_help_panel=MODELS)(chat.chat)
app.command(rich_help_panel=MODELS)(embed.embed)
app.command(rich_help_panel=MODELS)(serve.serve)
app.add_typer(serve.keys, name="keys", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(models.verify)
app.command("import", rich_help_panel=MODELS)(exchange.bring_in)
app.command("export", rich_help_panel=MODELS)(exchange.send_out)
app.command(rich_help_panel=MODELS)(exchange.merge)
app.command(rich_help_panel=MODELS)(mix.mix)
app.command(rich_help_panel=MODELS)(sample.sample)
app.add_typer(ngram.app, name="ngram", rich_help_panel=MODELS)
app.add_typer(documents.docs, name="docs", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(mcp.mcp)
app.add_typer(stored.models, name="models", rich_help_panel=MODELS)
app.add_typer(runs.app, name="runs", rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(runs.report)
app.command(rich_help_panel=LOOK)(runs.compare)
app.add_typer(inspect.data, name="data", rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(inspect.lineage)
app.command("list", rich_help_panel=STORE)(stored.list_)
app.command(rich_help_panel=STORE)(stored.show)
app.command(rich_help_panel=STORE)(stored.rm)
app.add_typer(index.app, name="index", rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(index.trace)
app.command(rich_help_panel=LOOK)(index.forget)


def _interrupt(_number: int, _frame: object) -> None:
    """SIGTERM ends like Ctrl-C: whatever is half-made is taken away, and the exit code says so."""
    raise KeyboardInterrupt


def _of(arguments: Sequence[str]) -> App:
    """The application with the one command that is asked for, or with all where none is: to make the options of sixty
    ready takes longer than all else before one begins."""

    def named(each: Any) -> bool:
        name = each.name or typer.main.get_command_name(each.callback.__name__)
        return name == arguments[0]

    commands, groups = app.registered_commands, app.registered_groups
    if not arguments or not any(map(named, (*commands, *groups))):
        return app
    one = copy.copy(app)
    one.registered_commands, one.registered_groups = (
        list(filter(named, commands)),
        list(filter(named, groups)),
    )
    return one


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 130 interrupted."""
    if "_TEXTMILL_COMPLETE" in os.environ:  # a shell asks what may come next
        app(prog_name="textmill")
    signal.signal(signal.SIGTERM, _interrupt)
    ending.open_streams()
    arguments = sys.argv[1:]
    with ending.ending(arguments) as end:
        command = typer.main.get_command(_of(arguments))
        help.translate(command)
        with command.make_context("textmill", list(arguments)) as context:
            command.invoke(context)
    sys.exit(end.code)
