"""Summaries of a text's own sentences: which are likest to those people wrote, and what is measured of the choice."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from textmill.base import schema
from textmill.base.console import Silent
from textmill.data.batch import IGNORE
from textmill.data.examples import ExampleStore, write_examples
from textmill.data.loader import Batching
from textmill.data.special import SpecialTokens
from textmill.metrics import rouge
from textmill.objectives.extract import EXTRACT, KEPT, LEFT, chosen, oracle, predict
from textmill.specs.objective import ExtractObjective
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.runs.train import train
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import collected
from textmill.text.sentences import sentences

PARTS = [
    "The mill stands by the river.",
    "It grinds grain into flour.",
    "Bread is baked of it.",
    "面包很好吃。",
]


def test_the_oracle_takes_the_best_first_and_no_more_than_helps():
    target = "It grinds grain into flour and bread is baked."
    assert oracle(PARTS, [target], 1) == [1]
    assert oracle(PARTS, [target], 3) == [1, 2]  # a third would only cost precision
    assert oracle(PARTS, ["nothing shared", "面包好吃"], 2) == [3]
    assert oracle(PARTS, ["xyz"], 2) == []
    single = [max(sum(rouge.rouge_of(part, target)[:3]) for target in [target]) for part in PARTS]
    assert oracle(PARTS, [target], 1) == [int(np.argmax(single))]
    pairs = {
        pair: sum(rouge.rouge_of("\n".join(PARTS[n] for n in pair), target)[:3])
        for pair in itertools.combinations(range(4), 2)
    }
    assert max(pairs, key=pairs.get) == (1, 2)


def test_the_first_token_of_each_sentence_says_whether_it_is_kept(tmp_path, tokenizer):
    spec = ExtractObjective(sentences=1)
    text = "One mill. Two mills turn! 三个磨坊。"
    documents = [
        collected({"source": text, "target": "two mills", "target 2": "nothing"}, "0"),
        collected({"source": " ", "target": "x"}, "1"),
        collected({"source": "A text.", "target": " "}, "2"),
    ]
    manifest = write_examples(tmp_path / "store", documents, EXTRACT.reader(spec, tokenizer))
    assert manifest["skipped"] == {"the source is empty": 1, "the target is empty": 1}
    store = ExampleStore(tmp_path / "store")
    assert store.labels == (KEPT, LEFT)
    value, ids = store.field("value", 0), store.field("text", 0).tolist()
    firsts = np.flatnonzero(value != IGNORE)
    assert [store.labels[number] for number in value[firsts]] == [LEFT, KEPT, LEFT]
    read = [tokenizer.decode(ids[a:b]).strip() for a, b in itertools.pairwise([*firsts.tolist(), len(ids)])]
    assert read == [text[start:end] for start, end in sentences(text)]
    how = Batching(16, 8, 0, "running", SpecialTokens.of(tokenizer))
    batch = EXTRACT.loader(spec, store, how).batch(0)
    assert len(batch) > 1  # it is longer than a row: windows of whole sentences
    assert int((batch.targets != IGNORE).sum()) == 3


def test_what_is_chosen_stands_in_order():
    assert chosen(np.array([0.1, 3.0, -1.0, 2.0]), 2) == [1, 3]
    assert chosen(np.array([1.0, 1.0]), 1) == [0]
    assert chosen(np.array([1.0]), 3) == [0]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run whose texts say by one word which sentence is the summary."""
    torch.set_num_threads(1)
    rows = []
    for number in range(80):
        parts = [f"Wheel {number % 7} turns.", f"Grain {number % 5} falls.", f"Stone {number % 3} rests."]
        parts.insert(number % 4, f"In sum flour {number % 9} comes.")
        rows.append({"source": " ".join(parts), "target": [f"In sum flour {number % 9} comes."]})
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = {
        "name": "sums",
        "corpus": {"sources": [{"kind": "files", "paths": [str(path)]}], "steps": [], "split": {"test": 0.3}},
        "tokenizer": {"vocabulary": 320},
        "model": {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64},
        "objective": {"kind": "extract"},
        "training": {"steps": 60, "batch": 16, "evaluate_every": 60, "optimizer": {"lr": 0.02}},
        "evaluation": {"bootstrap": 20},
    }
    workspace = Workspace(tmp_path_factory.mktemp("work"), Silent())
    run = train(schema.read(Recipe, plain), workspace)
    return trained_on(run, workspace), best_weights(run), evaluate_run(run, workspace)


def test_the_report_is_rouge_of_what_the_model_keeps(evaluated):
    data, weights, report = evaluated
    model, said, lead, truth = weights.build(data), [], [], []
    for scored, document in zip(data.loader("test").evaluation(1), ordered(data), strict=True):
        parts = [document.text[start:end] for start, end in sentences(document.text)]
        odds = predict(model, scored.batch)[0]
        odds = odds[~odds.isnan()]
        assert len(odds) == len(parts) == 4
        said.append(parts[int(odds.argmax())])
        lead.append(parts[0])
        truth.append([document.texts["target"]])
    assert report["headline"] == "ROUGE-L"
    for name in ("ROUGE-1", "ROUGE-L"):
        assert report["details"][name]["value"] == pytest.approx(rouge.rouge(said, truth)[name].value)
    assert "1 of its sentences" in report["details"]["ROUGE-L"]["signature"]
    assert report["details"]["ROUGE-L"]["value"] > rouge.rouge(lead, truth)["ROUGE-L"].value + 10


def ordered(data):
    """The documents of the test part in the order in which its rows are scored."""
    documents = list(data.documents("test"))
    owners = [int(scored.documents.max()) for scored in data.loader("test").evaluation(1)]
    return [documents[owner] for owner in owners]
