"""What a run was made on."""

from __future__ import annotations

import platform
import sys
from typing import Any

from textmill import __version__


def _gpus(torch: Any) -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    return [
        {
            "name": torch.cuda.get_device_name(index),
            "memory_bytes": torch.cuda.get_device_properties(index).total_memory,
            "bf16": torch.cuda.is_bf16_supported(),
        }
        for index in range(torch.cuda.device_count())
    ]


def environment() -> dict[str, Any]:
    """What a run was made on: versions, threads, machine. Exactness is promised for equal ones."""
    import torch

    return {
        "textmill": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "system": sys.platform,
        "gpus": [entry["name"] for entry in _gpus(torch)],
    }
