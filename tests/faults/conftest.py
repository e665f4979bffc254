"""Training in forks of a warm process, disturbed on purpose; see trials.py."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).with_name("trials.py")


class Trials:
    """A warm process that trains in forks of itself."""

    def __init__(self, root: Path, recipe: Path) -> None:
        self.root = root
        self._process = subprocess.Popen(
            [sys.executable, str(TRIALS), str(root), str(recipe)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def __call__(self, **trial) -> dict:
        self._process.stdin.write(json.dumps(trial) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(300)  # a busy machine is slow to end a process, too

    def forget(self) -> None:
        """Begin again from nothing."""
        shutil.rmtree(self.root, ignore_errors=True)

    def forget_run(self) -> None:
        """Keep what was prepared, forget what was trained."""
        shutil.rmtree(self.root / "runs", ignore_errors=True)


@pytest.fixture
def trials(tmp_path, tiny_recipe):
    process = Trials(tmp_path / "work", tiny_recipe)
    yield process
    process.close()


@pytest.fixture
def undisturbed(trials):
    """How an undisturbed run ends: its digest, its number of writes, its seconds. What it left is forgotten."""
    end = trials()
    assert end["ended"] == "done", end
    found = trials(digest=True)
    trials.forget()
    return found | end


@pytest.fixture
def resume():
    """Train on to the end, and compare every byte."""

    def resumed(trials, undisturbed):
        end = trials()
        assert end["ended"] == "done", end
        found = trials(digest=True)
        assert found["digest"] == undisturbed["digest"]
        assert not list(trials.root.rglob(".partial-*")), "what was half-made was left behind"

    return resumed


@pytest.fixture
def kill_at_random_moments(trials, undisturbed, resume):
    """SIGKILL after a random time, again and again, until the run got through by itself; kills are counted."""

    def kill(kills: int, seed: int) -> None:
        rng = random.Random(seed)
        done = 0
        while done < kills:
            end = trials(kill="time", after=rng.uniform(0.0, undisturbed["seconds"] * 0.9))
            done += end["ended"] == "killed"
            whole = trials(digest=True)["whole"]  # raises in the process, and so ends it, when one is damaged
            if end["ended"] == "done" or rng.random() < 0.25:
                resume(trials, undisturbed)
                trials.forget() if rng.random() < 0.3 else trials.forget_run()
            assert len(whole) <= 5
        resume(trials, undisturbed)

    return kill


@pytest.fixture
def start_trials(tmp_path):
    """Start a warm process for a recipe."""
    started = []

    def start(recipe: Path) -> Trials:
        started.append(Trials(tmp_path / f"work-{len(started)}", recipe))
        return started[-1]

    yield start
    for process in started:
        process.close()
