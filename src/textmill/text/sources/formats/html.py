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
from textmill.text.sources.formats.stream import Deadline, Fields, Input, SetAside, read_whole

_MANY_TAGS = 10_000  # up to here, any nesting is parsed in a second or two
_DEEPEST = 2_000  # elements within one another; resiliparse's time grows with the square of it
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
# Elements that the next of their kind, or the end of what is around them, closes (HTML §13.1.2.4).
_MAY_STAY_OPEN = frozenset(
    ("p", "li", "td", "th", "tr", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "rt", "rp")
)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*(/?)>")
_PRE = re.compile(r"<pre\b", re.IGNORECASE)
_PRE_END = re.compile(r"</pre\b", re.IGNORECASE)
_TAB = "\ue009"  # a tab of preformatted text, while other tabs mean cells
_CELL_START = re.compile(r"(<t[dh]\b[^<>]*>)\s*<p\b[^<>]*>", re.IGNORECASE)
_CELL_END = re.compile(r"</p>\s*(</?t[dhr]\b|</table\b)", re.IGNORECASE)
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
        "nav, footer, aside, template, noscript, dialog, img, svg, iframe, object, audio, video, canvas",
        "[hidden], [aria-hidden=true]",
        "[style*='display:none'], [style*='display: none']",
        "[style*='visibility:hidden'], [style*='visibility: hidden']",
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
    page = extract(source, deadline)
    if not page.text:
        raise SetAside("holds no text")
    more = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
    yield collected(page.text, item.place, {**page.metadata, **more})


def extract(source: str, deadline: Deadline) -> Page:
    """The text of a page. Raises SetAside for one that would take too long."""
    source = source.replace("\0", "\ufffd")
    if source.count("<") > _MANY_TAGS and _depth(source) > _DEEPEST:
        raise SetAside("is nested too deep", f"more than {_DEEPEST} elements within one another")
    text, title, language, metas = _parsed(source)
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


def _parsed(source: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    """(text, title, language, named metas) of a page, by resiliparse."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    source = _tabs_kept(source)
    if "</p>" in source:  # a paragraph that is a whole cell would break its row into lines
        source = _CELL_START.sub(r"\1", _CELL_END.sub(r"\1", source))
    tree = HTMLTree.parse(source)
    root = tree.document
    html = root.query_selector("html") if root else None
    metas = [
        (meta.getattr("name", "") or meta.getattr("property", "") or "", meta.getattr("content", "") or "")
        for meta in (tree.head.get_elements_by_tag_name("meta") if tree.head else ())
    ]
    mains = root.get_elements_by_tag_name("main") if root else ()
    shown = HTMLTree.parse(mains[0].html) if len(mains) == 1 else tree
    text = extract_plain_text(shown, skip_elements=[_HIDDEN])
    if shown is not tree and not text.strip():
        text = extract_plain_text(tree, skip_elements=[_HIDDEN])
    text = text.replace("\t\t", "\t").replace(_TAB, "\t")
    return (
        _GAPS.sub("\n\n", text).strip("\n"),
        tree.title or "",
        (html.getattr("lang", "") or "") if html else "",
        metas,
    )


def _tabs_kept(source: str) -> str:
    """The page with the tabs of its preformatted text under another name: two tabs stand between table cells."""
    if "\t" not in source or not _PRE.search(source):
        return source
    pieces, at = [], 0
    while (start := _PRE.search(source, at)) and (end := _PRE_END.search(source, start.end())):
        pieces += [source[at : start.start()], source[start.start() : end.start()].replace("\t", _TAB)]
        at = end.start()
    return "".join([*pieces, source[at:]])


def _depth(source: str) -> int:
    """About how many elements stand within one another, at most."""
    deepest, counts = 0, 0
    for closing, name, empty in _TAG.findall(source):
        if closing:
            counts = max(0, counts - 1)
        elif not empty and name.lower() not in _VOID and name.lower() not in _MAY_STAY_OPEN:
            counts += 1
            deepest = max(deepest, counts)
    return deepest
