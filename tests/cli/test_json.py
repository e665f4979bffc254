"""`--json` of every command: one object on stdout, of what it did, of what is wrong, and when it is interrupted."""

from __future__ import annotations

import json

import pytest

from helpers.commands import call, commands, right_line
from textmill.base import errors
from textmill.cli import ending
from textmill.stages.workspace.workspace import Workspace

COMMANDS = sorted(commands())
# Commands whose line (helpers/commands.py) is refused: a corpus that is nowhere, a run that is no n-gram model, a file
# that is no ARPA file, a run without an adapter, a model that no hub is asked for, a model of another task, a key that
# nobody has.
REFUSED = {"quickstart", "ngram import", "ngram export", "merge", "models get", "keys remove"}
REFUSED |= {"answer", "classify", "summarize", "tag", "translate"}
FIELDS = {"kind", "what", "where", "advice", "exit_code"}


def one_object(said) -> dict:
    """What a command printed, which is one JSON object as the standard has it, and nothing else."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    found = json.loads(said.out, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_did_is_one_object(command, place):
    said = call(right_line(command, "--json"))
    found = one_object(said)
    assert ("error" in found) == (command in REFUSED), said.err
    assert (said.code == 0) == found.get("ok", command not in REFUSED), said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_use_is_one_object(command):
    said = call([*command.split(), "--no-such-option", "--json"])
    error = one_object(said)["error"]
    assert set(error) == FIELDS
    assert error["kind"] == "usage"
    assert error["where"] == f"textmill {command}"
    assert "--no-such-option" in error["what"]
    assert f"textmill {command} --help" in error["advice"]
    assert said.code == error["exit_code"] == 2
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_is_one_object(command, place, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Workspace, "__post_init__", interrupted)
    monkeypatch.setattr("textmill.specs.recipe_file.build", interrupted)
    monkeypatch.setattr("textmill.specs.recipe_file.load", interrupted)
    monkeypatch.setattr("textmill.specs.recipe_file.json_schema", interrupted)
    said = call(right_line(command, "--json"))
    error = {"kind": "interrupted", "what": "interrupted", "where": "", "advice": "", "exit_code": 130}
    assert one_object(said) == {"error": error}
    assert said.code == 130


def test_a_fault_of_textmill_is_one_object_and_a_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr("textmill.stages.doctor.examine", lambda _: 1 // 0)
    said = call(["doctor", "--json", "--work", str(tmp_path)])
    assert one_object(said)["error"]["kind"] == "internal"
    assert "ZeroDivisionError" in one_object(said)["error"]["what"]
    assert "Traceback" in said.err


def test_kinds_of_errors_differ():
    classes = (errors.TextmillError, *errors.TextmillError.__subclasses__())
    kinds = [one.kind for one in classes if one.__module__ == errors.__name__]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (MemoryError(), "failed", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (PermissionError(13, "Permission denied", "a"), "failed", 1),
        (OSError(28, "No space left on device"), "failed", 1),
        (OSError("odd"), "failed", 1),
        (errors.DamagedError("is cut short", where="a"), "damaged", 1),
    ],
)
def test_whatever_ends_a_command_is_said(error, kind, code):
    failure = ending.as_failure(error)
    assert (failure.kind, failure.exit_code) == (kind, code)
    assert failure.what


def test_figures_that_are_not_finite_are_null(capsys):
    from textmill.base.console import print_json

    print_json({"loss": float("nan"), "best": [float("inf"), 1.5], "name": "ü"})
    assert json.loads(capsys.readouterr().out) == {"loss": None, "best": [None, 1.5], "name": "ü"}


@pytest.mark.parametrize(
    ("arguments", "wanted"), [(["a", "--json"], True), (["a", "--", "--json"], False), ([], False)]
)
def test_what_asks_for_json(arguments, wanted):
    assert ending.wants_json(arguments) is wanted
