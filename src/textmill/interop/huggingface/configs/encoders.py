"""Encoders as config.json says them: bert, roberta, distilbert."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from textmill.base import schema
from textmill.interop.huggingface.configs.common import (
    OWN,
    PLAIN,
    activation,
    only,
    plain_attention,
    refuse,
    usual_scores,
)
from textmill.interop.huggingface.rules.table import after_padding
from textmill.specs.model import EncoderSpec
from textmill.specs.position import LearnedPositions

CLASSES = {
    "bert": "BertForPreTraining",
    "roberta": "RobertaForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
}
UNPOOLED = CLASSES | {"bert": "BertForMaskedLM"}  # which has no pooler, and no layer that reads it
_DISTILBERT_EPS = 1e-12


def twin(spec: EncoderSpec) -> tuple[str, str]:
    """(model_type, ""), or (`OWN`, why no published encoder computes the same).

    Kinds of segments tell them apart: BERT has two, RoBERTa one, DistilBERT none.
    """
    why = _reason(spec)
    if why:
        return OWN, f"no published encoder supported {why}"
    if spec.segments == 0:
        if spec.pooler or spec.norm_eps != _DISTILBERT_EPS or spec.activation not in ("gelu", "relu"):
            return OWN, (
                "distilbert, which tells no segments apart, has no pooler, norm_eps = 1e-12 and gelu or relu"
            )
        return "distilbert", ""
    return ("roberta" if spec.segments == 1 and spec.activation == "gelu" else "bert"), ""


def _reason(spec: EncoderSpec) -> str:
    """What no published encoder has; empty where there is nothing."""
    for name, there in (
        (f"has {spec.position.kind} positions", not isinstance(spec.position, LearnedPositions)),
        ("has other norms than layernorm", spec.norm != "layernorm"),
        ("has norms but after sublayers", spec.placement != "post" or spec.last_norm),
        ("leaves out biases", spec.bias != "all" or not spec.output_bias),
        ("has no norm after the embeddings", not spec.embedding_norm),
        (f"has the activation {spec.activation}", spec.activation not in PLAIN),
        ("scales vectors or logits", spec.scaled_embedding or spec.logit_scale is not None),
    ):
        if there:
            return name
    why = plain_attention(spec) or usual_scores(spec)
    return f"departs from this: it {why}" if why else ""


def write(spec: EncoderSpec, kind: str, pad: int) -> dict[str, Any]:
    """The fields of config.json that are the architecture's own."""
    if kind == "distilbert":
        return {
            "dim": spec.d_model,
            "hidden_dim": spec.d_ff,
            "n_layers": spec.layers,
            "n_heads": spec.heads,
            "max_position_embeddings": spec.context,
            "activation": PLAIN[spec.activation],
            "dropout": spec.dropout,
            "attention_dropout": 0.0,
            "sinusoidal_pos_embds": False,
        }
    before = after_padding({"pad_token_id": pad}) if kind == "roberta" else 0
    return {
        "hidden_size": spec.d_model,
        "intermediate_size": spec.d_ff,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "max_position_embeddings": spec.context + before,
        "type_vocab_size": spec.segments,
        "hidden_act": PLAIN[spec.activation],
        "layer_norm_eps": spec.norm_eps,
        "hidden_dropout_prob": spec.dropout,
        "attention_probs_dropout_prob": 0.0,
        "position_embedding_type": "absolute",
    }


def read(config: Mapping[str, Any], where: object, names: Collection[str]) -> EncoderSpec:
    """The spec of a config.json of one of `CLASSES`; `names`, of the tensors beside it, say if there is a pooler."""
    kind = config["model_type"]
    common = {
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "tied": config.get("tie_word_embeddings", True),
        "pooler": any(name.endswith("pooler.dense.weight") for name in names),
    }
    if kind == "distilbert":
        only(config, where, sinusoidal_pos_embds=False)
        fields = {
            "d_model": config["dim"],
            "d_ff": config["hidden_dim"],
            "layers": config["n_layers"],
            "heads": config["n_heads"],
            "context": config["max_position_embeddings"],
            "activation": activation(config, "activation", "gelu", where),
            "dropout": config.get("dropout", 0.1),
            "segments": 0,
        }
        return schema.read(EncoderSpec, common | fields | {"norm_eps": _DISTILBERT_EPS}, str(where))
    only(config, where, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    act = activation(config, "hidden_act", "gelu", where)
    if kind == "roberta" and act != "gelu":
        raise refuse(where, "hidden_act", config["hidden_act"])
    before = after_padding(config) if kind == "roberta" else 0
    fields = {
        "d_model": config["hidden_size"],
        "d_ff": config["intermediate_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "context": config["max_position_embeddings"] - before,
        "segments": config.get("type_vocab_size", 2),
        "activation": act,
        "dropout": config.get("hidden_dropout_prob", 0.1),
    }
    return schema.read(EncoderSpec, common | fields, str(where))
