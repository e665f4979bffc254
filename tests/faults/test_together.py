"""Several processes in one workspace, started together: nothing is lost or half made, and each says how it ended."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess

import pytest

SHORT = ("--set", "training.steps=6", "--set", "training.evaluate_every=6")


@pytest.fixture
def together(tmp_path, warm):
    """Start a command for each list of arguments at the same time; (exit code, stderr) of each when all have ended."""

    def run(*commands):
        settings = {"TEXTMILL_WORK": str(tmp_path / "work"), "COLUMNS": "400", "OMP_NUM_THREADS": "1"}
        started = [
            subprocess.Popen(
                [warm / "textmill", *map(str, command)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=os.environ | settings,
            )
            for command in commands
        ]
        said = [process.communicate(timeout=300)[1] for process in started]
        assert not any("Traceback" in text for text in said), said
        assert not list((tmp_path / "work").rglob(".partial-*")), "something half made was left"
        return [(process.returncode, text) for process, text in zip(started, said, strict=True)]

    return run


def contents(root, *kinds):
    """Hashes of what was made, without when and where it was made."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in kinds
        for path in sorted((root / kind).glob("[0-9a-f]*/**/*"))
        if path.is_file() and path.name != "lineage.json"
    }


def made(ended, kind):
    return sum(len(re.findall(rf"^{kind} +being made", said, re.MULTILINE)) for _, said in ended)


def test_the_same_recipe_is_prepared_once(tmp_path, tiny_recipe, textmill, together):
    ended = together(*[("prepare", tiny_recipe)] * 3)
    assert [code for code, _ in ended] == [0, 0, 0], ended
    assert [made(ended, kind) for kind in ("corpus", "tokenizer", "tokens")] == [1, 1, 1], ended
    textmill("prepare", tiny_recipe, TEXTMILL_WORK=str(tmp_path / "alone"))
    kinds = ("corpus", "tokenizer", "tokens")
    assert contents(tmp_path / "work", *kinds) == contents(tmp_path / "alone", *kinds) != {}


def test_different_recipes_share_what_they_have_in_common(tmp_path, tiny_recipe, together):
    sizes = (300, 310, 320)
    ended = together(*(("prepare", tiny_recipe, "--set", f"tokenizer.vocabulary={size}") for size in sizes))
    assert [code for code, _ in ended] == [0, 0, 0], ended
    assert [made(ended, kind) for kind in ("corpus", "tokenizer", "tokens")] == [1, 3, 3], ended
    again = together(*(("prepare", tiny_recipe, "--set", f"tokenizer.vocabulary={size}") for size in sizes))
    assert sum(made(again, kind) for kind in ("corpus", "tokenizer", "tokens")) == 0, again


def test_the_same_run_is_trained_by_one(tmp_path, tiny_recipe, textmill, together):
    """The others say who is at it, wait, and find that nothing is left to do."""
    ended = together(*[("train", tiny_recipe, *SHORT)] * 3)
    assert [code for code, _ in ended] == [0, 0, 0], ended
    for _, said in ended:
        assert "waiting" not in said or re.search(r"waiting \(textmill [^,]+, process \d+", said), said
    textmill("train", tiny_recipe, *SHORT)
    textmill("train", tiny_recipe, *SHORT, TEXTMILL_WORK=str(tmp_path / "alone"))
    weights = "runs/tiny/checkpoints/step-00000006/model.safetensors"
    assert (tmp_path / "work" / weights).read_bytes() == (tmp_path / "alone" / weights).read_bytes()


def test_different_runs_are_trained_beside_each_other(tmp_path, tiny_recipe, textmill, together):
    names = ("one", "two", "three")
    ended = together(*(("train", tiny_recipe, *SHORT, "--set", f"name={name}") for name in names))
    assert [code for code, _ in ended] == [0, 0, 0], ended
    assert made(ended, "corpus") == 1
    textmill("train", tiny_recipe, *SHORT, TEXTMILL_WORK=str(tmp_path / "alone"))
    weights = "checkpoints/step-00000006/model.safetensors"
    alone = (tmp_path / "alone/runs/tiny" / weights).read_bytes()
    assert all((tmp_path / "work/runs" / name / weights).read_bytes() == alone for name in names)
