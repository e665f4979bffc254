"""The standard directory, out and in: one directory is the model (DESIGN §4).

Whoever reads Hugging Face directories reads this one, where a published architecture computes what the model does;
where none does, `config.json` says `model_type: textmill`, and `textmill.json` says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

import textmill
from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import atomic_directory, read_json, write_json, write_texts
from textmill.interop.huggingface import config as configuration
from textmill.interop.huggingface import generation as generations
from textmill.interop.huggingface import mixtures, sentences, texts, weights
from textmill.interop.huggingface.configs import heads
from textmill.interop.huggingface.stored import WEIGHTS, Stored, opened, read_table
from textmill.models import build
from textmill.models.encoder import Encoder
from textmill.models.heads import Headed
from textmill.models.mixture import Mixture
from textmill.models.model import Form, Model, as_it_is
from textmill.models.output import NoOutput
from textmill.models.pretrained import Pretrained, check_vocabulary
from textmill.nn.eight_bits import holding
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import HeadSpec
from textmill.specs.model import AtOnceSpec, EncoderDecoderSpec, ModelSpec, computed
from textmill.tokenization import load
from textmill.tokenization.chat.template import read_template
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.tokenizer import Tokenizer

FORMAT = 1  # of textmill.json


def is_published(config: Mapping[str, Any]) -> bool:
    """Whether a config.json names a published architecture: one that transformers has."""
    return config.get("model_type") not in (*configuration.OURS, mixtures.MODEL_TYPE)


def write_directory(
    directory: Path | str,
    model: Model,
    tokenizer: AnyTokenizer,
    generation: GenerationSpec,
    info: Mapping[str, Any],
    *,
    extra: Mapping[str, str] | None = None,
    template: str | None = None,
) -> dict[str, Any]:
    """Write the standard directory, whole or not at all; an older one of that name is replaced.

    Args:
        model: its weights are written in the dtype they have; tied ones once.
        generation: the defaults published with it.
        info: plain data kept in textmill.json: objective, lineage, figures.
        extra: other text files to put beside, by name, such as README.md.
        template: of conversations, in Jinja.

    Returns the contents of textmill.json; `architecture` is the published one, or None with `reason`. Beside them
    `notes` say, for a person, what of the defaults transformers has no words for.
    """
    spec, head, vocabulary = model.spec, head_of(model), model.vocabulary
    assert isinstance(spec, ModelSpec)
    assert isinstance(vocabulary, int)
    kind, reason = configuration.published_architecture(spec, head)
    about = {
        "format": FORMAT,
        "textmill": textmill.__version__,
        "objective": info.get("objective"),
        "model": schema.write(spec),
        "head": None if head is None else schema.write(head),
        "vocabulary": vocabulary,
        "architecture": None if kind in configuration.OURS else kind,
        "reason": reason or None,
        "generation": schema.write(generation),
        "info": dict(info),
    }
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    reading = texts.reading_of(model, tokenizer)
    config = configuration.write(
        spec,
        vocabulary,
        dtype=dtype,
        end=tokenizer.end,
        pad=tokenizer.pad,
        begin=reading.begin,
        start=tokenizer.start,
        head=head,
    )
    if model.bare:
        config["architectures"] = [configuration.BODIES.get(kind, config["architectures"][0])]
    with atomic_directory(Path(directory), private=False) as partial:
        save_file(
            weights.published(kind, spec, model.state_dict(), config, head),
            partial / WEIGHTS,
            metadata={"format": "pt"},
        )
        write_json(partial / "config.json", config)
        write_json(
            partial / generations.NAME, generations.write_generation(generation, config, tokenizer.ends)
        )
        tokenizer.publish(partial, reading)
        write_json(partial / "textmill.json", about)
        named = {"chat_template.jinja": template} if template is not None else {}
        write_texts(partial, named | dict(extra or {}))
    unsaid = generations.unsaid(generation, config)
    note = f"{generations.NAME} cannot express {', '.join(unsaid)}: only textmill.json holds it"
    return about | {"notes": [note] if unsaid else []}


def write(directory: Path | str, pretrained: Pretrained) -> dict[str, Any]:
    """`write_directory` of a model and all that came with it."""
    return write_directory(
        directory,
        pretrained.model,
        pretrained.tokenizer,
        pretrained.generation,
        pretrained.info,
        template=pretrained.template,
        extra=pretrained.beside,
    )


def head_of(model: nn.Module) -> HeadSpec | None:
    """What stands on a model in place of its output layer."""
    return model.head.spec if isinstance(model, Headed) else None


def read_directory(
    directory: Path | str, dtype: torch.dtype | None = torch.float32, form: Form = as_it_is
) -> Pretrained:
    """Load a standard directory: ours, or one of `configuration.READ` that others wrote. Code that lies beside the
    weights is never run: what a model_type computes is written here.

    Weights are mapped from the file and copied only where dtype or layout asks for it. dtype, form: see
    `interop.load.load`.

    Raises DamagedError when a file is missing, cut short, or does not belong to the others, and TextmillError
    when the architecture is not supported or the weights are a pickle.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise TextmillError("is not a directory", where=directory, advice="give a model's directory")
    where = directory / "config.json"
    config = read_table(where)
    if config.get("model_type") == mixtures.MODEL_TYPE:
        return _mixture(directory, dtype, form)
    config = configuration.normal(config, where)
    kind = configuration.kind_of(config, where)
    about = read_table(directory / "textmill.json") if (directory / "textmill.json").exists() else {}
    with opened(directory) as stored:
        spec, vocabulary = configuration.read(config, where, stored.entries)
        head = configuration.read_head(config, where)
        if about:
            spec, head = _own_specs(about, spec, head, directory / "textmill.json")
        elif head is None and weights.apart(kind, spec, stored):
            spec = dataclasses.replace(spec, tied=False)  # type: ignore
        if (
            head is not None
            and kind not in configuration.OURS
            and (why := heads.departures(kind, spec, head))
        ):
            raise TextmillError(
                f"{kind} models differ from this one in: {' and '.join(why)}",
                where=where,
                advice="choose another model",
            )
        model = _empty(spec, vocabulary, head, stored, where)
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        body = configuration.is_body(config)
        plan = weights.plan_of(kind, spec, shapes, stored, config=config, head=head, body=body)
        words = load.load(directory)
        check_vocabulary(words, vocabulary, directory)
        for part in dict.fromkeys(name.split(".")[0] for name in plan.missing):
            nothing = NoOutput() if part == "output" and not isinstance(model, Encoder) else None
            setattr(model, part, nothing)
        if dtype is not None:
            model = form(model)
            state = weights.ours(plan, stored, config=config, dtype=dtype, held=holding(model))
            model.load_state_dict(state, assign=True)
    return Pretrained(
        model=model.eval(),
        tokenizer=words,
        spec=spec,
        generation=_read_generation(directory, about, config),
        info=about.get("info", {}),
        template=_template(directory),
        beside=sentences.files(directory),
        missing=plan.missing,
        ignored=plan.ignored,
        unfollowed=() if "generation" in about else generations.unfollowed(directory, config),
    )


