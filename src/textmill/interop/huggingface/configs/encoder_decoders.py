"""Encoder-decoders as config.json says them: t5, mt5, bart, marian."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from textmill.base import schema
from textmill.interop.huggingface.configs import common
from textmill.specs.model import EncoderDecoderSpec
from textmill.specs.position import T5Positions

CLASSES = {
    "t5": "T5ForConditionalGeneration",
    "bart": "BartForConditionalGeneration",
    "marian": "MarianMTModel",
}
_EPS = 1e-5  # of every norm of BART and Marian
_T5_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "gelu_tanh": "gelu_new",
    "geglu_tanh": "gated-gelu",
    "swiglu": "gated-silu",
}
_T5_BACK = {name: ours for ours, name in _T5_ACTIVATIONS.items()}


def candidates(_spec: EncoderDecoderSpec) -> tuple[str, ...]:
    """The published architectures that may be this one. mT5 is a T5."""
    return tuple(CLASSES)


def write(spec: EncoderDecoderSpec, kind: str, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of config.json that are the architecture's own, as far as it can say the spec; `shared` are those of
    every architecture."""
    fields: dict[str, Any] = {"is_encoder_decoder": True}
    if kind == "t5":
        position = spec.position if isinstance(spec.position, T5Positions) else T5Positions()
        return fields | {
            "d_model": spec.d_model,
            "d_kv": spec.head_width,
            "d_ff": spec.d_ff,
            "num_layers": spec.layers,
            "num_decoder_layers": spec.decoder_depth,
            "num_heads": spec.heads,
            "relative_attention_num_buckets": position.buckets,
            "relative_attention_max_distance": position.max_distance,
            "layer_norm_epsilon": spec.norm_eps,
            "feed_forward_proj": _T5_ACTIVATIONS.get(spec.activation, "relu"),
            "dropout_rate": spec.dropout,
            "n_positions": spec.context,
        }
    fields |= {
        "d_model": spec.d_model,
        "max_position_embeddings": spec.context,
        "num_hidden_layers": spec.layers,  # transformers has it say the encoder's again, and keras-hub reads it
    }
    for side, layers in (("encoder", spec.layers), ("decoder", spec.decoder_depth)):
        fields |= {
            f"{side}_layers": layers,
            f"{side}_attention_heads": spec.heads,
            f"{side}_ffn_dim": spec.d_ff,
            f"{side}_layerdrop": 0.0,
        }
    return fields | {
        "tie_word_embeddings": True,
        "activation_function": common.PLAIN.get(spec.activation, "gelu"),
        "dropout": spec.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "scale_embedding": spec.scaled_embedding or kind == "marian",
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
        "add_bias_logits": False,
        "add_final_layer_norm": False,
        "normalize_before": False,
        "normalize_embedding": kind == "bart",
        "static_position_embeddings": kind == "marian",
        "share_encoder_decoder_embeddings": True,
    }


def read(config: Mapping[str, Any], where: object, names: Collection[str]) -> EncoderDecoderSpec:
    """The spec of a config.json of one of `CLASSES`, or mt5; `names` are the tensors beside it."""
    fields = (
        _read_t5(config, where) if config["model_type"] in ("t5", "mt5") else _read_bart(config, where, names)
    )
    return schema.read(
        EncoderDecoderSpec, fields | {"start": config.get("decoder_start_token_id")}, str(where)
    )


def _read_t5(config: Mapping[str, Any], where: object) -> dict[str, Any]:
    """T5 scales the logits where the output layer is the embedding; mT5, as transformers 5 reads it, never."""
    kind = config["model_type"]
    name = config.get("feed_forward_proj", "relu" if kind == "t5" else "gated-gelu")
    if name not in _T5_BACK:
        raise common.refuse(where, "feed_forward_proj", name)
    tied = config.get("tie_word_embeddings", kind == "t5") is not False
    scaled = kind == "t5" and config.get("scale_decoder_outputs", tied)
    if config.get("architectures") == ["T5Model"]:  # whose file holds no output layer that would tell
        tied = tied and config.get("scale_decoder_outputs", tied)
    return {
        "d_model": config["d_model"],
        "layers": config["num_layers"],
        "decoder_layers": config.get("num_decoder_layers"),
        "heads": config["num_heads"],
        "head_dim": config["d_kv"],
        "d_ff": config["d_ff"],
        "context": config.get("n_positions", 512),
        "position": {
            "kind": "t5",
            "buckets": config.get("relative_attention_num_buckets", 32),
            "max_distance": config.get("relative_attention_max_distance", 128),
        },
        "norm": "rmsnorm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-6),
        "placement": "pre",
        "activation": _T5_BACK[name],
        "bias": "none",
        "tied": tied,
        "logit_scale": config["d_model"] ** -0.5 if scaled else None,
        "attention_scale": 1.0,
        "dropout": config.get("dropout_rate", 0.1),
    }


def _read_bart(config: Mapping[str, Any], where: object, names: Collection[str]) -> dict[str, Any]:
    kind = config["model_type"]
    common.only(
        config,
        where,
        normalize_before=False,
        add_final_layer_norm=False,
        share_encoder_decoder_embeddings=True,
    )
    common.only(config, where, normalize_embedding=kind == "bart", decoder_vocab_size=config["vocab_size"])
    sides = ("attention_heads", "ffn_dim")
    if any(config[f"encoder_{name}"] != config[f"decoder_{name}"] for name in sides):
        raise common.refuse(where, "decoder_attention_heads, decoder_ffn_dim unlike the encoder's", "")
    if kind == "marian":
        common.only(config, where, scale_embedding=True)
        if not config.get("scale_embedding", False):
            raise common.refuse(where, "scale_embedding", False)
    position = {"kind": "learned"} if kind == "bart" else {"kind": "sinusoidal", "layout": "halves"}
    return {
        "d_model": config["d_model"],
        "layers": config["encoder_layers"],
        "decoder_layers": config["decoder_layers"],
        "heads": config["encoder_attention_heads"],
        "d_ff": config["encoder_ffn_dim"],
        "context": config.get("max_position_embeddings", 1024),
        "position": position,
        "norm": "layernorm",
        "norm_eps": _EPS,
        "placement": "post",
        "activation": common.activation(config, "activation_function", "gelu", where),
        "bias": "all",
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("dropout", 0.1),
        "output_bias": "final_logits_bias" in names,
        "embedding_norm": kind == "bart",
        "scaled_embedding": kind == "bart" and config.get("scale_embedding", False),
    }
