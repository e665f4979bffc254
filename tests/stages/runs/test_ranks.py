"""Several ranks are one run: the same losses however many there are, and they may come and go."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from textmill.stages.workspace.run import Run

SCRIPT = Path(__file__).with_name("ranks.py")
# Dropout is drawn by rank, so it is the one thing that differs between numbers of ranks.
SAME = ("model.dropout=0.0", "training.micro_batch=2")


@pytest.fixture
def train(warm):
    """Train under torchrun, as some ranks; what they printed."""

    def train(recipe, work, ranks, *, stop=0, more=()):
        command = [warm / "python", "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
        command += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        command += ["--no-python", warm / "python", SCRIPT, recipe, work, str(stop), *SAME, *more]
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


def test_ranks_may_come_and_go(tmp_path, tiny_recipe, train):
    train(tiny_recipe, tmp_path / "alone", 1)
    assert "stopped" in train(tiny_recipe, tmp_path / "elastic", 1, stop=9)
    assert "stopped" in train(tiny_recipe, tmp_path / "elastic", 2, stop=17)
    train(tiny_recipe, tmp_path / "elastic", 1)
    assert_same(losses(tmp_path / "alone"), losses(tmp_path / "elastic"))


def test_sharded_weights_train_the_same(tmp_path, tiny_recipe, train):
    sharded = ("training.parallel=fsdp2",)
    train(tiny_recipe, tmp_path / "alone", 1)
    assert "stopped" in train(tiny_recipe, tmp_path / "sharded", 2, stop=10, more=sharded)
    train(tiny_recipe, tmp_path / "sharded", 2, more=sharded)
    assert_same(losses(tmp_path / "alone"), losses(tmp_path / "sharded"))


@pytest.mark.parametrize(
    "family",
    [
        ("model.kind=encoder-decoder", "objective.kind=continue"),
        ("model.kind=encoder", "objective.kind=masked", "objective.next_sentence=true"),
    ],
    ids=["encoder-decoder", "encoder"],
)
def test_sharded_families_train_the_same(tmp_path, tiny_recipe, train, family):
    few = (*family, "training.steps=6", "training.evaluate_every=3")
    train(tiny_recipe, tmp_path / "alone", 1, more=few)
    train(tiny_recipe, tmp_path / "sharded", 2, more=(*few, "training.parallel=fsdp2"))
    assert_same(losses(tmp_path / "alone"), losses(tmp_path / "sharded"))


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_a_tuned_run_with_frozen_weights_is_one_run(parallel, tmp_path, tiny_recipe, train):
    from conftest import make_texts

    make_texts(tmp_path / "texts")
    train(tiny_recipe, tmp_path / "work", 1)
    text = tiny_recipe.read_text().replace('name = "tiny"', 'name = "tuned"')
    text = "\n\n".join(part for part in text.split("\n\n") if not part.startswith(("[model]", "[tokenizer]")))
    tuned = tmp_path / "tuned.toml"
    tuned.write_text(text)
    more = ('start.model="tiny"', 'training.freeze=["embedding", "blocks.0"]', "training.layer_decay=0.5")
    train(tuned, tmp_path / "work", 1, more=more)
    alone = losses(tmp_path / "work", "tuned")
    shutil.rmtree(tmp_path / "work/runs/tuned")
    assert "stopped" in train(
        tuned, tmp_path / "work", 2, stop=9, more=(*more, f"training.parallel={parallel}")
    )
    train(tuned, tmp_path / "work", 2, more=(*more, f"training.parallel={parallel}"))
    assert_same(losses(tmp_path / "work", "tuned"), alone)
