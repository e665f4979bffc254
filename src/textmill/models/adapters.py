"""Adapters: what is trained beside a frozen model, attached by swapping its modules.

    model = adapt(base, LoRATuning(rank=8, targets=("q", "v")))     # the modules of base, some swapped; base frozen
    tensors(model)                                                   # what is trained, by name; load(model, …) back
    merged(model)                                                    # plain matrices again

What a model's layers are called here, and so what `targets` may name (B a block, "blocks.3"; of an encoder-decoder
"encoder.blocks.3" and "decoder.blocks.3"):

    B.attention.q k v output      B.cross_attention.query k v output      B.feedforward.gate up down
    embedding  output             and of recurrent models projection, bridge.…, alignment.…

A target is a name, its end, or a pattern as models/names.py has them: q, attention, blocks.0-3, blocks.*.feedforward.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.models import names
from textmill.models.heads import Head, Headed
from textmill.models.initial import generator
from textmill.models.model import Generator, Model
from textmill.models.output import OutputLayer
from textmill.models.recurrent_encoder_decoder import RecurrentEncoderDecoder
from textmill.models.virtual import PromptEmbedding, prefixed, prompted
from textmill.nn.attention import Prefix
from textmill.nn.eight_bits import EightBitEmbedding, EightBitLinear, EightBits
from textmill.nn.linear import Linear
from textmill.nn.low_rank import WHOLE, LowRank, LowRankEmbedding, LowRankLinear
from textmill.nn.norm import BatchNorm
from textmill.nn.shared import shared
from textmill.specs.tuning import (
    LINEAR,
    LoRATuning,
    PrefixTuning,
    PromptingTuning,
    PromptTuning,
    TuningSpec,
)

M = TypeVar("M", bound=Model)
ADAPTED = (LowRankLinear, LowRankEmbedding)
_EMBEDDINGS = ("embedding", "source_embedding")
_OUTPUT = "output"
# What Llama's and BERT's layers are called where PEFT is used: several of ours each.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "q_proj": ("q", "query"),
    "k_proj": ("k",),
    "v_proj": ("v",),
    "o_proj": ("attention.output", "cross_attention.output"),
    "gate_proj": ("gate",),
    "up_proj": ("up",),
    "down_proj": ("down",),
    "embed_tokens": _EMBEDDINGS,
    "lm_head": (_OUTPUT,),
}


@dataclass(frozen=True)
class Site:
    """A layer that can have an addition, or a section of one that is fused from several."""

    path: str  # of the module
    section: str = WHOLE

    @property
    def name(self) -> str:
        """What `targets` call it."""
        if self.section == WHOLE:
            return self.path
        parent, _, _ = self.path.rpartition(".")
        return f"{parent}.{self.section}"


@dataclass(frozen=True)
class Addition:
    """A low-rank addition at a site."""

    site: Site
    rank: int
    scale: float
    magnitude: bool = False


def body_of(model: Model) -> tuple[str, Model]:
    """(the prefix of its parameters' names, the model under a head, if there is one)."""
    return ("body.", model.body) if isinstance(model, Headed) else ("", model)


def sites(model: Model) -> list[Site]:
    """All layers of a model that can have an addition; of a fused one its sections, and the whole."""
    prefix, body = body_of(model)
    found: list[Site] = []
    adapted: set[str] = set()
    for path, module in body.named_modules():
        if path.rpartition(".")[0] in adapted:  # what is inside of one
            continue
        if isinstance(module, ADAPTED):
            adapted.add(path)
        if isinstance(module, (Linear, EightBitLinear, LowRankLinear)):
            found += [Site(prefix + path, section) for section in (*module.sections, WHOLE)]
        elif path in _EMBEDDINGS and isinstance(module, (nn.Embedding, EightBitEmbedding, LowRankEmbedding)):
            found.append(Site(prefix + path))
    if isinstance(body, OutputLayer) and body.output is None and not isinstance(model, Headed):  # tied
        found.append(Site(prefix + _OUTPUT))
    return found


def chosen(model: Model, targets: Sequence[str]) -> list[Site]:
    """The sites that patterns name. Raises RecipeError for a pattern that names none, and where one layer would get an
    addition twice."""
    prefix, _ = body_of(model)
    fused = {site.path for site in sites(model) if site.section != WHOLE}
    # A section may be called as the whole is (up, of gate and up): then the name is the section's.
    sections = {site.name for site in sites(model) if site.section != WHOLE}
    there = [site for site in sites(model) if site.section != WHOLE or site.name not in sections]
    taken: dict[Site, None] = {}
    for target in targets:
        exact = [site for site in there if site.name.removeprefix(prefix) == target]
        named = exact or [site for site in there if _named(site, prefix, target, fused)]
        if not named:
            known = dict.fromkeys(site.name.rpartition(".")[2] for site in there)
            raise RecipeError(
                f"{target!r} names no layer of this model",
                where="tuning.targets",
                advice=f"there is {', '.join(known)}",
            )
        taken |= dict.fromkeys(named)
    for site in taken:
        if site.section != WHOLE and Site(site.path) in taken:
            raise RecipeError(
                f"{site.name} is part of {site.path}: an addition to both is one too many",
                where="tuning.targets",
            )
    return list(taken)


def _named(site: Site, prefix: str, target: str, fused: set[str]) -> bool:
    name = site.name.removeprefix(prefix)
    whole = site.section == WHOLE and site.path in fused
    if target == LINEAR:
        return not whole and name not in (*_EMBEDDINGS, _OUTPUT)
    if whole:  # named only by its own name, since its sections go by others
        return name.endswith("." + target)
    parts = name.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts))]
    return any(names.matches(end, pattern) for pattern in SYNONYMS.get(target, (target,)) for end in ends)


