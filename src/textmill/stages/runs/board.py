"""Curves for TensorBoard, where it is installed: `tensorboard --logdir work/runs`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Protocol

from textmill.base.files import make_directory, private
from textmill.stages.workspace.run import Run


class Board(Protocol):
    """Where figures go besides metrics.jsonl."""

    def write(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class NoBoard:
    """TensorBoard is not installed: nobody listens."""

    def write(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's `tensorboard/` folder."""

    def __init__(self, run: Run, step: int) -> None:
        """`step`: updates made before; what an earlier session wrote beyond it is passed over when shown."""
        from torch.utils.tensorboard import SummaryWriter

        make_directory(folder := run.path / "tensorboard")
        with private():
            self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def board(run: Run, step: int) -> Board:
    """TensorBoard where it is installed, else nobody."""
    return TensorBoard(run, step) if importlib.util.find_spec("tensorboard") else NoBoard()
