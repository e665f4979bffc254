"""Decoders as config.json says them: llama, mistral, qwen2, qwen3, gemma3_text, gpt2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.base import schema
from textmill.interop.huggingface.configs import rotary
from textmill.interop.huggingface.configs.common import (
    OWN,
    PLAIN,
    activation,
    only,
    plain_attention,
    refuse,
    usual_scores,
)
from textmill.specs.model import DecoderSpec
from textmill.specs.position import LearnedPositions, RotaryPositions

CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
_GATES = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_pytorch_tanh"}
_GATES_BACK = {name: ours for ours, name in _GATES.items()} | {"gelu_new": "geglu_tanh", "swish": "swiglu"}
_GEMMA_PERIOD, _GEMMA_THETA = 6, 10_000.0
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


def twin(spec: DecoderSpec) -> tuple[str, str]:
    """(model_type, ""), or (`OWN`, why no published decoder computes the same)."""
    for name, there in (
        ("attention_softcap", spec.attention_softcap is not None),
        (f"norm = {spec.norm}", spec.norm == "batchnorm"),
        ("norm after the embeddings", spec.embedding_norm),
        ("bias of the output layer", spec.output_bias),
        ("logit_scale", spec.logit_scale is not None),
        (f"placement = {spec.placement}", spec.placement == "post"),
        ("way without a last norm", not spec.last_norm),
    ):
        if there:
            return OWN, f"the published architectures supported have no {name}"
    if isinstance(spec.position, LearnedPositions):
        why = _gpt2_reason(spec)
        return (OWN, f"gpt2, which learns positions, {why}") if why else ("gpt2", "")
    if not isinstance(spec.position, RotaryPositions):
        return OWN, f"no published decoder has {spec.position.kind} positions"
    if spec.norm != "rmsnorm" or not spec.gated:
        return OWN, "published rotary decoders supported have rmsnorm and a gated activation"
    if spec.d_model % spec.heads:
        return OWN, "transformers wants d_model to be a multiple of heads"
    if spec.placement == "sandwich":
        why = _gemma_reason(spec)
        return (OWN, f"gemma3_text, which has placement = sandwich, {why}") if why else ("gemma3_text", "")
    return _llama_like(spec)


def _gpt2_reason(spec: DecoderSpec) -> str:
    if spec.norm != "layernorm" or spec.bias != "all":
        return "has layernorm and biases everywhere"
    if spec.gated:
        return "has no gate"
    if spec.placement != "pre" or spec.scaled_embedding:
        return "has norms before sublayers, and vectors as they are"
    return plain_attention(spec) or usual_scores(spec)


def _gemma_reason(spec: DecoderSpec) -> str:
    if not spec.qk_norm or spec.bias != "none":
        return "has qk_norm and no biases"
    if spec.activation != "geglu_tanh" or not spec.scaled_embedding:
        return "has activation = geglu_tanh and scaled_embedding"
    scale = _gemma_scale(spec)
    if abs(round(scale) - scale) > 1e-9 * scale or (round(scale) ** -0.5) != (
        spec.attention_scale or spec.head_width**-0.5
    ):
        return "divides scores by the root of a whole number"
    assert isinstance(spec.position, RotaryPositions)
    if spec.window is not None and spec.window_theta is None and spec.position.scaling is not None:
        return "stretches the positions of blocks without a window only"
    return ""


def _gemma_scale(spec: DecoderSpec) -> float:
    """What scores are divided by the root of."""
    return (spec.attention_scale or spec.head_width**-0.5) ** -2


def _llama_like(spec: DecoderSpec) -> tuple[str, str]:
    for name, there in (
        ("scaled_embedding", spec.scaled_embedding),
        ("attention_scale", spec.attention_scale not in (None, spec.head_width**-0.5)),
        ("logit_softcap", spec.logit_softcap is not None),
        ("window in some blocks only", spec.full_every is not None or spec.window_theta is not None),
    ):
        if there:
            return OWN, f"the published architectures supported have no {name} with placement = pre"
    kinds = {  # (bias, qk_norm, windowed): who has exactly these
        ("none", False, False): "llama",
        ("all", False, False): "llama",
        ("none", False, True): "mistral",
        ("qkv", False, False): "qwen2",
        ("none", True, False): "qwen3",
    }
    found = kinds.get((spec.bias, spec.qk_norm, spec.window is not None))
    if found:
        return found, ""
    window = "a window" if spec.window is not None else "no window"
    return (
        OWN,
        f"no published decoder supported has bias = {spec.bias}, qk_norm = {spec.qk_norm} and {window}",
    )


def write(spec: DecoderSpec, kind: str) -> dict[str, Any]:
    """The fields of config.json that are the architecture's own."""
    if kind == "gpt2":
        return _gpt2_fields(spec)
    return _gemma_fields(spec) if kind == "gemma3_text" else _llama_fields(spec, kind)