def adapt(base: M, tuning: TuningSpec, *, seed: int = 0, prompt: Tensor | None = None) -> Model:
    """A frozen base with a new adapter: its modules again, over the same tensors, so that `base` stays as it was.

    A head is trained too. First values are a function of (tuning, seed): LoRA's logits are the base's to the
    bit, those of virtual tokens are not. prompt: (tokens of a text,) int64, whose vectors a soft prompt begins as.

    Raises RecipeError where the model has nothing the spec names.
    """
    if any(isinstance(module, BatchNorm) for module in base.modules()):
        raise RecipeError(
            "has batch norms, whose running statistics change in training: the base would not stay as it is",
            where="tuning",
            advice="train all weights",
        )
    if isinstance(tuning, LoRATuning):
        additions = [
            Addition(site, tuning.rank, tuning.scale, tuning.dora) for site in chosen(base, tuning.targets)
        ]
        model: Model = attached(base, additions, dropout=tuning.dropout)
    elif isinstance(tuning, PromptingTuning):
        raise RecipeError("adds nothing to a model: it is only asked", where="tuning.kind")
    else:
        model = _with_virtual(base, tuning)
    for path, module in model.named_modules():
        if isinstance(module, ADAPTED):
            module.reset(generator(seed, path))
        elif isinstance(module, PromptEmbedding):
            _first_prompt(module, generator(seed, path), prompt)
        elif isinstance(module, Prefix):
            for name, parameter in module.named_parameters():
                drawn = torch.empty(parameter.shape).normal_(
                    0.0, 0.02, generator=generator(seed, f"{path}.{name}")
                )
                parameter.data.copy_(drawn)
    return model


def empty_like(base: M, tuning: TuningSpec) -> Model:
    """The same without first values, for `load`."""
    return adapt(base, tuning)


def attached(base: M, additions: Sequence[Addition], *, dropout: float = 0.0) -> M:
    """A base, frozen, with additions that hold no values yet. Raises RecipeError for an addition that cannot be."""
    model = _frozen(base)
    prefix, body = body_of(model)
    where: dict[str, list[Addition]] = {}
    for addition in additions:
        where.setdefault(addition.site.path, []).append(addition)
    if any(path.removeprefix(prefix) in (*_EMBEDDINGS, _OUTPUT) for path in where):
        _with_output(body)
    for path, some in where.items():
        module = model.get_submodule(path)
        if isinstance(module, (nn.Embedding, EightBitEmbedding)):
            [addition] = some
            if addition.magnitude:
                raise RecipeError("an embedding has no magnitudes (DoRA)", where="tuning.targets")
            low = LowRank(module.num_embeddings, module.embedding_dim, addition.rank, addition.scale)
            new: nn.Module = LowRankEmbedding(module, low, dropout)
        else:
            assert isinstance(module, (Linear, EightBitLinear))
            new = LowRankLinear(module, {each.site.section: _low(module, each) for each in some}, dropout)
        model.set_submodule(path, _like(new, model))
    return model


