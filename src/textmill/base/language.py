"""What a person reads, in the language they chose: `TEXTMILL_LANG`, else the locale; English, or Chinese (zh).

Messages are plain English in the code. Where text leaves for a person, `say` looks its template up in a catalogue:
`kept {} of {} documents` stands for every message of that form, whatever its holes hold. Files of the catalogue are
`catalogue/LANGUAGE/*.po`, one for each room; English loads none. What machines read (JSON, logs and reports in files)
stays English, and so does what no entry matches.

    English   {} a hole; {|s} what may stand there; {{ and }} braces
    Chinese   {0} the first hole as it is, {0!t} the first hole, itself a message of the catalogue

A hole is copied as it is unless its entry says that it holds words of ours, so what belongs to a person (a file named
"train", a prompt) is never translated.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("en", "zh")
CATALOGUE = Path(__file__).with_name("catalogue")
_LOCALE = ("TEXTMILL_LANG", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides
_LETTERS = 5  # that a template has at least, to be told from other text by them
_ENGLISH = re.compile(r"\{\{|\}\}|\{(?P<choices>[^{}]*)\}")
_OTHER = re.compile(r"\{\{|\}\}|\{(?P<hole>\d+)(?P<ours>!t)?\}")
_ENTRY = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"(?:\n|\Z))+)', re.MULTILINE)
_spoken: ContextVar[str] = ContextVar("language", default="")


def chosen() -> str:
    """The language texts for people are in: what `speaking` says, else the environment; English for any we lack."""
    if spoken := _spoken.get():
        return spoken
    wanted = next(filter(None, map(os.environ.get, _LOCALE)), "")
    return next((name for name in LANGUAGES if wanted.lower().startswith(name)), LANGUAGES[0])


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """This language inside the block, whatever the environment says."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def say(text: str) -> str:
    """A message in the chosen language; as it is where no entry of the catalogue matches it."""
    language = chosen()
    return text if language == LANGUAGES[0] else catalogue(language).say(text)


def fill(template: str, *values: object) -> str:
    """A template with its holes filled, for one that has too few words to be known by them, such as `{} of {}`."""
    language = chosen()
    if language != LANGUAGES[0]:
        return catalogue(language).fill(template, tuple(map(str, values)))
    return template.format(*values)


