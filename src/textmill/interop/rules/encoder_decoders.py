"""How weights of encoder-decoders are called, and how they lie, in the files of each published architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.interop.rules.rule import Rule, both, gate_rows, key_value_rows, qkv_rows

_BART_ROWS = 2  # its tables of positions begin with rows that are never read


def _before(_config: Mapping[str, Any]) -> int:
    return _BART_ROWS


def _crossed(side: str) -> tuple[str, str]:
    return f"{side}.blocks.{{i}}.cross_attention.", f"model.{side}.layers.{{i}}.encoder_attn."


def _bart_side(side: str) -> tuple[Rule, ...]:
    ours, theirs = f"{side}.blocks.{{i}}.", f"model.{side}.layers.{{i}}."
    attention, published = ours + "attention.", theirs + "self_attn."
    crossed, crossing = _crossed(side)
    return (
        Rule(f"{side}.position_embedding.weight", (f"model.{side}.embed_positions.weight",), front=_before),
        *both(f"{side}.embedding_norm", f"model.{side}.layernorm_embedding"),
        *both(attention + "qkv", *(published + f"{part}_proj" for part in "qkv"), rows=qkv_rows),
        *both(attention + "output", published + "out_proj"),
        *both(ours + "attention_norm", theirs + "self_attn_layer_norm"),
        *both(crossed + "query", crossing + "q_proj"),
        *both(crossed + "keys_values", crossing + "k_proj", crossing + "v_proj", rows=key_value_rows),
        *both(crossed + "output", crossing + "out_proj"),
        *both(ours + "cross_attention_norm", theirs + "encoder_attn_layer_norm"),
        *both(ours + "feedforward.up", theirs + "fc1"),
        *both(ours + "feedforward.down", theirs + "fc2"),
        *both(ours + "feedforward_norm", theirs + "final_layer_norm"),
    )


BART = (  # also Marian, whose positions are sinusoids
    Rule(
        "embedding.weight",
        ("model.shared.weight",),
        also=("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"),
    ),
    *_bart_side("encoder"),
    *_bart_side("decoder"),
    Rule("output.weight", ("lm_head.weight",)),
    Rule("output_bias", ("final_logits_bias",), flat=True),
)


def _t5_side(side: str, last: int, feedforward: tuple[str, ...]) -> tuple[Rule, ...]:
    """`last`: place of the feed-forward layer among the sublayers; `feedforward`: what its first part is called."""
    ours, theirs = f"{side}.blocks.{{i}}.", f"{side}.block.{{i}}.layer."
    return (
        Rule(
            f"{side}.position_bias.weight",
            (f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",),
        ),
        Rule(
            ours + "attention.qkv.weight",
            tuple(f"{theirs}0.SelfAttention.{part}.weight" for part in "qkv"),
            rows=qkv_rows,
        ),
        Rule(ours + "attention.output.weight", (theirs + "0.SelfAttention.o.weight",)),
        Rule(ours + "attention_norm.weight", (theirs + "0.layer_norm.weight",)),
        Rule(ours + "cross_attention.query.weight", (theirs + "1.EncDecAttention.q.weight",)),
        Rule(
            ours + "cross_attention.keys_values.weight",
            tuple(f"{theirs}1.EncDecAttention.{part}.weight" for part in "kv"),
            rows=key_value_rows,
        ),
        Rule(ours + "cross_attention.output.weight", (theirs + "1.EncDecAttention.o.weight",)),
        Rule(ours + "cross_attention_norm.weight", (theirs + "1.layer_norm.weight",)),
        Rule(
            ours + "feedforward.up.weight",
            tuple(f"{theirs}{last}.DenseReluDense.{name}.weight" for name in feedforward),
            rows=gate_rows,
        ),
        Rule(ours + "feedforward.down.weight", (f"{theirs}{last}.DenseReluDense.wo.weight",)),
        Rule(ours + "feedforward_norm.weight", (f"{theirs}{last}.layer_norm.weight",)),
        Rule(f"{side}.norm.weight", (f"{side}.final_layer_norm.weight",)),
    )


def _t5(*feedforward: str) -> tuple[Rule, ...]:
    return (
        Rule(
            "embedding.weight",
            ("shared.weight",),
            also=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
        ),
        *_t5_side("encoder", 1, feedforward),
        *_t5_side("decoder", 2, feedforward),
        Rule("output.weight", ("lm_head.weight",)),
    )


T5 = _t5("wi")
T5_GATED = _t5("wi_0", "wi_1")
