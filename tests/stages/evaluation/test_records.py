"""Records are judged by what they themselves say, and all of them count: whatever ids, labels and groups they share."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textmill.base import schema
from textmill.base.console import Silent
from textmill.objectives.evaluation import EvaluationInput
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation import judged as evaluate
from textmill.stages.preparation.prepare import prepare
from textmill.stages.workspace.workspace import Workspace

ENCODER = {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 32}


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A function from records and an objective to its data and the report of a model with its first weights."""
    monkeypatch.chdir(tmp_path)

    def judge(records, objective, split):
        path = tmp_path / "records.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        recipe = {
            "name": "judged",
            "corpus": {
                "sources": [{"kind": "files", "paths": [str(path)]}],
                "steps": [],
                "split": split,
                "limits": {"unfit": 1.0, "unknown_labels": True},  # which these tests are about
            },
            "tokenizer": {"kind": "bytes"},
            "model": ENCODER,
            "objective": objective,
            "evaluation": {"bootstrap": 200},
        }
        data = prepare(schema.read(Recipe, recipe), Workspace(tmp_path / "work", Silent()))
        return data, evaluate.judged(EvaluationInput(data.model().eval(), data, Silent()), data).plain()

    return judge


def labelled(judged, *, multiple=False):
    """Sixty groups of records; every label of the last half of the groups stands in the test split only."""
    rows = [
        {"text": f"text {number}", "label": "old" if number % 2 else "new", "at": f"2020-{number:03}"}
        for number in range(60)
    ] + [{"text": f"text {number}", "label": "later", "at": f"2021-{number:03}"} for number in range(60, 90)]
    split = {"by": "time", "field": "at", "test": 0.4, "validation": 0.1}
    return judged(rows, {"kind": "classify", "multiple": multiple}, split)


@pytest.mark.parametrize("multiple", [False, True])
def test_a_label_that_training_lacks_counts_as_wrong_and_is_listed(judged, multiple):
    data, report = labelled(judged, multiple=multiple)
    held = [document.metadata["label"] for document in data.documents("test")]
    assert held.count("later") == 30 < len(held) == report["documents"]
    assert report["unseen_labels"] == {"later": 30}
    right = "subset_accuracy" if multiple else "accuracy"
    assert report["scores"][right] <= 1 - 30 / len(held)
    by_label = {row["label"]: row for row in report["by_label"]}
    assert by_label["later"]["texts"] == 30
    assert by_label["later"]["recall"] == 0.0


def test_a_tag_that_training_lacks_counts_as_wrong_and_is_listed(judged):
    rows = [
        {"text": "the mill stands", "tags": "O B-X O" if number < 40 else "O B-Y O", "at": f"{2000 + number}"}
        for number in range(60)
    ]
    split = {"by": "time", "field": "at", "test": 0.4, "validation": 0.1}
    data, report = judged(rows, {"kind": "tag", "crf": True}, split)
    tags = [document.metadata["tags"].split() for document in data.documents("test")]
    assert report["targets"] == sum(map(len, tags)) == 3 * 24
    assert report["unseen_labels"] == {"B-Y": 20}
    assert {row["label"]: row["entities"] for row in report["by_type"]} == {"X": 4, "Y": 20}
    assert report["scores"]["word_accuracy"] <= 1 - 20 / 72


def test_records_of_one_id_keep_their_own_facts(judged):
    """A text that stands several times has one id: what is skipped of it must not lend its facts to the next."""
    rows = []
    for number in range(40):
        rows.append({"text": f"mill {number}", "order": f"{number} first"})  # no label: not used
        rows.append({"text": f"mill {number}", "label": "a", "order": f"{number} second"})
        rows.append({"text": f"mill {number}", "label": "b", "order": f"{number} third"})
    data, report = judged(rows, {"kind": "classify"}, {"test": 0.4, "validation": 0.1})
    store = data.store("test")
    documents = list(data.documents("test"))
    assert len(documents) == len(store) == report["documents"]
    for record, document in enumerate(documents):
        assert document.metadata["order"].endswith("second" if document.metadata["label"] == "a" else "third")
        assert store.labels[int(store.field("value", record)[0])] == document.metadata["label"]
    assert store.manifest["skipped"] == {"no label": len(documents) // 2}
    assert store.manifest["skipped_first"].keys() == {"no label"}


def test_intervals_are_over_the_groups_that_were_split(judged):
    rows = [
        {"text": f"page {page} of book {book}", "label": "old" if book % 2 else "new", "book": f"{book}"}
        for book in range(40)
        for page in range(10)
    ]
    split = {"by": "group", "field": "book", "test": 0.5, "validation": 0.1}
    data, report = judged(rows, {"kind": "classify"}, split)
    books = {document.metadata["book"] for document in data.documents("test")}
    units = data.units("test")
    assert len(np.unique(units)) == len(books) < report["documents"]
    assert f"over {len(books)} groups" in report["details"]["accuracy"]["signature"]
    alone = {"test": 0.5, "validation": 0.1}
    _, other = judged(rows, {"kind": "classify"}, alone)
    assert "groups" not in other["details"]["accuracy"]["signature"]
