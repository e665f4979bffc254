"""What is stored, what depends on it, and that removing takes what was named and nothing else."""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path

import pytest

from textmill.base.console import Silent
from textmill.base.errors import BusyError, TextmillError
from textmill.specs import recipe_file
from textmill.stages.preparation import prepare
from textmill.stages.runs import train
from textmill.stages.storage import description, inventory, removal
from textmill.stages.storage.inventory import Inventory
from textmill.stages.workspace import lineage
from textmill.stages.workspace.models_folder import ModelsFolder
from textmill.stages.workspace.run import WRITTEN
from textmill.stages.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent(), ModelsFolder(tmp_path / "models"))


def artifact(workspace, kind, name, *parents, data=b"x" * 100):
    """An artifact of a cache, or a run."""
    path = workspace.root / kind / name
    path.mkdir(parents=True)
    (path / "data.bin").write_bytes(data)
    above = [lineage.read_lineage(parent) for parent in parents]
    lineage.write_lineage(path, kind=kind, key=name, spec={}, parents=above)
    return path


def run(workspace, name, *parents):
    path = artifact(workspace, "runs", name, *parents)
    (path / "data.bin").rename(path / "recipe.toml")
    (path / "recipe.toml").write_text(
        f'name = "{name}"\ncorpus.sources = [{{ kind = "files", paths = ["x"] }}]\n'
    )
    return path


@pytest.fixture
def chain(workspace):
    """corpus -> tokens -> run -> fork; an index of the tokens; another corpus that nothing was made from."""
    corpus = artifact(workspace, "corpus", "c0ffee")
    tokens = artifact(workspace, "tokens", "beef", corpus)
    parent = run(workspace, "first", tokens, corpus)
    run(workspace, "fork", tokens, parent)
    artifact(workspace, "index", "feed", tokens)
    artifact(workspace, "corpus", "decade", data=b"y" * 50)
    return workspace


def names(items):
    return [item.name for item in items]


def test_what_depends_on_what_is_told_by_lineage(chain):
    stock = Inventory(chain)
    assert names(stock.items) == [
        "first",
        "fork",
        "corpus/c0ffee",
        "corpus/decade",
        "index/feed",
        "tokens/beef",
    ]
    assert names(stock.dependents(stock.named("corpus/c0ffee"))) == [
        "first",
        "fork",
        "index/feed",
        "tokens/beef",
    ]
    assert names(stock.dependents(stock.named("first"))) == ["fork"]
    assert names(stock.parents(stock.named("fork"))) == ["first", "tokens/beef"]
    assert names(stock.unused()) == ["corpus/decade"]  # the index is of tokens that a run was made from
    listed = inventory.listing(chain)
    assert listed["bytes"] == sum(
        path.stat().st_size for item in stock.items for path in item.path.rglob("*")
    )
    assert [row["name"] for row in listed["stored"] if row["unused"]] == ["corpus/decade"]
    assert [row["name"] for row in inventory.listing(chain, ["run"])["stored"]] == ["first", "fork"]


def test_a_thing_is_named_by_name_beginning_or_path(chain):
    stock = Inventory(chain)
    assert stock.named("corpus/c0").name == "corpus/c0ffee"
    assert stock.named(str(chain.root / "runs/first")).name == "first"
    artifact(chain, "corpus", "c0de")
    with pytest.raises(TextmillError, match="is the name of"):
        Inventory(chain).named("corpus/c0")
    with pytest.raises(TextmillError, match="did you mean first?"):
        stock.named("frist")


def test_a_run_and_a_model_of_one_name_are_both_named(chain):
    (chain.models.path / "first").mkdir(parents=True)
    (chain.models.path / "first/config.json").write_text("{}")
    with pytest.raises(TextmillError) as error:
        removal.plan(chain, ["first"])
    assert str(chain.root / "runs/first") in error.value.what
    assert str(chain.models.path / "first") in error.value.what


