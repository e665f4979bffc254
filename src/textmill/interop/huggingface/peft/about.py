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
from textmill.specs.tuning import LoRATuning, PrefixTuning, PromptTuning, TuningSpec

CONFIG, WEIGHTS, OURS = "adapter_config.json", "adapter_model.safetensors", "textmill.json"
KINDS = {"LORA": LoRATuning, "PROMPT_TUNING": PromptTuning, "PREFIX_TUNING": PrefixTuning}  # peft_type


@dataclass(frozen=True)
class Base:
    """What an adapter stands on: what it is called, and the id of its weights (`models.adapters.weights_id`)."""

    name: str
    weights: str


@dataclass(frozen=True)
class About:
    """What an adapter's directory says of it, before any tensor is read."""

    path: Path
    config: Mapping[str, Any]
    base: Base  # of others' adapters the weights are not known: ""
    tuning: TuningSpec | None = None  # None: another program's, and its config is all there is
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
        return About(path, config, Base(named, ""))
    table = read_table(path / OURS)
    try:
        specs = {schema.kind_of(each): each for each in KINDS.values()}
        tuning = table["tuning"]
        spec = schema.read(specs[tuning["kind"]], tuning, str(path / OURS), "tuning")
        head = _read_head(table["head"], path / OURS)
        base = Base(str(table["base"]["name"]), str(table["base"]["weights"]))
    except (KeyError, TypeError) as error:
        raise DamagedError(f"is not what is known of an adapter ({error!r})", where=path / OURS) from error
    return About(path, config, base, spec, head, table.get("info", {}), table.get("generation", {}))


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
