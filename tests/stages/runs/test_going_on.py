"""A run goes on with what it was begun with: its sources may be changed, moved or gone, and so may its project."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from helpers.listener import Listener
from textmill.base.errors import ChangedError, DamagedError, RecipeError, TextmillError
from textmill.specs import recipe_file
from textmill.stages import pipeline
from textmill.stages.preparation.prepare import prepare
from textmill.stages.runs import history, session
from textmill.stages.runs.train import train
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus import units
from textmill.training import checkpoint


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Listener())


@pytest.fixture
def tiny(tiny_recipe):
    return recipe_file.load(tiny_recipe)


def halfway(recipe, workspace, monkeypatch):
    """A run that was killed after step 8."""
    honest = session.Session.save

    def stopped(self):
        honest(self)
        if self.progress.step >= 8:
            raise SystemExit

    monkeypatch.setattr(session.Session, "save", stopped)
    with pytest.raises(SystemExit):
        train(recipe, workspace)
    monkeypatch.undo()


def last(run):
    path = checkpoint.newest_whole(run.checkpoints).path
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def undisturbed(tiny, tmp_path):
    return last(train(tiny, Workspace(tmp_path / "alone/work", Listener())))


@pytest.mark.parametrize(
    "fate", ["gone", *(pytest.param(fate, marks=pytest.mark.slow) for fate in ("changed", "renamed"))]
)
def test_without_its_sources(tiny, workspace, texts, monkeypatch, undisturbed, fate):
    halfway(tiny, workspace, monkeypatch)
    if fate == "changed":
        (texts / "000.txt").write_text("something else")
    else:
        texts.rename(texts.with_name("elsewhere"))
    recipe = tiny
    if fate == "renamed":  # and the recipe names the new place of what is gone again
        source = dataclasses.replace(tiny.corpus.sources[0], paths=(str(texts.with_name("nowhere")),))
        recipe = dataclasses.replace(tiny, corpus=dataclasses.replace(tiny.corpus, sources=(source,)))
    assert last(train(recipe, workspace)) == undisturbed


@pytest.mark.parametrize("written", ["relative", pytest.param("absolute", marks=pytest.mark.slow)])
def test_in_a_project_that_was_moved(tmp_path, tiny_recipe, texts, monkeypatch, undisturbed, written):
    old = tmp_path / "old"
    old.mkdir()
    shutil.copytree(texts, old / "texts")
    named = "texts" if written == "relative" else str(old / "texts")
    (old / "tiny.toml").write_text(tiny_recipe.read_text().replace(str(texts), named))
    halfway(recipe_file.load(old / "tiny.toml"), Workspace(old / "work", Listener()), monkeypatch)
    old.rename(tmp_path / "new")
    new = Workspace(tmp_path / "new/work", Listener())
    recipe = recipe_file.load(tmp_path / "new/tiny.toml")
    assert last(train(recipe, new))["model.safetensors"] == undisturbed["model.safetensors"]
    if written == "relative":
        prepare(recipe, new)
        assert not any("being made" in line for line in new.reporter.said), "nothing is made again"
        for name in ("lineage.json", "inputs.jsonl", "manifest.json"):
            for path in new.root.glob(f"corpus/*/{name}"):
                assert str(tmp_path) not in path.read_text(), name


@pytest.mark.slow
def test_a_workspace_that_was_moved_alone(tiny, workspace, tmp_path, monkeypatch, undisturbed):
    halfway(tiny, workspace, monkeypatch)
    workspace.root.rename(tmp_path / "deep")
    assert last(train(tiny, Workspace(tmp_path / "deep", Listener()))) == undisturbed


@pytest.mark.slow
def test_a_run_whose_folder_is_a_link(tiny, workspace, tmp_path, monkeypatch, undisturbed):
    halfway(tiny, workspace, monkeypatch)
    (workspace.root / "runs/tiny").rename(tmp_path / "large-disk")
    (workspace.root / "runs/tiny").symlink_to(tmp_path / "large-disk")
    assert last(train(tiny, workspace)) == undisturbed
    pipeline.run(tiny, workspace)
    assert (tmp_path / "large-disk/model/config.json").is_file()


def test_a_changed_batch_is_still_another_recipe(tiny, workspace):
    train(tiny, workspace)
    other = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, batch=6))
    with pytest.raises(RecipeError, match=r"training\.batch: 4 -> 6"):
        train(other, workspace)


def test_other_sources_that_are_there_are_another_recipe(tiny, workspace, texts):
    train(tiny, workspace)
    shutil.copytree(texts, texts.with_name("others"))
    source = dataclasses.replace(tiny.corpus.sources[0], paths=(str(texts.with_name("others")),))
    with pytest.raises(RecipeError, match=r"corpus\.sources"):
        train(
            dataclasses.replace(tiny, corpus=dataclasses.replace(tiny.corpus, sources=(source,))), workspace
        )


def test_a_source_that_changes_while_it_is_read(tiny, workspace, texts, monkeypatch):
    """What is read is what some source held: it is read again until it stands still."""
    honest, times = units.table.documents, []

    def meddling(source, path, *others):
        yield from honest(source, path, *others)
        if path.name == "003.txt" and len(times) < 2:
            times.append(path.write_text(f"changed while it was read, {len(times)} times\n"))

    monkeypatch.setattr(units.table, "documents", meddling)
    data = prepare(tiny, workspace)
    texts_now = {d.text for part in ("train", "validation", "test") for d in data.corpus.documents(part)}
    assert (texts / "003.txt").read_text() in texts_now
    assert any("changed while it was read" in line for line in workspace.reporter.said)
    assert not list(workspace.root.glob("corpus/.parts-*"))
    (texts / "004.txt").write_text("as it was\n")

    def restless(source, path, *others):
        yield from honest(source, path, *others)
        if path.name == "004.txt":
            path.write_text(path.read_text() + "more\n")

    monkeypatch.setattr(units.table, "documents", restless)
    with pytest.raises(ChangedError, match="wait until no program writes it"):
        prepare(tiny, workspace)


def test_what_is_half_done_and_damaged_is_begun_anew(tiny, workspace, monkeypatch):
    from textmill.text.corpus import build

    honest = build.write_records

    def killed(*arguments, **options):
        raise SystemExit

    monkeypatch.setattr(build, "write_records", killed)
    with pytest.raises(SystemExit):
        prepare(tiny, workspace)
    monkeypatch.setattr(build, "write_records", honest)
    [shard] = workspace.root.glob("corpus/.parts-*/phase-0/unit-00000/*.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    found = prepare(tiny, workspace).prepared.corpus.id
    assert found == prepare(tiny, Workspace(workspace.root.with_name("other"), Listener())).prepared.corpus.id


def test_a_validation_that_is_not_finite_is_never_the_best(tiny, workspace, monkeypatch):
    honest = session.Session.validation_loss
    looks = []

    def spoilt(self):
        looks.append(self.progress.step)
        nats, targets = honest(self)
        return (nats, targets) if len(looks) % 2 == 0 else (float("nan"), targets)

    monkeypatch.setattr(session.Session, "validation_loss", spoilt)
    run = train(tiny, workspace)
    assert looks == [6, 12, 18, 24]
    assert best_weights(run).step in (12, 24)
    assert sum("not a finite number" in line for line in workspace.reporter.said) == 2
    kinds = [event["step"] for event in run.events() if event["event"] == "validation not finite"]
    assert kinds == [6, 18]


def test_a_damaged_newest_checkpoint_is_not_passed_over(tiny, workspace):
    run = train(tiny, workspace)
    model = checkpoint.listed(run.checkpoints)[-1] / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with pytest.raises(DamagedError, match="goes back to step-00000020"):
        pipeline.publish_run(run, workspace)
    train(tiny, workspace)  # the steps after it are made again
    pipeline.publish_run(run, workspace)


def test_where_an_unfinished_run_stands(tiny, workspace, monkeypatch):
    halfway(tiny, workspace, monkeypatch)
    assert history.overview(workspace)[0]["state"] == "unfinished"
    pipeline.publish_run(workspace.run("tiny"), workspace)
    assert history.overview(workspace)[0]["state"] == "unfinished, step 6 published"
    train(tiny, workspace)
    assert history.overview(workspace)[0]["state"] == "published"


def test_checkpoints_without_their_recipe(tiny, workspace):
    run = train(tiny, workspace)
    run.recipe_file.unlink()
    with pytest.raises(DamagedError, match="is missing, and the run has checkpoints"):
        train(tiny, workspace)


def test_names_that_no_folder_can_have(tiny, workspace):
    with pytest.raises(RecipeError, match="too long for the name of a folder"):
        dataclasses.replace(tiny, name="n" * 300)
    with pytest.raises(TextmillError, match="too long"):
        history.details(workspace, "n" * 300)
