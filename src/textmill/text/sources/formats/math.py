"""Formulas as one line: `a/b+x^2`, `√(x+1)`, `∑_(i=1)^n i`.

Office Math (ECMA-376 part 1 §22.1) and MathML, which OpenDocument uses, say the same in two trees; both are written
by the functions below, after Unicode's nearly plain-text notation (Technical Note 28): parentheses are set where
the line would otherwise read another way, and nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from textmill.text.sources.formats.xml_events import Node

_NUMBER_OR_SIGN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_][\u0300-\u036f′]*|[^\w\s+−\-=<>±×÷·/^_,;|]")
_LETTERS = re.compile(r"[\w.,]*[^\W_]")
_SCRIPTS = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT", "fraktur": "FRAKTUR"}
_PAIRS = {"(": ")", "[": "]", "{": "}", "|": "|", "⌊": "⌋", "⌈": "⌉", "⟨": "⟩"}


# --- the notation -------------------------------------------------------------------------------------------------
def fraction(above: str, below: str) -> str:
    return f"{_closed(above, _LETTERS)}/{_closed(below)}"


def binomial(above: str, below: str) -> str:
    """Two things above one another without a line: UTN 28 §2.1."""
    return f"{_closed(above)}¦{_closed(below)}"


def scripted(base: str, below: str = "", above: str = "") -> str:
    """A base with a subscript and a superscript."""
    lower = f"_{_closed(below)}" if below else ""
    if above and not above.strip("′″‴'"):
        return f"{_closed(base)}{lower}{above}"
    return f"{_closed(base, _LETTERS if lower or not above else None)}{lower}{f'^{_closed(above)}' if above else ''}"


def root(inside: str, degree: str = "") -> str:
    sign = {"": "√", "2": "√", "3": "∛", "4": "∜"}.get(degree)
    return f"{sign}{_closed(inside)}" if sign else f"√[{degree}]{_closed(inside)}"


def large(sign: str, below: str, above: str, over: str) -> str:
    """A large operator such as ∑ or ∫, with its limits and what it works on."""
    head = f"{sign}{f'_{_closed(below)}' if below else ''}{f'^{_closed(above)}' if above else ''}"
    return f"{head} {over}" if over else head


def accented(base: str, mark: str) -> str:
    """A base under a mark, such as x̂; several letters under one mark are put in parentheses first."""
    combining = mark if unicodedata.combining(mark[:1] or " ") else _COMBINING.get(mark, "")
    base = base if len(base) == 1 else f"({base})"
    return unicodedata.normalize("NFC", f"{base}{combining}") if combining else f"{base}{mark}"


_COMBINING = {
    **{
        "^": "\u0302",
        "ˆ": "\u0302",
        "~": "\u0303",
        "˜": "\u0303",
        "¯": "\u0305",
        "‾": "\u0305",
        "→": "\u20d7",
    },
    **{
        "˙": "\u0307",
        "¨": "\u0308",
        "ˇ": "\u030c",
        "´": "\u0301",
        "`": "\u0300",
        "˘": "\u0306",
        "_": "\u0332",
    },
}


def rows(cells: list[list[str]]) -> str:
    """A matrix: its cells by commas, its rows by semicolons."""
    return "; ".join(", ".join(row) for row in cells)


def _closed(text: str, loose: re.Pattern[str] | None = None) -> str:
    """Text that stands for one thing: in parentheses unless it is one sign, one number or what `loose` allows."""
    text = text.strip()
    if _NUMBER_OR_SIGN.fullmatch(text) or (loose and loose.fullmatch(text)) or _enclosed(text):
        return text
    return f"({text})"


def _enclosed(text: str) -> bool:
    """Whether text stands in one pair of brackets."""
    if len(text) < 2 or text[0] not in "([{⌊⌈⟨" or _PAIRS[text[0]] != text[-1]:
        return False
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign == text[0]) - (sign == text[-1])
        if not depth:
            return at == len(text) - 1
    return False


# --- Office Math --------------------------------------------------------------------------------------------------
def office(node: Node) -> str:
    """A formula of Word or PowerPoint (`oMath`), or a part of one."""
    return "".join(_office_element(child) for child in node)


def _office_element(node: Node) -> str:
    write = _OFFICE.get(node.name)
    if write is not None:
        return write(node)
    if node.name.endswith("Pr") or node.name in ("del", "moveFrom"):
        return ""
    if node.name == "oMathPara":
        return "\n".join(office(child) for child in node if child.name == "oMath")
    return office(node)


def _part(node: Node, name: str) -> str:
    child = node.child(name)
    return office(child) if child else ""


def _run(node: Node) -> str:
    script = _SCRIPTS.get(node.value("rPr", "scr"), "")
    text = "".join({"t": child.text(), "tab": "\t", "br": "\n"}.get(child.name, "") for child in node)
    return "".join(_styled(sign, script) for sign in text) if script else text


def _styled(letter: str, script: str) -> str:
    """ℝ for a double-struck R: which alphabet a letter is from is part of what it means."""
    size = "CAPITAL" if letter.isupper() else "SMALL"
    for prefix in ("MATHEMATICAL ", "", "BLACK-LETTER "):
        name = f"{prefix}{script if prefix != 'BLACK-LETTER ' else ''} {size} {letter.upper()}"
        found = _lookup(" ".join(name.split()))
        if found and letter.isascii() and letter.isalpha():
            return found
    return letter


def _lookup(name: str) -> str:
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return ""


def _fraction(node: Node) -> str:
    write = binomial if node.value("fPr", "type") == "noBar" else fraction
    return write(_part(node, "num"), _part(node, "den"))


def _large(node: Node) -> str:
    sign = node.child("naryPr", "chr")
    return large(
        "∫" if sign is None else sign.get("val"),
        "" if _is_on(node, "naryPr", "subHide") else _part(node, "sub"),
        "" if _is_on(node, "naryPr", "supHide") else _part(node, "sup"),
        _part(node, "e"),
    )


def _is_on(node: Node, *path: str) -> bool:
    return node.child(*path) is not None and node.value(*path) not in ("0", "false", "off")


def _delimited(node: Node) -> str:
    def sign(name: str, usual: str) -> str:
        said = node.child("dPr", name)
        return usual if said is None else said.get("val")

    parts = [child for child in node if child.name == "e"]
    tables = [part.child("m") for part in parts]  # a matrix needs no second pair of brackets
    inside = sign("sepChr", "|").join(
        _matrix(table) if table and len([e for e in part if not e.name.endswith("Pr")]) == 1 else office(part)
        for part, table in zip(parts, tables, strict=True)
    )
    return f"{sign('begChr', '(')}{inside}{sign('endChr', ')')}"


def _matrix(node: Node) -> str:
    return rows([[office(e) for e in row if e.name == "e"] for row in node if row.name == "mr"])


def _function(node: Node) -> str:
    name, argument = _part(node, "fName").strip(), _part(node, "e").strip()
    return f"{name}{argument}" if _enclosed(argument) else f"{name} {argument}"


def _accent(node: Node) -> str:
    mark = node.child("accPr", "chr")
    return accented(_part(node, "e"), "\u0302" if mark is None else mark.get("val"))


def _bar(node: Node) -> str:
    return accented(_part(node, "e"), "¯" if node.value("barPr", "pos") == "top" else "_")


def _grouped(node: Node) -> str:
    mark = node.child("groupChrPr", "chr")
    return f"{'⏟' if mark is None else mark.get('val')}({_part(node, 'e')})"


_OFFICE: dict[str, Callable[[Node], str]] = {
    "r": _run,
    "f": _fraction,
    "sSup": lambda node: scripted(_part(node, "e"), "", _part(node, "sup")),
    "sSub": lambda node: scripted(_part(node, "e"), _part(node, "sub")),
    "sSubSup": lambda node: scripted(_part(node, "e"), _part(node, "sub"), _part(node, "sup")),
    "sPre": lambda node: (
        scripted("", _part(node, "sub"), _part(node, "sup")).replace("()", "") + _part(node, "e")
    ),
    "rad": lambda node: root(
        _part(node, "e"), "" if _is_on(node, "radPr", "degHide") else _part(node, "deg")
    ),
    "nary": _large,
    "d": _delimited,
    "m": lambda node: f"[{_matrix(node)}]",
    "eqArr": lambda node: "; ".join(office(child).replace("&", "") for child in node if child.name == "e"),
    "func": _function,
    "limLow": lambda node: scripted(_part(node, "e"), _part(node, "lim")),
    "limUpp": lambda node: scripted(_part(node, "e"), "", _part(node, "lim")),
    "acc": _accent,
    "bar": _bar,
    "groupChr": _grouped,
    "phant": lambda node: "" if node.value("phantPr", "show") in ("0", "false", "off") else _part(node, "e"),
}


# --- MathML -------------------------------------------------------------------------------------------------------
def mathml(node: Node) -> str:
    """A formula in MathML (`math`), or a part of one; what is said beside it in other notations is left out."""
    write = _MATHML.get(node.name)
    if write is not None:
        return write([mathml(child) for child in node], node)
    if not any(True for _ in node):
        return " ".join(node.text().split()) if node.name in _TOKENS else ""
    return "".join(mathml(child) for child in node if child.name not in _BESIDE)


_TOKENS = ("mi", "mn", "mo", "mtext", "ms")
_BESIDE = ("annotation", "annotation-xml", "mphantom")
Parts = list[str]


def _nth(parts: Parts, at: int) -> str:
    return parts[at] if at < len(parts) else ""


def _fence(parts: Parts, node: Node) -> str:
    separator = (node.attributes.get("separators") or ",").strip()[:1]
    inside = f"{separator} ".join(parts) if separator else "".join(parts)
    return f"{node.attributes.get('open', '(')}{inside}{node.attributes.get('close', ')')}"


def _over(parts: Parts, node: Node) -> str:
    base, above = _nth(parts, 0), _nth(parts, 1)
    return accented(base, above) if above in _COMBINING else scripted(base, "", above)


_MATHML: dict[str, Callable[[Parts, Node], str]] = {
    "mfrac": lambda p, node: (binomial if node.attributes.get("linethickness") in ("0", "0pt") else fraction)(
        _nth(p, 0), _nth(p, 1)
    ),
    "msup": lambda p, _: scripted(_nth(p, 0), "", _nth(p, 1)),
    "msub": lambda p, _: scripted(_nth(p, 0), _nth(p, 1)),
    "msubsup": lambda p, _: scripted(_nth(p, 0), _nth(p, 1), _nth(p, 2)),
    "munder": lambda p, _: scripted(_nth(p, 0), _nth(p, 1)),
    "mover": _over,
    "munderover": lambda p, _: scripted(_nth(p, 0), _nth(p, 1), _nth(p, 2)),
    "msqrt": lambda p, _: root("".join(p)),
    "mroot": lambda p, _: root(_nth(p, 0), _nth(p, 1)),
    "mtable": lambda p, _: "; ".join(p),
    "mtr": lambda p, _: ", ".join(p),
    "mfenced": _fence,
}
