"""Examples in `--help`: every command has some, and each is a line that the command takes."""

from __future__ import annotations

import itertools
import shlex

import pytest

from helpers.commands import ROOT, call, commands, walk
from textmill.cli import examples

LINES = [(name, line) for name, lines in examples.EXAMPLES.items() for line in lines]
WIDTH = 76  # what a panel leaves of 80 columns


def test_every_command_has_examples_and_no_other():
    groups = {" ".join(words) for words, _ in walk()} - set(commands())
    assert set(commands()) <= set(examples.EXAMPLES) <= set(commands()) | groups


def parsed(line: str) -> tuple[str, dict]:
    """The command that a line of a shell calls, and its parameters, as typer reads them."""
    words = list(itertools.takewhile(lambda word: word not in ("<", ">", "|"), shlex.split(line)))
    words = words[words.index("textmill") + 1 :]
    context = ROOT.make_context("textmill", words)
    while hasattr(context.command, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context.command_path.partition(" ")[2], context.params


@pytest.mark.parametrize(("name", "line"), LINES)
def test_each_example_parses(name, line):
    command, _ = parsed(line)
    assert command == name or command.startswith(f"{name} ".lstrip())
    assert len(line) <= WIDTH


def test_a_wrong_example_does_not_parse():
    with pytest.raises(Exception, match="No such option"):
        parsed("textmill train mine.toml --stpes 3")


@pytest.mark.parametrize("words", [words for words, _ in walk()], ids=" ".join)
def test_help_shows_them(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = call([*words, "--help"])
    assert said.code == 0
    below = said.out.partition("Examples")[2]
    wanted = examples.EXAMPLES.get(" ".join(words)) or [f"textmill {' '.join(words)} "]
    for line in wanted:
        assert line in below
