"""Phases: recipes in one file, each starting from the result of the one before; and text replayed beside the new."""

from __future__ import annotations

import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from conftest import make_texts
from helpers.listener import Listener
from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import IGNORE
from textmill.stages import pipeline
from textmill.stages.preparation import starting
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.runs.train import train
from textmill.stages.tracing import ancestry, forget, sightings
from textmill.stages.workspace import remembrance
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint

RECIPE = """
name = "chain"
corpus = {{ sources = [{{ kind = "files", paths = ["general"] }}], split = {{ validation = 0.2, test = 0.2 }} }}
tokenizer = {{ vocabulary = 300 }}
model = {{ d_model = 16, layers = 1, heads = 2, d_ff = 32, context = 32, dropout = 0.1 }}
evaluation = {{ bootstrap = 20, samples = [] }}

[training]
steps = {steps}
batch = 4
evaluate_every = 2
evaluate_tokens = 200
average = {{ decay = 0.5 }}
save = {{ every = 1 }}

[[phase]]
name = "base"

[[phase]]
name = "domain"
corpus = {{ sources = [{{ kind = "files", paths = ["domain"] }}] }}
training = {{ optimizer = {{ lr = 1e-4 }} }}
[phase.replay]
share = 0.3
corpus = {{ sources = [{{ kind = "files", paths = ["general"] }}], split = {{ validation = 0.2, test = 0.2 }} }}

[[phase]]
name = "reviews"
corpus = {{ sources = [{{ kind = "files", paths = ["reviews.jsonl"] }}] }}
objective = {{ kind = "classify" }}
"""


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent())


@pytest.fixture
def chain(tmp_path):
    return write(tmp_path)


