"""The decoder: every variant decodes step by step as it reads at once, sees no future, keeps documents apart."""

import dataclasses
import itertools

import pytest
import torch

from helpers.models import VOCABULARY, batch_of, check_documents, check_lengths, check_steps, close, tokens
from textmill.base.errors import TextmillError
from textmill.models.build import build
from textmill.nn import mode
from textmill.specs.model import DecoderSpec
from textmill.specs.position import (
    AlibiPositions,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    NoPositions,
    RelativePositions,
    RotaryPositions,
    SinusoidalPositions,
    T5Positions,
)

SMALL = {"d_model": 16, "layers": 2, "heads": 4, "d_ff": 24, "context": 32}
POSITIONS = {
    "none": NoPositions(),
    "sinusoidal": SinusoidalPositions(),
    "learned": LearnedPositions(),
    "relative": RelativePositions(clip=3),
    "t5": T5Positions(buckets=6, max_distance=9),
    "rotary": RotaryPositions(),
    "rotary-linear": RotaryPositions(scaling=LinearScaling(factor=2.0)),
    "rotary-llama3": RotaryPositions(theta=100.0, scaling=Llama3Scaling(factor=4.0, original_context=8)),
    "alibi": AlibiPositions(),
}
OTHERS = {
    "gpt2-like": {"norm": "layernorm", "activation": "gelu", "bias": "all"},
    "windowed": {"window": 4, "kv_heads": 2},
    "capped": {"attention_softcap": 2.0, "logit_softcap": 3.0, "kv_heads": 1},
    "capped-window": {"attention_softcap": 2.0, "window": 3},
    "qwen3-like": {"qk_norm": True, "kv_heads": 2, "head_dim": 8, "tied": False},
    "qkv-bias": {"bias": "qkv", "activation": "geglu", "tied": False},
    "relu": {"activation": "relu", "norm": "batchnorm"},
    "relu2": {"activation": "relu2", "norm": "layernorm"},
    "gelu-tanh": {"activation": "gelu_tanh"},
}


def specs():
    norms, placements = ("rmsnorm", "layernorm", "batchnorm"), ("pre", "post", "sandwich")
    for position, norm, placement in itertools.product(POSITIONS, norms, placements):
        more = {"window": 5} if norm == "layernorm" else {"kv_heads": 2} if norm == "rmsnorm" else {}
        spec = DecoderSpec(**SMALL, position=POSITIONS[position], norm=norm, placement=placement, **more)
        yield pytest.param(spec, id=f"{position}-{norm}-{placement}")
    for (name, more), position in itertools.product(OTHERS.items(), ("rotary", "learned", "alibi")):
        yield pytest.param(
            DecoderSpec(**SMALL, position=POSITIONS[position], **more), id=f"{name}-{position}"
        )


ALL = list(specs())
POSITIONS_ONLY = [
    pytest.param(DecoderSpec(**SMALL, position=position, **more), id=f"{name}-{kind}")
    for name, position in POSITIONS.items()
    for kind, more in {
        "plain": {},
        "window": {"window": 4, "kv_heads": 2},
        "cap": {"attention_softcap": 2.0},
    }.items()
]


def make(spec, dtype=torch.float32):
    """A model whose weights are large enough for every part to matter, in eval mode."""
    model = build(spec, VOCABULARY, seed=1, dtype=dtype).eval()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator).to(dtype)
        parameter.data = parameter.data + 0.3 * noise if "norm" in name else 0.3 * noise
    if spec.norm == "batchnorm":  # let the running statistics find their values
        model.train()
        with torch.no_grad():
            for _ in range(60):
                model(batch_of(torch.randint(0, VOCABULARY, (4, 14), generator=generator)))
    return model.eval()


@pytest.mark.parametrize("spec", ALL)
def test_step_by_step_equals_at_once(spec):
    # BatchNorm in eval mode keeps no row at unit size, so rounding is taken out of the question.
    model = make(spec, torch.float64 if spec.norm == "batchnorm" else torch.float32)
    check_steps(model, batch_of(tokens(2, 14)), 5, (1, 3, 1, 2, 1, 1))


