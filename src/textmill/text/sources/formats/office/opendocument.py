"""OpenDocument (OASIS ODF 1.3): texts, sheets and presentations, packed (.odt) or as one file of XML (.fodt).

Read with the same events as Office Open XML and to the same text: what a reader sees, in order. Deleted and hidden
text, comments, and headers and footers (which lie in the styles) are left out; cells are as they were last shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats import math
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.numerals import columns
from textmill.text.sources.formats.office.blocks import LIST, Blocks
from textmill.text.sources.formats.office.opendocument_sheet import Sheet, count_of
from textmill.text.sources.formats.office.opendocument_styles import Lists, Styles
from textmill.text.sources.formats.office.reading_order import Box, reading_order
from textmill.text.sources.formats.office.word import embedded
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.pages import joined
from textmill.text.sources.formats.raised import placed
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, seekable
from textmill.text.sources.formats.xml_events import Node, Piece, attribute, replayed, trees

EXTENSIONS = (
    *(".odt", ".ott", ".odm", ".ods", ".ots", ".odp", ".otp", ".odg", ".otg"),
    *(".fodt", ".fods", ".fodp", ".fodg"),
)
_STYLES = ("style", "list-style", "outline-style")
_PASSED = frozenset(
    ("tracked-changes", "forms", "scripts", "font-face-decls", "settings", "master-styles", "annotation")
) | {
    "table-of-content-source",
    "alphabetical-index-source",
    "illustration-index-source",
    "bibliography-source",
}
_META = frozenset(("meta",))
_WHOLE = frozenset((*_STYLES, "p", "h", "number", "table-row", "page", "desc")) | _PASSED | _META
_IN_TEXT = _WHOLE - {"table-row", "page"}
_KINDS = ("text", "spreadsheet", "presentation", "drawing", "chart", "formula")
_SHAPES = (
    *("custom-shape", "rect", "ellipse", "circle", "line", "polyline", "polygon", "regular-polygon", "path"),
    *("caption", "connector", "measure"),
)
_UNSEEN = (
    "note-citation",
    "script",
    "ruby-text",
    "annotation",
    "title",
    "desc",
    "tracked-changes",
    "binary-data",
)
_PAGE_MARKS = (
    "header",
    "footer",
    "date-time",
    "page-number",
    "page",
)  # what every page of a presentation repeats
_LENGTH = re.compile(r"(-?\d{1,6}(?:\.\d{1,9})?)(mm|cm|in|pt|pc|px)")
_UNITS = {"mm": 1000, "cm": 10_000, "in": 25_400, "pt": 25_400 / 72, "pc": 25_400 / 6, "px": 25_400 / 96}
_WIDEST_GAP = 100  # empty cells kept in a row
_MOST_REPEATED = 10_000  # of one row or one cell that holds anything


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """The documents of an OpenDocument file: one, or one a sheet."""
    with seekable(item) as stream:
        flat = stream.read(5).lstrip(b"\xef\xbb\xbf").startswith(b"<")
        stream.seek(0)
        whole = replace(item, stream=stream)
        yield from _flat(whole) if flat else _packed(whole)


def _flat(item: Input) -> Iterator[Document | Rejected | Input]:
    if item.size is not None and item.size > item.limits.file_bytes:
        raise SetAside("is larger than limits.file_bytes", f"{item.limits.file_bytes} bytes")
    yield from _Reader(item, None).documents(trees(item.stream, Deadline(item.limits), _WHOLE))


def _packed(item: Input) -> Iterator[Document | Rejected | Input]:
    with package(item) as parts:
        if any(each.name == "encryption-data" for each in parts.elements("META-INF/manifest.xml")):
            raise SetAside("is encrypted", "it has a password")
        read = _Reader(item, parts)
        for name in ("styles.xml", "meta.xml"):
            for node in read.pieces(name):
                if isinstance(node, Node):
                    read.learn(node)
        yield from read.documents(read.pieces(parts.present("content.xml")))


class _Reader:
    """What all of a document shares."""

    def __init__(self, item: Input, parts: Package | None) -> None:
        self._item, self._parts = item, parts
        self._styles = Styles()
        self._lists = Lists(self._styles)
        self._facts: dict[str, str] = {}
        self._notes: list[str] = []
        self._others: list[Rejected | Input] = []

    def pieces(self, name: str) -> Iterator[Piece]:
        """A part, its paragraphs and rows as trees; nothing of one that is missing."""
        if self._parts is not None and name in self._parts:
            with self._parts.open(name) as stream:
                yield from trees(stream, self._parts.deadline, _WHOLE)

    def learn(self, node: Node) -> None:
        """Take in a style, or what the document says of itself."""
        if node.name in _STYLES:
            self._styles.add(node)
        elif node.name in _META:
            said = {each.name: each.text() for each in node}
            self._facts = facts(
                said.get("title", ""),
                said.get("initial-creator", "") or said.get("creator", ""),
                said.get("creation-date", "") or said.get("date", ""),
                said.get("language", ""),
            )

    def documents(self, pieces: Iterator[Piece]) -> Iterator[Document | Rejected | Input]:
        found = False
        for piece in pieces:
            if isinstance(piece, Node):
                self.learn(piece)
            elif piece[0] == "start" and piece[1] in _KINDS:
                read = {"spreadsheet": self._sheets, "presentation": self._slides, "drawing": self._slides}
                for entry in read.get(piece[1], self._text)(_until(pieces, piece[1])):
                    found = True
                    yield entry
            elif piece[:2] == ("start", "math"):
                raise SetAside("is not in a format that is read", "a formula only")
        yield from self._others
        if not found and not self._others:
            raise SetAside("holds no text")

    def _document(self, text: str, **more: str) -> Iterator[Document]:
        if text.strip():
            yield collected(text, self._item.place, {**self._facts, **more})

    # --- texts ----------------------------------------------------------------------------------------------------
    def _text(self, pieces: Iterator[Piece]) -> Iterator[Document | Rejected | Input]:
        blocks = Blocks()
        self._blocks(_opened(pieces, _IN_TEXT), blocks)
        yield from self._document("\n\n".join(filter(None, (blocks.text(), *self._notes))))

    def _blocks(self, pieces: Iterator[Piece], blocks: Blocks) -> None:
        hidden = 0  # sections around that are not displayed
        for piece in pieces:
            if isinstance(piece, Node):
                if piece.name in ("p", "h") and not hidden:
                    self._paragraph(piece, blocks)
                elif piece.name == "number":
                    self._lists.say(piece.text().strip())
                else:
                    self.learn(piece)
                continue
            event, name, attributes = piece
            if name == "section":
                gone = (
                    attribute(attributes, "display") == "none" or attribute(attributes, "is-hidden") == "true"
                )
                if event == "start":
                    hidden += bool(hidden) or gone
                elif hidden:
                    hidden -= 1
            elif (action := _TABLE.get((event, name))) is not None:
                action(blocks)
            elif name == "list":
                self._lists.begin(attributes) if event == "start" else self._lists.end()
            elif (event, name) == ("start", "list-item"):
                self._lists.item(attributes)
            elif (event, name) == ("start", "object"):
                self._object(attribute(attributes, "href"), blocks)

    def _paragraph(self, node: Node, blocks: Blocks) -> None:
        style = node.get("style-name")
        line = _Line()
        hidden = self._styles.hidden("paragraph", style, False)
        if not any(each.get("is-hidden") == "true" for each in node.all("hidden-paragraph")):
            self._inline(node, line, hidden)
        text = line.text()
        given = node.child("number")
        if text.strip() and node.name == "h" and not self._lists:
            label = f"{given.text()} " if given else self._lists.heading(node.attributes)
        else:
            label = self._lists.label(style) if text.strip() else ""
        blocks.paragraph(label + text, LIST if label and node.name == "p" else None)
        for box in line.boxes:
            self._box(box, blocks)

    def _box(self, node: Node, blocks: Blocks) -> None:
        """What is drawn beside a paragraph follows it, apart."""
        lists, self._lists = self._lists, Lists(self._styles, self._lists.bullets)
        self._blocks(replayed(node, _IN_TEXT), blocks)
        self._lists = lists

    def _inline(self, node: Node, line: _Line, hidden: bool, place: str = "") -> None:
        for child in node.children:
            if isinstance(child, str):
                if not hidden:
                    line.add(placed(child, place, line.end()))
            elif child.name == "span":
                style = child.get("style-name")
                unseen = self._styles.hidden("text", style, hidden)
                self._inline(child, line, unseen, self._styles.place(style, place))
            elif child.name == "note":
                if not hidden:
                    self._note(child)
            elif (
                hidden or child.name in _UNSEEN or child.get("is-hidden") == "true" or child.name == "number"
            ):
                continue
            elif child.name in _SIGNS:
                line.exactly(_SIGNS[child.name](child))
            elif child.name == "ruby":
                self._ruby(child, line)
            elif child.name == "frame":
                self._frame(child, line)
            elif child.name in _SHAPES:
                line.boxes.append(child)
            elif child.name == "math":
                line.add(math.mathml(child))
            else:
                self._inline(child, line, hidden, place)

    def _ruby(self, node: Node, line: _Line) -> None:
        """Words with their reading above them (§6.4), as `漢字(かんじ)`."""
        base, reading = node.child("ruby-base"), node.child("ruby-text")
        if base is not None:
            self._inline(base, line, False)
        if reading is not None and reading.text().strip():
            line.add(f"({reading.text().strip()})")

    def _note(self, node: Node) -> None:
        body = node.child("note-body")
        if body is not None:
            blocks = Blocks()
            self._box(body, blocks)
            self._notes.append(blocks.text().strip())

    def _frame(self, node: Node, line: _Line) -> None:
        """Of a frame, which holds the same in several versions (§10.4.2), the first that has words."""
        for child in node:
            if child.name == "text-box":
                line.boxes.append(child)
                return
            if child.name == "object":
                formula = child.child("math") or self._formula(child.get("href"))
                if formula is not None:
                    line.add(math.mathml(formula))
                elif child.get("href") or any(True for _ in child):
                    line.boxes.append(Node("frame", {}, [child]))
                return
            if child.name == "object-ole":
                self._embedded(child.get("href"))
                return
            if child.name in _SHAPES or child.name == "table":
                line.boxes.append(node)
                return

    def _formula(self, reference: str) -> Node | None:
        name = f"{_folder(reference)}/content.xml"
        if self._parts is None or not reference or name not in self._parts:
            return None
        with self._parts.open(name) as stream:
            root = next(
                (each for each in trees(stream, self._parts.deadline, ("math",)) if isinstance(each, Node)),
                None,
            )
        return root

    def _object(self, reference: str, blocks: Blocks) -> None:
        """A document within the document, such as a chart, whose table of numbers is kept with it."""
        name = f"{_folder(reference)}/content.xml"
        if self._parts is None or not reference:
            return
        if name not in self._parts:
            self._embedded(reference)
            return
        lists, self._lists = self._lists, Lists(self._styles, self._lists.bullets)
        self._blocks(_opened(self.pieces(name), _IN_TEXT), blocks)
        self._lists = lists

    def _embedded(self, reference: str) -> None:
        name = _folder(reference)
        if self._parts is None or name not in self._parts:
            place = f"{self._item.place}!{printable(name or 'object')}"
            self._others.append(Rejected(None, place, "read", "is an embedded file that is not read"))
        else:
            self._others.append(embedded(self._parts, name))

    # --- presentations --------------------------------------------------------------------------------------------
    def _slides(self, pieces: Iterator[Piece]) -> Iterator[Document | Rejected | Input]:
        texts: list[str] = []
        self._lists = Lists(self._styles, bullets=False)
        for piece in pieces:
            if not isinstance(piece, Node) or piece.name != "page":
                continue
            if self._styles.invisible("drawing-page", piece.get("style-name")):
                texts.append("")
                place = f"{self._item.place}:slide {len(texts)}"
                yield Rejected(None, place, "read", "is hidden", "a hidden slide")
                continue
            shapes = sorted(_in_order(list(piece)), key=lambda shape: shape.get("class") != "title")
            blocks = Blocks(gap="\n")
            for shape in shapes:
                if shape.get("class") not in _PAGE_MARKS:
                    inside = Node("", {}, [each for each in shape if each.get("class") not in _PAGE_MARKS])
                    self._shape(inside if shape.name == "notes" else Node("", {}, [shape]), blocks)
            texts.append(blocks.text())
        text, starts = joined(texts)
        yield from self._document(text, slides=starts)

    def _shape(self, node: Node, blocks: Blocks) -> None:
        for child in node:
            if child.name == "frame":
                line = _Line()
                self._frame(child, line)
                blocks.paragraph(line.text())
                for box in line.boxes:
                    self._box(box, blocks)
            elif child.name in _SHAPES:
                self._box(child, blocks)
            elif child.name not in _UNSEEN:
                self._shape(child, blocks)

    # --- sheets ---------------------------------------------------------------------------------------------------
    def _sheets(self, pieces: Iterator[Piece]) -> Iterator[Document | Rejected | Input]:
        sheet: Sheet | None = None
        for piece in pieces:
            if isinstance(piece, Node):
                if piece.name == "table-row" and sheet:
                    self._row(piece, sheet)
                elif piece.name == "p" and sheet:  # of a shape drawn on the sheet
                    sheet.rows.append(self._words(piece))
            elif piece[:2] == ("start", "table"):
                name = printable(attribute(piece[2], "name")).translate({47: "_", 33: "_"})[:100]
                sheet = Sheet(name, self._styles.invisible("table", attribute(piece[2], "style-name")))
            elif piece[:2] == ("start", "table-column") and sheet:
                sheet.add_columns(piece[2])
            elif piece[:2] == ("end", "table") and sheet:
                location = f"{self._item.place}:sheet {sheet.name}"
                text = "\n".join(filter(None, sheet.rows))
                if text.strip() and not sheet.hidden:
                    yield collected(text, location, {**self._facts, "sheet": sheet.name})
                for reason, detail in sheet.left_out(bool(text.strip())):
                    yield Rejected(None, location, "read", reason, detail)
                sheet = None

    def _words(self, paragraph: Node) -> str:
        line = _Line()
        self._inline(paragraph, line, False)
        return line.text()

    def _row(self, node: Node, sheet: Sheet) -> None:
        cells: list[str] = []
        gap = at = 0
        for cell in node:
            if cell.name not in ("table-cell", "covered-table-cell"):
                continue
            texts = [self._words(each) for each in cell if each.name in ("p", "h")]
            text = " ".join(" ".join(texts).split())
            count = count_of(cell.get("number-columns-repeated"))
            place = f"{columns(at + 1).upper()}{sheet.row + 1}"
            at += count
            if not text and cell.get("formula") and not cell.get("value-type"):
                sheet.uncalculated.add(place)
            if text and sheet.is_hidden(at - count):
                sheet.cells_unseen.add(place)
                text = ""
            if not text:
                gap += count
                continue
            cells += [""] * min(gap, _WIDEST_GAP) + [text] * min(count, _MOST_REPEATED)
            gap = 0
        line = "\t".join(cells).rstrip()
        count = count_of(node.get("number-rows-repeated"))
        sheet.row += count
        if line and node.get("visibility") in ("collapse", "filter"):
            sheet.rows_unseen.add(str(sheet.row - count + 1))
        elif line:
            self._item.budget.charge(
                len(line) * min(count, _MOST_REPEATED)
            )  # one row may stand for any number
            sheet.rows += [line] * min(count, _MOST_REPEATED)


def _in_order(shapes: list[Node]) -> list[Node]:
    """The shapes with words as they are read, then the others; in the order of the file where one has no place."""
    words = [shape for shape in shapes if shape.name != "notes" and next(shape.all("p"), None)]
    boxes = [box for shape in words if (box := _box(shape)) is not None]
    if len(boxes) < len(words):
        return shapes
    known = set(map(id, words))
    return [*(words[at] for at in reading_order(boxes)), *(each for each in shapes if id(each) not in known)]


def _box(shape: Node) -> Box | None:
    """Where a shape lies, in micrometres."""
    left, top, width, height = (_length(shape.get(name)) for name in ("x", "y", "width", "height"))
    if left is None or top is None:
        return None
    return Box(left, top, left + (width or 0), top + (height or 0))


def _length(text: str) -> int | None:
    """A length such as `2.5cm` (§18.3.18) in micrometres."""
    match = _LENGTH.fullmatch(text)
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


class _Line:
    """A paragraph as it is read; white space counts as in XML, where several blanks are one (§6.1.2)."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._blank = True  # whether a blank would follow a blank
        self.boxes: list[Node] = []

    def add(self, text: str) -> None:
        words = " ".join(text.split())
        if not text:
            return
        if text[0].isspace() and not self._blank:
            self._out.append(" ")
            self._blank = True
        if words:
            self._out.append(words)
            self._blank = False
            if text[-1].isspace():
                self._out.append(" ")
                self._blank = True

    def end(self) -> str:
        """The last of it so far."""
        return "".join(self._out[-5:])

    def exactly(self, text: str) -> None:
        self._out.append(text)
        self._blank = text.endswith("\n")

    def text(self) -> str:
        return "".join(self._out).rstrip()


