"""Hostile and broken files in every format: skipped at their place, nothing raised, nothing written."""

from __future__ import annotations

import base64
import json
from email.message import EmailMessage

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats import html
from textmill.text.sources.formats.stream import Deadline, SetAside
from textmill.text.sources.formats.table import READERS, open_file


@pytest.fixture
def opened(tmp_path):
    def call(name, data, **limits):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        items = list(open_file(path, name, None, LimitSpec(**limits)))
        assert all(item.source.startswith(name) for item in items)
        assert list(tmp_path.iterdir()) == [path]
        path.unlink()
        return items

    return call


@pytest.fixture
def reason(opened):
    """Why the one thing a file holds is skipped."""

    def call(name, data, **limits):
        [item] = opened(name, data, **limits)
        assert isinstance(item, Rejected), item
        return item.reason

    return call


@pytest.mark.parametrize("ending", sorted(READERS))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300))
def test_random_bytes_are_accounted_for(ending, data, opened):
    for item in opened(f"a{ending}", data):
        assert isinstance(item, (Document, Rejected))


@pytest.mark.parametrize("part", range(4))
def test_truncated_files_are_accounted_for(samples, opened, part):
    for name, data in samples.items():
        step = max(1, len(data) // 60)
        for length in range(part * step // 4, len(data), step):
            items = opened(name, data[:length])
            assert items or name in ("a.warc", "a.mbox"), (name, length)  # an empty archive holds nothing


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_files_are_accounted_for(samples, opened, data):
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for item in opened(name, bytes(content)):
        assert isinstance(item, (Document, Rejected))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pieces=st.lists(
        st.sampled_from(
            (
                "<p>",
                "</p>",
                "<td>",
                "<table>",
                "</div>",
                "<div",
                "<!--",
                "-->",
                "<pre>",
                "\t",
                "<main>",
                "</main>",
            )
        )
        | st.sampled_from(
            ("</pre>", "&", ";", "<![CDATA[", "a", " ", "<li>", "<ul>", "</ul>", "<tr>", "<p hidden>")
        )
    )
)
def test_broken_pages_are_read(pieces):
    source = "".join(pieces)
    html.extract(source, Deadline(LimitSpec()))


# --- XML ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_entities_never_expand(make, reason, encoding):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">'
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    body = '<w:document xmlns:w="w"><w:p><w:t>&i;</w:t></w:p></w:document>'
    xml = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}]>{body}'
    parts = {"word/document.xml": xml.encode(encoding)}
    assert reason("a.docx", make["zipped"](parts)) == "declares XML entities"
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><w:p xmlns:w="w"><w:t>&a;</w:t></w:p>'
    assert reason("a.docx", make["zipped"]({"word/document.xml": outside})) == "declares XML entities"


def test_endless_nesting_of_elements(make, reason):
    deep = "<w>" * 20_000 + "</w>" * 20_000
    assert reason("a.docx", make["zipped"]({"word/document.xml": deep})) == "is nested too deeply"


def test_parts_are_held_to_the_caps_of_archives(make, reason):
    bomb = make["zipped"]({"word/document.xml": b"<a>" + b" " * (40 << 20) + b"</a>"})
    assert reason("a.docx", bomb).startswith("unpacks to more than limits.ratio times its size")
    small = make["zipped"]({"word/document.xml": b"<a>" + b" " * 1000 + b"</a>"})
    assert reason("b.docx", small, archive_bytes=500).startswith("unpacks to more than limits.archive_bytes")
    many = make["zipped"]({f"{n}.xml": b"" for n in range(50)})
    assert reason("c.xlsx", many, members=20).startswith("holds more than limits.members")


def workbook(make, sheet, name="a", strings=""):
    """A workbook of one sheet."""
    listed = f'<sheets><sheet name="{name}" r:id="a"/></sheets>'
    return make["zipped"](
        {
            "_rels/.rels": make["rels"](a="officeDocument:xl/workbook.xml"),
            "xl/workbook.xml": f'<workbook xmlns:r="http://x/relationships">{listed}</workbook>',
            "xl/_rels/workbook.xml.rels": make["rels"](a="worksheet:1.xml", s="sharedStrings:s.xml"),
            "xl/s.xml": f"<sst>{strings}</sst>",
            "xl/1.xml": f"<worksheet>{sheet}</worksheet>",
        }
    )


