"""What a file is: told by its content under any name, and a text about markup is a text."""

from __future__ import annotations

import base64
import gzip
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats import sniff
from textmill.text.sources.formats.table import open_file

WORDS = "The mill grinds words."
PAGE = (
    "<!DOCTYPE html>\n<html><head><title>t</title><script>var a = 1;</script></head>"
    f"<body><p>{WORDS}</p></body></html>\n"
)
LETTER = (
    "From: Ada <ada@x.org>\nDate: Mon, 06 May 2024 09:08:09 +0200\nMIME-Version: 1.0\n"
    f"Content-Transfer-Encoding: base64\n\n{base64.b64encode(WORDS.encode()).decode()}\n"
)
SAVED = (
    "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n"
    f"<p>{WORDS}</p>\n--b--\n"
)
CAPTIONS = f"1\n00:00:01,000 --> 00:00:02,000\n{WORDS}\n"
FORMS = {
    "html": PAGE,
    "xhtml": f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>{WORDS}</body></html>',
    "php": f"<?php session_start(); ?>\n<html>\n<body><nav>Menu</nav>{WORDS}</body></html>",
    "eml": LETTER,
    "mbox": f"From ada@x Mon May  6 09:08:09 2024\n{LETTER}",
    "mhtml": SAVED,
    "emlx": f"{len(LETTER)}\n{LETTER}<?xml version='1.0'?><plist/>",
    "srt": CAPTIONS,
    "vtt": f"WEBVTT\n\n00:01.000 --> 00:02.000\n{WORDS}\n",
    "ass": f"[Script Info]\nTitle: t\n[Events]\nFormat: Start, Text\nDialogue: 0:00:01.00,{WORDS}\n",
    "fb2": f'<?xml version="1.0"?><FictionBook xmlns="f"><body><section><p>{WORDS}</p></section></body></FictionBook>',
    "rss": f'<?xml version="1.0"?><rss><channel><item><description>{WORDS}</description></item></channel></rss>',
    "tei": f'<TEI xmlns="t"><text><body><p>{WORDS}</p></body></text></TEI>',
    "rtf": f"{{\\rtf1\\ansi {WORDS}}}",
}
NAMES = (
    "",
    "txt",
    "md",
    "doc",
    "xls",
    "csv",
    "pdf",
    "docx",
    "json",
    "html",
    "eml",
    "dat",
    "php",
    "srt",
    "zip",
    "log",
    "2024",
)


@pytest.fixture
def read(tmp_path):
    """Everything a file of this name with these bytes holds."""

    def call(name, data):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return list(open_file(path, name, None, LimitSpec()))

    return call


# --- content under another name -----------------------------------------------------------------------------------
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mark", ["", "\ufeff", "\n\n"])
def test_a_form_is_read_under_any_name(read, form, name, mark):
    if mark == "\n\n" and form not in ("html", "php", "srt"):
        return  # nothing may stand before a header or a declaration
    if mark and form == "rtf":
        return  # which is seven bits
    [item] = read(f"a.{name}" if name else "a", mark + FORMS[form])
    assert isinstance(item, Document), item
    assert item.text.strip("\ufeff") == WORDS


@pytest.mark.parametrize("name", NAMES)
def test_documents_are_read_under_any_name(read, samples, make, name):
    pytest.importorskip("pypdfium2")
    for form in ("a.docx", "a.epub", "a.pdf", "a.xlsx", "a.pptx"):
        expected = [getattr(item, "text", item) for item in read(form, samples[form])]
        items = read(f"b.{name}" if name else "b", samples[form])
        texts = [getattr(item, "text", item) for item in items]
        assert [text for text in texts if isinstance(text, str)] == [
            text for text in expected if isinstance(text, str)
        ], form


def test_the_beginning_of_what_is_packed(read):
    [item] = read("a.txt.gz", gzip.compress(PAGE.encode()))
    assert item.text == WORDS
    [item] = read("a.doc", PAGE.encode("utf-16"))
    assert item.text == WORDS


@pytest.mark.parametrize(
    "source",
    [
        f"<table border=1><tr><td>{WORDS}</td></tr></table>",
        f"<meta http-equiv='Content-Type' content='text/html'><style>td {{}}</style><table><tr><td>{WORDS}</table>",
        f"<div>\n\n<p>{WORDS}</p>\n\n</div>",
    ],
)
def test_pages_without_their_root(read, source):
    [item] = read("report.xls", source)
    assert item.text == WORDS


