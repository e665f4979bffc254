"""Whatever is wrong with a command line, it ends in a message: never in a traceback, never in silence.

The lines are made from the commands themselves: for every command a line that is right, in which one parameter after
the other takes hostile values of its type. A new command or option is tried without being named here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from helpers.commands import Said, call, commands, line, parameters, right_line, right_values
from textmill.base import schema
from textmill.specs.generation import GenerationSpec

LONG = "x" * 300
BYTES = "\udcff\udcfe"  # as Python reads arguments that are not UTF-8
WORDS = ["", "nonsense", LONG, BYTES, "[/bold] \x1b[2J ☃", "-", "--", "nowhere/at/all", ".", f"{LONG}/y"]
WORDS += [
    "/proc/nowhere/x",
    "notes.txt/x",
    "bytes.bin",
    "notes.txt",
    "/dev/null",
    "broken",
    "work/runs/broken",
]
NUMBERS = ["-1", "0", "nan", "inf", "-inf", "1e999", "9" * 25, "1.5", "", "many", BYTES]
SETTINGS = ["", "a", "=", "name=", "name='../x'", f"name='{LONG}'", "training.steps=nan", "training.steps=-1"]
SETTINGS += [f"training.steps={'9' * 25}", "model=3", "corpus.sources=[]", "corpus.steps=[{kind='x'}]", BYTES]
SETTINGS += [
    "corpus.sources=[{kind='files', paths=['a\\u0000b']}]",
    "training.batch=0",
    "seed=-99999999999999999999",
]
ENDS = (0, 1, 2)  # done, failed, wrong use
SECONDS = 60  # what takes longer would be interrupted, and end with 130


def hostile(parameter) -> list:
    """Values that may be wrong for a parameter, by what it is."""
    if parameter.name == "set_":
        return SETTINGS
    kind = str(parameter.type_descriptor.annotation)
    if "bool" in kind:
        return [True]
    return NUMBERS if "int" in kind or "float" in kind else WORDS


def values() -> Iterator[tuple[str, str, list]]:
    """Every parameter of every command, and the values it is given."""
    for command in commands():
        for parameter in parameters(command):
            yield command, parameter.name, hostile(parameter)


def wrong(command: str, name: str, value) -> list[str]:
    return line(command, right_values(command) | {name: value})


def check(arguments: list[str], **settings) -> Said:
    said = call(arguments, seconds=SECONDS, **settings)
    assert "Traceback" not in said.err, f"{arguments}\n{said.err}"
    assert said.code in ENDS, f"{arguments}\n{said.err}"
    assert said.code == 0 or said.err.strip() or said.out.strip(), f"{arguments}: {said.code} and not a word"
    return said


def few() -> list[tuple[str, str, object]]:
    """One value of each parameter that takes one, another each time."""
    turns: dict[int, itertools.cycle] = {}
    chosen = []
    for command, name, given in values():
        if len(given) > 1 and not (
            command == "chat" and name in schema.fields(GenerationSpec)
        ):  # as in generate
            chosen.append((command, name, next(turns.setdefault(id(given), itertools.cycle(given)))))
    return chosen


BY_NAME = {"summarize", "translate", "answer", "classify", "tag"}  # `predict`, by the names of tasks


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=pytest.mark.slow if name in BY_NAME else ()) for name in sorted(commands())],
)
def test_a_wrong_value_of_each_parameter_is_a_message(command, place):
    for name, value in [(name, value) for of, name, value in few() if of == command]:
        check(wrong(command, name, value))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "name", "given"), list(values()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_wrong_value_is_a_message(command, name, given, place):
    for value in given:
        check(wrong(command, name, value))


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_broken_run_is_a_message(command, place):
    given = right_values(command)
    for name in {"target", "name", "first", "second", "names", "models", "like"} & set(given) - {"out"}:
        check(line(command, given | {name: "broken"}))


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "gbk"])
def test_whatever_a_terminal_can_write(encoding, place):
    for command in (
        "runs list",
        "runs show",
        "lineage",
        "doctor",
        "generate",
        "compare",
        "data where",
        "index search",
    ):
        assert check(right_line(command), encoding=encoding).code == 0
        assert check(right_line(command, "--json"), encoding=encoding).code == 0
    assert check(["--help"], encoding=encoding).code == 0


@pytest.mark.parametrize("command", sorted(commands()))
@pytest.mark.parametrize(
    "work",
    [
        "/proc/nowhere",
        "notes.txt",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("notes.txt/work", BYTES, LONG, "/dev/null")
        ),
    ],
)
def test_a_workspace_that_cannot_be(command, work, place):
    check(line(command, right_values(command) | {"work": work}))


@pytest.mark.parametrize("work", ["notes.txt", "notes.txt/work", "/dev/null"])
def test_a_file_is_no_empty_workspace(work, place):
    for command in (["list"], ["runs"], ["models"]):
        said = call([*command, "--work", work])
        assert (said.code, said.out) == (2, "")
        assert "--work" in said.err


def test_an_option_without_its_value_is_said_of_its_command(place):
    for command in (["generate"], ["data", "where"]):
        said = call([*command, "--work"])
        assert said.code == 2
        assert f"textmill {' '.join(command)}: " in said.err
