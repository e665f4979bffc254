"""Our encoder and encoder-decoder against PyTorch's reference modules, the same weights in both, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from textmill.data.batch import Batch
from textmill.models.build import build
from textmill.nn.position import sinusoidal
from textmill.specs.model import EncoderDecoderSpec, EncoderSpec
from textmill.specs.position import SinusoidalPositions

WIDTH, HEADS, INNER, VOCABULARY = 24, 3, 40, 31


def random_weights(model):
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn_like(parameter) * 0.2)
    return model.double().eval()


def copy_linear(theirs, ours, rows=slice(None)):
    theirs.weight.data.copy_(ours.weight.data[rows])
    theirs.bias.data.copy_(ours.bias.data[rows])


def copy_attention(theirs, ours):
    """nn.MultiheadAttention keeps the three products as one matrix, as we do."""
    if hasattr(ours, "qkv"):
        weight, bias = ours.qkv.weight, ours.qkv.bias
    else:
        weight = torch.cat((ours.query.weight, ours.keys_values.weight))
        bias = torch.cat((ours.query.bias, ours.keys_values.bias))
    theirs.in_proj_weight.data.copy_(weight.data)
    theirs.in_proj_bias.data.copy_(bias.data)
    copy_linear(theirs.out_proj, ours.output)


def copy_block(theirs, ours, norms):
    copy_attention(theirs.self_attn, ours.attention)
    if ours.cross_attention is not None:
        copy_attention(theirs.multihead_attn, ours.cross_attention)
    copy_linear(theirs.linear1, ours.feedforward.up)
    copy_linear(theirs.linear2, ours.feedforward.down)
    for name, norm in zip(("norm1", "norm2", "norm3"), norms, strict=False):
        copy_linear(getattr(theirs, name), norm)


def layer_options(spec):
    return {
        "d_model": WIDTH,
        "nhead": HEADS,
        "dim_feedforward": INNER,
        "dropout": 0.0,
        "activation": spec.activation,
        "layer_norm_eps": spec.norm_eps,
        "batch_first": True,
        "norm_first": spec.placement == "pre",
        "dtype": torch.float64,
    }


def reference_encoder(spec, stack):
    layer = nn.TransformerEncoderLayer(**layer_options(spec))
    end = nn.LayerNorm(WIDTH, spec.norm_eps, dtype=torch.float64) if stack.norm is not None else None
    theirs = nn.TransformerEncoder(layer, len(stack.blocks), norm=end, enable_nested_tensor=False).eval()
    for one, block in zip(theirs.layers, stack.blocks, strict=True):
        copy_block(one, block, (block.attention_norm, block.feedforward_norm))
    if end is not None:
        copy_linear(theirs.norm, stack.norm)
    return theirs


def reference_decoder(spec, stack):
    layer = nn.TransformerDecoderLayer(**layer_options(spec))
    end = nn.LayerNorm(WIDTH, spec.norm_eps, dtype=torch.float64) if stack.norm is not None else None
    theirs = nn.TransformerDecoder(layer, len(stack.blocks), norm=end).eval()
    for one, block in zip(theirs.layers, stack.blocks, strict=True):
        norms = (block.attention_norm, block.cross_attention_norm, block.feedforward_norm)
        copy_block(one, block, norms)
    if end is not None:
        copy_linear(theirs.norm, stack.norm)
    return theirs


def ids(rows, length, seed):
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def padding(*lengths):
    real = torch.zeros(len(lengths), max(lengths), dtype=torch.bool)
    for row, length in enumerate(lengths):
        real[row, :length] = True
    return real


@pytest.mark.parametrize("placement", ["post", "pre"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_encoder(placement, activation):
    spec = EncoderSpec(
        d_model=WIDTH, layers=3, heads=HEADS, d_ff=INNER, context=16, dropout=0.0,
        placement=placement, activation=activation,
    )  # fmt: skip
    ours = random_weights(build(spec, VOCABULARY))
    theirs = reference_encoder(spec, ours)
    tokens, real = ids(3, 9, 1), padding(9, 4, 1)
    segments = (torch.arange(9) > 3).long().expand(3, 9)
    x = ours.embedding(tokens) + ours.segment_embedding(segments) + ours.position_embedding.weight[:9]
    expected = theirs(ours.embedding_norm(x), src_key_padding_mask=~real)
    found = ours.hidden(Batch(tokens, tokens, real, segments=segments))
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=1e-10)


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_encoder_decoder_and_its_gradients(placement):
    spec = EncoderDecoderSpec(
        d_model=WIDTH, layers=2, decoder_layers=3, heads=HEADS, d_ff=INNER, dropout=0.0,
        position=SinusoidalPositions(), placement=placement,
    )  # fmt: skip
    ours = random_weights(build(spec, VOCABULARY))
    encoder, decoder = reference_encoder(spec, ours.encoder), reference_decoder(spec, ours.decoder)
    table = ours.embedding.weight.detach().clone().requires_grad_()
    source, target = ids(3, 8, 1), ids(3, 6, 2)
    real_source, real_target = padding(8, 5, 3), padding(6, 2, 4)

    def vectors(tokens):
        return table[tokens] * math.sqrt(WIDTH) + sinusoidal(torch.arange(tokens.shape[1]), WIDTH).double()

    memory = encoder(vectors(source), src_key_padding_mask=~real_source)
    expected = (
        decoder(
            vectors(target),
            memory,
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64),
            tgt_key_padding_mask=(~real_target).double() * -1e9,
            memory_key_padding_mask=(~real_source).double() * -1e9,
        )
        @ table.T
    )
    batch = Batch(target, target, real_target, source=source, source_mask=real_source)
    found = ours(batch)
    torch.testing.assert_close(found[real_target], expected[real_target], rtol=0, atol=1e-10)
    weights = torch.randn(found.shape, dtype=torch.float64) * real_target[..., None]
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.embedding.weight.grad, table.grad, rtol=0, atol=1e-10)
    mine = ours.decoder.blocks[1].cross_attention
    grad = decoder.layers[1].multihead_attn.in_proj_weight.grad
    both = torch.cat((mine.query.weight.grad, mine.keys_values.weight.grad))
    torch.testing.assert_close(both, grad, rtol=0, atol=1e-10)
    grad = encoder.layers[0].linear1.weight.grad
    torch.testing.assert_close(ours.encoder.blocks[0].feedforward.up.weight.grad, grad, rtol=0, atol=1e-10)
