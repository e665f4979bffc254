"""Rotary positions as GGUF's metadata say them, stretched ones too.

Shapes: E features of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.nn.position import rotary_frequencies
from textmill.specs.position import LinearScaling, Llama3Scaling, RotaryPositions, YarnScaling

FREQUENCIES = "rope_freqs.weight"  # what each rotary frequency is divided by: Llama 3.1's stretching


class Reader(Protocol):
    """Metadata of one architecture, asked for by key."""

    def get(self, key: str) -> Any:
        """The value of a key, None when it is not there."""
        ...

    def refuse(self, key: str, value: Any) -> TextmillError:
        """The error of a value that is not supported."""
        ...


def short(number: float) -> float:
    """The shortest number that is this float32: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def read(reader: Reader, width: int, stretched: bool, frequencies: Callable[[], Tensor]) -> RotaryPositions:
    """What the metadata say; frequencies: the tensor `FREQUENCIES`, asked for where `stretched`."""
    turned = reader.get("rope.dimension_count")
    if turned not in (None, width):
        raise reader.refuse("rope.dimension_count", turned)
    theta = reader.get("rope.freq_base")
    theta = 10000.0 if theta is None else theta
    kind = reader.get("rope.scaling.type")
    factor = reader.get("rope.scaling.factor")
    if kind is None and factor is None:  # what the key was before
        factor = reader.get("rope.scale_linear")
    if stretched:
        if kind not in (None, "none"):
            raise reader.refuse("rope.scaling.type", kind)
        return RotaryPositions(theta=theta, scaling=_stretching(reader, theta, width, frequencies()))
    if kind == "yarn":
        return RotaryPositions(theta=theta, scaling=_yarn(reader, factor))
    if kind not in (None, "none", "linear"):
        raise reader.refuse("rope.scaling.type", kind)
    scaled = kind != "none" and factor not in (None, 1.0)
    return RotaryPositions(theta=theta, scaling=LinearScaling(factor=factor) if scaled else None)


def _yarn(reader: Reader, factor: Any) -> YarnScaling:
    """With what llama.cpp takes for granted; other numbers have been spelt in several ways, and read by few."""
    for name, usual in _YARN_USUAL.items():
        value = reader.get(f"rope.scaling.{name}")
        if value not in (None, usual):
            raise reader.refuse(f"rope.scaling.{name}", value)
    original = reader.get("rope.scaling.original_context_length") or reader.get("context_length")
    return YarnScaling(factor=1.0 if factor is None else factor, original_context=original)


_YARN_USUAL = {
    "attn_factor": 1.0,
    "yarn_attn_factor": 1.0,
    "yarn_ext_factor": 1.0,
    "yarn_beta_fast": 32.0,
    "yarn_beta_slow": 1.0,
}


def _stretching(reader: Reader, theta: float, width: int, found: Tensor) -> Llama3Scaling | None:
    """The scaling whose factors are those of the file. Of its four numbers only the largest factor shows in them;
    the others have been the same in every model published so far, and must give what is there."""
    factor = short(float(found.max()))
    if not 1 <= factor < 1 << 20 or found.shape != (width // 2,):
        raise reader.refuse(FREQUENCIES, "a table of this shape or size")
    scaling = Llama3Scaling(factor=factor)
    if torch.allclose(found, stretched_by(theta, width, scaling), rtol=1e-5, atol=0):
        return scaling
    if bool((found == 1).all()):
        return None
    raise reader.refuse(FREQUENCIES, "a table that no llama3 scaling makes")


def stretched_by(theta: float, width: int, scaling: Llama3Scaling) -> Tensor:
    """(E/2,) float32: what `FREQUENCIES` holds for a scaling."""
    cpu = torch.device("cpu")
    return rotary_frequencies(width, theta, None, cpu) / rotary_frequencies(width, theta, scaling, cpu)


def fields(position: RotaryPositions) -> dict[str, Any]:
    """The metadata that mean these positions, but for what the tensor `FREQUENCIES` says."""
    base = {"rope.freq_base": position.theta}
    scaling = position.scaling
    if isinstance(scaling, LinearScaling):
        return base | {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}
    if isinstance(scaling, YarnScaling):
        return base | {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": scaling.factor,
            "rope.scaling.original_context_length": scaling.original_context,
        }
    return base
