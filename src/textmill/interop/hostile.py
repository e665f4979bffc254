"""Texts on which readers of the same tokenizer may part: spaces, marks, scripts, emoji, controls, and its own tokens.

They are drawn anew from a seed, so that any number of them can be had, always the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

_WORDS = (
    *(
        "the mill stood",
        "Straße",
        "naïve café",
        "don't we'll",
        "HELLO World",
        "ﬁne ﬃ",
        "e\u0301te\u0301",
        "İstanbul ıI",
    ),
    *(
        "磨坊在两条小溪交汇的地方",
        "日本語のテキスト",
        "한국어 문장",
        "हिन्दी",
        "ไทย",
        "العربية",
        "עברית",
        "Ελληνικά ς",
        "Привет",
    ),
    *(
        "123 4567",
        "3.14",
        "1,000,000",
        "2026-11-30",
        "0x1F",
        "½ ² Ⅷ",
        "a_b.c(d)",
        "def f(x):\n    return x",
        "<b>&amp;</b>",
    ),
    *(
        "👩‍🔬👍🏽",
        "🇩🇪🇨🇳",
        "𝔘𝔫𝔦",
        "\u200dz\u200c",
        "\ufeffmark",
        "\u202eback",
        "Ａｂｃ１",
        "“quoted”",
        "—…",
        "##ing",
        "▁▁",
        "Ġa",
    ),
)
_BETWEEN = (
    " ",
    "  ",
    "",
    "\n",
    "\n\n",
    "\t",
    " \t ",
    "\r\n",
    "\u3000",
    "\u00a0",
    "\u2028",
    "-",
    "'",
    ".",
    ", ",
)
_EDGES = ("", "", "", " ", "  ", "\n", "\t", "\u00a0", "\x7f", "\x01", "\x00")
_RANGES = ((0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0x2000, 0x2C00))
_RANGES += (
    (0x3000, 0x9FFF),
    (0xAC00, 0xD7A4),
    (0xE000, 0xE100),
    (0xF900, 0xFFFE),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x20100),
)


def texts(count: int, *, special: Sequence[str] = (), seed: int = 0) -> list[str]:
    """So many texts, none of them empty. special: spellings of a tokenizer's own tokens, of which some hold a few."""
    draw = random.Random(seed)
    made: list[str] = []
    while len(made) < count:
        parts = [_part(draw, special) for _ in range(draw.randint(1, 6))]
        text = draw.choice(_EDGES)
        for part in parts:
            text += part + draw.choice(_BETWEEN)
        text += draw.choice(_EDGES)
        if text.strip():
            made.append(text)
    return made


def _part(draw: random.Random, special: Sequence[str]) -> str:
    kind = draw.random()
    if kind < 0.1 and special:
        name = draw.choice(special)
        return draw.choice((name, name[:-1], name[1:], name.upper(), name * 2))
    if kind < 0.7:
        return draw.choice(_WORDS)
    low, high = draw.choice(_RANGES)
    return "".join(chr(draw.randrange(low, high)) for _ in range(draw.randint(1, 6)))
