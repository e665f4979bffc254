"""What holds of every Transformer here, whatever its positions, norms and placement; and formulas worked by hand."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.models import encoder_decoder
from textmill.models.build import build
from textmill.nn.mode import capture, computing
from textmill.objectives.loss import causal
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.specs.position import (
    AlibiPositions,
    LearnedPositions,
    NoPositions,
    RelativePositions,
    RotaryPositions,
    SinusoidalPositions,
    T5Positions,
)

POSITIONS = (
    NoPositions(),
    SinusoidalPositions(),
    LearnedPositions(),
    RelativePositions(clip=3),
    T5Positions(buckets=8, max_distance=16),
    RotaryPositions(),
    AlibiPositions(),
)
STYLES = {
    "post": {"norm": "layernorm", "bias": "all", "placement": "post", "final_norm": False},
    "pre": {"norm": "rmsnorm", "bias": "none", "placement": "pre", "activation": "geglu_tanh"},
    "sandwich": {"norm": "rmsnorm", "bias": "qkv", "placement": "sandwich", "window": 4, "qk_norm": True},
}
KINDS = (DecoderSpec, EncoderSpec, EncoderDecoderSpec)
VOCABULARY = 50


def make(kind, position, style, **more):
    shape = {"d_model": 16, "layers": 2, "heads": 4, "kv_heads": 2, "d_ff": 24, "context": 24, "dropout": 0.0}
    spec = kind(**{**shape, **STYLES[style], "position": position, **more})
    model = build(spec, VOCABULARY, seed=1).double().eval()
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator).double() * 0.2)
    return spec, model


@contextlib.contextmanager
def counting(model):
    """How often each block is computed inside the block of code."""
    computed = [0] * len(model.all_blocks())

    def count(place):
        def hook(*_):
            computed[place] += 1

        return hook

    hooks = [block.register_forward_pre_hook(count(place)) for place, block in enumerate(model.all_blocks())]
    yield computed
    for hook in hooks:
        hook.remove()


def ids(*shape, seed=0):
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def batch_for(kind, rows, length, mask=None, source_mask=None):
    x = ids(rows, length, seed=1)
    source = ids(rows, 9, seed=2) if kind is EncoderDecoderSpec else None
    return Batch(x, x, mask, source=source, source_mask=source_mask)


def of_kinds(*kinds):
    return pytest.mark.parametrize(
        ("kind", "position", "style"),
        [(kind, position, style) for kind in kinds for position in POSITIONS for style in STYLES],
        ids=lambda value: getattr(value, "kind", None) or getattr(value, "__name__", value),
    )


families = of_kinds(*KINDS)


@families
@torch.no_grad()
def test_padding_on_either_side_and_neighbours_change_nothing(kind, position, style):
    _, model = make(kind, position, style)
    lengths, sources = (7, 4, 1), (9, 6, 2)
    alone = []
    whole = batch_for(kind, 3, 7)
    for row, length in enumerate(lengths):
        source = None if whole.source is None else whole.source[row : row + 1, : sources[row]]
        x = whole.inputs[row : row + 1, :length]
        alone.append(model(Batch(x, x, source=source))[0])
    for side in ("behind", "before"):
        mask, inputs = torch.zeros(3, 7, dtype=torch.bool), ids(3, 7, seed=9)
        source = None if whole.source is None else ids(3, 9, seed=8)
        source_mask = None if source is None else torch.zeros(3, 9, dtype=torch.bool)
        for row, length in enumerate(lengths):
            place = slice(0, length) if side == "behind" else slice(7 - length, 7)
            inputs[row, place], mask[row, place] = whole.inputs[row, :length], True
            if source is not None:
                size = sources[row]
                place = slice(0, size) if side == "behind" else slice(9 - size, 9)
                source[row, place], source_mask[row, place] = whole.source[row, :size], True
        logits = model(Batch(inputs, inputs, mask, source=source, source_mask=source_mask))
        for row in range(3):
            torch.testing.assert_close(logits[row][mask[row]], alone[row], rtol=0, atol=1e-10)


@of_kinds(DecoderSpec, EncoderSpec)  # an encoder-decoder's rows are not packed
@torch.no_grad()
def test_packed_documents_read_as_alone(kind, position, style):
    _, model = make(kind, position, style)
    x = ids(1, 11, seed=1)
    documents = torch.tensor([[0] * 5 + [1] * 6])
    packed = model(Batch(x, x, documents=documents))[0]
    alone = torch.cat([model(Batch(part, part))[0] for part in (x[:, :5], x[:, 5:])])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-10)


@families
@torch.no_grad()
def test_captured_attention_adds_up_and_changes_nothing(kind, position, style):
    spec, model = make(kind, position, style)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    batch = batch_for(kind, 2, 7, mask)
    plain = model(batch)
    with computing(eager=True):
        torch.testing.assert_close(model(batch)[mask], plain[mask], rtol=0, atol=1e-10)
    with capture() as maps:
        torch.testing.assert_close(model(batch)[mask], plain[mask], rtol=0, atol=1e-10)
    blocks = 2 + 4 if kind is EncoderDecoderSpec else 2
    assert len(maps) == blocks
    for weights in maps:
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
        assert weights.shape[1] == spec.heads


@pytest.mark.parametrize("position", POSITIONS, ids=lambda one: one.kind)
@pytest.mark.parametrize("style", STYLES)
@torch.no_grad()
def test_cached_decoding_of_beams_that_share_a_source(position, style):
    _, model = make(EncoderDecoderSpec, position, style)
    source_mask = torch.ones(3, 9, dtype=torch.bool)
    source_mask[1, 4:] = False
    whole = batch_for(EncoderDecoderSpec, 3, 10, source_mask=source_mask)
    full = model(whole)
    prompt = Batch(whole.inputs[:, :2], whole.inputs[:, :2], source=whole.source, source_mask=source_mask)
    logits, state = model.begin(prompt, 12)
    torch.testing.assert_close(logits, full[:, 1], rtol=0, atol=1e-10)
    state = state.reorder(torch.tensor([0, 0, 1, 1, 2, 2]))
    assert state.sources[0].cache.keys.shape[0] == 3  # kept once for two rows
    owner = torch.tensor([0, 0, 1, 1, 2, 2])
    for place in range(2, 9):
        logits, state = model.step(whole.inputs[owner, place : place + 1], state)
        torch.testing.assert_close(logits[:, 0], full[owner, place], rtol=0, atol=1e-10)
        if place == 4:  # within their sources, as beams are
            state = state.reorder(torch.tensor([1, 0, 3, 2, 4, 5]))
            assert state.sources[0].cache.keys.shape[0] == 3
        if place == 5:  # a whole source is dropped
            state, owner = state.reorder(torch.tensor([0, 1, 4, 5])), torch.tensor([0, 0, 2, 2])
            assert state.sources[0].cache.keys.shape[0] == 2
        if place == 6:  # unequal shares
            state, owner = state.reorder(torch.tensor([0, 1, 2])), torch.tensor([0, 0, 2])
    assert state.length == 9


def test_sources_of_like_length_are_read_together(monkeypatch):
    monkeypatch.setattr(encoder_decoder, "at_once", lambda device: 9)
    _, model = make(EncoderDecoderSpec, SinusoidalPositions(), "pre")
    source_mask = torch.arange(9) < torch.tensor([3, 9, 4, 9, 1])[:, None]
    batch = batch_for(EncoderDecoderSpec, 5, 3, source_mask=source_mask)
    with torch.no_grad():
        whole = model(batch)[:, -1]
        read = []
        model.encoder.blocks[0].register_forward_pre_hook(
            lambda module, given: read.append(given[0].shape[:2])
        )
        torch.testing.assert_close(model.begin(batch, 3)[0], whole, rtol=0, atol=1e-10)
    assert read == [(1, 9), (1, 9), (2, 4), (1, 1)]


def naive_attention(q, k, v, seen, scale, bias=None):
    """q (T, E), k and v (S, E): softmax of each query's scores, by loops."""
    rows = []
    for i in range(len(q)):
        scores = [
            float(sum(a * b for a, b in zip(q[i].tolist(), k[j].tolist(), strict=True))) * scale
            + (0.0 if bias is None else float(bias[i][j]))
            for j in range(len(k))
        ]
        top = max(score for j, score in enumerate(scores) if seen(i, j))
        powers = [math.exp(score - top) if seen(i, j) else 0.0 for j, score in enumerate(scores)]
        rows.append(sum(power / sum(powers) * v[j] for j, power in enumerate(powers)))
    return torch.stack(rows)


