"""Encoders as config.json says them: bert, roberta, distilbert."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from textmill.base import schema
from textmill.interop.huggingface.configs import common
from textmill.interop.huggingface.rules.table import after_padding
from textmill.specs.model import EncoderSpec

CLASSES = {
    "bert": "BertForPreTraining",
    "roberta": "RobertaForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
}
UNPOOLED = CLASSES | {"bert": "BertForMaskedLM"}  # which has no pooler, and no layer that reads it
_BERT = {  # theirs: ours, where both mean the same
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "type_vocab_size": "segments",
    "hidden_dropout_prob": "dropout",
    "layer_norm_eps": "norm_eps",
}
_DISTILBERT = {
    "dim": "d_model",
    "hidden_dim": "d_ff",
    "n_layers": "layers",
    "n_heads": "heads",
    "max_position_embeddings": "context",
    "dropout": "dropout",
}


def candidates(spec: EncoderSpec) -> tuple[str, ...]:
    """The published architectures that may be this one, the likeliest first.

    Kinds of segments tell them apart: BERT has two, RoBERTa one, DistilBERT none.
    """
    return {0: ("distilbert",), 1: ("roberta", "bert")}.get(spec.segments, ("bert",))


def write(spec: EncoderSpec, kind: str, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of config.json that are the architecture's own, as far as it can say the spec; `shared` are those of
    every architecture."""
    if kind == "distilbert":
        return common.write_fields(spec, _DISTILBERT) | {
            "activation": common.PLAIN.get(spec.activation, "gelu"),
            "attention_dropout": 0.0,
            "sinusoidal_pos_embds": False,
        }
    before = after_padding(shared) if kind == "roberta" else 0
    return common.write_fields(spec, _BERT) | {
        "max_position_embeddings": spec.context + before,
        "hidden_act": "gelu" if kind == "roberta" else common.PLAIN.get(spec.activation, "gelu"),
        "attention_probs_dropout_prob": 0.0,
        "position_embedding_type": "absolute",
    }


def read(config: Mapping[str, Any], where: object, names: Collection[str]) -> EncoderSpec:
    """The spec of a config.json of one of `CLASSES`; `names`, of the tensors beside it, say if there is a pooler."""
    kind = config["model_type"]
    tied = config.get("tie_word_embeddings", True)
    if kind == "distilbert":
        common.only(config, where, sinusoidal_pos_embds=False)
        fields = common.read_fields(config, _DISTILBERT, dropout=0.1)
        act = common.activation(config, "activation", "gelu", where)
        fields |= {"norm_eps": 1e-12, "activation": act, "tied": tied, "segments": 0, "pooler": False}
        return schema.read(EncoderSpec, fields, str(where))
    common.only(
        config, where, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False
    )
    act = common.activation(config, "hidden_act", "gelu", where)
    if kind == "roberta" and act != "gelu":
        raise common.refuse(where, "hidden_act", config["hidden_act"])
    fields = common.read_fields(
        config, _BERT, type_vocab_size=2, hidden_dropout_prob=0.1, layer_norm_eps=1e-12
    )
    fields |= {
        "context": config["max_position_embeddings"] - (after_padding(config) if kind == "roberta" else 0),
        "activation": act,
        "tied": tied,
        "pooler": any(name.endswith("pooler.dense.weight") for name in names),
    }
    return schema.read(EncoderSpec, fields, str(where))
