"""Hyphens at the ends of lines: `exam-` `ple` is one word, `well-` `known` are two, and a page shows both alike.

The document itself says which, where it has the word in the middle of a line, whole or with its hyphen. What it says
nothing of is joined only where the second half is no word that could stand alone; what may be either keeps its hyphen
and its line end, as the page has them.
"""

from __future__ import annotations

import re
from collections import Counter

BROKEN = "\x02"  # where a hyphen stood at the end of a line, in the text of a page
_BREAK = re.compile(rf"([^\W\d_]+){BROKEN}\s*([^\W\d_]+)")
_ANY = re.compile(rf"{BROKEN}\s*")
_WORD = re.compile(r"[^\W\d_]+(?:[-‐][^\W\d_]+)*")


def unbroken(pages: list[str]) -> list[str]:
    """The pages of a document with their broken words put together."""
    if not any(BROKEN in page for page in pages):
        return pages
    counts: Counter[str] = Counter()
    for page in pages:
        whole = _BREAK.sub(" ", page)
        for word in _WORD.findall(whole):
            counts[word.lower()] += 1
            if "-" in word:
                counts.update(word.lower().split("-"))
    return [_ANY.sub("-\n", _BREAK.sub(lambda match: _put(match, counts), page)) for page in pages]


def _put(match: re.Match[str], counts: Counter[str]) -> str:
    first, second = match.groups()
    joined, hyphened = counts[f"{first}{second}".lower()], counts[f"{first}-{second}".lower()]
    if joined or hyphened:
        return f"{first}{second}" if joined >= hyphened else f"{first}-{second}"
    capital = second[0].isupper() and not first.isupper()
    if capital or len(first) == 1 or match.string[match.end() : match.end() + 1] == "-":
        return f"{first}-{second}"
    if counts[second.lower()] and counts[first.lower()]:
        return f"{first}-\n{second}"
    return f"{first}{second}"