@pytest.mark.parametrize("spec", POSITIONS_ONLY)
def test_rows_of_different_lengths_decode_as_alone(spec):
    check_lengths(make(spec))


@pytest.mark.parametrize("spec", POSITIONS_ONLY)
def test_packed_documents_give_what_they_give_alone(spec):
    check_documents(make(spec))


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL)
def test_no_token_sees_the_future(spec):
    model, x = make(spec), tokens(1, 10)
    changed = x.clone()
    changed[:, 6] = (changed[:, 6] + 1) % VOCABULARY
    before, after = model(batch_of(x)), model(batch_of(changed))
    assert torch.equal(before[:, :6], after[:, :6]) or (before[:, :6] - after[:, :6]).abs().max() < 1e-6
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).min() > 1e-6 or spec.window is not None


@torch.no_grad()
@pytest.mark.parametrize("spec", POSITIONS_ONLY)
def test_fused_equals_eager(spec):
    model, x = make(spec), tokens(2, 12)
    fused = model(batch_of(x))
    with mode.computing(eager=True):
        close(model(batch_of(x)), fused)


@torch.no_grad()
def test_windows_bound_what_is_seen():
    spec = DecoderSpec(**{**SMALL, "layers": 1}, window=3)
    model, x = make(spec), tokens(1, 10)
    changed = x.clone()
    changed[:, 2] = (changed[:, 2] + 1) % VOCABULARY
    difference = (model(batch_of(x)) - model(batch_of(changed))).abs().amax(-1)[0]
    assert (difference[2:5] > 1e-6).all()
    assert not difference[5:].any()


@torch.no_grad()
@pytest.mark.parametrize("rows", [[1, 0, 1], [2], [0, 1, 2, 2, 0]])
def test_reordered_rows_go_on_as_the_rows_they_were(rows):
    model, x = make(DecoderSpec(**SMALL, kv_heads=2)), tokens(3, 9)
    real = torch.ones(3, 5, dtype=torch.bool)
    real[1, :2] = False
    _, state = model.begin(batch_of(x[:, :5], mask=real), capacity=9)
    want, _ = model.step(x[:, 5:6], state.reorder(torch.arange(3)))
    got, _ = model.step(x[rows, 5:6], state.reorder(torch.tensor(rows)))
    close(got, want[rows], 2e-5)
    untouched, _ = model.step(x[:, 5:6], state)  # the state reordered from is still whole
    close(untouched, want, 2e-5)


@torch.no_grad()
def test_cache_is_allocated_once_and_never_outgrown():
    model, x = make(DecoderSpec(**SMALL)), tokens(1, 8)
    _, state = model.begin(batch_of(x[:, :4]), capacity=6)
    place = state.layers[0].keys.data_ptr()
    _, state = model.step(x[:, 4:6], state)
    assert state.layers[0].keys.data_ptr() == place
    assert (state.length, state.capacity, state.rows) == (6, 6, 1)
    with pytest.raises(TextmillError, match="holds 6 tokens"):
        model.step(x[:, :1], state)
    with pytest.raises(TextmillError, match="holds 3 tokens"):
        model.begin(batch_of(x[:, :4]), capacity=3)


def test_learned_positions_end_where_they_end():
    model = make(DecoderSpec(**SMALL, position=LearnedPositions()))
    with pytest.raises(TextmillError, match="33 tokens are more than the 32 positions"):
        model(batch_of(tokens(1, 33)))
    with pytest.raises(TextmillError, match="positions this model learned"):
        model.begin(batch_of(tokens(1, 4)), capacity=33)


