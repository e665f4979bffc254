"""Small real files in every format, written by hand, each with English and Chinese in it."""

from __future__ import annotations

import json

import pytest

from helpers.office import opendocument, rels, tnef, zipped

CHINESE = "磨坊把文字磨成语言。"
ENGLISH = "The mill grinds words."
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
    "<dc:title>On mills 磨</dc:title><dc:creator>Ada Miller</dc:creator><dc:language>en-GB</dc:language>"
    "<dcterms:created>2024-05-06T07:08:09Z</dcterms:created></cp:coreProperties>"
)


def docx(body: str = "", **parts: str) -> bytes:
    """A Word file with this body; none: one with a bit of everything."""
    run = "<w:r><w:t>{}</w:t></w:r>"
    body = body or (
        f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>{run.format("A heading")}</w:p>'
        f"<w:p>{run.format(ENGLISH)}<w:r><w:tab/><w:t>after a tab</w:t><w:br/><w:t>a new line</w:t></w:r></w:p>"
        f"<w:p>{run.format(CHINESE)}</w:p>"
        "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>HIDDEN</w:t></w:r>"
        "<w:del><w:r><w:delText>DELETED</w:delText></w:r></w:del>" + run.format("seen") + "</w:p>"
        "<w:p><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr>" + run.format("item one") + "</w:p>"
        "<w:p><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr>" + run.format("item two") + "</w:p>"
        "<w:tbl><w:tr><w:tc><w:p>" + run.format("a") + "</w:p></w:tc><w:tc><w:p>" + run.format("b") + "</w:p>"
        "<w:p>"
        + run.format("c")
        + "</w:p></w:tc></w:tr><w:tr><w:tc><w:p/></w:tc><w:tc><w:p>"
        + run.format("磨")
        + "</w:p></w:tc></w:tr></w:tbl><w:p>"
        + run.format("the end")
        + "</w:p>"
    )
    return zipped(
        {
            "_rels/.rels": rels(a="officeDocument:word/document.xml"),
            "docProps/core.xml": CORE,
            "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": rels(n="footnotes:footnotes.xml", l="numbering:numbering.xml"),
            "word/numbering.xml": f"<w:numbering {W}><w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'>"
            "<w:numFmt w:val='bullet'/><w:lvlText w:val='\uf0b7'/></w:lvl></w:abstractNum>"
            "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>",
            "word/footnotes.xml": f"<w:footnotes {W}><w:footnote><w:p>{run.format('A footnote.')}</w:p>"
            "</w:footnote></w:footnotes>",
            **parts,
        }
    )


def pptx() -> bytes:
    """Two slides, shown in another order than they are numbered, one with notes."""

    def slide(*texts: str) -> str:
        each = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts)
        clock = '<a:p><a:fld type="slidenum"><a:t>77</a:t></a:fld></a:p>'
        return f"<p:sld {A} xmlns:p='p'><p:txBody>{each}{clock}</p:txBody></p:sld>"

    return zipped(
        {
            "_rels/.rels": rels(a="officeDocument:/ppt/presentation.xml"),
            "docProps/core.xml": CORE,
            "ppt/presentation.xml": f'<p:presentation {R} xmlns:p="p"><p:sldIdLst><p:sldId id="1" r:id="two"/>'
            '<p:sldId id="2" r:id="one"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": rels(
                one="slide:slides/slide1.xml", two="slide:slides/slide2.xml"
            ),
            "ppt/slides/slide1.xml": slide("Second shown", CHINESE),
            "ppt/slides/slide2.xml": slide("First shown", ENGLISH),
            "ppt/slides/_rels/slide2.xml.rels": rels(n="notesSlide:../notesSlides/n.xml"),
            "ppt/notesSlides/n.xml": slide("A note to say."),
        }
    )


