"""What a page shows and its characters alone do not say, written as characters, before its text is taken.

List numbers, powers and indices, ruby, mathematics, quotation marks, what was filled into forms; and which footers and
asides are part of an article, and which furniture of the site. One pass over the tags of a page *as its tree writes
it*: every element there is closed, and every `<` and `>` that is no tag is escaped.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape, unescape

from textmill.text.sources.formats import formula, ruby
from textmill.text.sources.formats.numerals import numeral
from textmill.text.sources.formats.raised import lowered, raised
from textmill.text.sources.formats.stream import Deadline

# Characters no text has (Unicode §23.7): the page is cleared of them first.
TAB, MARK, MARK_END = "\ufdd0", "\ufdd1", "\ufdd2"
# What must be looked at together, where a page has one of the first.
_KINDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("<ol", "list-style", "<menu", "<dir"), ("ol", "ul", "menu", "dir", "li")),
    (
        ("<footer", "<aside"),
        ("article", "section", "blockquote", "figure", "details", "fieldset", "td", "th", "footer", "aside"),
    ),
    (('class="tex', 'class="latex', 'class="math', "mwe-math"), ("img",)),
    (("noteref",), ("a",)),
    (("<button",), ("button", "h1", "h2", "h3", "h4", "h5", "h6", "dt")),
    (("shadowrootmode",), ("template",)),
    *(
        ((f"<{name}",), (name,))
        for name in ("sup", "sub", "ruby", "q", "math", "pre", "summary", "legend", "label")
    ),
    *(((f"<{name}",), (name,)) for name in ("input", "select", "textarea")),
)


@functools.lru_cache(256)
def _tokens(names: tuple[str, ...]) -> re.Pattern[str]:
    """What finds the tags of these names, and scripts, styles and comments, which hold no tags."""
    return re.compile(
        r"<!--.*?-->|<(script|style|xmp|iframe|noembed|noframes)\b([^>]*)>(.*?)</\1>|"
        rf"<(?!/li>)(/?)({'|'.join(names) or '!'})(?=[\s>])([^>]*)>"  # an item's end changes nothing
        r"(?:(?<=<su[bp]>)([^<>\t]{1,40})</su[bp]>)?",  # most powers and indices are whole in one turn
        re.DOTALL,
    )


Attributes = Mapping[str, str]
_NONE: Attributes = {}
_ATTRIBUTE = re.compile(r'([^\s=>"]+)(?:="([^"]*)")?')
_TAG = re.compile(r"<[^>]*>")
_LIST_STYLE = re.compile(r"list-style(?:-type)?\s*:\s*([^;]+)")
# Kinds of numbers, by their names in CSS (Counter Styles §6) and in HTML -> by their names in `numerals`.
_STYLES = {
    "decimal": "decimal",
    "decimal-leading-zero": "decimalZero",
    "lower-alpha": "lowerColumn",
    "lower-latin": "lowerColumn",
    "upper-alpha": "upperColumn",
    "upper-latin": "upperColumn",
    "lower-roman": "lowerRoman",
    "upper-roman": "upperRoman",
    "cjk-decimal": "ideographDigital",
    "cjk-ideographic": "taiwaneseCounting",
    "trad-chinese-informal": "taiwaneseCounting",
    "simp-chinese-informal": "chineseCounting",
    "simp-chinese-formal": "chineseLegalSimplified",
    "trad-chinese-formal": "ideographLegalTraditional",
    "japanese-informal": "japaneseCounting",
    "cjk-heavenly-stem": "ideographTraditional",
    "cjk-earthly-branch": "ideographZodiac",
    "none": "none",
}
_TYPES = {"a": "lowerColumn", "A": "upperColumn", "i": "lowerRoman", "I": "upperRoman", "1": "decimal"}


def _style(known: Attributes, otherwise: str) -> str:
    """How the numbers of a list, or of one item, look."""
    if not known:
        return otherwise
    styled = _LIST_STYLE.search(known.get("style", "").lower())
    words = styled[1].split() if styled else ()
    by_type = _TYPES.get(known.get("type", ""), otherwise)
    return next((_STYLES[word] for word in words if word in _STYLES), by_type)


_INTEGER = re.compile(r"\s*([+-]?\d{1,9})")
# What has headers and footers of its own (HTML §4.3, sectioning content; §4.4, quotations).
_SECTIONS = frozenset(("article", "section", "blockquote", "figure", "details", "fieldset", "td", "th"))
# Elements the extraction passes over, or runs into what stands before them, though they are shown.
_RENAMED = {"label": "span", "legend": "div", "summary": "div", "menu": "ul", "dir": "ul"}
_NOTES = re.compile(r"\b(?:doc-)?(?:foot|end|rear)notes?\b|\bnote\b", re.IGNORECASE)
_WRITTEN = frozenset(
    ("text", "search", "email", "url", "tel", "number", "date", "time", "month", "week", "datetime-local")
)
_QUOTES = {
    "de": "„“‚‘", "cs": "„“‚‘", "sk": "„“‚‘", "bg": "„“‚‘", "pl": "„”«»", "hu": "„”»«", "ro": "„”«»",
    "fr": "«»“”", "it": "«»“”", "es": "«»“”", "pt": "«»“”", "ru": "«»„“", "uk": "«»„“", "el": "«»“”",
    "ja": "「」『』", "sv": "””’’", "fi": "””’’", "da": "»«›‹", "no": "«»‘’",
}  # fmt: skip
_BEFORE = 40  # characters in front of a power that tell what it is
_MARKUP = re.compile("[<>&;]")
_LONGEST_SCRIPT = 400  # characters of markup in <sup>, where more is a text
_FORMULA_PICTURE = re.compile(r"\b(?:tex|latex|math)\b")
_RENDERED = ".MathJax, .MathJax_CHTML, .MathJax_SVG, .MathJax_Preview, .mjx-chtml"


def attributes(raw: str) -> Attributes:
    """The attributes of a tag as its tree writes it."""
    return {name: unescape(value) for name, value in _ATTRIBUTE.findall(raw)}


def _bare(markup: str) -> str:
    """The text of markup."""
    return unescape(_TAG.sub("", markup)) if "<" in markup or "&" in markup else markup


def _hidden(known: Attributes) -> bool:
    if not known:
        return False
    style = known.get("style", "").lower().replace(" ", "")
    return "hidden" in known or known.get("aria-hidden") == "true" or "display:none" in style


@dataclass
class _List:
    """A list that is open: the number its next item has, the step to the one after it, and how numbers look."""

    style: str
    number: int
    step: int


@dataclass
class _Open:
    """An element whose content is looked at when it ends: where in the output it begins."""

    name: str
    at: int
    size: int
    attributes: Attributes


@dataclass
class Marks:
    """The pass over one page. book: whether there is no site around it, so that footers and asides are all text."""

    deadline: Deadline
    language: str = ""
    book: bool = False
    skipped: str = ""  # a selector of what is shown twice
    _out: list[str] = field(default_factory=list)
    _size: int = 0
    _lists: list[_List] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _sections: int = 0
    _headings: int = 0
    _templates: list[bool] = field(default_factory=list)  # whether each that is open is shown
    _furniture: list[bool] = field(default_factory=list)  # of the footers and asides that are open
    _quotes: int = 0
    _pre: int = 0
    _items: dict[int, int] = field(default_factory=dict)  # where a list begins -> its number of items

    def written(self, page: str) -> str:
        """The page with its marks as characters. page: HTML as a tree writes it."""
        for own in (TAB, MARK, MARK_END):
            page = page.replace(own, "\ufffd")
        if "reversed" in page:
            self._count_items(page)
        if 'type="math/tex' in page:
            self.skipped = _RENDERED  # by MathJax 2, beside the TeX it was given
        tokens = _tokens(
            tuple(name for signs, names in _KINDS if any(sign in page for sign in signs) for name in names)
        )
        at = 0
        for number, token in enumerate(tokens.finditer(page)):
            if number % 1024 == 0:
                self.deadline.check()
            self._add(page[at : token.start()])
            at = token.end()
            raw, raw_attributes, content, closing, name, tag_attributes, script = token.groups()
            if script:
                self._add(self._script(name, script))
            elif closing:
                _ENDS.get(name, Marks._end_other)(self, name, token[0])
            elif name:
                known = attributes(tag_attributes) if tag_attributes else _NONE
                _STARTS.get(name, Marks._start_other)(self, name, known, token)
            elif (
                raw == "script" and 'type="math/tex' in raw_attributes
            ):  # others, styles and comments are no text
                self._add(f"<span>{escape(formula.tex(content))}</span>")
        self._add(page[at:])
        return "".join(self._out)

    def _add(self, text: str) -> None:
        if text:
            self._out.append(text.replace("\t", TAB) if self._pre and "\t" in text else text)
            self._size += len(text)

    def _count_items(self, page: str) -> None:
        """The items of each list: those of a reversed one are numbered from their end."""
        open_lists: list[int] = []
        for token in _tokens(("ol", "ul", "menu", "dir", "li")).finditer(page):
            if token[5] in ("ol", "ul", "menu", "dir"):
                if token[4] and open_lists:
                    open_lists.pop()
                elif not token[4]:
                    open_lists.append(token.start())
                    self._items[token.start()] = 0
            elif token[5] == "li" and not token[4] and open_lists:
                self._items[open_lists[-1]] += 1

    # --- elements that are let through --------------------------------------------------------------------------
    def _start_other(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        if name in _SECTIONS:
            self._sections += 1
        self._add(f"<{_RENAMED[name]}{token[6]}>" if name in _RENAMED else token[0])

    def _end_other(self, name: str, tag: str) -> None:
        if name in _SECTIONS:
            self._sections = max(0, self._sections - 1)
        self._add(f"</{_RENAMED[name]}>" if name in _RENAMED else tag)

    def _start_pre(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        self._pre += 1
        self._add(token[0])
        if token.string[token.end() : token.end() + 1] == "\n":
            self._add("\n")  # the first line end of all is taken for no part of it

    def _end_pre(self, name: str, tag: str) -> None:
        self._pre = max(0, self._pre - 1)
        self._add(tag)

    def _start_furniture(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        note = _NOTES.search(f"{known.get('role', '')} {known.get('epub:type', '')} {known.get('class', '')}")
        part = self.book or self._sections > 0 or (name == "aside" and note is not None)
        self._furniture.append(not part)
        self._sections += part and name == "aside"
        self._add(f"<div{token[6]}>" if part else token[0])

    def _end_furniture(self, name: str, tag: str) -> None:
        part = not (self._furniture.pop() if self._furniture else True)
        self._sections -= part and name == "aside"
        self._add("</div>" if part else tag)

    def _start_heading(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        self._headings += 1
        self._add(token[0])

    def _end_heading(self, name: str, tag: str) -> None:
        self._headings = max(0, self._headings - 1)
        self._add(tag)

    def _start_button(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        """A heading that unfolds what is below it is a heading; any other button is none of the text."""
        self._add(f"<span{token[6]}>" if self._headings else token[0])

    def _end_button(self, name: str, tag: str) -> None:
        self._add("</span>" if self._headings else tag)

    def _start_template(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        """A declarative shadow tree (HTML §4.12.3) is shown; any other template is not."""
        self._templates.append("shadowrootmode" in known)
        self._add("<div>" if self._templates[-1] else token[0])

    def _end_template(self, name: str, tag: str) -> None:
        self._add("</div>" if self._templates and self._templates.pop() else tag)

    # --- lists --------------------------------------------------------------------------------------------------
    def _start_list(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        style = _style(known, "decimal" if name == "ol" else "")
        reverse = name == "ol" and "reversed" in known
        start = _INTEGER.match(known.get("start", ""))
        first = int(start[1]) if start else self._items.get(token.start(), 0) if reverse else 1
        self._lists.append(_List(style, first, -1 if reverse else 1))
        self._start_other(name, known, token)

    def _end_list(self, name: str, tag: str) -> None:
        if self._lists:
            self._lists.pop()
        self._end_other(name, tag)

    def _start_item(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        self._add(token[0])
        if not self._lists:
            return
        of = self._lists[-1]
        if known and (value := _INTEGER.match(known.get("value", ""))):
            of.number = int(value[1])
        style = _style(known, of.style)
        if style:
            empty = _EMPTY_ITEM.match(token.string, token.end()) is not None
            if not empty:
                self._add(f"{MARK}{'' if style == 'none' else f'{numeral(of.number, style)}.'}{MARK_END}")
            of.number += of.step

    # --- elements that are rewritten when they end ----------------------------------------------------------------
    def _begin(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        self._open.append(_Open(name, len(self._out), self._size, known))

    def _taken(self, name: str, longest: int) -> tuple[str | None, _Open | None]:
        """What was written since an element began, and that element; no text where it is longer than `longest`."""
        while self._open and self._open[-1].name != name:
            self._open.pop()
        if not self._open:
            return None, None
        begun = self._open.pop()
        if self._size - begun.size > longest:
            return None, begun
        text = "".join(self._out[begun.at :])
        del self._out[begun.at :]
        self._size = begun.size
        return ("" if _hidden(begun.attributes) else text), begun

    def _before(self) -> str:
        """The end of the text so far."""
        last = self._out[-1][-_BEFORE:] if self._out else ""
        if len(last) == _BEFORE and not _MARKUP.search(last):
            return last
        tail = "".join(self._out[-8:])[-300:]
        return _bare(tail.rpartition("</p>")[2])[-_BEFORE:]

    def _end_script(self, name: str, tag: str) -> None:
        inner, begun = self._taken(name, _LONGEST_SCRIPT)
        if inner is None or begun is None:
            return
        if "<" in inner and _BLOCK.search(inner):
            self._add(inner)
            return
        self._add(self._script(name, inner))

    def _script(self, name: str, inner: str) -> str:
        """A power or an index as characters, or as it stands where there are none for it."""
        text = _bare(inner)
        changed = (raised if name == "sup" else lowered)(text, self._before())
        return inner if changed == text else escape(changed)

    def _start_link(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        self._add(token[0])
        self._begin(name, known, token)

    def _end_link(self, name: str, tag: str) -> None:
        """A link to a note is its number, raised."""
        begun = self._open[-1] if self._open else None
        if begun is not None and begun.name == "a":
            inner, _ = self._taken(name, _LONGEST_SCRIPT)
            if inner is not None:
                number = _bare(inner).strip()
                raises = (
                    number.isascii()
                    and number.isalnum()
                    and not any(each.name == "sup" for each in self._open)
                )
                is_note = _NOTE_LINK.search(" ".join(begun.attributes.values()))
                self._add(escape(raised(number, self._before())) if raises and is_note else inner)
        self._add(tag)

    def _end_quote(self, name: str, tag: str) -> None:
        self._quotes = max(0, self._quotes - 1)
        self._add(self._mark(1))

    def _start_quote(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        self._add(self._mark(0))
        self._quotes += 1

    def _mark(self, side: int) -> str:
        return _QUOTES.get(self.language[:2].lower(), "“”‘’")[side + 2 * (self._quotes % 2)]

    def _end_ruby(self, name: str, tag: str) -> None:
        inner, _ = self._taken(name, 20_000)
        if inner is not None:
            self._add(ruby.inline(inner))

    def _end_math(self, name: str, tag: str) -> None:
        inner, begun = self._taken(name, 1 << 20)
        if inner is None or begun is None:
            return
        text = escape(formula.text(inner, begun.attributes.get("alttext", ""), self.deadline))
        block = begun.attributes.get("display") == "block"
        self._add(f"<div>{text}</div>" if block else f"<formula-text>{text}</formula-text>")

    def _start_picture(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        shows = _FORMULA_PICTURE.search(known.get("class", "").lower()) and known.get("aria-hidden") != "true"
        if shows and "mwe-math-fallback" not in known.get("class", ""):
            self._add(escape(formula.tex(known.get("alt", ""))))
        else:
            self._add(token[0])

    # --- forms --------------------------------------------------------------------------------------------------
    def _start_input(self, name: str, known: Attributes, token: re.Match[str]) -> None:
        kind = known.get("type", "text").lower()
        if _hidden(known):
            return
        if kind in ("checkbox", "radio"):
            self._add(" ☒ " if "checked" in known else " ☐ ")
        elif kind in _WRITTEN or kind not in _BUTTONS:
            self._add(f" {escape(known.get('value', ''))} ")

    def _end_select(self, name: str, tag: str) -> None:
        inner, _ = self._taken(name, 1 << 20)
        if inner is not None:
            chosen = [_bare(text).strip() for text in _CHOSEN.findall(inner)]
            self._add(f" {escape(', '.join(chosen))} ")

    def _end_textarea(self, name: str, tag: str) -> None:
        inner, _ = self._taken(name, 1 << 24)
        if inner and inner.strip():
            self._add(f"<pre>\n{inner.strip()}</pre>")


_NOTE_LINK = re.compile(r"(?:^|\s)(?:doc-)?noteref\b")
_BLOCK = re.compile(r"<(?:p|div|li|table|br|img)\b")
_EMPTY_ITEM = re.compile(r"\s*</li>")
_CHOSEN = re.compile(r"<option\b[^>]*\sselected\b[^>]*>(.*?)</option>", re.DOTALL)
_BUTTONS = frozenset(("submit", "reset", "button", "image", "hidden", "password", "file", "color", "range"))


_STARTS: dict[str, Callable[[Marks, str, Attributes, re.Match[str]], None]] = {
    "ol": Marks._start_list,
    "ul": Marks._start_list,
    "menu": Marks._start_list,
    "dir": Marks._start_list,
    "li": Marks._start_item,
    "a": Marks._start_link,
    "sup": Marks._begin,
    "sub": Marks._begin,
    "ruby": Marks._begin,
    "math": Marks._begin,
    "select": Marks._begin,
    "textarea": Marks._begin,
    "q": Marks._start_quote,
    "input": Marks._start_input,
    "img": Marks._start_picture,
    "pre": Marks._start_pre,
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6", "dt"), Marks._start_heading),
    "button": Marks._start_button,
    "template": Marks._start_template,
    "footer": Marks._start_furniture,
    "aside": Marks._start_furniture,
}
_ENDS: dict[str, Callable[[Marks, str, str], None]] = {
    "ol": Marks._end_list,
    "ul": Marks._end_list,
    "menu": Marks._end_list,
    "dir": Marks._end_list,
    "a": Marks._end_link,
    "sup": Marks._end_script,
    "sub": Marks._end_script,
    "ruby": Marks._end_ruby,
    "math": Marks._end_math,
    "select": Marks._end_select,
    "textarea": Marks._end_textarea,
    "q": Marks._end_quote,
    "pre": Marks._end_pre,
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6", "dt"), Marks._end_heading),
    "button": Marks._end_button,
    "template": Marks._end_template,
    "footer": Marks._end_furniture,
    "aside": Marks._end_furniture,
}
_COUNTED = re.compile(r"(?:\d+\.|•) \Z")


def _unnumbered(before: str) -> str:
    """What stands before a list number, without the one the extraction has counted."""
    if not before.endswith((". ", "• ")):
        return before
    counted = _COUNTED.search(before, max(0, len(before) - 20))
    return before[: counted.start()] if counted else before


def cleared(text: str) -> str:
    """The text of a page with its list numbers in place of those the extraction counts, and its tabs again."""
    if MARK in text:
        first, *pieces = text.split(MARK)
        shown, before = [], first
        for piece in pieces:
            number, _, item = piece.partition(MARK_END)
            shown += [_unnumbered(before), f"{number} " if number else ""]
            before = item.lstrip()
        text = "".join([*shown, before])
    return text.replace("\t\t", "\t").replace(TAB, "\t")
