"""When to be silent, beside counts made by hand."""

from __future__ import annotations

import pytest

from textmill.base.errors import TextmillError
from textmill.metrics.abstention import risk_coverage


def test_risk_at_each_share_of_the_answerable():
    sure = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    answerable = [True, True, False, True, False, True]
    right = [True, True, False, False, False, True]
    rows = risk_coverage(sure, right, answerable)
    assert [row["coverage"] for row in rows] == [1, 1, 1, 0.75, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert rows[0] == {"coverage": 1, "threshold": 0.4, "risk": 0.5, "wrong_left": 1}
    assert rows[3] == {"coverage": 0.75, "threshold": 0.6, "risk": 0.5, "wrong_left": 2 / 3}
    assert rows[5] == {"coverage": 0.5, "threshold": 0.8, "risk": 0, "wrong_left": 0}
    with pytest.raises(TextmillError, match="questions that have an answer"):
        risk_coverage([0.5], [False], [False])
