"""What of this machine the process may use."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # glibc's malloc.h
# Every page given back is zeroed and mapped again at the next step, which costs up to a fifth of it.
_KEEP = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
# What stays between tensors that live long is lost: a fifth of the peak of GPT-2 124 M.
_LASTING = ((_M_MMAP_THRESHOLD, 1 << 18), (_M_TRIM_THRESHOLD, 8 << 20), (_M_ARENA_MAX, 1))
_SPARE = ((_M_MMAP_THRESHOLD, 1 << 20), (_M_TRIM_THRESHOLD, 8 << 20), (_M_ARENA_MAX, 1))


def usable_cores() -> int:
    """Processors this process may use: its affinity, and the quota of its control group if that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(cores, math.ceil(quota) if quota else cores))


@functools.cache
def _processor() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    with contextlib.suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").partition("\n\n")[0]
        pairs = (line.partition(":") for line in told.splitlines())
        return {key.strip().replace(" ", "_"): value.strip() for key, _, value in pairs}
    return {}


def is_intel() -> bool:
    """Whether the processor is Intel's, for whose products of matrices MKL is made; False where nobody says."""
    return _processor().get("vendor_id") == "GenuineIntel"


def processor() -> str:
    """Which processor this is and what it can do, in words that are the same for the same one."""
    said = _processor()
    if not said:
        return f"{platform.processor()} {platform.machine()}"
    able = said.get("flags", said.get("Features", "")).encode()
    return f"{said.get('model_name', platform.machine())} {hashlib.blake2b(able, digest_size=8).hexdigest()}"


def _cpu_quota() -> float | None:
    """Processors the control group allows, as a number; None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota = int((CGROUP / "cpu/cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((CGROUP / "cpu/cpu.cfs_period_us").read_text())
    return None


def keep_memory() -> bool:
    """Let the allocator keep what is freed for what is asked for next, which is quicker; whether it could be done."""
    return _set_malloc(_KEEP)


@contextlib.contextmanager
def lasting_memory() -> Iterator[None]:
    """For what is made inside and stays for long: large pieces are the system's own, which has them back as soon as
    they are free. Afterwards the allocator keeps what is freed, as `keep_memory` has it, in one place for all threads:
    each that read a model would have kept its own."""
    _set_malloc(_LASTING)
    try:
        yield
    finally:
        give_back_memory()
        _set_malloc(_KEEP)


def keep_few_products() -> None:
    """Let oneDNN, and PyTorch beside it, keep the programs of fewer products than the thousand they would.

    One is written for each size of a product, in a millisecond, up to half a megabyte long, and a service reads prompts
    of every length. To be called before PyTorch is loaded; what a person has set is left.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "128")


def spare_memory() -> bool:
    """Let it give freed memory back at once; whether it could be done."""
    return _set_malloc(_SPARE)


def give_back_memory() -> bool:
    """Give what is free to the system, whatever the allocator keeps otherwise; whether it could be done."""
    try:
        return ctypes.CDLL(None).malloc_trim(0) == 1
    except (OSError, AttributeError):  # not glibc
        return False


def _set_malloc(settings: tuple[tuple[int, int], ...]) -> bool:
    """Set glibc's allocator by pairs of (option, value)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return min(mallopt(option, value) for option, value in settings) == 1
