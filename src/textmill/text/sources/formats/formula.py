"""Mathematics in pages as one line of text: its TeX where the page has it, and otherwise MathML written out.

MathML (MathML Core, MathML 3 §3) becomes x², a/b, √(x), x_i; characters that are never shown are left out.
"""

from __future__ import annotations

import re
from html import unescape

from textmill.text.sources.formats.raised import lowered, raised

_TOKEN = re.compile(r"<!--.*?-->|<(/?)(?:[\w-]+:)?([a-zA-Z][\w-]*)([^>]*?)(/?)>|([^<]+)", re.DOTALL)
_TEX = re.compile(
    r"<(?:[\w-]+:)?annotation\b[^>]*encoding\s*=\s*[\"']?(?:application/x-tex|TeX|LaTeX)\b[^>]*>(.*?)</(?:[\w-]+:)?annotation>",
    re.IGNORECASE | re.DOTALL,
)
_STYLE = re.compile(r"\{\s*\\(?:displaystyle|textstyle)\s(.*)\}", re.DOTALL)
_INVISIBLE = {
    ord("\u2061"): " ",
    ord("\u2062"): None,
    ord("\u2063"): None,
    ord("\u2064"): None,
    ord("\u200b"): None,
}
_DEEPEST = 200
_ACCENTS = {"^": "\u0302", "ˆ": "\u0302", "~": "\u0303", "˜": "\u0303", "¯": "\u0304", "‾": "\u0304", "˙": "\u0307",
            "¨": "\u0308", "→": "\u20d7", "⃗": "\u20d7"}  # fmt: skip
_DROPPED = frozenset(
    ("annotation", "annotation-xml", "mphantom", "maligngroup", "malignmark", "none", "mprescripts")
)


def tex(source: str) -> str:
    """TeX without the wrapping that Wikipedia and others put around it."""
    source = source.strip()
    match = _STYLE.fullmatch(source)
    return " ".join((match[1] if match else source).split())


def text(markup: str, alternative: str = "") -> str:
    """The formula of a `math` element: its TeX, or its presentation written out, or what it says in its place.

    markup: what stands inside the element, as HTML; alternative: its `alttext`.
    """
    if match := _TEX.search(markup):
        return tex(unescape(match[1]))
    shown = " ".join(_written(markup).split())
    return shown or tex(alternative)


def _written(markup: str) -> str:
    """MathML in one line; elements within one another beyond reason are read as a row."""
    open_ones: list[tuple[str, list[str]]] = [("mrow", [])]
    for closing, name, _, empty, characters in _TOKEN.findall(markup):
        if characters:
            if characters.strip():
                open_ones[-1][1].append(" ".join(unescape(characters).split(" ")).strip("\n\t\r"))
        elif name and not closing and not empty and len(open_ones) < _DEEPEST:
            open_ones.append((name.lower(), []))
        elif closing and len(open_ones) > 1 and open_ones[-1][0] == name.lower():
            kind, parts = open_ones.pop()
            open_ones[-1][1].append(_element(kind, parts))
        elif name.lower() == "mspace":
            open_ones[-1][1].append(" ")
    while len(open_ones) > 1:
        kind, parts = open_ones.pop()
        open_ones[-1][1].append(_element(kind, parts))
    return "".join(open_ones[0][1]).translate(_INVISIBLE)


def _grouped(part: str) -> str:
    part = part.strip()
    return part if len(part) < 2 or part.isalnum() or part.replace(".", "", 1).isdigit() else f"({part})"


def _above(base: str, part: str) -> str:
    part = part.strip()
    small = raised(part, base[-1:] or "x")
    return base + (
        small if part and small[0] not in "^" and small != part else f"^{_grouped(part)}" if part else ""
    )


def _below(base: str, part: str) -> str:
    part = part.strip()
    small = lowered(part, base[-1:] or "x")
    return base + (
        small if part and small[0] != "_" and small != part else f"_{_grouped(part)}" if part else ""
    )


def _element(kind: str, parts: list[str]) -> str:
    first, second, third = (*parts, "", "", "")[:3]
    if kind in _DROPPED:
        return ""
    if kind == "semantics":
        return first
    if kind == "mfrac":
        return f"{_grouped(first)}/{_grouped(second)}"
    if kind == "msup":
        return _above(first, second)
    if kind == "msub":
        return _below(first, second)
    if kind == "msubsup":
        return _above(_below(first, second), third)
    if kind == "mover":
        return first + _ACCENTS[second.strip()] if second.strip() in _ACCENTS else _above(first, second)
    if kind == "munder":
        return _below(first, second)
    if kind == "munderover":
        return _above(_below(first, second), third)
    if kind == "msqrt":
        return f"√{_grouped(''.join(parts))}"
    if kind == "mroot":
        return f"√[{second.strip()}]{_grouped(first)}"
    if kind == "mfenced":
        return f"({', '.join(part.strip() for part in parts)})"
    if kind == "mtr":
        return ", ".join(part.strip() for part in parts) + "; "
    if kind == "mtable":
        return "".join(parts).removesuffix("; ")
    if kind == "mmultiscripts":
        return first + "".join(parts[1:])
    return "".join(parts)
