"""Our weights under the published names, and back, by the rules of each published architecture."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textmill.base.console import tracked
from textmill.base.errors import DamagedError
from textmill.interop.huggingface.configs.common import OWN
from textmill.interop.huggingface.headers import FLOATS
from textmill.interop.huggingface.rules.rule import LAYER, Rule
from textmill.interop.huggingface.rules.table import computed, head_rules, rules, spellings
from textmill.interop.huggingface.stored import Stored
from textmill.specs.head import HeadSpec
from textmill.specs.model import AtOnceSpec, ModelSpec, TransformerSpec

_BODY = "body."  # begins the names of a model under a head
_BLOCK = re.compile(r"((?:encoder\.|decoder\.)?blocks)\.(\d+)\.")
_EMBEDDING, _OUTPUT = "embedding.weight", "output.weight"
_LOGITS = (
    "transform",
    "transform_norm",
    "output",
    "output_bias",
    "pooler",
    "sentences",
)  # what a body does without
_ADVICE = "the configuration and the weights belong to different models; fetch both again"


@dataclass(frozen=True)
class Plan:
    """Which tensors become which of ours: `missing` are parameters of heads that the file leaves out, by our names;
    `ignored` are tensors that the model does not have, by theirs."""

    sources: list[tuple[Rule, list[str]]]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


def rules_of(
    kind: str, spec: ModelSpec, names: Mapping[str, object], head: HeadSpec | None
) -> Iterator[Rule]:
    """The rules of a published kind that concern parameters of these names, one for each.

    `textmill`, the kind of what nobody else publishes, keeps our names.
    """
    if kind == OWN or not isinstance(spec, TransformerSpec):
        yield from (Rule(name, (name,)) for name in names)
        return
    known = {rule.ours: rule for rule in rules(kind, spec)}
    if spec.tied:  # one tensor, which may be kept under either name
        embedding, output = known[_EMBEDDING], known[_OUTPUT]
        known[_EMBEDDING] = dataclasses.replace(embedding, also=(*embedding.also, *output.theirs))
    if head is not None:
        known |= {rule.ours: rule for rule in head_rules(kind, head.kind)}
    for name in names:
        inner = name if head is None else name.removeprefix(_BODY)
        numbered = _BLOCK.match(inner)
        block = numbered.group(2) if numbered else ""
        pattern = f"{numbered.group(1)}.{LAYER}.{inner[numbered.end() :]}" if numbered else inner
        yield known[pattern].named(name, block)


def published(
    kind: str,
    spec: ModelSpec,
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    head: HeadSpec | None = None,
) -> dict[str, Tensor]:
    """Weights of ours under their published names, each contiguous and with storage of its own.

    config: the config.json they are written beside.
    """
    result: dict[str, Tensor] = {}
    for rule in rules_of(kind, spec, weights, head):
        result |= rule.publish(spec, weights[rule.ours], config or {})
    return result


def apart(kind: str, spec: ModelSpec, stored: Stored) -> bool:
    """Whether a file holds an output layer of its own, though its configuration says that it is the embedding.

    Where they differ the file is believed, as transformers 5 does; old files hold the same twice.
    """
    if kind == OWN or not isinstance(spec, TransformerSpec) or not spec.tied:
        return False
    by_name = {rule.ours: rule for rule in rules(kind, spec)}
    pair = [_find(kind, by_name[name], 0, stored) for name in (_EMBEDDING, _OUTPUT)]
    if pair[0] is None or pair[1] is None or stored.entries[pair[0]].shape != stored.entries[pair[1]].shape:
        return False
    embedding, output = (stored.load(name) for name in pair if name is not None)
    return not torch.equal(embedding.to(output.dtype), output)


def _find(kind: str, rule: Rule, part: int, stored: Stored) -> str | None:
    """What a part of a rule is called in the file; None where it is not there."""
    for name in (rule.theirs[part], *rule.also):
        for spelling in spellings(kind, name):
            if spelling in stored.entries:
                return spelling
    return None


def plan_of(
    kind: str,
    spec: ModelSpec,
    shapes: Mapping[str, torch.Size],
    stored: Stored,
    *,
    config: Mapping[str, Any],
    head: HeadSpec | None = None,
    body: bool = False,
) -> Plan:
    """What will be read, before anything is. shapes: what the model holds, by our names. body: the file is that of a
    body alone, which has no output layer.

    Raises DamagedError where a tensor is missing, or has another shape or another kind of numbers than the model asks
    for.
    """
    sources: list[tuple[Rule, list[str]]] = []
    missing: list[str] = []
    for rule in rules_of(kind, spec, shapes, head):
        names = [_find(kind, rule, part, stored) for part in range(len(rule.theirs))]
        if (rule.head or (body and rule.ours.split(".")[0] in _LOGITS)) and not any(names):
            missing.append(rule.ours)
            continue
        for name, asked in zip(names, rule.theirs, strict=True):
            if name is None:
                raise DamagedError(
                    f"holds no tensor {asked}",
                    where=stored.first,
                    advice="the file is incomplete; fetch or publish it again",
                )
        present = [name for name in names if name is not None]
        if not isinstance(spec, AtOnceSpec):  # how long a table is, the file alone knows
            _check(rule, spec, shapes[rule.ours], present, stored, config)
        sources.append((rule, present))
    _check_heads(missing, shapes, stored)
    used = {name for _, names in sources for name in names}
    copies = {spelling for rule, _ in sources for name in rule.also for spelling in spellings(kind, name)}
    left = set(stored.entries) - used - copies
    ignored = tuple(sorted(name for name in left if not computed(kind, name)))
    return Plan(sources, tuple(missing), ignored)


def ours(
    plan: Plan,
    stored: Stored,
    *,
    config: Mapping[str, Any],
    dtype: torch.dtype,
    held: Callable[[str, Tensor], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Pretrained weights as the model holds them (nn.eight_bits.holding), read one after the other."""
    state: dict[str, Tensor] = {}
    for rule, names in tracked(plan.sources, "reading weights", len(plan.sources), "tensors"):
        state |= held(rule.ours, _take(rule, [stored.load(name) for name in names], config, dtype))
    return state


def _take(rule: Rule, parts: list[Tensor], config: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
    """Whole numbers, such as an n-gram's tables, stay what they are."""
    return rule.take(parts, config, dtype if parts[0].is_floating_point() else parts[0].dtype)


def _check(
    rule: Rule,
    spec: ModelSpec,
    shape: torch.Size,
    names: list[str],
    stored: Stored,
    config: Mapping[str, Any],
) -> None:
    wanted = rule.stored_shapes(spec, tuple(shape), config)
    for name, asked in zip(names, wanted, strict=True):
        entry = stored.entries[name]
        if entry.shape != asked:
            raise DamagedError(
                f"{name} has the shape {entry.shape}, and config.json asks for {asked}",
                where=stored.first,
                advice=_ADVICE,
            )
        if entry.dtype not in FLOATS:
            raise DamagedError(
                f"{name} is stored as {entry.dtype}; weights are {', '.join(FLOATS)}",
                where=stored.first,
                advice="fetch the weights that are not quantised",
            )


def _check_heads(missing: list[str], shapes: Mapping[str, object], stored: Stored) -> None:
    """Of a part of a head either everything is missing, or nothing."""
    parts = {name.split(".")[0] for name in missing}
    half = [name for name in shapes if name.split(".")[0] in parts and name not in missing]
    if half:
        raise DamagedError(
            f"holds {half[0]} and not {next(n for n in missing if n.split('.')[0] == half[0].split('.')[0])}",
            where=stored.first,
            advice="the file is incomplete; fetch or publish it again",
        )
