"""What a directory says of how its model embeds a text, as sentence-transformers writes it.

modules.json                  Transformer, Pooling and perhaps Normalize, one after the other
1_Pooling/config.json         which states stand for the text
sentence_bert_config.json     how many tokens are read
config_sentence_transformers.json   texts put before a text, of which one may be usual
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface.stored import read_table

Pooling = Literal["first", "mean", "last", "max"]
_MODES: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
_NAMES: Mapping[str, Pooling] = {"cls": "first", "mean": "mean", "lasttoken": "last", "max": "max"}
_MODULES = ("Transformer", "Pooling", "Normalize")
_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")


@dataclass(frozen=True)
class Sentences:
    """How a text becomes one vector. `tokens`: at most so many are read, with what the tokenizer puts around them."""

    pooling: Pooling = "mean"
    normalised: bool = True
    tokens: int | None = None
    before: str = ""  # put before each text


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
    pooling: Pooling = "mean"
    for module, kind in zip(modules, kinds, strict=True):
        if kind == "Pooling":
            name = str(module.get("path", ""))
            if Path(name).name != name or name in ("", ".", ".."):
                raise DamagedError(f"names {name!r}, outside its directory", where=directory / "modules.json")
            pooling = _pooling(directory / name / "config.json")
    return Sentences(pooling, "Normalize" in kinds, _tokens(directory), _before(directory))


def files(directory: Path) -> dict[str, str]:
    """These files by name, for who writes the model anew."""
    names = [name for name in _FILES if (directory / name).is_file()]
    names += [f"{path.parent.name}/config.json" for path in sorted(directory.glob("*_Pooling/config.json"))]
    return {name: (directory / name).read_text(encoding="utf-8") for name in names}


def _modules(path: Path) -> list[Mapping[str, Any]]:
    modules = read_table(path, kind=list)
    if not all(isinstance(module, dict) for module in modules):
        raise DamagedError("is no list of modules", where=path)
    return modules


def _pooling(path: Path) -> Pooling:
    config = read_table(path)
    named = config.get("pooling_mode")
    chosen = [mode for key, mode in _MODES.items() if config.get(key)]
    others = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    if not others and named in _NAMES:
        return _NAMES[named]
    if len(chosen) != 1 or len(others) != 1:
        shown = ", ".join(others) or repr(named)
        raise TextmillError(f"asks for the pooling {shown}, which is not supported", where=path)
    return chosen[0]


def _tokens(directory: Path) -> int | None:
    path = directory / "sentence_bert_config.json"
    tokens = read_table(path).get("max_seq_length") if path.is_file() else None
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise DamagedError(f"max_seq_length is {tokens!r}", where=path)
    return tokens


def _before(directory: Path) -> str:
    path = directory / "config_sentence_transformers.json"
    config = read_table(path) if path.is_file() else {}
    prompts = config.get("prompts")
    prompt = prompts.get(config.get("default_prompt_name"), "") if isinstance(prompts, dict) else ""
    return prompt if isinstance(prompt, str) else ""
