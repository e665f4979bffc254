"""The program that reads a pickle, in a process that may do little else (see base/confined.py).

It imports nothing of Textmill. What reads the file knows tensors and plain containers only, so that a pickle which
names anything else ends there; and by then the process has given up the network, the right to write anywhere but into
the folder of the file it makes, and most of its memory and time.
"""

from __future__ import annotations

from collections.abc import Callable


def tensors(found: object) -> dict:
    """The tensors of what was read: a table of them, or one under the usual names, by their names."""
    import torch

    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not a table of tensors")
    kept = {}
    for name, tensor in found.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor):
            kept[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    if not kept:
        raise ValueError("it holds no tensors")
    return kept


def begin(_: None) -> Callable[[dict], int]:
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)

    def convert(request: dict) -> int:
        """Read the pickle "source", write "target"; how many tensors there were."""
        found = tensors(torch.load(request["source"], map_location="cpu", weights_only=True))
        save_file(found, request["target"], metadata={"format": "pt"})
        return len(found)

    return convert
