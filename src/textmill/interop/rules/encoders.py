"""How weights of encoders are called, and how they lie, in the files of each published architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.interop.rules.rule import Rule, both, qkv_rows

_A, _F = "blocks.{i}.attention.", "blocks.{i}.feedforward."


def after_padding(config: Mapping[str, Any]) -> int:
    """RoBERTa counts positions from the id of padding and one on; the rows before are never read."""
    return int(config["pad_token_id"]) + 1


def _body(name: str, front: Any = None) -> tuple[Rule, ...]:
    """What BERT and RoBERTa share."""
    layer, embeddings = f"{name}.encoder.layer.{{i}}.", f"{name}.embeddings."
    return (
        Rule("embedding.weight", (embeddings + "word_embeddings.weight",)),
        Rule("position_embedding.weight", (embeddings + "position_embeddings.weight",), front=front),
        Rule("segment_embedding.weight", (embeddings + "token_type_embeddings.weight",)),
        *both("embedding_norm", embeddings + "LayerNorm"),
        *both(
            _A + "qkv",
            *(layer + f"attention.self.{part}" for part in ("query", "key", "value")),
            rows=qkv_rows,
        ),
        *both(_A + "output", layer + "attention.output.dense"),
        *both("blocks.{i}.attention_norm", layer + "attention.output.LayerNorm"),
        *both(_F + "up", layer + "intermediate.dense"),
        *both(_F + "down", layer + "output.dense"),
        *both("blocks.{i}.feedforward_norm", layer + "output.LayerNorm"),
        *both("pooler", f"{name}.pooler.dense", head=True),
        # RoBERTa has no such layer. Who reads RoBERTa passes it over, and we lose nothing.
        *both("sentences", "cls.seq_relationship", head=True),
    )


BERT = (
    *_body("bert"),
    *both("transform", "cls.predictions.transform.dense", head=True),
    *both("transform_norm", "cls.predictions.transform.LayerNorm", head=True),
    Rule("output.weight", ("cls.predictions.decoder.weight",), head=True),
    Rule(
        "output_bias",
        ("cls.predictions.decoder.bias",),
        also=("cls.predictions.bias",),
        copied=True,
        head=True,
    ),
)
ROBERTA = (
    *_body("roberta", after_padding),
    *both("transform", "lm_head.dense", head=True),
    *both("transform_norm", "lm_head.layer_norm", head=True),
    Rule("output.weight", ("lm_head.decoder.weight",), head=True),
    Rule("output_bias", ("lm_head.decoder.bias",), also=("lm_head.bias",), copied=True, head=True),
)
_D = "distilbert.transformer.layer.{i}."
DISTILBERT = (
    Rule("embedding.weight", ("distilbert.embeddings.word_embeddings.weight",)),
    Rule("position_embedding.weight", ("distilbert.embeddings.position_embeddings.weight",)),
    *both("embedding_norm", "distilbert.embeddings.LayerNorm"),
    *both(_A + "qkv", *(_D + f"attention.{part}_lin" for part in "qkv"), rows=qkv_rows),
    *both(_A + "output", _D + "attention.out_lin"),
    *both("blocks.{i}.attention_norm", _D + "sa_layer_norm"),
    *both(_F + "up", _D + "ffn.lin1"),
    *both(_F + "down", _D + "ffn.lin2"),
    *both("blocks.{i}.feedforward_norm", _D + "output_layer_norm"),
    *both("transform", "vocab_transform", head=True),
    *both("transform_norm", "vocab_layer_norm", head=True),
    Rule("output.weight", ("vocab_projector.weight",), head=True),
    Rule("output_bias", ("vocab_projector.bias",), head=True),
)
