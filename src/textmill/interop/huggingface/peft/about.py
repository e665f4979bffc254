"""What an adapter's directory says of it, before any tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import load_file
from torch import Tensor

from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface import headers
from textmill.interop.huggingface.stored import read_table
from textmill.models.heads import Headed
from textmill.models.model import Model
from textmill.models.virtual import Virtual
from textmill.specs.head import HeadSpec
from textmill.specs.tuning import (
    LINEAR,
    LoRATuning,
    PrefixTuning,
    PromptingTuning,
    PromptTuning,
    TuningSpec,
)

CONFIG, WEIGHTS, OURS = "adapter_config.json", "adapter_model.safetensors", "textmill.json"
KINDS = {  # peft_type; the last is ours, which PEFT does not know
    "LORA": LoRATuning,
    "PROMPT_TUNING": PromptTuning,
    "PREFIX_TUNING": PrefixTuning,
    "PROMPTING": PromptingTuning,
}


@dataclass(frozen=True)
class Base:
    """What an adapter stands on: what it is called, and the ids of its weights (`models.adapters.weights_id`) and
    of its files; empty where they are not known."""

    name: str
    weights: str
    content: str = ""


@dataclass(frozen=True)
class About:
    """What an adapter's directory says of it, before any tensor is read."""

    path: Path
    config: Mapping[str, Any]
    base: Base
    tuning: TuningSpec
    head: HeadSpec | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter."""
    return (directory / CONFIG).is_file()


def read_about(directory: Path | str) -> About:
    """What an adapter says of itself. Raises TextmillError for a kind that is not supported, DamagedError when a file
    is missing or unreadable."""
    path = Path(directory)
    config = read_table(path / CONFIG)
    kind = config.get("peft_type")
    if kind not in KINDS:
        raise TextmillError(
            f"peft_type {kind!r} is not supported",
            where=path / CONFIG,
            advice=f"there is {', '.join(KINDS)}",
        )
    named = str(config.get("base_model_name_or_path") or "")
    if not (path / OURS).is_file():
        return About(path, config, Base(named, ""), _assumed(kind, config, path / CONFIG))
    table = read_table(path / OURS)
    try:
        specs = {schema.kind_of(each): each for each in KINDS.values()}
        tuning = table["tuning"]
        spec = schema.read(specs[tuning["kind"]], tuning, str(path / OURS), "tuning")
        head = _read_head(table["head"], path / OURS)
        base = Base(*(str(table["base"][name]) for name in ("name", "weights", "content")))
    except (KeyError, TypeError) as error:
        raise DamagedError(f"does not describe an adapter ({error!r})", where=path / OURS) from error
    return About(path, config, base, spec, head, table.get("info", {}), table.get("generation", {}))


def _assumed(kind: str, config: Mapping[str, Any], where: Path) -> TuningSpec:
    """How another program's adapter was made, as far as its configuration says it."""
    try:
        if kind != "LORA":
            tokens = int(config["num_virtual_tokens"])
            return PromptTuning(tokens=tokens) if kind == "PROMPT_TUNING" else PrefixTuning(tokens=tokens)
        targets = config.get("target_modules")
        return LoRATuning(
            rank=int(config["r"]),
            alpha=float(config["lora_alpha"]),
            dropout=float(config.get("lora_dropout", 0.0)),
            targets=tuple(map(str, targets)) if isinstance(targets, list) and targets else (LINEAR,),
            rslora=bool(config.get("use_rslora", False)),
            dora=bool(config.get("use_dora", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"does not describe an adapter ({error!r})", where=where) from error


def _read_head(plain: Any, where: Path) -> HeadSpec | None:
    if plain is None:
        return None
    specs = {schema.kind_of(each): each for each in get_args(HeadSpec)}
    return schema.read(specs[plain["kind"]], plain, str(where), "head")


def load_tensors(path: Path) -> dict[str, Tensor]:
    headers.read(path / WEIGHTS)  # raises where it is missing or cut short
    return load_file(path / WEIGHTS)


def spec_of(model: Model) -> Any:
    return model.body.spec if isinstance(model, Virtual) else model.spec


def head_of(model: Model) -> HeadSpec | None:
    return model.head.spec if isinstance(model, Headed) else None
