"""Pages hold what people wrote as text, fetch nothing and run nothing."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from textmill.base.page import Html, element, facts, html, page, section, table

HOSTILE = """</td><script>alert(1)</script><img src=x onerror=alert(1)>"'&amp;<!--"""
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
TAGS |= {"p", "pre", "b", "blockquote", "svg", "rect", "line", "polyline", "circle", "text", "polygon"}


class Read(HTMLParser):
    """The tags, attributes and text of a page as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def check(text: str) -> Read:
    read = Read(text)
    assert read.tags <= TAGS
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "href")]
    assert "url(" not in text
    assert "@import" not in text
    return read


@given(st.text(max_size=60))
def test_text_stays_text(text):
    text = text.replace("\r", " ").replace("\0", " ")  # which HTML does not keep
    made = page(
        text, [section(text, table([text], [[text], [text]]), facts({text: text}), element("p", text))]
    )
    assert check(made).text.count(text.strip() or " ") >= (8 if text.strip() else 0)


def test_markup_in_names_is_no_markup():
    read = check(page(HOSTILE, [section(HOSTILE, table([HOSTILE], [[HOSTILE]]))]))
    assert read.text.count(HOSTILE) == 5
    assert html(HOSTILE, Html("<b>")).endswith("<b>")


def test_what_is_empty_is_left_out():
    assert not section("Scores", table(["a"], []), facts({}))
    assert facts({"a": None, "b": 0}).count("<tr>") == 1


def test_figures_stand_to_the_right():
    made = table(["a", "b"], [["x", "1"]], right=(1,))
    assert made.count('class="number"') == 2
