"""A model's spec as the config.json of a published architecture, and back, exactly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.model_spec import (
    DecoderSpec,
    EncoderDecoderSpec,
    EncoderSpec,
    ModelSpec,
    NGramSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
)
from textmill.interop.configurations import decoders, encoder_decoders, encoders
from textmill.interop.configurations.common import OWN

NGRAM = "textmill-ngram"
OURS = (OWN, NGRAM)  # what only Textmill reads
CLASSES = decoders.CLASSES | encoders.CLASSES | encoder_decoders.CLASSES
READ = (
    *CLASSES,
    "gemma3",
    "mt5",
)  # model types that are read; the last two are written as what they are: others
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


def twin(spec: ModelSpec) -> tuple[str, str]:
    """(model_type, reason): the published architecture that computes the same, or one of `OURS` and why."""
    if isinstance(spec, NGramSpec):
        return NGRAM, "no published architecture is an n-gram model"
    found = _TWINS.get(type(spec))
    return found(spec) if found else (OWN, f"no published architecture is a {spec.kind} model")


def write(
    spec: ModelSpec, vocabulary: int, *, dtype: str, end: int, pad: int, start: int | None = None
) -> dict[str, Any]:
    """The config.json of a model. `dtype` as PyTorch calls it, such as `float32`; end, pad and start are ids, the last
    what a text begins with, where it is not the end of the one before."""
    kind, _ = twin(spec)
    begin = end if start is None else start
    pooled = not isinstance(spec, EncoderSpec) or spec.pooler
    common = {
        "architectures": [
            CLASSES.get(kind, "TextmillModel") if pooled else encoders.UNPOOLED.get(kind, "TextmillModel")
        ],
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
        common["tie_word_embeddings"] = spec.tied
    if kind in OURS:
        return common | {"max_position_embeddings": spec.context, "textmill": schema.write(spec)}
    if isinstance(spec, EncoderSpec):
        return common | encoders.write(spec, kind, pad)
    if isinstance(spec, EncoderDecoderSpec):
        return common | encoder_decoders.write(spec, kind, begin)
    assert isinstance(spec, DecoderSpec)
    return common | decoders.write(spec, kind)


def normal(config: Any, where: object) -> Mapping[str, Any]:
    """A config.json as one of a language model alone. Raises DamagedError where it is no table."""
    if not isinstance(config, Mapping):
        raise DamagedError("is not a configuration: it holds no table", where=where)
    try:
        return decoders.text_of(config)
    except (KeyError, TypeError) as error:
        raise DamagedError(f"holds no text_config ({error!r})", where=where) from error


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


def _spec(config: Mapping[str, Any], where: object, names: Collection[str]) -> ModelSpec:
    kind = config.get("model_type")
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
    if kind == "mt5" or kind in encoder_decoders.CLASSES:
        return encoder_decoders.read(config, where, names)
    raise TextmillError(
        f"model_type {kind!r} is not supported", where=where, advice=f"there is {', '.join(READ)}"
    )


def _sane(spec: ModelSpec) -> None:
    """Raise ValueError for sizes no model has, on which building one would never end or overflow."""
    for name, value in schema.write(spec).items():
        if isinstance(value, int) and value > _LONGEST * (100 if name == "context" else 1):
            raise ValueError(f"{name} is {value}")