def test_what_is_no_text_is_said(read):
    data = base64.encodebytes(random.Random(0).randbytes(2000)).decode()
    for name, text, detail in (
        ("a.txt", data, "encoded bytes (base64 or uuencode); decode it"),
        ("a", data.replace("\n", ""), "encoded bytes (base64 or uuencode); decode it"),
        (
            "key.pem",
            f"-----BEGIN RSA PRIVATE KEY-----\n{data}",
            "a key, a certificate or an encrypted message",
        ),
        ("a.asc", "-----BEGIN PGP MESSAGE-----\n\nhQ\n", "a key, a certificate or an encrypted message"),
        (
            "a.svg",
            '<svg xmlns="s"><path d="M0 0"/></svg>',
            "an SVG picture; save it as .pdf to have its words read",
        ),
    ):
        [item] = read(name, text)
        assert isinstance(item, Rejected), name
        assert (item.reason, item.detail) == ("is not text", detail)
    for begin, what in (("VCALENDAR", "a calendar"), ("VCARD", "a list of contacts")):
        for name in ("a.ics", "a.vcf", "a.txt", "a"):
            [item] = read(name, f"BEGIN:{begin}\r\nVERSION:3.0\r\nNOTE:words\r\nEND:{begin}\r\n")
            assert isinstance(item, Rejected), name
            assert item.detail.startswith(f"{what}; export ")
    [item] = read("a.ics", "BEGIN:VCALENDAR is how a calendar begins.\n")
    assert item.text == "BEGIN:VCALENDAR is how a calendar begins.\n"
    [item] = read("a.txt", '<?xml version="1.0"?><catalogue><book/></catalogue>')
    assert item.reason == "is not in a format that is read"
    assert "catalogue" in item.detail
    roots = "tmx xliff plist kml office:document pkg:package w:wordDocument Workbook mediawiki en-export"
    for root in roots.split():
        [item] = read(
            "a.xml", f'<?xml version="1.0"?>\n<?mso-application x?><{root} xmlns="x"><a>words</a></{root}>'
        )
        assert isinstance(item, Rejected), root


def test_records_are_records_under_any_vague_name(read):
    lines = '{"text": "one"}\n{"text": "two"}\n'
    for name, written in (("a.txt", lines), ("a", lines), ("a.log", '[{"text": "one"},\n {"text": "two"}]')):
        assert [item.text for item in read(name, written)] == ["one", "two"]
    for written in ('{"text": "one"}\nis how a record looks.\n', "[1] See below.\n", "{braces} and more\n"):
        [item] = read("a.txt", written)
        assert item.text == written


DOCBOOK = """<?xml version="1.0"?><article xmlns="http://docbook.org/ns/docbook" version="5.0">
<info><title>On mills</title></info><section><title>Water</title><para>The wheel turns<indexterm><primary>wheel
</primary></indexterm>: 5 m<superscript>3</superscript>.</para><itemizedlist><listitem><para>one</para></listitem>
</itemizedlist></section></article>"""
JATS = """<?xml version="1.0"?><!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) v1.2//EN" "J.dtd">
<article article-type="research-article"><front><journal-meta><journal-id>X</journal-id></journal-meta><article-meta>
<article-id>1</article-id><title-group><article-title>On mills</article-title></title-group><abstract><p>Short.</p>
</abstract></article-meta></front><body><sec><title>Water</title><p>The wheel <italic>turns</italic><xref>1</xref>.</p>
</sec></body><back><ref-list><ref><article-title>Other</article-title></ref></ref-list></back></article>"""


@pytest.mark.parametrize(
    ("names", "source", "text"),
    [
        (
            ("a.xml", "a.docbook", "a.dbk", "a"),
            DOCBOOK,
            "On mills\n\nWater\n\nThe wheel turns: 5 m³.\n\n  • one",
        ),
        (("a.xml", "a.jats", "a.nxml", "a.txt"), JATS, "On mills\n\nShort.\n\nWater\n\nThe wheel turns1."),
    ],
)
def test_articles_in_xml_are_told_apart(read, names, source, text):
    for name in names:
        [item] = read(name, source)
        assert item.text == text
        assert item.metadata["title"] == "On mills"
    [item] = read("a.xml", source.split("?>")[0] + "?><article><words/>DTD</article>")
    assert "<words/>" in item.text  # data of somebody's own


