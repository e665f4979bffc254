"""A small decoder of every architecture that GGUF files have here, and weights for it; two test files load this one."""

from __future__ import annotations

import torch

from textmill.models.build import build
from textmill.models.pretrained import Pretrained
from textmill.specs.model import DecoderSpec
from textmill.specs.position import LearnedPositions, LinearScaling, RotaryPositions
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.tokenization.training import train

GEMMA = {"activation": "geglu_tanh", "scaled_embedding": True, "head_dim": 32}


def sizes(layers: int, context: int) -> dict[str, int]:
    """What all of them share."""
    return {"d_model": 64, "layers": layers, "heads": 4, "kv_heads": 2, "d_ff": 96, "context": context}


def specs(layers: int, context: int) -> dict[str, DecoderSpec]:
    """By the name of the architecture, and what is special; the first of a text before a comma is GGUF's name."""
    small = sizes(layers, context)
    return {
        "llama": DecoderSpec(**small),
        "llama, untied, biased": DecoderSpec(**small, tied=False, bias="all", norm_eps=1e-5),
        "llama, linear": DecoderSpec(**small, position=RotaryPositions(scaling=LinearScaling(factor=4.0))),
        "mistral": DecoderSpec(**small, tied=False, window=64, head_dim=32),
        "qwen2": DecoderSpec(**small, bias="qkv", position=RotaryPositions(theta=1e6)),
        "qwen3": DecoderSpec(**small, qk_norm=True, head_dim=32),
        "gemma": DecoderSpec(**small, **GEMMA),
        "gemma2": DecoderSpec(
            **small,
            **GEMMA,
            placement="sandwich",
            window=8,
            full_every=2,
            attention_softcap=50.0,
            logit_softcap=30.0,
        ),
        "gemma3": DecoderSpec(
            **small | {"layers": 7},
            **GEMMA,
            placement="sandwich",
            window=8,
            full_every=6,
            window_theta=10000.0,
            qk_norm=True,
            position=RotaryPositions(theta=1e6),
        ),
        "gpt2": DecoderSpec(
            **small | {"kv_heads": 4},
            norm="layernorm",
            norm_eps=1e-5,
            activation="gelu_tanh",
            bias="all",
            position=LearnedPositions(),
        ),
    }


def small_tokenizer():
    """Byte-level BPE of 320 ids."""
    text = "the mill turns water into flour and flour into bread while wind moves over grain. 磨坊流水面粉 "
    return train(TokenizerSpec(vocabulary=320), [text * 30])


def pretrained(
    spec, tokenizer, *, rows: int | None = None, louder: float = 1.0, template: str | None = None
) -> Pretrained:
    """A model of random weights, its norms and biases random too, in bfloat16's numbers.

    rows: of the embedding, if more than the tokenizer's ids. louder: what matrices inside blocks are multiplied by, so
    that attention and gates matter.
    """
    model = build(spec, rows or tokenizer.vocabulary, seed=1).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            elif not name.startswith(("embedding", "output")):
                parameter.mul_(louder)
            parameter.copy_(parameter.bfloat16())
    return Pretrained(model, tokenizer, spec, GenerationSpec(), {"name": "tiny"}, template)
