"""What a report advises, from its figures alone."""

from __future__ import annotations

import pytest

from textmill.stages.evaluation.analysis import advice


def score(value, low, high):
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("more", "near"),
    [
        ({}, True),  # by their intervals alone
        ({"paired": {"start": "saved"}, "saved": score(0.07, 0.063, 0.071)}, False),
        ({"paired": {"start": "saved"}, "saved": score(0.01, -0.01, 0.03)}, True),
    ],
)
def test_a_difference_on_the_same_documents_tells_more_than_two_intervals(more, near):
    model = score(1.95, 1.88, 2.02)
    result = {
        "headline": "nats",
        "better": "lower",
        "documents": 208,
        "details": {"nats": model, "saved": more.get("saved")},
        "table": [{"name": "this model", **model}, {"name": "start", **score(2.09, 2.02, 2.17)}],
        "paired": more.get("paired", {}),
    }
    said = [line for line in advice(result) if "overlap" in line]
    assert (
        said
        == ["the intervals of the model and of start overlap: score more rows before you rely on it"] * near
    )
