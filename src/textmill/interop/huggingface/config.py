"""A model's spec as the config.json of a published architecture, and back, exactly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface.configs import decoders, encoder_decoders, encoders, heads
from textmill.interop.huggingface.configs.common import OWN
from textmill.specs.head import HeadSpec
from textmill.specs.model import (
    DecoderSpec,
    EncoderDecoderSpec,
    EncoderSpec,
    ModelSpec,
    NGramSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
)

NGRAM = "textmill-ngram"
OURS = (OWN, NGRAM)  # what only Textmill reads
CLASSES = decoders.CLASSES | encoders.CLASSES | encoder_decoders.CLASSES
_SAME: Mapping[str, str] = {"mt5": "t5"}  # model types that are another one, with another name
READ = (*CLASSES, "gemma3", *_SAME)  # model types that are read
_OWN_SPECS: dict[str, type] = {
    "decoder": DecoderSpec,
    "encoder": EncoderSpec,
    "encoder-decoder": EncoderDecoderSpec,
    "recurrent": RecurrentSpec,
    "recurrent-encoder-decoder": RecurrentEncoderDecoderSpec,
}
_TWINS: dict[type, Callable[[Any], tuple[str, str]]] = {
    DecoderSpec: decoders.twin,
    EncoderSpec: encoders.twin,
    EncoderDecoderSpec: encoder_decoders.twin,
}
_LONGEST = 10_000_000  # of any size in a configuration: far above what is trained, far under what overflows


def twin(spec: ModelSpec, head: HeadSpec | None = None) -> tuple[str, str]:
    """(model_type, reason): the published architecture that computes the same, or one of `OURS` and why."""
    if isinstance(spec, NGramSpec):
        return NGRAM, "no published architecture is an n-gram model"
    if type(spec) not in _TWINS:
        return OWN, f"no published architecture is a {spec.kind} model"
    kind, why = _TWINS[type(spec)](spec)
    if head is not None and kind != OWN:
        why = heads.reason(kind, spec, head)
    return (OWN, why) if why else (kind, "")


def write(
    spec: ModelSpec,
    vocabulary: int,
    *,
    dtype: str,
    end: int,
    pad: int,
    start: int | None = None,
    head: HeadSpec | None = None,
) -> dict[str, Any]:
    """The config.json of a model. `dtype` as PyTorch calls it, such as `float32`; end, pad and start are ids, the last
    what a text begins with, where it is not the end of the one before."""
    kind, _ = twin(spec, head)
    begin = end if start is None else start
    config = {
        "architectures": [_architecture(spec, kind)],
        "model_type": kind,
        "vocab_size": vocabulary,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }
    if not isinstance(spec, NGramSpec):
        config["tie_word_embeddings"] = spec.tied
    if kind in OURS:
        config |= {"max_position_embeddings": spec.context, "textmill": schema.write(spec)}
        return config if head is None else config | {heads.OWN_KEY: schema.write(head)}
    if isinstance(spec, EncoderSpec):
        config |= encoders.write(spec, kind, pad)
    elif isinstance(spec, EncoderDecoderSpec):
        config |= encoder_decoders.write(spec, kind, begin)
    elif isinstance(spec, DecoderSpec):
        config |= decoders.write(spec, kind)
    return config if head is None else config | heads.write(kind, head)


def _architecture(spec: ModelSpec, kind: str) -> str:
    """The class of transformers that is the whole of a model without a head."""
    bare = isinstance(spec, EncoderSpec) and not spec.pooler
    return (encoders.UNPOOLED if bare else CLASSES).get(kind, "TextmillModel")


def normal(config: dict[str, Any], where: object) -> dict[str, Any]:
    """A config.json as one of a language model alone. Raises DamagedError where there is none in it."""
    try:
        return decoders.text_of(config)
    except (KeyError, TypeError) as error:
        raise DamagedError(f"holds no text_config ({error!r})", where=where) from error


def kind_of(config: Mapping[str, Any], where: object) -> str:
    """By whose rules the weights beside a configuration go. Raises TextmillError where nobody's are known."""
    kind = config.get("model_type")
    kind = _SAME.get(kind, kind) if isinstance(kind, str) else None
    if kind is None or kind not in (*CLASSES, *OURS):
        raise TextmillError(
            f"model_type {config.get('model_type')!r} is not supported",
            where=where,
            advice=f"there is {', '.join(READ)}",
        )
    return kind


def read(config: Mapping[str, Any], where: object, names: Collection[str] = ()) -> tuple[ModelSpec, int]:
    """(spec, vocabulary) of a config.json, as `normal` gives it, that any tool may have written.

    names: of the tensors beside it, which say of encoders and encoder-decoders what parts there are.

    Raises TextmillError for an architecture, or a setting of one, that is not supported, and DamagedError
    when a field is missing: nothing is guessed, since a wrong guess gives a model that answers nonsense.
    """
    try:
        spec = _spec(config, where, names)
        vocabulary = int(config["vocab_size"])
        if not 0 < vocabulary <= _LONGEST:
            raise ValueError(f"vocab_size is {vocabulary}")
        _sane(spec)
        return spec, vocabulary
    except KeyError as error:
        raise DamagedError(
            f"{error.args[0]} is missing", where=where, advice="fetch the file again"
        ) from None
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise DamagedError(f"is not a configuration ({error})", where=where) from error


def read_head(config: Mapping[str, Any], where: object) -> HeadSpec | None:
    """What stands on the model in place of its output layer, if anything does; `config` as for `read`."""
    return heads.read(config, kind_of(config, where), where)


def _spec(config: Mapping[str, Any], where: object, names: Collection[str]) -> ModelSpec:
    kind = kind_of(config, where)
    if kind == NGRAM:
        return schema.read(NGramSpec, config["textmill"], str(where), "textmill")
    if kind == OWN:
        ours = config["textmill"]
        family = ours.get("kind", "decoder")
        if family not in _OWN_SPECS:
            raise TextmillError(f"{family!r} is no family of models", where=where)
        return schema.read(_OWN_SPECS[family], ours, str(where), "textmill")
    if kind in decoders.CLASSES:
        return decoders.read(config, where)
    if kind in encoders.CLASSES:
        return encoders.read(config, where, names)
    assert kind in encoder_decoders.CLASSES
    return encoder_decoders.read(config, where, names)


def _sane(spec: ModelSpec) -> None:
    """Raise ValueError for sizes no model has, on which building one would never end or overflow."""
    for name, value in schema.write(spec).items():
        if isinstance(value, int) and value > _LONGEST * (100 if name == "context" else 1):
            raise ValueError(f"{name} is {value}")