def test_what_others_were_made_from_stays(chain):
    with pytest.raises(TextmillError, match="is what fork was made from"):
        removal.plan(chain, ["first"])
    stock, chosen = removal.plan(chain, ["first", "fork"])  # together they may go
    assert removal.remove(chain, stock, chosen)["removed"][0]["used_by"] == ["fork"]
    assert names(Inventory(chain).items) == ["corpus/c0ffee", "corpus/decade", "index/feed", "tokens/beef"]
    stock, chosen = removal.plan(chain, [], unused=True)
    assert len(chosen) == 4  # now no run was made from any of them
    gone = removal.remove(chain, stock, chosen)
    assert gone["bytes"] == sum(row["bytes"] for row in gone["removed"])
    assert gone["unused_bytes"] == 0
    assert Inventory(chain).items == []


def test_forced_it_goes_and_what_is_left_says_so(chain):
    stock, chosen = removal.plan(chain, ["first"], force=True)
    removal.remove(chain, stock, chosen)
    [fork] = [item for item in Inventory(chain).items if item.kind == "run"]
    states = [item for _, item in lineage.walk(lineage.read_lineage(fork.path), chain.root)]
    assert any(isinstance(item, dict) and item["state"] == "missing" for item in states)


def test_files_of_a_persons_own_keep_a_folder(chain):
    (chain.root / "runs/fork/notes.txt").write_text("mine")
    (chain.root / "corpus/decade/list.csv").write_text("mine")
    for name, file in (("fork", "notes.txt"), ("corpus/decade", "list.csv")):
        with pytest.raises(TextmillError, match=file):
            removal.plan(chain, [name])
    removal.plan(chain, ["fork"], force=True)


def test_sources_of_a_corpus_are_never_removed(chain):
    """Somebody's texts in the folder of a run; even forced."""
    (chain.root / "runs/fork/texts").mkdir()
    source = chain.root / "runs/fork/texts/a.txt"
    source.write_text("mine")
    place = os.path.relpath(source, chain.project)
    (chain.root / "corpus/decade/inputs.jsonl").write_text(json.dumps({"place": place, "hash": "0"}) + "\n")
    with pytest.raises(TextmillError, match="which are never removed"):
        removal.plan(chain, ["fork"], force=True)
    assert source.exists()


def test_of_a_link_only_the_link_goes(chain, tmp_path):
    elsewhere = tmp_path / "disk" / "fork"
    elsewhere.parent.mkdir()
    (chain.root / "runs/fork").rename(elsewhere)
    (chain.root / "runs/fork").symlink_to(elsewhere)
    removal.remove(chain, *removal.plan(chain, ["fork"]))
    assert not (chain.root / "runs/fork").exists()
    assert (elsewhere / "recipe.toml").exists()


