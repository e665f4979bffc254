"""Attention against its formula written as loops over single numbers, in float64."""

import dataclasses
import math

import pytest
import torch

from textmill.nn import attention_mask, mode, position
from textmill.nn.attention import Attention
from textmill.specs.model import DecoderSpec
from textmill.specs.position import (
    AlibiPositions,
    NoPositions,
    RelativePositions,
    RotaryPositions,
    T5Positions,
)

SMALL = {"d_model": 8, "heads": 4, "layers": 1, "d_ff": 8, "position": NoPositions()}
VARIANTS = {
    "plain": {},
    "grouped": {"kv_heads": 2},
    "one key head": {"kv_heads": 1, "head_dim": 4},
    "biases": {"bias": "all"},
    "window": {"window": 2, "kv_heads": 2},
    "softcap": {"attention_softcap": 0.7, "kv_heads": 2},
    "softcap and window": {"attention_softcap": 0.7, "window": 3},
    "qk_norm": {"qk_norm": True, "kv_heads": 2},
    "rotary": {"position": RotaryPositions(theta=50.0), "kv_heads": 2},
    "qk_norm and rotary": {"position": RotaryPositions(theta=50.0), "qk_norm": True},
    "relative": {"position": RelativePositions(clip=2), "kv_heads": 2},
    "relative and window": {"position": RelativePositions(clip=3), "window": 3},
    "alibi": {"position": AlibiPositions(), "kv_heads": 2},
    "t5": {"position": T5Positions(buckets=6, max_distance=7)},
}


def make(name):
    spec = DecoderSpec(**(SMALL | VARIANTS[name]))
    layer = Attention(spec).double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    table = torch.randn(6, 4, dtype=torch.float64) if name == "t5" else None
    return spec, layer, table


@torch.no_grad()
def by_loops(spec, layer, x, table):
    """One number at a time: projections, score, cap, bias, softmax, mixture, output."""
    tokens, width, heads, key_heads = x.shape[0], spec.head_width, spec.heads, spec.key_heads
    rows = x @ layer.qkv.weight.T + (0 if layer.qkv.bias is None else layer.qkv.bias)
    rows = rows.view(tokens, -1, width)
    q, k, v = rows[:, :heads], rows[:, heads : heads + key_heads], rows[:, heads + key_heads :]
    if spec.qk_norm:
        q = q / (q.square().mean(-1, keepdim=True) + spec.norm_eps).sqrt() * layer.q_norm.weight
        k = k / (k.square().mean(-1, keepdim=True) + spec.norm_eps).sqrt() * layer.k_norm.weight
    if isinstance(spec.position, RotaryPositions):
        q, k = (torch.stack([turn(row, t, 50.0) for t, row in enumerate(part)]) for part in (q, k))
    out = torch.zeros(tokens, heads, width, dtype=torch.float64)
    for h in range(heads):
        group = h * key_heads // heads
        for i in range(tokens):
            seen = [j for j in range(i + 1) if spec.window is None or i - j < spec.window]
            scores = []
            for j in seen:
                key = k[j, group]
                if isinstance(spec.position, RelativePositions):
                    key = key + layer.relative_keys[min(i - j, spec.position.clip)]
                score = float(q[i, h] @ key) / math.sqrt(width)
                if spec.attention_softcap:
                    score = spec.attention_softcap * math.tanh(score / spec.attention_softcap)
                if isinstance(spec.position, AlibiPositions):
                    score -= 2 ** (-8 * (h + 1) / heads) * (i - j)
                if isinstance(spec.position, T5Positions):
                    score += float(table[int(position.t5_bucket(torch.tensor(i - j), spec.position)), h])
                scores.append(score)
            total = sum(math.exp(s) for s in scores)
            for j, score in zip(seen, scores, strict=True):
                value = v[j, group]
                if isinstance(spec.position, RelativePositions):
                    value = value + layer.relative_values[min(i - j, spec.position.clip)]
                out[i, h] += math.exp(score) / total * value
    bias = 0 if layer.output.bias is None else layer.output.bias
    return out.reshape(tokens, -1) @ layer.output.weight.T + bias


