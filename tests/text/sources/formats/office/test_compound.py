"""Compound files are known by their streams: each is read, or says what it is and what to do."""

from __future__ import annotations

import struct

import pytest

from helpers.compound import compound
from helpers.office import paragraph, word
from textmill.text.document import Document
from textmill.text.sources.formats.office import libreoffice


@pytest.mark.parametrize(
    ("stream", "name", "detail"),
    [
        ("WordDocument", "a.doc", "an old Word document; save it as .docx, or set corpus.limits.libreoffice"),
        ("PowerPoint Document", "a.ppt", "an old PowerPoint presentation; save it as .pptx, or set"),
        ("VisioDocument", "a.doc", "a Visio drawing; save it as .pdf"),
        ("\x05HwpSummaryInformation", "a.doc", "a Hangul document"),
        ("Equation Native", "a.ole", "an equation of Equation Editor or MathType"),
        ("Nobody knows", "a.doc", "an old Word document; save it as .docx"),
        ("Nobody knows", "a.ole", "an old Office document of an unknown kind"),
    ],
)
def test_what_is_not_read_says_what_it_is(opened, stream, name, detail):
    [item] = opened(name, compound({stream: b"x" * 100}))
    assert item.reason == "is not in a format that is read"
    assert item.detail.startswith(detail)


def test_locks_are_told(opened):
    for name in ("a.doc", "a.xls", "a.docx", "a.ole"):
        [item] = opened(name, compound({"EncryptedPackage": b"x" * 5000, "EncryptionInfo": b"y"}))
        assert (item.reason, item.detail) == ("is encrypted", "it has a password"), name


def test_files_inside_are_unpacked(opened):
    pytest.importorskip("olefile")
    [item] = opened("a.ole", compound({"Package": word(paragraph("inside"))}))
    assert (item.source, item.text) == ("a.ole!object.docx", "inside")
    dropped = b"\2\0notes.txt\0C:\\notes.txt\0" + b"\0\0\3\0" + struct.pack("<I", 4) + b"C:\\\0"
    dropped += struct.pack("<I", 5) + b"words"
    [item] = opened("a.ole", compound({"\x01Ole10Native": struct.pack("<I", len(dropped)) + dropped}))
    assert (item.source, item.text) == ("a.ole!notes.txt", "words")


def workbook(sheets):
    """The stream of an .xls file ([MS-XLS]) of these sheets: name -> (state, rows of text, (number, format), or the 8
    bytes of what a formula gave)."""

    def record(kind, *fields):
        data = b"".join(fields)
        return struct.pack("<HH", kind, len(data)) + data

    def string(text, size="<H"):
        return struct.pack(size, len(text)) + b"\1" + text.encode("utf-16-le")

    formats = ["General", "0%", "yyyy\\-mm\\-dd"]
    head = record(0x0809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0))
    head += record(0x0031, struct.pack("<HHHHHBBBB", 200, 0, 0, 400, 0, 0, 0, 0, 0), string("Arial", "<B"))
    for number, code in enumerate(formats):
        head += record(0x041E, struct.pack("<H", 164 + number), string(code))
    for number in range(len(formats)):
        head += record(0x00E0, struct.pack("<HHH", 0, 164 + number, 0), bytes(14))
    bodies = []
    for _, rows in sheets.values():
        body = record(0x0809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, str):
                    body += record(0x0204, struct.pack("<HHH", at, column, 0), string(value))
                elif isinstance(value, bytes):
                    body += record(0x0006, struct.pack("<HHH", at, column, 0), value, bytes(8))
                else:
                    body += record(0x0203, struct.pack("<HHHd", at, column, value[1], value[0]))
        bodies.append(body + record(0x000A))
    size = len(head) + sum(4 + 8 + 2 * len(name) for name in sheets) + 4
    listed = b""
    for (name, (state, _)), body in zip(sheets.items(), bodies, strict=True):
        listed += record(0x0085, struct.pack("<IBB", size, state, 0), string(name, "<B"))
        size += len(body)
    return head + listed + record(0x000A) + b"".join(bodies)


def test_an_old_workbook(opened):
    pytest.importorskip("xlrd")
    sheets = {
        "Preise/磨": (0, [["Mühle", (0.25, 1)], [(45418, 2), (3.5, 0)]]),
        "Empty": (0, []),
        "Secret": (1, [["no"]]),
    }
    shown, empty, secret = opened("a.xls", compound({"Workbook": workbook(sheets)}))
    assert (shown.source, shown.metadata) == ("a.xls:sheet Preise_磨", {"sheet": "Preise_磨"})
    assert shown.text == "Mühle\t25%\n2024-05-06\t3.5"
    assert (empty.source, empty.reason) == ("a.xls:sheet Empty", "holds no text")
    assert (secret.source, secret.reason) == ("a.xls:sheet Secret", "is a hidden sheet")


def test_formulas_that_nobody_calculated_are_said(opened):
    pytest.importorskip("xlrd")
    nothing, half = b"\3\0\0\0\0\0\xff\xff", struct.pack("<d", 0.5)

    def read(*formulas):
        sheets = {"S": (0, [["words"], list(formulas)])}
        return opened("a.xls", compound({"Workbook": workbook(sheets)}))

    fault, shown = read(nothing, nothing)
    assert (fault.source, fault.reason) == ("a.xls", "has formulas that were never calculated")
    assert fault.detail.startswith("2 cells: A2, B2; open the workbook")
    assert shown.text == "words"
    [shown] = read(nothing, half)  # one that gives an empty text is nothing strange
    assert shown.text == "words\n\t0.5"


def test_a_broken_workbook(opened):
    pytest.importorskip("xlrd")
    [item] = opened("a.xls", compound({"Workbook": b"x" * 5000}))
    assert item.reason == "is damaged, or not what its file extension says"


@pytest.mark.long
@pytest.mark.skipif(libreoffice.program() is None, reason="needs LibreOffice")
def test_libreoffice_converts_where_the_recipe_allows_it(opened, tmp_path):
    source = tmp_path / "a.rtf"
    source.write_text(r"{\rtf1 The mill grinds words.}")
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    command = [libreoffice.program(), profile, "--headless", "--convert-to", "doc", str(source)]
    libreoffice._run(command, str(tmp_path), 100)
    data = (tmp_path / "a.doc").read_bytes()
    [document] = opened("b.doc", data, libreoffice=True)
    assert isinstance(document, Document)
    assert (document.source, document.text) == ("b.doc", "The mill grinds words.")
    [late] = opened("b.doc", data, libreoffice=True, file_seconds=0.05)
    assert late.reason == "takes longer than limits.file_seconds"


def test_without_libreoffice_it_says_so(opened, monkeypatch):
    monkeypatch.setattr(libreoffice, "program", lambda: None)
    [item] = opened("a.doc", compound({"WordDocument": b"x"}), libreoffice=True)
    assert item.detail == "an old Word document; save it as .docx, or install LibreOffice"
