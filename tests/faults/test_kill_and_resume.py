"""Kill it anywhere: what a resumed run leaves is, to the byte, what an undisturbed one leaves."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKPOINTS = Path("runs") / "tiny" / "checkpoints"


def test_the_same_run_twice_is_the_same_to_the_byte(trials, undisturbed, resume):
    resume(trials, undisturbed)


def test_a_few_kills_at_random_moments(kill_at_random_moments):
    kill_at_random_moments(kills=6, seed=3)


@pytest.mark.slow
def test_two_hundred_kills_at_random_moments(kill_at_random_moments):
    kill_at_random_moments(kills=200, seed=4)


def kill_at_calls(trials, undisturbed, resume, calls):
    for call in calls:
        trials.forget_run()
        end = trials(kill="call", at=call)
        assert end["ended"] == "killed", (call, end)
        trials(digest=True)
        resume(trials, undisturbed)


@pytest.mark.slow
def test_kills_at_the_writes_of_a_save(trials, undisturbed, resume):
    """Every fourth write, fsync or rename of a whole save in the middle of the run, one kill each."""
    trials()  # what is prepared stays, so that calls are counted from the same place in every trial
    trials.forget_run()
    calls = trials()["calls"]
    assert calls > 40
    middle = calls // 2
    kill_at_calls(trials, undisturbed, resume, range(middle, middle + 30, 4))


def test_kills_at_the_first_writes_of_a_run(trials, undisturbed, resume):
    """Where it comes from, on what it runs, its recipe: killed between them, it is begun again."""
    trials()
    trials.forget_run()
    kill_at_calls(trials, undisturbed, resume, range(2, 18, 3))


@pytest.mark.slow
def test_kills_at_every_write_of_a_run(trials, undisturbed, resume):
    trials()
    trials.forget_run()
    kill_at_calls(trials, undisturbed, resume, range(1, trials()["calls"] + 1))


@pytest.mark.slow
def test_kills_while_preparing(trials, undisturbed, resume):
    """Kills at writes spread over collecting, learning the tokenizer and encoding."""
    calls = undisturbed["calls"]
    for call in range(1, calls // 3, max(1, calls // 14)):
        trials.forget()
        end = trials(kill="call", at=call)
        assert end["ended"] == "killed", (call, end)
        resume(trials, undisturbed)


def test_flipped_bytes_are_noticed_and_the_newest_whole_checkpoint_is_used(trials, undisturbed):
    rng = random.Random(5)
    trials(kill="time", after=undisturbed["seconds"] * 2)
    folder = trials.root / CHECKPOINTS
    newest = sorted(folder.iterdir())[-1]
    for name in sorted(path.name for path in newest.iterdir()):
        path = newest / name
        before = path.read_bytes()
        place = rng.randrange(len(before))
        path.write_bytes(
            before[:place] + bytes([before[place] ^ 1 << rng.randrange(8)]) + before[place + 1 :]
        )
        end = trials()
        assert end["ended"] == "done"
        events = (trials.root / "runs/tiny/events.jsonl").read_text()
        assert "damaged" in events
        assert trials(digest=True)["digest"] == undisturbed["digest"], f"after a flipped bit in {name}"


@pytest.mark.slow
def test_no_room_for_a_checkpoint(trials, undisturbed, resume):
    """A quota that the model's file exceeds: an error for people, nothing damaged, and the run goes on after."""
    trials(kill="time", after=undisturbed["seconds"] * 2)
    trials.forget_run()
    size = max(path.stat().st_size for path in (trials.root / "tokens").rglob("*.bin"))
    end = trials(limit=max(size, 9000))
    assert end["ended"] == "error"
    assert "disk is full" in end["message"]
    assert trials(digest=True)["whole"] == []
    resume(trials, undisturbed)


def can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="only root can mount a small disk")
def test_a_small_disk_runs_full(tmp_path, tiny_recipe, trials, undisturbed):
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", place], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        end = trials(root=str(place / "work"))
        assert end["ended"] == "error"
        assert "disk is full" in end["message"]
        assert str(place) in end["message"]
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        assert trials(root=str(place / "work"))["ended"] == "done"
        shutil.copytree(place / "work", trials.root)
    finally:
        subprocess.run(["umount", place], check=True)
    assert trials(digest=True)["digest"] == undisturbed["digest"]
