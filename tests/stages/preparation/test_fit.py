"""Records that do not fit, labels, named splits and leakage: what `prepare` says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs import recipe_file
from textmill.stages.preparation.prepare import prepare, summary
from textmill.stages.workspace.workspace import Workspace

ENCODER = {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A function from files of records, and how each is read, to what `prepare` says."""
    monkeypatch.chdir(tmp_path)

    def make(files, objective=None, model=ENCODER, **corpus):
        sources = []
        for name, (records, source) in files.items():
            (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))
            sources.append({"kind": "files", "paths": [name], **source})
        data = {
            "name": "records",
            "corpus": {"sources": sources, **corpus},
            "tokenizer": {"kind": "bytes"},
            "model": model,
            "objective": objective or {"kind": "classify"},
        }
        return summary(
            prepare(recipe_file.build(data, base=tmp_path), Workspace(tmp_path / "work", Silent()))
        )

    return make


def labelled(count, label=lambda number: "ab"[number % 2]):
    return [{"text": f"the mill number {number} turns", "label": label(number)} for number in range(count)]


UNSPLIT = {"split": {"validation": 0, "test": 0}}


def test_records_that_do_not_fit_are_listed_and_over_the_limit_an_error(prepared):
    records = [*labelled(19), {"text": "no label here"}]
    result = prepared({"a.jsonl": (records, {})}, **UNSPLIT)
    train = result["records"]["splits"]["train"]
    assert (train["read"], train["records"]) == (20, 19)
    assert train["skipped"] == {"no label": {"records": 1, "places": ["a.jsonl:line 20"]}}
    card = Path(result["card"]).read_text(encoding="utf-8")
    assert "no label" in card
    assert "a.jsonl:line 20" in card
    records.append({"text": "and none here"})
    with pytest.raises(TextmillError, match=r"2 of 21 records do not fit .*\(10%\)") as error:
        prepared({"a.jsonl": (records, {})}, **UNSPLIT)
    assert "\n  a.jsonl:line 20: no label\n  a.jsonl:line 21: no label" in str(error.value)
    prepared({"a.jsonl": (records, {})}, **UNSPLIT, limits={"unfit": 0.1})


def test_the_limit_holds_for_what_was_prepared_before(prepared):
    records = [*labelled(19), {"text": "no label here"}]
    prepared({"a.jsonl": (records, {})}, **UNSPLIT)
    with pytest.raises(TextmillError, match="1 of 20 records do not fit"):
        prepared({"a.jsonl": (records, {})}, **UNSPLIT, limits={"unfit": 0})


def test_a_label_that_training_lacks_is_an_error_that_lists_it(prepared):
    files = {
        "train.jsonl": (labelled(10), {}),
        "test.jsonl": ([{"text": "another one", "label": "c"}, *labelled(2)], {"part": "test"}),
    }
    with pytest.raises(TextmillError, match="labels that no training record has") as error:
        prepared(files)
    assert "test.jsonl:line 1: 'c', in the test split" in str(error.value)
    assert "training has 'a', 'b'" in str(error.value)
    result = prepared(files, limits={"unknown_labels": True})
    assert result["records"]["unknown"] == {"c": {"test": {"records": 1, "places": ["test.jsonl:line 1"]}}}
    assert result["records"]["labels"]["a"] == {"train": 5, "validation": 0, "test": 1}


def test_spellings_of_a_label_and_records_that_contradict_each_other(prepared):
    records = [
        {"text": "one thing", "label": "Positive"},
        {"text": "another", "label": "positive "},
        {"text": "a third", "label": "very_bad"},
        {"text": "a fourth", "label": "Very bad"},
        {"text": "one thing", "label": "very_bad"},
        {"text": "one thing", "label": "Positive"},
    ]
    result = prepared({"a.jsonl": (records, {})}, **UNSPLIT)
    report = result["corpus"]
    assert report["labels"]["variants"] == [["Positive", "positive "], ["Very bad", "very_bad"]]
    assert report["labels"]["contradictions"] == {"records": 1, "places": ["a.jsonl:line 5"]}
    reasons = {row["reason"]: row["documents"] for row in report["reasons"]}
    assert reasons == {
        "is a duplicate of an earlier record with another label": 1,
        "is a duplicate of an earlier document": 1,
    }
    assert len(result["warnings"]) == 3
    card = Path(result["card"]).read_text(encoding="utf-8")
    assert "<q>Positive</q>, <q>positive </q>" in card
    assert "Contradicting labels" in card


def test_a_file_is_a_split_and_nothing_is_dealt(prepared):
    files = {
        "a.jsonl": (labelled(40), {}),
        "b.jsonl": ([{"text": f"valid {n}", "label": "a"} for n in range(3)], {"part": "validation"}),
        "c.jsonl": ([{"text": f"test {n}", "label": "b"} for n in range(2)], {"part": "test"}),
    }
    result = prepared(files)
    assert {name: row["documents"] for name, row in result["splits"].items()} == {
        "train": 40, "validation": 3, "test": 2,
    }  # fmt: skip
    with pytest.raises(RecipeError, match="a source names its split"):
        prepared(files, split={"by": "group", "field": "label"})
    with pytest.raises(RecipeError, match="no source names its split"):
        prepared({"a.jsonl": (labelled(4), {})}, split={"by": "source"})


WORDS = "the mill by the river turns slowly in the evening and the miller sleeps beside the old stone"


def test_leakage_between_named_splits_is_told_and_can_be_removed(prepared):
    near = f"{WORDS} wheel"
    files = {
        "train.jsonl": ([{"text": WORDS, "label": "a"}, *labelled(8)], {}),
        "test.jsonl": (
            [
                {"text": WORDS, "label": "a"},
                {"text": near, "label": "a"},
                {"text": "nothing alike", "label": "b"},
            ],
            {"part": "test"},
        ),
    }
    result = prepared(files)
    assert result["splits"]["test"]["documents"] == 3  # the test stays what it is
    assert result["corpus"]["leaks"]["documents"] == {"test in train": 2}
    assert [row["source"] for row in result["corpus"]["leaks"]["samples"]] == [
        "test.jsonl:line 1",
        "test.jsonl:line 2",
    ]
    assert result["records"]["leakage"]["test"] == {"records": 3, "same": 1, "touched": 2}
    assert "1 of 3 test records have the text of a training record" in result["warnings"]

    def without(side):
        usual = [{"kind": kind} for kind in ("repair", "exact-duplicates")]
        steps = [*usual, {"kind": "leakage", "remove": side}]
        return {name: row["documents"] for name, row in prepared(files, steps=steps)["splits"].items()}

    assert without("held-out") == {"train": 9, "validation": 0, "test": 1}
    assert without("training") == {"train": 8, "validation": 0, "test": 3}


def test_a_pair_of_texts_has_one_label(prepared):
    records = [{"premise": f"it rains {n}", "hypothesis": "it is wet", "gold": "yes"} for n in range(6)]
    objective = {"kind": "classify", "text": "premise", "pair": "hypothesis"}
    result = prepared({"a.jsonl": (records, {"columns": {"label": "gold"}})}, objective, **UNSPLIT)
    assert result["records"]["labels"] == {"yes": {"train": 6, "validation": 0, "test": 0}}
    assert result["corpus"]["texts"].keys() == {"premise", "hypothesis"}
