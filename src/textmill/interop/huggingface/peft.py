"""Adapters in PEFT's layout, out and in: adapter_config.json and adapter_model.safetensors, and our textmill.json.

    LoRA     base_model.model.LAYER.lora_A.weight (R, I), .lora_B.weight (O, R), .lora_magnitude_vector (O,)
             base_model.model.EMBEDDING.lora_embedding_A (R, V), .lora_embedding_B (D, R); a trained head by its names
    prompt   prompt_embeddings (n, D)
    prefix   prompt_embeddings (n, L · 2 · K · E): the keys of the first layer, its values, the keys of the second, …

LAYER is what transformers calls it. Ours are wider (queries, keys and values are one matrix), so which rows of ours one
of theirs is, the rules of weights say (rules/). What no published architecture is, is written under our own names.

Shapes: R rank, I inputs, O outputs, V vocabulary, D features, n virtual tokens, L layers, K key heads, E of a head.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import textmill
from textmill.base import schema
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import atomic_directory, write_json, write_texts
from textmill.interop.huggingface import config as configuration
from textmill.interop.huggingface import headers
from textmill.interop.huggingface.rules.table import spellings
from textmill.interop.huggingface.stored import read_table
from textmill.interop.huggingface.weights import rules_of
from textmill.models import adapters
from textmill.models.adapters import Addition, Site
from textmill.models.heads import Headed, attach
from textmill.models.model import Model
from textmill.models.virtual import PromptEmbedding, Virtual
from textmill.nn.attention import Prefix
from textmill.nn.eight_bits import EightBitLinear
from textmill.nn.linear import Linear, rows_of
from textmill.nn.low_rank import WHOLE, LowRank, LowRankEmbedding, LowRankLinear
from textmill.nn.shared import shared
from textmill.specs.head import HeadSpec
from textmill.specs.model import TransformerSpec
from textmill.specs.position import SinusoidalPositions
from textmill.specs.tuning import LoRATuning, PrefixTuning, PromptTuning, TuningSpec

CONFIG, WEIGHTS, OURS = "adapter_config.json", "adapter_model.safetensors", "textmill.json"
FORMAT = 1  # of our file
_BEFORE = "base_model.model."
_PROMPT = "prompt_embeddings"
_PARTS = {  # ends of names: (the tensor of ours, whether it is an embedding's)
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
_TASKS = {"classify": "SEQ_CLS", "regress": "SEQ_CLS", "tag": "TOKEN_CLS", "answer": "QUESTION_ANS"}
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
    head = _head_of(model)
    kind, reason = configuration.published_architecture(_spec(model), head)
    own = kind in configuration.OURS
    stored, config = _WRITERS[tuning.kind](model, tuning)
    about = {
        "format": FORMAT,
        "textmill": textmill.__version__,
        "tuning": schema.write(tuning),
        "base": {"name": base.name, "weights": base.weights},
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


def read_about(directory: Path | str) -> About:
    """What an adapter says of itself. Raises TextmillError for a kind that is not supported, DamagedError when a file
    is missing or unreadable."""
    path = Path(directory)
    config = read_table(path / CONFIG)
    kind = config.get("peft_type")
    if kind not in _READERS:
        raise TextmillError(
            f"peft_type {kind!r} is not supported",
            where=path / CONFIG,
            advice=f"there is {', '.join(_READERS)}",
        )
    named = str(config.get("base_model_name_or_path") or "")
    if not (path / OURS).is_file():
        return About(path, config, Base(named, ""))
    table = read_table(path / OURS)
    try:
        specs = {schema.kind_of(each): each for each in (LoRATuning, PromptTuning, PrefixTuning)}
        tuning = table["tuning"]
        spec = schema.read(specs[tuning["kind"]], tuning, str(path / OURS), "tuning")
        head = _read_head(table["head"], path / OURS)
        base = Base(str(table["base"]["name"]), str(table["base"]["weights"]))
    except (KeyError, TypeError) as error:
        raise DamagedError(f"is not what is known of an adapter ({error!r})", where=path / OURS) from error
    return About(path, config, base, spec, head, table.get("info", {}), table.get("generation", {}))


def _read_head(plain: Any, where: Path) -> HeadSpec | None:
    from typing import get_args

    if plain is None:
        return None
    specs = {schema.kind_of(each): each for each in get_args(HeadSpec)}
    return schema.read(specs[plain["kind"]], plain, str(where), "head")


def read(about: About | Path | str, base: Model, *, weights: str | None = None) -> Model:
    """A base with the adapter of a directory beside it: its modules again, over the same tensors. `base` is left as it
    was, so several adapters may stand on it.

    weights: the base's id, where it is known already; else it is worked out where the adapter names one.
    Raises TextmillError for another base than the adapter was trained on, and for settings that are not supported;
    DamagedError, naming it, for a tensor that is missing, one too many, or of another shape.
    """
    if not isinstance(about, About):
        about = read_about(about)
    if about.base.weights and (found := weights or adapters.weights_id(base)) != about.base.weights:
        raise TextmillError(
            f"was trained on other weights: its base is {about.base.name} ({about.base.weights[:12]}), "
            f"and this one has the id {found[:12]}",
            where=about.path,
            advice="give it its own base; where that was trained on or changed since, train the adapter again",
        )
    if about.tuning is not None and about.tuning.base == "int8":
        base = adapters.rounded(base)
    if about.head is not None:
        base = attach(shared(base), about.head)  # a head takes away from its body what it replaces
    return _READERS[about.config["peft_type"]](about, base).eval()


# ---- names


def _spec(model: Model) -> Any:
    return model.body.spec if isinstance(model, Virtual) else model.spec


def _head_of(model: Model) -> HeadSpec | None:
    return model.head.spec if isinstance(model, Headed) else None


def _task(model: Model, head: HeadSpec | None) -> str | None:
    if head is not None:
        return _TASKS[head.kind]
    kinds = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}
    return kinds.get(model.spec.kind)


def _modules(model: Model) -> dict[str, list[Site]]:
    """What transformers calls each layer of a model (of a body alone, what its class calls it): the sites it holds."""
    spec, head = _spec(model), _head_of(model)
    kind, _ = configuration.published_architecture(spec, head)
    found: dict[str, list[Site]] = {}
    for site in adapters.sites(model):
        for name in _theirs(model, kind, head, site):
            spelt = list(spellings(kind, name))[-1] if model.bare else name
            found.setdefault(spelt.removesuffix(".weight"), []).append(site)
    return found


def _theirs(model: Model, kind: str, head: HeadSpec | None, site: Site) -> Iterable[str]:
    """The published tensors that a site is, or holds."""
    spec = _spec(model)
    if kind in configuration.OURS or not isinstance(spec, TransformerSpec):
        return (site.name + ".weight",)
    [rule] = rules_of(kind, spec, {site.path + ".weight": None}, head)
    if site.section == WHOLE or len(rule.theirs) == 1:
        return rule.theirs
    module = model.get_submodule(site.path)  # rules name the sections of a layer in their order
    assert isinstance(module, (Linear, LowRankLinear, EightBitLinear))
    return (rule.theirs[list(module.sections).index(site.section)],)


# ---- LoRA


@dataclass
class _Published:
    """A low-rank addition to one published layer: scale · b a."""

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        return self.a.shape[0]


def _write_lora(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert isinstance(tuning, LoRATuning)
    modules = _modules(model)
    additions = _published(model, modules)
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


def _published(model: Model, modules: Mapping[str, list[Site]]) -> dict[str, _Published]:
    """A model's additions by the published layers they belong to.

    An addition to a fused matrix that is published apart is one to each, with the same a; additions to sections of one
    that is published fused are one whose a are stacked, and whose b has each in its own rows and columns.
    """
    lows = dict(adapters.additions_of(model))
    found: dict[str, _Published] = {}
    for name, held in modules.items():
        here = [site for site in held if site in lows]
        if not here:
            continue
        module = model.get_submodule(here[0].path)
        assert isinstance(module, adapters.ADAPTED)
        low, sections = lows[here[0]], [site.section for site in held if site.section != WHOLE]
        if here[0].section != WHOLE and len(sections) > 1:
            found[name] = _stacked(module, {site.section: lows[site] for site in here})
            continue
        apart = here[0].section == WHOLE and len(sections) == 1
        rows = rows_of(module.sections, sections[0]) if apart else slice(None)
        magnitude = None if low.magnitude is None else low.magnitude[rows]
        embedding = isinstance(module, LowRankEmbedding)
        found[name] = _Published(low.a, low.b[rows], low.scale, magnitude, embedding)
    return found


def _stacked(module: Any, lows: Mapping[str, LowRank]) -> _Published:
    scale = next(iter(lows.values())).scale
    b = torch.zeros(module.out_features, sum(low.a.shape[0] for low in lows.values()))
    column = 0
    for section, low in lows.items():
        columns = slice(column, column + low.a.shape[0])
        b[module.rows[section], columns] = low.b.detach() * (low.scale / scale)
        column = columns.stop
    magnitudes = [low.magnitude for low in lows.values() if low.magnitude is not None]
    if magnitudes and sum(map(len, magnitudes)) != module.out_features:
        raise TextmillError(
            "has magnitudes (DoRA) for some sections of a matrix that is published whole, which PEFT cannot say",
            advice="give all of q, k and v an addition, or none",
        )
    a = torch.cat([low.a for low in lows.values()])
    return _Published(a, b, scale, torch.cat(magnitudes) if magnitudes else None)


def _targets(additions: Mapping[str, _Published], modules: Mapping[str, list[Site]]) -> list[str]:
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
    spec, head = _spec(model), model.head.spec
    kind, _ = configuration.published_architecture(spec, head)
    held = {f"head.{name}": tensor for name, tensor in model.head.state_dict().items()}
    result: dict[str, Tensor] = {}
    for rule in rules_of(kind, spec, held, head):
        result |= rule.publish(spec, held[rule.ours], {})
    return result


def _read_lora(about: About, base: Model) -> Model:
    config, where = about.config, about.path / CONFIG
    for key, usual in _WITHOUT.items():
        if config.get(key, usual[0]) not in usual:
            raise TextmillError(f"{key} = {config[key]!r} is not supported", where=where)
    stored = _load(about.path)
    modules = _modules(base)
    spellings_of = {
        spelling.removesuffix(".weight"): name
        for name in modules
        for spelling in _spellings(base, name + ".weight")
    }
    parts: dict[str, dict[str, Tensor]] = {}
    left = dict(stored)
    for key, tensor in stored.items():
        end = next((end for end in _PARTS if key.endswith(end)), None)
        name = None if end is None else spellings_of.get(key.removeprefix(_BEFORE).removesuffix(end))
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
    dropout = about.tuning.dropout if isinstance(about.tuning, LoRATuning) else 0.0
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


def _spellings(model: Model, name: str) -> Iterator[str]:
    kind, _ = configuration.published_architecture(_spec(model), _head_of(model))
    yield name
    yield from spellings(kind, name)


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
    spec, head = _spec(model), model.head.spec
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


def _load(path: Path) -> dict[str, Tensor]:
    headers.read(path / WEIGHTS)  # raises where it is missing or cut short
    return load_file(path / WEIGHTS)


# ---- virtual tokens


def _write_prompt(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert isinstance(tuning, PromptTuning)
    [module] = [module for module in model.modules() if isinstance(module, PromptEmbedding)]
    vectors = module.prompt.detach() * _embedding_scale(_spec(model))
    return {_PROMPT: vectors.contiguous()}, _virtual_config(
        "PROMPT_TUNING", model, tuning.tokens, vectors.shape[1]
    ) | {"prompt_tuning_init": "RANDOM"}


def _read_prompt(about: About, base: Model) -> Model:
    stored = _only(about, _PROMPT)
    tokens = int(about.config.get("num_virtual_tokens") or len(stored))
    model = adapters.adapt(base, PromptTuning(tokens=tokens))
    vectors = stored[:tokens].float() / _embedding_scale(
        _spec(model)
    )  # a second half, of decoders, is never read
    [name] = adapters.tensors(model)
    return adapters.load(model, {name: vectors}, about.path / WEIGHTS)


def _write_prefix(model: Model, tuning: TuningSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert isinstance(tuning, PrefixTuning)
    layers = [module for module in model.modules() if isinstance(module, Prefix)]
    pairs = [tensor.detach() for layer in layers for tensor in (layer.keys, layer.values)]
    flat = torch.stack([tensor.transpose(0, 1).flatten(1) for tensor in pairs], dim=1).flatten(1)
    spec = _spec(model)
    config = _virtual_config("PREFIX_TUNING", model, tuning.tokens, spec.key_heads * spec.head_width)
    more = {
        "num_attention_heads": spec.key_heads,
        "prefix_projection": False,
        "encoder_hidden_size": config["token_dim"],
    }
    return {_PROMPT: flat.contiguous()}, config | more


def _read_prefix(about: About, base: Model) -> Model:
    stored = _only(about, _PROMPT)
    model = adapters.adapt(base, PrefixTuning(tokens=len(stored)))
    spec = _spec(model)
    shape = (spec.layers, 2, spec.key_heads, spec.head_width)
    if stored.dim() != 2 or stored.shape[1] != math.prod(shape):
        raise DamagedError(
            f"{_PROMPT} has the shape {tuple(stored.shape)}, and the base asks for {math.prod(shape)} numbers a token",
            where=about.path / WEIGHTS,
            advice="it belongs to another base",
        )
    layers = stored.float().unflatten(1, shape).permute(1, 2, 3, 0, 4)  # (L, 2, K, n, E)
    names = iter(adapters.tensors(model))  # keys and values of each layer, in order
    given = {next(names): pair.contiguous() for layer in layers for pair in layer}
    return adapters.load(model, given, about.path / WEIGHTS)


def _only(about: About, name: str) -> Tensor:
    stored = _load(about.path)
    for key in {name} - stored.keys():
        raise DamagedError(f"holds no {key}", where=about.path / WEIGHTS)
    for key in stored.keys() - {name}:
        raise DamagedError(f"holds {key}, which the base has no place for", where=about.path / WEIGHTS)
    return stored[name]


def _virtual_config(kind: str, model: Model, tokens: int, width: int) -> dict[str, Any]:
    spec = _spec(model)
    return {
        "peft_type": kind,
        "num_virtual_tokens": tokens,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": spec.heads,
        "num_layers": spec.layers,
    }


def _embedding_scale(spec: Any) -> float:
    """What token vectors are multiplied by before the first layer: transformers has that in its embedding already."""
    scaled = spec.scaled_embedding or isinstance(spec.position, SinusoidalPositions)
    return math.sqrt(spec.d_model) if scaled else 1.0


_WRITERS = {"lora": _write_lora, "prompt": _write_prompt, "prefix": _write_prefix}
_READERS = {"LORA": _read_lora, "PROMPT_TUNING": _read_prompt, "PREFIX_TUNING": _read_prefix}
