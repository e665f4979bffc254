"""The numbers of list items as they are shown: digits, letters, Roman numerals (CSS Counter Styles §6)."""

from __future__ import annotations

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_GREEK = "αβγδεζηθικλμνξοπρστυφχψω"


def shown(number: int, style: str) -> str:
    """A number in a style of CSS, such as `lower-roman`; a style that cannot write it gives way to digits."""
    if style in ("lower-roman", "upper-roman") and 0 < number < 4000:
        text = _roman(number)
    elif style in ("lower-alpha", "lower-latin", "upper-alpha", "upper-latin") and number > 0:
        text = _letters(number, "abcdefghijklmnopqrstuvwxyz")
    elif style == "lower-greek" and number > 0:
        text = _letters(number, _GREEK)
    elif style == "decimal-leading-zero":
        text = f"{number:03d}" if number < 0 else f"{number:02d}"
    else:
        return str(number)
    return text.upper() if style.startswith("upper") else text


def _roman(number: int) -> str:
    pieces = []
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        pieces.append(letters * count)
    return "".join(pieces)


def _letters(number: int, alphabet: str) -> str:
    """a … z, aa, ab …"""
    text = ""
    while number:
        number, at = divmod(number - 1, len(alphabet))
        text = alphabet[at] + text
    return text
