"""Which scripts a text is written in, counted by Unicode blocks."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np

# (first, last code point, script), rising; what is between them belongs to no script that matters here. Letters of
# blocks used by one script only; marks and digits inside them count too, which no decision here minds.
_BLOCKS: tuple[tuple[int, int, str], ...] = (
    (0x41, 0x5A, "latin"),
    (0x61, 0x7A, "latin"),
    (0xC0, 0xD6, "latin"),
    (0xD8, 0xF6, "latin"),
    (0xF8, 0x24F, "latin"),
    (0x370, 0x3FF, "greek"),
    (0x400, 0x52F, "cyrillic"),
    (0x531, 0x58F, "armenian"),
    (0x591, 0x5F4, "hebrew"),
    (0x610, 0x6FF, "arabic"),
    (0x750, 0x77F, "arabic"),
    (0x900, 0x963, "devanagari"),  # the two dandas after it are used by many scripts
    (0x966, 0x97F, "devanagari"),
    (0x980, 0x9FF, "bengali"),
    (0xA00, 0xA7F, "gurmukhi"),
    (0xA80, 0xAFF, "gujarati"),
    (0xB00, 0xB7F, "oriya"),
    (0xB80, 0xBFF, "tamil"),
    (0xC00, 0xC7F, "telugu"),
    (0xC80, 0xCFF, "kannada"),
    (0xD00, 0xD7F, "malayalam"),
    (0xD80, 0xDFF, "sinhala"),
    (0xE00, 0xE7F, "thai"),
    (0xE80, 0xEFF, "lao"),
    (0xF00, 0xFFF, "tibetan"),
    (0x1000, 0x109F, "myanmar"),
    (0x10A0, 0x10FF, "georgian"),
    (0x1100, 0x11FF, "hangul"),
    (0x1200, 0x139F, "ethiopic"),
    (0x1780, 0x17FF, "khmer"),
    (0x1E00, 0x1EFF, "latin"),
    (0x1F00, 0x1FFF, "greek"),
    (0x3041, 0x3096, "kana"),
    (0x30A1, 0x30FA, "kana"),  # not U+30FB and U+30FC, which Chinese uses as a dot and a dash
    (0x3130, 0x318F, "hangul"),
    (0x3400, 0x4DBF, "hanzi"),
    (0x4E00, 0x9FFF, "hanzi"),
    (0xAC00, 0xD7AF, "hangul"),
    (0xF900, 0xFAFF, "hanzi"),
    (0xFF66, 0xFF9D, "kana"),
    (0x20000, 0x3FFFF, "hanzi"),
)
SCRIPTS = tuple(dict.fromkeys(script for _, _, script in _BLOCKS))
HANZI = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # the inside of a character class
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")
_HANZI = re.compile(f"[{HANZI}]")


@cache
def _edges() -> tuple[np.ndarray, np.ndarray]:
    """Where blocks begin and end, and the number of the script from each edge on (-1: none)."""
    edges, scripts = [0], [-1]
    for first, last, script in _BLOCKS:
        if edges[-1] == first:
            scripts[-1] = SCRIPTS.index(script)
        else:
            edges.append(first)
            scripts.append(SCRIPTS.index(script))
        edges.append(last + 1)
        scripts.append(-1)
    return np.array(edges, np.uint32), np.array(scripts, np.int64)


def count(text: str) -> Counter[str]:
    """Characters of each script in a text."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    edges, scripts = _edges()
    indices = scripts[np.searchsorted(edges, codes, side="right") - 1]
    counts = np.bincount(indices + 1, minlength=len(SCRIPTS) + 1)[1:]
    return Counter({SCRIPTS[number]: int(counts[number]) for number in np.flatnonzero(counts)})


def is_chinese(text: str) -> bool:
    """Whether text with hanzi is Chinese rather than Japanese: fewer than one kana for 20 hanzi."""
    if text.isascii():
        return False
    hanzi = len(_HANZI.findall(text))
    return hanzi > 0 and len(_KANA.findall(text)) * 20 < hanzi
