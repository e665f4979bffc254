"""Line charts as self-contained SVG: no scripts, no fonts from elsewhere, readable in a light and a dark page."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from textmill.base.language import say

WIDTH, HEIGHT = 720, 400  # pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 48
_LETTER = 7  # about the width of one
_COLOURS = (
    "#2f6fde",
    "#d9542b",
    "#2a9d62",
    "#8a4fc7",
    "#b8860b",
    "#0f8b8d",
    "#d6336c",
    "#5c7080",
    "#7cb518",
    "#9c6644",
)
_MOST = 2000  # points of a line that are drawn; more do not show in so many pixels
_LEGEND_INSIDE = 4  # lines whose names find room over the curves; more stand beside them


@dataclass(frozen=True)
class Series:
    """One line: its name and its points; `smooth` draws the points pale and their running mean over them, `marked` a
    dot at each point of a line that is not smooth."""

    name: str
    points: Sequence[tuple[float, float]]
    smooth: bool = False
    marked: bool = True


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that cover low … high in about `wanted` steps."""
    span = (high - low) or abs(high) or 1.0
    raw = max(span / max(1, wanted - 1), sys.float_info.min)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def thinned(points: Sequence[tuple[float, float]], most: int = _MOST) -> list[tuple[float, float]]:
    """At most so many points that look the same in a picture: the first, the last, and of each stretch the lowest and
    the highest, so that no peak is lost."""
    if len(points) <= most:
        return list(points)
    stretches = (most - 2) // 2
    chosen = {0, len(points) - 1}
    for stretch in range(stretches):
        places = range(len(points) * stretch // stretches, len(points) * (stretch + 1) // stretches)
        chosen.add(min(places, key=lambda at: points[at][1]))
        chosen.add(max(places, key=lambda at: points[at][1]))
    return [points[at] for at in sorted(chosen)]


def running_mean(points: Sequence[tuple[float, float]], share: float = 0.05) -> list[tuple[float, float]]:
    """Each point's mean with the points before it, over a window of `share` of all points."""
    window = max(1, round(len(points) * share))
    total, result = 0.0, []
    for index, (x, y) in enumerate(points):
        total += y - (points[index - window][1] if index >= window else 0.0)
        result.append((x, total / min(index + 1, window)))
    return result


def line_chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """The chart as SVG text. Points that are not finite are left out; an empty chart says so."""
    series = [
        Series(
            line.name,
            [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)],
            line.smooth,
            line.marked,
        )
        for line in series
    ]
    everything = [point for line in series for point in line.points]
    if not everything:
        return _frame(
            title,
            [f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">{say("no figures yet")}</text>'],
        )
    x_low, x_high = min(x for x, _ in everything), max(x for x, _ in everything)
    y_low, y_high = min(y for _, y in everything), max(y for _, y in everything)
    pad = (y_high - y_low) * 0.05 or abs(y_high) * 0.05 or 1.0
    y_low, y_high = y_low - pad, y_high + pad

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1.0)
        up = (y - y_low) / (y_high - y_low)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    parts = _axes(to_pixels, (x_low, x_high), (y_low, y_high), x_label, y_label)
    for index, line in enumerate(series):
        if line.points:
            parts += _line(line, _COLOURS[index % len(_COLOURS)], to_pixels)
    names = [line.name for line in series]
    inside = len(names) <= _LEGEND_INSIDE
    room = 0 if inside else 40 + _LETTER * max(map(len, names))
    column = WIDTH - _RIGHT - 24 - _LETTER * max(map(len, names)) if inside else WIDTH
    return _frame(title, parts + _legend(names, column), WIDTH + room)


def _axes(to_pixels, x_range, y_range, x_label: str, y_label: str) -> list[str]:
    parts = []
    for y in ticks(*y_range):
        _, row = to_pixels(x_range[0], y)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{row:.1f}" x2="{WIDTH - _RIGHT}" y2="{row:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{row + 4:.1f}" text-anchor="end">{y:.4g}</text>')
    for x in ticks(*x_range):
        column, _ = to_pixels(x, y_range[0])
        parts.append(
            f'<text x="{column:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{x:,.6g}</text>'
        )
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )
    return parts


def _line(line: Series, colour: str, to_pixels) -> list[str]:
    def path(points: Sequence[tuple[float, float]], style: str) -> str:
        spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in (to_pixels(*point) for point in thinned(points)))
        return f'<polyline points="{spots}" fill="none" stroke="{colour}" {style}/>'

    parts = []
    if line.smooth:
        parts.append(path(line.points, 'stroke-width="1" opacity="0.25"'))
        parts.append(path(running_mean(line.points), 'stroke-width="2"'))
    else:
        parts.append(path(line.points, 'stroke-width="2"'))
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'
            for x, y in (to_pixels(*point) for point in (thinned(line.points) if line.marked else ()))
        ]
    return parts


def _legend(names: Sequence[str], column: int) -> list[str]:
    """Names with their colours, one under the other from the top."""
    parts = []
    for index, name in enumerate(names):
        row = _TOP + 14 + 18 * index
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<rect x="{column}" y="{row - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{column + 18}" y="{row + 2}">{escape(name)}</text>')
    return parts


def _frame(title: str, parts: Sequence[str], width: int = WIDTH) -> str:
    style = (
        "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.ground{fill:#fff}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.ground{fill:#181818}}"
    )
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">',
            f"<title>{escape(title)}</title><style>{style}</style>",
            f'<rect class="ground" width="{width}" height="{HEIGHT}"/>',
            f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" style="font-size:15px">{escape(title)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )
