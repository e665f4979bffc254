"""Asked to stop in any phase, the command saves what it has and leaves; two at once do not mix."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest

PHASES = ("corpus", "tokenizer", "tokens", "train", "evaluate", "publish")


def start(tmp_path, *arguments, work="work"):
    return subprocess.Popen(
        [sys.executable, "-m", "textmill", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=os.environ
        | {
            "TEXTMILL_WORK": str(tmp_path / work),
            "OMP_NUM_THREADS": "1",
            "TEXTMILL_TESTS_HIDE": "transformers",
        },
    )


def wait_for(process, pattern):
    """Read the log until a line matches; what was read."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if re.match(pattern, line):
            return "".join(lines)
    return "".join(lines)


def finish(process):
    rest = process.stderr.read()
    process.stderr.close()
    return process.wait(60), rest


def exact_files(root):
    """Hashes of the artifacts, the last checkpoint and the published weights."""
    chosen = [*root.glob("corpus/*/*"), *root.glob("tokens/*/*/*"), *root.glob("runs/*/checkpoints/*24/*")]
    chosen += [*root.glob("runs/*/model/*.safetensors"), *root.glob("runs/*/model/*.json")]
    kept = [
        path
        for path in chosen
        if path.is_file() and path.name not in (".lock", "parity.json", "lineage.json")
    ]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.mark.slow
def test_sigterm_in_every_phase(tmp_path, tiny_recipe, textmill):
    for phase in PHASES:
        process = start(tmp_path, "run", tiny_recipe)
        log = wait_for(process, rf"{phase} +(being made|\d+ steps)")
        process.send_signal(signal.SIGTERM)
        code, rest = finish(process)
        assert code in (0, 130), (
            f"{phase}: {code}\n{log}{rest}"
        )  # 0: the phase was over before the signal came
        assert "Traceback" not in log + rest, f"{phase}\n{log}{rest}"
        assert not list((tmp_path / "work").rglob(".partial-*")), phase
    textmill("run", tiny_recipe)
    textmill("run", tiny_recipe, TEXTMILL_WORK=str(tmp_path / "undisturbed"))
    assert exact_files(tmp_path / "work") == exact_files(tmp_path / "undisturbed")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGUSR1])
def test_a_stopped_training_says_so_and_goes_on(tmp_path, tiny_recipe, textmill, number):
    long = ("--set", "training.steps=100000", "--set", "training.evaluate_every=100000")
    process = start(tmp_path, "train", tiny_recipe, *long)
    wait_for(process, r"step +\d+/")
    process.send_signal(number)
    code, rest = finish(process)
    assert code == 130
    assert "all of it saved" in rest
    assert "Traceback" not in rest
    process = start(tmp_path, "train", tiny_recipe, *long)
    log = wait_for(process, r"train +\d")
    assert re.search(r"from step [1-9]", log + process.stderr.readline()), log
    process.kill()
    finish(process)


def test_leaving_at_once_says_what_is_lost(tmp_path, tiny_recipe):
    """The second Ctrl-C does not wait for a step, here one that never ends; what was saved is what is gone on from."""
    code = (
        "import sys, time\n"
        "from textmill.stages.runs import session\n"
        "honest = session.Session._account\n"
        "def account(self, result):\n"
        "    honest(self, result)\n"
        "    if result.step == 6:\n"
        "        print('step 7 made', file=sys.stderr, flush=True)\n"
        "        time.sleep(100)\n"
        "session.Session._account = account\n"
        "from textmill.cli.main import main\n"
        f"sys.argv = ['textmill', 'train', {str(tiny_recipe)!r}]\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TEXTMILL_WORK": str(tmp_path / "work"), "OMP_NUM_THREADS": "1"},
    )
    wait_for(process, "step 7 made")
    process.send_signal(signal.SIGINT)
    assert "stopping after this step" in wait_for(process, "SIGINT")
    time.sleep(0.7)  # sooner, it would be the same press of a key
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130
    assert "step 7 is not saved, the last checkpoint is of step 6" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_two_writers(tmp_path, tiny_recipe):
    long = ("--set", "training.steps=100000", "--set", "training.evaluate_every=100000")
    first = start(tmp_path, "train", tiny_recipe, *long)
    wait_for(first, r"step +\d+/")
    second = start(tmp_path, "train", tiny_recipe, *long)
    assert f"process {first.pid}" in wait_for(second, r"train +waiting"), "it says whom it waits for"
    third = start(tmp_path, "train", tiny_recipe, *long)
    wait_for(third, r"train +waiting")
    third.send_signal(signal.SIGINT)
    code, said = finish(third)
    assert (code, "Traceback" in said) == (130, False), "who waits can be told not to"
    first.kill()
    finish(first)
    assert re.search(r"step +\d+/", wait_for(second, r"step +\d+/")), "the lock of a killed run is given back"
    second.kill()
    finish(second)
