"""Several ranks are one run: the same losses however many there are, and they may come and go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import RECIPE, make_texts
from textmill.stages.workspace.run import Run

SCRIPT = Path(__file__).with_name("ranks.py")
# Dropout is drawn by rank, so it is the one thing that differs between numbers of ranks.
SAME = ("model.dropout=0.0", "training.micro_batch=2")


@pytest.fixture(scope="module")
def train(warm):
    """Train as some ranks, of several under torchrun; what they printed."""

    def train(recipe, work, ranks, *, stop=0, more=()):
        command = []
        if ranks > 1:
            command = [warm / "python", "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
            command += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
            command.append("--no-python")
        command += [warm / "python", SCRIPT, recipe, work, str(stop), *SAME, *more]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
            timeout=200,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return train


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "tiny.toml").write_text(RECIPE.format(texts=make_texts(folder / "texts")))
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def alone(recipe, train):
    """The workspace of a run of one process."""
    train(recipe, recipe.parent / "alone", 1)
    return recipe.parent / "alone"


@pytest.fixture(scope="module")
def tuned(recipe, alone, train):
    """(recipe, settings) of a run that begins with that one, and a workspace where one process has made it."""
    text = recipe.read_text().replace('name = "tiny"', 'name = "tuned"')
    text = "\n\n".join(part for part in text.split("\n\n") if not part.startswith(("[model]", "[tokenizer]")))
    path, work = recipe.with_name("tuned.toml"), recipe.parent / "tuned"
    path.write_text(text)
    more = ('start.model="tiny"', 'training.freeze=["embedding", "blocks.0"]', "training.layer_decay=0.5")
    shutil.copytree(alone, work)
    train(path, work, 1, more=more)
    return path, more, work


def losses(work, name="tiny"):
    records = Run(work / "runs" / name).metrics()
    return [(row["step"], row["loss"]) for row in records if "loss" in row], [
        row["validation"] for row in records if "validation" in row
    ]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert [step for step, *_ in map(_pair, one)] == [step for step, *_ in map(_pair, other)]
        assert [v for _, v in map(_pair, one)] == pytest.approx([v for _, v in map(_pair, other)], rel=2e-4)


def _pair(item):
    return item if isinstance(item, tuple) else (0, item)


def test_ranks_may_come_and_go(tmp_path, recipe, train, alone):
    assert "stopped" in train(recipe, tmp_path, 1, stop=9)
    assert "stopped" in train(recipe, tmp_path, 2, stop=17)
    train(recipe, tmp_path, 1)
    assert_same(losses(alone), losses(tmp_path))


def test_sharded_weights_train_the_same(tmp_path, recipe, train, alone):
    sharded = ("training.parallel=fsdp2",)
    assert "stopped" in train(recipe, tmp_path, 2, stop=10, more=sharded)
    train(recipe, tmp_path, 2, more=sharded)
    assert_same(losses(alone), losses(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        ("model.kind=encoder-decoder", "objective.kind=continue"),
        ("model.kind=encoder", "objective.kind=masked", "objective.next_sentence=true"),
    ],
    ids=["encoder-decoder", "encoder"],
)
def test_sharded_families_train_the_same(tmp_path, recipe, train, family):
    few = (*family, "training.steps=6", "training.evaluate_every=3")
    train(recipe, tmp_path / "alone", 1, more=few)
    train(recipe, tmp_path / "sharded", 2, more=(*few, "training.parallel=fsdp2"))
    assert_same(losses(tmp_path / "alone"), losses(tmp_path / "sharded"))


@pytest.mark.parametrize("parallel", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp2"])
def test_a_tuned_run_with_frozen_weights_is_one_run(parallel, tmp_path, train, tuned):
    path, more, work = tuned
    shutil.copytree(work, tmp_path / "work")
    shutil.rmtree(tmp_path / "work/runs/tuned")
    more = (*more, f"training.parallel={parallel}")
    assert "stopped" in train(path, tmp_path / "work", 2, stop=9, more=more)
    train(path, tmp_path / "work", 2, more=more)
    assert_same(losses(tmp_path / "work", "tuned"), losses(work, "tuned"))


@pytest.mark.slow
def test_an_adapter_is_one_run_however_many_ranks_there_are(tmp_path, train, tuned):
    path, (start, *_), work = tuned
    more = (start, "name=adapter", "tuning.kind=lora", "tuning.rank=2", 'tuning.targets=["all-linear"]')
    shutil.copytree(work, tmp_path / "work")
    train(path, tmp_path / "work", 1, more=more)
    one = losses(tmp_path / "work", "adapter")
    shutil.rmtree(tmp_path / "work/runs/adapter")
    assert "stopped" in train(path, tmp_path / "work", 2, stop=9, more=(*more, "training.parallel=ddp"))
    train(path, tmp_path / "work", 2, more=(*more, "training.parallel=ddp"))
    assert_same(losses(tmp_path / "work", "adapter"), one)


@pytest.fixture(scope="module")
def preferred(recipe, alone):
    """(recipe, workspace) of a run that learns preferences, and begins as that of one process."""
    pairs = [
        {"prompt": f"the mill {number}", "chosen": "turns " * (1 + number % 5), "rejected": "is slow"}
        for number in range(40)
    ]
    recipe.with_name("pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    path = recipe.with_name("preferred.toml")
    path.write_text("""
name = "preferred"

[corpus]
sources = [{ kind = "files", paths = ["pairs.jsonl"], format = "preference" }]
steps = []
split = { validation = 0.2 }

[start]
model = "tiny"

[objective]
kind = "prefer"

[training]
steps = 4
batch = 6
evaluate_every = 2
optimizer = { kind = "adamw", lr = 0.01 }
""")
    return path, alone


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
@pytest.mark.parametrize(
    "loss", ["dpo", "kto"]
)  # of which the second compares with a mean over the whole update
def test_preferences_are_learned_alike_by_any_number_of_ranks(parallel, loss, tmp_path, train, preferred):
    path, work = preferred
    more = (f'objective.loss={{ kind = "{loss}" }}', f"training.parallel={parallel}")
    found = []
    for ranks in (1, 2):
        shutil.copytree(work, tmp_path / str(ranks))
        train(path, tmp_path / str(ranks), ranks, more=more)
        found.append(losses(tmp_path / str(ranks), "preferred"))
    assert found[0][0][-1][1] != pytest.approx(found[0][0][0][1], rel=1e-2)  # something was learned
    assert_same(*found)
