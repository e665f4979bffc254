"""Text as a full-text index of words reads it, Chinese and Japanese among it.

Their characters stand apart in the index, each a word; a query asks for them one by one and for each two that stand
beside each other (Nie et al. 2000), so that nothing has to guess where words begin, and nothing can guess otherwise
tomorrow.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from textmill.text.cleaning.normalise import normalise
from textmill.text.cleaning.repair import repair
from textmill.text.words import ALONE_CHARACTERS

VERSION = 1  # of what `segmented` makes of a text; an index of another one is built anew
_ALONE = re.compile(f"([{ALONE_CHARACTERS}])")
_WORD = re.compile(r"[^\W_]+")
_RUN = re.compile(f"[{ALONE_CHARACTERS}]+")


def readable(text: str) -> str:
    """A text as it is searched: repaired, one form of each letter, no wide letters."""
    return text if text.isascii() else normalise(repair(text), "NFKC")


def segmented(text: str) -> str:
    """A readable text with every hanzi and kana apart.

    >>> segmented("在Linux上运行")
    ' 在 Linux 上  运  行 '
    """
    return text if text.isascii() else _ALONE.sub(r" \1 ", text)


def hanzi(text: str) -> float:
    """The share of a text's letters and digits that are hanzi or kana, 0 to 1."""
    letters = sum(map(len, _WORD.findall(text)))
    return len(_ALONE.findall(text)) / max(letters, 1)


def wanted(text: str) -> list[str]:
    """What a query asks for in a readable text: its words, the hanzi and kana among them, and each two of those that
    stand beside each other.

    >>> wanted("Tang 玉道")
    ['Tang', '玉', '道', '玉 道']
    """
    words = [word for part in _WORD.findall(text) for word in _ALONE.sub(r" \1 ", part).split()]
    runs = [run.group() for run in _RUN.finditer(text)]
    return list(
        dict.fromkeys([*words, *(f"{run[at]} {run[at + 1]}" for run in runs for at in range(len(run) - 1))])
    )


def folded(word: str) -> str:
    """A word as the index spells it: without case and accents."""
    plain = unicodedata.normalize("NFKD", word.lower())
    return "".join(character for character in plain if not unicodedata.combining(character))


def any_of(terms: Sequence[str]) -> str:
    """The query of SQLite's FTS5 that finds whatever holds one of these terms.

    >>> any_of(["Tang", "玉 道"])
    '"Tang" OR "玉 道"'
    """
    return " OR ".join(f'"{term}"' for term in terms)
