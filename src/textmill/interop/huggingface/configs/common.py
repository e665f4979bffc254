"""What the readers and writers of config.json share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.specs.model import TransformerSpec

OWN = "textmill"  # the model_type of a model that no published architecture can say
_NAMES = {  # ours: theirs, the likeliest first
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh"),
    "gelu": ("gelu",),
    "relu": ("relu",),
    "relu2": ("relu2",),
    "silu": ("silu", "swish"),
}
# Activations without a gate, as config.json calls them.
PLAIN = {ours: theirs[0] for ours, theirs in _NAMES.items()}
_BACK = {name: ours for ours, theirs in _NAMES.items() for name in theirs}
# Keys that transformers takes for another one, by model type.
_BART_ALIASES = {
    "num_attention_heads": "encoder_attention_heads",
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
}
_T5_ALIASES = {
    "hidden_size": "d_model",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
    "head_dim": "d_kv",
}
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "gpt2": {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    },
    "distilbert": {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    },
    "t5": _T5_ALIASES,
    "mt5": _T5_ALIASES,
    "bart": _BART_ALIASES,
    "marian": _BART_ALIASES,
}


def with_usual_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose keys have the names their architecture calls them by."""
    aliases = _ALIASES.get(str(config.get("model_type")), {})
    return {name: config[alias] for alias, name in aliases.items() if alias in config} | dict(config)


def refuse(where: object, key: str, value: Any) -> TextmillError:
    """The error about a setting that is not supported."""
    return TextmillError(f"{key} = {value!r} is not supported", where=where, advice="choose another model")


def activation(config: Mapping[str, Any], key: str, usual: str, where: object) -> str:
    """What we call the activation that a configuration names."""
    name = config.get(key, usual)
    if not isinstance(name, str) or name not in _BACK:
        raise refuse(where, key, name)
    return _BACK[name]


def only(config: Mapping[str, Any], where: object, **usual: Any) -> None:
    """Refuse a configuration in which one of these keys has another value than the usual one."""
    for key, value in usual.items():
        if config.get(key, value) != value:
            raise refuse(where, key, config[key])


def read_fields(config: Mapping[str, Any], names: Mapping[str, str], **usual: Any) -> dict[str, Any]:
    """Fields of ours that config.json has under another name; names: theirs -> ours; usual: what is left out there."""
    return {ours: (usual | dict(config))[theirs] for theirs, ours in names.items()}


def write_fields(spec: TransformerSpec, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields of config.json that are fields of ours under another name; names: theirs -> ours."""
    return {theirs: getattr(spec, ours) for theirs, ours in names.items()}


def differences(asked: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """How what is published differs from what is asked of it, a field each: `placement = pre, not post`."""
    return [
        f"{name} = {_shown(published[name])}, not {_shown(value)}"
        for name, value in asked.items()
        if published[name] != value
    ]


def _shown(value: Any) -> str:
    """A field's value for a person: `none`, `5e-06`, `rotary (theta = 10000)`."""
    value = schema.write(value)
    if isinstance(value, dict):
        more = ", ".join(f"{name} = {_shown(inner)}" for name, inner in value.items() if name != "kind")
        return f"{value['kind']} ({more})" if more else value["kind"]
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
