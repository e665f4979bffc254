"""Kappa against scikit-learn, alpha against the worked example of Krippendorff (2011)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from textmill.base.errors import TextmillError
from textmill.metrics import agreement
from textmill.metrics.score import Bootstrap

QUICK = Bootstrap(30)
# Four observers, twelve units; 0 stands for a gap.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_the_published_example(level, published):
    units = [[said or None for said in unit] for unit in zip(*OBSERVERS, strict=True)]
    assert agreement.alpha(units, level) == pytest.approx(published, abs=5e-4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=25))
def test_kappa_as_scikit_learn_has_it(rows):
    one, other = zip(*rows, strict=True)
    made = agreement.agreement(one, other, QUICK)
    assert made["agreement"].value == pytest.approx(sum(a == b for a, b in rows) / len(rows))
    if len({*one, *other}) < 2:
        assert "Cohen's kappa" not in made
    else:
        assert made["Cohen's kappa"].value == pytest.approx(cohen_kappa_score(one, other))


def test_nothing_to_disagree_about():
    for judgements in ([], [["a"]], [["a", "a"], ["a", "a"]]):
        with pytest.raises(TextmillError, match="no disagreement"):
            agreement.alpha(judgements)
