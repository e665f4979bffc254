"""Forgetting is by place and by content, is shown before it is done, can be undone, and is said wherever it matters."""

from __future__ import annotations

import dataclasses
import json

import pytest

from helpers.listener import Listener
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs import recipe_file
from textmill.stages import pipeline
from textmill.stages.preparation.prepare import prepare
from textmill.stages.runs import history
from textmill.stages.runs.train import train
from textmill.stages.tracing import forget
from textmill.stages.workspace.forget_list import forgotten, list_of
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.workspace import Workspace

PARTS = ("train", "validation", "test")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Listener())


@pytest.fixture
def tiny(tiny_recipe):
    return recipe_file.load(tiny_recipe)


def held(data):
    return {document.source.rpartition("/")[2] for part in PARTS for document in data.corpus.documents(part)}


@pytest.mark.slow
def test_an_added_newline_does_not_bring_it_back(tiny, workspace, texts):
    prepare(tiny, workspace)
    path = texts / "005.txt"
    before = path.read_text()
    forget.forget(workspace, [str(path)])
    for changed in (before, before + "\n", before.replace(" ", "  "), "something else altogether\n"):
        path.write_text(changed)
        assert "005.txt" not in held(prepare(tiny, workspace)), repr(changed[-20:])


@pytest.mark.parametrize("gone", [True, False])
def test_the_same_words_elsewhere_are_forgotten_too(tiny, workspace, texts, gone):
    """Whether its file is still there to be read, or only the corpus knows what it said."""
    prepare(tiny, workspace)
    path = texts / "007.txt"
    before = path.read_text()
    if gone:
        path.unlink()
    forget.forget(workspace, ["007.txt"])
    (texts / "renamed.txt").write_text("\n" + before.upper().replace(".", " .") + "\n\n")
    assert not {"007.txt", "renamed.txt"} & held(prepare(tiny, workspace))


def test_others_stay(tiny, workspace, texts):
    before = held(prepare(tiny, workspace))
    forget.forget(workspace, [str(texts / "005.txt")])
    assert held(prepare(tiny, workspace)) == before - {"005.txt"}


def test_a_record_is_forgotten_by_what_it_says_not_by_its_line(tiny, workspace, texts):
    lines = [
        json.dumps({"text": f"record number {n} says its own words {n * 7} and {n * 11}"}) for n in range(20)
    ]
    path = texts / "records.jsonl"
    path.write_text("\n".join(lines) + "\n")
    data = prepare(tiny, workspace)
    [third] = [d for part in PARTS for d in data.corpus.documents(part) if d.source.endswith("line 3")]
    forget.forget(workspace, [third.id])
    path.write_text(
        "\n".join([json.dumps({"text": "one more before all others, of some length"}), *lines]) + "\n"
    )
    texts_now = {d.text for part in PARTS for d in prepare(tiny, workspace).corpus.documents(part)}
    assert third.text not in texts_now
    for line in lines[:2] + lines[3:]:
        assert json.loads(line)["text"] in texts_now, "what stands in its line now is another's"


def test_near_duplicates_are_offered(tiny, workspace, texts):
    words = (texts / "004.txt").read_text().split()
    (texts / "near.txt").write_text(" ".join(["also", *words]))
    prepare(tiny, workspace)
    offered = forget.forget(workspace, [str(texts / "004.txt")], dry_run=True)
    assert [row["source"].rpartition("/")[2] for row in offered["near"]] == ["near.txt"]
    assert not list_of(workspace).exists(), "a dry run writes nothing"
    taken = forget.forget(workspace, [str(texts / "004.txt")], near=True)
    assert taken["near"] == []
    assert not {"004.txt", "near.txt"} & held(prepare(tiny, workspace))


@pytest.mark.parametrize("name", ["", "  ", "/", "//", ".", "./", "..", "~", "texts/.."])
def test_what_means_everything_is_refused(tiny, workspace, tmp_path, monkeypatch, name):
    prepare(tiny, workspace)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "texts"))
    with pytest.raises(RecipeError):
        forget.forget(workspace, [name])
    assert not list_of(workspace).exists()


