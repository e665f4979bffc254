"""What a model is held against."""

from __future__ import annotations

from textmill.metrics.score import Bootstrap
from textmill.stages.evaluation.analysis import baselines
from textmill.tasks.classify import CLASSIFY


def test_a_linear_model_is_not_told_to_beat_itself():
    records = [{"text": text, "label": label} for text, label in (("a good one", "yes"), ("a bad one", "no"))]
    made = {
        family: baselines(CLASSIFY, family, records, lambda: ((None, one) for one in records), Bootstrap(2))
        for family in ("encoder", "linear")
    }
    assert list(made["linear"]) == ["always 'no'"]
    assert list(made["encoder"]) == ["always 'no'", "linear model of n-grams"]
