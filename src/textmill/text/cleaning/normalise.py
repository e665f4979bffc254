"""Normalisation: Unicode form, marks and white space."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

# --- Unicode ------------------------------------------------------------------------------------------------------
_MOST_MARKS = (
    30  # UAX #15 §13, stream-safe text: longer runs of marks are in no language, and cost quadratic time
)


def _mark_ranges() -> str:
    """The combining marks as the inside of a character class: ranges, since a list of them is slow to search."""
    ranges: list[list[int]] = []
    for code in range(0x300, 0x20000):
        if unicodedata.combining(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


_MARK = re.compile(f"[{_mark_ranges()}]")
_MARK_RUN = re.compile(f"{_MARK.pattern}{{{_MOST_MARKS + 1},}}")


def normalise(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Text in a Unicode normal form (UAX #15); runs of over 30 combining marks are cut to 30."""
    if text.isascii():
        return text
    # Cut before, for the time it takes, and after, since one mark may decompose into two.
    return _cut_marks(unicodedata.normalize(form, _cut_marks(text)))


def _cut_marks(text: str) -> str:
    if _MARK.search(text[:: _MOST_MARKS + 1]) is None:  # a run of 31 has one at such a place
        return text
    return _MARK_RUN.sub(lambda run: run[0][:_MOST_MARKS], text)


def whitespace(text: str, blank_lines: int) -> str:
    """Text with `\\n` line ends, no spaces at line ends, no empty lines at its ends and few within.

    Spaces at the beginning of lines stay: they are the grammar of code. A last line end stays as well.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    # Not a regular expression: `[ \t]+$` is quadratic on a long run of spaces inside a line.
    text = "\n".join([line.rstrip() for line in text.split("\n")])
    ended = text.endswith("\n")
    text = text.strip("\n")
    if "\n" * (blank_lines + 2) in text:
        text = re.sub(f"\n{{{blank_lines + 2},}}", "\n" * (blank_lines + 1), text)
    return f"{text}\n" if ended and text else text
