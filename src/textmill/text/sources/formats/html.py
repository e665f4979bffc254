"""Pages in HTML: the text a reader sees, without menus, scripts and what is hidden.

Parsed by resiliparse: a browser's own tree, at some 30 MB/s, where
trafilatura reads 4. Its guess at the "main content" is not used, since that drops lists and more from
ordinary documents; what goes is said by the page itself: `nav`, `footer`, `aside`, hidden elements, and, where a
page has one `main`, all outside it. Whatever else is boilerplate is the business of the step of that name.

Headings and paragraphs stand on lines of their own, list items have bullets, table cells are separated by tabs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from textmill.text.document import Document, collected
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.page_marks import Marks, attributes, cleared
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, read_whole
from textmill.text.sources.formats.xml_pages import VOID, declares_xml, from_xhtml

_MANY_TAGS = 10_000  # up to here, any nesting is parsed in a second or two
_DEEPEST = 2_000  # nested elements; resiliparse's time grows with the square of it
# Elements that the next of their kind, or the end of what is around them, closes (HTML §13.1.2.4).
_MAY_STAY_OPEN = frozenset(
    ("p", "li", "td", "th", "tr", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "rt", "rp")
)
_FLAT = VOID | _MAY_STAY_OPEN
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*(/?)>")
_CELL_START = re.compile(r"(<t[dh]\b[^<>]*>)\s*<p\b[^<>]*>")
_CELL_END = re.compile(r"</p>\s*(</?t[dhr]\b|</table\b)")
_SERVER_PAGES = (".asp", ".aspx", ".jsp", ".erb", ".ejs")
_META = re.compile(r"<meta\b([^>]*)>")
_GAPS = re.compile(r"\n{3,}")
_AUTHORS = ("author", "dc.creator", "dcterms.creator", "citation_author", "article:author")
_DATES = (
    "article:published_time",
    "date",
    "dc.date",
    "dcterms.created",
    "citation_publication_date",
    "last-modified",
)
_HIDDEN = ", ".join(
    (
        "nav, footer, aside, template, noscript, dialog:not([open]), img, svg, iframe, object, audio, video, canvas",
        "datalist, [hidden], [aria-hidden=true]",
        # ... but a formula, which pages hide beside a picture of it
        "[style*='display:none' i]:not(:has(> formula-text)), [style*='display: none' i]:not(:has(> formula-text))",
        "[style*='visibility:hidden' i], [style*='visibility: hidden' i]",
    )
)


@dataclass(frozen=True)
class Page:
    """The text of a page, and what it says of itself."""

    text: str
    metadata: dict[str, str]


def documents(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of a page. Raises SetAside for one without text."""
    deadline = Deadline(item.limits)
    source, encoding = decode(read_whole(item), f"{item.name}.html", item.charset)
    if item.name.lower().endswith(_SERVER_PAGES):
        source = _without(source, "<%", "%>")
    if item.name.lower().endswith((".xhtml", ".xht")) or declares_xml(source):
        source = from_xhtml(source, deadline)
    page = extract(source, deadline)
    if not page.text:
        raise SetAside("holds no text")
    more = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
    yield collected(page.text, item.place, {**page.metadata, **more})


def extract(source: str, deadline: Deadline, *, book: bool = False) -> Page:
    """The text of a page. Raises SetAside for one that would take too long.

    book: whether it is a chapter, with no site around it: its footers and asides are text.
    """
    source = _without(source.replace("\0", "\ufffd"), "<?", "?>")
    if source.count("<") > _MANY_TAGS and _depth(source) > _DEEPEST:
        raise SetAside("is nested too deeply", f"more than {_DEEPEST} nested elements")
    text, title, language, metas = _parsed(source, deadline, book=book)
    deadline.check()
    first: dict[str, str] = {}
    for name, content in metas:
        if name and content:
            first.setdefault(name.lower(), content)
    metadata = facts(
        title or first.get("og:title", ""),
        next((first[name] for name in _AUTHORS if name in first), ""),
        next((first[name] for name in _DATES if name in first), ""),
        language,
    )
    return Page(text, metadata)


def _parsed(source: str, deadline: Deadline, *, book: bool) -> tuple[str, str, str, list[tuple[str, str]]]:
    """(text, title, language, named metas) of a page, by resiliparse."""
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(source)
    root = tree.document
    html = root.query_selector("html") if root else None
    language = (html.getattr("lang", "") or "") if html else ""
    heads = map(attributes, _META.findall(tree.head.html)) if tree.head else ()
    metas = [(meta.get("name", "") or meta.get("property", ""), meta.get("content", "")) for meta in heads]
    main = root.get_elements_by_tag_name("main") if root and not book else ()
    text = _text(main[0].html, language, deadline, book=False) if len(main) == 1 else ""
    if not text.strip() and root:
        text = _text(root.html, language, deadline, book=book)
    return text, tree.title or "", language, metas


def _text(page: str, language: str, deadline: Deadline, *, book: bool) -> str:
    """The text of a page as its tree writes it."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    marks = Marks(deadline, language, book)
    page = marks.written(page)
    if "</p>" in page and (
        "<td" in page or "<th" in page
    ):  # a paragraph that is a whole cell would break its row into lines
        page = _CELL_START.sub(r"\1", _CELL_END.sub(r"\1", page))
    skipped = [_HIDDEN, *filter(None, (marks.skipped,))]
    return _GAPS.sub("\n\n", cleared(extract_plain_text(HTMLTree.parse(page), skip_elements=skipped))).strip(
        "\n"
    )


def _without(source: str, begin: str, end: str) -> str:
    """The page without what a server carries out, such as `<?php … ?>`: a parser would end it at its first `>`."""
    pieces, at = [], 0
    while (start := source.find(begin, at)) >= 0 and (stop := source.find(end, start)) >= 0:
        pieces.append(source[at:start])
        at = stop + len(end)
    return "".join([*pieces, source[at:]])


def _depth(source: str) -> int:
    """About how many elements stand within one another, at most."""
    deepest, counts = 0, 0
    for closing, name, empty in _TAG.findall(source):
        if closing:
            counts -= counts > 0
        elif not empty and name not in _FLAT and name.lower() not in _FLAT:
            counts += 1
            if counts > deepest:  # noqa: PLR1730  (a call for each tag takes longer than the rest)
                deepest = counts
    return deepest
