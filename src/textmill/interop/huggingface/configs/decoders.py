"""Decoders as config.json says them: llama, mistral, qwen2, qwen3, gemma3_text, gpt2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.interop.huggingface.configs import common, rotary
from textmill.specs.model import DecoderSpec
from textmill.specs.position import RotaryPositions

CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
_GPT2 = {  # theirs: ours, where both mean the same
    "n_positions": "context",
    "n_embd": "d_model",
    "n_layer": "layers",
    "n_head": "heads",
    "n_inner": "d_ff",
    "layer_norm_epsilon": "norm_eps",
    "resid_pdrop": "dropout",
}
_ROTARY = {
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "max_position_embeddings": "context",
    "rms_norm_eps": "norm_eps",
}
# What is meant where nothing is said, by model type.
_KEY_HEADS = {"mistral": 8, "qwen2": 32, "qwen3": 32}  # else as many as there are heads
_WINDOW = 4096  # of mistral
_GATES = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_pytorch_tanh"}
_GATES_BACK = {name: ours for ours, name in _GATES.items()} | {"gelu_new": "geglu_tanh", "swish": "swiglu"}
_GEMMA_PERIOD, _GEMMA_THETA, _GEMMA_FULL_THETA = 6, 10_000.0, 1_000_000.0
_GEMMA = {  # what its configurations leave out
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}


def candidates(_spec: DecoderSpec) -> tuple[str, ...]:
    """The published architectures that may be this one, the likeliest first."""
    return tuple(CLASSES)


def write(spec: DecoderSpec, kind: str, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of config.json that are the architecture's own, as far as it can say the spec; `shared` are those of
    every architecture."""
    if kind == "gpt2":
        return common.write_fields(spec, _GPT2) | {
            "activation_function": common.PLAIN.get(spec.activation, "gelu_new"),
            "embd_pdrop": spec.dropout,
            "attn_pdrop": 0.0,
        }
    if spec.d_model % spec.heads:
        raise TextmillError(f"transformers wants d_model to be a multiple of heads ({spec.heads})")
    fields = common.write_fields(spec, _ROTARY) | {
        "num_key_value_heads": spec.key_heads,
        "head_dim": spec.head_width,
        "attention_dropout": 0.0,
    }
    return fields | (_gemma_fields(spec) if kind == "gemma3_text" else _llama_fields(spec, kind))


def _llama_fields(spec: DecoderSpec, kind: str) -> dict[str, Any]:
    position = _rotary(spec)
    fields: dict[str, Any] = {
        "hidden_act": _GATES.get(spec.activation, "silu"),
        "rope_theta": position.theta,
        "rope_scaling": rotary.scaling_fields(position),
    }
    if kind == "llama":
        fields |= {"attention_bias": spec.bias == "all", "mlp_bias": spec.bias == "all"}
    if kind == "mistral":
        fields |= {"sliding_window": spec.window}
    if kind in ("qwen2", "qwen3"):
        fields |= {"use_sliding_window": False, "sliding_window": None}
    if kind == "qwen3":
        fields |= {"attention_bias": False}
    return fields


def _gemma_fields(spec: DecoderSpec) -> dict[str, Any]:
    position = _rotary(spec)
    windowed = [spec.of_block(layer).window is not None for layer in range(spec.layers)]
    local, scaling = spec.window_theta or position.theta, rotary.scaling_fields(position)
    return {
        "hidden_activation": _GATES.get(spec.activation, "gelu_pytorch_tanh"),
        "attention_bias": False,
        "query_pre_attn_scalar": round((spec.attention_scale or spec.head_width**-0.5) ** -2),
        "sliding_window": spec.window or spec.context,  # may not be missing, though no block has one
        "sliding_window_pattern": windowed.index(False) + 1 if not all(windowed) else spec.layers + 1,
        "layer_types": ["sliding_attention" if narrow else "full_attention" for narrow in windowed],
        "rope_theta": position.theta,
        "rope_local_base_freq": local,
        "rope_scaling": scaling,
        "rope_parameters": {
            "full_attention": {"rope_theta": position.theta} | (scaling or {"rope_type": "default"}),
            "sliding_attention": {"rope_theta": local, "rope_type": "default"},
        },
        "attn_logit_softcapping": None,
        "final_logit_softcapping": spec.logit_softcap,
        "use_bidirectional_attention": False,
    }


def _rotary(spec: DecoderSpec) -> RotaryPositions:
    """The positions a rotary decoder would have in place of those of the spec."""
    return spec.position if isinstance(spec.position, RotaryPositions) else RotaryPositions()


