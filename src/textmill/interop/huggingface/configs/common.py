"""What the readers and writers of config.json share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
PLAIN = {ours: theirs[0] for ours, theirs in _NAMES.items()}  # activations as config.json calls them
_BACK = {name: ours for ours, theirs in _NAMES.items() for name in theirs}


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


def plain_attention(spec: TransformerSpec) -> str:
    """Why attention is not that of the models before llama; empty where it is."""
    for name, there in (
        ("a window", spec.window is not None),
        ("qk_norm", spec.qk_norm),
        ("fewer key heads than heads", spec.key_heads != spec.heads),
        ("attention_softcap", spec.attention_softcap is not None),
        ("logit_softcap", spec.logit_softcap is not None),
    ):
        if there:
            return f"has no {name}"
    return ""


def usual_scores(spec: TransformerSpec) -> str:
    """Why scores are not q·k / sqrt(d_model / heads) in heads that share out d_model; empty where they are."""
    if spec.heads * spec.head_width != spec.d_model:
        return "has heads of d_model / heads features"
    if spec.attention_scale not in (None, spec.head_width**-0.5):
        return "divides scores by the root of head_dim"
    return ""