def xlsx() -> bytes:
    """Three sheets: one of every kind of cell, one in Chinese, one that is empty."""
    cells = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
        '<row r="2"><c r="A2" s="1"><v>45418.5</v></c><c r="B2"><v>0.30000000000000004</v></c>'
        '<c r="D2" t="b"><v>1</v></c></row>'
        '<row r="3"><c r="A3" t="inlineStr"><is><t>inline\ntext</t></is></c><c r="B3"><f>1+1</f><v>2</v></c></row>'
        '<row r="4"/><row r="5"><c r="A5" s="2"><v>60000</v></c></row>'
    )
    sheet = "<worksheet " + S + "><sheetData>{}</sheetData></worksheet>"
    return zipped(
        {
            "_rels/.rels": rels(a="officeDocument:xl/workbook.xml"),
            "docProps/core.xml": CORE,
            "xl/workbook.xml": f'<workbook {S} {R}><sheets><sheet name="Words" r:id="a"/><sheet name="中文" r:id="b"/>'
            '<sheet name="Empty" r:id="c"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": rels(
                a="worksheet:worksheets/1.xml",
                b="worksheet:worksheets/2.xml",
                c="worksheet:worksheets/3.xml",
                s="sharedStrings:sharedStrings.xml",
                t="styles:styles.xml",
            ),
            "xl/sharedStrings.xml": f"<sst {S}><si><t>word</t></si><si><r><t>ri</t></r><r><t>ch</t></r></si>"
            f"<si><t>{CHINESE}</t><rPh><t>mo</t></rPh></si></sst>",
            "xl/styles.xml": f'<styleSheet {S}><numFmts><numFmt numFmtId="164" formatCode="0.0\\d"/></numFmts>'
            '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
            '<cellXfs><xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="164"/></cellXfs></styleSheet>',
            "xl/worksheets/1.xml": sheet.format(cells),
            "xl/worksheets/2.xml": sheet.format('<row><c t="s"><v>2</v></c></row>'),
            "xl/worksheets/3.xml": sheet.format(""),
        }
    )


def epub(**parts: str) -> bytes:
    """A book of two chapters, the second in Chinese, listed against their reading order."""
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="c"><rootfiles><rootfile full-path="OEBPS/book.opf"/>'
            "</rootfiles></container>",
            "OEBPS/book.opf": '<package xmlns="o" xmlns:dc="d"><metadata><dc:title>A Book of Mills</dc:title>'
            "<dc:creator>Ada Miller</dc:creator><dc:creator>Bo Stone</dc:creator><dc:date>1999</dc:date>"
            '<dc:language>en</dc:language></metadata><manifest><item id="2" href="b%20c.xhtml"'
            ' media-type="application/xhtml+xml"/><item id="1" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="p" href="p.png" media-type="image/png"/></manifest><spine><itemref idref="1"/>'
            '<itemref idref="2"/></spine></package>',
            "OEBPS/a.xhtml": f"<html><body><h1>One</h1><p>{ENGLISH}</p></body></html>",
            "OEBPS/b c.xhtml": f'<?xml version="1.0" encoding="utf-8"?><html><body><p>{CHINESE}</p></body></html>',
            **parts,
        }
    )


def pdf(*, encrypted: bool = False) -> bytes:
    """Two pages, the second in Chinese through a character map every reader knows."""
    streams = [
        b"BT /F1 12 Tf 72 700 Td (The mill grinds words.) Tj 0 -20 Td (A second line.) Tj ET",
        b"BT /F2 12 Tf 72 700 Td <" + CHINESE.encode("utf-16-be").hex().encode() + b"> Tj ET",
    ]
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>",
        *(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 7 0 R/F2 8 0 R>>>>"
            b"/Contents %d 0 R>>" % number
            for number in (5, 6)
        ),
        *(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream) for stream in streams),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[9 0 R]>>",
        b"<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/DW 1000"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>>>",
        b"<</Title(On mills)/Author(Ada Miller)/CreationDate(D:20240506070809+02'00')>>",
        b"<</Filter/Standard/V 1/R 2/P -4/O<" + b"ab" * 32 + b">/U<" + b"cd" * 32 + b">>>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    lock = b"/Encrypt 11 0 R/ID[<00><00>]" if encrypted else b""
    out += b"trailer<</Size %d/Root 1 0 R/Info 10 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1,
        lock,
        start,
    )
    return bytes(out)