def _low(layer: Linear | EightBitLinear, addition: Addition) -> LowRank:
    section = addition.site.section
    rows = layer.out_features if section == WHOLE else layer.sections[section]
    return LowRank(layer.in_features, rows, addition.rank, addition.scale, magnitude=addition.magnitude)


def _like(new: nn.Module, model: Model) -> nn.Module:
    """A new module in the mode and on the device of the model. What is trained stays float32."""
    first = next(model.parameters(), None)
    return new.to(device=None if first is None else first.device).train(model.training)


def _frozen(base: M) -> M:
    """The modules of a base again, over parameters of the same storage that are not trained; a head's are."""
    model = shared(base)
    for module in model.modules():
        module._parameters = {
            name: None if parameter is None else nn.Parameter(parameter.detach(), requires_grad=False)
            for name, parameter in module._parameters.items()
        }
        if isinstance(module, nn.RNNBase):  # its kernels read a list of its own
            module._flat_weights = [module._parameters[name] for name in module._flat_weights_names]
    if isinstance(model, Headed):
        for parameter in model.head.parameters():
            parameter.requires_grad_(True)
    return model


def _with_output(body: Model) -> None:
    """A tied output layer as a layer of its own over the same tensor, so that either can be swapped alone."""
    if not isinstance(body, OutputLayer) or body.output is not None or body.embedding is None:
        return
    with torch.device("meta"):
        output = Linear(body.embedding.embedding_dim, body.vocabulary, bias=False)
    output.weight = body.embedding.weight
    body.output = output


def _with_virtual(base: Model, tuning: PromptTuning | PrefixTuning) -> Model:
    if not isinstance(base, Generator):
        raise RecipeError(
            f"{tuning.kind} tuning is for models that write", where="tuning.kind", advice='use kind = "lora"'
        )
    model = _frozen(base)
    _with_output(model)
    model = (
        prompted(model, tuning.tokens) if isinstance(tuning, PromptTuning) else prefixed(model, tuning.tokens)
    )
    return model.train(base.training)


