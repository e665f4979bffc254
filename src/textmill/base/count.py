"""How many numbers a model holds, from its spec alone.

Letters in the formulas: V vocabulary, D d_model, L layers, H heads, K key heads, E width of a head, F d_ff.
"""

from __future__ import annotations

from textmill.base.model_spec import DecoderSpec, LearnedPositions, RelativePositions, T5Positions


def block_matrices(spec: DecoderSpec) -> int:
    """Entries of the matrices in one block: D·(H + 2K)·E + H·E·D + 2·D·F, or 3·D·F when gated."""
    width, inner = spec.d_model, spec.heads * spec.head_width
    qkv = width * (spec.heads + 2 * spec.key_heads) * spec.head_width
    return qkv + inner * width + (3 if spec.gated else 2) * width * spec.d_ff


def _norm(spec: DecoderSpec) -> int:
    return spec.d_model * (2 if spec.bias == "all" and spec.norm != "rmsnorm" else 1)


def _block(spec: DecoderSpec) -> int:
    width = spec.head_width
    total = block_matrices(spec) + _norm(spec) * (4 if spec.placement == "sandwich" else 2)
    if spec.bias != "none":
        total += (spec.heads + 2 * spec.key_heads) * width
    if spec.bias == "all":
        total += 2 * spec.d_model + spec.d_ff * (2 if spec.gated else 1)
    if spec.qk_norm:
        total += 2 * width
    if isinstance(spec.position, RelativePositions):
        total += 2 * (spec.position.clip + 1) * width
    return total


def parameters(spec: DecoderSpec, vocabulary: int) -> int:
    """Trained numbers of the model: exact, for every variant.

    >>> parameters(DecoderSpec(d_model=8, layers=1, heads=2, d_ff=16), 10)  # 80 + 256 + 384 + 3 norms of 8
    744
    """
    total = vocabulary * spec.d_model * (1 if spec.tied else 2) + spec.layers * _block(spec)
    if spec.placement != "post":
        total += _norm(spec)
    if isinstance(spec.position, LearnedPositions):
        total += spec.context * spec.d_model
    if isinstance(spec.position, T5Positions):
        total += spec.position.buckets * spec.heads
    return total