def write(folder, steps=4):
    make_texts(folder / "general", 30)
    make_texts(folder / "domain", 20, seed=5)
    rows = ({"text": f"grain {number} by the river", "label": "ab"[number % 2]} for number in range(40))
    (folder / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "chain.toml"
    path.write_text(RECIPE.format(steps=steps))
    return path


def weights(run):
    path = checkpoint.newest_whole(run.checkpoints).path
    return {name: (path / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer", "average")}


def test_each_starts_from_the_one_before(chain, workspace):
    reports = [pipeline.run(each, workspace) for each in starting.load_recipes(chain, (), workspace)]
    assert [report["run"] for report in reports] == ["chain-base", "chain-domain", "chain-reviews"]
    base, domain, reviews = (workspace.run(report["run"]).recipe() for report in reports)
    assert (base.start, domain.start.model, reviews.start.model) == (None, "chain-base", "chain-domain")
    assert (domain.training.steps, domain.training.optimizer.lr) == (4, 1e-4)  # overridden key by key
    assert reviews.replay is None  # a phase's own
    assert domain.corpus.split == base.corpus.split
    rows = ancestry.tree(workspace, "chain-reviews")["artifacts"]
    runs = [row["path"].rpartition("/")[2] for row in rows if row["kind"] == "run"]
    assert runs[:3] == ["chain-reviews", "chain-domain", "chain-base"]

    general = workspace.run("chain-domain").report()["general"]
    before = workspace.run("chain-base").report()["details"][general["before"]["name"]]
    assert general["before"]["value"] == pytest.approx(before["value"], abs=1e-9)  # the same text and weights
    assert general["after"]["value"] != general["before"]["value"]

    again = [pipeline.run(each, workspace) for each in starting.load_recipes(chain, (), workspace)]
    assert [report["scores"]["key"] for report in again] == [report["scores"]["key"] for report in reports]


@pytest.mark.slow
def test_one_may_be_named_and_what_follows_another_result_is_trained_anew(chain, workspace):
    with pytest.raises(RecipeError, match="has phases: base, domain, reviews"):
        starting.load_recipe(chain, (), workspace)
    with pytest.raises(RecipeError, match="no phase 'last'"):
        starting.load_recipe(chain, (), workspace, phase="last")
    with pytest.raises(TextmillError, match="no such"):
        starting.load_recipe(chain, (), workspace, phase="domain")  # the one before has not been trained
    for each in starting.load_recipes(chain, (), workspace):
        train(each, workspace)
    shutil.rmtree(workspace.run("chain-base").path)
    train(starting.load_recipe(chain, ["seed=3"], workspace, phase="base"), workspace)
    assert starting.load_recipe(chain, ["seed=3"], workspace, phase="base").seed == 3
    kept = weights(workspace.run("chain-domain"))
    for _ in range(2):  # what has been trained anew is up to date
        runs = [train(each, workspace) for each in starting.load_recipes(chain, ["seed=3"], workspace)]
        assert [run.name for run in runs] == ["chain-base", "chain-domain-2", "chain-reviews-2"]
    assert [run.recipe().start.model for run in runs[1:]] == ["chain-base", "chain-domain-2"]
    assert starting.load_recipe(chain, ["seed=3"], workspace, phase="reviews").name == "chain-reviews-2"
    assert weights(workspace.run("chain-domain")) == kept


@pytest.mark.slow
def test_what_is_replayed_is_read_in_every_step(chain, workspace):
    for each in starting.load_recipes(chain, (), workspace, phase="base"):
        train(each, workspace)
    recipe = starting.load_recipe(chain, (), workspace, phase="domain")
    data = prepare(recipe, workspace)
    loader = data.loader()
    own, general = ({document.id for document in each.corpus.documents("train")} for each in data.all)
    for step in range(5):
        whole = loader.batch(step)
        assert len(whole) == 4
        assert torch.equal(whole.inputs, loader.batch(step).inputs)
        halves = [loader.batch(step, rank, 2).inputs for rank in range(2)]
        assert torch.equal(torch.cat(halves), whole.inputs)
        read = dict(loader.documents(step))
        assert read.keys() & own
        assert read.keys() & general
        assert sum(read.values()) == int((whole.targets != IGNORE).sum())
        for document in list(read)[:3]:
            steps, tokens = loader.steps_of(document, step + 1)
            assert read[document] == tokens[list(steps).index(step)]


def test_lineage_knows_what_was_replayed(chain, workspace):
    for name in ("base", "domain"):
        train(starting.load_recipe(chain, (), workspace, phase=name), workspace)
    run = workspace.run("chain-domain")
    data = trained_on(run, workspace)
    general = {document.id for document in data.general.corpus.documents("train")}
    document = next(name for name, _ in data.loader().documents(0) if name in general)
    account = sightings.sightings(workspace, document, run=run.name)["runs"][0]
    assert account["seen"][0]["splits"] == ["train"]
    assert account["checkpoints"][-1]["saw"]
    rows = ancestry.batch_documents(workspace, run.name, 1)["documents"]
    assert {row["source"].split("/")[0] for row in rows} == {"general", "domain"}


def test_what_is_forgotten_goes_from_the_whole_chain(chain, workspace, monkeypatch):
    """The commands that `forget` gives train every run anew, each from the one before that was trained anew."""
    for name in ("base", "domain"):
        train(starting.load_recipe(chain, (), workspace, phase=name), workspace)
    document = next(iter(trained_on(workspace.run("chain-base"), workspace).corpus.documents("train"))).id
    monkeypatch.chdir(chain.parent)
    rows = [row for row in forget.forget(workspace, [document])["made_from"] if row["kind"] == "run"]
    assert [row["run"] for row in rows] == ["chain-base", "chain-domain"]
    assert "--from" not in rows[0]["again"]
    assert rows[1]["again"].endswith("--set name=chain-domain-2 --from chain-base-2")
    assert remembrance.held(workspace.run("chain-domain"), workspace).documents == (document,)
    late = starting.load_recipe(Path(rows[1]["recipe"]), ["name=late"], workspace)
    heard = Listener()
    train(late, Workspace(workspace.root, heard))  # nothing of it in its own text, but in that of its start
    assert any("the weights of chain-base have seen 1 document" in line for line in heard.said)
    for row in rows:
        words = shlex.split(row["again"])
        start = words[words.index("--from") + 1] if "--from" in words else None
        recipe = starting.load_recipe(Path(words[2]), [words[4]], workspace, start=start)
        train(recipe, workspace)
    new = workspace.run("chain-domain-2")
    assert new.start.run == "chain-base-2"
    assert remembrance.held(new, workspace) is None


def test_held_out_text_is_not_replayed(chain, workspace):
    for each in starting.load_recipes(chain, (), workspace, phase="base"):
        train(each, workspace)
    both = 'paths = ["general", "domain"] }}], split = {{ test = 0.6 }}'.replace("{{", "{").replace("}}", "}")
    chain.write_text(chain.read_text().replace('paths = ["domain"] }]', both))
    with pytest.raises(TextmillError, match="trained on"):
        train(starting.load_recipe(chain, (), workspace, phase="domain"), workspace)


def test_an_update_must_hold_both(chain, workspace):
    for each in starting.load_recipes(chain, (), workspace, phase="base"):
        train(each, workspace)
    chain.write_text(chain.read_text().replace("lr = 1e-4 }", "lr = 1e-4 }, batch = 1"))
    with pytest.raises(RecipeError, match="holds nothing beside what is replayed"):
        starting.load_recipe(chain, (), workspace, phase="domain")


def go(folder, work, seconds=None):
    """`textmill train` of the chain in a process, killed after some time."""
    command = [sys.executable, "-m", "textmill", "train", "chain.toml", "--work", str(work), "--quiet"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0, errors.decode()
    return True


@pytest.mark.slow
def test_killed_at_random_all_phases_have_the_same_bytes(tmp_path):
    write(tmp_path, steps=30)
    began = time.monotonic()
    assert go(tmp_path, tmp_path / "whole")
    longest = time.monotonic() - began
    rng, kills = random.Random(4), 0
    while kills < 20:
        kills += not go(tmp_path, tmp_path / "killed", rng.uniform(0.3, 1.0) * longest / 3)
        if kills < 20 and all((tmp_path / "killed/runs" / f"chain-{name}").exists() for name in ("reviews",)):
            shutil.rmtree(tmp_path / "killed/runs/chain-reviews", ignore_errors=True)
    while not go(tmp_path, tmp_path / "killed"):
        pass
    whole, killed = (Workspace(tmp_path / name, Silent()) for name in ("whole", "killed"))
    for name in ("base", "domain", "reviews"):
        assert weights(whole.run(f"chain-{name}")) == weights(killed.run(f"chain-{name}"))


def test_interrupted_in_any_phase_it_has_the_same_bytes(chain, workspace, tmp_path, monkeypatch):
    from textmill.stages.runs import session

    for each in starting.load_recipes(chain, (), workspace):
        train(each, workspace)
    other = Workspace(tmp_path / "other", Silent())
    save, kills = session.Session.save, 0

    def killed(self):
        save(self)
        if self.progress.step < 4:
            raise SystemExit

    monkeypatch.setattr(session.Session, "save", killed)
    for _ in range(20):
        try:
            for each in starting.load_recipes(chain, (), other):
                train(each, other)
        except SystemExit:
            kills += 1
            continue
        break
    assert kills == 9  # after the steps 1, 2 and 3 of each phase
    for name in ("base", "domain", "reviews"):
        assert weights(workspace.run(f"chain-{name}")) == weights(other.run(f"chain-{name}"))
