"""Fields of Word (ECMA-376 part 1 §17.16): what is seen of an instruction and its result, in .docx and RTF alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from textmill.text.sources.formats import math
from textmill.text.sources.formats.office.symbols import symbol
from textmill.text.sources.formats.xml_events import Node

_WORDS = re.compile(r'"([^"]*)"|(\S+)')
_DEEPEST = 20  # EQ within EQ


@dataclass(slots=True)
class _Field:
    instruction: list[str] = field(default_factory=list)
    result: bool = False  # whether its result has begun
    filled: bool = False  # whether there is anything in it
    shown: str = ""  # what it shows without one


class Fields:
    """The fields that are open at a place in a document; they may reach over paragraphs, and lie in one another."""

    def __init__(self) -> None:
        self._open: list[_Field] = []

    @property
    def visible(self) -> bool:
        """Whether text at this place is seen: not where it belongs to an instruction."""
        return all(each.result for each in self._open)

    def fill(self) -> None:
        """Text was read at this place."""
        for each in self._open:
            each.filled = True

    def begin(self, form: Node | None = None) -> None:
        """A field; `form` says what a form field holds (`ffData`)."""
        self._open.append(_Field(shown=_form(form) if form else ""))

    def instruct(self, text: str) -> None:
        """A piece of the innermost instruction."""
        if self._open and not self._open[-1].result:
            self._open[-1].instruction.append(text)

    def separate(self) -> None:
        """The instruction is over, its result follows."""
        if self._open:
            self._open[-1].result = True

    def end(self) -> str:
        """The field is over; what it shows, where it has no result."""
        if not self._open:
            return ""
        last = self._open.pop()
        if last.shown:
            return last.shown if self.visible else ""
        return evaluated("".join(last.instruction)) if not last.filled and self.visible else ""


def _form(data: Node) -> str:
    """A check box or a drop-down list of a form as it stands (§17.16.7, §17.16.9); text fields have results."""
    if (box := data.child("checkBox")) is not None:
        state = box.child("checked") or box.child("default")
        return "☒" if state is not None and state.get("val") not in ("0", "false", "off") else "☐"
    if (entries := data.child("ddList")) is not None:
        items = [each.get("val") for each in entries if each.name == "listEntry"]
        chosen = entries.value("result") or entries.value("default") or "0"
        return items[int(chosen)] if chosen.isdecimal() and int(chosen[:4]) < len(items) else ""
    return ""


def evaluated(instruction: str) -> str:
    """What a field without a result shows: those that are a sign, a formula or a button's words."""
    words = [quoted or plain for quoted, plain in _WORDS.findall(instruction)]
    kind = words[0].upper() if words else ""
    if kind == "SYMBOL" and len(words) > 1:
        font = words[words.index("\\f") + 1] if "\\f" in words[:-1] else ""
        return _sign(words[1], font)
    if kind == "EQ":
        return _Equation(instruction.strip()[2:]).read()
    if kind in ("MACROBUTTON", "GOTOBUTTON"):
        return " ".join(words[2:])
    return ""


def _sign(code: str, font: str) -> str:
    try:
        return symbol(font, int(code, 16) if code.lower().startswith("0x") else int(code))
    except ValueError:
        return code[:1]


class _Equation:
    r"""The formula of an EQ field (§17.16.5.21): text with commands such as `\f(a;b)`."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0

    def read(self) -> str:
        return "".join(self._pieces("")).strip()

    def _pieces(self, ends: str) -> list[str]:
        pieces: list[str] = []
        while self._at < len(self._text) and self._text[self._at] not in ends:
            sign = self._text[self._at]
            self._at += 1
            if sign == "\\":
                pieces.append(self._command())
            elif sign == "(" and ends:
                pieces.append("(" + "".join(self._pieces(")")) + ")")
                self._at += 1
            else:
                pieces.append(sign)
        return pieces

    def _command(self) -> str:
        match = re.compile(r"([A-Za-z*]{1,2})([^(\\]*)").match(self._text, self._at)
        if match is None:  # a sign that would otherwise mean something: \( \, \\
            self._at += 1
            return self._text[self._at - 1 : self._at]
        name, options = match[1].lower(), match[2].strip()
        self._at = match.end()
        if name == "*":  # how it is formatted
            return ""
        switches = []
        while (
            switch := re.compile(r"\\([a-z]{2})([^(\\]*)|\\([lrb]c)\\(.)").match(self._text, self._at)
        ) is not None:
            switches.append(switch[1] or switch[3])
            self._at = switch.end()
        if self._text[self._at : self._at + 1] != "(" or self._depth >= _DEEPEST:
            return "" if len(name) == 2 else options
        self._depth += 1
        parts = self._parts()
        self._depth -= 1
        return _written(name, switches, parts)

    def _parts(self) -> list[str]:
        parts: list[str] = []
        while self._text[self._at : self._at + 1] and (not parts or self._text[self._at] in ",;"):
            self._at += 1
            parts.append("".join(self._pieces(",;)")).strip())
        self._at += 1
        return parts


def _written(name: str, switches: list[str], parts: list[str]) -> str:
    first, rest = parts[0] if parts else "", parts[1:]
    if name == "f":
        return math.fraction(first, rest[0] if rest else "")
    if name == "r":
        return math.root(rest[0], first) if rest else math.root(first)
    if name == "i":
        sign = "∑" if "su" in switches else "∏" if "pr" in switches else "∫"
        return math.large(sign, first, rest[0] if rest else "", rest[1] if len(rest) > 1 else "")
    if name == "s":
        return math.scripted(
            "", first if "do" in switches else "", "" if "do" in switches else first
        ).replace("()", "")
    if name == "o":
        raised = [part[1:] for part in parts if part.startswith("^")]
        base = "".join(part for part in parts if not part.startswith("^"))
        return f"{base}({raised[0].strip('()')})" if raised else base  # how it is read stands above it
    if name == "b":
        return f"({first})"
    if name == "a":
        return f"[{'; '.join(parts)}]"
    return ", ".join(parts) if name == "l" else "".join(parts)