def padded(text: str, columns: int) -> str:
    """The text, then spaces up to so many columns of a terminal, where a Chinese character takes two."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return text + " " * (columns - len(text) - wide)


def bracketed(text: str) -> str:
    """A text in brackets, as it stands after other words; nothing of no text."""
    return fill(" ({})", text) if text else ""


@functools.cache
def catalogue(language: str) -> Catalogue:
    """All entries of a language."""
    entries: dict[str, str] = {}
    for path in sorted((CATALOGUE / language).glob("*.po")):
        entries |= read(path.read_text(encoding="utf-8"))
    return Catalogue(entries)


def read(text: str) -> dict[str, str]:
    """English templates and what they are in the other language, of a PO file."""
    return {_unquoted(english): _unquoted(other) for english, other in _ENTRY.findall(text) if other}


def _unquoted(lines: str) -> str:
    return "".join(json.loads(line, strict=False) for line in lines.splitlines())


@dataclass(frozen=True)
class _Entry:
    """A template with holes: the texts between its holes, and the translation."""

    literals: tuple[str, ...]
    other: str

    def match(self, text: str) -> tuple[str, ...] | None:
        """What stands in the holes, each as short as can be; None where the text has another form."""
        first, *middle, last = self.literals
        end = len(text) - len(last)
        if not (text.startswith(first) and text.endswith(last) and len(first) <= end):
            return None
        holes, at = [], len(first)
        for literal in middle:
            found = text.find(literal, at, end)
            if found < 0:
                return None
            holes.append(text[at:found])
            at = found + len(literal)
        return (*holes, text[at:end])


def _bracket(text: str) -> tuple[str, str]:
    """What stands before the bracket that ends a text, and what in it; nothing twice where there is none."""
    depth = 0
    for at in range(len(text) - 1, 0, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if not depth:
            return (text[: at - 1], text[at + 1 : -1]) if text[at - 1] == " " else ("", "")
    return "", ""


class Catalogue:
    """The entries of one language."""

    def __init__(self, entries: dict[str, str]) -> None:
        self.entries = entries
        self._whole: dict[str, str] = {}
        found: list[_Entry] = []
        for english, other in entries.items():
            for literals in forms(english):
                if len(literals) == 1:
                    self._whole[literals[0]] = filled(other, (), str)
                else:
                    found.append(_Entry(literals, other))
        found.sort(key=lambda entry: -_weight(entry.literals))  # the most particular first
        self._strong = [entry for entry in found if _letters(entry.literals) >= _LETTERS]
        self._weak = [entry for entry in found if _letters(entry.literals) < _LETTERS]
        self.say = functools.lru_cache(4096)(self._say)

    def _say(self, text: str, weak: bool = False) -> str:
        body = text.strip()
        said = self._said(body, weak)
        if said is None:
            return text
        start = text.find(body)
        return f"{text[:start]}{said}{text[start + len(body) :]}"

    def _said(self, text: str, weak: bool) -> str | None:
        """One message, or several with semicolons between them, or one after the place it speaks of, or one with
        something particular in brackets behind it."""
        if (whole := self._whole.get(text)) is not None:
            return whole
        parts = text.split("; ")
        found = self._matched(self._strong, text)
        if text.endswith(")") and (found is None or " (" not in "".join(found[0].literals)):
            reason, detail = _bracket(text)
            if reason and (self._ours(reason, -1) or self._ours(detail, 0)):
                said_reason = self._said(reason, weak)
                if said_reason is not None:
                    return f"{said_reason}（{self._said(detail, weak) or detail}）"
        if found is not None and (len(parts) == 1 or "; " in "".join(found[0].literals)):
            return self._filled(*found)
        said = [self._said(part, weak) for part in parts] if len(parts) > 1 else []
        if said and (None not in said or (found is None and any(said))):
            return "；".join(new or old for new, old in zip(said, parts, strict=True))
        if found is not None:
            return self._filled(*found)
        place, colon, rest = text.partition(": ")
        while colon:
            if (said_rest := self._said(rest, weak)) is not None:
                return f"{place}：{said_rest}"
            more, colon, rest = rest.partition(": ")
            place = f"{place}: {more}"
        # A template without any word is a number and what it is of; it has the form of any two words.
        entries = [entry for entry in self._weak if text[:1].isdigit() or _letters(entry.literals)]
        found = self._matched(entries, text) if weak else None
        return None if found is None else self._filled(*found)

    def _ours(self, text: str, side: int) -> bool:
        """Whether a message, or one behind the place it speaks of, begins (0) or ends (-1) with words of ours, and not
        with what stands in a hole."""
        parts = text.split(": ")
        for part in (": ".join(parts[at:]) for at in range(len(parts))):
            found = self._matched(self._strong, part)
            if part in self._whole or (found is not None and found[0].literals[side]):
                return True
        return False

    @staticmethod
    def _matched(entries: list[_Entry], text: str) -> tuple[_Entry, tuple[str, ...]] | None:
        """The first of these templates that a text has the form of, and what stands in its holes."""
        pairs = ((entry, entry.match(text)) for entry in entries)
        return next(((entry, holes) for entry, holes in pairs if holes is not None), None)

    def _filled(self, entry: _Entry, holes: tuple[str, ...]) -> str:
        return filled(entry.other, self._apart(entry, holes), self._hole)

    def _hole(self, text: str) -> str:
        """What stands in a hole that holds words of ours: a message, or a list of them."""
        each = [self._said(part, weak=False) for part in text.split(", ")]
        listed = [part for part in each if part is not None]
        return "、".join(listed) if 1 < len(listed) == len(each) else self.say(text, True)

    def _apart(self, entry: _Entry, holes: tuple[str, ...]) -> tuple[str, ...]:
        """Two holes with nothing between them: the second is what begins as a message of ours does, or nothing."""
        apart = list(holes)
        for number, literal in enumerate(entry.literals[1:-1]):
            if not literal:
                both = apart[number] + apart[number + 1]
                later = range(1, 0 if both in self._whole else len(both))
                cut = next((at for at in later if self._begins(both[at:].strip())), len(both))
                apart[number : number + 2] = both[:cut], both[cut:]
        return tuple(apart)

    def _begins(self, text: str) -> bool:
        return text in self._whole or any(
            entry.literals[0] and entry.match(text) is not None for entry in (*self._strong, *self._weak)
        )

    def fill(self, template: str, values: tuple[str, ...]) -> str:
        other = self.entries.get(template)
        if other is None:
            return template.format(*values)
        return filled(other, values, self._hole)


def forms(english: str) -> Iterator[tuple[str, ...]]:
    """The texts between the holes of a template: one form for each of the words that may stand in its `{|s}`."""
    pieces: list[list[str]] = []
    start = 0
    for mark in _ENGLISH.finditer(english):
        pieces.append([english[start : mark.start()]])
        start = mark.end()
        choices = mark["choices"]
        pieces.append([mark[0][0]] if choices is None else choices.split("|") if choices else ["\0"])
    pieces.append([english[start:]])
    for form in itertools.product(*pieces):
        yield tuple("".join(form).split("\0"))


def holes(template: str) -> list[str]:
    """The holes of a translation, `0` or `0!t`, in its order."""
    return [f"{mark['hole']}{mark['ours'] or ''}" for mark in _OTHER.finditer(template) if mark["hole"]]


def filled(other: str, values: tuple[str, ...], ours: Callable[[str], str]) -> str:
    """A translation with its holes filled; `ours` translates those that hold words of ours."""

    def put(mark: re.Match[str]) -> str:
        if mark["hole"] is None:
            return mark[0][0]
        value = values[int(mark["hole"])]
        return _spaced(ours(value), mark) if mark["ours"] else value

    return _OTHER.sub(put, other)


def _spaced(text: str, mark: re.Match[str]) -> str:
    """A message within another, with a space where a Chinese character and a Latin letter or digit meet."""
    before, after = mark.string[: mark.start()][-1:], mark.string[mark.end() :][:1]
    start = " " if _han(before) and text[:1].isascii() and text[:1].isalnum() else ""
    end = " " if _han(after) and text[-1:].isascii() and text[-1:].isalnum() else ""
    return f"{start}{text}{end}" if text else text


def _han(character: str) -> bool:
    return "一" <= character <= "鿿"


def _weight(literals: tuple[str, ...]) -> int:
    return sum(map(len, literals))


def _letters(literals: tuple[str, ...]) -> int:
    return sum(character.isalpha() for literal in literals for character in literal)
