"""What of this machine the process may use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Processors this process may use: its affinity, and the quota of its control group if that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(cores, math.ceil(quota) if quota else cores))


def _cpu_quota() -> float | None:
    """Processors the control group allows, as a number; None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota = int((CGROUP / "cpu/cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((CGROUP / "cpu/cpu.cfs_period_us").read_text())
    return None
