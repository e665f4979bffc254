"""How many numbers a model holds, from its spec alone.

Letters in the formulas: V vocabulary, D d_model, L layers, H heads, K key heads, E width of a head, F d_ff.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textmill.specs.model import (
    Cell,
    DecoderSpec,
    EncoderDecoderSpec,
    EncoderSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
    TrainedSpec,
    TransformerSpec,
)
from textmill.specs.position import LearnedPositions, RelativePositions, T5Positions


def gates(cell: Cell) -> int:
    """How many gates, or what is computed like one, a cell has: as many matrices for its input and its state."""
    return {"gru": 3, "lstm": 4}[cell]


def stack_matrices(cell: Cell, inputs: int, width: int, layers: int, ways: int = 1) -> int:
    """Entries of the matrices of recurrent layers: G·W·(I + W) of the first, G·W·2W of the others.

    width: of all ways together; a layer reads all of the one before it, but only its own way's states.
    """
    one = width // ways
    first = inputs + one + (layers - 1) * (width + one)
    return ways * gates(cell) * one * first


def language_model_matrices(spec: RecurrentSpec) -> int:
    """Entries of the matrices between embedding and output layer."""
    total = stack_matrices(spec.cell, spec.d_model, spec.width, spec.layers)
    total += 4 * spec.width * spec.width if spec.attention else 0
    return total + (spec.width * spec.d_model if spec.width != spec.d_model else 0)


def recurrent_parameters(spec: RecurrentSpec, vocabulary: int) -> int:
    """Trained numbers of a recurrent language model: exact, for every variant.

    >>> recurrent_parameters(RecurrentSpec(d_model=4, layers=1), 10)  # 40 + 3·4·(4 + 4) + 2·3·4
    160
    """
    total = vocabulary * spec.d_model * (1 if spec.tied else 2) + language_model_matrices(spec)
    total += 2 * spec.layers * gates(spec.cell) * spec.width
    return total + (spec.d_model if spec.width != spec.d_model else 0)


def encoder_matrices(spec: RecurrentEncoderDecoderSpec) -> int:
    """Entries of the matrices a source token passes: the encoder, and the keys of attention."""
    ways = 2 if spec.bidirectional else 1
    keys = spec.width**2 if spec.attention in ("additive", "general") else 0
    return stack_matrices(spec.cell, spec.d_model, spec.width, spec.layers, ways) + keys


def decoder_matrices(spec: RecurrentEncoderDecoderSpec) -> int:
    """Entries of the matrices a target token passes before the output layer."""
    width = spec.width
    total = stack_matrices(spec.cell, spec.d_model + spec.fed_width, width, spec.layers)
    if spec.attention != "none":  # what joins context and state
        total += 2 * width**2
    if spec.attention == "additive":
        total += width**2 + width
    return total + (width * spec.d_model if width != spec.d_model else 0)


def recurrent_encoder_decoder_parameters(spec: RecurrentEncoderDecoderSpec, vocabulary: int) -> int:
    """Trained numbers of a recurrent sequence-to-sequence model: exact, for every variant."""
    width = spec.width
    total = vocabulary * spec.d_model * (1 if spec.tied else 3)
    total += encoder_matrices(spec) + decoder_matrices(spec)
    total += 4 * spec.layers * gates(spec.cell) * width
    if spec.bridge:
        total += (2 if spec.cell == "lstm" else 1) * spec.layers * width * (width + 1)
    return total + (spec.d_model if width != spec.d_model else 0)


def block_matrices(spec: TransformerSpec, *, crossed: bool = False) -> int:
    """Entries of the matrices in one block: D·(H + 2K)·E + H·E·D + 2·D·F, or 3·D·F when gated.

    A block that also attends to a source (crossed) has the matrices of attention twice.
    """
    width, inner = spec.d_model, spec.heads * spec.head_width
    attention = width * (spec.heads + 2 * spec.key_heads) * spec.head_width + inner * width
    return (2 if crossed else 1) * attention + (3 if spec.gated else 2) * width * spec.d_ff


def blocks(spec: TransformerSpec) -> tuple[tuple[int, bool], ...]:
    """How many blocks there are, and whether they attend to a source: the encoder's and the decoder's."""
    if isinstance(spec, EncoderDecoderSpec):
        return (spec.layers, False), (spec.decoder_depth, True)
    return ((spec.layers, False),)


def matrices(spec: TransformerSpec) -> int:
    """Entries of the matrices in all blocks."""
    return sum(number * block_matrices(spec, crossed=crossed) for number, crossed in blocks(spec))


def _norm(spec: TransformerSpec) -> int:
    return spec.d_model * (2 if spec.bias == "all" and spec.norm != "rmsnorm" else 1)


def _block(spec: TransformerSpec, causal: bool, crossed: bool) -> int:
    width, attentions = spec.head_width, 2 if crossed else 1
    total = block_matrices(spec, crossed=crossed)
    total += _norm(spec) * (2 if spec.placement == "sandwich" else 1) * (attentions + 1)
    if spec.bias != "none":
        total += attentions * (spec.heads + 2 * spec.key_heads) * width
    if spec.bias == "all":
        total += (attentions + 1) * spec.d_model + spec.d_ff * (2 if spec.gated else 1)
    if spec.qk_norm:
        total += 2 * width
    if isinstance(spec.position, RelativePositions):
        total += 2 * ((1 if causal else 2) * spec.position.clip + 1) * width
    return total


def _stack(spec: TransformerSpec, layers: int, *, causal: bool = True, crossed: bool = False) -> int:
    total = layers * _block(spec, causal, crossed)
    total += _norm(spec) * (spec.last_norm + spec.embedding_norm)
    if isinstance(spec.position, LearnedPositions):
        total += spec.context * spec.d_model
    if isinstance(spec.position, T5Positions):
        total += spec.position.buckets * spec.heads
    return total


def _embedding(spec: TransformerSpec, vocabulary: int) -> int:
    return vocabulary * (spec.d_model * (1 if spec.tied else 2) + spec.output_bias)


def _decoder(spec: DecoderSpec, vocabulary: int) -> int:
    return _embedding(spec, vocabulary) + _stack(spec, spec.layers)


def _encoder(spec: EncoderSpec, vocabulary: int) -> int:
    width, biased = spec.d_model, spec.bias == "all"
    layer = width * width + width * biased
    head = layer + _norm(spec)
    pooler = layer + 2 * width + 2 * biased if spec.pooler else 0
    stack = _stack(spec, spec.layers, causal=False)
    return _embedding(spec, vocabulary) + stack + spec.segments * width + head + pooler


def _encoder_decoder(spec: EncoderDecoderSpec, vocabulary: int) -> int:
    read, written = _stack(spec, spec.layers, causal=False), _stack(spec, spec.decoder_depth, crossed=True)
    return _embedding(spec, vocabulary) + read + written


_PARAMETERS: dict[str, Callable[[Any, int], int]] = {
    "decoder": _decoder,
    "encoder": _encoder,
    "encoder-decoder": _encoder_decoder,
    "recurrent": recurrent_parameters,
    "recurrent-encoder-decoder": recurrent_encoder_decoder_parameters,
}


def parameters(spec: TrainedSpec, vocabulary: int) -> int:
    """Trained numbers of the model: exact, for every variant.

    >>> parameters(DecoderSpec(d_model=8, layers=1, heads=2, d_ff=16), 10)  # 80 + 256 + 384 + 3 norms of 8
    744
    """
    return _PARAMETERS[spec.kind](spec, vocabulary)
