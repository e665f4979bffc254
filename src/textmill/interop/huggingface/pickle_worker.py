"""The process that reads a pickle, shut in: a program of its own, run as `python -I pickle_worker.py IN OUT MEGABYTES`.

It imports nothing of Textmill. Before the file is opened it gives up the network, the right to write anywhere but into
the folder of OUT, and most of its memory and time; and what reads the file knows tensors and plain containers only,
so that a pickle which names anything else ends there. What could be given up is told on stdout as JSON: not every
kernel allows everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import struct
import sys

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # of unshare(2)
_CPU_SECONDS = 1800
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same numbers on every architecture
_NO_NEW_PRIVILEGES = 38  # of prctl(2)
# Rights of Landlock's first version that change a file system; reading stays allowed, for libraries are read.
_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))


def no_network() -> bool:
    """Leave for a network of no interfaces."""
    return ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER | _NEW_NET) == 0


def no_writes(folder: str) -> bool:
    """Give up writing files anywhere but in `folder` (Landlock, Linux 5.13)."""
    libc = ctypes.CDLL(None, use_errno=True)
    handled = ctypes.create_string_buffer(struct.pack("=Q", _WRITES))
    rules = libc.syscall(_LANDLOCK_CREATE, handled, 8, 0)
    if rules < 0:
        return False
    place = os.open(folder, os.O_PATH)
    allowed = ctypes.create_string_buffer(struct.pack("=Qi", _WRITES, place))
    done = libc.syscall(_LANDLOCK_ADD, rules, 1, allowed, 0) == 0
    done = done and libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    done = done and libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    os.close(place)
    os.close(rules)
    return done


def limits(megabytes: int) -> None:
    """Cap address space, processor time and the length of files; no core dumps, no further processes."""
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def tensors(found: object) -> dict:
    """The tensors of what was read: a table of them, or one under the usual names, by their names."""
    import torch

    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, no table of tensors")
    kept = {}
    for name, tensor in found.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor):
            kept[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    if not kept:
        raise ValueError("it holds no tensors")
    return kept


def main(source: str, target: str, megabytes: int) -> None:
    """Read `source`, write `target`, say what was given up and how many tensors there were."""
    told: dict[str, object] = {}
    with contextlib.suppress(OSError, AttributeError):
        told["no_network"] = no_network()  # before there are threads: a process with some may not leave
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    with contextlib.suppress(OSError, AttributeError):
        told["no_writes"] = no_writes(os.path.dirname(target))
    limits(megabytes)
    found = tensors(torch.load(source, map_location="cpu", weights_only=True))
    save_file(found, target, metadata={"format": "pt"})
    told["tensors"] = len(found)
    print(json.dumps(told))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except Exception as error:
        print(f"{type(error).__name__}: {error}"[:1500], file=sys.stderr)
        sys.exit(1)
