"""How weights are called, and how they lie, in the files of each published architecture.

A rule turns one matrix of ours into the published ones and back. Ours are wider: queries, keys and values are
one matrix, and so are gate and up. Rows of ours that belong together are named by `Part`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.base.errors import DamagedError
from textmill.base.model_spec import DecoderSpec, ModelSpec, NGramSpec

LAYER = "{i}"  # stands for the number of a block in names


@dataclass(frozen=True, slots=True)
class Rule:
    """One parameter of ours and what the published file holds for it."""

    ours: str
    theirs: tuple[str, ...]  # several: rows of ours shared out in this order, as `rows` says
    rows: Callable[[DecoderSpec], tuple[int, ...]] | None = None
    transposed: bool = False  # GPT-2's Conv1D keeps matrices as (in, out)


def _qkv_rows(spec: DecoderSpec) -> tuple[int, ...]:
    width = spec.head_width
    return spec.heads * width, spec.key_heads * width, spec.key_heads * width


def _gate_rows(spec: DecoderSpec) -> tuple[int, ...]:
    return spec.d_ff, spec.d_ff


def _both(ours: str, *theirs: str, **more) -> tuple[Rule, Rule]:
    """The rule of a matrix and that of its bias, which is never transposed."""
    bias = {name: value for name, value in more.items() if name != "transposed"}
    return (
        Rule(ours + ".weight", tuple(name + ".weight" for name in theirs), **more),
        Rule(ours + ".bias", tuple(name + ".bias" for name in theirs), **bias),
    )


_A, _F, _T = "blocks.{i}.attention.", "blocks.{i}.feedforward.", "model.layers.{i}."
LLAMA = (  # also Mistral, Qwen2 (biases of queries, keys and values) and Qwen3 (their norms)
    Rule("embedding.weight", ("model.embed_tokens.weight",)),
    Rule("blocks.{i}.attention_norm.weight", (_T + "input_layernorm.weight",)),
    *_both(_A + "qkv", *(_T + f"self_attn.{name}_proj" for name in "qkv"), rows=_qkv_rows),
    Rule(_A + "q_norm.weight", (_T + "self_attn.q_norm.weight",)),
    Rule(_A + "k_norm.weight", (_T + "self_attn.k_norm.weight",)),
    *_both(_A + "output", _T + "self_attn.o_proj"),
    Rule("blocks.{i}.feedforward_norm.weight", (_T + "post_attention_layernorm.weight",)),
    *_both(_F + "up", _T + "mlp.gate_proj", _T + "mlp.up_proj", rows=_gate_rows),
    *_both(_F + "down", _T + "mlp.down_proj"),
    Rule("norm.weight", ("model.norm.weight",)),
    Rule("output.weight", ("lm_head.weight",)),
)
_H = "transformer.h.{i}."
GPT2 = (
    Rule("embedding.weight", ("transformer.wte.weight",)),
    Rule("position_embedding.weight", ("transformer.wpe.weight",)),
    *_both("blocks.{i}.attention_norm", _H + "ln_1"),
    *_both(_A + "qkv", _H + "attn.c_attn", transposed=True),
    *_both(_A + "output", _H + "attn.c_proj", transposed=True),
    *_both("blocks.{i}.feedforward_norm", _H + "ln_2"),
    *_both(_F + "up", _H + "mlp.c_fc", transposed=True),
    *_both(_F + "down", _H + "mlp.c_proj", transposed=True),
    *_both("norm", "transformer.ln_f"),
    Rule("output.weight", ("lm_head.weight",)),
)
RULES: Mapping[str, tuple[Rule, ...]] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gpt2": GPT2,
}


def rules(kind: str, spec: DecoderSpec, names: Mapping[str, object]) -> Iterator[Rule]:
    """The rules of a published kind that concern parameters of these names, one for each.

    `textmill`, the kind of what nobody else publishes, keeps our names.
    """
    if kind == "textmill":
        yield from (Rule(name, (name,)) for name in names)
        return
    known = RULES[kind]
    for name in names:
        pieces = name.split(".")
        block = pieces[1] if pieces[0] == "blocks" else ""
        pattern = ".".join(["blocks", LAYER, *pieces[2:]]) if block else name
        rule = next(rule for rule in known if rule.ours == pattern)
        theirs = tuple(theirs.replace(LAYER, block) for theirs in rule.theirs)
        yield Rule(name, theirs, rule.rows, rule.transposed)


def published(kind: str, spec: ModelSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the published names, each contiguous and with storage of its own."""
    if isinstance(spec, NGramSpec):
        return {name: table.detach().clone().contiguous() for name, table in weights.items()}
    result = {}
    for rule in rules(kind, spec, weights):
        tensor = weights[rule.ours].detach()
        parts = tensor.split(rule.rows(spec)) if rule.rows else (tensor,)
        for name, part in zip(rule.theirs, parts, strict=True):
            laid = part.T if rule.transposed else part
            result[name] = laid.clone(memory_format=torch.contiguous_format)
    return result


def ours(
    kind: str,
    spec: ModelSpec,
    shapes: Mapping[str, torch.Size],
    load: Callable[[str], Tensor],
    *,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Published weights under our names.

    shapes: what the model holds, by our names. load: the published tensor of a name; raises DamagedError.
    Raises DamagedError where a published tensor has another shape than the model asks for.
    """
    if isinstance(spec, NGramSpec):  # how long a table is, the file alone knows
        tables = {name: load(name) for name in shapes}
        return {
            name: table.to(dtype) if table.is_floating_point() else table for name, table in tables.items()
        }
    result = {}
    for rule in rules(kind, spec, shapes):
        parts = [load(name).to(dtype) for name in rule.theirs]
        parts = [part.T.contiguous() if rule.transposed else part for part in parts]
        wanted = shapes[rule.ours]
        rows = rule.rows(spec) if rule.rows else (wanted[0],) if wanted else ()
        for name, part, count in zip(rule.theirs, parts, rows or (0,), strict=True):
            shape = torch.Size((count, *wanted[1:])) if rows else wanted
            if part.shape != shape:
                stored = tuple(reversed(part.shape)) if rule.transposed else tuple(part.shape)
                asked = tuple(reversed(shape)) if rule.transposed else tuple(shape)
                raise DamagedError(
                    f"{name} has the shape {stored}, and config.json asks for {asked}",
                    advice="the configuration and the weights belong to different models; fetch both again",
                )
        result[rule.ours] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return result
