"""Counts from the spec against the built model and against what autograd really keeps."""

import subprocess
import sys

import pytest
import torch

from textmill.data.batch import Batch
from textmill.models import cost, names
from textmill.models.build import build
from textmill.nn import mode
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec, RecurrentSpec
from textmill.specs.position import (
    LearnedPositions,
    RelativePositions,
)


def test_counts_by_hand():
    """What few tokens pass, such as an encoder's pooler, is no matrix that a token passes."""
    spec = DecoderSpec(d_model=8, layers=1, heads=2, d_ff=16)
    assert cost.matrices(spec) == 4 * 8 * 8 + 3 * 8 * 16
    assert cost.parameters(spec, 10) == 80 + cost.matrices(spec) + 3 * 8
    encoder = EncoderSpec(d_model=8, layers=1, heads=2, d_ff=16)
    assert cost.matrices(encoder) == 4 * 8 * 8 + 2 * 8 * 16
    both = EncoderDecoderSpec(d_model=8, layers=1, heads=2, d_ff=16)
    assert cost.matrices(both) == 2 * cost.matrices(encoder) + 4 * 8 * 8
    recurrent = RecurrentSpec(d_model=4, layers=1)
    assert cost.parameters(recurrent, 10) == 40 + 3 * 4 * (4 + 4) + 2 * 3 * 4


@pytest.mark.parametrize("more", [{}, {"kv_heads": 2, "activation": "gelu"}, {"head_dim": 8, "tied": False}])
def test_flops_are_three_times_those_of_the_products_that_run(more):
    """Watched while running: rows times entries of each matrix, and the two products of each attention map."""
    spec = DecoderSpec(d_model=32, layers=3, heads=4, d_ff=80, **more)
    model, x = build(spec, 70), torch.zeros(2, 24, dtype=torch.long)
    forward = 0

    def watch(module, inputs, output):
        nonlocal forward
        forward += 2 * module.weight.numel() * (inputs[0].numel() // module.in_features)

    for block in model.blocks:
        for layer in block.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.register_forward_hook(watch)
    with mode.capture() as maps:
        logits = model(Batch(inputs=x, targets=x))
    forward += sum(2 * 2 * weights.numel() * spec.head_width for weights in maps)
    forward += 2 * logits.numel() * spec.d_model
    assert 3 * forward == cost.flops_per_token(spec, 70, 24) * 48


def test_windows_bound_the_flops_of_attention():
    full, windowed = (DecoderSpec(d_model=32, layers=3, heads=4, d_ff=80, window=w) for w in (None, 8))
    saved = cost.flops_per_token(full, 70, 24) - cost.flops_per_token(windowed, 70, 24)
    assert saved == 12 * 3 * 32 * (24 - 8)


def test_cache_bytes_are_those_allocated():
    spec = DecoderSpec(d_model=32, layers=3, heads=4, kv_heads=2, d_ff=80)
    x = torch.zeros(2, 5, dtype=torch.long)
    _, state = build(spec, 70).eval().begin(Batch(inputs=x, targets=x), capacity=9)
    held = sum(part.nbytes for layer in state.layers for part in (layer.keys, layer.values))
    assert held == cost.cache_bytes(spec, 2, 9)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"kv_heads": 2},
        {"position": LearnedPositions(), "norm": "layernorm", "activation": "gelu", "bias": "all"},
        {"activation": "relu"},
        {"activation": "relu2"},
        {"qk_norm": True},
        {"placement": "sandwich"},
        {"placement": "post"},
        {"dropout": 0.1},
        {"attention_softcap": 5.0},
        {"position": RelativePositions()},
    ],
)
def test_activation_bytes_are_those_kept_for_the_backward_pass(more):
    check_activations(more)


@pytest.mark.parametrize(
    ("freeze", "still"),
    [(("embedding", "blocks.0-1"), 2), (("embedding", "blocks.0", "blocks.2"), 1)],
)
def test_frozen_blocks_at_the_bottom_keep_nothing(freeze, still):
    check_activations({}, freeze, still)
    assert cost.still(DecoderSpec(layers=4), 10, freeze[1:]) == 0  # the embedding below has a gradient


def check_activations(more, freeze=(), still=0):
    spec = DecoderSpec(d_model=64, layers=4, heads=4, d_ff=160, **more)
    assert cost.still(spec, 10, freeze) == still
    model, x = build(spec, 10), torch.zeros(4, 64, dtype=torch.long)
    names.freeze(model, freeze)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    held = []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # alive, so that no storage is counted under another's address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.hidden(Batch(inputs=x, targets=x))
    predicted = cost.activation_bytes(spec, 0, 4, 64, still=still)
    assert predicted == pytest.approx(sum(kept.values()), rel=0.15)


def test_checkpointing_and_chunks_lower_the_peak():
    spec = DecoderSpec()
    plain = cost.activation_bytes(spec, 8192, 8, 256)
    assert cost.activation_bytes(spec, 8192, 8, 256, checkpointing=True) < plain
    assert cost.activation_bytes(spec, 8192, 8, 256, loss_chunk=256) < plain


def test_a_preset_needs_no_torch():
    code = "import sys, textmill.specs.presets as it; it.preset('llama', '12M'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
