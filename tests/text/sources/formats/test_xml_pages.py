"""Books and pages in XML: an empty element swallows nothing, and every chapter is in the text or is said."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats.table import open_file

NOTES = 'xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"'


@pytest.fixture
def read(tmp_path):
    """(documents, what is skipped as {place: (reason, detail)}) of a file of this name with these bytes."""

    def call(name, data):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        items = list(open_file(path, name, None, LimitSpec()))
        return (
            [item for item in items if isinstance(item, Document)],
            {item.source: (item.reason, item.detail) for item in items if isinstance(item, Rejected)},
        )

    return call


@pytest.fixture
def book(make, read):
    """What comes of a book with these chapters, spine and manifest."""

    def call(chapters, *, items="", refs="", **parts):
        listed = "".join(
            f'<item id="c{n}" href="{n}.xhtml" media-type="application/xhtml+xml"/>'
            for n in range(len(chapters))
        )
        spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
        package = (
            '<package xmlns="o" xmlns:dc="d"><metadata><dc:title>B</dc:title></metadata>'
            f"<manifest>{listed}{items}</manifest><spine>{spine}{refs}</spine></package>"
        )
        pages = {f"OEBPS/{n}.xhtml": chapter for n, chapter in enumerate(chapters)}
        return read("b.epub", make["epub"](**{"OEBPS/book.opf": package, **pages, **parts}))

    return call


EMPTY = (
    "title",
    "script",
    "a",
    "div",
    "textarea",
    "p",
    "style",
    "iframe",
    "b",
    "select",
    "noscript",
    "td",
    "span",
)


@pytest.mark.parametrize("tag", EMPTY)
@pytest.mark.parametrize("broken", ["", "&undefined; <b>"])
def test_an_empty_element_swallows_nothing(book, tag, broken):
    """Neither in XML nor in what only says to be XML."""
    head = tag if tag in ("title", "script") else "title"
    chapter = f"<html {NOTES}><head><{head}/></head><body>before<{tag} id='x'/>"
    [document], rejected = book([f"{chapter} after{broken}</body></html>", "<html><body>next</body></html>"])
    assert not rejected
    assert document.text.split()[0].startswith("before")
    assert "after" in document.text
    assert document.text.endswith("next")


def test_pages_that_are_xml_by_their_own_account(read):
    for name, page in (
        ("a.xhtml", "<html><head><title/></head><body>words</body></html>"),
        ("a.html", f"<html {NOTES}><head><script src='x'/></head><body>words</body></html>"),
        ("a.html", '<?xml version="1.0"?><html><head><title/></head><body>wor&shy;ds</body></html>'),
        ("a", f"<!DOCTYPE html><html {NOTES}><head><title/></head><body>words</body></html>"),
    ):
        [document], _ = read(name, page)
        assert document.text.replace("\xad", "") == "words", page


def test_characters_and_sections_of_xml(book):
    [document], _ = book(
        [
            f"<html {NOTES}><body><p>caf&eacute;&nbsp;&amp;&lt;&hellip;</p>"
            "<pre><![CDATA[if a < b && c:\n  &eacute;]]></pre>"
            "<svg><title>no</title></svg>"
            "<p>x<m:math xmlns:m='m'><m:msup><m:mi>y</m:mi><m:mn>2</m:mn></m:msup></m:math></p>"
            "</body></html>"
        ]
    )
    assert document.text == "café\xa0&<…\n\nif a < b && c:\n  &eacute;\n\nxy^2"


def test_footnotes_and_asides_of_books(book):
    [document], rejected = book(
        [
            f"<html {NOTES}><body><p>The king died<a epub:type='noteref' href='#n'>1</a> in winter.</p>"
            "<aside epub:type='footnote' id='n'>In spring, some say.</aside><aside>A sidebar.</aside>"
            "<footer>The end.</footer><main>Main.</main></body></html>"
        ]
    )
    assert document.text.split("\n\n") == [
        "The king died¹ in winter.",
        "In spring, some say.\nA sidebar.\nThe end.\nMain.",
    ]
    assert not rejected


def test_every_place_of_the_order_is_read_or_said(book):
    documents, rejected = book(
        ["<html><body>one</body></html>", "<html><body><img src='c.jpg'/></body></html>"],
        items='<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        '<item id="x" href="x.pdf" media-type="application/pdf" fallback="y"/>'
        '<item id="y" href="y.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="s" href="s.svg" media-type="image/svg+xml"/>'
        '<item id="d" href="d.xml" media-type="application/x-dtbook+xml"/>'
        '<item id="l" href="lost.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="z" href="z.bin" media-type="application/x-z"/>',
        refs="".join(
            f'<itemref idref="{name}" linear="no"/>'
            for name in ("nav", "x", "s", "d", "l", "z", "gone", "c0")
        ),
        **{
            "OEBPS/nav.xhtml": "<html><body><nav>CONTENTS</nav></body></html>",
            "OEBPS/y.xhtml": "<html><body>two</body></html>",
            "OEBPS/d.xml": "<dtbook><book><level1><h1>three</h1><p>four</p></level1></book></dtbook>",
        },
    )
    assert documents[0].text == "one\n\ntwo\n\nthree\n\nfour"
    assert {place: reason for place, (reason, _) in rejected.items()} == {
        "b.epub!OEBPS/1.xhtml": "holds no text",
        "b.epub!OEBPS/nav.xhtml": "is a table of contents",
        "b.epub!OEBPS/s.svg": "holds no text",
        "b.epub!OEBPS/lost.xhtml": "is damaged, or not what its file extension says",
        "b.epub!OEBPS/z.bin": "is not in a format that is read",
        "b.epub!gone": "is damaged, or not what its file extension says",
    }


def test_one_chapter_under_lock(book):
    def lock(uri):
        return (
            '<encryption><EncryptedData><EncryptionMethod Algorithm="aes"/><CipherData>'
            f'<CipherReference URI="{uri}"/></CipherData></EncryptedData></encryption>'
        )

    chapters = ["<html><body>one</body></html>", "<html><body>two</body></html>"]
    documents, rejected = book(chapters, **{"META-INF/encryption.xml": lock("OEBPS/1.xhtml")})
    assert [document.text for document in documents] == ["one"]
    assert rejected == {"b.epub!OEBPS/1.xhtml": ("is encrypted", "it has copy protection")}
    documents, rejected = book(chapters[:1], **{"META-INF/encryption.xml": lock("OEBPS/0.xhtml")})
    assert not documents
    assert rejected["b.epub"][0] == "is encrypted"


_WORD = st.text("abcxyz磨坊é&<", min_size=1, max_size=6).map(lambda text: f"w{text}")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chapters=st.lists(
        st.lists(st.tuples(st.sampled_from(EMPTY), _WORD), min_size=1, max_size=6), min_size=1, max_size=5
    )
)
def test_any_book_of_any_empty_elements(book, chapters):
    """All words of all chapters, in order, whatever empty elements stand among them."""
    from html import escape

    pages = [
        f"<html {NOTES}><head><title/></head><body>"
        + "".join(
            f"<p><{tag}/>{escape(word)}</p>" if tag != "p" else f"<p/>{escape(word)} " for tag, word in words
        )
        + "</body></html>"
        for words in chapters
    ]
    [document], rejected = book(pages)
    assert document.text.split() == [word for words in chapters for _, word in words]
    assert not rejected
    starts = [int(start) for start in document.metadata["chapters"].split()]
    assert [document.text[start:].split()[0] for start in starts] == [words[0][1] for words in chapters]


# --- other books --------------------------------------------------------------------------------------------------
def test_fiction_book(read):
    [document], _ = read(
        "a.fb2",
        '<?xml version="1.0" encoding="windows-1251"?><FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0">'
        "<description><title-info><author><first-name>Лев</first-name><last-name>Толстой</last-name></author>"
        "<book-title>Ночь</book-title><lang>ru</lang></title-info></description><body><section>"
        "<title><p>Глава</p></title>"
        "<p>Была <emphasis>тёмная</emphasis> ночь<a>1</a>.</p>"
        "<poem><stanza><v>раз</v><v>два</v></stanza></poem>"
        "</section></body><body name='notes'><section><p>Сноска.</p></section></body>"
        "<binary>AAAA</binary></FictionBook>".encode("cp1251"),
    )
    assert document.text == "Глава\n\nБыла тёмная ночь1.\n\nраз\n\nдва\n\nСноска."
    assert document.metadata == {
        "title": "Ночь",
        "author": "Лев Толстой",
        "language": "ru",
        "encoding": "cp1251",
    }


def test_tei_and_timed_text(read):
    [document], _ = read(
        "a.xml",
        '<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><fileDesc><titleStmt><title>T</title></titleStmt></fileDesc>'
        "</teiHeader><text><body><div><head>H</head><lg><l>one</l><l>two</l></lg></div></body></text></TEI>",
    )
    assert document.text == "H\n\none\n\ntwo"
    assert document.metadata["title"] == "T"
    [document], _ = read(
        "a.ttml",
        "<tt xmlns='t'><head><metadata>no</metadata></head><body><div><p begin='1s'>one<br/>two</p></div></body></tt>",
    )
    assert document.text == "one\ntwo"


def test_feeds(read):
    [first, second], rejected = read(
        "feed.xml",
        '<?xml version="1.0"?><rss><channel><title>no</title><item><title>A &amp; B</title><link>http://x.org/1</link>'
        "<pubDate>Mon, 06 May 2024 09:08:09 +0200</pubDate>"
        "<description>&lt;p&gt;one&lt;/p&gt;&lt;script&gt;x&lt;/script&gt;"
        "</description></item><item><title>C</title><description>short</description>"
        '<content:encoded xmlns:content="c"><![CDATA[<p>long</p>]]></content:encoded></item><item/></channel></rss>',
    )
    assert (first.text, first.source) == ("A & B\n\none", "feed.xml:item 1")
    assert first.metadata == {"title": "A & B", "date": "2024-05-06T07:08:09Z", "url": "http://x.org/1"}
    assert second.text == "C\n\nlong"
    assert rejected == {"feed.xml:item 3": ("holds no text", "")}
    [entry], _ = read(
        "a.atom",
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>T</title><link href='http://x.org/2'/>"
        "<content type='xhtml'>"
        "<div xmlns='h'><p>a <b>b</b></p><p>c</p></div></content></entry></feed>",
    )
    assert (entry.text, entry.metadata["url"]) == ("T\n\na b\n\nc", "http://x.org/2")


def test_characters_that_a_document_type_names(read):
    page = (
        '<?xml version="1.0"?><!DOCTYPE html [<!ENTITY mill "磨">\n<!ENTITY nbsp "&#160;">'
        '<!ENTITY bomb "&mill;&mill;">]>\n'
        f"<html {NOTES}><head><title/></head><body>a&nbsp;&mill;</body></html>"
    )
    [document], _ = read("a.xhtml", page)
    assert document.text == "a\xa0磨"
    [document], _ = read("a.xhtml", page.replace("&mill;<", "&bomb;<"))
    assert "磨磨" not in document.text
