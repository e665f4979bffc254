"""A written prompt as an adapter's directory has it: examples and calibration beside the base they belong to.

PEFT has no such kind: the layout is the same, so that everything finds its base the same way, and `peft_type` is ours.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from textmill.base.errors import DamagedError
from textmill.interop.huggingface.peft.about import WEIGHTS, About, load_tensors
from textmill.models import adapters, prompted
from textmill.models.model import Model
from textmill.models.pretrained import Pretrained
from textmill.models.prompted import Prompted
from textmill.specs.head import ClassifyHead
from textmill.specs.tuning import PromptingTuning, TuningSpec


def write(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What is stored of it, and its configuration."""
    assert isinstance(model, Prompted)
    return {name: tensor.contiguous() for name, tensor in prompted.held(model).items()}, {
        "peft_type": "PROMPTING"
    }


def read(about: About, base: Pretrained) -> Prompted:
    """The base, asked by the prompt of a directory. Raises DamagedError where a part of it is missing."""
    stored, where = load_tensors(about.path), about.path / WEIGHTS
    if missing := {"examples", "vectors", "calibration"} - stored.keys():
        raise DamagedError(f"holds no {min(missing)}", where=where)
    if not isinstance(about.head, ClassifyHead) or not isinstance(about.tuning, PromptingTuning):
        raise DamagedError("does not say what its labels are", where=about.path)
    body = adapters.rounded(base.model) if about.tuning.base == "int8" else base.model
    return prompted.filled(body, about.head, about.tuning, base.tokenizer, stored)
