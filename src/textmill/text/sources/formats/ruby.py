"""Ruby in pages (HTML §4.5.10): readings beside characters, written into the line."""

from __future__ import annotations

import re
from collections.abc import Callable

_TAG = re.compile(r"<[^>]*>")
_RUBY_PART = re.compile(r"<(/?)(rb|rtc|rt|rp)(?=[\s>])[^>]*>")


def inline(inner: str) -> str:
    """The content of <ruby> with each reading behind its base in brackets: those of the page (`rp`), or round ones."""
    pieces: list[str] = []
    readings: list[str] = []
    brackets: list[str] = []

    def close() -> None:
        if any(map(str.strip, readings)):
            spaced = all(reading.isascii() for reading in readings)
            opening, closing = (brackets[0], brackets[-1]) if len(brackets) > 1 else ("(", ")")
            pieces.append(f"{opening}{(' ' if spaced else '').join(map(str.strip, readings))}{closing}")
        readings.clear()
        brackets.clear()

    within, at = "", 0
    for part in _RUBY_PART.finditer(inner):
        text = inner[at : part.start()]
        at = part.end()
        _add(within, text, pieces, readings, brackets, close)
        if part[2] == "rtc" and not part[1]:
            close()  # a second line of readings
        if part[2] in ("rt", "rp", "rtc"):
            within = "" if part[1] else part[2]
    _add("", inner[at:], pieces, readings, brackets, close)
    close()
    return "".join(pieces)


def _add(
    within: str,
    text: str,
    pieces: list[str],
    readings: list[str],
    brackets: list[str],
    close: Callable[[], None],
) -> None:
    bare = _TAG.sub("", text)
    if within in ("rt", "rtc"):
        if bare.strip():
            readings.append(bare)
    elif within == "rp":
        brackets.append(bare.strip())
    elif bare.strip():
        close()
        pieces.append(text)
