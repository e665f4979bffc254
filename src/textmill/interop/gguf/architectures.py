"""The architectures of GGUF files: which spec their metadata means, and what our parameters are called there.

Names are llama.cpp's, the same in every architecture; what differs is a row of `ARCHITECTURES`. Shapes there are
ours: matrices are (out, in), whatever the file they were converted from had. E: features of a head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base import schema
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.nn.position import rotary_frequencies
from textmill.specs.model import DecoderSpec, computed
from textmill.specs.position import LinearScaling, Llama3Scaling, RotaryPositions, YarnScaling

FREQUENCIES = "rope_freqs.weight"  # what each rotary frequency is divided by: Llama 3.1's stretching
_PARTS: Mapping[str, tuple[str, ...]] = {  # our module -> theirs, the rows of ours shared out in this order
    "embedding": ("token_embd",),
    "position_embedding": ("position_embd",),
    "norm": ("output_norm",),
    "output": ("output",),
    "attention_norm": ("attn_norm",),
    "attention.qkv": ("attn_q", "attn_k", "attn_v"),
    "attention.q_norm": ("attn_q_norm",),
    "attention.k_norm": ("attn_k_norm",),
    "attention.output": ("attn_output",),
    "attention_norm_after": ("post_attention_norm",),
    "feedforward_norm": ("ffn_norm",),
    "feedforward.up": ("ffn_gate", "ffn_up"),
    "feedforward.down": ("ffn_down",),
    "feedforward_norm_after": ("post_ffw_norm",),
}
_FUSED = {"attention.qkv": ("attn_qkv",), "feedforward.up": ("ffn_up",)}
_RMS, _LAYER = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"
_GEMMA = {"activation": "geglu_tanh", "scaled_embedding": True}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What all models of one `general.architecture` have in common."""

    name: str
    fixed: Mapping[str, Any]  # spec fields that its files do not say
    biases: tuple[str, ...] = ("none",)  # what is written under this name
    epsilon: str = _RMS
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _PARTS)
    permuted: tuple[str, ...] = ()  # parts whose rows are laid for a rotation of neighbouring features
    rotary: bool = True
    softcaps: bool = False
    odd_scale: int | None = (
        None  # depth of the one model that scales scores by d_model / heads, not by head_dim
    )


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(  # also Mistral, SmolLM2 and whatever else is a llama in another name
            name="llama", fixed={}, biases=("none", "all"), permuted=("attn_q", "attn_k")
        ),
        Architecture(name="qwen2", fixed={}, biases=("qkv",)),
        Architecture(name="qwen3", fixed={"qk_norm": True}),
        Architecture(name="gemma", fixed=_GEMMA),
        Architecture(
            name="gemma2",
            fixed=_GEMMA | {"placement": "sandwich", "full_every": 2},
            softcaps=True,
            odd_scale=46,
        ),
        Architecture(
            name="gemma3",
            fixed=_GEMMA
            | {"placement": "sandwich", "qk_norm": True, "full_every": 6, "window_theta": 10000.0},
            softcaps=True,
            odd_scale=62,
        ),
        Architecture(
            name="gpt2",
            fixed={"norm": "layernorm", "activation": "gelu_tanh", "position": {"kind": "learned"}},
            biases=("all",),
            epsilon=_LAYER,
            parts={**_PARTS, **_FUSED},
            rotary=False,
        ),
    )
}
_FIELDS = {  # spec field -> metadata key, after the architecture's name
    "d_model": "embedding_length",
    "layers": "block_count",
    "heads": "attention.head_count",
    "kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "d_ff": "feed_forward_length",
    "context": "context_length",
}
_SIZE, _CONTEXT = 1 << 20, 1 << 31  # largest width or number of anything, and longest context
_SOFTCAPS = {"attention_softcap": "attn_logit_softcapping", "logit_softcap": "final_logit_softcapping"}
_REFUSED = {
    "expert_count": 0,
    "attention.causal": True,
    "attention.max_alibi_bias": 0.0,
}  # but for these values


