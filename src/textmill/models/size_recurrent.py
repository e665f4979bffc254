"""What a recurrent model costs, from its spec alone: arithmetic and memory. No tensor library needed.

Letters: V vocabulary, D d_model, W width of a state, L layers, T sequence.
"""

from __future__ import annotations

from textmill.base.count_recurrent import (
    decoder_matrices,
    encoder_matrices,
    language_model_matrices,
)
from textmill.base.model_spec import RecurrentEncoderDecoderSpec, RecurrentSpec

Spec = RecurrentSpec | RecurrentEncoderDecoderSpec


def flops_per_token(spec: Spec, vocabulary: int, sequence: int) -> int:
    """Floating-point operations of one token's forward and backward pass.

    6 · (matrix entries) as `models.size.flops_per_token` counts, and for attention 12 · W · T, or 18 · W · T where
    scores are additive: their hyperbolic tangents count as one operation. Of a sequence-to-sequence model a token is
    one of the target, and the source is as long as the target.
    """
    output = vocabulary * spec.d_model
    if isinstance(spec, RecurrentSpec):
        seen = 12 * spec.width * sequence if spec.attention else 0
        return 6 * (language_model_matrices(spec) + output) + seen
    seen = {"none": 0, "additive": 18}.get(spec.attention, 12) * spec.width * sequence
    return 6 * (encoder_matrices(spec) + decoder_matrices(spec) + output) + seen


def activation_bytes(
    spec: Spec,
    vocabulary: int,
    batch: int,
    sequence: int,
    *,
    element: int = 4,
    checkpointing: bool = False,
    loss_chunk: int | None = None,
) -> int:
    """Bytes alive at the peak of a training step besides weights, gradients and optimiser state: an estimate.

    For each token: what recurrent layers keep for the backward pass (`_layers`), what attention keeps, token vectors
    and what the output layer reads (3 D), and three rows of V where the loss is worked out, for all tokens or for
    `loss_chunk` of them at once. Of a sequence-to-sequence model tokens are those of the target, and the source is as
    long. `checkpointing` changes nothing: recurrent layers are one call of a kernel and keep what they need.
    """
    tokens, width = batch * sequence, spec.width
    head = 3 * vocabulary * min(tokens, loss_chunk or tokens)
    if isinstance(spec, RecurrentSpec):
        kept = _layers(spec) + 3 * spec.d_model + (6 * width if spec.attention else 0)
        return int(element * (tokens * kept + head))
    kept = _layers(spec) + _layers(spec, by_token=bool(spec.fed_width)) + 5 * spec.d_model
    if spec.attention != "none":
        kept += 5 * width + 3 * sequence + (width * sequence if spec.attention == "additive" else 0)
    return int(element * (tokens * kept + head))


def _layers(spec: Spec, *, by_token: bool = False) -> float:
    """Numbers a token's passage through all layers of one side keeps, as PyTorch's kernels do on a CPU.

    GRU 8 W: three gates, the new state's two parts, the state. LSTM 17 W: oneDNN keeps its gates and its working space;
    14 W where a cell is called for each token. Dropout keeps a mask and its result.
    """
    per_layer = 8 if spec.cell == "gru" else 14 if by_token else 17
    return spec.layers * spec.width * (per_layer + (1.25 if spec.dropout else 0))
