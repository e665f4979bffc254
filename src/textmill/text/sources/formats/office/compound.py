"""Compound files ([MS-CFB]): what Word, Excel, PowerPoint and Outlook wrote until 2007, and what embeds files.

Which of them one is says the names of its streams. Excel's are read by xlrd and Outlook's by olefile (extra `office`);
Word's and PowerPoint's by LibreOffice, where the recipe allows that.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO

from textmill.text.document import Document, Rejected, printable
from textmill.text.sources.formats import plain
from textmill.text.sources.formats.advice import FORMS, REASON, unread
from textmill.text.sources.formats.office import libreoffice, outlook, workbook
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, deeper, read_whole, seekable

EXTENSIONS = (".doc", ".dot", ".xls", ".xlt", ".ppt", ".pps", ".pot", ".msg", ".oft", ".ole")
MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENTRY = 128  # bytes of a directory entry; a stream's name is its first 64, in UTF-16
# A stream that says what a file is -> the file extension of that. In this order: forms embed one another.
_STREAMS = {
    "__properties_version1.0": "msg",
    "HwpSummaryInformation": "hwp",
    "VisioDocument": "vsd",
    "Quill": "pub",
    "WordDocument": "doc",
    "Workbook": "xls",
    "Book": "xls",
    "PowerPoint Document": "ppt",
    "Package": "package",
    "Ole10Native": "native",
    "CONTENTS": "contents",
    "Equation Native": "equation",
}
_LOCKED = "EncryptedPackage".encode("utf-16-le")  # [MS-OFFCRYPTO] §1.3.2
Reader = Callable[[Input, Fields], Iterator[Document | Rejected | Input]]


def documents(item: Input, fields: Fields) -> Iterator[Document | Rejected | Input]:
    """What a compound file holds. Raises SetAside, with what to do, for what is not read."""
    with seekable(item) as stream:
        compound = stream.read(len(MAGIC)) == MAGIC
        kind = _kind(stream) if compound else ""
        stream.seek(0)
        whole = replace(item, stream=stream)
        if not compound:  # a text by that name
            yield from plain.documents(whole, fields)
            return
        if kind == "encrypted":
            raise SetAside("is encrypted", "it has a password")
        if (read := _READERS.get(kind)) is not None:
            yield from read(whole, fields)
        elif kind in FORMS:
            what, advice = FORMS[kind]
            raise SetAside(REASON, f"{what}; {advice}")
        else:
            raise unread(item.name) or SetAside(
                REASON, _UNKNOWN.get(kind, "an old Office document of an unknown kind")
            )


_UNKNOWN = {"equation": "an equation of Equation Editor or MathType; convert it to an equation of Word"}


def _kind(stream: BinaryIO) -> str:
    """What a compound file is. The names of its streams lie anywhere in it, at the beginnings of entries."""
    found: set[str] = set()
    wanted = {name.encode("utf-16-le") + b"\0\0": kind for name, kind in _STREAMS.items()}
    # The most telling streams of embedded objects begin with a control character.
    wanted |= {"\x01Ole10Native".encode("utf-16-le") + b"\0\0": "native"}
    wanted |= {"\x05HwpSummaryInformation".encode("utf-16-le") + b"\0\0": "hwp"}
    stream.seek(0)
    last = b""
    while block := stream.read(BLOCK):
        if _LOCKED in last + block:  # however the rest of it is built
            return "encrypted"
        last = block[-len(_LOCKED) :]
        for start in range(0, len(block) - 64, _ENTRY):
            entry = block[start : start + 64]
            for name, kind in wanted.items():
                if entry.startswith(name):
                    found.add(kind)
    return next((kind for kind in _STREAMS.values() if kind in found), "")


# --- files embedded in others -------------------------------------------------------------------------------------
def _unpacked(stream_name: str) -> Reader:
    def read(item: Input, fields: Fields) -> Iterator[Input]:
        try:
            import olefile
        except ImportError as error:
            raise SetAside("needs the extra `office`", "pip install 'textmill[office]'") from error
        with olefile.OleFileIO(io.BytesIO(read_whole(item))) as file:
            path = next((path for path in file.listdir() if path[-1].lstrip("\x01") == stream_name), None)
            data = file.openstream(path).read() if path else b""
        name, data = _native(data) if stream_name == "Ole10Native" else (_named(data), data)
        place = f"{item.place}!{printable(name)}"
        yield item.part(place, name, data, deeper(item))

    return read


def _native(data: bytes) -> tuple[str, bytes]:
    """(name, content) of a file that was dropped into a document ([MS-OLEDS] §2.3.6, as the packager writes it)."""
    at = 6
    end = data.find(b"\0", at)
    label = data[at:end]
    at = data.find(b"\0", end + 1) + 1  # past the path it came from
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    at += 8 + size  # past the path of a temporary copy
    length = int.from_bytes(data[at : at + 4], "little")
    content = data[at + 4 : at + 4 + length]
    if not label or not content:
        return "object.bin", data[4:]
    return label.decode("utf-8", "replace").replace("!", "_").rpartition("\\")[2], content


_PACKAGES = (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx"))


def _named(data: bytes) -> str:
    """A name for content that has none, by how it begins."""
    if data.startswith(b"%PDF-"):
        return "object.pdf"
    if data.startswith(b"PK"):
        return f"object.{next((form for folder, form in _PACKAGES if folder.encode() in data), 'zip')}"
    return "object.bin"


_READERS: dict[str, Reader] = {
    "msg": outlook.messages,
    "xls": workbook.sheets,
    "doc": libreoffice.converted("doc", "docx"),
    "ppt": libreoffice.converted("ppt", "pptx"),
    "package": _unpacked("Package"),
    "native": _unpacked("Ole10Native"),
    "contents": _unpacked("CONTENTS"),
}
