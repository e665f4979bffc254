"""Shapes of models by family and size: one dial from 1M to 8B, and the published shapes by name.

A preset is plain data, the fields of a DecoderSpec, so that a recipe can name one and change any key of it.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs.model import GATED

LEAST, MOST = 5e5, 1e11  # parameters the dial goes to
VOCABULARY = 8192  # what a size of the dial is counted with: the default of a recipe's tokenizer
BASE_WIDTH = 256  # width at which the default learning rate was chosen (µP)

_GPT2 = {
    "position": {"kind": "learned"},
    "norm": "layernorm",
    "norm_eps": 1e-5,
    "activation": "gelu_tanh",
    "bias": "all",
    "tied": True,
    "context": 1024,
}
_LLAMA = {"norm": "rmsnorm", "norm_eps": 1e-6, "activation": "swiglu", "bias": "none"}
_QWEN3 = _LLAMA | {"qk_norm": True, "position": {"kind": "rotary", "theta": 1e6}}
FAMILIES: dict[str, dict[str, Any]] = {"gpt2": _GPT2, "llama": _LLAMA, "qwen3": _QWEN3}


def _rotary(theta: float, factor: float | None = None) -> dict[str, Any]:
    scaling = {"scaling": {"kind": "llama3", "factor": factor}} if factor else {}
    return {"kind": "rotary", "theta": theta} | scaling


def _shape(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int, **more: Any) -> dict[str, Any]:
    shape = {"d_model": d_model, "layers": layers, "heads": heads, "kv_heads": kv_heads, "d_ff": d_ff}
    return shape | more


def _gpt2(d_model: int, layers: int, heads: int) -> dict[str, Any]:
    return _shape(d_model, layers, heads, heads, 4 * d_model)


_meta = {"context": 131072, "norm_eps": 1e-5, "head_dim": 128}
_smol = {"context": 8192, "norm_eps": 1e-5, "tied": True}
_qwen = {"context": 40960, "head_dim": 128}
# family -> published name -> (vocabulary, shape)
PUBLISHED: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {
    "gpt2": {
        "gpt2-124M": (50257, _gpt2(768, 12, 12)),
        "gpt2-355M": (50257, _gpt2(1024, 24, 16)),
        "gpt2-774M": (50257, _gpt2(1280, 36, 20)),
        "gpt2-1.5B": (50257, _gpt2(1600, 48, 25)),
    },
    "llama": {
        "smollm2-135M": (49152, _shape(576, 30, 9, 3, 1536, position=_rotary(1e5), **_smol)),
        "smollm2-360M": (49152, _shape(960, 32, 15, 5, 2560, position=_rotary(1e5), **_smol)),
        "llama-3.2-1B": (
            128256,
            _shape(2048, 16, 32, 8, 8192, position=_rotary(5e5, 32), tied=True, **_meta | {"head_dim": 64}),
        ),
        "llama-3.2-3B": (
            128256,
            _shape(3072, 28, 24, 8, 8192, position=_rotary(5e5, 32), tied=True, **_meta),
        ),
        "llama-3.1-8B": (
            128256,
            _shape(4096, 32, 32, 8, 14336, position=_rotary(5e5, 8), tied=False, **_meta),
        ),
    },
    "qwen3": {
        "qwen3-0.6B": (151936, _shape(1024, 28, 16, 8, 3072, tied=True, **_qwen)),
        "qwen3-1.7B": (151936, _shape(2048, 28, 16, 8, 6144, tied=True, **_qwen)),
        "qwen3-4B": (151936, _shape(2560, 36, 32, 8, 9728, tied=True, **_qwen)),
        "qwen3-8B": (151936, _shape(4096, 36, 32, 8, 12288, tied=False, **_qwen)),
    },
}


def preset(family: str, size: str, vocabulary: int = VOCABULARY) -> dict[str, Any]:
    """The fields of a DecoderSpec of this family and size.

    Args:
        family: `gpt2`, `llama` or `qwen3`.
        size: parameters in all, such as "12M", "350M" or "1.5B" (the dial); or a name in `PUBLISHED`, such
            as "gpt2-124M" or "qwen3-0.6B".
        vocabulary: ids the model will have; it counts in the size on the dial.

    Raises RecipeError, `where` being `preset` or `size`, for names that are not known (with the nearest one)
    and for sizes out of reach.
    """
    if family not in FAMILIES:
        raise _unknown(family, list(FAMILIES), "preset")
    for name, (_, shape) in PUBLISHED[family].items():
        if size.lower() == name.lower():
            return FAMILIES[family] | shape
    budget = _number(size)
    if budget is None:
        raise _unknown(
            size, list(PUBLISHED[family]), "size", ", or a number of parameters such as 12M or 1.5B"
        )
    if not LEAST <= budget <= MOST:
        raise RecipeError(
            f"{size} is out of range",
            where="size",
            advice=f"sizes go from {LEAST / 1e6:g}M to {MOST / 1e9:g}B",
        )
    return dict(_dial(family, budget, vocabulary))


def _unknown(name: str, known: list[str], where: str, more: str = "") -> RecipeError:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return RecipeError(
        f"{name!r} is not known", where=where, advice=f"{guess}there is {', '.join(known)}{more}"
    )


def _number(size: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMB]?)", size.strip(), re.IGNORECASE)
    return float(match[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}[match[2].upper()] if match else None


@functools.cache
def _dial(family: str, budget: float, vocabulary: int) -> dict[str, Any]:
    """The shape of about this many parameters whose depth is nearest to what its width asks for.

    The depth asked for is 4 · (d_model / 128)^0.6: 4 layers at 128, 12 at 768, 21 at 2048, 32 at 4096, near to
    what is published. Of the shapes within 4 % of the budget the one of best depth is taken; where none is
    within 4 %, the one nearest to the budget.
    """

    def cost(shape: dict[str, Any]) -> tuple[float, float]:
        total = parameters(shape, vocabulary)
        off = abs(math.log(total / budget))
        depth = abs(math.log(shape["layers"] / _depth(shape["d_model"])))
        return (0.0, depth) if off < 0.04 else (off, depth)

    best = min(_shapes(family, budget, vocabulary), key=cost, default=None)
    total = parameters(best, vocabulary) if best else 0
    if best is None or abs(total / budget - 1) > 0.15:
        raise RecipeError(
            f"no {family} of {budget / 1e6:g}M parameters has a vocabulary of {vocabulary}",
            where="size",
            advice="choose a larger size or a smaller vocabulary",
        )
    return best


def parameters(shape: Mapping[str, Any], vocabulary: int) -> int:
    """Trained numbers of a shape of the dial, without a tensor library; models/cost.py counts those of any model.

    With V vocabulary, D d_model, F d_ff and K the share of key heads: V·D for the embedding, as much again where the
    output layer is another matrix, and in each block (2 + 2 K)·D·D + 2·D·F, or 3·D·F where it is gated.
    """
    width, inner = shape["d_model"], shape["d_ff"]
    keys_values = 2 * width * shape["kv_heads"] // shape["heads"]
    block = width * (2 * width + keys_values) + (3 if shape["activation"] in GATED else 2) * width * inner
    norm = width
    if shape["bias"] == "all":
        block += 3 * width + keys_values + inner
        norm = 2 * width
    if shape.get("qk_norm"):
        block += 2 * width // shape["heads"]
    total = vocabulary * width * (1 if shape["tied"] else 2) + shape["layers"] * (block + 2 * norm) + norm
    learned = shape.get("position", {}).get("kind") == "learned"
    return total + (shape["context"] * width if learned else 0)


def _depth(width: int) -> float:
    return 4 * (width / 128) ** 0.6


def _shapes(family: str, budget: float, vocabulary: int) -> Iterator[dict[str, Any]]:
    """Every shape the dial may stop at."""
    widths = [*range(32, 256, 32), *range(256, 512, 64), *range(512, 2048, 128), *range(2048, 16385, 512)]
    for width in widths:
        ideal = _depth(width)
        for layers in range(max(1, math.floor(ideal / 2)), math.ceil(ideal * 2) + 1):
            rough = vocabulary * width + 12 * layers * width * width
            if budget / 2 < rough < budget * 2:
                yield FAMILIES[family] | _proportions(family, width, layers, budget)


def _proportions(family: str, width: int, layers: int, budget: float) -> dict[str, Any]:
    """Heads of 32, 64 or 128 features as the width grows; a key head for up to four query heads."""
    head = 32 if width < 256 else 64 if width < 2048 or family == "gpt2" else 128
    heads = width // head
    group = 1 if family == "gpt2" or width < 512 else next(g for g in (4, 3, 2, 1) if heads % g == 0)
    inner = {"gpt2": 4 * width, "llama": math.ceil(8 * width / 3 / 32) * 32, "qwen3": 3 * width}[family]
    return _shape(
        width,
        layers,
        heads,
        heads // group,
        inner,
        context=512 if budget < 3e7 else 1024 if budget < 3e8 or family == "gpt2" else 2048,
        tied=family == "gpt2" or budget < 4e9,
        base_width=BASE_WIDTH,
    )
