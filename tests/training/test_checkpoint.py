"""Checkpoints: whole or absent, the same bytes for the same state, damage found and named."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import textwrap

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.base import locks
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import sha256_file
from textmill.specs.training import SaveSpec
from textmill.training import checkpoint


def _save(directory, step, **changes):
    torch.manual_seed(step)
    parts = {
        "model": {"b.weight": torch.randn(3, 4), "a.bias": torch.randn(5)},
        "optimizer": {"b.weight/exp_avg": torch.randn(3, 4), "b.weight/step": torch.tensor(float(step))},
        "state": {"step": step, "best": None},
    }
    return checkpoint.save(directory, step, **(parts | changes))


def _hashes(path):
    return {file.name: sha256_file(file) for file in sorted(path.iterdir())}


def test_round_trip(tmp_path):
    path = _save(tmp_path, 500, average={"w": torch.arange(6).view(2, 3).t()})  # not contiguous
    assert path.name == "step-00000500"
    loaded = checkpoint.load(path)
    torch.manual_seed(500)
    assert torch.equal(loaded.model["b.weight"], torch.randn(3, 4))
    assert loaded.optimizer["b.weight/step"].shape == ()
    assert torch.equal(loaded.average["w"], torch.arange(6).view(2, 3).t())
    assert (loaded.step, loaded.state) == (500, {"step": 500, "best": None})
    assert {file.name for file in path.iterdir()} == {
        "model.safetensors", "optimizer.safetensors", "average.safetensors", "state.json", "MANIFEST.json"
    }  # fmt: skip


def test_the_same_state_gives_the_same_bytes_anywhere(tmp_path):
    one, other = _save(tmp_path / "one", 7), _save(tmp_path / "a" / "b", 7)
    assert _hashes(one) == _hashes(other)
    manifest = json.loads((one / "MANIFEST.json").read_text())
    assert manifest["files"]["model.safetensors"]["sha256"] == sha256_file(one / "model.safetensors")
    assert str(tmp_path) not in (one / "MANIFEST.json").read_text()


def test_saving_the_same_again_leaves_the_files_alone(tmp_path):
    path = _save(tmp_path, 3)
    before = {file.name: file.stat().st_ino for file in path.iterdir()}
    _save(tmp_path, 3)
    assert {file.name: file.stat().st_ino for file in path.iterdir()} == before
    _save(tmp_path, 3, state={"step": 3, "best": 1.5})
    assert checkpoint.load(path).state["best"] == 1.5
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.long
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_bit_or_cut_is_found_and_named(tmp_path, data):
    path = _save(tmp_path, 1)
    files = sorted(file.name for file in path.iterdir())
    name = data.draw(st.sampled_from(files))
    content = bytearray((path / name).read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    (path / name).write_bytes(content)
    try:
        with pytest.raises(DamagedError) as caught:
            checkpoint.load(path)
        if name != "MANIFEST.json":
            assert caught.value.where.endswith(name)
    except pytest.fail.Exception:
        # a flipped bit may leave a manifest that says the same (white space) and all files whole
        assert name == "MANIFEST.json"
        assert checkpoint.verify(path)["files"].keys() == {
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
        }
    finally:
        import shutil

        shutil.rmtree(path)


def test_a_file_or_a_manifest_that_is_missing(tmp_path):
    path = _save(tmp_path, 1)
    (path / "optimizer.safetensors").unlink()
    with pytest.raises(DamagedError, match=r"optimizer\.safetensors: is missing"):
        checkpoint.load(path)
    (path / "MANIFEST.json").unlink()
    assert checkpoint.listed(tmp_path) == []  # a directory without its manifest does not exist


def test_newest_whole_passes_over_damage_and_reports_it(tmp_path):
    for step in (1, 2, 3, 10):
        _save(tmp_path, step)
    for step in (10, 3):
        file = checkpoint.path_of(tmp_path, step) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    (tmp_path / ".partial-step-00000011-1").mkdir()
    (tmp_path / "step-00000012").mkdir()
    found = checkpoint.newest_whole(tmp_path)
    assert found.path == checkpoint.path_of(tmp_path, 2)
    assert [str(error.where) for error in found.damaged] == [
        str(checkpoint.path_of(tmp_path, step) / "model.safetensors") for step in (10, 3)
    ]
    assert checkpoint.newest_whole(tmp_path / "nothing") == checkpoint.Found(None, [])


def test_prune(tmp_path):
    for step in (100, 200, 300, 400, 500, 600):
        _save(tmp_path, step)
    removed = checkpoint.prune(tmp_path, SaveSpec(keep=2, forever=300), best=200)
    assert [checkpoint.step_of(path) for path in removed] == [100, 400]
    assert [checkpoint.step_of(path) for path in checkpoint.listed(tmp_path)] == [200, 300, 500, 600]
    assert not list(tmp_path.glob(".partial*"))
    assert checkpoint.prune(tmp_path, SaveSpec(keep=2, forever=300), best=200) == []


def test_what_somebody_reads_is_pruned_another_time(tmp_path):
    for step in (1, 2, 3):
        _save(tmp_path, step)
    with locks.shared(checkpoint.path_of(tmp_path, 1)):
        removed = checkpoint.prune(tmp_path, SaveSpec(keep=1))
        assert [checkpoint.step_of(path) for path in removed] == [2]
        checkpoint.verify(checkpoint.path_of(tmp_path, 1))
    assert [checkpoint.step_of(path) for path in checkpoint.prune(tmp_path, SaveSpec(keep=1))] == [1]


def test_a_checkpoint_under_the_name_of_another_is_damaged(tmp_path):
    _save(tmp_path, 1).rename(checkpoint.path_of(tmp_path, 2))
    with pytest.raises(DamagedError, match="of another step"):
        checkpoint.load(checkpoint.path_of(tmp_path, 2))


def test_a_full_disk_leaves_the_old_ones(tmp_path):
    """A limit on the size of files stands for the full disk; the child process hits it while saving."""
    _save(tmp_path, 1)
    before = _hashes(checkpoint.path_of(tmp_path, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(TextmillError, match="the disk is full"):
            _save(tmp_path, 2, model={"large": torch.zeros(1 << 16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert _hashes(checkpoint.path_of(tmp_path, 1)) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000001"]


KILLED = """
    import os, sys, torch
    from pathlib import Path
    from textmill.base import files
    from textmill.specs.training import SaveSpec
    from textmill.training import checkpoint

    directory, fatal = Path(sys.argv[1]), int(sys.argv[2])
    calls = 0

    def deadly(real):
        def call(*arguments, **options):
            global calls
            calls += 1
            if calls == fatal:
                os.kill(os.getpid(), 9)
            return real(*arguments, **options)
        return call

    for step in (1, 2, 3):
        tensors = {"w": torch.full((4,), float(step))}
        if step == 3:
            for name in ("fsync", "rename", "replace"):
                setattr(os, name, deadly(getattr(os, name)))
        checkpoint.save(directory, step, model=tensors, optimizer=tensors, state={"step": step})
        checkpoint.prune(directory, SaveSpec(keep=1))
    print(calls)
"""


@pytest.mark.long
def test_killed_at_every_system_call_of_a_save_and_prune(tmp_path, warm):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(KILLED))

    def run(place, fatal):
        command = [warm / "python", str(script), str(place), str(fatal)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    whole = run(tmp_path / "whole", 0)
    calls = int(whole.stdout)
    assert calls >= 8, whole.stderr
    expected = {step: _hashes_of(step, tmp_path) for step in (2, 3)}
    for fatal in range(1, calls + 1, 3 if calls > 12 else 1):
        place = tmp_path / f"killed-{fatal}"
        assert run(place, fatal).returncode == -signal.SIGKILL
        found = checkpoint.newest_whole(place)
        assert found.path is not None
        assert not found.damaged
        step = checkpoint.step_of(found.path)
        assert _hashes(found.path) == expected[step]
        checkpoint.remove_partial(place)
        assert all(entry.name.startswith("step-") for entry in place.iterdir())


def _hashes_of(step, tmp_path):
    tensors = {"w": torch.full((4,), float(step))}
    place = tmp_path / "expected"
    return _hashes(checkpoint.save(place, step, model=tensors, optimizer=tensors, state={"step": step}))