HTML = f"""<!DOCTYPE html><html lang="en-GB"><head><title>On &amp; about mills</title>
<meta name="author" content="Ada Miller"><meta property="article:published_time" content="2024-05-06T09:08:09+02:00">
<style>p {{ color: red }}</style><script>var secret = "<p>SCRIPT</p>";</script></head><body>
<nav><ul><li>MENU</li></ul></nav><h1>A heading</h1><p>{ENGLISH} <b>Bold</b>ly.<br>A new line.</p>
<!-- COMMENT --><p hidden>HIDDEN</p><div style="display: none">HIDDEN</div>
<h2>磨坊</h2><p>{CHINESE}</p><ul><li>one<li>two</ul>
<table><tr><th>a<th>b</tr><tr><td><p>c</p></td><td></td><td>d</td></tr></table>
<pre>def f():
\t\treturn 1</pre><aside>ASIDE</aside><footer>FOOTER</footer></body></html>"""


def eml() -> bytes:
    """A message with two versions of its text, a file, a page and a message in it."""
    from email.message import EmailMessage

    inner = EmailMessage()
    inner["Subject"], inner["From"] = "Inner", "Bo <bo@example.org>"
    inner.set_content("An inner message.")
    mail = EmailMessage()
    mail["Subject"] = "关于磨坊"
    mail["From"] = "Ada Miller <ada@example.org>"
    mail["Date"] = "Mon, 06 May 2024 09:08:09 +0200"
    mail.set_content(f"{ENGLISH}\n{CHINESE}\n", cte="quoted-printable")
    mail.add_alternative(f"<p>{ENGLISH} in HTML</p>", subtype="html")
    mail.add_attachment(docx(), maintype="application", subtype="octet-stream", filename="报告.docx")
    mail.add_attachment("<p>An attached page.</p>", subtype="html", filename="page.html")
    mail.add_attachment(inner)
    return mail.as_bytes()


def mbox() -> bytes:
    """Three messages, one with a quoted line and one in an old encoding."""
    first = b"From ada@x Mon May  6 09:08:09 2024\nSubject: One\n\nWords.\n>From the mill.\n\nFrom here on, text.\n\n"
    second = "From bo@x Mon May  6 10:00:00 2024\nSubject: Two\nContent-Type: text/plain; charset=gb2312\n\n"
    third = b"From bo@x Mon May  6 10:00:00 2024\nSubject: =?utf-8?B?5LiJ?=\n\nThree.\n"
    return first + second.encode() + f"{CHINESE}\n\n".encode("gb18030") + third