# --- text about markup --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "    <!DOCTYPE html>\n    <html><body>x</body></html>\n\nSo begins a page.\n"),
        ("a.txt", "<!DOCTYPE html> is the first line of every page.\n"),
        ("a.txt", "<html> is the root. It holds <head> and <body>.\n"),
        ("a.txt", f"{PAGE}\nThat was a page.\n"),
        ("a.md", "<p align=center><img src=logo.png></p>\n\n# A project\n\nIts words.\n"),
        ("a.txt", "<p>A tag begins a paragraph,\n\nand this is another without one.\n"),
        ("a.txt", "<sigh> I am tired.\n"),
        ("a.txt", "From: the mill\nTo: the baker\nSubject: flour\n\nForty sacks.\n"),
        ("a.txt", "From here on, all is well.\nMon May 6 10:00:00 2024 was a good day.\n"),
        ("a.txt", "1\n00:00 was the time.\n"),
        ("a.txt", "WEBVTT is a format of subtitles.\n"),
        ("a.txt", "begin 644 metres above the sea\nand walk on, said the guide who knew the way.\n"),
        ("a.py", '"""<html><body>"""\nprint("<html>")\n'),
        ("a.xml", '<?xml version="1.0"?><project><name>mill</name></project>\n'),
        ("a.js", "<!-- hidden from old browsers\nvar page = '<html>';\n"),
        (
            "a.patch",
            "From 0123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@x>\nDate: Mon, 6 May 2024 10:00:00 +0200\n\n---\n",
        ),
        ("a.php", "<?php\nclass Mill { function grind($a) { return $a > 1; } }\n"),
        ("a.vue", "<template><div>{{ words }}</div></template>\n<script>\nexport default {}\n</script>\n"),
        ("a.txt", "ACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTACGT\n" * 9),
        ("a.txt", "deadbeef00112233445566778899aabbccddeeff00112233445566\n" * 9),
    ],
)
def test_a_text_about_markup_stays_a_text(read, name, text):
    [item] = read(name, text)
    assert isinstance(item, Document), item
    assert item.text == text


_PROSE = st.lists(
    st.sampled_from(("So", "a", "page", "begins", "with", "words", "磨坊", "<b>", "&", "1.")),
    min_size=1,
    max_size=9,
).map(" ".join)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.sampled_from(
        ("So it begins:", "# A page", "这是一个网页。", "Notes", "To read mail, look at this:")
    ),
    paragraphs=st.lists(_PROSE | st.sampled_from(sorted(FORMS)).map(lambda form: FORMS[form]), max_size=5),
    fence=st.sampled_from(("```\n{}\n```", "{}", "    {}")),
    name=st.sampled_from(("txt", "md", "rst", "", "log", "tex", "py")),
)
def test_any_text_with_markup_as_its_examples(read, before, paragraphs, fence, name):
    """Whatever examples stand in a text, it is given back as it is, if it begins with words."""
    text = "\n\n".join([before, *(fence.format(paragraph) for paragraph in paragraphs)])
    [item] = read(f"a.{name}" if name else "a", text)
    assert isinstance(item, Document), item
    assert item.text == text


@given(st.binary(max_size=400), st.sampled_from(NAMES))
def test_any_bytes_are_looked_at(data, name):
    import contextlib

    from textmill.text.sources.formats.stream import SetAside

    with contextlib.suppress(SetAside):
        assert isinstance(sniff.extension(f"a.{name}", data), str)


@pytest.mark.parametrize("name", ["", "txt", "bin", "2024"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"AT&TFORM\0\0\0\1DJVU", "a DjVu document"),
        (b"ITSF\3\0\0\0", "a compiled help file"),
        (bytes(60) + b"BOOKMOBI", "a Mobipocket book"),
        (b"\xffWPC\0\0", "a WordPerfect document"),
        (b"!BDN\0\0", "an Outlook mailbox"),
        (b"\0\1\0\0Standard ACE DB\0", "an Access database"),
        (b"Rar!\x1a\7\0", "a RAR archive"),
        (b"%!PS-Adobe-3.0\nshowpage\n", "a PostScript file"),
        (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3\0", "a OneNote section"),
    ],
)
def test_forms_that_are_not_read_are_known_by_their_first_bytes(read, name, data, what):
    [item] = read(f"a.{name}" if name else "a", data)
    assert item.reason == "is not in a format that is read"
    assert item.detail.startswith(what)


@pytest.mark.parametrize("name", ["", "txt", "sub", "lrc", "sbv"])
@pytest.mark.parametrize(
    "source",
    [
        f"{{10}}{{20}}{{y:i}}The mill|grinds\n{{30}}{{40}}{WORDS}\n",
        f"[ti:t]\n[00:01.00]The mill\n[00:02.00]grinds\n[00:03.50][00:09.50]{WORDS}\n",
        f"0:00:01.000,0:00:02.000\nThe mill\ngrinds\n\n0:00:03.000,0:00:04.000\n{WORDS}\n",
    ],
)
def test_other_subtitles(read, name, source):
    [item] = read(f"a.{name}" if name else "a", source)
    assert item.text == f"The mill\ngrinds\n{WORDS}"


def test_pictures_embedded_in_markdown(read):
    picture = base64.b64encode(random.Random(0).randbytes(900)).decode()
    text, refused = read(
        "a.md", f"# Mills\n\n![](data:image/png;base64,{picture})\n\n[1]: <data:image/png;base64,{picture}>\n"
    )
    assert text.text == "# Mills\n\n![](data:image/png;base64,)\n\n[1]: <data:image/png;base64,>\n"
    assert refused.detail == "2 files in base64, such as pictures"
    [example] = read("b.md", "Write `data:image/png;base64,iVBORw0KGgo=` there.\n")
    assert "iVBORw0KGgo=" in example.text
