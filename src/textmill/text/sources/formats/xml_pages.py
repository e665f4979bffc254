"""Documents in XML as pages in HTML, whose text is then taken as that of every page.

XHTML is XML: there `<title/>`, `<script/>` and `<a id="x"/>` are whole elements, while in HTML they swallow what
follows. Other vocabularies (FictionBook, DAISY, TEI, TTML) say by a table which element of a page each of theirs is.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from html.entities import html5

from textmill.text.sources.formats.stream import Deadline, SetAside
from textmill.text.sources.formats.xml_events import events

VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_XML_ENTITIES = frozenset(("amp;", "lt;", "gt;", "quot;", "apos;"))
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*;)")
_AMPERSAND = re.compile(r"&(?!#?[A-Za-z0-9]+;)")
_SUBSET = re.compile(
    r"((?:\s|<\?.*?\?>|<!--.*?-->)*)<!DOCTYPE[^<>\[]*\[(.*?)\]\s*>", re.DOTALL | re.IGNORECASE
)
_CHARACTER = re.compile(r"""<!ENTITY\s+([A-Za-z][A-Za-z0-9]*)\s+(["'])((?:&#\w{1,8};|[^&<%"']){0,8})\2\s*>""")
_CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)
_SELF_CLOSED = re.compile(r"<([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)/>")
_PROLOG = re.compile(
    r"\s*(?:<\?xml\b[^>]*\?>|(?:<!--.*?-->|<!DOCTYPE[^<>]*>|\s)*<html\b[^>]*\sxmlns\s*=)", re.DOTALL | re.I
)
_ATTRIBUTES = {
    "http://www.idpf.org/2007/ops\ntype": "epub:type",
    "http://www.w3.org/XML/1998/namespace\nlang": "lang",
}


@dataclass(frozen=True)
class Vocabulary:
    """Which element of a page the elements of a form are; the names of what is no text with all in it.

    others: what stands for an element that is not named; empty: itself.
    """

    elements: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    others: str = "span"


# Elements whose content HTML does not read as elements, and alternatives of which another is shown (EPUB 3 §switch).
XHTML = Vocabulary(
    {"xmp": "pre", "plaintext": "pre", "listing": "pre"},
    frozenset(("style", "iframe", "noembed", "noframes", "case")),
    others="",
)


def declares_xml(source: str) -> bool:
    """Whether a page says of itself that it is XML: by its first line, or by the namespace of its root."""
    return _PROLOG.match(source[:4096]) is not None


def from_xhtml(source: str, deadline: Deadline) -> str:
    """A page in XHTML as HTML. What is not valid XML is HTML already, save that its empty elements end themselves."""
    source = _declared(source)
    try:
        return page(source, XHTML, deadline)
    except SetAside:
        deadline.check()
        return _SELF_CLOSED.sub(_closed, source)


def _declared(source: str) -> str:
    """The page without the declarations of its document type, the characters it gives names to spelt out."""
    subset = _SUBSET.match(source)
    if not subset:
        return source
    names = {name: value for name, _, value in _CHARACTER.findall(subset[2])}
    rest = source[subset.end() :]
    return subset[1] + (
        _ENTITY.sub(lambda match: names.get(match[1][:-1], match[0]), rest) if names else rest
    )


def _closed(match: re.Match[str]) -> str:
    name, attributes = match.groups()
    return match[0] if name.lower() in VOID else f"<{name}{attributes}></{name}>"


def page(source: str, vocabulary: Vocabulary, deadline: Deadline) -> str:
    """A document in XML as a page. Raises SetAside for what is not valid XML, or declares entities."""
    out: list[str] = []
    dropped = texts = 0  # elements that are passed over, or hold text only, within one another
    formula = False
    for event, name, attributes in events(io.BytesIO(_without_entities(source)), deadline, "utf-8"):
        if event == "text":
            if not dropped:
                out.append(name if formula else escape(name, quote=False))
        elif event == "start":
            if dropped or name in vocabulary.dropped or (name == "script" and not _is_formula(attributes)):
                dropped += 1
            elif texts:
                texts += 1
            else:
                tag = vocabulary.elements.get(name, vocabulary.others or name)
                out.append(_start(tag, attributes))
                texts = 1 if tag in ("title", "textarea") else 0
                formula = name == "script"
        elif dropped:
            dropped -= 1
        elif texts > 1:
            texts -= 1
        else:
            texts, formula = 0, False
            tag = vocabulary.elements.get(name, vocabulary.others or name)
            if tag not in VOID:
                out.append(f"</{tag}>")
    return "".join(out)


def _is_formula(attributes: Mapping[str, str]) -> bool:
    return attributes.get("type", "").startswith("math/tex")


def _start(tag: str, attributes: Mapping[str, str]) -> str:
    known = ((_ATTRIBUTES.get(name, name), value) for name, value in attributes.items())
    written = (f'{name}="{escape(value)}"' for name, value in known if "\n" not in name)
    return f"<{' '.join((tag, *written))}>"


def _without_entities(source: str) -> bytes:
    """The document as UTF-8, the names of characters that HTML has spelt out: no reader of XML knows them."""
    parts = _CDATA.split(source) if "<![CDATA[" in source else [source]
    parts[::2] = [_ENTITY.sub(_character, _AMPERSAND.sub("&amp;", part)) for part in parts[::2]]
    return "".join(parts).encode("utf-8", "replace")


def _character(match: re.Match[str]) -> str:
    return match[0] if match[1] in _XML_ENTITIES else html5.get(match[1], match[0])


# --- other vocabularies -------------------------------------------------------------------------------------------
_TABLE = {
    name: name
    for name in ("table", "thead", "tbody", "tr", "td", "th", "p", "br", "sup", "sub", "img", "q", "h1")
}
FICTION_BOOK = Vocabulary(
    _TABLE
    | {
        "FictionBook": "body",
        "body": "section",
        "section": "section",
        "title": "h2",
        "subtitle": "h3",
        "v": "p",
    }
    | {
        "stanza": "div",
        "poem": "div",
        "epigraph": "div",
        "cite": "blockquote",
        "text-author": "p",
        "empty-line": "br",
    },
    frozenset(("binary", "description", "stylesheet")),
)
DAISY = Vocabulary(
    _TABLE
    | {
        "dtbook": "body",
        "book": "div",
        "list": "ul",
        "li": "li",
        "lic": "span",
        "blockquote": "blockquote",
        "dd": "dd",
    }
    | {f"level{n}": "section" for n in ("", 1, 2, 3, 4, 5, 6)}
    | {f"h{n}": f"h{n}" for n in range(1, 7)}
    | {
        "hd": "h2",
        "doctitle": "h1",
        "docauthor": "p",
        "note": "div",
        "line": "p",
        "linegroup": "div",
        "dl": "dl",
    }
    | {"dt": "dt", "sidebar": "div", "caption": "p", "math": "math"},
    frozenset(("head", "pagenum", "noteref", "linenum")),
)
# Books and articles of technical writing (DocBook 4 and 5), and of science (JATS, as PubMed Central gives it).
DOCBOOK = Vocabulary(
    {"article": "body", "book": "body", "title": "h2", "subtitle": "h3", "para": "p", "simpara": "p"}
    | dict.fromkeys(("chapter", "preface", "appendix", "part", "section", "simplesect"), "section")
    | {f"sect{n}": "section" for n in range(1, 6)}
    | {"itemizedlist": "ul", "orderedlist": "ol", "listitem": "li", "variablelist": "dl", "term": "dt"}
    | {"programlisting": "pre", "screen": "pre", "literallayout": "pre", "blockquote": "blockquote"}
    | {
        "informaltable": "table",
        "table": "table",
        "row": "tr",
        "entry": "td",
        "tr": "tr",
        "td": "td",
        "th": "th",
    }
    | {"subscript": "sub", "superscript": "sup", "footnote": "div", "author": "p", "abstract": "div"}
    | dict.fromkeys(("note", "tip", "warning", "caution", "important", "formalpara", "sidebar"), "div"),
    frozenset(("indexterm", "remark", "mediaobject", "inlinemediaobject", "date", "releaseinfo")),
)
JATS = Vocabulary(
    {
        "article": "body",
        "article-title": "h1",
        "title": "h2",
        "p": "p",
        "sec": "section",
        "abstract": "section",
    }
    | {"list": "ul", "list-item": "li", "def-list": "dl", "disp-quote": "blockquote", "preformat": "pre"}
    | {"table": "table", "tr": "tr", "td": "td", "th": "th", "caption": "div", "label": "p", "fn": "div"}
    | {"sub": "sub", "sup": "sup", "break": "br", "disp-formula": "p", "math": "math", "verse-group": "div"}
    | {"verse-line": "p", "boxed-text": "div", "ack": "section", "app": "section"},
    frozenset(
        (
            "journal-meta",
            "article-id",
            "article-categories",
            "contrib-group",
            "aff",
            "author-notes",
            "pub-date",
        )
    )
    | frozenset(("volume", "issue", "fpage", "lpage", "elocation-id", "history", "permissions", "kwd-group"))
    | frozenset(
        ("counts", "self-uri", "related-article", "funding-group", "ref-list", "tex-math", "graphic")
    ),
)
TEI = Vocabulary(
    {
        "TEI": "body",
        "TEI.2": "body",
        "div": "section",
        "head": "h2",
        "p": "p",
        "ab": "p",
        "lg": "div",
        "l": "p",
        "lb": "br",
    }
    | {f"div{n}": "section" for n in range(1, 8)}
    | {
        "sp": "div",
        "speaker": "p",
        "stage": "p",
        "list": "ul",
        "item": "li",
        "quote": "blockquote",
        "epigraph": "div",
    }
    | {
        "table": "table",
        "row": "tr",
        "cell": "td",
        "note": "div",
        "titlePart": "h1",
        "byline": "p",
        "docAuthor": "p",
    }
    | {"figure": "div", "opener": "p", "closer": "p", "signed": "p", "trailer": "p", "q": "span"},
    frozenset(("teiHeader", "fw", "corr", "reg", "expan", "facsimile")),
)
TIMED_TEXT = Vocabulary({"tt": "body", "p": "p", "br": "br", "div": "div"}, frozenset(("head", "metadata")))