def test_what_is_in_use_stays(chain):
    with open(chain.root / "runs/fork/.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            removal.remove(chain, *removal.plan(chain, ["fork"]))
    checkpoint = chain.root / "runs/fork/checkpoints/step-8"
    checkpoint.mkdir(parents=True)
    reading = os.open(checkpoint, os.O_RDONLY)
    fcntl.flock(reading, fcntl.LOCK_SH)
    with pytest.raises(BusyError, match="is being read"):
        removal.remove(chain, *removal.plan(chain, ["fork"]))
    os.close(reading)
    removal.remove(chain, *removal.plan(chain, ["fork"]))
    assert not (chain.root / "runs/fork").exists()


def test_a_crash_while_deleting_leaves_no_half_run(chain, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", lambda *a, **k: None)  # killed after the name is gone
    removal.remove(chain, *removal.plan(chain, ["fork"]))
    monkeypatch.undo()
    stock = Inventory(chain)
    assert "fork" not in names(stock.items)
    [half] = [item for item in stock.items if item.kind == "partial"]
    assert half in stock.unused()
    half.path.rename(
        half.path.with_name(half.path.name.rpartition("-")[0] + "-999999999")
    )  # that process has ended
    stock, chosen = removal.plan(chain, [], unused=True)
    removal.remove(chain, stock, chosen)
    assert not any("gone" in path.name for path in (chain.root / "runs").iterdir())


def test_a_true_run_holds_nothing_that_is_not_known(tiny_recipe, workspace, textmill):
    """Every file that training, judging and publishing leave in a run is known to be ours; the rest of the commands
    are true of it, too."""
    recipe = recipe_file.load(tiny_recipe)
    textmill("run", tiny_recipe)
    textmill("index", "build", "tiny")
    stock = Inventory(workspace)
    assert removal._others(stock.named("tiny")) == []
    for item in stock.items:
        assert removal._others(item) == [], item
    caches = [item for item in stock.items if item.kind == "cache"]
    assert {item.name.partition("/")[0] for item in caches} == {"corpus", "tokenizer", "tokens", "index"}
    assert stock.unused() == []
    for item in caches:
        expected = [] if item.name.startswith("index/") else ["tiny"]
        assert [name for name in names(stock.dependents(item)) if name == "tiny"] == expected
    told = description.details(workspace, "tiny")
    assert told["about"]["published"] is True
    assert (told["about"]["step"], told["about"]["steps"]) == (24, 24)
    assert sum(told["files"].values()) == told["bytes"]
    [row] = description.models(workspace)["models"]
    assert (row["name"], row["architecture"], row["published"]) == ("tiny", "decoder", True)
    removal.remove(workspace, *removal.plan(workspace, ["tiny"], unused=True))
    removal.remove(workspace, *removal.plan(workspace, [], unused=True))
    assert Inventory(workspace).items == []
    assert prepare.prepare(recipe, workspace).corpus.id  # and all of it can be made again
    assert train.train(recipe, workspace).exists


def test_adapters_are_listed_as_such_with_what_they_stand_on(workspace):
    folder = workspace.models.path
    for name, about in (
        ("base", {"model_type": "llama"}),
        ("style", {"peft_type": "LORA", "base_model_name_or_path": "base"}),
    ):
        (folder / name).mkdir(parents=True)
        where = "config.json" if name == "base" else "adapter_config.json"
        (folder / name / where).write_text(json.dumps(about))
    path = run(workspace, "tuned")
    text = (path / "recipe.toml").read_text()
    start = 'start = { model = "base", hash = "ab", vocabulary = 300 }'
    (path / "recipe.toml").write_text(
        f'{text}{start}\ntuning = {{ kind = "lora" }}\ntokenizer = {{ kind = "start" }}\n'
    )
    rows = {row["name"]: row for row in description.models(workspace)["models"]}
    assert {name: (row["kind"], row.get("adapter"), row.get("base")) for name, row in rows.items()} == {
        "base": ("model", None, None),
        "style": ("adapter", "lora", "base"),
        "tuned": ("adapter", "lora", "base"),
    }
    assert rows["base"]["used_by"] == ["style"]  # what the run began with, its lineage says; it has none here
    assert description.details(workspace, "style")["made_from"] == ["base"]


def test_whatever_is_written_into_a_run_may_go_with_it():
    """A file that a stage puts into a run's folder and that `WRITTEN` does not name keeps `rm` from removing it."""
    source = Path(inventory.__file__).parents[1]
    named = set()
    for path in source.rglob("*.py"):
        within = r"(?:run|self)\.path" if path.name == "run.py" else r"run\.path"
        named |= set(re.findall(within + r' / "([^"]+)"', path.read_text(encoding="utf-8")))
    assert named > {"loss.svg", "tensorboard", "recipe.toml"}
    assert named <= WRITTEN


@pytest.mark.slow
def test_by_the_command(textmill, chain):
    models = {"TEXTMILL_MODELS": str(chain.models.path)}
    refused = textmill("rm", "fork", check=False, **models)
    assert (refused.returncode, "nobody to ask" in refused.stderr) == (2, True)
    dry = json.loads(textmill("rm", "fork", "--dry-run", "--json", **models).stdout)
    assert [row["name"] for row in dry["would_remove"]] == ["fork"]
    assert (chain.root / "runs/fork").exists()
    assert "removed fork" in textmill("rm", "fork", "--yes", **models).stdout
    assert not (chain.root / "runs/fork").exists()
    assert "did you mean first?" in textmill("rm", "frist", check=False, **models).stderr
    assert "unused" in textmill("list", **models).stdout
    assert json.loads(textmill("show", "first", "--json", **models).stdout)["used_by"] == []
    assert textmill("list", "rnu", check=False, **models).returncode == 2
    assert textmill("rm", check=False, **models).returncode == 2
