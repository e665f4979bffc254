"""How positions are told apart: vectors added to embeddings, rotations, and biases on attention scores.

Shapes: B sequences, T queries, S keys, H heads, D features of the model, E features of a head.

Every table here is worked out from its formula when it is needed, in float32 whatever the dtype of the
model (as the published models do, so that publishing changes no logit), and is never part of the weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from textmill.specs.position import LinearScaling, Scaling, T5Positions, YarnScaling


def count(real: Tensor | None, documents: Tensor | None) -> Tensor | None:
    """The position of each token: how many real tokens stand before it in its document.

    Args:
        real: (B, T) bool, False at padding; None when nothing is padding.
        documents: (B, T) int64, equal for neighbours in one document; None when each row is one document.

    Returns:
        (B, T) int64, or None when every row is simply 0 … T-1. Padding gets one too, which nobody reads.

    >>> count(torch.tensor([[False, False, True, True]]), None)
    tensor([[0, 0, 0, 1]])
    >>> count(None, torch.tensor([[7, 7, 7, 9, 9]]))
    tensor([[0, 1, 2, 0, 1]])
    """
    if real is not None:
        ones = real.long()
    elif documents is not None:
        ones = torch.ones_like(documents)
    else:
        return None
    before = ones.cumsum(1) - ones  # real tokens before this one in the row
    if documents is not None:
        first = torch.ones_like(documents, dtype=torch.bool)
        first[:, 1:] = documents[:, 1:] != documents[:, :-1]
        before = before - torch.where(first, before, 0).cummax(1).values
    return before.clamp(min=0)


def sinusoidal(positions: Tensor, width: int, layout: str = "interleaved") -> Tensor:
    """sin(p / 10000^(2i/D)) in even features, the cosine in odd ones (Vaswani et al. 2017, section 3.5).

    With `layout` "halves" the sines fill the first half of the features, the cosines the second (Marian).
    positions (…,) int64 -> (…, width) float32, worked out in float64 so that it is the same to the last bit as
    published tables are.
    """
    features = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    angles = positions.double()[..., None] / 10000.0 ** (features / width)
    pair = (angles.sin().float(), angles.cos().float())
    return torch.cat(pair, dim=-1) if layout == "halves" else torch.stack(pair, dim=-1).flatten(-2)


def rotary_frequencies(width: int, theta: float, scaling: Scaling | None, device: torch.device) -> Tensor:
    """Radians a token for each pair of features, (E/2,) float32 (Su et al. 2021, section 3.2.2).

    Linear scaling divides all by the factor (Chen et al. 2023); `llama3` and `yarn` divide the slow ones, keep the
    fast ones and go from one to the other in between: by their turns over the original context (Dubey et al. 2024), or
    by their place in the row (Peng et al. 2023, equations 17 to 19, as in their released code).
    """
    rates = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.int64, device=device).float() / width))
    if scaling is None:
        return rates
    if isinstance(scaling, LinearScaling):
        return rates / scaling.factor
    if isinstance(scaling, YarnScaling):
        first, last = (
            _pair_that_turns(turns, width, theta, scaling.original_context)
            for turns in (scaling.beta_fast, scaling.beta_slow)
        )
        start, end = max(math.floor(first), 0), min(math.ceil(last), width - 1)
        end = end if end != start else start + 0.001
        pairs = torch.arange(width // 2, dtype=torch.float32, device=device)
        keep = 1 - ((pairs - start) / (end - start)).clamp(0, 1)
    else:
        turns = scaling.original_context * rates / (2 * math.pi)  # over the original context
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        keep = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - keep) * rates / scaling.factor + keep * rates


def _pair_that_turns(times: float, width: int, theta: float, context: int) -> float:
    """Where in the row of frequencies the pair stands that turns so often over a context."""
    return width * math.log(context / (times * 2 * math.pi)) / (2 * math.log(theta))


def rotation(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of each token's angles: (…, T) -> two tensors (…, T, 1, E/2) for all heads."""
    angles = (positions.float()[..., None] * frequencies).unsqueeze(-2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn features i and i + E/2 together by their angle: x (B, T, H, E), cos and sin (…, T, 1, E/2)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def distances(queries: int, keys: int, device: torch.device) -> Tensor:
    """How far back key j lies from query i, (T, S) int64; negative in the future. The queries come last."""
    last = torch.arange(keys - queries, keys, device=device)
    return last[:, None] - torch.arange(keys, device=device)[None, :]


def alibi_slopes(heads: int) -> list[float]:
    """The slope of each head: 2^(-8h/H) for a power of two, else the nearest powers' interleaved.

    Press et al. 2022, section 3, and footnote in their released code for other numbers of heads.
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    finer = [2 ** (-8 * (h + 1) / (2 * power)) for h in range(2 * power)]
    return slopes + finer[0::2][: heads - power]


def alibi_bias(distance: Tensor, heads: int) -> Tensor:
    """-slope · |distance|, (H, T, S) float32 (Press et al. 2022, section 3; both ways alike in an encoder)."""
    slopes = torch.tensor(alibi_slopes(heads), dtype=torch.float32, device=distance.device)
    return -slopes[:, None, None] * distance.abs()


def t5_bucket(distance: Tensor, spec: T5Positions, *, causal: bool = True) -> Tensor:
    """The bucket of each distance back (Raffel et al. 2020, section 2.1).

    Half of the buckets are one distance each, the rest grow logarithmically up to `max_distance`. Where a
    token also sees what follows it (not causal), the lower half is for the past, the upper for the future.
    """
    if not causal:
        half = T5Positions(buckets=spec.buckets // 2, max_distance=spec.max_distance)
        return t5_bucket(distance.abs(), half) + half.buckets * (distance < 0)
    back = distance.clamp(min=0)
    exact = spec.buckets // 2
    ratio = torch.log(back.clamp(min=1).float() / exact) / math.log(spec.max_distance / exact)
    far = (exact + ratio * (spec.buckets - exact)).long().clamp(max=spec.buckets - 1)
    return torch.where(back < exact, back, far)
