"""The order in which boxes on a page are read: rows from above, columns from the left, by the widest gap between them.

Nagy and Seth's recursive X-Y cut (ICPR 1984). Boxes that overlap stay in the order they are given in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class Box:
    """Where something lies on a page; any unit, from the top left corner."""

    left: int
    top: int
    right: int
    bottom: int


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """The numbers of the boxes, in the order they are read."""
    done: list[int] = []
    waiting = [list(range(len(boxes)))]
    while waiting:
        group = waiting.pop()
        columns, between_columns = _cut(group, [(box.left, box.right) for box in boxes])
        rows, between_rows = _cut(group, [(box.top, box.bottom) for box in boxes])
        beside = len(columns) > 1 and between_columns > between_rows
        parts = columns if beside or len(rows) < 2 else rows
        if len(parts) < 2:
            done += group
        else:
            waiting += reversed(parts)
    return done


def _cut(group: list[int], spans: Sequence[tuple[int, int]]) -> tuple[list[list[int]], int]:
    """The boxes in parts, cut where the gap with nothing in it is widest, and how wide that is."""
    order = sorted(group, key=lambda each: spans[each])
    ends = list(accumulate((spans[each][1] for each in order), max))
    gaps = [spans[each][0] - end for each, end in zip(order[1:], ends, strict=False)]
    widest = max(gaps, default=-1)
    cuts = [at for at, gap in enumerate(gaps, 1) if gap == widest >= 0]
    parts = [order[start:stop] for start, stop in pairwise([0, *cuts, len(order)])]
    return [sorted(part) for part in parts], widest