def test_a_whole_corpus_is_refused(tiny, workspace, texts):
    prepare(tiny, workspace)
    with pytest.raises(TextmillError, match="nothing would remain"):
        forget.forget(workspace, [str(texts)])


def test_undone_until_something_was_trained_without_it(tiny, workspace, texts):
    before = prepare(tiny, workspace).prepared.corpus.id
    for name in ("005.txt", "006.txt"):
        forget.forget(workspace, [name])
    assert forget.undo(workspace)["documents"][0]["source"].endswith("006.txt")
    assert held(prepare(tiny, workspace)) >= {"006.txt"}
    forget.undo(workspace)
    assert not forgotten(workspace)
    assert prepare(tiny, workspace).prepared.corpus.id == before
    with pytest.raises(TextmillError, match="nothing to undo"):
        forget.undo(workspace)
    forget.forget(workspace, ["005.txt"])
    steps = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, steps=2))
    train(steps, workspace)
    with pytest.raises(TextmillError, match="trained without it since: tiny"):
        forget.undo(workspace)


def test_it_is_said_wherever_a_run_that_saw_it_is_used(tiny, workspace, texts):
    pipeline.run(tiny, workspace)
    row = forget.forget(workspace, [str(texts / "005.txt")])
    [run] = [item for item in row["made_from"] if item["kind"] == "run"]
    assert "--set name=tiny-2" in run["again"]
    listed = history.overview(workspace)[0]
    assert len(listed["forgotten"]) == 1
    for use in (
        lambda: locate_model(workspace, "tiny"),
        lambda: pipeline.publish_run(workspace.run("tiny"), workspace),
        lambda: train(tiny, workspace),  # it is done: it is left as it is
    ):
        workspace.reporter.said.clear()
        use()
        assert any(
            "1 document on the list of what is to be forgotten" in line for line in workspace.reporter.said
        )
    again = dataclasses.replace(tiny, name="tiny-2")
    pipeline.run(again, workspace)
    assert [row["forgotten"] for row in history.overview(workspace) if row["name"] == "tiny-2"] == [[]]


def test_a_run_that_is_not_done_does_not_train_on(tiny, workspace, texts, monkeypatch):
    from textmill.stages.runs import session

    honest = session.Session.save

    def stopped(self):
        honest(self)
        if self.progress.step >= 8:
            raise SystemExit

    monkeypatch.setattr(session.Session, "save", stopped)
    with pytest.raises(SystemExit):
        train(tiny, workspace)
    monkeypatch.undo()
    forget.forget(workspace, ["005.txt"])
    with pytest.raises(TextmillError, match="a model cannot unlearn: train again") as caught:
        train(tiny, workspace)
    assert "--set name=NAME" in str(caught.value)
    assert "--fork" not in str(caught.value)


def test_a_changed_line_of_the_list_is_noticed(tiny, workspace, texts):
    prepare(tiny, workspace)
    forget.forget(workspace, ["005.txt"])
    path = list_of(workspace)
    data = bytearray(path.read_bytes())
    at = data.index(b'"document": "') + 15
    data[at] = ord("0") if data[at] != ord("0") else ord("1")
    path.write_bytes(data)
    with pytest.raises(TextmillError, match="line 1: was changed after it was written"):
        prepare(tiny, workspace)


@pytest.mark.slow
def test_the_command_asks(tmp_path, tiny_recipe, textmill, texts):
    textmill("prepare", tiny_recipe)
    refused = textmill("forget", texts / "005.txt", check=False)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    shown = textmill("forget", texts / "005.txt", "--dry-run").stdout
    assert "would be left out" in shown
    assert not (tmp_path / "work/forget.jsonl").exists()
    assert "will be left out" in textmill("forget", texts / "005.txt", "--yes").stdout
    assert "is off the list" in textmill("forget", "--undo").stdout
    assert "cp " not in shown
