"""A page read with the parser of the standard library, by the rules of `html`, where resiliparse is missing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

from textmill.text.sources.formats.stream import Deadline

_READ = 1 << 16  # characters between two looks at the clock
_UNFINISHED = 1 << 12
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
# Elements that the next of their kind, or the end of what is around them, closes (HTML §13.1.2.4).
MAY_STAY_OPEN = frozenset(
    ("p", "li", "td", "th", "tr", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "rt", "rp")
)
_SILENT = frozenset(
    (
        *(
            "script",
            "style",
            "template",
            "noscript",
            "nav",
            "footer",
            "aside",
            "dialog",
            "head",
            "svg",
            "iframe",
        ),
        *("object", "select", "button", "textarea", "audio", "video", "canvas", "datalist"),
    )
)
_PARAGRAPHS = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "dl", "pre", "blockquote", "table", "figure", "hr")
)
_LINES = frozenset(
    (
        *("div", "section", "article", "main", "header", "address", "li", "dt", "dd", "caption", "form"),
        *(
            "fieldset",
            "legend",
            "figcaption",
            "details",
            "summary",
            "body",
            "hgroup",
            "thead",
            "tbody",
            "tfoot",
        ),
    )
)
_HIDING_STYLE = re.compile(r"display:\s?none|visibility:\s?hidden")
_SPACES = re.compile(r"[ \t\n\r\f]+")
# What stands between texts, told apart until the whole page is known; no page means these characters.
_CELL, _LINE, _GAP, _ROW, _KEPT_SPACE, _KEPT_LINE, _KEPT_TAB = "\x1c\x1d\x1e\x1f\x04\x05\x06"
_NONE = str.maketrans("", "", _CELL + _LINE + _GAP + _ROW + _KEPT_SPACE + _KEPT_LINE + _KEPT_TAB)
_KEEP = str.maketrans({" ": _KEPT_SPACE, "\n": _KEPT_LINE, "\t": _KEPT_TAB})
_GIVE_BACK = str.maketrans({_KEPT_SPACE: " ", _KEPT_LINE: "\n", _KEPT_TAB: "\t"})
_LAYOUT = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (f"[ {_LINE}{_GAP}]*{_CELL}?[ {_LINE}{_GAP}]*{_ROW}[ {_LINE}]*", _LINE),
        (f"[ {_LINE}{_GAP}]*{_CELL}[ {_LINE}{_GAP}]*", "\t"),
        (f"[ {_LINE}]*{_GAP}[ {_LINE}{_GAP}]*", "\n\n"),
        (f" *{_LINE}[ {_LINE}]*", "\n"),
        (" {2,}", " "),
        ("\n{3,}", "\n\n"),
    )
)


@dataclass
class Read:
    """What a page holds."""

    text: str = ""
    title: str = ""
    language: str = ""
    metas: list[tuple[str, str]] = field(default_factory=list)


def read(source: str, deadline: Deadline) -> Read:
    """The text of a page and what it says of itself. Raises SetAside past the deadline."""
    reader = _Reader()
    for at in range(0, len(source), _READ):
        reader.feed(source[at : at + _READ])
        deadline.check()
    if len(reader.rawdata) > _UNFINISHED and reader.rawdata.startswith("<"):
        reader.rawdata = (
            ""  # a tag that never ends is no text (HTML §13.2.5); to look for one in it takes for ever
        )
    reader.close()
    reader.found.text = reader.text()
    return reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = Read()
        self._open: list[
            tuple[str, bool]
        ] = []  # names of open elements, and whether each silences its content
        self._names: Counter[str] = Counter()  # how many of each are open
        self._silent = 0
        self._title: list[str] | None = None
        self._lists: list[int | None] = []  # the number of the last item, or None for bullets
        self._preformatted = 0
        self._out: list[str] = []
        self._mains: list[tuple[int, int]] = []  # where each `main` begins and ends in the output
        self._main_start = 0

    # --- what the parser meets ---
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "html" and not self.found.language:
            self.found.language = said.get("lang", "")
        elif tag == "meta":
            self.found.metas.append(
                (said.get("name", "") or said.get("property", ""), said.get("content", ""))
            )
        elif tag == "title" and not self.found.title and self._title is None:
            self._title = []
        if tag in MAY_STAY_OPEN and self._open and self._open[-1][0] == tag:
            self._close()
        if tag == "body":
            self._leave("head")
        if tag in VOID:
            if not self._silent and tag in ("br", "hr"):
                self._mark(_LINE if tag == "br" else _GAP)
            return
        silent = (
            tag in _SILENT
            or "hidden" in said
            or said.get("aria-hidden") == "true"
            or bool(_HIDING_STYLE.search(said.get("style", "")))
        )
        self._open.append((tag, silent))
        self._names[tag] += 1
        self._silent += silent
        if not self._silent:
            self._begin(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # `<div/>` opens a div all the same: HTML §13.2.5.40

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._title is not None:
            self.found.title = self.found.title or _SPACES.sub(" ", "".join(self._title)).strip()
            self._title = None
        self._leave(tag)

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)
        elif not self._silent:
            data = data.translate(_NONE)
            data = data.translate(_KEEP) if self._preformatted else _SPACES.sub(" ", data)
            if data != " " or (self._out and self._out[-1] not in (" ", _LINE, _GAP)):
                self._out.append(data)

    # --- open elements ---
    def _begin(self, tag: str) -> None:
        self._mark(self._around(tag))
        if tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "main":
            self._main_start = len(self._out)
        elif tag == "li":
            self._out.append(self._bullet().translate(_KEEP))

    def _leave(self, tag: str) -> None:
        """Close an element and those left open in it; an end without a beginning is passed over."""
        if self._names[tag]:
            while self._close() != tag:
                pass

    def _close(self) -> str:
        tag, silent = self._open.pop()
        self._names[tag] -= 1
        if not self._silent:
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
            elif tag == "pre":
                self._preformatted = max(0, self._preformatted - 1)
            elif tag == "main":
                self._mains.append((self._main_start, len(self._out)))
            cell, row = tag in ("td", "th"), tag == "tr"
            self._mark(_CELL if cell else _ROW if row else self._around(tag))
        self._silent -= silent
        return tag

    def _mark(self, mark: str) -> None:
        """Say what stands between two texts: of several spaces, lines and gaps in a row, the widest."""
        if mark in (_LINE, _GAP) and self._out and self._out[-1] in (" ", _LINE, _GAP):
            self._out[-1] = _GAP if _GAP in (mark, self._out[-1]) else _LINE
        elif mark:
            self._out.append(mark)

    def _around(self, tag: str) -> str:
        if tag in _PARAGRAPHS or (tag in ("ul", "ol") and not self._lists):
            return _GAP
        return _LINE if tag in _LINES or tag in ("ul", "ol", "tr") else ""

    def _bullet(self) -> str:
        indent = "  " * min(max(1, len(self._lists)), 10)
        if self._lists and (number := self._lists[-1]) is not None:
            self._lists[-1] = number + 1
            return f"{indent}{number + 1}. "
        return f"{indent}• "

    def text(self) -> str:
        """The text of the one `main`, or else of the page."""
        while self._open:
            self._close()
        pieces = self._out
        if len(self._mains) == 1:
            start, end = self._mains[0]
            pieces = pieces[start:end]
        text = "".join(pieces)
        for pattern, instead in _LAYOUT:
            text = pattern.sub(instead, text)
        text = text.translate(_GIVE_BACK).strip("\n")
        return "\n".join(line.rstrip(" ") for line in text.split("\n")).strip("\n")
