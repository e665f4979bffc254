"""A model's spec as the config.json of a published architecture, and back; of an own one where none gives it back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, get_args

from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface.configs import decoders, encoder_decoders, encoders, heads
from textmill.interop.huggingface.configs.common import OWN, differences, with_usual_names
from textmill.specs.head import HeadSpec
from textmill.specs.model import (
    READ_AND_WRITE,
    AtOnceSpec,
    DecoderSpec,
    EncoderDecoderSpec,
    EncoderSpec,
    LinearSpec,
    ModelSpec,
    NGramSpec,
    TrainedSpec,
    computed,
)

NGRAM, LINEAR = "textmill-ngram", "textmill-linear"
OURS = (OWN, NGRAM, LINEAR)  # what only Textmill reads
CLASSES = decoders.CLASSES | encoders.CLASSES | encoder_decoders.CLASSES
# The classes of bodies alone: the states of a model, without what makes logits of them.
BODIES: Mapping[str, str] = {
    "bert": "BertModel",
    "roberta": "RobertaModel",
    "distilbert": "DistilBertModel",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "qwen2": "Qwen2Model",
    "qwen3": "Qwen3Model",
    "gemma3_text": "Gemma3TextModel",
    "gpt2": "GPT2Model",
    "t5": "T5Model",
    "bart": "BartModel",
    "marian": "MarianModel",
    OWN: "TextmillBody",
}
_SAME: Mapping[str, str] = {"mt5": "t5"}  # model types that are another one, with another name
READ = (*CLASSES, "gemma3", *_SAME)  # model types that are read
_OWN_SPECS: dict[str, type] = {schema.kind_of(spec): spec for spec in get_args(TrainedSpec)}


class _Family(Protocol):
    """How the published architectures of one family are written and read."""

    CLASSES: dict[str, str]  # model_type -> the class of transformers

    def candidates(self, spec: Any, /) -> tuple[str, ...]: ...
    def write(self, spec: Any, kind: str, shared: Mapping[str, Any], /) -> dict[str, Any]: ...
    def read(self, config: Mapping[str, Any], where: object, names: Collection[str], /) -> ModelSpec: ...


_PUBLISHED: Mapping[type, _Family] = {
    DecoderSpec: decoders,
    EncoderSpec: encoders,
    EncoderDecoderSpec: encoder_decoders,
}
_LONGEST = 10_000_000  # of any size in a configuration: far above what is trained, far under what overflows


def published_architecture(spec: ModelSpec, head: HeadSpec | None = None) -> tuple[str, str]:
    """(model_type, ""): the published architecture that computes the same; or (one of `OURS`, why there is none).

    It is the one whose config.json gives the spec back; where none does, `why` says what the nearest has otherwise.
    """
    if isinstance(spec, NGramSpec):
        return NGRAM, "no published architecture is an n-gram model"
    if isinstance(spec, LinearSpec):
        return LINEAR, "no published architecture is a linear model of n-grams"
    if type(spec) not in _PUBLISHED:
        return OWN, f"no published architecture is a {spec.kind} model"
    departures = {kind: _departures(spec, kind) for kind in _PUBLISHED[type(spec)].candidates(spec)}
    kind = min(departures, key=lambda kind: len(departures[kind]))
    why = departures[kind]
    if not why and head is not None:
        why = heads.departures(kind, spec, head)
    if not why:
        return kind, ""
    return OWN, f"no published architecture computes this; the closest, {kind}, has {' and '.join(why)}"


def _departures(spec: ModelSpec, kind: str) -> list[str]:
    """What a published architecture has otherwise than the spec: nothing, where its config.json gives the spec back."""
    shared = _shared(spec, kind, 1, dtype="float32", end=0, pad=0, begin=0)
    parts = ["pooler.dense.weight"] if spec.pooler else []
    parts += ["final_logits_bias"] if getattr(spec, "output_bias", False) else []
    try:
        there, _ = read(shared | _PUBLISHED[type(spec)].write(spec, kind, shared), "", parts)
        return differences(computed(spec), computed(there))
    except TextmillError as error:
        return [f"no model such as this ({error})"]


def write(
    spec: ModelSpec,
    vocabulary: int,
    *,
    dtype: str,
    end: int,
    pad: int,
    begin: int | None = None,
    start: int | None = None,
    head: HeadSpec | None = None,
) -> dict[str, Any]:
    """The config.json of a model. `dtype` as PyTorch calls it, such as `float32`. The others are ids: end, pad, what a
    text begins with (if anything), and what a target begins with (of models that read a source)."""
    kind, _ = published_architecture(spec, head)
    config = _shared(spec, kind, vocabulary, dtype=dtype, end=end, pad=pad, begin=begin)
    if spec.kind in READ_AND_WRITE:
        config["decoder_start_token_id"] = start if spec.start is None else spec.start
    if kind not in OURS:
        config |= _PUBLISHED[type(spec)].write(spec, kind, config)
        return config if head is None else config | heads.write(kind, head)
    config |= {"max_position_embeddings": spec.context, "textmill": schema.write(spec)}
    return config if head is None else config | {heads.OWN_KEY: schema.write(head)}


def _shared(
    spec: ModelSpec, kind: str, vocabulary: int, *, dtype: str, end: int, pad: int, begin: int | None
) -> dict[str, Any]:
    """The fields that every architecture has."""
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
    return config if isinstance(spec, AtOnceSpec) else config | {"tie_word_embeddings": spec.tied}


def _architecture(spec: ModelSpec, kind: str) -> str:
    """The class of transformers that is the whole of a model without a head."""
    bare = isinstance(spec, EncoderSpec) and not spec.pooler
    return (encoders.UNPOOLED if bare else CLASSES).get(kind, "TextmillModel")


def normal(config: dict[str, Any], where: object) -> dict[str, Any]:
    """A config.json as that of the language model in it, which Gemma 3 with images keeps inside its own, and every key
    by its usual name.

    Raises DamagedError where there is none in it.
    """
    try:
        return with_usual_names(decoders.text_of(config))
    except (KeyError, TypeError) as error:
        raise DamagedError(f"holds no text_config ({error!r})", where=where) from error


def kind_of(config: Mapping[str, Any], where: object) -> str:
    """The architecture whose rules the weights beside a config.json follow: its model_type, or what that is a name of.

    Raises TextmillError where none is known.
    """
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


def is_body(config: Mapping[str, Any]) -> bool:
    """Whether a config.json says that the weights are those of a body alone."""
    named = config.get("architectures")
    return isinstance(named, list) and len(named) == 1 and named[0] in BODIES.values()


def _spec(config: Mapping[str, Any], where: object, names: Collection[str]) -> ModelSpec:
    kind = kind_of(config, where)
    if kind == NGRAM:
        return schema.read(NGramSpec, config["textmill"], str(where), "textmill")
    if kind == LINEAR:
        return schema.read(LinearSpec, config["textmill"], str(where), "textmill")
    if kind == OWN:
        ours = config["textmill"]
        family = ours.get("kind", "decoder")
        if family not in _OWN_SPECS:
            raise TextmillError(f"{family!r} is not a model family", where=where)
        return schema.read(_OWN_SPECS[family], ours, str(where), "textmill")
    family = next(family for family in _PUBLISHED.values() if kind in family.CLASSES)
    return family.read(config, where, names)


def _sane(spec: ModelSpec) -> None:
    """Raise ValueError for sizes no model has, on which building one would never end or overflow."""
    for name, value in schema.write(spec).items():
        if isinstance(value, int) and value > _LONGEST * (100 if name == "context" else 1):
            raise ValueError(f"{name} is {value}")