def _first_prompt(module: PromptEmbedding, draw: torch.Generator, ids: Tensor | None) -> None:
    tokens = len(module.prompt)
    if ids is None or not len(ids):
        ids = torch.randint(0, module.first, (tokens,), generator=draw)
    repeated = ids.repeat(-(-tokens // len(ids)))[:tokens]
    with torch.no_grad():
        module.prompt.copy_(module.base(repeated))


def in_eight_bits(base: M) -> M:
    """A base with its matrices in 8 bits, for an adapter to be trained over: its modules again, `base` as it was.

    What is in 8 bits already stays. A base without storage gives one whose weights are packed as they are read
    (`interop.load.load`).
    """
    model = shared(base)
    _, body = body_of(model)
    tied = isinstance(body, OutputLayer) and body.output is None and not isinstance(model, Headed)
    for path, module in list(body.named_modules()):
        if type(module) is Linear:
            body.set_submodule(path, EightBitLinear(EightBits(module.weight), module.bias, module.sections))
        elif path in _EMBEDDINGS and isinstance(module, nn.Embedding):
            body.set_submodule(path, EightBitEmbedding(EightBits(module.weight)))
    if tied and isinstance(body.embedding, EightBitEmbedding):
        body.output = EightBitLinear(body.embedding.matrix, None, {})  # type: ignore
    return model


def rounded(base: M) -> M:
    """The same in float32: matrices that hold what 8 bits hold, for every way of decoding and every export."""
    model = shared(base)
    _, body = body_of(model)
    for path, module in body.named_modules():
        if type(module) is Linear or (path in _EMBEDDINGS and isinstance(module, nn.Embedding)):
            parameters = dict(module._parameters)
            parameters["weight"] = nn.Parameter(EightBits(module.weight).unpacked(), requires_grad=False)
            module._parameters = parameters
    return model


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """What is trained of an adapted model, by name: the adapter, and a head."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def load(model: M, given: Mapping[str, Tensor], where: object = "adapter") -> M:
    """Fill an adapted model's trained tensors; the model itself.

    Raises DamagedError, naming it, for a tensor that is missing, one too many, or of another shape.
    """
    wanted = tensors(model)
    for what, odd in (("holds no", wanted.keys() - given.keys()), ("holds", given.keys() - wanted.keys())):
        if odd:
            more = ", which the model does not have" if what == "holds" else ""
            raise DamagedError(
                f"{what} {min(odd)}{more}",
                where=where,
                advice="it belongs to another model, or is incomplete",
            )
    with torch.no_grad():
        for name, parameter in wanted.items():
            if given[name].shape != parameter.shape:
                raise DamagedError(
                    f"{name} has the shape {tuple(given[name].shape)}, and the model asks for {tuple(parameter.shape)}",
                    where=where,
                    advice="it belongs to another base",
                )
            parameter.copy_(given[name])
    return model


def additions_of(model: nn.Module) -> Iterator[tuple[Site, LowRank]]:
    """The low-rank additions of an adapted model, and where each stands."""
    for path, module in model.named_modules():
        if isinstance(module, ADAPTED):
            for section, low in module.additions.items():
                assert isinstance(low, LowRank)
                yield Site(path, section), low


def merged(model: M) -> M:
    """The model with its low-rank additions in its matrices, plain again; the one given is left as it was.

    A tied model whose embedding or output layer has an addition gets an output layer of its own.
    Raises TextmillError for virtual tokens, which are no part of any matrix.
    """
    if isinstance(model, Headed) and not isinstance(model.head, Head):
        raise TextmillError("a written prompt is no part of any weights", advice="use it beside its base")
    if any(isinstance(module, (PromptEmbedding, Prefix)) for module in model.modules()):
        raise TextmillError(
            "virtual tokens cannot be merged into weights", advice="use the adapter beside its base"
        )

    def plain(module: nn.Module) -> nn.Module | None:
        if isinstance(module, LowRankLinear):
            return _linear(module.matrix(), module.base.bias, module.base.sections)
        if isinstance(module, EightBitLinear):
            return _linear(module.matrix.unpacked(), module.bias, module.sections)
        if isinstance(module, LowRankEmbedding):
            return _embedding(module.matrix())
        return _embedding(module.matrix.unpacked()) if isinstance(module, EightBitEmbedding) else None

    whole = shared(model, plain)
    _, body = body_of(whole)
    if (
        isinstance(body, OutputLayer)
        and getattr(body.spec, "tied", False)
        and isinstance(body.output, Linear)
    ):
        same = body.output.weight is body.embedding.weight or torch.equal(
            body.output.weight, body.embedding.weight
        )
        if same:
            body.output = None
        else:
            body.spec = dataclasses.replace(body.spec, tied=False)  # type: ignore
            if isinstance(body, RecurrentEncoderDecoder) and body.source_embedding is None:
                body.source_embedding = body.embedding
            if isinstance(whole, Headed):
                whole.spec = body.spec
    return whole.train(model.training)


def _linear(weight: Tensor, bias: nn.Parameter | None, sections: Mapping[str, int]) -> Linear:
    with torch.device("meta"):
        layer = Linear(weight.shape[1], weight.shape[0], bias=bias is not None, sections=sections)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.register_parameter("bias", bias)
    return layer


def _embedding(weight: Tensor) -> nn.Embedding:
    return nn.Embedding.from_pretrained(weight, freeze=True)


def weights_id(model: Model) -> str:
    """The content id of a base: of the names and float32 values of all its tensors, whatever file they came from."""
    return _content_id(model.state_dict())


def adapter_id(model: Model, base: str) -> str:
    """The content id of an adapter beside the base of the id `base`, of which no tensor is read again."""
    own = _content_id(tensors(model))
    return hashlib.blake2b(f"{base} {own}".encode(), digest_size=16).hexdigest()


def _content_id(given: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(given.items()):
        digest.update(f"{name}:{tuple(tensor.shape)};".encode())
        values = tensor.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        digest.update(values.contiguous().numpy().data)  # pyrefly: ignore[bad-argument-type]
    return digest.hexdigest()
