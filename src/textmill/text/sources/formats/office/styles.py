"""What the styles of a Word document say of its text (ECMA-376 part 1 §17.7): hidden or not, its font, its list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from textmill.text.sources.formats.xml_events import Node

_OFF = ("0", "false", "off")
_FONTS = ("ascii", "hAnsi", "cs", "eastAsia")
_BODY_TEXT = 9  # outline level of what is no heading (§17.3.1.20)


@dataclass(frozen=True, slots=True)
class _Style:
    based_on: str
    paragraph: Node | None
    run: Node | None


class Styles:
    """The styles of one document."""

    def __init__(self, root: Node) -> None:
        self._styles: dict[str, _Style] = {}
        self._defaults: dict[str, str] = {}
        self._hidden: dict[tuple[str, str, str], bool] = {}
        self._fonts: dict[tuple[str, str], str] = {}
        self._places: dict[tuple[str, str], str] = {}
        for node in root:
            if node.name == "style":
                name = node.get("styleId")
                self._styles[name] = _Style(node.value("basedOn"), node.child("pPr"), node.child("rPr"))
                if node.get("default") not in ("", *_OFF):
                    self._defaults[node.get("type")] = name
        self._document = root.child("docDefaults", "rPrDefault", "rPr")

    def default(self, kind: str) -> str:
        """The style of what names none: a `paragraph`, a run (`character`) or a `table`."""
        return self._defaults.get(kind, "")

    def chain(self, name: str) -> Iterator[str]:
        """A style and those it is based on, nearest first."""
        seen: set[str] = set()
        while name in self._styles and name not in seen:
            seen.add(name)
            yield name
            name = self._styles[name].based_on

    def numbering(self, style: str) -> tuple[str, int]:
        """(the list a paragraph style puts its paragraphs into, its level); an empty list where it does not."""
        level = 0
        for name in self.chain(style):
            own = self._setting(name, "numPr")
            if own is not None:
                level = level or _whole(own.value("ilvl"))
                if number := own.value("numId"):
                    return number, level
        return "", level

    def heading(self, style: str, properties: Node | None) -> bool:
        """Whether a paragraph of this style and these properties stands in the outline."""
        levels = [properties.value("outlineLvl") if properties else ""]
        levels += [
            each.get("val") for name in self.chain(style) if (each := self._setting(name, "outlineLvl"))
        ]
        level = next(filter(None, levels), "")
        return bool(level) and _whole(level) < _BODY_TEXT

    def hidden(self, paragraph: str, table: str, properties: Node | None) -> bool:
        """Whether a run with these properties, in a paragraph and a table of these styles, is hidden text.

        Properties of its own decide. Styles toggle: hidden in a hidden style is shown (§17.7.3).
        """
        if (own := properties.child("vanish") if properties else None) is not None:
            return on(own)
        styles = (paragraph, self.run_style(properties), table)
        if styles not in self._hidden:
            default = self._document.child("vanish") if self._document else None
            toggles = [self._toggle(name) for name in styles]
            self._hidden[styles] = (
                on(default) if default is not None and on(default) else sum(toggles) % 2 == 1
            )
        return self._hidden[styles]

    def font(self, paragraph: str, properties: Node | None) -> str:
        """The font of a run's Western letters; empty when nobody says."""
        if (own := _font(properties)) is not None:
            return own
        styles = (self.run_style(properties), paragraph)
        if styles not in self._fonts:
            runs = [self._styles[name].run for style in styles for name in self.chain(style)]
            self._fonts[styles] = next(filter(None, map(_font, (*runs, self._document))), "")
        return self._fonts[styles]

    def place(self, paragraph: str, properties: Node | None) -> str:
        """Whether a run stands above the line (`super`), below it (`sub`) or on it."""
        if own := properties.value("vertAlign") if properties else "":
            return own.removesuffix("script")
        styles = (self.run_style(properties), paragraph)
        if styles not in self._places:
            runs = (self._styles[name].run for style in styles for name in self.chain(style))
            said = (run.value("vertAlign") for run in runs if run is not None)
            self._places[styles] = next(filter(None, said), "").removesuffix("script")
        return self._places[styles]

    def run_style(self, properties: Node | None) -> str:
        """The character style of a run."""
        return (properties.value("rStyle") if properties else "") or self.default("character")

    def _toggle(self, style: str) -> bool:
        runs = (self._styles[name].run for name in self.chain(style))
        said = (run.child("vanish") for run in runs if run is not None)
        nearest = next((each for each in said if each is not None), None)
        return nearest is not None and on(nearest)

    def _setting(self, style: str, name: str) -> Node | None:
        paragraph = self._styles[style].paragraph
        return paragraph.child(name) if paragraph else None


def on(setting: Node) -> bool:
    """Whether a setting that is there is on (§17.17.4)."""
    return setting.get("val") not in _OFF


def _font(properties: Node | None) -> str | None:
    fonts = properties.child("rFonts") if properties else None
    return next(filter(None, map(fonts.get, _FONTS)), None) if fonts else None


def _whole(text: str) -> int:
    return int(text[:6]) if text.isascii() and text.isdigit() else 0