_SIGNS: dict[str, Callable[[Node], str]] = {
    "s": lambda node: " " * min(count_of(node.get("c")), _WIDEST_GAP),
    "tab": lambda node: "\t",
    "line-break": lambda node: "\n",
}
_TABLE: dict[tuple[str, str], Callable[[Blocks], None]] = {
    ("start", "table"): Blocks.begin_table,
    ("end", "table"): Blocks.end_table,
    ("end", "table-cell"): Blocks.end_cell,
    ("end", "covered-table-cell"): Blocks.end_cell,
    ("end", "table-row"): Blocks.end_row,
}


def _until(pieces: Iterator[Piece], name: str) -> Iterator[Piece]:
    """The pieces up to the end of an element."""
    for piece in pieces:
        if not isinstance(piece, Node) and piece[:2] == ("end", name):
            return
        yield piece


def _opened(pieces: Iterator[Piece], whole: frozenset[str]) -> Iterator[Piece]:
    """The pieces, trees of what is not to be whole taken apart again."""
    for piece in pieces:
        if isinstance(piece, Node) and piece.name not in whole:
            yield "start", piece.name, piece.attributes
            yield from replayed(piece, whole)
            yield "end", piece.name, {}
        else:
            yield piece


def _folder(reference: str) -> str:
    """Where in the package a reference leads."""
    return reference.removeprefix("./").rstrip("/")
