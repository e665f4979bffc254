"""Charts are well-formed SVG that shows the figures it was given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from textmill.stages.runs import chart
from textmill.stages.runs.chart import Series

finite = st.floats(-1e6, 1e6)


@given(
    st.lists(st.tuples(finite, finite), max_size=20),
    st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
)
@example([(5e-324, 5e-324)], "")  # the smallest number there is
def test_any_series_gives_well_formed_svg(points, name):
    text = chart.line_chart([Series(name, points, smooth=True)], title=name, x_label="x", y_label="<y>")
    root = ElementTree.fromstring(text)
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    assert len(lines) == (2 if points else 0)
    for line in lines:
        assert len(line.get("points").split()) == len(points)


def test_points_lie_inside_the_frame():
    text = chart.line_chart([Series("a", [(0, 5.0), (10, 1.0)])], title="t", x_label="x", y_label="y")
    spots = re.search(r'points="([^"]+)"', text)[1].split()
    (x0, y0), (x1, y1) = (map(float, spot.split(",")) for spot in spots)
    assert 0 < x0 < x1 < chart.WIDTH
    assert 0 < y0 < y1 < chart.HEIGHT  # a falling loss falls on the page


def test_what_is_not_finite_is_left_out():
    text = chart.line_chart(
        [Series("a", [(0, 1.0), (1, float("nan")), (2, 2.0)])], title="", x_label="", y_label=""
    )
    assert "nan" not in text


@pytest.mark.parametrize(("low", "high"), [(0, 10), (1.2, 1.9), (-3, 1000), (5, 5)])
def test_ticks_are_round_and_inside(low, high):
    ticks = chart.ticks(low, high)
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert len(ticks) <= 11


def test_running_mean_of_a_constant_is_the_constant():
    assert [y for _, y in chart.running_mean([(i, 3.0) for i in range(40)])] == pytest.approx([3.0] * 40)