_YARN_USUAL = {  # what llama.cpp takes for granted
    "attn_factor": 1.0,
    "yarn_attn_factor": 1.0,
    "yarn_ext_factor": 1.0,
    "yarn_beta_fast": 32.0,
    "yarn_beta_slow": 1.0,
}


@dataclass(frozen=True)
class _Reader:
    """Metadata of one architecture, asked for by key."""

    metadata: Mapping[str, Any]
    architecture: Architecture
    where: object

    def get(self, key: str) -> Any:
        """The value of a key, None when it is not there; floats shortened."""
        value = self.metadata.get(f"{self.architecture.name}.{key}")
        return _short(value) if isinstance(value, float) else value

    def refuse(self, key: str, value: Any) -> TextmillError:
        text = f"{self.architecture.name}.{key} = {str(value)[:80]} is not supported"
        return TextmillError(text, where=self.where, advice="choose another model")


def _short(number: float) -> float:
    """The shortest number that is this float32: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def architecture_of(metadata: Mapping[str, Any], where: object) -> Architecture:
    """The architecture a file names. Raises TextmillError when it is not supported."""
    name = metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise TextmillError(
            f"the architecture {str(name)[:80]!r} is not supported",
            where=where,
            advice=f"there is {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[name]


def read(
    metadata: Mapping[str, Any], names: Collection[str], frequencies: Callable[[], Tensor], where: object
) -> DecoderSpec:
    """The spec that a file's metadata, and the names of its tensors, mean.

    frequencies: the float32 tensor `FREQUENCIES`, asked for where it is among the names. Raises TextmillError for an
    architecture, or a setting of one, that is not supported, and DamagedError for metadata that say nothing sensible:
    nothing is guessed.
    """
    architecture = architecture_of(metadata, where)
    reader = _Reader(metadata, architecture, where)
    for key, usual in _REFUSED.items():
        value = reader.get(key)
        if value is not None and value != usual:
            raise reader.refuse(key, value)
    fields: dict[str, Any] = {name: reader.get(key) for name, key in _FIELDS.items()}
    fields["norm_eps"] = reader.get(architecture.epsilon)
    fields = {name: value for name, value in fields.items() if value is not None} | dict(architecture.fixed)
    missing = [
        key for name, key in _FIELDS.items() if name not in fields and name not in ("kv_heads", "head_dim")
    ]
    missing += [architecture.epsilon] if "norm_eps" not in fields else []
    if missing:
        raise DamagedError(f"does not say {architecture.name}.{missing[0]}", where=where)
    _check_sizes(fields, names, where)
    fields["bias"] = _bias(names)
    fields["tied"] = "output.weight" not in names
    try:
        fields |= _window(reader)
        spec = schema.read(DecoderSpec, fields, str(where))
        more: dict[str, Any] = _scale(spec, architecture)
        if architecture.rotary:
            more["position"] = _read_rotary(reader, spec.head_width, FREQUENCIES in names, frequencies)
        if architecture.softcaps:
            more |= {name: reader.get(key) for name, key in _SOFTCAPS.items()}
        return schema.read(DecoderSpec, schema.write(dataclasses.replace(spec, **more)), str(where))
    except RecipeError as error:
        raise DamagedError(f"describes no model: {error}", where=where) from error


def _check_sizes(fields: Mapping[str, Any], names: Collection[str], where: object) -> None:
    """Raise DamagedError for sizes no model has, and for layers that are not there: building it would never end."""
    for name, key in _FIELDS.items():
        most = _CONTEXT if name == "context" else _SIZE
        value = fields.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise DamagedError(f"{key} = {str(value)[:80]} is not a valid size", where=where)
    blocks = len({name.split(".")[1] for name in names if name.startswith("blk.")})
    if blocks != fields["layers"]:
        raise DamagedError(f"says it has {fields['layers']} blocks, and has {blocks}", where=where)


def _bias(names: Collection[str]) -> str:
    if "blk.0.attn_output.bias" in names:
        return "all"
    return "qkv" if "blk.0.attn_q.bias" in names else "none"


def _window(reader: _Reader) -> dict[str, Any]:
    """The window and the blocks that have it; none where the file says none."""
    window = reader.get("attention.sliding_window")
    if not window:
        return {"window": None, "full_every": None, "window_theta": None}
    fields = {"window": window}
    pattern = reader.get("attention.sliding_window_pattern")
    if pattern is not None:
        if not isinstance(pattern, int) or isinstance(pattern, bool) or pattern < 1:
            raise reader.refuse("attention.sliding_window_pattern", pattern)
        fields["full_every"] = pattern
    theta = reader.get("rope.freq_base_swa")
    if theta is not None:
        fields["window_theta"] = theta
    return fields


def _scale(spec: DecoderSpec, architecture: Architecture) -> dict[str, float]:
    if spec.layers != architecture.odd_scale:
        return {}
    return {"attention_scale": (spec.d_model / spec.heads) ** -0.5}


def _read_rotary(
    reader: _Reader, width: int, stretched: bool, frequencies: Callable[[], Tensor]
) -> RotaryPositions:
    """What the metadata say; frequencies: the tensor `FREQUENCIES`, asked for where `stretched`."""
    turned = reader.get("rope.dimension_count")
    if turned not in (None, width):
        raise reader.refuse("rope.dimension_count", turned)
    theta = reader.get("rope.freq_base")
    theta = 10000.0 if theta is None else theta
    kind = reader.get("rope.scaling.type")
    factor = reader.get("rope.scaling.factor")
    if kind is None and factor is None:  # what the key was before
        factor = reader.get("rope.scale_linear")
    if stretched:
        if kind not in (None, "none"):
            raise reader.refuse("rope.scaling.type", kind)
        return RotaryPositions(theta=theta, scaling=_stretching(reader, theta, width, frequencies()))
    if kind == "yarn":
        return RotaryPositions(theta=theta, scaling=_yarn(reader, factor))
    if kind not in (None, "none", "linear"):
        raise reader.refuse("rope.scaling.type", kind)
    scaled = kind != "none" and factor not in (None, 1.0)
    return RotaryPositions(theta=theta, scaling=LinearScaling(factor=factor) if scaled else None)


def _yarn(reader: _Reader, factor: Any) -> YarnScaling:
    """With what llama.cpp takes for granted; other numbers have been spelt in several ways, and read by few."""
    for name, usual in _YARN_USUAL.items():
        value = reader.get(f"rope.scaling.{name}")
        if value not in (None, usual):
            raise reader.refuse(f"rope.scaling.{name}", value)
    original = reader.get("rope.scaling.original_context_length") or reader.get("context_length")
    return YarnScaling(factor=1.0 if factor is None else factor, original_context=original)


def _stretching(reader: _Reader, theta: float, width: int, divisors: Tensor) -> Llama3Scaling | None:
    """The scaling whose factors are those of the file. Of its four numbers only the largest factor shows in them;
    the others have been the same in every model published so far, and must give what is there."""
    factor = _short(float(divisors.max()))
    if not 1 <= factor < 1 << 20 or divisors.shape != (width // 2,):
        raise reader.refuse(FREQUENCIES, "a table of this shape or size")
    scaling = Llama3Scaling(factor=factor)
    if torch.allclose(divisors, _stretched_by(theta, width, scaling), rtol=1e-5, atol=0):
        return scaling
    if bool((divisors == 1).all()):
        return None
    raise reader.refuse(FREQUENCIES, "a table that no llama3 scaling makes")


def _stretched_by(theta: float, width: int, scaling: Llama3Scaling) -> Tensor:
    """(E/2,) float32: what `FREQUENCIES` holds for a scaling."""
    cpu = torch.device("cpu")
    return rotary_frequencies(width, theta, None, cpu) / rotary_frequencies(width, theta, scaling, cpu)


def write(spec: DecoderSpec, names: Collection[str]) -> tuple[Architecture, dict[str, Any]]:
    """(architecture, metadata) that mean this spec: read again they give it back.

    names: of our parameters. Raises TextmillError when no architecture of the table says the spec.
    """
    for architecture in ARCHITECTURES.values():
        if spec.bias not in architecture.biases:
            continue
        metadata = _metadata(spec, architecture)
        try:
            there = {name for rule in rules(architecture, spec, names) for name in rule.theirs}
            stretched = isinstance(spec.position, RotaryPositions) and isinstance(
                spec.position.scaling, Llama3Scaling
            )
            there |= {FREQUENCIES} if stretched else set()
            again = read(metadata, there, lambda: frequencies_of(spec), "")
        except TextmillError:
            continue
        if computed(again) == computed(spec):
            return architecture, metadata
    raise TextmillError(
        "no GGUF architecture that is written here computes what this model does",
        advice=f"there is {', '.join(ARCHITECTURES)}; a decoder with the defaults of a recipe is a llama",
    )


def frequencies_of(spec: DecoderSpec) -> Tensor:
    """What `FREQUENCIES` holds for a spec with a llama3 scaling."""
    assert isinstance(spec.position, RotaryPositions)
    assert isinstance(spec.position.scaling, Llama3Scaling)
    return _stretched_by(spec.position.theta, spec.head_width, spec.position.scaling)


def _metadata(spec: DecoderSpec, architecture: Architecture) -> dict[str, Any]:
    values = computed(spec)
    fields: dict[str, Any] = {key: values[name] for name, key in _FIELDS.items()}
    if not architecture.rotary:  # where llama.cpp has no such keys
        del fields["attention.head_count_kv"], fields["attention.key_length"]
    else:
        fields["attention.value_length"] = spec.head_width
        fields["rope.dimension_count"] = spec.head_width
    fields[architecture.epsilon] = spec.norm_eps
    if isinstance(spec.position, RotaryPositions):
        fields |= _rotary_fields(spec.position)
    if spec.window is not None:
        fields["attention.sliding_window"] = spec.window
        if spec.full_every not in (None, architecture.fixed.get("full_every")):
            fields["attention.sliding_window_pattern"] = spec.full_every
        if spec.window_theta not in (None, architecture.fixed.get("window_theta")):
            fields["rope.freq_base_swa"] = spec.window_theta
    fields |= {key: getattr(spec, name) for name, key in _SOFTCAPS.items() if getattr(spec, name) is not None}
    named = {f"{architecture.name}.{key}": value for key, value in fields.items()}
    return {"general.architecture": architecture.name} | named


def _rotary_fields(position: RotaryPositions) -> dict[str, Any]:
    """The metadata that mean these positions, but for what the tensor `FREQUENCIES` says."""
    base = {"rope.freq_base": position.theta}
    scaling = position.scaling
    if isinstance(scaling, LinearScaling):
        return base | {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}
    if isinstance(scaling, YarnScaling):
        return base | {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": scaling.factor,
            "rope.scaling.original_context_length": scaling.original_context,
        }
    return base


@dataclass(frozen=True, slots=True)
class Rule:
    """One parameter of ours, and what the file holds for it: so many rows of each of `theirs`, in this order."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] | None  # None: all rows, of one
    heads: tuple[int | None, ...]  # of each part: heads, where the rows of each are laid in pairs


def rules(architecture: Architecture, spec: DecoderSpec, names: Collection[str]) -> Iterator[Rule]:
    """One rule for each of our parameters. Raises TextmillError for one that the architecture has no name for."""
    width = spec.head_width
    rows = {
        "attn_q": spec.heads * width,
        "attn_k": spec.key_heads * width,
        "attn_v": spec.key_heads * width,
        "ffn_gate": spec.d_ff,
        "ffn_up": spec.d_ff,
    }
    heads = {"attn_q": spec.heads, "attn_k": spec.key_heads}
    for name in names:
        stem, kind = name.rsplit(".", 1) if "." in name else (name, "")
        pieces = stem.split(".")
        prefix = ""
        if pieces[0] == "blocks":
            prefix, stem = f"blk.{pieces[1]}.", ".".join(pieces[2:])
        if stem not in architecture.parts or kind not in ("weight", "bias"):
            raise TextmillError(f"{architecture.name} files have nothing like {name}")
        parts = architecture.parts[stem]
        yield Rule(
            name,
            tuple(f"{prefix}{part}.{kind}" for part in parts),
            tuple(rows[part] for part in parts) if len(parts) > 1 else None,
            tuple(heads[part] if part in architecture.permuted else None for part in parts),
        )
