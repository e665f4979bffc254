"""The command line as a person meets it: help, mistakes, exit codes."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from textmill.stages import doctor

GOOD = """
name = "small"
[corpus]
sources = [{ kind = "files", paths = ["."] }]
"""
MISTAKES = {
    "unknown key": ("[model]\nn_head = 4", "model.n_head: unknown key; did you mean model.heads?"),
    "unknown table": ("[trainning]\nsteps = 1", "trainning: unknown key; did you mean training?"),
    "text for a number": ('[training]\nsteps = "many"', "training.steps: must be a whole number (steps)"),
    "out of range": ("[model]\ndropout = 2.0", "model.dropout: 2.0 is out of range: it must be >= 0 and < 1"),
    "unknown choice": ('[model]\nnorm = "rms"', "model.norm: 'rms' is not one of"),
    "unknown kind": ('[model]\nposition = { kind = "rope" }', "model.position.kind: 'rope' is not one of"),
    "heads that do not divide": (
        "[model]\nd_model = 100\nheads = 3",
        "model.d_model: 100 cannot be divided among 3 heads",
    ),
    "sequence over context": (
        "[training]\nsequence = 9999",
        "training.sequence: 9999 tokens are more than the model reads",
    ),
    "not TOML": ("[model\n", "is not valid TOML"),
    "unknown preset": ('[model]\npreset = "lama"', "did you mean 'llama'?"),
}


@pytest.fixture
def ask(textmill):
    """Run a command that may be refused."""
    return functools.partial(textmill, check=False)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_ten_mistakes_give_ten_messages(tmp_path, ask, mistake):
    lines, message = MISTAKES[mistake]
    recipe = tmp_path / "r.toml"
    recipe.write_text(GOOD + lines)
    result = ask("recipe", "show", recipe)
    assert result.returncode == 2
    assert message in result.stderr
    assert str(recipe) in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 24
    assert result.stdout == ""


def test_every_verb_has_help(textmill):
    listed = textmill("--help")
    verbs = "quickstart doctor recipe check run prepare train evaluate publish generate verify runs compare"
    for verb in [*verbs.split(), "data", "lineage"]:
        assert verb in listed.stdout
        textmill(verb, "--help")


def test_unknown_verbs_and_options_are_wrong_use(ask):
    assert ask("trian").returncode == 2
    assert ask("doctor", "--jsno").returncode == 2


@pytest.mark.parametrize(
    "verb",
    [["generate", "nothing"], ["verify", "nothing"], ["runs", "show", "nothing"], ["lineage", "nothing"]],
)
def test_what_is_not_there_is_said(tmp_path, ask, verb):
    result = ask(*verb, "--work", tmp_path)
    assert result.returncode == 1
    assert "no such run" in result.stderr
    assert "Traceback" not in result.stderr


def test_new_recipes_are_checked_and_never_overwrite(tmp_path, textmill, ask):
    recipe = tmp_path / "mine.toml"
    textmill("recipe", "new", recipe, "--size", "1M")
    assert "# number of blocks" in textmill("recipe", "show", recipe).stdout
    before = recipe.read_text()
    assert ask("recipe", "new", recipe).returncode == 2
    assert recipe.read_text() == before
    full = tmp_path / "full.toml"
    textmill("recipe", "new", full, "--full")
    textmill("recipe", "show", full)


def test_schema_and_json_are_one_object(textmill):
    assert json.loads(textmill("recipe", "schema").stdout)["title"] == "Recipe"


def test_doctor_says_what_there_is(tmp_path, textmill):
    report = json.loads(textmill("doctor", "--json", "--work", tmp_path).stdout)
    assert report["cores"] >= 1
    assert report["disk_free_bytes"] > 0
    assert {entry["name"] for entry in report["extras"]} >= {"web", "serve", "dev"}
    assert "cores" in textmill("doctor", "--work", tmp_path).stdout


def test_work_may_come_from_the_environment(tmp_path, textmill):
    assert json.loads(textmill("runs", "--json", TEXTMILL_WORK=str(tmp_path)).stdout) == {"runs": []}


@pytest.mark.figures
def test_help_is_quick():
    """Under 0.3 s on an idle machine; the best of several, since the machine may be busy."""
    best = min(_seconds("--help") for _ in range(7))
    assert best < 0.3


def _seconds(*arguments):
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "textmill", *arguments], capture_output=True, check=True)
    return time.perf_counter() - started


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "nothing", "x"],
        ["chat", "nothing", "-m", "x"],
        ["embed", "nothing", "x"],
        ["evaluate", "nothing"],
        ["verify", "nothing"],
        ["publish", "nothing"],
        ["trace", "nothing", "x"],
        ["mix", "nothing", "neither"],
        ["export", "nothing", "gguf", "x.gguf"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_that_is_nothing_is_said_before_torch_is_loaded(tmp_path, arguments):
    """A fresh process: loading takes seconds, and an answer that needs none of it should not."""
    program = (
        "import sys\nfrom textmill.cli.main import main\n"
        f"sys.argv = ['textmill', *{arguments!r}, '--work', {str(tmp_path)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "False"]
    assert "no such run" in result.stderr


def test_doctor_names_every_extra_and_what_it_gives():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(doctor.PURPOSES) == set(project["optional-dependencies"]) - {"all"}
    assert all(doctor.PURPOSES.values())
