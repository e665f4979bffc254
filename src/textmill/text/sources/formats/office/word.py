"""Word (WordprocessingML, ECMA-376 part 1 §17), read straight from its parts as a reader sees it.

python-docx builds an object for every run through lxml, knows neither numbers of lists nor what a style hides, and
passes over notes and text boxes; here one paragraph at a time is in memory. Formatting that was changed (`…Change`),
deleted text, hidden text, comments, headers and footers are left out; capitals made by formatting stay as typed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats import html, mail, math, plain
from textmill.text.sources.formats.media_types import named
from textmill.text.sources.formats.office import drawing, rtf
from textmill.text.sources.formats.office.blocks import LIST, Blocks
from textmill.text.sources.formats.office.fields import Fields as OpenFields
from textmill.text.sources.formats.office.numbering import Numbering
from textmill.text.sources.formats.office.styles import Styles, on
from textmill.text.sources.formats.office.symbols import symbol, symbolic, symbols
from textmill.text.sources.formats.package import Package, package
from textmill.text.sources.formats.raised import placed
from textmill.text.sources.formats.stream import Fields, Input, SetAside, guarded
from textmill.text.sources.formats.xml_events import Node, Piece, related, replayed, trees

_NOTES = ("footnotes", "endnotes")
PICTURES = "a picture; run text recognition (OCR) on it first"
EMBEDDED = ("package", "oleObject")
# What is read whole; the rest of a part is walked through.
_WHOLE = frozenset(
    ("p", "tblPr", "trPr", "sdtPr", "sectPr", "altChunk", "oMathPara", "AlternateContent", "del", "moveFrom")
) | {"footnote", "endnote"}
_GONE = ("del", "moveFrom")  # deleted, or moved to another place (§17.13.5)
_DRAWN = ("drawing", "pict", "object")
_INSTEAD = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_BEFORE = 5  # pieces of text that may be part of the word before a raised one
_SEPARATORS = ("separator", "continuationSeparator", "continuationNotice")  # drawn between text and notes


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """The one document of a .docx file, its notes at the end; what is embedded in it, each as a file of its own."""
    with package(item) as parts:
        main = parts.start("word/document.xml")
        read = _Reader(parts, main)
        text = read.text()
        attached = read.attached()
        if text.strip():
            yield collected(text, item.place, parts.facts())
        elif not attached and not read.lost:
            raise SetAside("holds no text", PICTURES if read.pictures else "")
        yield from read.lost
        for name in attached:
            yield embedded(parts, name)


def embedded(parts: Package, name: str) -> Input | Rejected:
    """A file that lies in another, to be read as one of its own."""
    parts.item.budget.member()
    try:
        inside = parts.inside(name)
        return replace(inside, name=f"{inside.name}.ole") if inside.name.endswith(".bin") else inside
    except SetAside as error:
        return Rejected(None, f"{parts.item.place}!{printable(name)}", "read", error.reason, error.detail)


class _Reader:
    """What all of a document shares: its styles, the counts of its lists, its open fields."""

    def __init__(self, parts: Package, main: str) -> None:
        self._parts, self._main = parts, main
        self._relations = parts.related(main)  # of the part that is being read
        self._notes = [
            (kind, part) for kind, part in self._relations.values() if kind in _NOTES and part in parts
        ]
        others = dict(self._relations.values())
        self._styles = Styles(parts.tree(others.get("styles", "")))
        self._numbering = Numbering(parts.tree(others.get("numbering", "")), self._styles)
        self._graphics = drawing.Graphics(parts)
        self._fields = OpenFields()
        self._tables: list[str] = []  # styles of the tables around
        self._carried = ""  # a paragraph whose mark is deleted or hidden goes on in the next
        self._shown_notes: set[tuple[str, str]] = set()
        self._gone_notes: set[tuple[str, str]] = set()  # referred to only where text is deleted or hidden
        self._lost: list[Rejected | Input] = []

    @property
    def lost(self) -> list[Rejected | Input]:
        """What stands in the document and could not be read, or is to be read on its own."""
        return [*self._lost, *self._graphics.lost]

    @property
    def pictures(self) -> bool:
        """Whether there are any."""
        return any(kind == "image" for kind, _ in self._parts.related(self._main).values())

    def text(self) -> str:
        """The body, then footnotes and endnotes."""
        pieces = [self._story(self._main, "")]
        self._gone_notes -= self._shown_notes
        for kind in _NOTES:
            pieces += [self._notes_of(part, kind) for found, part in self._notes if found == kind]
        return "\n\n".join(filter(None, pieces))

    def _notes_of(self, part: str, kind: str) -> str:
        try:
            return self._story(part, kind)
        except SetAside as error:
            place = f"{self._parts.item.place}!{printable(part)}"
            self._lost.append(Rejected(None, place, "read", error.reason, error.detail))
            return ""

    def attached(self) -> list[str]:
        """The parts that are files of their own, in the order they are related to."""
        parts = [self._main, *(part for _, part in self._notes)]
        related_to = [target for part in parts for target in self._parts.related(part).values()]
        return list(dict.fromkeys(part for kind, part in related_to if kind in EMBEDDED))

    # --- blocks ---------------------------------------------------------------------------------------------------
    def _story(self, part: str, kind: str) -> str:
        self._relations = self._parts.related(part) if kind else self._relations
        blocks = Blocks()
        with self._parts.open(part) as stream:
            self._blocks(trees(stream, self._parts.deadline, _WHOLE), blocks, kind)
        self._flush(blocks)
        return blocks.text()

    def _flush(self, blocks: Blocks) -> None:
        blocks.paragraph(self._carried)
        self._carried = ""

    def _blocks(self, pieces: Iterable[Piece], blocks: Blocks, kind: str = "") -> None:
        shown = True  # the row of a table
        for piece in pieces:
            if isinstance(piece, Node):
                if piece.name == "trPr":
                    shown = not any(
                        each.name == "del" or (each.name == "hidden" and on(each)) for each in piece
                    )
                else:
                    self._block(piece, blocks, kind)
            elif piece[:2] == ("start", "tbl"):
                self._flush(blocks)
                blocks.begin_table()
                self._tables.append(self._styles.default("table"))
            elif piece[:2] == ("end", "tbl"):
                self._tables.pop()
                blocks.end_table()
            elif piece[:2] == ("end", "tc"):
                self._flush(blocks)
                blocks.end_cell()
            elif piece[:2] == ("end", "tr"):
                blocks.end_row(shown=shown)
                shown = True

    def _block(self, node: Node, blocks: Blocks, kind: str) -> None:
        if node.name == "p":
            self._paragraph(node, blocks)
        elif node.name == "tblPr":
            if self._tables and (style := node.value("tblStyle")):
                self._tables[-1] = style
        elif node.name == "altChunk":
            blocks.paragraph(self._chunk(node))
        elif node.name == "oMathPara":
            blocks.paragraph(math.office(node))
        elif node.name == "AlternateContent":
            self._alternatives(node, lambda each: self._blocks(replayed(each, _WHOLE), blocks, kind), blocks)
        elif node.name in _GONE:
            self._pass(node)
        elif node.name in ("footnote", "endnote"):
            note = (f"{node.name}s", node.get("id"))
            if node.get("type") not in _SEPARATORS and note not in self._gone_notes:
                own = Blocks()
                self._blocks(replayed(node, _WHOLE), own)
                self._flush(own)
                blocks.paragraph(own.text().strip())

    def _alternatives(self, node: Node, read: Callable[[Node], None], blocks: Blocks) -> None:
        """What stands in several versions is read once: the first that holds anything."""
        for each in node:
            if each.name in ("Choice", "Fallback"):
                before = blocks.size
                read(each)
                if blocks.size > before:
                    return

    def _paragraph(self, node: Node, blocks: Blocks) -> None:
        properties = node.child("pPr")
        style = (properties.value("pStyle") if properties else "") or self._styles.default("paragraph")
        mark = properties.child("rPr") if properties else None
        run_on = bool(mark and any(mark.child(name) for name in _GONE)) or self._hidden(style, mark)
        run_on = run_on or _is_initial(properties)
        line = _Line(style)
        self._inline(node, line)
        text = "".join(line.text)
        label = None
        if not run_on or text.strip():
            label = self._numbering.label(style, properties)
        if label and text.strip():
            gap = " " if label[-1].isascii() and not label.endswith(" ") else ""  # words do not run together
            text = label + gap + text.lstrip(" ")
        self._carried += text
        if not run_on:
            whole, self._carried = self._carried, ""
            listed = bool(label) and not self._styles.heading(style, properties)
            blocks.paragraph(whole, LIST if listed else None)
        for box in line.boxes:
            self._box(box, blocks)

    def _box(self, box: Node | list[str], blocks: Blocks) -> None:
        """What is drawn beside a paragraph follows it, apart."""
        if isinstance(box, Node):
            carried, self._carried = self._carried, ""
            open_fields, self._fields = self._fields, OpenFields()
            self._blocks(replayed(box, _WHOLE), blocks)
            self._flush(blocks)
            self._carried, self._fields = carried, open_fields
        else:
            for line in box:
                blocks.paragraph(line, box)

    def _hidden(self, paragraph: str, properties: Node | None) -> bool:
        return self._styles.hidden(paragraph, self._tables[-1] if self._tables else "", properties)

    # --- the inside of a paragraph --------------------------------------------------------------------------------
    def _inline(self, node: Node, line: _Line) -> None:
        for child in node:
            name = child.name
            if name == "r":
                self._run(child, line)
            elif name in _GONE:
                self._pass(child)
            elif name in ("oMath", "oMathPara"):
                self._add(math.office(child), line)
            elif name == "fldSimple":
                self._simple_field(child, line)
            elif name == "AlternateContent":
                self._choice(child, line, self._inline)
            elif not name.endswith("Pr"):
                self._inline(child, line)

    def _choice(self, node: Node, line: _Line, read: Callable[[Node, _Line], None]) -> None:
        for each in node:
            if each.name in ("Choice", "Fallback"):
                before = len(line.text), len(line.boxes)
                read(each, line)
                if (len(line.text), len(line.boxes)) != before:
                    return

    def _simple_field(self, node: Node, line: _Line) -> None:
        before = len(line.text)
        self._inline(node, line)
        if len(line.text) == before:
            self._fields.begin(node.child("ffData"))
            self._fields.instruct(node.get("instr"))
            self._add(self._fields.end(), line)

    def _run(self, node: Node, line: _Line) -> None:
        properties = node.child("rPr")
        hidden = self._hidden(line.style, properties)
        if hidden:
            self._note_references(node, self._gone_notes)
        font = self._styles.font(line.style, properties)
        line.place = self._styles.place(line.style, properties)
        self._content(node, line, font if symbolic(font) else "", hidden=hidden)
        line.place = ""

    def _content(self, node: Node, line: _Line, font: str, *, hidden: bool) -> None:
        """What a run holds; of a hidden one, only where fields begin and end."""
        for child in node:
            name = child.name
            if name == "fldChar":
                self._field_mark(child, line, hidden=hidden)
            elif name == "instrText":
                self._fields.instruct(child.text())
            elif hidden:
                continue
            elif name == "t":
                self._add(symbols(font, child.text()) if font else child.text(), line)
            elif name in _INSTEAD:
                self._add(_INSTEAD[name], line)
            elif name == "sym":
                self._add(_symbol(child), line)
            elif name == "ruby":
                self._ruby(child, line)
            elif name in _DRAWN:
                self._drawn(child, line)
            elif name == "AlternateContent":
                self._choice(child, line, lambda each, at: self._content(each, at, font, hidden=False))
            elif name in ("footnoteReference", "endnoteReference"):
                self._shown_notes.add((f"{name.removesuffix('Reference')}s", child.get("id")))

    def _field_mark(self, mark: Node, line: _Line, *, hidden: bool) -> None:
        kind = mark.get("fldCharType")
        if kind == "begin":
            self._fields.begin(mark.child("ffData"))
        elif kind == "separate":
            self._fields.separate()
        elif kind == "end":
            shown = self._fields.end()
            self._add("" if hidden else shown, line)

    def _ruby(self, node: Node, line: _Line) -> None:
        """Words with their reading above them (§17.3.3.25), as `漢字(かんじ)`."""
        base, reading = node.child("rubyBase"), _Line(line.style)
        if base is not None:
            self._inline(base, line)
        if (above := node.child("rt")) is not None:
            self._inline(above, reading)
        if said := "".join(reading.text).strip():
            self._add(f"({said})", line)

    def _drawn(self, node: Node, line: _Line) -> None:
        """Text boxes, charts and diagrams of a drawing; each is set apart from the paragraph it hangs on."""
        if _invisible(node):
            return
        for child in node:
            if child.name == "txbxContent":
                line.boxes.append(child)
            elif child.name in ("chart", "relIds"):
                line.boxes.append(self._graphics.lines(child, self._relations))
            elif child.name == "txBody":
                line.boxes.append(list(drawing.paragraphs(child)))
            elif child.name == "textpath" and (words := child.get("string")):
                line.boxes.append([words])
            elif child.name == "AlternateContent":
                self._choice(child, line, self._drawn)
            else:
                self._drawn(child, line)

    def _add(self, text: str, line: _Line) -> None:
        if text and self._fields.visible:
            self._fields.fill()
            line.text.append(placed(text, line.place, "".join(line.text[-_BEFORE:])))

    def _pass(self, node: Node) -> None:
        self._note_references(node, self._gone_notes)

    def _note_references(self, node: Node, into: set[tuple[str, str]]) -> None:
        for kind in _NOTES:
            into.update((kind, each.get("id")) for each in node.all(f"{kind.removesuffix('s')}Reference"))

    # --- documents within the document ----------------------------------------------------------------------------
    def _chunk(self, node: Node) -> str:
        """The text of a document in another form that stands in place of paragraphs (§17.17.2)."""
        _, part = self._relations.get(related(node.attributes), ("", ""))
        place = f"{self._parts.item.place}!{printable(part or 'altChunk')}"
        try:
            name = named(posixpath.basename(self._parts.present(part)), self._parts.media_type(part))
            read = CHUNKS.get(posixpath.splitext(name)[1].lower())
            inside = self._parts.inside(part)
            if read is None:  # whoever reads such files tells what comes of it
                self._lost.append(inside)
                return ""
            entries = list(guarded(read(inside, Fields()), inside.place))
        except SetAside as error:
            self._lost.append(Rejected(None, place, "read", error.reason, error.detail))
            return ""
        self._lost += [entry for entry in entries if not isinstance(entry, Document)]
        return "\n\n".join(entry.text.strip("\n") for entry in entries if isinstance(entry, Document))


class _Line:
    """A paragraph as it is read: its text, and what is drawn beside it."""

    def __init__(self, style: str) -> None:
        self.style = style
        self.place = ""  # above or below the line
        self.text: list[str] = []
        self.boxes: list[Node | list[str]] = []


def _is_initial(properties: Node | None) -> bool:
    """Whether a paragraph is the large first letter of the next (§17.3.1.11)."""
    frame = properties.child("framePr") if properties else None
    return frame is not None and frame.get("dropCap") in ("drop", "margin")


def _symbol(node: Node) -> str:
    try:
        return symbol(node.get("font"), int(node.get("char"), 16))
    except ValueError:
        return ""


def _invisible(node: Node) -> bool:
    """Whether a drawing, or a shape of the older kind, is hidden."""
    said = any(each.name in ("docPr", "cNvPr") and each.get("hidden") in ("1", "true") for each in node)
    return said or "visibility:hidden" in node.attributes.get("style", "").replace(" ", "")


Chunk = Callable[[Input, Fields], Iterator[Document | Rejected | Input]]
CHUNKS: dict[str, Chunk] = {
    ".docx": documents,
    ".docm": documents,
    ".dotx": documents,
    ".htm": html.documents,
    ".html": html.documents,
    ".xhtml": html.documents,
    ".mht": mail.saved_page,
    ".mhtml": mail.saved_page,
    ".rtf": rtf.documents,
    ".txt": plain.documents,
}
