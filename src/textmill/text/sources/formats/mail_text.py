"""The bodies of messages as they were meant: transfer encodings, flowed lines, and what stands armoured within them.

Senders break every rule here: base64 that ends too early, encodings with comments behind them, letters and keys in
PGP's armour, files uuencoded between two lines. What is no text is removed of it, and said.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

_PARAMETERS = re.compile(r"<param>.*?</param>", re.DOTALL | re.IGNORECASE)
_LINE_ENDS = re.compile(r"\n(\n*)")
_COMMANDS = re.compile(r"<<|</?[a-z-]{1,60}>", re.IGNORECASE)
_COMMENT = re.compile(r"[;(]")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_FOOTER = re.compile(rb"(?m)^_{10,}[ \t]*\r?$|^-- ?\r?$")  # what mailing lists write behind a body, unencoded
_BEGIN = re.compile(r"-----BEGIN (PGP [A-Z ]+|[A-Z0-9 ]*(?:KEY|CERTIFICATE|PKCS7|CMS)[A-Z0-9 ]*)-----\s*")
_END = re.compile(r"-----END ([A-Z0-9 ]+)-----\s*")
_SIGNED, _SIGNATURE, _MESSAGE = "PGP SIGNED MESSAGE", "PGP SIGNATURE", "PGP MESSAGE"
_UUENCODED = re.compile(r"begin(-base64)? [0-7]{3,4} (\S.{0,200})")
_UUENCODED_ENDS = ("end", "====")


@dataclass(frozen=True)
class Enclosed:
    """What stood between the lines of a text and is none: a file, or None for what nobody but its addressee reads."""

    name: str
    data: bytes | None


def payload(part: Message) -> bytes:
    """The bytes of a part that has no parts of its own, decoded as far as they go."""
    raw = part.get_payload()
    if not isinstance(raw, str):
        return b""
    said = str(part.get("Content-Transfer-Encoding", ""))
    encoding = _COMMENT.split(said, maxsplit=1)[0].strip().lower()
    if encoding == "base64":  # the library gives it back as it is where it ends too early
        encoded = raw.encode("ascii", "replace")
        footer = _FOOTER.search(encoded)
        return _from_base64(encoded[: footer.start()] if footer else encoded)
    if encoding != said:
        part.replace_header("Content-Transfer-Encoding", encoding)
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _from_base64(data: bytes) -> bytes:
    """What base64 says; its last character is lost where it ends within one."""
    letters = _NOT_BASE64.sub(b"", data)
    whole = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))


def unflowed(text: str, *, delete_space: bool) -> str:
    """The paragraphs of a text whose lines were broken to be joined again (RFC 3676: format=flowed, DelSp)."""
    out: list[str] = []
    flowing, depth = False, 0
    for line in text.split("\n"):
        quotes = len(line) - len(line.lstrip(">"))
        words = line[quotes:].removeprefix(" ")
        signature = words == "-- "
        if flowing and quotes == depth and not signature:
            out[-1] += words
        else:
            out.append(f"{'>' * quotes}{' ' if quotes else ''}{words}")
        flowing, depth = words.endswith(" ") and not signature, quotes
        if flowing and delete_space:
            out[-1] = out[-1][:-1]
    return "\n".join(out)


def unenriched(text: str) -> str:
    """The text of text/enriched (RFC 1896), without its commands."""
    text = _PARAMETERS.sub("", text)
    text = _LINE_ENDS.sub(lambda ends: ends[1] or " ", text)
    return _COMMANDS.sub(lambda command: "<" if command[0] == "<<" else "", text)


def opened(text: str) -> tuple[str, list[Enclosed]]:
    """A text without what is armoured or encoded in it, and that; one that is only signed stays, without its seal."""
    if "-----BEGIN " not in text and "\nbegin" not in f"\n{text}":
        return text, []
    return _Opening(text.split("\n")).opened()


class _Opening:
    """One pass over the lines of a text: the end of what begins is sought among the lines that end such a thing."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._places: dict[str, list[int]] = {}  # of the lines that end something, or begin a signature
        for at, line in enumerate(lines):
            if match := _END.fullmatch(line):
                self._places.setdefault(match[1], []).append(at)
            elif line.rstrip() in _UUENCODED_ENDS:
                self._places.setdefault(_UUENCODED_ENDS[0], []).append(at)
            elif line.startswith(f"-----BEGIN {_SIGNATURE}-----"):
                self._places.setdefault(f"begin {_SIGNATURE}", []).append(at)
        self.out: list[str] = []
        self.enclosed: list[Enclosed] = []

    def opened(self) -> tuple[str, list[Enclosed]]:
        at = 0
        while at < len(self._lines):
            line = self._lines[at]
            after = None
            if begin := _BEGIN.fullmatch(line):
                after = self._armoured(begin[1], at)
            elif begin := _UUENCODED.fullmatch(line.rstrip()):
                after = self._file(begin, at)
            if after is None:
                self.out.append(line)
            at = at + 1 if after is None else after
        return "\n".join(self.out), self.enclosed

    def _next(self, what: str, at: int) -> int | None:
        places = self._places.get(what, [])
        found = bisect.bisect_right(places, at)
        return places[found] if found < len(places) else None

    def _armoured(self, label: str, at: int) -> int | None:
        """The line behind what is armoured from here on; None where it does not end."""
        end = self._next(_SIGNATURE if label == _SIGNED else label, at)
        if end is None:
            return None
        if label == _SIGNED:
            seal = self._next(f"begin {_SIGNATURE}", at)
            if seal is None or seal > end:
                return None
            while at < seal and self._lines[at].strip():  # its own header
                at += 1
            self.out += [line.removeprefix("- ") for line in self._lines[at + 1 : seal]]
        elif label == _MESSAGE:
            self.enclosed.append(Enclosed("encrypted message", None))
        return end + 1

    def _file(self, begin: re.Match[str], at: int) -> int | None:
        """The line behind a uuencoded file, which is kept; None for lines that are none."""
        end = self._next(_UUENCODED_ENDS[0], at)
        if end is None:
            return None
        try:
            data = b"".join(self._decoded(at + 1, end, in_base64=begin[1] is not None))
        except (binascii.Error, ValueError):
            return None
        self.enclosed.append(Enclosed(begin[2].strip(), data))
        return end + 1

    def _decoded(self, start: int, end: int, *, in_base64: bool) -> Iterator[bytes]:
        for at in range(start, end):
            line = self._lines[at]
            if in_base64:
                yield base64.b64decode(line, validate=True)
            elif line.strip("` "):
                yield binascii.a2b_uu(line)
