"""What the examples of a model of vectors are: queries, and the passages that they find."""

from __future__ import annotations

import numpy as np

from textmill.stages.use.examples import _found
from textmill.tasks.retrieve import RETRIEVE, Located

PLACES = {"mill": (1.0, 0.0), "river": (0.0, 1.0)}


class Finder:
    """Vectors by the first word of a text."""

    pretrained = options = None

    def __init__(self, pretrained=None, options=None, *, task=None):
        self.task = task

    def predict(self, records):
        assert self.task is RETRIEVE
        for record in records:
            query, passage = (
                np.array(PLACES[record[role].split()[0]], np.float32) for role in ("query", "passage")
            )
            yield Located(query, passage[None])


def test_a_query_stands_beside_the_passage_it_finds_among_all():
    records = [
        {"query": "mill where", "passage": "mill here"},
        {"query": "river where", "passage": "mill of the river"},
        {"query": "river where", "passage": "river here"},
        {"query": "nothing belongs to it"},
    ]
    found = _found(Finder(), records)
    assert [one["said"]["text"] for one in found] == ["mill here", "river here", "river here"]
    assert [one["right"] for one in found] == [True, False, True]
    assert found[1]["gold"] == "mill of the river"
