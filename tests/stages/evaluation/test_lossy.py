"""A model is not praised for text its tokenizer dropped."""

from __future__ import annotations

import json

import pytest

from textmill.base import schema
from textmill.base.console import Silent
from textmill.objectives.evaluation import EvaluationInput
from textmill.specs.recipe import Recipe, TokenizerSpec
from textmill.stages.preparation.prepare import prepare
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.training import train

MODEL = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 32}


@pytest.mark.parametrize("lossy", [True, False])
def test_bits_per_byte_are_of_text_that_comes_back(tmp_path, monkeypatch, lossy):
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"The Mill {number} stands at the RIVER of {number % 7}.")
    train(TokenizerSpec(vocabulary=300), ["the mill stands at the river"]).save(tmp_path / "tokenizer.json")
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    document["normalizer"] = {"type": "Lowercase"} if lossy else None
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    recipe = {
        "name": "lossy",
        "corpus": {
            "sources": [{"kind": "files", "paths": [str(tmp_path / f"{n}.txt") for n in range(30)]}],
            "steps": [],
            "split": {"test": 0.4, "validation": 0.1, "least_bytes": 0},
        },
        "tokenizer": {"path": "tokenizer.json"},
        "model": MODEL,
        "evaluation": {"bootstrap": 20},
    }
    data = prepare(schema.read(Recipe, recipe), Workspace(tmp_path / "work", Silent()))
    report = data.objective.measure(EvaluationInput(data.model().eval(), data, Silent())).plain()
    assert ("bits_per_byte" in report["scores"]) is not lossy
    assert report["headline"] == ("nats per token" if lossy else "bits per byte")
    assert ("xz" in report["baselines"]) is not lossy
    assert report.get("changed_by_tokenizer", 0) == (len(data.store("test")) if lossy else 0)