@torch.no_grad()
def test_t5_attention_by_hand():
    """Raffel et al. 2020: no scale, and a bias by bucket, both ways in the encoder."""
    position = T5Positions(buckets=8, max_distance=16)
    spec, model = make(EncoderDecoderSpec, position, "pre", attention_scale=1.0, kv_heads=4)
    stack, block = model.encoder, model.encoder.blocks[0]
    tokens = ids(1, 7)
    with capture() as maps:
        model.encode(tokens)
    x = block.attention_norm(model.embedding(tokens))[0]
    q, k, _ = block.attention.qkv(x).unflatten(-1, (12, 4)).split(4, dim=1)
    # Distances back 0, 1 are exact among the 4 buckets of the past; 2 … 16 share the two others.
    bucket = {0: 0, 1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 3}
    for head in range(spec.heads):
        scores = torch.zeros(7, 7, dtype=torch.float64)
        for i in range(7):
            for j in range(7):
                place = bucket[abs(i - j)] + (4 if j > i else 0)
                scores[i, j] = q[i, head] @ k[j, head] + stack.position_bias.weight[place, head]
        torch.testing.assert_close(maps[0][0, head], scores.softmax(-1), rtol=0, atol=1e-10)


@torch.no_grad()
def test_shaw_positions_both_ways_by_hand():
    """Shaw et al. 2018, equations 3 and 4, with distances clipped on both sides."""
    spec, model = make(EncoderSpec, RelativePositions(clip=2), "pre", kv_heads=4, heads=4)
    attention = model.blocks[0].attention
    tokens = ids(1, 6)
    x = model.blocks[0].attention_norm(model.embedding(tokens) + model.segment_embedding.weight[0])
    q, k, v = attention.qkv(x[0]).unflatten(-1, (12, 4)).split(4, dim=1)

    def row(i, j):  # of the table: 0, 1, 2 back, then 2 and 1 ahead
        return max(-2, min(2, i - j)) % 5

    mixed = torch.zeros(6, 4, 4, dtype=torch.float64)
    for head in range(4):
        for i in range(6):
            scores = torch.stack(
                [q[i, head] @ (k[j, head] + attention.relative_keys[row(i, j)]) / 2.0 for j in range(6)]
            )
            weights = scores.softmax(-1)
            for j in range(6):
                mixed[i, head] += weights[j] * (v[j, head] + attention.relative_values[row(i, j)])
    expected = attention.output(mixed.flatten(1))
    from textmill.nn import attention_mask

    found = attention(x, attention_mask.whole(spec, tokens, causal=False))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_windows_by_block_by_hand():
    """Gemma 3: every third block sees everything, the others a window with a rotary base of their own."""
    _, model = make(
        DecoderSpec, RotaryPositions(theta=1e6), "pre",
        layers=3, window=3, full_every=3, window_theta=100.0, kv_heads=4, scaled_embedding=True,
    )  # fmt: skip
    tokens = ids(1, 8)
    x = model.embedding(tokens)[0] * math.sqrt(16)
    for layer, block in enumerate(model.blocks):
        theta, window = (1e6, 99) if layer == 2 else (100.0, 3)
        y = block.attention_norm(x)
        q, k, v = block.attention.qkv(y).unflatten(-1, (12, 4)).split(4, dim=1)

        def turned(z, theta=theta):
            out = torch.zeros_like(z)
            for place in range(8):
                for pair in range(2):
                    angle = place / theta ** (2 * pair / 4)
                    a, b = z[place, :, pair], z[place, :, pair + 2]
                    out[place, :, pair] = a * math.cos(angle) - b * math.sin(angle)
                    out[place, :, pair + 2] = b * math.cos(angle) + a * math.sin(angle)
            return out

        q, k = turned(q), turned(k)
        mixed = torch.stack(
            [
                naive_attention(
                    q[:, head],
                    k[:, head],
                    v[:, head],
                    lambda i, j, w=window: 0 <= i - j < w,
                    1 / math.sqrt(4),
                )
                for head in range(4)
            ],
            dim=1,
        )
        x = x + block.attention.output(mixed.flatten(1))
        x = x + block.feedforward(block.feedforward_norm(x))
    expected = model.logits(model.norm(x))
    batch = Batch(tokens, tokens)
    torch.testing.assert_close(model(batch)[0], expected, rtol=0, atol=1e-6)  # rotary tables are float32
    logits, state = model.begin(Batch(tokens[:, :2], tokens[:, :2]), 8)
    for place in range(2, 8):
        logits, state = model.step(tokens[:, place : place + 1], state)
        torch.testing.assert_close(logits[0, 0], expected[place], rtol=0, atol=1e-6)


