"""The architectures there are, by the `kind` of their spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from textmill.models.decoder import Decoder
from textmill.models.encoder import Encoder
from textmill.models.encoder_decoder import EncoderDecoder
from textmill.models.heads import Headed, attach
from textmill.models.initial import initialise
from textmill.models.linear.model import Bag
from textmill.models.model import Model
from textmill.models.ngram.model import NGram
from textmill.models.recurrent import RecurrentModel
from textmill.models.recurrent_encoder_decoder import RecurrentEncoderDecoder
from textmill.specs.head import HeadSpec
from textmill.specs.model import ModelSpec

MODELS: dict[str, Callable[..., Model]] = {
    "decoder": Decoder,
    "encoder": Encoder,
    "encoder-decoder": EncoderDecoder,
    "linear": Bag,
    "ngram": NGram,
    "recurrent": RecurrentModel,
    "recurrent-encoder-decoder": RecurrentEncoderDecoder,
}


class _NoInitialValues(TorchFunctionMode):
    """Leaves out PyTorch's own initial values: they are replaced anyway, and drawing them without storage
    imports torch._dynamo, which takes longer than reading a small model does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def empty(spec: ModelSpec, vocabulary: int, head: HeadSpec | None = None) -> Model:
    """The model without storage (on the meta device), for weights to be assigned to; in eval mode.

    head: what stands in place of its output layer.
    """
    with torch.device("meta"), _NoInitialValues():
        model = MODELS[spec.kind](spec, vocabulary)
        return (model if head is None else Headed(model, head)).eval()


def build(
    spec: ModelSpec,
    vocabulary: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    head: HeadSpec | None = None,
) -> Model:
    """A fresh model on the CPU, in training mode, its weights a function of (spec, vocabulary, seed) only.

    Weights are drawn in float32 and then rounded to `dtype`. The global random state is not touched. What is
    made at once (n-grams, linear models) has no weights to begin with: models/ngram/fit.py and models/linear/fit.py
    make them.
    """
    model = empty(spec, vocabulary).to_empty(device="cpu").train()
    initialise(model, seed)
    return (model if head is None else attach(model, head, seed=seed)).to(dtype)
