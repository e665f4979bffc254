"""Every format gives its text, its facts and its places, Chinese as well as English."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import tarfile

import pytest

from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text.document import Document, Rejected, ending
from textmill.text.sources.formats import html, pdf
from textmill.text.sources.formats.advice import FORMS
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import iso_date
from textmill.text.sources.formats.stream import Deadline
from textmill.text.sources.formats.table import READERS, open_file
from textmill.text.sources.table import read_documents

CHINESE = "磨坊把文字磨成语言。"
ENGLISH = "The mill grinds words."
FACTS = {"title": "On mills 磨", "author": "Ada Miller", "date": "2024-05-06T07:08:09Z", "language": "en"}


@pytest.fixture
def opened(tmp_path):
    """What a file of this name with these bytes holds."""

    def call(name, data, **settings):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return list(open_file(path, name, None, LimitSpec(**settings)))

    return call


@pytest.fixture
def one(opened):
    """The only thing a file holds, which is a document."""

    def call(name, data):
        [document] = opened(name, data)
        assert isinstance(document, Document), document
        return document

    return call


@pytest.fixture
def extract():
    """The text of a page."""
    return lambda source: html.extract(source, Deadline(LimitSpec()))


def test_every_sample_speaks_both_languages(samples, opened):
    if not importlib.util.find_spec("pypdfium2"):
        samples = {name: data for name, data in samples.items() if name != "a.pdf"}
    for name, data in samples.items():
        items = opened(name, data)
        text = "\n".join(item.text for item in items if isinstance(item, Document))
        assert CHINESE in text, name
        assert ENGLISH in text or name in ("a.ass", "a.ipynb", "a.xlsx", "a.mbox"), name
        for word in ("HIDDEN", "DELETED", "SCRIPT", "COMMENT", "MENU", "ASIDE", "FOOTER", "OUTPUT"):
            assert word not in text, name


def test_the_same_inside_archives_and_compressions(samples, opened):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in samples.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    plain = [item for name, data in samples.items() for item in opened(name, data)]
    inside = opened("all.tgz", packed.getvalue())
    assert [item.source for item in inside] == [f"all.tgz!{item.source}" for item in plain]
    assert [getattr(item, "text", None) for item in inside] == [getattr(item, "text", None) for item in plain]


# --- office -------------------------------------------------------------------------------------------------------
def test_word(samples, one):
    document = one("a.docx", samples["a.docx"])
    assert document.text == (
        f"A heading\n\n{ENGLISH}\tafter a tab\na new line\n\n{CHINESE}\n\nseen\n\n"
        "• item one\n• item two\n\na\tb c\n\t磨\n\nthe end\n\nA footnote."
    )
    assert document.metadata == FACTS


def test_word_with_tables_in_tables_and_text_boxes(make, one):
    def table(*cells):
        return f"<w:tbl><w:tr>{''.join(f'<w:tc>{cell}</w:tc>' for cell in cells)}</w:tr></w:tbl>"

    def paragraph(text):
        return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"

    box = (
        f'<mc:AlternateContent xmlns:mc="m"><mc:Choice>{paragraph("boxed")}</mc:Choice>'
        f"<mc:Fallback>{paragraph('boxed')}</mc:Fallback></mc:AlternateContent>"
    )
    inner = table(paragraph("x"), paragraph("y"))
    body = paragraph("before") + box + table(f"{inner}<w:p/>", paragraph("z"))
    assert one("a.docx", make["docx"](body)).text.splitlines()[:5] == ["before", "", "boxed", "", "x y\tz"]


def test_slides_in_the_order_they_are_shown(samples, one):
    document = one("a.pptx", samples["a.pptx"])
    assert document.text == f"First shown\n{ENGLISH}\nA note to say.\n\nSecond shown\n{CHINESE}"
    assert document.metadata == FACTS | {"slides": f"0 {document.text.index('Second')}"}


def test_sheets_are_documents_with_dates_and_gaps(samples, opened):
    words, chinese, empty = opened("b.xlsx", samples["a.xlsx"])
    assert words.text == "word\trich\n2024-05-06 12:00\t0.3\t\tTRUE\ninline text\t2\n60000.0d"
    assert [item.source for item in (words, chinese, empty)] == [
        "b.xlsx:sheet Words",
        "b.xlsx:sheet 中文",
        "b.xlsx:sheet Empty",
    ]
    assert chinese.text == CHINESE
    assert words.metadata == FACTS | {"sheet": "Words"}
    assert empty == Rejected(None, "b.xlsx:sheet Empty", "read", "holds no text")


# --- books and pages ----------------------------------------------------------------------------------------------
def test_pdf_with_the_places_of_its_pages(samples, one):
    pytest.importorskip("pypdfium2")
    document = one("a.pdf", samples["a.pdf"])
    assert document.text == f"{ENGLISH}\nA second line.\n\n{CHINESE}"
    assert document.metadata == {
        "title": "On mills",
        "author": "Ada Miller",
        "date": "2024-05-06T05:08:09Z",
        "pages": f"0 {document.text.index(CHINESE)}",
    }


def test_pdf_without_its_library(samples, opened, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    [item] = opened("a.pdf", samples["a.pdf"])
    assert (item.reason, item.detail) == (pdf.MISSING.reason, "pip install 'textmill[documents]'")


def test_book_in_reading_order(samples, one):
    document = one("a.epub", samples["a.epub"])
    assert document.text == f"One\n\n{ENGLISH}\n\n{CHINESE}"
    assert document.metadata == {
        "title": "A Book of Mills",
        "author": "Ada Miller, Bo Stone",
        "date": "1999",
        "language": "en",
        "chapters": f"0 {document.text.index(CHINESE)}",
    }


def test_a_page_by_either_reader(samples, extract):
    page = extract(samples["a.html"].decode())
    assert page.text.replace("\n\n", "\n").split("\n") == [
        "A heading",
        f"{ENGLISH} Boldly.",
        "A new line.",
        "磨坊",
        CHINESE,
        "  • one",
        "  • two",
        "a\tb",
        "c\t\td",
        "def f():",
        "\t\treturn 1",
    ]
    assert f"A heading\n\n{ENGLISH}" in page.text
    assert f"A new line.\n\n磨坊\n\n{CHINESE}\n\n  •" in page.text
    facts = FACTS | {"title": "On & about mills"}
    assert {name: page.metadata[name] for name in facts} == facts


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>a<p>b<div>c</div>d", "a b c d"),
        ("<header>top</header><main><p>kept</p></main><div>outside</div>", "kept"),
        ("<main>one</main><main>two</main>three", "one two three"),
        ("<ol><li>a<ol><li>b</ol><li>c</ol>", "1. a 1. b 2. c"),
        ("<p>5 < 6 &amp;&nbsp;&lt;b&gt; &#x78e8;", "5 < 6 & <b> 磨"),
        ("<form><p>in a form<input value=x><select><option>no</select>", "in a form x"),
        ("<figure><pre>code</pre><figcaption>shown</figcaption><img alt=no></figure>", "code shown"),
        ("no tags at all", "no tags at all"),
        ("<p>a</p><template><p>no</p></template><noscript>no</noscript><svg><text>no</text></svg>b", "a b"),
        ("<title>only a title</title>", ""),
    ],
)
def test_rules_of_pages_hold_for_both_readers(source, words, extract):
    text = extract(f"<html><body>{source}").text if "<title>" not in source else extract(source).text
    assert text.split() == words.split()


def test_pages_declare_their_encodings(opened):
    for charset, text in (
        ("gb2312", "磨坊，碁"),
        ("shift_jis", "風車①"),
        ("iso-2022-jp", "風車"),
        ("latin1", "“Mühle”"),
    ):
        page = f'<meta charset="{charset}"><p>{text}'
        data = page.encode(
            {"latin1": "cp1252", "gb2312": "gb18030", "shift_jis": "cp932"}.get(charset, charset)
        )
        [item] = opened("a.html", data)
        assert item.text == text, charset


def test_saved_page(samples, one):
    document = one("a.mhtml", samples["a.mhtml"])
    assert document.text == f"{ENGLISH}\n\n{CHINESE}"
    assert document.metadata["url"] == "https://x.org/a"
    assert document.metadata["title"] == "Saved"


def test_web_archive_records_keep_their_numbers(samples, opened):
    items = opened(
        "a.warc.gz", gzip.compress(samples["a.warc"][:700]) + gzip.compress(samples["a.warc"][700:])
    )
    assert [(item.source[10:], getattr(item, "reason", "")) for item in items] == [
        ("record 3", ""),
        ("record 4", "is not a page"),
        ("record 5", ""),
        ("record 6", "is a revisit record of a page seen before"),
        ("record 7", ""),
        ("record 8", "is not text"),
    ]
    assert items[0].metadata == {"url": "http://x.org/a", "fetched": "2024-05-06T07:08:09Z", "title": "P"}
    assert items[2].text == items[4].text == CHINESE


# --- mail ---------------------------------------------------------------------------------------------------------
def test_a_message_and_what_is_attached(samples, opened):
    body, report, page, inner = opened("a.eml", samples["a.eml"])
    assert body.text == f"{ENGLISH}\n{CHINESE}"
    assert body.metadata == {"title": "关于磨坊", "author": "Ada Miller", "date": "2024-05-06T07:08:09Z"}
    assert (report.source, report.metadata) == ("a.eml!报告.docx", FACTS)
    assert (page.source, page.text) == ("a.eml!page.html", "An attached page.")
    assert (inner.source, inner.text) == ("a.eml!part.eml", "An inner message.")
    assert inner.metadata == {"title": "Inner", "author": "Bo"}


def test_mailboxes(samples, opened):
    first, second, third = opened("a.mbox", samples["a.mbox"])
    assert first.text == "Words.\nFrom the mill.\n\nFrom here on, text."
    assert (second.source, second.text) == ("a.mbox:message 2", CHINESE)
    assert third.metadata["title"] == "三"


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("iso-2022-jp", "iso2022_jp"), ("big5", "big5"), ("utf-7", "utf-7"), ("nonsense", "utf-8")],
)
def test_charsets_of_mail(one, charset, codec):
    data = f"Subject: s\nContent-Type: text/plain; charset={charset}\n\n".encode() + "風車在下 風".encode(
        codec
    )
    assert one("a.eml", data).text == "風車在下 風"


# --- others -------------------------------------------------------------------------------------------------------
def test_subtitles(samples, one):
    assert one("a.srt", samples["a.srt"]).text == f"{ENGLISH}\n{CHINESE}"
    captions = one("a.vtt", samples["a.vtt"])
    assert (captions.text, captions.metadata) == (f"{ENGLISH}\n{CHINESE} & more", {"language": "en"})
    script = one("a.ass", samples["a.ass"])
    assert (script.text, script.metadata) == (
        f"The mill, it grinds.\nTwice.\n{CHINESE}",
        {"title": "On mills"},
    )
    assert one("b.srt", samples["a.srt"].replace(b"\n", b"\r\n")).text == f"{ENGLISH}\n{CHINESE}"
    assert one("c.srt", samples["a.srt"].decode().encode("gb18030")).metadata == {"encoding": "gb18030"}


def test_notebooks(samples, one):
    document = one("a.ipynb", samples["a.ipynb"])
    assert document.text == f"# Mills\n{CHINESE}\n\n```python\nprint(1)\n```"
    assert document.metadata == {"title": "On mills", "author": "Ada", "code": "python"}
    old = {
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": ["H"]},
                    {"cell_type": "code", "input": "1"},
                ]
            }
        ]
    }
    assert one("b.ipynb", json.dumps(old)).text == "## H\n\n```\n1\n```"


def test_formats_that_are_not_read_say_what_to_do(opened):
    for form, (what, advice) in FORMS.items():
        for data in (
            b"\xd0\xcf\x11\xe0" + bytes(60),
            b"PK\3\4" + bytes(60),
            b"<?xml version='1.0'?><a>words</a>",
        ):
            [item] = opened(f"a.{form.upper()}", data)
            assert (item.reason, item.detail) == ("is not in a format that is read", f"{what}; {advice}")
        [item] = opened(f"words.{form}", b"Plain words in a file of that name.")
        assert item.text


def test_what_is_no_text_says_what_it_is(opened):
    for name, data in (
        ("a.png", b"\x89PNG\r\n\x1a\n\0"),
        ("a.exe", b"MZ\x90\0"),
        ("a.jpg", b"\xff\xd8\xff\xe0\0"),
    ):
        [item] = opened(name, data)
        assert item.reason == "is not text"
        assert item.detail


# --- what all share -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("a.xlsx:sheet Year 2024.x", ".xlsx"),
        ("a.mbox:message 12", ".mbox"),
        ("a.mbox:message 12!report.docx", ".docx"),
        ("a.warc.gz:record 7", ".warc"),
        ("a.jsonl.zst:line 7", ".jsonl"),
        ("a.pdf:page 3", ".pdf"),
        ("b.zip!x/a.eml!p.html", ".html"),
    ],
)
def test_endings_of_places_within_files(place, kind):
    assert ending(place) == kind


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("2024-05-06", "2024-05-06"),
        ("2024", "2024"),
        ("2024-05", "2024-05"),
        ("2024-05-06T09:08:09+02:00", "2024-05-06T07:08:09Z"),
        ("2024-05-06 09:08:09", "2024-05-06T09:08:09"),
        ("Mon, 06 May 2024 09:08:09 +0200", "2024-05-06T07:08:09Z"),
        ("D:20240506090809+02'00'", "2024-05-06T07:08:09Z"),
        ("D:20240506090809Z00'00'", "2024-05-06T09:08:09Z"),
        ("D:2024", "2024-01-01T00:00:00"),
        ("yesterday", ""),
        ("D:20249999", ""),
        ("0001-01-01T00:00:00+14:00", ""),
        ("", ""),
    ],
)
def test_dates(said, date):
    assert iso_date(said) == date


def test_columns_are_mapped_by_name(tmp_path):
    record = {
        "body": "words",
        "license": "CC0",
        "meta": {"lang": "zh", "tags": ["a", "b"]},
        "other": 1,
        "ok": True,
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n" + json.dumps({"body": "more"}) + "\n")
    (tmp_path / "b.csv").write_text("body,license,other\nwords,CC0,2\n")
    fields = ("licence=license", "language=meta.lang", "meta.tags", "ok")
    source = FilesSource(paths=("a.jsonl", "b.csv"), text_fields=("text=body",), metadata_fields=fields)
    first, second, third = read_documents(source, LimitSpec(), tmp_path)
    assert first.metadata == {"licence": "CC0", "language": "zh", "meta.tags": "a, b", "ok": "true"}
    assert second.metadata == {}
    assert third.metadata == {"licence": "CC0"}
    [everything, *_] = read_documents(
        FilesSource(paths=("a.jsonl",), text_fields=("text=body",)), LimitSpec(), tmp_path
    )
    assert everything.metadata == {"license": "CC0", "other": "1", "ok": "true"}
    [nested, _] = read_documents(
        FilesSource(paths=("a.jsonl",), text_fields=("text=meta.lang",)), LimitSpec(), tmp_path
    )
    assert nested.text == "zh"


def test_columns_of_parquet_are_mapped_by_name(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": ["磨"], "tags": [["a", "b"]], "meta": [{"url": "u"}], "n": [3]})
    pq.write_table(table, tmp_path / "a.parquet")
    source = FilesSource(paths=("a.parquet",), metadata_fields=("tags", "url=meta.url", "missing"))
    [document] = read_documents(source, LimitSpec(), tmp_path)
    assert document.metadata == {"tags": "a, b", "url": "u"}
    [document] = read_documents(FilesSource(paths=("a.parquet",)), LimitSpec(), tmp_path)
    assert document.metadata == {"n": "3"}


def test_what_a_sender_says_of_an_encoding_comes_after_utf8():
    assert decode("磨".encode(), "a.txt", "iso-8859-1") == ("磨", "utf-8")
    assert decode("Mühle".encode("latin1"), "a.txt", "iso-8859-1") == ("Mühle", "cp1252")
    assert decode("磨坊".encode("hz"), "a.txt", "hz-gb-2312") == ("磨坊", "hz")


def test_the_table_names_every_reader_in_small_letters():
    assert all(name == name.lower() and name.startswith(".") for name in READERS)
