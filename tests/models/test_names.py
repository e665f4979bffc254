"""Patterns choose weights by name, and layers have learning rates of their own."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.models import build, names
from textmill.models.heads import Headed
from textmill.specs.head import ClassifyHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec, RecurrentSpec

SMALL = {"d_model": 8, "layers": 3}
DECODER = DecoderSpec(heads=2, d_ff=16, **SMALL)


def test_examples():
    assert doctest.testmod(names).failed == 0


def test_frozen_weights_are_those_named():
    model = build.empty(DECODER, 20)
    assert names.frozen(model, ["embedding"]) == {"embedding.weight"}
    some = names.frozen(model, ["blocks.0-1", "norm"])
    assert {name.split(".")[1] for name in some if name.startswith("blocks")} == {"0", "1"}
    assert "norm.weight" in some
    assert all("attention" in name for name in names.frozen(model, ["blocks.*.attention"]))
    headed = Headed(build.empty(EncoderSpec(heads=2, d_ff=16, **SMALL), 20), ClassifyHead(labels=("a", "b")))
    assert names.frozen(headed, ["head"]) == {"head.weight", "head.bias"}
    assert all(name.startswith("body.blocks.2.") for name in names.frozen(headed, ["blocks.2"]))
    recurrent = build.empty(RecurrentSpec(**SMALL), 20)
    assert all(name.endswith("_l1") for name in names.frozen(recurrent, ["layers.1"]))


def test_a_name_that_is_none_says_what_there_is():
    model = build.empty(DECODER, 20)
    with pytest.raises(RecipeError) as error:
        names.frozen(model, ["output"])
    assert "'output' matches no weight of the model" in str(error.value)
    assert "blocks.0-2" in error.value.advice
    assert "the output layer is the embedding (tied)" in error.value.advice
    with pytest.raises(RecipeError, match="freezes the whole model"):
        names.frozen(model, ["*"])


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_a_range_is_its_numbers(first, last, number):
    name = f"blocks.{number}.norm.weight"
    assert names.matches(name, f"blocks.{first}-{last}") == (first <= number <= last)
    assert names.matches(name, f"blocks.{first}") == (first == number)


def test_rates_fall_from_the_top():
    rates = names.rate_by_layer(build.empty(DECODER, 20), 0.5)
    assert rates["norm.weight"] == 1
    assert [rates[f"blocks.{layer}.attention.qkv.weight"] for layer in range(3)] == [0.125, 0.25, 0.5]
    assert rates["embedding.weight"] == 0.0625
    two = names.rate_by_layer(
        build.empty(EncoderDecoderSpec(heads=2, d_ff=16, decoder_layers=2, **SMALL), 20), 0.5
    )
    assert two["encoder.blocks.0.attention.qkv.weight"] == 0.125
    assert two["decoder.blocks.0.attention.qkv.weight"] == 0.25
    recurrent = names.rate_by_layer(build.empty(RecurrentSpec(**SMALL), 20), 0.5)
    assert recurrent["recurrent.core.weight_hh_l2"] == 0.5
    assert set(names.rate_by_layer(build.empty(DECODER, 20), 1.0).values()) == {1.0}
