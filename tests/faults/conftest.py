"""Training in forks of a warm process, disturbed on purpose; see trials.py."""

from __future__ import annotations

import json
import os
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
        self._process.wait(30)

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
def start_trials(tmp_path):
    """Start a warm process for a recipe."""
    started = []

    def start(recipe: Path) -> Trials:
        started.append(Trials(tmp_path / f"work-{len(started)}", recipe))
        return started[-1]

    yield start
    for process in started:
        process.close()
