"""Low-rank additions in PEFT's layout.

    base_model.model.LAYER.lora_A.weight (R, I), .lora_B.weight (O, R), .lora_magnitude_vector (O,)
    base_model.model.EMBEDDING.lora_embedding_A (R, V), .lora_embedding_B (D, R); a trained head by its own names

Shapes: R rank, I inputs, O outputs, V vocabulary, D features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.additions import Published, published
from textmill.interop.huggingface import config as configuration
from textmill.interop.huggingface.peft.about import CONFIG, WEIGHTS, About, load_tensors, spec_of
from textmill.interop.huggingface.peft.layers import modules_of, spellings_of
from textmill.interop.huggingface.weights import rules_of
from textmill.models import adapters
from textmill.models.adapters import Addition, Site
from textmill.models.heads import Headed
from textmill.models.model import Model
from textmill.nn.low_rank import WHOLE
from textmill.specs.tuning import LoRATuning, TuningSpec

_BEFORE = "base_model.model."
_PARTS = {  # ends of names: the tensor of ours
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
# Settings that change what is computed, and the values under which they do not.
_WITHOUT: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "lora_bias": (False,),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "use_qalora": (False,),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}


def write(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert isinstance(tuning, LoRATuning)
    modules = modules_of(model)
    additions = published(model, modules)
    stored: dict[str, Tensor] = {}
    for name, low in additions.items():
        ends = (
            (".lora_embedding_A", ".lora_embedding_B")
            if low.embedding
            else (".lora_A.weight", ".lora_B.weight")
        )
        for end, tensor in zip(ends, (low.a, low.b), strict=True):
            stored[_BEFORE + name + end] = tensor.detach().clone(memory_format=torch.contiguous_format)
        if low.magnitude is not None:
            stored[f"{_BEFORE}{name}.lora_magnitude_vector"] = low.magnitude.detach().clone()
    heads = _head_tensors(model)
    stored |= {_BEFORE + name: tensor for name, tensor in heads.items()}
    ranks = {name: low.rank for name, low in additions.items()}
    root = math.sqrt if tuning.rslora else float
    alphas = {name: low.scale * root(low.rank) for name, low in additions.items()}
    rank, alpha = tuning.rank, tuning.alpha
    return stored, {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": tuning.dropout,
        "target_modules": _targets(additions, modules),
        "use_rslora": tuning.rslora,
        "use_dora": tuning.dora,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": sorted({name.split(".")[0] for name in heads}) or None,
        "rank_pattern": {re.escape(name): each for name, each in ranks.items() if each != rank},
        "alpha_pattern": {
            re.escape(name): each
            for name, each in alphas.items()
            if not math.isclose(each, alpha, rel_tol=1e-9)
        },
    }


def _targets(additions: Mapping[str, Published], modules: Mapping[str, list[Site]]) -> list[str]:
    """PEFT's target_modules: what layers are called within their block where that means just them, else whole names."""
    ends: dict[str, list[str]] = {}
    for name in additions:
        ends.setdefault(re.split(r"\.\d+\.", name)[-1], []).append(name)
    targets = []
    for end, names in ends.items():
        short = next(
            (
                part
                for part in (end.rpartition(".")[2], end)
                if {each for each in modules if each == part or each.endswith("." + part)} <= additions.keys()
            ),
            None,
        )
        targets += names if short is None else [short]
    return sorted(set(targets))


def _head_tensors(model: Model) -> dict[str, Tensor]:
    """A trained head under its published names."""
    if not isinstance(model, Headed):
        return {}
    spec, head = spec_of(model), model.head.spec
    kind, _ = configuration.published_architecture(spec, head)
    held = {f"head.{name}": tensor for name, tensor in model.head.state_dict().items()}
    result: dict[str, Tensor] = {}
    for rule in rules_of(kind, spec, held, head):
        result |= rule.publish(spec, held[rule.ours], {})
    return result


def read(about: About, base: Model) -> Model:
    config, where = about.config, about.path / CONFIG
    for key, usual in _WITHOUT.items():
        if config.get(key, usual[0]) not in usual:
            raise TextmillError(f"{key} = {config[key]!r} is not supported", where=where)
    stored = load_tensors(about.path)
    modules = modules_of(base)
    known = {
        spelling.removesuffix(".weight"): name
        for name in modules
        for spelling in spellings_of(base, name + ".weight")
    }
    parts: dict[str, dict[str, Tensor]] = {}
    left = dict(stored)
    for key, tensor in stored.items():
        end = next((end for end in _PARTS if key.endswith(end)), None)
        name = None if end is None else known.get(key.removeprefix(_BEFORE).removesuffix(end))
        if end is not None and name is not None:
            parts.setdefault(name, {})[_PARTS[end]] = tensor
            del left[key]
    _check_expected(about, modules, parts)
    given: dict[str, Tensor] = {}
    additions: list[Addition] = []
    for name, tensors in parts.items():
        addition = _addition(about, name, modules[name], tensors)
        additions.append(addition)
        place = f"{addition.site.path}.additions.{addition.site.section}."
        given |= {place + part: tensor.float() for part, tensor in tensors.items()}
    assert isinstance(about.tuning, LoRATuning)
    dropout = about.tuning.dropout
    model = adapters.attached(base, additions, dropout=dropout)
    given |= _take_head(about, model, left)
    _check_left(about, base, left)
    return adapters.load(model, given, about.path / WEIGHTS)