def text_of(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the language model: Gemma 3 with images keeps it in `text_config`, and leaves some out."""
    if config.get("model_type") == "gemma3":
        outer = {"tie_word_embeddings": config.get("tie_word_embeddings", True)}
        config = outer | config["text_config"] | {"model_type": "gemma3_text"}
    return _GEMMA | config if config.get("model_type") == "gemma3_text" else config


def read(config: Mapping[str, Any], where: object, _names: Collection[str]) -> DecoderSpec:
    """The spec of a config.json of one of `CLASSES`, which says all of it without the tensors' names."""
    kind = config["model_type"]
    if kind == "gpt2":
        return _read_gpt2(config, where)
    return _read_gemma(config, where) if kind == "gemma3_text" else _read_llama(config, where)


def _read_gpt2(config: Mapping[str, Any], where: object) -> DecoderSpec:
    common.only(
        config,
        where,
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    usual = {"n_positions": 1024, "layer_norm_epsilon": 1e-5, "resid_pdrop": 0.0, "n_inner": None}
    fields = common.read_fields(config, _GPT2, **usual)
    fields |= {
        "d_ff": fields["d_ff"] or 4 * fields["d_model"],
        "position": {"kind": "learned"},
        "norm": "layernorm",
        "activation": common.activation(config, "activation_function", "gelu_new", where),
        "bias": "all",
        "tied": config.get("tie_word_embeddings", True),
    }
    return schema.read(DecoderSpec, fields, str(where))


def _read_shape(config: Mapping[str, Any], where: object, gate: str) -> dict[str, Any]:
    """What rotary decoders share; `gate` is what their activation is called."""
    if gate not in _GATES_BACK:
        raise common.refuse(where, "hidden_act", gate)
    fields = common.read_fields(config, _ROTARY)
    heads = config.get("num_key_value_heads", _KEY_HEADS.get(config["model_type"])) or fields["heads"]
    return fields | {"kv_heads": heads, "activation": _GATES_BACK[gate]}


def _read_llama(config: Mapping[str, Any], where: object) -> DecoderSpec:
    kind = config["model_type"]
    bias = "qkv" if kind == "qwen2" else "none"
    if config.get("attention_bias", False) or config.get("mlp_bias", False):
        if not (kind == "llama" and config.get("attention_bias") and config.get("mlp_bias")):
            raise common.refuse(
                where, "attention_bias and mlp_bias", (config.get("attention_bias"), config.get("mlp_bias"))
            )
        bias = "all"
    if kind in ("qwen2", "qwen3"):
        common.only(config, where, use_sliding_window=False)
    fields = _read_shape(config, where, config.get("hidden_act", "silu"))
    width = 128 if kind == "qwen3" else fields["d_model"] // fields["heads"]
    fields |= {
        "head_dim": config.get("head_dim") or width,
        "position": rotary.read(config, where),
        "bias": bias,
        "qk_norm": kind == "qwen3",
        "tied": config.get("tie_word_embeddings", False),
        "window": config.get("sliding_window", _WINDOW) if kind == "mistral" else None,
    }
    return schema.read(DecoderSpec, fields, str(where))


def _read_gemma(config: Mapping[str, Any], where: object) -> DecoderSpec:
    common.only(config, where, attention_bias=False, attn_logit_softcapping=None)
    if config.get("use_bidirectional_attention"):
        raise common.refuse(where, "use_bidirectional_attention", True)
    gate = config.get("hidden_activation") or config.get("hidden_act") or "gelu_pytorch_tanh"
    fields = _read_shape(config, where, gate)
    both = config.get("rope_parameters") or {}
    full = {"rope_theta": config.get("rope_theta", _GEMMA_FULL_THETA)} | (both.get("full_attention") or {})
    local = {"rope_theta": config.get("rope_local_base_freq", _GEMMA_THETA)} | (
        both.get("sliding_attention") or {}
    )
    apart = {"rope_parameters": full | (config.get("rope_scaling") or {}), "rope_scaling": None}
    common.only(local, where, rope_type="default")
    window, period = _gemma_windows(config, fields["layers"], where)
    fields |= {
        "head_dim": config["head_dim"],
        "position": rotary.read({**config, **apart, "original_max_position_embeddings": None}, where),
        "placement": "sandwich",
        "qk_norm": True,
        "scaled_embedding": True,
        "tied": config.get("tie_word_embeddings", True),
        "attention_scale": config["query_pre_attn_scalar"] ** -0.5,
        "logit_softcap": config.get("final_logit_softcapping"),
        "window": window,
        "full_every": period,
        "window_theta": None if window is None else local["rope_theta"],
    }
    return schema.read(DecoderSpec, fields, str(where))


def _gemma_windows(config: Mapping[str, Any], layers: Any, where: object) -> tuple[int | None, int | None]:
    """(window, full_every), from the type of each block, or from their period."""
    types = config.get("layer_types")
    if types is None:
        period = config.get("sliding_window_pattern", _GEMMA_PERIOD)
        return (None, None) if period == 1 else (config["sliding_window"], period)
    if len(types) != layers or not set(types) <= {"sliding_attention", "full_attention"}:
        raise common.refuse(where, "layer_types", types)
    if "sliding_attention" not in types:
        return None, None
    if "full_attention" not in types:
        period = None
    else:
        period = types.index("full_attention") + 1
        if any((kind == "full_attention") != (block % period == 0) for block, kind in enumerate(types, 1)):
            raise common.refuse(where, "layer_types", types)
    return config["sliding_window"], period
