"""Train as one rank of several: `torchrun ranks.py RECIPE WORK STOP`. The first rank asks to stop after step STOP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from textmill.base.console import Silent
from textmill.base.errors import Interrupted
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.runs import train
from textmill.stages.workspace.workspace import Workspace


class StopAt(Silent):
    """Asks its own process to stop after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def training(self, status) -> None:
        if status.step == self.step:
            os.kill(os.getpid(), signal.SIGUSR1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    path, work, stop, *overrides = sys.argv[1:]
    workspace = Workspace(Path(work), StopAt(int(stop)))
    try:
        train.train(load_recipe(Path(path), overrides, workspace), workspace)
    except Interrupted:
        print("stopped")
