"""PowerPoint (PresentationML, ECMA-376 part 1 §19), slide by slide as an audience sees it, each with its notes.

A slide's title comes first, then its shapes as they are read on the page, or, where one takes its place from the
layout, in PowerPoint's own reading order, which is that of the file. Date, footer and number, what masters and layouts
bring, comments and hidden shapes are left out; so are hidden slides, by name.
"""

from __future__ import annotations

from collections.abc import Iterator

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats.office import drawing
from textmill.text.sources.formats.office.blocks import Blocks
from textmill.text.sources.formats.office.reading_order import Box, reading_order
from textmill.text.sources.formats.office.word import EMBEDDED, PICTURES, embedded
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.pages import joined
from textmill.text.sources.formats.stream import Fields, Input, SetAside
from textmill.text.sources.formats.xml_events import Node, related

_TITLES = ("title", "ctrTitle")
_LEFT_OUT = ("dt", "ftr", "hdr", "sldNum", "sldImg")  # placeholders (§19.7.10) of what every page repeats
_WORDED = ("t", "chart", "relIds", "oMath")
_FALSE = ("0", "false")


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """The one document of a .pptx file; where slides begin is metadata. What is embedded comes as files of its own."""
    with package(item) as parts:
        main = parts.start("ppt/presentation.xml")
        targets = parts.related(main)
        order = [related(element.attributes) for element in parts.elements(main) if element.name == "sldId"]
        shown = [part for name in order for kind, part in [targets.get(name, ("", ""))] if kind == "slide"]
        graphics = drawing.Graphics(parts)
        pieces: list[str] = []
        others: list[Rejected | Input] = []
        for number, part in enumerate(shown, 1):
            place = f"{item.place}:slide {number}"
            try:
                slide = parts.tree(parts.present(part))
                hidden = slide.get("show") in _FALSE
                if hidden:
                    raise SetAside("is hidden", "a hidden slide")
                relations = parts.related(part)
                notes = [note for kind, note in relations.values() if kind == "notesSlide" and note in parts]
                pages = [(part, slide), *((note, parts.tree(note)) for note in notes)]
                texts = [_page(parts, name, page, graphics) for name, page in pages]
                pieces.append("\n".join(filter(None, texts)))
                if not pieces[-1] and next(slide.all("pic"), None):
                    others.append(Rejected(None, place, "read", "holds no text", PICTURES))
                inside = dict.fromkeys(target for kind, target in relations.values() if kind in EMBEDDED)
                others += [embedded(parts, name) for name in inside]
            except SetAside as error:
                pieces.append("")
                others.append(Rejected(None, place, "read", error.reason, error.detail))
        text, starts = joined(pieces)
        if text.strip():
            yield collected(text, item.place, {**parts.facts(), "slides": starts})
        elif not others and not graphics.lost:
            raise SetAside("holds no text")
        yield from (*others, *graphics.lost)


def _page(parts: Package, part: str, page: Node, graphics: drawing.Graphics) -> str:
    """A slide or its notes: one paragraph a line."""
    relations = parts.related(part)
    tree = page.child("cSld", "spTree") or page
    shapes = [shape for node in _in_order(list(tree)) for shape in _shapes(node)]
    shapes.sort(key=lambda shape: _placeholder(shape) not in _TITLES)
    blocks = Blocks(gap="\n")
    for shape in shapes:
        if _placeholder(shape) not in _LEFT_OUT:
            _write(shape, relations, graphics, blocks)
    return blocks.text()


def _in_order(shapes: list[Node]) -> list[Node]:
    """The shapes with words as they are read; in the order of the file where one does not say where it lies."""
    worded = [shape for shape in shapes if any(next(shape.all(name), None) for name in _WORDED)]
    boxes = [_box(shape) for shape in worded]
    placed = [box for box in boxes if box is not None]
    return [worded[number] for number in reading_order(placed)] if len(placed) == len(worded) else worded


def _box(shape: Node) -> Box | None:
    inside = shape.child("Choice") or shape
    place = next((each for each in inside.all("xfrm") if each.child("off")), None)
    if place is None:
        return None
    left, top = _number(place, "off", "x"), _number(place, "off", "y")
    return Box(left, top, left + _number(place, "ext", "cx"), top + _number(place, "ext", "cy"))


def _number(node: Node, name: str, attribute: str) -> int:
    child = node.child(name)
    text = child.get(attribute)[:12] if child else ""
    return int(text) if text.removeprefix("-").isdecimal() else 0


def _shapes(node: Node) -> Iterator[Node]:
    """The shapes of a slide, those of groups one by one."""
    if _hidden(node):
        return
    if node.name == "AlternateContent":
        versions = [
            [shape for child in each for shape in _shapes(child)] for each in node if each.name in _VERSIONS
        ]
        yield from next(filter(None, versions), [])
    elif node.name == "grpSp":
        for child in node:
            yield from _shapes(child)
    elif not node.name.endswith("Pr"):
        yield node


_VERSIONS = ("Choice", "Fallback")


def _properties(shape: Node) -> Node | None:
    """The properties every shape has, under a name of its kind's own, such as `nvSpPr`."""
    return next((child for child in shape if child.name.startswith("nv") and child.name.endswith("Pr")), None)


def _hidden(shape: Node) -> bool:
    properties = _properties(shape)
    return bool(properties and (own := properties.child("cNvPr")) and own.get("hidden") in ("1", "true"))


def _placeholder(shape: Node) -> str:
    """What kind of placeholder a shape fills; empty for none, and for plain content."""
    properties = _properties(shape)
    own = properties.child("nvPr", "ph") if properties else None
    return own.get("type") if own else ""


def _write(node: Node, relations: drawing.Relations, graphics: drawing.Graphics, blocks: Blocks) -> None:
    """The text of a shape, in whatever it lies."""
    if node.name in ("txBody", "txSp"):
        for text in drawing.paragraphs(node.child("txBody") or node):
            blocks.paragraph(text)
    elif node.name == "tbl":
        _table(node, blocks)
    elif node.name in ("chart", "relIds"):
        lines = graphics.lines(node, relations)
        for line in lines:
            blocks.paragraph(line, lines)
    else:
        for child in node:
            _write(child, relations, graphics, blocks)


def _table(table: Node, blocks: Blocks) -> None:
    blocks.begin_table()
    for row in table:
        if row.name != "tr":
            continue
        for cell in row:
            if cell.name != "tc":
                continue
            covered = cell.get("hMerge") in ("1", "true") or cell.get("vMerge") in ("1", "true")
            body = cell.child("txBody")
            for text in drawing.paragraphs(body) if body and not covered else ():
                blocks.paragraph(text)
            blocks.end_cell()
        blocks.end_row()
    blocks.end_table()