def _addition(about: About, name: str, held: list[Site], tensors: Mapping[str, Tensor]) -> Addition:
    where, config = about.path / WEIGHTS, about.config
    dora = bool(config.get("use_dora", False))
    for part in ("a", "b", *(("magnitude",) if dora else ())):
        if part not in tensors:
            raise DamagedError(
                f"holds no {_spelt(name, part)}",
                where=where,
                advice="the file is incomplete; fetch or publish it again",
            )
    if "magnitude" in tensors and not dora:
        raise DamagedError(f"holds magnitudes of {name}, and {CONFIG} says that there are none", where=where)
    rank = tensors["a"].shape[0]
    asked = int(_pattern(config.get("rank_pattern"), name, config.get("r", 8)))
    if rank != asked or tensors["b"].shape[-1] != rank:
        raise DamagedError(
            f"{_spelt(name, 'a')} has the rank {rank}, and {CONFIG} asks for {asked}",
            where=where,
            advice="the configuration and the weights belong to different adapters; fetch both again",
        )
    alpha = float(_pattern(config.get("alpha_pattern"), name, config.get("lora_alpha", 8)))
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    sections = [site for site in held if site.section != WHOLE]
    one = len(sections) == 1
    return Addition(sections[0] if one else Site(held[0].path), rank, scale, dora)


def _spelt(name: str, part: str) -> str:
    ends = {"a": ".lora_A.weight", "b": ".lora_B.weight", "magnitude": ".lora_magnitude_vector"}
    return _BEFORE + name + ends[part]


def _pattern(patterns: Any, name: str, usual: Any) -> Any:
    """What a table of patterns says of a layer, as PEFT reads it: the first whose expression ends the name."""
    for pattern, value in (patterns or {}).items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", name):
                return value
        except re.error:
            continue
    return usual


def _check_expected(about: About, modules: Iterable[str], found: Mapping[str, object]) -> None:
    """Whether every layer that the configuration names has its tensors."""
    targets, config = about.config.get("target_modules"), about.config
    if (
        not isinstance(targets, list)
        or config.get("layers_to_transform") is not None
        or config.get("exclude_modules")
    ):
        return
    for name in modules:
        meant = any(name == target or name.endswith(f".{target}") for target in targets)
        if meant and name not in found:
            raise DamagedError(
                f"holds no {_spelt(name, 'a')}",
                where=about.path / WEIGHTS,
                advice="the file is incomplete; fetch or publish it again",
            )


def _take_head(about: About, model: Model, left: dict[str, Tensor]) -> dict[str, Tensor]:
    """A trained head under our names, taken out of what is left."""
    if not isinstance(model, Headed):
        return {}
    spec, head = spec_of(model), model.head.spec
    kind, _ = configuration.published_architecture(spec, head)
    shapes = {f"head.{name}": tensor.shape for name, tensor in model.head.state_dict().items()}
    taken = {}
    for rule in rules_of(kind, spec, shapes, head):
        parts = []
        for name in rule.theirs:
            if _BEFORE + name not in left:
                raise DamagedError(f"holds no {_BEFORE + name}", where=about.path / WEIGHTS)
            parts.append(left.pop(_BEFORE + name))
        taken[rule.ours] = rule.take(parts, {}, torch.float32)
    return taken


def _check_left(about: About, base: Model, left: dict[str, Tensor]) -> None:
    """Raise for a tensor that nothing was made of. PEFT keeps copies of embeddings: those must be the base's."""
    own = base.state_dict()
    tables = [tensor for name, tensor in own.items() if name.endswith(("embedding.weight", "output.weight"))]
    for key, tensor in left.items():
        copied = any(
            tensor.shape == table.shape and torch.equal(tensor.to(table.dtype), table) for table in tables
        )
        if not copied:
            raise DamagedError(
                f"holds {key}, which the base has no place for",
                where=about.path / WEIGHTS,
                advice="it belongs to another base, or trains something else than layers",
            )
