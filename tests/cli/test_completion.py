"""What a shell is offered, asked as a shell asks: through the variables of typer's protocol, in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def offered(tmp_path):
    """The words offered for an unfinished command line, and that torch was not loaded to find them."""
    for run in ("poems", "prose"):
        (tmp_path / "work" / "runs" / run).mkdir(parents=True)
        (tmp_path / "work" / "runs" / run / "recipe.toml").touch()
    (tmp_path / "models" / "bert").mkdir(parents=True)
    (tmp_path / "models" / "bert" / "config.json").touch()

    def ask(line, **environment):
        variables = {
            "_TEXTMILL_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
            "TEXTMILL_WORK": str(tmp_path / "work"),
            "TEXTMILL_MODELS": str(tmp_path / "models"),
        }
        program = (
            "import sys\nsys.argv = ['textmill']\nfrom textmill.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\nprint(*sorted({'torch', 'numpy'} & set(sys.modules)))\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=os.environ | variables | environment,
        )
        *words, loaded = result.stdout.split("\n")[:-1]
        assert loaded == "", "a shell waits for the answer"
        return [word for word in words if word]

    return ask


def test_runs_and_models_are_offered_by_name(offered):
    assert offered("textmill generate ") == ["bert", "poems", "prose"]
    assert offered("textmill generate p") == ["poems", "prose"]
    assert offered("textmill runs show ") == ["poems", "prose"]  # of which a model is none
    assert offered("textmill mix poems b") == ["bert"]
    assert offered("textmill generate ./") == []  # a path: the shell's own files
    assert offered("textmill generate --work nowhere ") == ["bert"]


def test_choices_and_formats_are_offered(offered):
    assert {"gguf", "gguf-q8_0"} <= set(offered("textmill export bert gg"))
    assert offered("textmill generate bert --mbr ") == ["chrf", "bleu"]
    assert offered("textmill chat bert --weights ") == ["fp32", "bf16", "int8"]
    assert offered("textmill prepare r.toml --engine ") == ["local", "ray"]
    assert offered("textmill generate poems --checkpoint l") == ["latest"]


def test_the_names_of_tasks_are_those_of_their_table():
    from textmill.cli import completion, options
    from textmill.stages.preparation.proposal import KINDS
    from textmill.tasks.table import TASKS

    assert list(completion.TASKS) == list(TASKS)
    assert set(options.TASK_NAMES) == set(KINDS) <= set(TASKS)
    for task, kinds in KINDS.items():
        assert set(kinds) <= {*TASKS[task].objectives}, task


def test_keys_of_a_recipe_are_offered(offered):
    assert offered("textmill train r.toml --set training.step") == ["training.steps="]
    assert "model.norm=layernorm" in offered("textmill train r.toml --set model.norm")
    assert "training.optimizer.kind=muon" in offered("textmill train r.toml --set training.optimizer.k")


def test_a_workspace_that_cannot_be_read_offers_nothing(offered, tmp_path):
    (tmp_path / "file").touch()
    assert offered("textmill runs show ", TEXTMILL_WORK=str(tmp_path / "file")) == []


def test_a_real_shell_completes(offered, tmp_path):
    """What `textmill --install-completion` puts into a person's ~/.bashrc, used as bash uses it."""
    script = (
        'eval "$(textmill --show-completion)"\n'
        'COMP_WORDS=(textmill generate p) COMP_CWORD=2\n_textmill_completion textmill\necho "${COMPREPLY[@]}"\n'
    )
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": programs, "TEXTMILL_WORK": str(tmp_path / "work"), "TEXTMILL_MODELS": os.devnull}
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    assert result.stdout.split() == ["poems", "prose"]
