"""Two gloo ranks against one process: the same updates, the same checkpoint, and runs that change their ranks."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch

from textmill.training import checkpoint

SCRIPT = Path(__file__).with_name("ranks.py")


@pytest.fixture(scope="module")
def run(warm):
    """Train as some ranks; the checkpoint they wrote."""
    return functools.partial(_run, warm / "python")


def _run(python, directory, first, last, *, ranks, parallel="ddp", rule="adamw", memory="roomy"):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, str(SCRIPT), str(directory), str(first), str(last), parallel, rule, memory]
    base = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    processes = []
    for rank in range(ranks):
        more = {} if ranks == 1 else {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
        more |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        processes.append(subprocess.Popen(command, env=base | more, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)
    return checkpoint.load(checkpoint.path_of(directory, last))


def _assert_same(one, other, rtol=1e-6):
    for part in ("model", "optimizer", "average"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert mine.keys() == theirs.keys()
        for name, tensor in mine.items():
            error = (tensor - theirs[name]).norm() / tensor.norm().clamp(min=1e-12)
            assert error < rtol, (part, name, error)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, run):
    cache = {}

    def trained(rule):
        if rule not in cache:
            cache[rule] = run(tmp_path_factory.mktemp(rule), 0, 4, ranks=1, rule=rule)
        return cache[rule]

    return trained


@pytest.mark.long
@pytest.mark.parametrize(
    ("parallel", "rule"),
    [
        ("ddp", "adamw"),
        ("fsdp2", "muon"),
        pytest.param("ddp", "muon", marks=pytest.mark.slow),
        pytest.param("fsdp2", "adamw", marks=pytest.mark.slow),
    ],
)
def test_two_ranks_are_one_process(tmp_path, run, alone, parallel, rule):
    """Four steps: the first two reduce after the backward pass, the others while it runs."""
    one = alone(rule)
    two = run(tmp_path, 0, 4, ranks=2, parallel=parallel, rule=rule)
    assert any(name.startswith("idle") for name in one.model)
    assert not any("idle" in name for name in one.optimizer)
    _assert_same(one, two, 1e-5 if rule == "muon" else 1e-6)  # Muon's iteration enlarges rounding
    for mine, theirs in zip(one.state["results"], two.state["results"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_ranks_come_and_go(tmp_path, run, alone, parallel):
    """1 → 2 → 1 ranks: each goes on from the checkpoint of the other, with the same batches."""
    first = run(tmp_path, 0, 1, ranks=1)
    second = run(tmp_path, 1, 3, ranks=2, parallel=parallel)
    third = run(tmp_path, 3, 4, ranks=1)
    _assert_same(alone("adamw"), third)
    seen = [row for part in (first, second, third) for row in part.state["results"]]
    assert [row[0] for row in seen] == [0, 1, 2, 3]
    for mine, theirs in zip(alone("adamw").state["results"], seen, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-6)


@pytest.mark.slow
def test_ranks_agree_on_a_smaller_micro_batch(tmp_path, run, alone):
    """Memory runs out on one of them only; both begin the step again."""
    _assert_same(alone("adamw"), run(tmp_path, 0, 4, ranks=2, memory="tight"))


@pytest.mark.slow
def test_two_ranks_repeat_to_the_bit(tmp_path, run):
    one = run(tmp_path / "one", 0, 4, ranks=2)
    half = run(tmp_path / "two", 0, 2, ranks=2)
    assert half.step == 2
    two = run(tmp_path / "two", 2, 4, ranks=2)
    for name, tensor in one.model.items():
        assert torch.equal(tensor, two.model[name])
