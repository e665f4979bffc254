"""Rows that models with a head read, in batches of like length, and what comes of each.

Shapes: B rows, T tokens, C logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from textmill.data.batch import Batch
from textmill.data.codec import Codec, Row, at_once, by_length
from textmill.decoding.prompt import device_of
from textmill.models.pretrained import Pretrained


def codec_of(pretrained: Pretrained) -> Codec:
    """From texts to rows no longer than those the model was trained on, where that is known: what is longer is read in
    windows, as in training."""
    trained = pretrained.info.get("sequence")
    longest = pretrained.longest
    return replace(pretrained.codec, context=longest if trained is None else min(longest, trained))


@torch.inference_mode()
def outputs(
    pretrained: Pretrained, codec: Codec, rows: Sequence[Row], compute: Callable[[Batch], Tensor]
) -> list[np.ndarray]:
    """Of each row what `compute` makes of its batch, (B, …) -> (…,); with a place for each token, those of the row."""
    found: list[np.ndarray] = [np.zeros(0)] * len(rows)
    lengths, device = [len(row) for row in rows], device_of(pretrained.model)
    for numbers in by_length(lengths, at_once(device)):
        batch = codec.batch([rows[number] for number in numbers]).to(device)
        made = compute(batch).float().cpu().numpy()
        for number, values in zip(numbers.tolist(), made, strict=True):
            wide = values.ndim > 1 and len(values) == batch.inputs.shape[1]
            found[number] = values[: lengths[number]] if wide else values
    return found


def over_windows(
    pretrained: Pretrained, codec: Codec, reads: Sequence[Row], compute: Callable[[Batch], Tensor]
) -> list[list[np.ndarray]]:
    """The same of every window of every row, window by window."""
    windows = [window for read in reads for window in read.windows]
    made = iter(outputs(pretrained, codec, windows, compute))
    return [[next(made) for _ in read.windows] for read in reads]


def temperature(pretrained: Pretrained) -> float:
    """What the model's logits are divided by, so that its probabilities are as often right as they say."""
    return float(pretrained.info.get("calibration", {}).get("temperature", 1.0))