def test_strings_repeated_in_a_sheet_are_charged(make, reason):
    rows = '<row><c t="s"><v>0</v></c></row>' * 3000
    data = workbook(make, rows, strings=f"<si><t>{'ha ' * 10_000}</t></si>")
    assert reason("a.xlsx", data).startswith("unpacks to more than limits.ratio")


def test_a_cell_in_the_last_column_costs_little(make, opened):
    [item] = opened("a.xlsx", workbook(make, '<row><c r="ZZZ1"><v>1</v></c></row>' * 10, name="a/b!c"))
    assert item.source == "a.xlsx:sheet a_b_c"
    assert len(item.text) < 2000


# --- encryption ---------------------------------------------------------------------------------------------------
def test_what_has_a_password_is_set_aside(make, reason, opened):
    pytest.importorskip("pypdfium2")
    assert reason("a.pdf", make["pdf"](encrypted=True)) == "is encrypted"
    compound = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(300_000)
        + "EncryptedPackage".encode("utf-16-le")
        + bytes(900)
    )
    assert reason("a.docx", compound) == "is encrypted"
    assert reason("b.xlsx", compound[:900]) == "is not in a format that is read"
    lock = '<encryption><EncryptedData><EncryptionMethod Algorithm="aes"/></EncryptedData></encryption>'
    assert reason("a.epub", make["epub"](**{"META-INF/encryption.xml": lock})) == "is encrypted"
    fonts = lock.replace("aes", "http://www.idpf.org/2008/embedding")
    [book] = opened("b.epub", make["epub"](**{"META-INF/encryption.xml": fonts}))
    assert isinstance(book, Document)
    sealed = "Subject: s\nContent-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--\n"
    assert reason("a.eml", sealed) == "is encrypted"


def test_an_encrypted_part(make, reason):
    data = bytearray(make["docx"]())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flags of every header
        place = -1
        while (place := data.find(mark, place + 1)) >= 0:
            data[place + at] |= 1
    assert reason("a.docx", bytes(data)) == "is encrypted"


# --- nesting, size and time ---------------------------------------------------------------------------------------
def test_messages_within_messages_end(opened):
    mail = EmailMessage()
    mail["Subject"] = "0"
    mail.set_content("the innermost")
    for number in range(1, 12):
        outer = EmailMessage()
        outer["Subject"] = str(number)
        outer.set_content(f"words {number}")
        outer.add_attachment(mail)
        mail = outer
    items = opened("a.eml", mail.as_bytes())
    assert [isinstance(item, Document) for item in items] == [True] * 5 + [False]
    assert items[-1].reason == "is nested too deeply"
    assert items[-1].source == "a.eml" + "!part.eml" * 5


def test_an_archive_attached_is_read_within_the_caps(make, opened):
    mail = EmailMessage()
    mail.set_content("see the bomb")
    bomb = make["zipped"]({"fine.txt": b"fine", "bomb.txt": b"a" * (30 << 20), "../out.txt": b"out"})
    mail.add_attachment(bomb, maintype="application", subtype="zip", filename="../../b.zip")
    places = {item.source: getattr(item, "reason", "") for item in opened("a.eml", mail.as_bytes())}
    assert places == {
        "a.eml": "",
        "a.eml!b.zip!fine.txt": "",
        "a.eml!b.zip!bomb.txt": "unpacks to more than limits.ratio times its size",
        "a.eml!b.zip!../out.txt": "points outside its archive",
    }


def test_multiparts_without_end(opened):
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    for item in opened("a.eml", f"Subject: s\n{deep}\nwords"):
        assert isinstance(item, Rejected)


