r"""Rich Text Format (Microsoft's specification 1.9.1): paragraphs, tables, lists, notes, boxes, fields and formulas.

striprtf, the usual library, keeps hidden and deleted text, reads every font in one code page and runs cells together;
the format is small enough to be read here by its rules: destinations nobody knows are skipped, `\'hh` is a byte in the
code page of its font, `\u` a character with so many bytes after it for those who do not know it.
"""

from __future__ import annotations

import codecs
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.formats import math
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.office.blocks import LIST, Blocks
from textmill.text.sources.formats.office.fields import Fields as OpenFields
from textmill.text.sources.formats.office.symbols import symbol, symbolic
from textmill.text.sources.formats.raised import placed
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, deeper, read_whole
from textmill.text.sources.formats.xml_events import Node

START = b"{\\rtf"
_TOKEN = re.compile(
    rb"\\(?:([a-zA-Z]{1,32})(-?\d{1,10})?[ ]?|'([0-9a-fA-F]{2}(?:\\'[0-9a-fA-F]{2})*)|(.))|([{}])|([^\\{}]+)",
    re.DOTALL,
)
_DEEPEST = 5_000  # nested groups
_LOOK = 4096  # tokens between two looks at the clock
_CHARSETS = {  # \fcharset: what Windows calls a character set
    **{0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "cp950"},
    **{
        161: "cp1253",
        162: "cp1254",
        163: "cp1258",
        177: "cp1255",
        178: "cp1256",
        186: "cp1257",
        204: "cp1251",
    },
    **{222: "cp874", 238: "cp1250", 254: "cp437", 255: "cp850"},
}
_CODE_PAGES = {708: "iso8859_6", 936: "gb18030", 10000: "mac_roman", 10007: "mac_cyrillic", 65001: "utf-8"}
_DOCUMENT_CODE_PAGES = {"ansi": 1252, "mac": 10000, "pc": 437, "pca": 850}
_SIGNS = {
    **{"tab": "\t", "line": "\n", "page": "\n", "column": "\n", "softline": "\n", "\t": "\t"},
    **{"emdash": "—", "endash": "–", "bullet": "•", "~": "\u00a0", "_": "-", "\\": "\\", "{": "{", "}": "}"},
    **{"lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "emspace": "\u2003"},
    **{"enspace": "\u2002", "qmspace": "\u2005", "zwj": "\u200d", "zwnj": "\u200c", "zwbo": "\u200b"},
    **{"ltrmark": "\u200e", "rtlmark": "\u200f"},
}
# Destinations whose text is not that of the document; any other that follows \* and is not known is one, too.
_SKIPPED = {
    *("colortbl", "stylesheet", "pict", "nonshppict", "shprslt", "mmathPict", "nonesttables", "objclass"),
    *("header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf"),
    *("ftnsep", "ftnsepc", "ftncn", "aftnsep", "aftnsepc", "aftncn"),
    *("annotation", "xe", "rxe", "tc", "tcn", "filetbl", "revtbl", "listtable"),
}
_FACTS = ("title", "author", "creatim", "revtim")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_DATE = ("yr", "mo", "dy", "hr", "min", "sec")


@dataclass(slots=True)
class _Font:
    name: str = ""
    codec: str = ""


@dataclass(slots=True)
class _State:
    """What holds within a group."""

    to: str = "body"  # where its text goes
    ends: str = ""  # what its end ends
    held: str = ""  # where the text of a group in two versions goes
    font: int = -1
    wide_font: int = -1
    wide: bool = False  # whether text is in the East Asian font
    skip: int = 1  # characters after \u for those who do not know it
    hidden: bool = False
    place: str = ""  # above or below the line
    table: bool = False
    initial: bool = False  # the large first letter of the next paragraph


@dataclass(slots=True)
class _Story:
    """A text of its own: the body, a note, a text box."""

    blocks: Blocks = field(default_factory=Blocks)
    line: list[str] = field(default_factory=list)
    label: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    in_table: bool = False


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """The one document of an RTF file, and what is embedded in it. Raises SetAside for what is none."""
    data = read_whole(item)
    if not data.lstrip().startswith(START):
        raise SetAside(
            "is damaged, or not what its file extension says", "it does not begin like an RTF file"
        )
    read = _Reader(data, Deadline(item.limits))
    text = read.text()
    if text.strip():
        yield collected(text, item.place, read.facts())
    elif not read.objects:
        raise SetAside("holds no text")
    for number, digits in enumerate(read.objects, 1):
        yield _object(item, f"object{number}.ole", digits)


def text_of(data: bytes, deadline: Deadline) -> str:
    """The text of RTF that lies in something else, such as a message."""
    return _Reader(data, deadline).text()


def _object(item: Input, name: str, digits: bytes) -> Input | Rejected:
    item.budget.member()
    place = f"{item.place}!{name}"
    data = bytes.fromhex(
        re.sub(rb"[^0-9a-fA-F]", b"", digits)[: len(digits) // 2 * 2].decode().removesuffix("\n")
    )
    at = data.find(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # after a header of OLE 1
    if at < 0:
        return Rejected(None, place, "read", "is not in a format that is read", "an embedded object")
    try:
        return item.part(place, name, data[at:], deeper(item))
    except SetAside as error:
        return Rejected(None, place, "read", error.reason, error.detail)


class _Reader:
    def __init__(self, data: bytes, deadline: Deadline) -> None:
        self._data, self._deadline = data, deadline
        self._stack: list[_State] = []
        self._state = _State()
        self._fonts: dict[int, _Font] = {}
        self._codec, self._default_font = "cp1252", -1
        self._bytes = bytearray()  # not yet decoded
        self._pending = 0  # characters still to be skipped after \u
        self._high = ""  # the first half of a character beyond U+FFFF
        self._starred = False
        self._stories = [_Story()]
        self._notes: list[str] = []
        self._fields = OpenFields()
        self._said: dict[str, list[str]] = {}
        self._formula: list[Node] = []
        self.objects: list[bytes] = []

    def text(self) -> str:
        """The body, then its notes."""
        at, count, data = 0, 0, self._data
        while match := _TOKEN.match(data, at):
            at = match.end()
            count += 1
            if not count % _LOOK:
                self._deadline.check()
            word, number, byte, sign, brace, plain = match.groups()
            if plain is not None:
                self._take(plain.translate(None, b"\r\n\0"))
            elif byte is not None:
                self._take(bytes.fromhex(byte.replace(b"\\'", b"").decode()))
            elif brace is not None:
                self._open() if brace == b"{" else self._close()
            elif word == b"bin":
                at += max(0, int(number or 0))
            elif word is not None:
                self._word(word.decode(), int(number) if number else None)
            else:
                self._word(sign.decode("latin-1"), None)
        while self._stack:
            self._close()
        self._flush()
        self._end_paragraph()
        return "\n\n".join(filter(None, (self._stories[0].blocks.text(), *self._notes)))

    def facts(self) -> dict[str, str]:
        """What the document says of itself."""
        said = {name: "".join(pieces).strip() for name, pieces in self._said.items()}
        return facts(
            said.get("title", ""), said.get("author", ""), said.get("creatim", "") or said.get("revtim", "")
        )

    # --- groups ---------------------------------------------------------------------------------------------------
    def _open(self) -> None:
        self._flush()
        if len(self._stack) >= _DEEPEST:
            raise SetAside("is nested too deeply", f"more than {_DEEPEST} nested groups")
        self._stack.append(self._state)
        self._state = copy.copy(self._state)
        self._state.ends = ""
        self._starred, self._pending = False, 0

    def _close(self) -> None:
        self._flush()
        self._starred, self._pending = False, 0
        if not self._stack:
            return
        ended, self._state = self._state, self._stack.pop()
        if ended.ends in ("note", "box"):
            self._end_paragraph()
            text = self._stories.pop().blocks.text().strip()
            if ended.ends == "note":
                self._notes.append(text)
            elif text:
                self._stories[-1].boxes.append(text)
        elif ended.ends == "field":
            self._add(self._fields.end())
        elif ended.ends == "node":
            self._end_node()

    def _goes(self, to: str, ends: str = "") -> None:
        """From here on the text of this group goes somewhere else."""
        self._state.to, self._state.ends = to, ends

    def _begin_story(self, ends: str) -> None:
        self._goes("body", ends)
        self._stories.append(_Story())

    # --- words ----------------------------------------------------------------------------------------------------
    def _word(self, name: str, value: int | None) -> None:
        if self._pending:  # what stands for a \u, to those who do not know it
            self._pending -= 1
            return
        self._flush()
        state, starred = self._state, self._starred
        self._starred = name == "*"
        if state.to == "skip" or name == "*":
            return
        if name in _SKIPPED:
            self._goes("skip")
        elif (destination := _DESTINATIONS.get(name)) is not None:
            destination(self)
        elif state.to == "formula" and name.startswith("m") and (value is None or starred):
            self._begin_node(name[1:])
        elif starred:
            self._goes("skip")
        elif state.to == "fonts":
            self._font_word(name, value or 0)
        elif state.to == "info":
            self._info_word(name, value or 0)
        elif name in _SIGNS:
            self._add(_SIGNS[name])
        elif name == "u" and value is not None:
            self._unicode(value)
            self._pending = state.skip
        elif name in ("par", "sect", "\n", "\r"):
            if state.to == "body" and not state.initial:
                self._end_paragraph()
        elif name in ("cell", "nestcell"):
            self._end_cell(nested=name == "nestcell")
        elif name == "row":
            self._stories[-1].blocks.end_row()
        else:
            self._format(name, value)

    def _format(self, name: str, value: int | None) -> None:
        state = self._state
        if name == "f":
            state.font, state.wide = value or 0, False
        elif name == "af" and state.wide:
            state.wide_font = value or 0
        elif name in ("loch", "hich", "dbch"):
            state.wide = name == "dbch"
        elif name in ("v", "deleted"):
            state.hidden = value != 0
        elif name in ("super", "sub", "nosupersub"):
            state.place = name if value != 0 and name != "nosupersub" else ""
        elif name == "plain":
            state.font, state.wide, state.hidden, state.place = self._default_font, False, False, ""
        elif name == "pard":
            state.table = state.initial = False
        elif name == "dropcapli":
            state.initial = True
        elif name == "intbl":
            state.table = True
        elif name == "uc":
            state.skip = min(max(value or 0, 0), 100)
        elif name == "ansicpg" or name in _DOCUMENT_CODE_PAGES:
            self._codec = code_page(_DOCUMENT_CODE_PAGES.get(name) or value or 0) or self._codec
        elif name == "deff":
            self._default_font = state.font = value or 0

    def _font_word(self, name: str, value: int) -> None:
        if name == "f":
            self._state.font = value
            self._fonts[value] = _Font()
        elif (font := self._fonts.get(self._state.font)) is not None:
            if name == "fcharset":
                font.codec = _CHARSETS.get(value, "")
            elif name == "cpg":
                font.codec = code_page(value) or font.codec

    def _info_word(self, name: str, value: int) -> None:
        if name in _FACTS:
            self._state.held = name
        elif name in _DATE and self._state.held:
            mark = {"mo": "-", "dy": "-", "hr": "T", "min": ":", "sec": ":"}.get(name, "")
            self._said.setdefault(self._state.held, []).append(f"{mark}{value:02d}")

    def _end_cell(self, *, nested: bool) -> None:
        if self._state.to != "body":
            return
        story = self._stories[-1]
        self._state.table = True
        self._end_paragraph()
        if not nested:
            story.blocks.end_cell()

    def _end_paragraph(self) -> None:
        story = self._stories[-1]
        text, label = "".join(story.line), "".join(story.label).strip()
        story.line.clear()
        story.label.clear()
        if story.in_table != self._state.table:
            story.blocks.begin_table() if self._state.table else story.blocks.end_table()
            story.in_table = self._state.table
        label = "•" if _PRIVATE.fullmatch(label) else label  # a bullet of a font that is not said
        listed = bool(label and text.strip())
        story.blocks.paragraph(f"{label} {text.lstrip()}" if listed else text, LIST if listed else None)
        for box in story.boxes:
            story.blocks.paragraph(box)
        story.boxes.clear()

    # --- characters -----------------------------------------------------------------------------------------------
    def _take(self, data: bytes) -> None:
        """Bytes of text."""
        dropped = min(self._pending, len(data))
        self._pending -= dropped
        self._starred = False
        if self._state.to == "object":
            self.objects[-1] += data
        elif self._state.to != "skip":
            self._bytes += data[dropped:]

    def _flush(self) -> None:
        """Decode what was taken, in the code page of its font."""
        if not self._bytes:
            return
        data = bytes(self._bytes)
        self._bytes.clear()
        font = self._fonts.get(self._state.wide_font if self._state.wide else self._state.font, _Font())
        if self._state.to in ("body", "label") and symbolic(font.name):
            self._add("".join(symbol(font.name, byte) for byte in data))
        else:
            self._add(data.decode(font.codec or self._codec, "replace"))

    def _unicode(self, value: int) -> None:
        code = value % 0x10000
        if 0xD800 <= code < 0xDC00:
            self._high = chr(code)
            return
        sign = chr(code)
        if self._high and 0xDC00 <= code < 0xE000:
            sign = (self._high + sign).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        elif 0xDC00 <= code < 0xE000:
            sign = "\ufffd"
        elif 0xF000 <= code <= 0xF0FF:
            font = self._fonts.get(self._state.font, _Font())
            sign = symbol(font.name, code) if symbolic(font.name) else sign
        self._high = ""
        self._add(sign)

    def _add(self, text: str) -> None:
        """Text, to where the text of this group goes."""
        to = self._state.to
        if to == "instruction":
            self._fields.instruct(text)
        elif to == "fonts":
            if (font := self._fonts.get(self._state.font)) is not None:
                font.name += text.replace(";", "")
        elif to == "info":
            if self._state.held:
                self._said.setdefault(self._state.held, []).append(text)
        elif to == "formula":
            self._formula[-1].children.append(text)
        elif self._state.hidden or not self._fields.visible:
            return
        elif to == "label":
            self._stories[-1].label.append(text)
        elif to == "body":
            self._fields.fill()
            line = self._stories[-1].line
            line.append(placed(text, self._state.place, "".join(line[-5:])))

    # --- formulas -------------------------------------------------------------------------------------------------
    def _begin_node(self, name: str) -> None:
        """A group of a formula, which has the names of Office Math with an `m` before them."""
        node = Node(name, {})
        if self._formula:
            self._formula[-1].children.append(node)
        self._formula.append(node)
        self._goes("formula", "node")

    def _end_node(self) -> None:
        node = self._formula.pop()
        words = "".join(child for child in node.children if isinstance(child, str))
        if node.name == "r":
            node.children = [*node, Node("t", {}, [words])]
        else:
            node.children = [*node]
            node.attributes = {"val": words.strip()}
        if not self._formula:
            self._add(math.office(node))


def code_page(number: int) -> str:
    """The codec of a code page; empty for one nobody knows."""
    name = _CODE_PAGES.get(number, f"cp{number}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return ""


def _field(reader: _Reader) -> None:
    reader._fields.begin()
    reader._state.ends = "field"


def _result(reader: _Reader) -> None:
    reader._fields.separate()
    reader._goes("body")


def _either(reader: _Reader) -> None:
    reader._state.held = reader._state.to
    reader._state.to = "nowhere"


def _objects(reader: _Reader) -> None:
    reader.objects.append(b"")
    reader._goes("object")


# What begins a destination (or, after \*, is known to).
_DESTINATIONS: dict[str, Callable[[_Reader], None]] = {
    "fonttbl": lambda reader: reader._goes("fonts"),
    "info": lambda reader: reader._goes("info"),
    "listtext": lambda reader: reader._goes("label"),
    "pntext": lambda reader: reader._goes("label"),
    "field": _field,
    "fldinst": lambda reader: reader._goes("instruction"),
    "fldrslt": _result,
    "footnote": lambda reader: reader._begin_story("note"),
    "shpinst": lambda reader: reader._goes("nowhere"),
    "shptxt": lambda reader: reader._begin_story("box"),
    "upr": _either,
    "ud": lambda reader: reader._goes(reader._state.held or "body"),
    "objdata": _objects,
    "moMath": lambda reader: reader._begin_node("oMath"),
    "moMathPara": lambda reader: None,
    "shppict": lambda reader: None,
}
