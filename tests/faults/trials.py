"""Training runs that are disturbed on purpose, many in one process: each trial is a fork of a warm one.

    python trials.py WORK RECIPE     reads one trial a line from stdin (JSON), answers one line each

A trial is {"kill": "call", "at": n} (SIGKILL at the n-th write, fsync or rename), {"kill": "time", "after": s}
(SIGKILL after s seconds), {"limit": bytes} (no file may grow beyond) or {} (undisturbed). It trains in a fork
until that happens; the answer says how the fork ended and, after `{"digest": true}`, the hashes of what it left.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from textmill.base.console import Silent
from textmill.base.errors import TextmillError
from textmill.stages.preparation import starting
from textmill.stages.runs import train
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint

WATCHED = ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "write"), (checkpoint, "save_file"))


def count_calls(deadly: int) -> list[int]:
    """Count every write, fsync and rename from here on; the `deadly`-th is the last thing this process does.

    Half of the deadly calls are made and half are not: the crash may come before or after.
    """
    count = [0]

    def watch(module, name):
        original = getattr(module, name)

        def watched(*arguments, **options):
            count[0] += 1
            if count[0] == deadly:
                if deadly % 2:
                    original(*arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(module, name, watched)

    for module, name in WATCHED:
        watch(module, name)
    write_text = Path.write_text

    def write(path, *arguments, **options):
        count[0] += 1
        if count[0] == deadly:
            write_text(path, arguments[0][: len(arguments[0]) // 2], *arguments[1:], **options)
            os.kill(os.getpid(), signal.SIGKILL)
        return write_text(path, *arguments, **options)

    Path.write_text = write
    return count


def go(path: Path, root: Path) -> None:
    """Train a recipe in a workspace."""
    workspace = Workspace(root, Silent())
    train.train(starting.load_recipe(path, (), workspace), workspace)


def work(root: Path, path: Path, trial: dict, answer: int) -> None:
    """The fork: train, disturbed or not, and say how it ended."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    counted = count_calls(trial["at"] if trial.get("kill") == "call" else -1)
    if "limit" in trial:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (trial["limit"], trial["limit"]))
    try:
        go(path, root)
        outcome = {"ended": "done"}
    except TextmillError as error:
        outcome = {"ended": "error", "message": str(error)}
    os.write(answer, json.dumps(outcome | {"calls": counted[0]}).encode())
    os._exit(0)


def run_trial(root: Path, path: Path, trial: dict) -> dict:
    """Fork, wait, kill if asked."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        work(root, path, trial, writing)
    os.close(writing)
    started = time.monotonic()
    if trial.get("kill") == "time":
        time.sleep(trial["after"])
        os.kill(child, signal.SIGKILL)
    said = b""
    while block := os.read(reading, 65536):
        said += block
    os.close(reading)
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - started
    if said:
        return json.loads(said) | {"seconds": seconds}
    return {"ended": "killed" if os.WIFSIGNALED(status) else "crashed", "seconds": seconds}


def digest(root: Path) -> dict:
    """SHA-256 of everything a run leaves that is said to be exact."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        exact = name.split("/")[0] in ("corpus", "tokenizer", "tokens") or "/checkpoints/" in name
        if path.is_file() and exact and not path.name.startswith(".") and ".partial-" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def whole(root: Path) -> list[str]:
    """Checkpoints whose manifest stands; raises when one of them is not what was written."""
    names = []
    for path in checkpoint.listed(root / "runs" / "tiny" / "checkpoints"):
        checkpoint.verify(path)
        names.append(path.name)
    return names


def main() -> None:
    root, path = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as place
    ):  # whatever training imports is imported once, before any fork
        go(path, Path(place))
    for line in sys.stdin:
        trial = json.loads(line)
        if trial.get("digest"):
            answer = {"digest": digest(root), "whole": whole(root)}
        else:
            answer = run_trial(Path(trial.get("root", root)), path, trial)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