def test_pages_nested_beyond_reason(opened, reason):
    page = "<div>" * 60_000 + "deep" + "</div>" * 60_000
    assert reason("a.html", page) == "is nested too deeply"
    wide = "<div><p>x</div>" * 20_000
    [item] = opened("b.html", wide)
    assert isinstance(item, Document)


@pytest.mark.parametrize(
    "piece",
    [
        "<br>",
        "<p>",
        "</p>",
        "<td><p>",
        "<td>",
        "<li>",
        "<pre>\t",
        "<a b=c ",
        "&",
        "<!",
        "</x>",
        "<ul>",
        "<main>",
    ],
)
def test_pages_that_repeat_themselves_take_no_long(opened, within, piece):
    with within(20):
        opened("a.html", f"<table><tr>{piece * 20_000}words")


def test_a_page_that_takes_too_long(opened):
    [item] = opened("a.html", "<p>words" * 100_000, file_seconds=0.001)
    assert (item.reason, item.detail) == ("takes longer than limits.file_seconds", "0.001 seconds")
    with pytest.raises(SetAside):
        deadline = Deadline(LimitSpec(file_seconds=1e-9))
        deadline.check()


def test_large_files_and_messages(reason, opened):
    for name in ("a.html", "a.eml", "a.ipynb", "a.srt", "a.pdf", "a.mhtml"):
        assert (
            reason(name, b"Subject: s\n\n" + b"a" * 500, file_bytes=100) == "is larger than limits.file_bytes"
        ), name
    head = b"From a@b Mon May  6 09:08:09 2024\nSubject: s\n\n"
    large, small = opened("a.mbox", head + b"words\n" * 100 + b"\n" + head + b"few\n", file_bytes=100)
    assert (large.source, large.reason) == ("a.mbox:message 1", "is larger than limits.file_bytes")
    assert small.text == "few"


def test_a_pdf_that_lies_about_its_pages(make, opened):
    pytest.importorskip("pypdfium2")
    items = opened("a.pdf", make["pdf"]().replace(b"/Count 2>>", b"/Count 999>>"))
    assert 1 <= len(items) <= 120
    broken = make["pdf"]().replace(b"/Type/Page/Parent", b"/Type/Pagf/Parent")
    for item in opened("b.pdf", broken):
        assert isinstance(item, (Document, Rejected))


def test_a_pdf_of_pictures_says_so(make, reason):
    pytest.importorskip("pypdfium2")
    assert reason("a.pdf", make["pdf"]().replace(b"Tj", b"Td")) == "holds no text"


def test_web_archives_that_lie(samples, opened):
    data = samples["a.warc"]
    items = opened("a.warc", data.replace(b"Content-Length: ", b"Content-Length: x", 2))
    assert items[-1].reason == "is damaged; the rest is not read"
    items = opened("b.warc", data[:-30])
    assert items[-1].reason == "ends before its end"
    assert items[-1].source == "b.warc:record 8"
    assert (
        opened("c.warc", b"WARC/1.0\r\n" + b"A: b\r\n" * 100_000)[0].reason
        == "is damaged; the rest is not read"
    )
    packed = base64.b64decode("eJztwTEBAAAAwqD1T20ND6AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")
    block = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b" + packed
    head = f"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n"
    [item] = opened("d.warc", head.encode() + block)
    assert isinstance(item, Rejected)


def test_odd_notebooks(opened):
    for value in (
        [],
        3,
        {},
        {"cells": 3},
        {"cells": [3, {"cell_type": "code", "source": 3}]},
        {"metadata": [], "cells": [[]]},
    ):
        [item] = opened("a.ipynb", json.dumps(value))
        assert item.reason == "holds no text"
    [item] = opened("a.ipynb", "[" * 100_000)
    assert item.reason == "is not valid JSON"


def test_parts_that_are_missing(make, reason):
    for name in ("a.docx", "a.pptx", "a.xlsx", "a.epub"):
        assert (
            reason(name, make["zipped"]({"other.xml": "<a/>"}))
            == "is damaged, or not what its file extension says"
        )
        assert reason(name, b"no zip file") == "is damaged, or not what its file extension says"