def turn(row, t, theta):
    half = row.shape[-1] // 2
    angles = torch.tensor([t * theta ** (-i / half) for i in range(half)], dtype=torch.float64)
    first, second = row[..., :half], row[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def bounds_of(spec, x, table, **more):
    return attention_mask.whole(spec, torch.zeros(x.shape[:2], dtype=torch.long), table=table, **more)


@pytest.mark.parametrize("name", VARIANTS)
def test_by_hand(name):
    spec, layer, table = make(name)
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    got = layer(x, bounds_of(spec, x, table))
    tolerance = 2e-5 if "rotary" in name else 1e-10  # tables of angles are float32
    for row in range(2):
        torch.testing.assert_close(got[row], by_loops(spec, layer, x[row], table), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", VARIANTS)
def test_fused_equals_eager(name):
    spec, layer, table = make(name)
    layer, x = layer.float(), torch.randn(2, 9, 8)
    bounds = bounds_of(spec, x, None if table is None else table.float())
    fast = layer(x, bounds)
    formula = layer(x, bounds, mode=mode.Mode(eager=True))
    torch.testing.assert_close(formula, fast, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients(name):
    spec, layer, table = make(name)
    x = torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    if table is not None:
        inputs.append(table.requires_grad_())

    def run(*tensors):
        return layer(tensors[0], bounds_of(spec, x, table))

    assert torch.autograd.gradcheck(run, inputs)


PACKED = torch.arange(300).expand(2, -1) // torch.tensor([[70], [140]])  # of 70 tokens each, and of 140
FRONT = torch.arange(300).expand(2, -1) >= torch.tensor([[0], [200]])


@pytest.mark.parametrize(
    ("name", "more", "firsts"),
    [
        ("grouped", {}, [0, 0, 0]),
        ("window", {}, [0, 127, 255]),
        ("rotary", {"documents": PACKED}, [0, 0, 140]),
        ("alibi", {"documents": PACKED}, [0, 0, 140]),
        ("t5", {"real": FRONT}, [0, 0, 0]),
    ],
)
def test_blocks_of_queries_see_what_whole_rows_see(name, more, firsts):
    """In training, on a CPU: the same numbers and gradients, to the last digits, of fewer scores."""
    spec, layer, table = make(name)
    x = torch.randn(2, 300, 8, dtype=torch.float64, requires_grad=True)
    bounds = bounds_of(spec, x, table, **more)
    assert [(block.start, block.stop) for block in bounds.blocks] == [(0, 128), (128, 256), (256, 300)]
    assert [block.first for block in bounds.blocks] == firsts
    slope, weights = torch.randn_like(x), [x, *layer.parameters()]
    made = [layer(x, each) for each in (bounds, dataclasses.replace(bounds, blocks=()))]
    torch.testing.assert_close(*made, rtol=0, atol=1e-11)
    for pair in zip(*(torch.autograd.grad(one, weights, slope) for one in made), strict=True):
        torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        assert not bounds_of(spec, x, table, **more).blocks, "what is decoded and served is read as it was"


def test_mask_is_left_out_when_causal_order_says_it_all():
    x, spec = torch.zeros(2, 4, dtype=torch.long), DecoderSpec(window=4)
    assert attention_mask.whole(spec, x).matrix is None
    assert (
        attention_mask.whole(spec, x, real=torch.tensor([[True] * 4, [True, True, False, False]])).matrix
        is None
    )
    assert (
        attention_mask.whole(spec, x, real=torch.tensor([[True] * 4, [False, True, True, True]])).matrix
        is not None
    )
    assert attention_mask.next_tokens(spec, 1, 9, device=x.device).matrix is None
    assert attention_mask.next_tokens(spec, 1, 9, device=x.device).first == 6
    assert attention_mask.next_tokens(spec, 2, 9, device=x.device).matrix is not None


def test_captured_weights_are_a_distribution_over_what_is_seen():
    spec, layer, table = make("window")
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    with mode.capture() as maps:
        layer(x, bounds_of(spec, x, table), mode=mode.current())
    layer(x, bounds_of(spec, x, table))  # outside: not collected
    (weights,) = maps
    assert weights.shape == (2, 4, 6, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6, dtype=torch.float64))
    distance = position.distances(6, 6, x.device)
    assert not weights[..., (distance < 0) | (distance >= 2)].any()
    assert mode.current() == mode.PLAIN
