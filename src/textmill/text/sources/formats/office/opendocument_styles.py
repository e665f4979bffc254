"""Styles and lists of OpenDocument (OASIS ODF 1.3 part 3 §16, §19): what is hidden, and what stands before an item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textmill.text.sources.formats.numerals import numeral
from textmill.text.sources.formats.xml_events import Node, attribute

_FORMS = {
    **{"1": "decimal", "a": "lowerColumn", "A": "upperColumn", "i": "lowerRoman", "I": "upperRoman"},
    **{"a sync": "lowerLetter", "A sync": "upperLetter", "01": "decimalZero"},
    **{
        "一": "chineseCounting",
        "壹": "chineseLegalSimplified",
        "壱": "japaneseLegal",
        "①": "decimalEnclosedCircle",
    },
    **{"甲": "ideographTraditional", "子": "ideographZodiac", "１": "decimalFullWidth"},
    **{
        "イ": "iroha",
        "ｲ": "iroha",
        "ア": "aiueo",
        "ｱ": "aiueo",
        "가": "ganada",
        "ㄱ": "chosung",
        "일": "koreanCounting",
    },
    **{"а": "russianLower", "А": "russianUpper", "Аа": "russianUpper", "א": "hebrew1", "أ": "arabicAlpha"},
}
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class _Level:
    """How the items of one level are numbered (§16.31 to §16.33)."""

    bullet: bool
    form: str
    prefix: str
    suffix: str
    shown: int  # how many levels the number shows
    start: int


@dataclass(frozen=True, slots=True)
class _Style:
    parent: str
    hidden: bool | None
    place: str | None  # above or below the line
    list_style: str | None
    invisible: bool  # a page or a table


class Styles:
    """The styles of a document, as far as its text depends on them."""

    def __init__(self) -> None:
        self._styles: dict[tuple[str, str], _Style] = {}
        self._lists: dict[str, dict[int, _Level]] = {}

    def add(self, node: Node) -> None:
        """Take a `style`, `list-style` or `outline-style` in."""
        if node.name == "style":
            family, name = node.get("family"), node.get("name")
            text, page = node.child("text-properties"), node.child("drawing-page-properties")
            table = node.child("table-properties")
            display = text.get("display") if text else ""
            self._styles[family, name] = _Style(
                node.get("parent-style-name"),
                {"none": True, "true": False}.get(display),
                _place(text.get("text-position")) if text else None,
                attribute(node.attributes, "list-style-name") if "list-style-name" in _names(node) else None,
                bool(page and page.get("visibility") == "hidden")
                or bool(table and table.get("display") == "false"),
            )
        else:
            name = node.get("name") if node.name == "list-style" else ""
            levels = {_whole(each.get("level"), 1): _level(each) for each in node}
            self._lists[name] = levels

    def hidden(self, family: str, name: str, otherwise: bool) -> bool:
        """Whether text in a style (`text` or `paragraph`) is hidden."""
        said = (style.hidden for style in self._chain(family, name))
        return next((each for each in said if each is not None), otherwise)

    def place(self, name: str, otherwise: str) -> str:
        """Whether text in a text style stands above the line (`super`), below it (`sub`) or on it."""
        said = (style.place for style in self._chain("text", name))
        return next((each for each in said if each is not None), otherwise)

    def invisible(self, family: str, name: str) -> bool:
        """Whether a page of a presentation (`drawing-page`) or a sheet (`table`) is not shown."""
        return any(style.invisible for style in self._chain(family, name))

    def list_of(self, paragraph: str) -> str:
        """The list style a paragraph style brings; empty for none."""
        said = (style.list_style for style in self._chain("paragraph", paragraph))
        return next((each for each in said if each is not None), "")

    def level(self, name: str, level: int) -> _Level | None:
        """A level of a list style; of the outline, for no name."""
        return self._lists.get(name, {}).get(level)

    def _chain(self, family: str, name: str) -> list[_Style]:
        chain: list[_Style] = []
        while (style := self._styles.get((family, name))) and style not in chain:
            chain.append(style)
            name = style.parent
        return chain


def _names(node: Node) -> set[str]:
    return {key.rpartition("\n")[2] for key in node.attributes}


def _place(position: str) -> str | None:
    """`super 58%`, `sub`, `-33% 58%`, `0% 100%` (§20.391)."""
    first = position.partition(" ")[0]
    if first in ("super", "sub", ""):
        return first or None
    return "sub" if first.startswith("-") else "super" if first.strip("0.%") else ""


def _level(node: Node) -> _Level:
    form = node.get("num-format")
    sync = " sync" if node.get("num-letter-sync") == "true" and form in ("a", "A") else ""
    return _Level(
        bullet=node.name == "list-level-style-image" or bool(node.get("bullet-char").strip()),
        form=_FORMS.get(form + sync) or _FORMS.get(form.partition(",")[0].strip(), "decimal")
        if form
        else "none",
        prefix=node.get("num-prefix"),
        suffix=node.get("num-suffix"),
        shown=_whole(node.get("display-levels"), 1),
        start=_whole(node.get("start-value"), 1),
    )


def _whole(text: str, otherwise: int) -> int:
    return int(text[:6]) if text.isascii() and text.isdigit() else otherwise


@dataclass(slots=True)
class _List:
    style: str
    identity: str
    counts: dict[int, int]  # shared by the levels of a list
    start: str = ""  # the number the item is given
    fresh: bool = False  # whether an item has begun and no paragraph of it has been labelled
    given: str | None = None  # what the document itself says the label is


@dataclass(slots=True)
class Lists:
    """The lists around a place in a document, and where their counting stands."""

    styles: Styles
    bullets: bool = True  # whether bullets are written; slides have nothing else
    _open: list[_List] = field(default_factory=list)
    _finished: dict[str, dict[int, int]] = field(default_factory=dict)  # counts of lists, by id and by style
    _outline: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._open)

    def begin(self, attributes: Mapping[str, str]) -> None:
        above = self._open[-1] if self._open else None
        style = attribute(attributes, "style-name") or (above.style if above else "")
        counts = above.counts if above else {}
        if above is None:
            if goes_on := attribute(attributes, "continue-list"):
                counts = dict(self._finished.get(goes_on, {}))
            elif attribute(attributes, "continue-numbering") == "true":
                counts = dict(self._finished.get(f"style {style}", {}))
        elif attribute(attributes, "continue-numbering") != "true" and not above.fresh:
            counts.pop(len(self._open) + 1, None)
        self._open.append(_List(style, attribute(attributes, "id"), counts))

    def end(self) -> None:
        if self._open:
            last = self._open.pop()
            if not self._open:
                self._finished[f"style {last.style}"] = last.counts
                self._finished[last.identity] = last.counts

    def item(self, attributes: Mapping[str, str]) -> None:
        """An item begins: its first paragraph is numbered. One that only holds lists is not counted."""
        if self._open:
            last = self._open[-1]
            last.style = attribute(attributes, "style-override") or last.style
            last.fresh, last.given = True, None
            last.start = attribute(attributes, "start-value")

    def _count(self) -> None:
        last, level = self._open[-1], len(self._open)
        form = self.styles.level(last.style, level)
        first = form.start if form else 1
        last.counts[level] = _whole(last.start, 1) if last.start else last.counts.get(level, first - 1) + 1
        for deeper in [each for each in last.counts if each > level]:
            del last.counts[deeper]

    def say(self, label: str) -> None:
        """The label of the item as the document has it (`number`)."""
        if self._open:
            self._open[-1].given = label

    def label(self, paragraph: str) -> str:
        """What stands before the next paragraph of the item, which has this style; empty for nothing."""
        if not self._open or not self._open[-1].fresh:
            return ""
        last, level = self._open[-1], len(self._open)
        self._count()
        last.fresh = False
        if last.given is not None:
            return f"{last.given} " if last.given else ""
        return self._written(last.style or self.styles.list_of(paragraph), last.counts, level)

    def heading(self, attributes: Mapping[str, str]) -> str:
        """What stands before a heading by the outline of the document."""
        level = _whole(attribute(attributes, "outline-level"), 1)
        form = self.styles.level("", level)
        if form is None or form.form == "none" or attribute(attributes, "is-list-header") == "true":
            return ""
        start = attribute(attributes, "start-value")
        anew = attribute(attributes, "restart-numbering") == "true"
        before = form.start - 1 if anew or level not in self._outline else self._outline[level]
        self._outline[level] = _whole(start, 1) if start and anew else before + 1
        for deeper in [each for each in self._outline if each > level]:
            del self._outline[deeper]
        return self._written("", self._outline, level)

    def _written(self, style: str, counts: Mapping[int, int], level: int) -> str:
        own = self.styles.level(style, level)
        if own is None or own.bullet:
            return "• " if self.bullets else ""
        if own.form == "none":
            return ""
        numbers = []
        for at in range(max(1, level - own.shown + 1), level + 1):
            form = self.styles.level(style, at)
            if form is not None and form.form != "none" and not form.bullet:
                numbers.append(numeral(counts.get(at, form.start), form.form))
        return f"{own.prefix}{'.'.join(numbers)}{own.suffix}".strip() + " "
