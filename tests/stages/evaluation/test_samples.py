"""Samples begin as held-out documents do, in whatever language, and what those say stands beside."""

from __future__ import annotations

import json

import pytest

from textmill.base import schema
from textmill.base.console import Silent
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.release.publish import publish_run
from textmill.stages.runs.train import train
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.corpus import Corpus

MODEL = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 32}
TEXTS = [f"磨坊{number}号在河的第{number % 7}个弯，人们在那里把麦子磨成面粉。\n" * 3 for number in range(40)]


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """A function from the fields of a recipe to its run, trained for a step, and the report."""
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path / "work", Silent())

    def make(records, **fields):
        path = tmp_path / "records.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        recipe = {
            "name": "samples",
            "corpus": {"sources": [{"kind": "files", "paths": [str(path)]}], "split": {"test": 0.3}},
            "tokenizer": {"vocabulary": 300},
            "model": MODEL,
            "training": {"steps": 1, "batch": 2},
            "evaluation": {"bootstrap": 20},
            "generation": {"tokens": 12},
            **fields,
        }
        run = train(schema.read(Recipe, recipe), workspace)
        return run, workspace, evaluate_run(run, workspace)

    return make


def test_prompts_are_how_held_out_documents_begin(evaluated):
    run, workspace, report = evaluated([{"text": text} for text in TEXTS])
    [path] = [path for path in (workspace.root / "corpus").iterdir() if not path.name.startswith(".")]
    held = [document.text for document in Corpus(path).documents("test")]
    assert len(report["samples"]) == 3
    for sample in report["samples"]:
        assert sum(text.startswith(sample["prompt"] + sample["truth"]) for text in held) == 1
        assert "\ufffd" not in sample["prompt"] + sample["truth"]
    publish_run(run, workspace)
    card = (run.path / "model" / "README.md").read_text()
    assert not any(sample["prompt"] in card for sample in report["samples"]), "nobody else's to read"


def test_prompts_of_pairs_are_sources(evaluated):
    records = [{"source": f"mill {n}", "target": f"MILL {n}"} for n in range(40)]
    _, _, report = evaluated(records, model=MODEL | {"kind": "encoder-decoder"}, objective={"kind": "pairs"})
    assert len(report["samples"]) == 3
    for sample in report["samples"]:
        assert sample["truth"] == sample["prompt"].upper()


def test_named_prompts_have_no_truth_beside(evaluated):
    _, _, report = evaluated([{"text": text} for text in TEXTS], evaluation={"samples": ["磨坊"]})
    assert [sample["prompt"] for sample in report["samples"]] == ["磨坊"]
    assert "truth" not in report["samples"][0]
    assert "磨坊" in str(report["samples"])
