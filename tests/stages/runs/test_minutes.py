"""`training.minutes`: a run ends with its time, and a resume after the decision makes the same weights."""

from __future__ import annotations

import shutil

import pytest

from textmill.base import schema
from textmill.base.console import Silent
from textmill.specs.recipe import Recipe
from textmill.stages.runs import check, history
from textmill.stages.runs.train import train
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint

MODEL = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 32}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe of two seconds."""
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"the mill {number} stands at the river {number * 7} " * 4)
    data = {
        "name": "timed",
        "corpus": {"sources": [{"kind": "files", "paths": ["*.txt"]}], "split": {"test": 0, "validation": 0}},
        "tokenizer": {"vocabulary": 300},
        "model": MODEL,
        "training": {
            "minutes": 2 / 60,
            "steps": 100_000,
            "batch": 4,
            "schedule": {"kind": "wsd", "decay": 0.5, "floor": 0.0},
            "save": {"every": 10, "forever": 1, "keep": 3},
        },
    }
    return schema.read(Recipe, data)


def test_a_run_ends_with_its_time_and_goes_on_to_the_bit(recipe, tmp_path):
    workspace = Workspace(tmp_path / "work", Silent())
    run = train(recipe, workspace)
    [event] = [event for event in run.events() if event["event"] == "end decided"]
    steps, falls = event["steps"], event["decay_from"]
    assert 0 < falls < steps == run.steps < 100_000
    rates = {row["step"]: row["learning_rate"] for row in run.metrics() if "learning_rate" in row}
    assert max(rates) == steps
    assert rates[steps] == pytest.approx(rates[falls] / (steps - falls))
    row = history.details(workspace, "timed")
    assert (row["state"], row["step"], row["steps"]) == ("trained", steps, steps)
    last = checkpoint.path_of(run.checkpoints, steps)
    whole = (last / "model.safetensors").read_bytes()
    assert train(recipe, workspace).steps == steps, "what is done is done"

    for path in checkpoint.listed(run.checkpoints):  # as if killed at some moment after the decision
        if checkpoint.step_of(path) > falls + (steps - falls) // 3:
            shutil.rmtree(path)
    again = train(recipe, workspace)
    assert again.steps == steps
    assert (last / "model.safetensors").read_bytes() == whole


def test_check_says_how_many_steps_fit(recipe, tmp_path):
    result = check.check(recipe, Workspace(tmp_path / "work", Silent()))
    assert 1 <= result["steps"] < 100_000
    assert result["seconds"] == pytest.approx(2, rel=0.5)
