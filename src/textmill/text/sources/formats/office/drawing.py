"""Words in drawings (ECMA-376 part 1 §20, §21): text bodies, charts and SmartArt, in documents, slides and sheets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from textmill.text.document import Rejected, printable
from textmill.text.sources.formats import math
from textmill.text.sources.formats.number_format import GENERAL, number_format
from textmill.text.sources.formats.numerals import numeral
from textmill.text.sources.formats.office.symbols import symbolic, symbols
from textmill.text.sources.formats.package import Package
from textmill.text.sources.formats.raised import placed
from textmill.text.sources.formats.stream import SetAside
from textmill.text.sources.formats.xml_events import Node, related

Relations = Mapping[str, tuple[str, str]]  # id -> (kind, part)
_CLOCKS = ("slidenum", "datetime")  # fields a slide fills in by itself
_AUTONUMBER = re.compile(r"(.*?)(Period|ParenR|ParenBoth|Plain|Minus)")
_FORMS = {
    **{"arabic": "decimal", "alphaLc": "lowerLetter", "alphaUc": "upperLetter", "romanLc": "lowerRoman"},
    **{"romanUc": "upperRoman", "circleNumDb": "decimalEnclosedCircle", "arabicDb": "decimalFullWidth"},
    **{"ea1Chs": "chineseCounting", "ea1Cht": "taiwaneseCounting", "ea1JpnKor": "japaneseDigitalTenThousand"},
    **{"ea1JpnChsDb": "japaneseDigitalTenThousand", "hebrew2": "hebrew2", "hindiNum": "hindiNumbers"},
    **{"arabic1": "arabicAlpha", "arabic2": "arabicAbjad", "thaiNum": "thaiNumbers"},
}
_AROUND = {"Period": "{}. ", "ParenR": "{}) ", "ParenBoth": "({}) ", "Minus": "{}- ", "Plain": "{} "}
_INSTEAD = {"br": "\n", "tab": "\t"}


# --- text bodies --------------------------------------------------------------------------------------------------
def paragraphs(body: Node) -> Iterator[str]:
    """The paragraphs of a text body (§21.1.2), numbered where their numbers are set in it."""
    styles = body.child("lstStyle")
    counts: dict[int, tuple[str, int]] = {}
    for node in body:
        if node.name != "p":
            continue
        own = node.child("pPr")
        level = _whole(own.get("lvl") if own else "")
        text = paragraph(node)
        style = styles.child(f"lvl{level + 1}pPr") if styles else None
        number = _autonumber(own, style)
        for deeper in [at for at in counts if at > level or (at == level and number is None)]:
            del counts[deeper]
        if number is None or not text.strip():
            yield text
            continue
        kind = number.get("type")
        before = counts.get(level)
        count = before[1] + 1 if before and before[0] == kind else _whole(number.get("startAt")) or 1
        counts[level] = kind, count
        form = _AUTONUMBER.fullmatch(kind)
        shown = numeral(count, _FORMS.get(form[1], "decimal") if form else "decimal")
        yield _AROUND[form[2] if form else "Period"].format(shown) + text


def _autonumber(*properties: Node | None) -> Node | None:
    """How a paragraph is numbered, by the first of these properties that speaks of bullets."""
    for each in filter(None, properties):
        if (number := each.child("buAutoNum")) is not None:
            return number
        if each.child("buNone") is not None or each.child("buChar") is not None:
            return None
    return None


def paragraph(node: Node) -> str:
    """The text of one paragraph of DrawingML."""
    text = ""
    for child in node:
        properties = child.child("rPr")
        baseline = properties.get("baseline") if properties else ""
        place = "sub" if baseline.startswith("-") else "super" if baseline.strip("0%") else ""
        text += placed(_inline(child), place, text)
    return text


def _inline(node: Node) -> str:
    if node.name == "r":
        text = "".join(child.text() for child in node if child.name == "t")
        properties = node.child("rPr")
        fonts = [font.get("typeface") for font in properties or () if font.name in ("sym", "latin")]
        font = next(filter(symbolic, fonts), "")
        return symbols(font, text) if font else text
    if node.name == "fld":
        own = node.child("t")
        return "" if own is None or node.get("type").startswith(_CLOCKS) else own.text()
    if node.name in ("oMath", "oMathPara"):
        return math.office(node)
    if node.name == "AlternateContent":
        choices = ("".join(map(_inline, child)) for child in node if child.name in ("Choice", "Fallback"))
        return next(filter(None, choices), "")
    if node.name in _INSTEAD:
        return _INSTEAD[node.name]
    return "" if node.name.endswith("Pr") else "".join(map(_inline, node))


# --- charts and SmartArt ------------------------------------------------------------------------------------------
class Graphics:
    """The charts and SmartArt of a document; those that cannot be read are in `lost`, at their own place."""

    def __init__(self, parts: Package) -> None:
        self._parts = parts
        self.lost: list[Rejected] = []

    def lines(self, node: Node, relations: Relations) -> list[str]:
        """The text of the chart (`chart`) or SmartArt (`relIds`) an element stands for, a table as rows with tabs."""
        name = node.get("dm") if node.name == "relIds" else related(node.attributes)
        kind, part = relations.get(name, ("", ""))
        try:
            if kind not in ("chart", "chartEx", "diagramData"):
                raise SetAside(
                    "is damaged, or not what its file extension says", f"its {node.name} points to no part"
                )
            tree = self._parts.tree(self._parts.present(part))
            return diagram(tree) if kind == "diagramData" else chart(tree)
        except SetAside as error:
            place = self._parts.item.place + (f"!{printable(part)}" if part else "")
            self.lost.append(Rejected(None, place, "read", error.reason, error.detail))
            return []


def diagram(model: Node) -> list[str]:
    """The words of SmartArt (§21.4), each point before those that hang from it."""
    points = {point.get("modelId"): point for point in model.all("pt") if point.get("type") != "pres"}
    below: dict[str, list[tuple[int, str]]] = {}
    for link in model.all("cxn"):
        if link.get("type") in ("", "parOf"):
            order = _whole(link.get("srcOrd"))
            below.setdefault(link.get("srcId"), []).append((order, link.get("destId")))
    roots = [name for name, point in points.items() if point.get("type") == "doc"]
    ordered: list[str] = []
    waiting = [*reversed(points), *reversed(roots)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in points and name not in seen:
            seen.add(name)
            ordered.append(name)
            waiting += [child for _, child in sorted(below.get(name, ()), reverse=True)]
    bodies = (points[name].child("t") for name in ordered)
    return [text for body in bodies if body for each in body if (text := paragraph(each).strip())]


def chart(space: Node) -> list[str]:
    """The words and numbers of a chart (§21.2): titles, then a table of its series, as it shows them."""
    lines = [text for title in space.all("title") if (text := _rich(title))]
    series = list(space.all("ser"))
    names = [_first(each, "tx") for each in series]
    labels = next(filter(None, (_points(each, "cat", "xVal") for each in series)), {})
    values = [_points(each, "val", "yVal") for each in series]
    sizes = [
        (f"{name} (size)".strip(), size)
        for name, each in zip(names, series, strict=True)
        if (size := _points(each, "bubbleSize"))
    ]
    names, values = [*names, *(name for name, _ in sizes)], [*values, *(size for _, size in sizes)]
    if any(names):
        lines.append("\t".join(["", *names]))
    for at in sorted({*labels, *(at for each in values for at in each)}):
        lines.append("\t".join([labels.get(at, ""), *(each.get(at, "") for each in values)]))
    for data in space.all("data"):  # charts younger than the standard (cx:chart)
        lines += _dimensions(data)
    lines += [text for label in space.all("dLbl") if (text := _rich(label))]
    return [line.rstrip() for line in lines if line.strip()]


def _rich(node: Node) -> str:
    """Words typed into a chart, or taken from a cell."""
    rich = next(node.all("rich"), None)
    if rich is not None:
        return " ".join(filter(None, (paragraph(each).strip() for each in rich if each.name == "p")))
    cached = next((cache for cache in node.all("strCache")), None)
    return " ".join(point.text().strip() for point in cached.all("pt")) if cached else ""


def _first(series: Node, name: str) -> str:
    node = series.child(name)
    if node is None:
        return ""
    point = next(node.all("pt"), None) or next(node.all("v"), None)
    return " ".join(point.text().split()) if point else ""


def _points(series: Node, *names: str) -> dict[int, str]:
    """The cached values of a series, by their place; labels of several levels are joined, the widest first."""
    node = next(filter(None, map(series.child, names)), None)
    if node is None:
        return {}
    levels = [level for cache in node.all("multiLvlStrCache") for level in cache if level.name == "lvl"]
    if levels:
        return _joined([_cached(level) for level in levels])
    return _cached(node)


def _joined(levels: list[dict[int, str]]) -> dict[int, str]:
    joined = {}
    for at in sorted(levels[0]):
        outer = (
            level[max((key for key in level if key <= at), default=-1)]
            for level in reversed(levels[1:])
            if any(key <= at for key in level)
        )
        joined[at] = " ".join([*outer, levels[0][at]])
    return joined


def _cached(node: Node) -> dict[int, str]:
    """The values of a cache, as its number format shows them."""
    code = next((each.text() for each in node.all("formatCode")), "")
    shape = number_format(code) if code not in ("", GENERAL) else None
    values = {_whole(point.get("idx")): point.text() for point in node.all("pt")}
    return {at: shape.number(value) if shape else _number(value) for at, value in values.items()}


def _dimensions(data: Node) -> Iterator[str]:
    columns = [{_whole(point.get("idx")): _number(point.text()) for point in each.all("pt")} for each in data]
    for at in sorted({at for column in columns for at in column}):
        yield "\t".join(column.get(at, "") for column in columns)


def _number(text: str) -> str:
    """A cached number without the digits that binary fractions bring with them."""
    text = " ".join(text.split())
    try:
        return f"{float(text):.15g}" if len(text) > 15 else text
    except ValueError:
        return text


def _whole(text: str) -> int:
    return int(text[:6]) if text.isascii() and text.isdigit() else 0
