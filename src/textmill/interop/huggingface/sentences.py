"""What a directory says of how its model embeds a text, as sentence-transformers writes it.

modules.json                  Transformer, Pooling and perhaps Normalize, one after the other
1_Pooling/config.json         which states stand for the text, and whether those of a text put before it are among them
sentence_bert_config.json     how many tokens are read, and whether letters are made small; also under other names
config_sentence_transformers.json   texts put before a text, of which one may be usual
tokenizer_config.json         how many tokens are read, where none of these says so
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface.stored import read_table
from textmill.models.sentences import Pooling, Sentences

_MODES: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
_NAMES: Mapping[str, Pooling] = {"cls": "first", "mean": "mean", "lasttoken": "last", "max": "max"}
_FOLDER = "1_Pooling"
_MODULES = ("Transformer", "Pooling", "Normalize")
_MODELS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
_TRANSFORMER = tuple(f"sentence_{name}_config.json" for name in _MODELS)  # the first there is counts
_FILES = ("modules.json", *_TRANSFORMER, "config_sentence_transformers.json")
# Of how texts are read: what is followed, what changes no vector, and what else is only followed where it is left out.
_FOLLOWED = ("max_seq_length", "do_lower_case")
_IDLE = (
    "unpad_inputs",
    "transformer_task",
    "modality_config",
    "module_output_name",
    "config_args",
    "cache_dir",
)
_IDLE += ("query_length", "document_length", "backend", "model_name_or_path", "tokenizer_name_or_path")
_LOADING = {"torch_dtype", "dtype", "attn_implementation", "device_map", "padding_side", "use_fast", "text"}


def settings(directory: Path) -> Sentences | None:
    """What a directory says; None where it says nothing.

    Raises DamagedError where it says it wrongly, and TextmillError where it asks for what is not supported.
    """
    if not (directory / "modules.json").is_file():
        return None
    modules = _modules(directory / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    unknown = [kind for kind in kinds if kind not in _MODULES]
    if unknown:
        raise TextmillError(
            f"asks for a layer of the kind {unknown[0]!r} after the model", where=directory / "modules.json"
        )
    pooled = Sentences()
    for module, kind in zip(modules, kinds, strict=True):
        if kind == "Pooling":
            name = str(module.get("path", ""))
            if Path(name).name != name or name in ("", ".", ".."):
                raise DamagedError(f"names {name!r}, outside its directory", where=directory / "modules.json")
            pooled = _pooling(directory / name / "config.json")
    tokens, lower = _transformer(directory)
    return replace(
        pooled, normalised="Normalize" in kinds, tokens=tokens, lower=lower, before=_before(directory)
    )


def files(directory: Path) -> dict[str, str]:
    """These files by name, for who writes the model anew, in whatever format."""
    names = [name for name in _FILES if (directory / name).is_file()]
    names += [f"{path.parent.name}/config.json" for path in sorted(directory.glob("*_Pooling/config.json"))]
    return {name: (directory / name).read_text(encoding="utf-8") for name in names}


def written(how: Sentences, width: int) -> dict[str, str]:
    """The same files of a model trained here, by name: how its states, `width` numbers each, become vectors."""
    steps = [
        ("", "Transformer"),
        (_FOLDER, "Pooling"),
        *([("2_Normalize", "Normalize")] if how.normalised else []),
    ]
    kind = "sentence_transformers.models"
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{kind}.{name}"}
        for number, (path, name) in enumerate(steps)
    ]
    pooling = {key: mode == how.pooling for key, mode in _MODES.items()}
    made = {
        "modules.json": modules,
        f"{_FOLDER}/config.json": {"word_embedding_dimension": width, **pooling, "include_prompt": True},
        "sentence_bert_config.json": {"max_seq_length": how.tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine" if how.normalised else "dot",
        },
    }
    return {name: json.dumps(data, indent=2) + "\n" for name, data in made.items()}


def _modules(path: Path) -> list[Mapping[str, Any]]:
    modules = read_table(path, kind=list)
    if not all(isinstance(module, dict) for module in modules):
        raise DamagedError("is not a list of modules", where=path)
    return modules


def _pooling(path: Path) -> Sentences:
    config = read_table(path)
    named = config.get("pooling_mode")
    if isinstance(named, list) and len(named) == 1:
        named = named[0]
    chosen = [mode for key, mode in _MODES.items() if config.get(key)]
    others = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    if not others and isinstance(named, str) and named in _NAMES:
        chosen = [_NAMES[named]]
    elif len(chosen) != 1 or len(others) != 1:
        shown = ", ".join(others) or repr(named)
        raise TextmillError(f"asks for the pooling {shown}, which is not supported", where=path)
    return Sentences(chosen[0], pools_before=config.get("include_prompt") is not False)


def _transformer(directory: Path) -> tuple[int | None, bool]:
    """How many tokens are read, if it is said; and whether letters are made small."""
    path = next((directory / name for name in _TRANSFORMER if (directory / name).is_file()), None)
    config = {} if path is None else read_table(path)
    for key, value in config.items():
        if value and key not in (*_FOLLOWED, *_IDLE) and not _is_idle(key, value):
            raise TextmillError(f"{key} = {value!r} is not supported"[:200], where=path)
    if config.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise TextmillError(f"transformer_task = {config['transformer_task']!r} is not supported", where=path)
    lower, tokens = config.get("do_lower_case", False), config.get("max_seq_length")
    if not isinstance(lower, bool):
        raise DamagedError(f"do_lower_case is {lower!r}", where=path)
    if tokens is None:
        beside = directory / "tokenizer_config.json"
        said = read_table(beside).get("model_max_length") if beside.is_file() else None
        return (said if type(said) is int and said > 0 else None), lower
    if type(tokens) is not int or tokens < 1:
        raise DamagedError(f"max_seq_length is {tokens!r}", where=path)
    return tokens, lower


def _is_idle(key: str, value: Any) -> bool:
    """Whether arguments for loading a model or its tokenizer say nothing of what they compute."""
    loading = key in ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "processing_kwargs")
    return loading and isinstance(value, dict) and set(value) <= _LOADING


def _before(directory: Path) -> str:
    path = directory / "config_sentence_transformers.json"
    config = read_table(path) if path.is_file() else {}
    prompts, name = config.get("prompts"), config.get("default_prompt_name")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise DamagedError(f"default_prompt_name is {name!r}, and there is no such prompt", where=path)
    return prompt
