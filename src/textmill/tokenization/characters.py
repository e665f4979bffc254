"""The characters of a text: what of them a tokenizer reads, and which of them, [start, end), each id stands for.

An id that holds part of a character stands for all of it, so that neighbours may share one. What a tokenizer changes
before it cuts (lower case, Unicode forms) is counted as it was written.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np


def without_surrogates(text: str) -> str:
    """Pairs of surrogates joined to their character, lone ones replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def offsets_of_bytes(text: str, lengths: np.ndarray) -> np.ndarray:
    """(n, 2) int64, of ids that stand for `lengths` (n,) bytes each, which together are the text in UTF-8."""
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    begun = np.cumsum((data & 0xC0) != 0x80)  # characters, with each byte
    ends = np.cumsum(lengths)
    return np.stack((begun[ends - lengths] - 1, begun[ends - 1]), axis=1).astype(np.int64)


def offsets_of_library(encoder: Any, text: str) -> np.ndarray:
    """(n, 2) int64, as a `tokenizers.Tokenizer` has them, in two places corrected.

    Where its normaliser deletes the first characters (controls), the library counts all others from the beginning; and
    of characters that are composed (a letter and its accent, the jamo of a syllable) it keeps the first alone.
    """
    encoding = encoder.encode(text, add_special_tokens=False)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    if deleted := _controls(text):
        rest = encoder.encode(text[deleted:], add_special_tokens=False)
        if rest.ids == encoding.ids:
            offsets = np.array(rest.offsets, dtype=np.int64).reshape(-1, 2) + deleted
    return offsets if text.isascii() else _with_marks(text, offsets)


def offsets_given(text: str, offsets: np.ndarray) -> np.ndarray:
    """Offsets in `without_surrogates(text)` as offsets in the text: a pair of surrogates is two characters of it."""
    if text.isascii() or len(without_surrogates(text)) == len(text):
        return offsets
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    high, low = codes >> 10 == 0xD800 >> 10, codes >> 10 == 0xDC00 >> 10
    second = np.concatenate([[False], high[:-1] & low[1:]])
    return np.append(np.flatnonzero(~second), len(codes))[offsets].astype(np.int64)


def _controls(text: str) -> int:
    """How many characters a text begins with that are seen nowhere and are no spaces."""
    count = 0
    while (
        count < len(text) and unicodedata.category(text[count]) in ("Cc", "Cf") and not text[count].isspace()
    ):
        count += 1
    return count


def _with_marks(text: str, offsets: np.ndarray) -> np.ndarray:
    """Marks and jamo that no id stands for belong to the character before them."""
    followed = np.append(offsets[1:, 0], len(text))[: len(offsets)]
    for index in np.flatnonzero(offsets[:, 1] < followed).tolist():
        end = start = int(offsets[index, 1])
        while end < followed[index] and _composes(text[end]):
            end += 1
        if end > start:
            offsets[offsets[:, 1] == start, 1] = end  # ids that share a character share its marks
    return offsets


def _composes(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff"
