"""Raised and lowered characters in plain text: a power must not become the digits behind its base.

Digits and signs have characters of their own in Unicode (x², H₂O); whatever has none is marked, as x^(n/2) and a_max.
Raised letters that are mere typography (1st, Mme) stay as they are.
"""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 40  # characters; what is longer is a text in small print
_SMALL_ONES = 0x2C80  # from here on there are none of Latin
_SIGNS = str.maketrans({"−": "⁻", "-": "⁻", "–": "⁻"})


def _small(kind: str) -> dict[int, str]:
    """Character -> its small twin, as Unicode's own decompositions say; letters included."""
    pairs = {}
    for code in range(_SMALL_ONES):
        mark, _, base = unicodedata.decomposition(chr(code)).partition(" ")
        if mark == kind and len(base) == 4 and chr(code) not in "ªº":  # which are ordinals
            pairs.setdefault(int(base, 16), chr(code))
    return pairs


_SUPER, _SUB = _small("<super>"), _small("<sub>")
_COUNTED = re.compile(r"[0-9+\-−–=()ni\s,;]*[0-9+\-−–=][0-9+\-−–=()ni\s,;]*")
_LETTERS = re.compile(r"[^\W\d_]+\.?")
_NUMERATOR = re.compile(r"[⁰¹²³⁴-⁹]\s*[/⁄]\s*$")
_LAST_WORD = re.compile(r"[^\W_]+$|\)$|\]$")
_SYMBOLS = {"TM": "™", "SM": "℠"}
_ORDINALS = frozenset("eoadrè")  # 2e, 1o, 1a, 2d, 1r


def raised(text: str, before: str) -> str:
    """What stands for raised characters; before: the end of the text in front of them."""
    inner = " ".join(text.split())
    base = _LAST_WORD.search(before)
    if not inner or len(inner) > _LONGEST or inner[0] in "[*†‡§¶#":
        return text
    if _COUNTED.fullmatch(inner):
        return inner.translate(_SIGNS).translate(_SUPER)
    if inner in _SYMBOLS:
        return _SYMBOLS[inner]
    if not base:
        return text
    word = base[0]
    variable = word in (")", "]") or (len(word) == 1 and word.isalpha())
    if not _LETTERS.fullmatch(inner):
        return f"^({inner})" if any(map(str.isdigit, inner)) or variable or word.isdigit() else text
    if len(inner) > 1:  # 1st, Mme, n°s; or a power of several letters
        return f"^({inner})" if variable and not word.isupper() and word != "n" else text
    if word[-1].isdigit():
        return text if inner in _ORDINALS else inner.translate(_SUPER) if inner in "ni" else f"^{inner}"
    if variable:
        return (
            text
            if word in "nNM" and inner in "oaer"
            else inner.translate(_SUPER)
            if inner in "ni"
            else f"^{inner}"
        )
    return inner.translate(_SUPER)  # a letter that marks a footnote


def lowered(text: str, before: str) -> str:
    """What stands for lowered characters; before: the end of the text in front of them."""
    inner = " ".join(text.split())
    if not inner or len(inner) > _LONGEST or not (_LAST_WORD.search(before) or _NUMERATOR.search(before)):
        return text
    if _COUNTED.fullmatch(inner):
        return inner.translate({ord("−"): "₋", ord("-"): "₋", ord("–"): "₋"}).translate(_SUB)
    return f"_{inner}" if inner.isalnum() else f"_({inner})" if inner.count(" ") < 2 else text


def placed(text: str, place: str, before: str) -> str:
    """Characters as they stand at a place: `super`, `sub`, or the line itself for anything else."""
    if place == "super":
        return raised(text, before)
    return lowered(text, before) if place == "sub" else text
