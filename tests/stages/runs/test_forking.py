"""A fork begins with a run's weights and their tokenizer; it has nothing else of it, and everyone says so."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import read_json
from textmill.specs import recipe_file
from textmill.stages import pipeline
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.runs import history
from textmill.stages.runs.train import train
from textmill.stages.tracing import ancestry, forget, sightings
from textmill.stages.workspace import remembrance
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent())


@pytest.fixture
def tiny(tiny_recipe, workspace):
    recipe = recipe_file.load(tiny_recipe)
    train(recipe, workspace)
    return recipe


def changed(base, **training):
    return dataclasses.replace(base, training=dataclasses.replace(base.training, **training))


def split(base, **shares):
    corpus = dataclasses.replace(base.corpus, split=dataclasses.replace(base.corpus.split, **shares))
    return dataclasses.replace(base, corpus=corpus)


def test_nothing_but_weights_is_inherited(tiny, workspace):
    old = workspace.run("tiny")
    parent = checkpoint.load(checkpoint.newest_whole(old.checkpoints).path)
    run = train(
        changed(tiny, steps=4, save=dataclasses.replace(tiny.training.save, keep=9)), workspace, fork="child"
    )
    first = checkpoint.load(checkpoint.path_of(run.checkpoints, 0))
    assert all(torch.equal(first.model[name], parent.model[name]) for name in parent.model)
    assert first.optimizer == {}
    assert (first.state["step"], first.state["best"], first.state["best_step"]) == (0, None, None)
    assert [row["step"] for row in run.metrics() if "loss" in row] == [1, 2, 3, 4]
    assert best_weights(run).step > 0


def test_its_weights_are_its_own_and_its_card_names_the_parent(tiny, workspace):
    pipeline.run(tiny, workspace)
    pipeline.run(changed(tiny, steps=6), workspace, fork="child")
    run, old = workspace.run("child"), workspace.run("tiny")
    weights = [(each.model / "model.safetensors").read_bytes() for each in (run, old)]
    assert weights[0] != weights[1]
    assert "weights of tiny after step 24" in (run.model / "README.md").read_text()
    assert "tiny" in read_json(run.model / "textmill.json")["info"]["lineage"]["began with"]
    rows = ancestry.tree(workspace, "child", verify=True)
    assert rows["ok"]
    assert [row["path"].rpartition("/")[2] for row in rows["artifacts"] if row["kind"] == "run"] == [
        "child",
        "tiny",
    ]
    [row] = [row for row in history.overview(workspace) if row["name"] == "child"]
    assert row["forked"] == {"run": "tiny", "step": 24}


def test_killed_before_its_first_step_it_is_not_the_parent(tiny, workspace, monkeypatch):
    from textmill.stages.runs import session

    def killed(self):
        raise SystemExit

    monkeypatch.setattr(session.Session, "go", killed)
    with pytest.raises(SystemExit):
        train(changed(tiny, steps=6), workspace, fork="child")
    with pytest.raises(TextmillError, match="no checkpoint yet"):
        pipeline.publish_run(workspace.run("child"), workspace)
    monkeypatch.undo()
    run = train(changed(tiny, steps=6), workspace, fork="child")  # the same command goes on
    assert checkpoint.step_of(checkpoint.listed(run.checkpoints)[-1]) == 6
    other = dataclasses.replace(changed(tiny, steps=6), name="child")
    train(other, workspace)  # and so does the run by its name


def test_what_is_there_is_not_forked_onto(tiny, workspace):
    other = dataclasses.replace(tiny, name="other")
    train(changed(other, steps=6), workspace)
    for name in ("other", "tiny"):
        with pytest.raises(RecipeError, match="already exists, and is no fork of tiny"):
            train(changed(tiny, steps=6), workspace, fork=name)


def test_another_tokenizer_or_model_is_refused_with_the_difference(tiny, workspace):
    tokenizer = dataclasses.replace(tiny.tokenizer, vocabulary=330)
    with pytest.raises(RecipeError, match="tokenizer.vocabulary: 320 -> 330"):
        train(dataclasses.replace(tiny, tokenizer=tokenizer), workspace, fork="child")
    model = dataclasses.replace(tiny.model, layers=3)
    with pytest.raises(RecipeError, match="model.layers: 2 -> 3"):
        train(dataclasses.replace(tiny, model=model), workspace, fork="child")
    assert not workspace.run("child").path.exists()


@pytest.mark.slow
def test_a_changed_corpus_keeps_the_parents_tokenizer(tiny, workspace, texts):
    """A tokenizer learned anew of other text has other ids: the weights would mean something else by them."""
    old = trained_on(workspace.run("tiny"), workspace).prepared
    (texts / "more.txt").write_text("entirely other words: quartz sphinx judge vow " * 20)
    run = train(changed(tiny, steps=4), workspace, fork="child")
    new = trained_on(run, workspace).prepared
    assert new.corpus.id != old.corpus.id
    assert new.tokenizer.id == old.tokenizer.id


def test_it_is_not_judged_on_what_its_weights_were_trained_on(tiny, workspace):
    with pytest.raises(
        TextmillError, match=r"its (test|validation) split holds \d+ documents? that tiny was trained on"
    ):
        train(split(tiny, test=0.4), workspace, fork="child")
    assert not workspace.run("child").path.exists()


@pytest.mark.slow
def test_the_batches_of_its_steps_are_its_own(tiny, workspace):
    run = train(changed(dataclasses.replace(tiny, seed=8), steps=4), workspace, fork="child")
    loader = trained_on(run, workspace).loader()
    for step in (1, 4):
        rows = ancestry.batch_documents(workspace, "child", step)["documents"]
        assert [(row["document"], row["tokens"]) for row in rows] == loader.documents(step - 1)
    with pytest.raises(RecipeError, match="made 4 of its 4 steps"):
        ancestry.batch_documents(workspace, "child", 5)
    document = loader.documents(0)[0][0]
    [row] = sightings.sightings(workspace, document, run="child")["runs"]
    assert row["seen"][0]["steps"][0] == 1
    assert row["forked"]["step"] == 24


def test_what_a_fork_has_seen_is_said(tiny, workspace, texts):
    """Forgetting does not reach weights: a fork of a run that saw a document has seen it, whatever its own corpus."""
    corpus = trained_on(workspace.run("tiny"), workspace).corpus
    gone = next(iter(corpus.documents("train")))
    forget.forget(workspace, [gone.id])
    run = train(changed(tiny, steps=4), workspace, fork="child")
    assert gone.id not in {document.id for document in trained_on(run, workspace).corpus.documents("train")}
    assert remembrance.held(run, workspace).documents == (gone.id,)
    [row] = [row for row in history.overview(workspace) if row["name"] == "child"]
    assert row["forgotten"] == [gone.id]


@pytest.mark.slow
def test_comparing_says_what_is_not_comparable(tiny, workspace):
    other = dataclasses.replace(split(changed(tiny, steps=4), test=0.3), name="other")
    train(other, workspace)
    train(dataclasses.replace(changed(tiny, steps=4), name="same"), workspace)
    assert history.compare(workspace, "tiny", "same")["same"] == {"tokenizer": True, "test text": True}
    assert history.compare(workspace, "tiny", "other")["same"] == {"tokenizer": False, "test text": False}
