"""A DecoderSpec as the config.json of a published architecture, and back, exactly or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.model_spec import (
    DecoderSpec,
    LearnedPositions,
    LinearScaling,
    ModelSpec,
    NGramSpec,
    RotaryPositions,
)

CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
OWN = "textmill"  # the model_type of a decoder that no published architecture can say
NGRAM = "textmill-ngram"
OURS = (OWN, NGRAM)  # what only Textmill reads
_GPT2_ACTIVATIONS = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu", "relu2": "relu2"}
_GATED_ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu"}
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}


def twin(spec: ModelSpec) -> tuple[str, str]:
    """(model_type, reason): the published architecture that computes the same, or one of `OURS` and why."""
    if isinstance(spec, NGramSpec):
        return NGRAM, "no published architecture is an n-gram model"
    why = _common(spec)
    if why:
        return OWN, why
    if isinstance(spec.position, LearnedPositions):
        why = _gpt2_reason(spec)
        return (OWN, why) if why else ("gpt2", "")
    if not isinstance(spec.position, RotaryPositions):
        return OWN, f"no published decoder has {spec.position.kind} positions"
    return _llama_like(spec)


def _common(spec: DecoderSpec) -> str:
    for name, there in (
        ("attention_softcap", spec.attention_softcap is not None),
        ("logit_softcap", spec.logit_softcap is not None),
        (f"placement = {spec.placement}", spec.placement != "pre"),
        (f"norm = {spec.norm}", spec.norm == "batchnorm"),
    ):
        if there:
            return f"the published architectures supported have no {name}"
    return ""


def _gpt2_reason(spec: DecoderSpec) -> str:
    if spec.norm != "layernorm" or spec.bias != "all":
        return "gpt2, which learns positions, has layernorm and biases everywhere"
    if spec.gated or spec.qk_norm or spec.window is not None:
        return "gpt2, which learns positions, has no gate, no qk_norm and no window"
    if spec.key_heads != spec.heads or spec.heads * spec.head_width != spec.d_model:
        return "gpt2, which learns positions, has as many key heads as heads, of d_model / heads features"
    return ""


def _llama_like(spec: DecoderSpec) -> tuple[str, str]:
    if spec.norm != "rmsnorm" or not spec.gated:
        return OWN, "published rotary decoders supported have rmsnorm and a gated activation"
    if spec.d_model % spec.heads:
        return OWN, "transformers wants d_model to be a multiple of heads"
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


def write(spec: ModelSpec, vocabulary: int, *, dtype: str, end: int, pad: int) -> dict[str, Any]:
    """The config.json of a model. `dtype` as PyTorch calls it, such as `float32`; end and pad are ids."""
    kind, _ = twin(spec)
    common = {
        "architectures": [CLASSES.get(kind, "TextmillForCausalLM")],
        "model_type": kind,
        "vocab_size": vocabulary,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }
    if not isinstance(spec, NGramSpec):
        common["tie_word_embeddings"] = spec.tied
    if isinstance(spec, NGramSpec) or kind == OWN:
        return common | {"max_position_embeddings": spec.context, "textmill": schema.write(spec)}
    return common | (_gpt2_fields(spec) if kind == "gpt2" else _llama_fields(spec, kind))


def _gpt2_fields(spec: DecoderSpec) -> dict[str, Any]:
    return {
        "n_positions": spec.context,
        "n_embd": spec.d_model,
        "n_layer": spec.layers,
        "n_head": spec.heads,
        "n_inner": spec.d_ff,
        "activation_function": _GPT2_ACTIVATIONS[spec.activation],
        "layer_norm_epsilon": spec.norm_eps,
        "resid_pdrop": spec.dropout,
        "embd_pdrop": spec.dropout,
        "attn_pdrop": 0.0,
    }


def _llama_fields(spec: DecoderSpec, kind: str) -> dict[str, Any]:
    assert isinstance(spec.position, RotaryPositions)
    fields: dict[str, Any] = {
        "hidden_size": spec.d_model,
        "intermediate_size": spec.d_ff,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.key_heads,
        "head_dim": spec.head_width,
        "hidden_act": _GATED_ACTIVATIONS[spec.activation],
        "max_position_embeddings": spec.context,
        "rms_norm_eps": spec.norm_eps,
        "rope_theta": spec.position.theta,
        "rope_scaling": _scaling_fields(spec.position),
        "attention_dropout": 0.0,
    }
    if kind == "llama":
        fields |= {"attention_bias": spec.bias == "all", "mlp_bias": spec.bias == "all"}
    if kind == "mistral":
        fields |= {"sliding_window": spec.window}
    if kind in ("qwen2", "qwen3"):
        fields |= {"use_sliding_window": False}
    if kind == "qwen3":
        fields |= {"attention_bias": False}
    return fields


def _scaling_fields(position: RotaryPositions) -> dict[str, Any] | None:
    scaling = position.scaling
    if scaling is None:
        return None
    if isinstance(scaling, LinearScaling):
        return {"rope_type": "linear", "factor": scaling.factor}
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_context,
    }


def read(config: Mapping[str, Any], where: object) -> tuple[ModelSpec, int]:
    """(spec, vocabulary) of a config.json that any tool may have written.

    Raises TextmillError for an architecture, or a setting of one, that is not supported, and DamagedError
    when a field is missing: nothing is guessed, since a wrong guess gives a model that answers nonsense.
    """
    kind = config.get("model_type")
    try:
        if kind == OWN:
            spec = schema.read(DecoderSpec, config["textmill"], str(where), "textmill")
        elif kind == NGRAM:
            spec = schema.read(NGramSpec, config["textmill"], str(where), "textmill")
        elif kind == "gpt2":
            spec = _read_gpt2(config, where)
        elif kind in CLASSES:
            spec = _read_llama(config, where)
        else:
            raise TextmillError(
                f"model_type {kind!r} is not supported", where=where, advice=f"there is {', '.join(CLASSES)}"
            )
        return spec, int(config["vocab_size"])
    except KeyError as error:
        raise DamagedError(
            f"{error.args[0]} is missing", where=where, advice="fetch the file again"
        ) from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise DamagedError(f"is not a configuration ({error})", where=where) from error


def _refuse(where: object, key: str, value: Any) -> TextmillError:
    return TextmillError(f"{key} = {value!r} is not supported", where=where, advice="choose another model")


def _read_gpt2(config: Mapping[str, Any], where: object) -> DecoderSpec:
    for key, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
        if config.get(key, usual) != usual:
            raise _refuse(where, key, config[key])
    activation = config.get("activation_function", "gelu_new")
    if activation not in _ACTIVATIONS:
        raise _refuse(where, "activation_function", activation)
    fields = {
        "d_model": config["n_embd"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "d_ff": config.get("n_inner") or 4 * config["n_embd"],
        "context": config.get("n_positions", 1024),
        "position": {"kind": "learned"},
        "norm": "layernorm",
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "activation": _ACTIVATIONS[activation],
        "bias": "all",
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("resid_pdrop", 0.0),
    }
    return schema.read(DecoderSpec, fields, str(where))


def _read_llama(config: Mapping[str, Any], where: object) -> DecoderSpec:
    kind = config["model_type"]
    gates = {act: name for name, act in _GATED_ACTIVATIONS.items()}
    activation = config.get("hidden_act", "silu")
    if activation not in gates:
        raise _refuse(where, "hidden_act", activation)
    bias = "qkv" if kind == "qwen2" else "none"
    if config.get("attention_bias", False) or config.get("mlp_bias", False):
        if not (kind == "llama" and config.get("attention_bias") and config.get("mlp_bias")):
            raise _refuse(
                where, "attention_bias and mlp_bias", (config.get("attention_bias"), config.get("mlp_bias"))
            )
        bias = "all"
    if kind in ("qwen2", "qwen3") and config.get("use_sliding_window", False):
        raise _refuse(where, "use_sliding_window", True)
    heads = config["num_attention_heads"]
    width = 128 if kind == "qwen3" else config["hidden_size"] // heads
    fields = {
        "d_model": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or width,
        "d_ff": config["intermediate_size"],
        "context": config["max_position_embeddings"],
        "position": _read_rotary(config, where),
        "norm_eps": config["rms_norm_eps"],
        "activation": gates[activation],
        "bias": bias,
        "qk_norm": kind == "qwen3",
        "tied": config.get("tie_word_embeddings", False),
        "window": config.get("sliding_window") if kind == "mistral" else None,
    }
    return schema.read(DecoderSpec, fields, str(where))


def _read_rotary(config: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Both spellings: rope_theta and rope_scaling, and rope_parameters of transformers 5."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rotary = {"kind": "rotary", "theta": given.get("rope_theta", config.get("rope_theta", 10000.0))}
    kind = given.get("rope_type", given.get("type", "default"))
    part = given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if part not in (None, 1.0):
        raise _refuse(where, "partial_rotary_factor", part)
    if kind == "default":
        return rotary
    if kind == "linear":
        return rotary | {"scaling": {"kind": "linear", "factor": given["factor"]}}
    if kind == "llama3":
        scaling = {name: given[name] for name in ("factor", "low_freq_factor", "high_freq_factor")}
        original = given["original_max_position_embeddings"]
        return rotary | {"scaling": {"kind": "llama3", "original_context": original} | scaling}
    raise _refuse(where, "rope_type", kind)