def _gpt2_fields(spec: DecoderSpec) -> dict[str, Any]:
    return {
        "n_positions": spec.context,
        "n_embd": spec.d_model,
        "n_layer": spec.layers,
        "n_head": spec.heads,
        "n_inner": spec.d_ff,
        "activation_function": PLAIN[spec.activation],
        "layer_norm_epsilon": spec.norm_eps,
        "resid_pdrop": spec.dropout,
        "embd_pdrop": spec.dropout,
        "attn_pdrop": 0.0,
    }


def _shape_fields(spec: DecoderSpec) -> dict[str, Any]:
    return {
        "hidden_size": spec.d_model,
        "intermediate_size": spec.d_ff,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.key_heads,
        "head_dim": spec.head_width,
        "max_position_embeddings": spec.context,
        "rms_norm_eps": spec.norm_eps,
        "attention_dropout": 0.0,
    }


def _llama_fields(spec: DecoderSpec, kind: str) -> dict[str, Any]:
    assert isinstance(spec.position, RotaryPositions)
    fields = _shape_fields(spec) | {
        "hidden_act": _GATES[spec.activation],
        "rope_theta": spec.position.theta,
        "rope_scaling": rotary.scaling_fields(spec.position),
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
    assert isinstance(spec.position, RotaryPositions)
    windowed = [spec.of_block(layer).window is not None for layer in range(spec.layers)]
    local, scaling = spec.window_theta or spec.position.theta, rotary.scaling_fields(spec.position)
    return _shape_fields(spec) | {
        "hidden_activation": _GATES[spec.activation],
        "attention_bias": False,
        "query_pre_attn_scalar": round(_gemma_scale(spec)),
        "sliding_window": spec.window or spec.context,  # may not be missing, though no block has one
        "sliding_window_pattern": windowed.index(False) + 1 if not all(windowed) else spec.layers + 1,
        "layer_types": ["sliding_attention" if one else "full_attention" for one in windowed],
        "rope_theta": spec.position.theta,
        "rope_local_base_freq": local,
        "rope_scaling": scaling,
        "rope_parameters": {
            "full_attention": {"rope_theta": spec.position.theta} | (scaling or {"rope_type": "default"}),
            "sliding_attention": {"rope_theta": local, "rope_type": "default"},
        },
        "attn_logit_softcapping": None,
        "final_logit_softcapping": spec.logit_softcap,
        "use_bidirectional_attention": False,
    }


def text_of(config: dict[str, Any]) -> dict[str, Any]:
    """Gemma 3 with eyes holds the language model's configuration in one of its own."""
    if config.get("model_type") == "gemma3":
        outer = {"tie_word_embeddings": config.get("tie_word_embeddings", True)}
        config = outer | config["text_config"] | {"model_type": "gemma3_text"}
    return _GEMMA | config if config.get("model_type") == "gemma3_text" else config


def read(config: Mapping[str, Any], where: object) -> DecoderSpec:
    """The spec of a config.json of one of `CLASSES`."""
    kind = config["model_type"]
    if kind == "gpt2":
        return _read_gpt2(config, where)
    return _read_gemma(config, where) if kind == "gemma3_text" else _read_llama(config, where)


def _read_gpt2(config: Mapping[str, Any], where: object) -> DecoderSpec:
    only(config, where, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    fields = {
        "d_model": config["n_embd"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "d_ff": config.get("n_inner") or 4 * config["n_embd"],
        "context": config.get("n_positions", 1024),
        "position": {"kind": "learned"},
        "norm": "layernorm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "activation": activation(config, "activation_function", "gelu_new", where),
        "bias": "all",
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("resid_pdrop", 0.0),
    }
    return schema.read(DecoderSpec, fields, str(where))


def _read_shape(config: Mapping[str, Any], where: object, gate: str) -> dict[str, Any]:
    """What rotary decoders share; `gate` is what their activation is called."""
    if gate not in _GATES_BACK:
        raise refuse(where, "hidden_act", gate)
    heads = config["num_attention_heads"]
    return {
        "d_model": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "d_ff": config["intermediate_size"],
        "context": config["max_position_embeddings"],
        "norm_eps": config["rms_norm_eps"],
        "activation": _GATES_BACK[gate],
    }


def _read_llama(config: Mapping[str, Any], where: object) -> DecoderSpec:
    kind = config["model_type"]
    bias = "qkv" if kind == "qwen2" else "none"
    if config.get("attention_bias", False) or config.get("mlp_bias", False):
        if not (kind == "llama" and config.get("attention_bias") and config.get("mlp_bias")):
            raise refuse(
                where, "attention_bias and mlp_bias", (config.get("attention_bias"), config.get("mlp_bias"))
            )
        bias = "all"
    if kind in ("qwen2", "qwen3"):
        only(config, where, use_sliding_window=False)
    fields = _read_shape(config, where, config.get("hidden_act", "silu"))
    width = 128 if kind == "qwen3" else fields["d_model"] // fields["heads"]
    fields |= {
        "head_dim": config.get("head_dim") or width,
        "position": rotary.read(config, where),
        "bias": bias,
        "qk_norm": kind == "qwen3",
        "tied": config.get("tie_word_embeddings", False),
        "window": config.get("sliding_window") if kind == "mistral" else None,
    }
    return schema.read(DecoderSpec, fields, str(where))


def _read_gemma(config: Mapping[str, Any], where: object) -> DecoderSpec:
    only(config, where, attention_bias=False, attn_logit_softcapping=None)
    if config.get("use_bidirectional_attention"):
        raise refuse(where, "use_bidirectional_attention", True)
    gate = config.get("hidden_activation") or config.get("hidden_act") or "gelu_pytorch_tanh"
    fields = _read_shape(config, where, gate)
    both = config.get("rope_parameters") or {}
    full = both.get("full_attention") or {"rope_theta": config.get("rope_theta", 1e6)} | (
        config.get("rope_scaling") or {}
    )
    local = both.get("sliding_attention") or {"rope_theta": config.get("rope_local_base_freq", _GEMMA_THETA)}
    only(local, where, rope_type="default")
    window, period = _gemma_windows(config, fields["layers"], where)
    fields |= {
        "head_dim": config["head_dim"],
        "position": rotary.read({**config, "rope_parameters": full}, where),
        "placement": "sandwich",
        "qk_norm": True,
        "scaled_embedding": True,
        "tied": config.get("tie_word_embeddings", True),
        "attention_scale": config["query_pre_attn_scalar"] ** -0.5,
        "logit_softcap": config.get("final_logit_softcapping"),
        "window": window,
        "full_every": period,
        "window_theta": None if window is None else local.get("rope_theta", _GEMMA_THETA),
    }
    return schema.read(DecoderSpec, fields, str(where))


def _gemma_windows(config: Mapping[str, Any], layers: Any, where: object) -> tuple[int | None, int | None]:
    """(window, full_every), from the type of each block, or from their period."""
    types = config.get("layer_types")
    if types is None:
        period = config.get("sliding_window_pattern", _GEMMA_PERIOD)
        return (None, None) if period == 1 else (config["sliding_window"], period)
    if len(types) != layers or not set(types) <= {"sliding_attention", "full_attention"}:
        raise refuse(where, "layer_types", types)
    if "sliding_attention" not in types:
        return None, None
    if "full_attention" not in types:
        period = None
    else:
        period = types.index("full_attention") + 1
        if any((kind == "full_attention") != (place % period == 0) for place, kind in enumerate(types, 1)):
            raise refuse(where, "layer_types", types)
    return config["sliding_window"], period