def warc() -> bytes:
    """A request, three answers (a page, a missing one, chunked Chinese), and a record of a page seen before."""

    def record(kind: str, url: str, block: bytes, media: str = "application/http; msgtype=response") -> bytes:
        head = (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
            f"Content-Type: {media}\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        return head.encode() + block + b"\r\n\r\n"

    page = f"<html><title>P</title><p>{ENGLISH}</p></html>".encode()
    chinese = f"<p>{CHINESE}</p>".encode("gbk")
    chunks = b"5\r\n" + chinese[:5] + b"\r\n%x;x=y\r\n" % (len(chinese) - 5) + chinese[5:] + b"\r\n0\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/html"
    return b"".join(
        (
            record("warcinfo", "", b"software: x\r\n", "application/warc-fields"),
            record(
                "request", "http://x.org/a", b"GET /a HTTP/1.1\r\n\r\n", "application/http; msgtype=request"
            ),
            record("response", "http://x.org/a", ok + b"\r\n\r\n" + page),
            record(
                "response", "http://x.org/b", b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\nno"
            ),
            record(
                "response",
                "http://x.org/c.php",
                ok + b"; charset=gb2312\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
            ),
            record("revisit", "http://x.org/a", b"HTTP/1.1 200 OK\r\n\r\n"),
            record("conversion", "http://x.org/d", CHINESE.encode(), "text/plain"),
            record(
                "response",
                "http://x.org/p.png",
                b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG\0\0",
            ),
        )
    )


def mhtml() -> bytes:
    """A page as browsers save it."""
    return (
        "From: <Saved by Blink>\r\nSnapshot-Content-Location: https://x.org/a\r\nSubject: Saved\r\n"
        "Date: Mon, 6 May 2024 07:08:09 -0000\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/related; type="text/html"; boundary="B"\r\n\r\n--B\r\n'
        "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        f'<meta charset=3D"utf-8"><p>{ENGLISH}</p><p>'
        + "".join(f"={byte:02X}" for byte in CHINESE.encode())
        + "</p>\r\n--B\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0=\r\n--B--\r\n"
    ).encode()


SRT = f"""1
00:00:01,000 --> 00:00:02,000
<i>{ENGLISH}</i>

2
00:00:02,000 --> 00:00:03,000
{ENGLISH}
{{\\an8}}{CHINESE}
"""
VTT = f"""WEBVTT
Language: en

NOTE a remark

1
00:01.000 --> 00:02.000 align:start
<v Ada>{ENGLISH}</v>

00:02.000 --> 00:03.000
<00:02.500><c>{CHINESE}</c> &amp; more
"""
ASS = f"""[Script Info]
Title: On mills
[V4+ Styles]
Format: Name
Style: Default
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{CHINESE}
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{{\\i1}}The mill, {{\\i0}}it grinds.\\NTwice.
Dialogue: 0,0:00:02.00,0:00:02.00,Default,,0,0,0,,{{\\p1}}m 0 0 l 1 1
Comment: 0,0:00:07.00,0:00:08.00,Default,,0,0,0,,COMMENT
"""
NOTEBOOK = {
    "nbformat": 4,
    "metadata": {"language_info": {"name": "python"}, "title": "On mills", "authors": [{"name": "Ada"}]},
    "cells": [
        {"cell_type": "markdown", "source": ["# Mills\n", CHINESE]},
        {"cell_type": "code", "source": "print(1)", "outputs": [{"text": ["OUTPUT"]}]},
        {"cell_type": "code", "source": ""},
    ],
}


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """A file in every format, by its name."""
    return {
        "a.docx": docx(),
        "a.pptx": pptx(),
        "a.xlsx": xlsx(),
        "a.epub": epub(),
        "a.pdf": pdf(),
        "a.html": HTML.encode(),
        "a.eml": eml(),
        "a.mbox": mbox(),
        "a.warc": warc(),
        "a.mhtml": mhtml(),
        "a.srt": SRT.encode(),
        "a.vtt": VTT.encode(),
        "a.ass": ASS.encode(),
        "a.ipynb": json.dumps(NOTEBOOK).encode(),
        "a.rtf": rb"{\rtf1\ansi{\fonttbl{\f0\fcharset134 x;}}"
        + ENGLISH.encode()
        + rb"{\v HIDDEN}\par \f0 "
        + "".join(f"\\'{byte:02x}" for byte in CHINESE.encode("gb18030")).encode()
        + b"}",
        "a.odt": opendocument(f"<text:p>{ENGLISH}</text:p><text:p>{CHINESE}</text:p>"),
        "a.ods": opendocument(
            f"<table:table table:name='s'><table:table-row><table:table-cell><text:p>{ENGLISH}</text:p>"
            f"<text:p>{CHINESE}</text:p></table:table-cell></table:table-row></table:table>",
            kind="spreadsheet",
        ),
        "a.tnef": tnef("s", f"{ENGLISH} {CHINESE}", {"a.txt": b"attached"}),
    }


@pytest.fixture(scope="session")
def make():
    """The makers of sample files that take something."""
    return {"docx": docx, "epub": epub, "pdf": pdf, "zipped": zipped, "rels": rels}
