"""How many numbers a recurrent model holds, from its spec alone.

Letters: V vocabulary, D d_model, W width of a state, L layers, G gates (3 of a GRU, 4 of an LSTM).
"""

from __future__ import annotations

from textmill.base.model_spec import Cell, RecurrentEncoderDecoderSpec, RecurrentSpec


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
