"""What transformers calls the layers of a model, and which of ours they are: by the rules of weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textmill.interop.huggingface import config as configuration
from textmill.interop.huggingface.peft.about import head_of, spec_of
from textmill.interop.huggingface.rules.table import spellings
from textmill.interop.huggingface.weights import rules_of
from textmill.models import adapters
from textmill.models.adapters import Site
from textmill.models.model import Model
from textmill.nn.eight_bits import EightBitLinear
from textmill.nn.linear import Linear
from textmill.nn.low_rank import WHOLE, LowRankLinear
from textmill.specs.head import HeadSpec
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec


def modules_of(model: Model) -> dict[str, list[Site]]:
    """What transformers calls each layer of a model (of a body alone, what its class calls it): the sites it holds."""
    spec, head = spec_of(model), head_of(model)
    kind, _ = configuration.published_architecture(spec, head)
    found: dict[str, list[Site]] = {}
    for site in adapters.sites(model):
        for name in _theirs(model, kind, head, site):
            spelt = list(spellings(kind, name))[-1] if model.bare else name
            found.setdefault(spelt.removesuffix(".weight"), []).append(site)
    return found


def _theirs(model: Model, kind: str, head: HeadSpec | None, site: Site) -> Iterable[str]:
    """The published tensors that a site is, or holds."""
    spec = spec_of(model)
    if kind in configuration.OURS or not isinstance(spec, DecoderSpec | EncoderSpec | EncoderDecoderSpec):
        return (site.name + ".weight",)
    [rule] = rules_of(kind, spec, {site.path + ".weight": None}, head)
    if site.section == WHOLE or len(rule.theirs) == 1:
        return rule.theirs
    module = model.get_submodule(site.path)  # rules name the sections of a layer in their order
    assert isinstance(module, (Linear, LowRankLinear, EightBitLinear))
    return (rule.theirs[list(module.sections).index(site.section)],)


def spellings_of(model: Model, name: str) -> Iterator[str]:
    """A published tensor's name, and what else it may be called."""
    kind, _ = configuration.published_architecture(spec_of(model), head_of(model))
    yield name
    yield from spellings(kind, name)
