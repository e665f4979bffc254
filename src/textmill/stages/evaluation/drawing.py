"""Pictures of an evaluation as self-contained SVG: scores with their intervals, what is taken for what, calibration.

Colours follow the page (`currentColor`), so that they read on a light ground and on a dark one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from textmill.base.language import say
from textmill.base.page import Html

_WIDTH, _ROW, _NAMES = 720, 26, 250  # pixels; names stand left of the bars
_MINE, _OTHER, _WORSE = "#2f6fde", "#98a2b3", "#d9542b"
_MOST_LABELS = 20  # of a confusion table that is drawn
_NAME = 26  # characters of a name; more are cut


def bars(rows: Sequence[Mapping[str, Any]], title: str, *, first: int = 1) -> Html:
    """A bar for each row (`name`, `value`, `low`, `high`, `worse`) with its interval; the first ones are the model's,
    those that are `worse` stand out."""
    if not rows:
        return Html()
    ends = [row["high"] if row.get("high") is not None else row["value"] for row in rows]
    most = max(*ends, *(row["value"] for row in rows), 0) or 1.0
    room = _WIDTH - _NAMES - 70
    parts = []
    for number, row in enumerate(rows):
        y = number * _ROW
        colour = _WORSE if row.get("worse") else _MINE if number < first else _OTHER
        width = max(0.0, row["value"]) / most * room
        parts.append(
            f'<text x="{_NAMES - 8}" y="{y + 17}" text-anchor="end">{escape(_cut(str(row["name"])))}</text>'
            f'<rect x="{_NAMES}" y="{y + 5}" width="{width:.1f}" height="16" rx="2" fill="{colour}"/>'
        )
        if row.get("low") is not None and row.get("high") is not None:
            low, high = (_NAMES + max(0.0, row[end]) / most * room for end in ("low", "high"))
            parts.append(
                f'<path d="M{low:.1f} {y + 13}H{high:.1f}M{low:.1f} {y + 9}v8M{high:.1f} {y + 9}v8" class="ink"/>'
            )
            width = max(width, high - _NAMES)
        parts.append(f'<text x="{_NAMES + width + 8:.1f}" y="{y + 17}">{row["value"]:.3f}</text>')
    return _framed(parts, _WIDTH, len(rows) * _ROW + 4, title)


def confusion(table: Mapping[str, Mapping[str, int]]) -> Html:
    """What is (rows) beside what was said (columns), darker where more often, each row by itself; of many labels the
    commonest."""
    times = {true: sum(row.values()) for true, row in table.items()}
    said = {name: sum(row.get(name, 0) for row in table.values()) for row in table.values() for name in row}
    every = {name: times.get(name, 0) + said.get(name, 0) for name in (*times, *said)}
    names = sorted(sorted(every, key=lambda name: -every[name])[:_MOST_LABELS])
    if len(names) < 2:
        return Html()
    cell = max(22, min(56, (_WIDTH - 170) // len(names)))
    top, left = 110, 160
    parts = []
    for column, name in enumerate(names):
        x = left + column * cell + cell / 2
        parts.append(
            f'<text transform="translate({x + 4:.0f} {top - 8}) rotate(-50)">{escape(_cut(name, 16))}</text>'
        )
    for row, true in enumerate(names):
        y = top + row * cell
        parts.append(
            f'<text x="{left - 8}" y="{y + cell / 2 + 4:.0f}" text-anchor="end">{escape(_cut(true, 20))}</text>'
        )
        for column, name in enumerate(names):
            number = table.get(true, {}).get(name, 0)
            share = number / times[true] if times.get(true) else 0.0
            colour = _MINE if true == name else _WORSE
            x = left + column * cell
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" rx="2" class="cell"/>'
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" rx="2" fill="{colour}" '
                f'fill-opacity="{0.85 * share:.2f}"/>'
            )
            if number:
                parts.append(
                    f'<text x="{x + cell / 2 - 1:.0f}" y="{y + cell / 2 + 4:.0f}" text-anchor="middle">{number}</text>'
                )
    size = len(names) * cell
    return _framed(parts, left + size + 90, top + size + 6, say("Is (rows), predicted as (columns)"))


def reliability(bins: Sequence[Mapping[str, Any]]) -> Html:
    """How often answers are right beside how sure the model was of them; on the diagonal both are the same. Dots are as
    large as their bins hold answers."""
    if not bins:
        return Html()
    size, left, top = 300, 60, 14

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x * size, top + (1 - y) * size

    parts = [f'<rect x="{left}" y="{top}" width="{size}" height="{size}" class="cell"/>']
    parts.append(f'<path d="M{left} {top + size}L{left + size} {top}" class="ink" stroke-dasharray="4 4"/>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        (x, _), (_, y) = place(tick, 0), place(0, tick)
        parts.append(f'<text x="{x:.0f}" y="{top + size + 18}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{tick:g}</text>')
    points = [place(row["confidence"], row["accuracy"]) for row in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_MINE}" stroke-width="2"/>')
    most = max(row["answers"] for row in bins)
    for (x, y), row in zip(points, bins, strict=True):
        radius = 3 + 9 * (row["answers"] / most) ** 0.5
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_MINE}" fill-opacity="0.6"/>'
        )
    parts.append(
        f'<text x="{left + size / 2}" y="{top + size + 38}" text-anchor="middle">{escape(say("confidence"))}</text>'
        f'<text transform="translate(16 {top + size / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(say('share that is right'))}</text>"
    )
    return _framed(parts, _WIDTH, top + size + 48, say("Reliability"))


def _cut(name: str, most: int = _NAME) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _framed(parts: Sequence[str], width: float, height: float, title: str) -> Html:
    style = (
        "text{font:12px system-ui,sans-serif;fill:currentColor}.ink{stroke:currentColor;fill:none}"
        ".cell{fill:currentColor;fill-opacity:.06}"
    )
    width = max(width, _WIDTH)
    return Html(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
        f"<title>{escape(title)}</title><style>{style}</style>{''.join(parts)}</svg>\n"
    )
