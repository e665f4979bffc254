"""The process that knows only transformers (transformers_program.py): started once, asked of many directories."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from textmill.base.confined import Child, ChildEnded, Limits, Permissions

_PROGRAM = Path(__file__).with_name("transformers_program.py")
_QUIET = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, eq=False)
class _Process:
    """A process, and the folder it may write in, which goes with ours."""

    child: Child
    scratch: tempfile.TemporaryDirectory[str]


def ask(request: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the process answers, and the logits it has written. Raises ChildFailed, ChildEnded and OSError."""
    process = started(os.getpid())
    out = Path(process.scratch.name) / "logits.safetensors"
    try:
        heard = process.child.ask({**request, "out": str(out)})
        return heard, {} if "lacking" in heard else load_file(out)
    except ChildEnded:
        started.cache_clear()
        raise
    finally:
        out.unlink(missing_ok=True)


@functools.cache
def started(_parent: int) -> _Process:
    """The process of this one: importing transformers takes seconds, so that it serves until we end."""
    scratch = tempfile.TemporaryDirectory(prefix="textmill-")
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "PATH") if name in os.environ}
    folders = dict.fromkeys(("HOME", "HF_HOME", "TMPDIR"), scratch.name)
    child = Child(
        _PROGRAM,
        {"threads": torch.get_num_threads()},
        limits=Limits(answer_bytes=1 << 30),
        permissions=Permissions(open_files=True, write=(scratch.name,), threads=True),
        environment=kept | folders | _QUIET,
    )
    return _Process(child, scratch)
