"""An adapter in PEFT's layout, out and in: adapter_config.json, adapter_model.safetensors and our textmill.json.

Layers are called what transformers calls them. Ours are wider (queries, keys and values are one matrix); which rows of
ours one of theirs is, the rules of weights say (rules/). What no published architecture is, is written under our names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

import textmill
from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.base.files import atomic_directory, write_json, write_texts
from textmill.interop.huggingface import config as configuration
from textmill.interop.huggingface import texts
from textmill.interop.huggingface.peft import lora, prompting, virtual
from textmill.interop.huggingface.peft.about import (
    CONFIG,
    OURS,
    WEIGHTS,
    About,
    Base,
    head_of,
    is_adapter,
    read_about,
    spec_of,
)
from textmill.models import adapters
from textmill.models.heads import attach
from textmill.models.model import Model
from textmill.models.pretrained import Adapter, Pretrained
from textmill.nn.shared import shared
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import HeadSpec
from textmill.specs.tuning import PromptingTuning, TuningSpec

FORMAT = 1  # of our file
_TASKS = {"classify": "SEQ_CLS", "regress": "SEQ_CLS", "tag": "TOKEN_CLS", "answer": "QUESTION_ANS"}


def write(
    directory: Path | str,
    model: Model,
    tuning: TuningSpec,
    base: Base,
    *,
    info: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the adapter of an adapted model, whole or not at all; an older one of that name is replaced.

    Returns the contents of textmill.json. Raises TextmillError for an adapter that PEFT's layout cannot say.
    """
    head = head_of(model)
    kind, reason = configuration.published_architecture(spec_of(model), head)
    own = kind in configuration.OURS or isinstance(tuning, PromptingTuning)
    stored, config = _WRITERS[tuning.kind](model, tuning)
    about = {
        "format": FORMAT,
        "textmill": textmill.__version__,
        "tuning": schema.write(tuning),
        "base": {"name": base.name, "weights": base.weights, "content": base.content},
        "head": None if head is None else schema.write(head),
        "architecture": None if own else kind,
        "reason": reason or None,
        "info": dict(info or {}),
        "generation": dict(generation or {}),
    }
    shared = {
        "base_model_name_or_path": base.name,
        "task_type": _task(model, head),
        "inference_mode": True,
        "revision": None,
        "auto_mapping": None,
    }
    with atomic_directory(Path(directory), private=False) as partial:
        save_file(stored, partial / WEIGHTS, metadata={"format": "pt"})
        write_json(partial / CONFIG, shared | config)
        write_json(partial / OURS, about)
        write_texts(partial, dict(extra or {}))
    return about


def read(about: About | Path | str, base: Model, *, weights: str | None = None) -> Model:
    """A base with the adapter of a directory beside it: its modules again, over the same tensors. `base` is left as it
    was, so several adapters may stand on it.

    weights: the base's id, where it is known already; else it is worked out where the adapter names one.
    Raises TextmillError for another base than the adapter was trained on, and for settings that are not supported;
    DamagedError, naming it, for a tensor that is missing, one too many, or of another shape.
    """
    if not isinstance(about, About):
        about = read_about(about)
    _check_base(about, base, weights)
    if about.tuning.base == "int8":
        base = adapters.rounded(base)
    if about.head is not None:
        base = attach(
            shared(adapters.body_of(base)[1]), about.head
        )  # a head takes away from its body what it replaces
    return _READERS[about.config["peft_type"]](about, base).eval()


def _check_base(about: About, base: Model, weights: str | None = None) -> None:
    if about.base.weights and (found := weights or adapters.weights_id(base)) != about.base.weights:
        raise TextmillError(
            f"was trained on other weights: its base is {about.base.name} ({about.base.weights[:12]}), "
            f"and this one has the id {found[:12]}",
            where=about.path,
            advice="give it its own base; where that was trained on or changed since, train the adapter again",
        )


def write_pretrained(directory: Path | str, pretrained: Pretrained) -> dict[str, Any]:
    """`write` of an adapter and all that came with it, its tokenizer too, as a model's directory has it: so whatever
    loads models by their directory finds what it needs, but for the base."""
    adapter, model = pretrained.adapter, pretrained.model
    assert adapter is not None
    base = Base(adapter.name, adapter.weights, adapter.content)
    with atomic_directory(Path(directory), private=False) as partial:
        about = write(
            partial / "adapter",
            model,
            adapter.tuning,
            base,
            info=pretrained.info,
            generation=schema.write(pretrained.generation),
            extra=pretrained.beside,
        )
        for path in (partial / "adapter").iterdir():
            path.rename(partial / path.name)
        (partial / "adapter").rmdir()
        pretrained.tokenizer.publish(partial, texts.reading_of(model, pretrained.tokenizer))
        if pretrained.template is not None:
            write_texts(partial, {"chat_template.jinja": pretrained.template})
    return about


def load(directory: Path | str, base: Pretrained, *, weights: str | None = None) -> Pretrained:
    """The adapter of a directory beside its base, which is left as it was; weights and errors as in `read`."""
    about = read_about(directory)
    if isinstance(about.tuning, PromptingTuning):  # it is text, so it asks for the base's tokenizer
        _check_base(about, base.model, weights)
        model: Model = prompting.read(about, base)
    else:
        model = read(about, base.model, weights=weights)
    unknown = f"{about.path.name} does not say what its base's weights are: it is taken to belong to this one"
    generation = base.generation
    if about.generation:
        generation = schema.read(GenerationSpec, about.generation, str(about.path / OURS), "generation")
    return dataclasses.replace(
        base,
        model=model,
        spec=model.spec,
        generation=generation,
        info=about.info,
        adapter=Adapter(about.tuning, base, *dataclasses.astuple(about.base)),
        warnings=(*base.warnings, *(() if about.base.weights else (unknown,))),
    )


def _task(model: Model, head: HeadSpec | None) -> str | None:
    if head is not None:
        return _TASKS[head.kind]
    kinds = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}
    return kinds.get(model.spec.kind)


_WRITERS = {
    "lora": lora.write,
    "prompt": virtual.write_prompt,
    "prefix": virtual.write_prefix,
    "prompting": prompting.write,
}
_READERS = {"LORA": lora.read, "PROMPT_TUNING": virtual.read_prompt, "PREFIX_TUNING": virtual.read_prefix}
__all__ = [
    "CONFIG",
    "OURS",
    "WEIGHTS",
    "About",
    "Base",
    "is_adapter",
    "load",
    "read",
    "read_about",
    "write",
    "write_pretrained",
]