def test_shared_embedding_has_the_gradient_of_both_sides_and_of_the_output():
    _, model = make(EncoderDecoderSpec, SinusoidalPositions(), "post")
    model = model.float().train()
    batch = batch_for(EncoderDecoderSpec, 4, 7)
    targets = batch.inputs.clone()
    targets[0, 3:] = IGNORE
    batch = Batch(batch.inputs, targets, source=batch.source)
    nats, number = causal(model, batch, chunk=5)
    assert int(number) == 4 * 7 - 4
    nats.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    logits = model(batch).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(
        logits, targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    torch.testing.assert_close(nats, expected)
    expected.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_recomputed_blocks_give_the_same_gradients():
    _, model = make(EncoderDecoderSpec, RotaryPositions(), "pre")
    batch = batch_for(EncoderDecoderSpec, 2, 7)
    gradients = []
    for number in (0, 3):
        model.zero_grad()
        with computing(recomputed_blocks=number), counting(model) as computed:
            model(batch).square().sum().backward()
        assert computed == [2 if block < number else 1 for block in range(len(model.all_blocks()))]
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_errors_are_said_plainly():
    _, model = make(EncoderDecoderSpec, SinusoidalPositions(), "post")
    x = ids(1, 4)
    with pytest.raises(TextmillError, match="no source"):
        model(Batch(x, x))
    _, model = make(EncoderSpec, LearnedPositions(), "post", pooler=False)
    with pytest.raises(TextmillError, match="no pooler"):
        model.pooled(model.hidden(Batch(x, x)))
    with pytest.raises(TextmillError, match="30 tokens are more than the 24 positions"):
        model(Batch(ids(1, 30), ids(1, 30)))
