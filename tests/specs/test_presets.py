"""Presets: the dial hits its budget, the published shapes have their published sizes."""

import itertools

import pytest

from textmill.base import schema
from textmill.base.errors import RecipeError
from textmill.models.cost import parameters
from textmill.specs import presets
from textmill.specs.model import DecoderSpec
from textmill.specs.presets import FAMILIES, PUBLISHED, preset

PUBLISHED_COUNTS = {  # trained numbers of the published checkpoints
    "gpt2-124M": 124_439_808,
    "gpt2-355M": 354_823_168,
    "gpt2-774M": 774_030_080,
    "gpt2-1.5B": 1_557_611_200,
    "smollm2-135M": 134_515_008,
    "smollm2-360M": 361_821_120,
    "llama-3.2-1B": 1_235_814_400,
    "llama-3.2-3B": 3_212_749_824,
    "llama-3.1-8B": 8_030_261_248,
    "qwen3-0.6B": 596_049_920,
    "qwen3-1.7B": 1_720_574_976,
    "qwen3-4B": 4_022_468_096,
    "qwen3-8B": 8_190_735_360,
}
DIAL = [
    "1M",
    "2M",
    "3M",
    "5M",
    "8M",
    "10M",
    "12M",
    "17M",
    "25M",
    "35M",
    "50M",
    "80M",
    "124M",
    "200M",
    "350M",
    "500M",
    "700M",
    "1B",
    "1.5B",
    "2B",
    "3B",
    "4B",
    "6B",
    "8B",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_published_shapes(family):
    for name, (vocabulary, _) in PUBLISHED[family].items():
        spec = schema.read(DecoderSpec, preset(family, name))
        assert parameters(spec, vocabulary) == PUBLISHED_COUNTS[name]


@pytest.mark.parametrize(("family", "size"), list(itertools.product(FAMILIES, DIAL)))
def test_the_dial_hits_its_budget(family, size):
    budget = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
    for vocabulary in (8192, 16384) if budget > 5e6 else (8192,):
        shape = preset(family, size, vocabulary)
        spec = schema.read(DecoderSpec, shape)
        assert parameters(spec, vocabulary) == presets.parameters(shape, vocabulary)
        assert parameters(spec, vocabulary) == pytest.approx(budget, rel=0.15)
        assert spec.head_width * spec.heads == spec.d_model


@pytest.mark.parametrize("family", FAMILIES)
def test_larger_is_wider_and_deeper_in_the_long_run(family):
    shapes = [schema.read(DecoderSpec, preset(family, size)) for size in ("2M", "25M", "200M", "1B", "8B")]
    for small, large in itertools.pairwise(shapes):
        assert large.d_model > small.d_model
        assert large.layers > small.layers


@pytest.mark.parametrize(
    ("family", "size", "where", "message"),
    [
        ("lama", "10M", "preset", "did you mean 'llama'"),
        ("gpt2", "gpt2-124", "size", "did you mean 'gpt2-124M'"),
        ("qwen3", "large", "size", "number of parameters"),
        ("llama", "3K", "size", "sizes go from"),
        ("llama", "1M", "size", "smaller vocabulary"),
    ],
)
def test_mistakes_are_named(family, size, where, message):
    with pytest.raises(RecipeError, match=message) as caught:
        preset(family, size, 150_000)
    assert caught.value.where == where


def test_a_preset_is_not_shared():
    preset("llama", "10M")["d_model"] = 1
    assert preset("llama", "10M")["d_model"] > 1