def test_capped_logits():
    spec = DecoderSpec(**SMALL, logit_softcap=2.0)
    model, x = make(spec), tokens(1, 8)
    hidden = model.hidden(batch_of(x))
    plain = hidden @ model.embedding.weight.T
    close(model.logits(hidden), 2 * torch.tanh(plain / 2))
    assert model.logits(hidden).abs().max() <= 2


@pytest.mark.parametrize("placement", ["pre", "post", "sandwich"])
def test_block_placements_by_formula(placement):
    spec = DecoderSpec(**{**SMALL, "layers": 1}, placement=placement, norm="layernorm", bias="all")
    model, x = make(spec, torch.float64), tokens(2, 6)
    block = model.blocks[0]
    bounds = attention_bounds(spec, x)
    e = model.embedding(x)
    attend, feed = (lambda v: block.attention(v, bounds)), block.feedforward
    if placement == "pre":
        y = e + attend(block.attention_norm(e))
        want = model.norm(y + feed(block.feedforward_norm(y)))
    elif placement == "post":
        y = block.attention_norm(e + attend(e))
        want = block.feedforward_norm(y + feed(y))
    else:
        y = e + block.attention_norm_after(attend(block.attention_norm(e)))
        want = model.norm(y + block.feedforward_norm_after(feed(block.feedforward_norm(y))))
    torch.testing.assert_close(model.hidden(batch_of(x)), want)


def attention_bounds(spec, x):
    from textmill.nn import attention_mask

    return attention_mask.whole(spec, x)


@pytest.mark.parametrize("name", POSITIONS)
def test_gradient_checkpointing_changes_no_gradient(name):
    model, x = make(DecoderSpec(**SMALL, position=POSITIONS[name])), tokens(2, 8)

    def gradients():
        model.zero_grad()
        model(batch_of(x)).square().mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    with mode.computing(recomputed_blocks=1):
        recomputed = gradients()
    for a, b in zip(recomputed, plain, strict=True):
        torch.testing.assert_close(a, b)


def test_a_recomputed_block_drops_what_it_dropped():
    spec = dataclasses.replace(DecoderSpec(**SMALL), dropout=0.3)
    model, x = make(spec), tokens(2, 6)
    model.train()

    def gradients(recomputed):
        model.zero_grad()
        torch.manual_seed(5)
        with mode.computing(recomputed_blocks=recomputed):
            model(batch_of(x)).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    for a, b in zip(gradients(0), gradients(spec.layers), strict=True):
        torch.testing.assert_close(a, b)


def test_padding_brings_no_gradient_and_no_nan():
    model, x = make(DecoderSpec(**SMALL, kv_heads=2)), tokens(2, 6)
    real = torch.tensor([[False, False, True, True, True, True], [True] * 6])
    model(batch_of(x, mask=real))[real].square().sum().backward()
    gradient = model.embedding.weight.grad.clone()
    other = x.clone()
    other[0, :2] = (other[0, :2] + 7) % VOCABULARY
    model.zero_grad()
    model(batch_of(other, mask=real))[real].square().sum().backward()
    assert gradient.isfinite().all()
    torch.testing.assert_close(model.embedding.weight.grad, gradient)


def test_dropout_is_for_training_only():
    spec = dataclasses.replace(DecoderSpec(**SMALL), dropout=0.5)
    model, x = make(spec), tokens(1, 6)
    assert torch.equal(model(batch_of(x)), model(batch_of(x)))
    model.train()
    assert not torch.equal(model(batch_of(x)), model(batch_of(x)))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("more", [{}, {"position": LearnedPositions(), "norm": "layernorm", "window": 4}])
def test_compiles_as_one_graph(more):
    """No step of the forward pass sends the compiler back to Python (traced only: no code is generated)."""
    model, x = make(DecoderSpec(**SMALL, kv_heads=2, **more)), tokens(2, 10)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    documents = torch.tensor([[1] * 4 + [2] * 6] * 2)
    for batch in (batch_of(x), batch_of(x, documents=documents), batch_of(x, mask=documents > 0)):
        close(compiled(batch), model(batch))
