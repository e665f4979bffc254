"""Why a linear model says what it says: what each n-gram of a text adds to a label, or to a number.

That is exact, not an estimate: a logit is the bias and the sum of these shares. A softmax says the same when a constant
is added to all logits, so of one label out of several a share is what an n-gram adds to it beyond the mean of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from textmill.models.linear.features import Row, flattened, key_of, occurrences
from textmill.models.linear.fit import bag
from textmill.models.linear.model import Bag, BagHead

_SIDES = 3  # the first text, the second, or both of them


@dataclass(frozen=True, slots=True)
class Share:
    """An n-gram as it stands in the text, and what it adds to a label's logit, or to a number."""

    ngram: str
    weight: float


def shares(body: Bag, head: BagHead, row: Row, column: int, *, against: bool, most: int) -> tuple[Share, ...]:
    """The n-grams of one or two texts that add to a label or number, or take from it, most of all: at most `most`.

    column: the label's number; against: whether one label is said out of several, whose mean a share is held against.
    """
    read, worth = bag(body.spec, body.keys.numpy(), body.scale.float().numpy(), [row])
    if not len(read.keys):
        return ()
    weight = head.weight[torch.from_numpy(read.keys)].float()
    weight = weight[:, column] - (weight.mean(1) if against else 0)
    found = weight.numpy() * worth
    order = np.argsort(-np.abs(found), kind="stable")[:most]
    written = _written(body, row, body.keys.numpy()[read.keys[order]])
    return tuple(
        Share(written[key], float(found[place]))
        for place, key in zip(order.tolist(), body.keys.numpy()[read.keys[order]].tolist(), strict=True)
        if found[place]
    )


def _written(body: Bag, row: Row, wanted: np.ndarray) -> dict[int, str]:
    """Of each wanted feature the n-gram it stands for, as it is written where it first stands."""
    texts: dict[int, str] = {}
    for side, text in enumerate(row):
        found = occurrences([text], body.spec)
        plain = flattened(text)
        order = np.lexsort((found.start, found.characters))
        for place in range(_SIDES):
            if place not in (side, _SIDES - 1):
                continue
            keys = key_of(found.hash[order], place, body.spec.bits)
            for at in np.flatnonzero(np.isin(keys, wanted)).tolist():
                source = plain if found.characters[order[at]] else text
                texts.setdefault(
                    int(keys[at]), source[int(found.start[order[at]]) : int(found.end[order[at]])]
                )
    return texts