def _empty(spec: ModelSpec, vocabulary: int, head: HeadSpec | None, stored: Stored, where: Path) -> Model:
    """The model without storage. Raises DamagedError where it would have more blocks than there are tensors, or sizes
    that cannot be."""
    blocks = 0 if isinstance(spec, AtOnceSpec) else spec.layers
    blocks += spec.decoder_depth if isinstance(spec, EncoderDecoderSpec) else 0
    if blocks > len(stored.entries):
        raise DamagedError(f"asks for {blocks} blocks; there are {len(stored.entries)} tensors", where=where)
    try:
        return build.empty(spec, vocabulary, head)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise DamagedError(f"asks for sizes no model has ({str(error)[:200]})", where=where) from error


def _template(directory: Path) -> str | None:
    """The chat template: a file of its own, or a text in tokenizer_config.json (of several, the default)."""
    found = read_template(directory)
    return None if found is None else found.source


def _mixture(directory: Path, dtype: torch.dtype | None, form: Form) -> Pretrained:
    """A mixture, its parts read from where they are."""
    parts = [read_directory(part, dtype, form) for part in mixtures.parts_of(directory)]
    model = Mixture([part.model for part in parts], mixtures.gate_of(directory))
    about = read_json(directory / "textmill.json")
    return Pretrained(
        model=model.eval(),
        tokenizer=Tokenizer.load(directory / "tokenizer.json"),
        spec=model.spec,
        generation=_read_generation(directory, about, {}),
        info=about.get("info", {}),
    )


def _own_specs(
    about: Mapping[str, Any], configured: ModelSpec, head: HeadSpec | None, where: Path
) -> tuple[ModelSpec, HeadSpec | None]:
    """Our own specs say more than config.json can (dropout, µP); they must agree on what can be computed."""
    try:
        spec = schema.read(type(configured), about["model"], str(where), "model")
        own = None if head is None else schema.read(type(head), about["head"], str(where), "head")
    except (KeyError, TypeError) as error:
        raise DamagedError(f"holds no model ({error})", where=where) from error
    if head is not None and own is not None:
        head = dataclasses.replace(head, dropout=own.dropout)  # which no logit depends on
    here, there = (
        computed(model) | {"pooler": None} for model in (spec, configured)
    )  # a head that reads none leaves it out
    if here != there or own != head:
        raise DamagedError(
            "describes another model than config.json does", where=where, advice="publish the model again"
        )
    return spec, own


def _read_generation(directory: Path, about: Mapping[str, Any], config: Mapping[str, Any]) -> GenerationSpec:
    """Our own file says all of it."""
    if "generation" not in about:
        return generations.read_generation(directory, config)
    return schema.read(GenerationSpec, about["generation"], str(directory / "textmill.json"), "generation")
