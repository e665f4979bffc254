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
