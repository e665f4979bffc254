"""Which rules a published architecture goes by, and how else its names are spelt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.interop.rules import decoders, encoder_decoders, encoders
from textmill.interop.rules.rule import Rule

_RULES: Mapping[str, tuple[Rule, ...]] = {
    "llama": decoders.LLAMA,
    "mistral": decoders.LLAMA,
    "qwen2": decoders.LLAMA,
    "qwen3": decoders.LLAMA,
    "gemma3_text": decoders.GEMMA3,
    "gpt2": decoders.GPT2,
    "bert": encoders.BERT,
    "roberta": encoders.ROBERTA,
    "distilbert": encoders.DISTILBERT,
    "bart": encoder_decoders.BART,
    "marian": encoder_decoders.BART,
    "t5": encoder_decoders.T5,
}
_GATED: Mapping[str, tuple[Rule, ...]] = {"t5": encoder_decoders.T5_GATED}
# A body alone is saved without its prefix, and Gemma 3 with eyes has another one.
_PREFIXES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "llama": (("model.", ""),),
    "mistral": (("model.", ""),),
    "qwen2": (("model.", ""),),
    "qwen3": (("model.", ""),),
    "gemma3_text": (
        ("model.", "language_model.model."),
        ("model.", "model.language_model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", ""),
    ),
    "gpt2": (("transformer.", ""),),
    "bert": (("bert.", ""),),
    "roberta": (("roberta.", ""),),
    "distilbert": (("distilbert.", ""),),
    "bart": (("model.", ""),),
    "marian": (("model.", ""),),
}
# BERT's first files call the parts of norms otherwise.
_ENDINGS = ((".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta"))
# What some files hold though it follows from the configuration: counts, masks, frequencies, sinusoids.
_COMPUTED = re.compile(r"(?:^|\.)(?:position_ids|inv_freq|masked_bias|attn\.bias)$")
_SINUSOIDS = re.compile(r"(?:^|\.)embed_positions\.weight$")


def computed(kind: str, name: str) -> bool:
    """Whether a stored tensor of this name follows from the configuration."""
    return bool(_COMPUTED.search(name)) or (kind == "marian" and bool(_SINUSOIDS.search(name)))


def rules(kind: str, spec: Any) -> tuple[Rule, ...]:
    """The rules of a published kind, for a model of this spec."""
    return _GATED[kind] if kind in _GATED and spec.gated else _RULES[kind]


def spellings(kind: str, name: str) -> Iterator[str]:
    """A published name, and what else it may be called in files of that kind; the likeliest first."""
    stems = [name]
    stems += [new + name.removeprefix(old) for old, new in _PREFIXES.get(kind, ()) if name.startswith(old)]
    for stem in stems:
        yield stem
        for usual, older in _ENDINGS:
            if stem.endswith(usual):
                yield stem.removesuffix(usual) + older
