"""The bodies of messages as they were meant: transfer encodings, flowed lines, and what stands armoured within them.

Senders break every rule here: base64 that ends too early, encodings with comments behind them, letters and keys in
PGP's armour, files uuencoded between two lines. What is no text is taken out of it, and said.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

_COMMENT = re.compile(r"[;(]")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_SIGNED = re.compile(
    r"^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\n(?:[^\n]+\n)*\n(.*?)^-----BEGIN PGP SIGNATURE-----.*?"
    r"^-----END PGP SIGNATURE-----[ \t]*$\n?",
    re.MULTILINE | re.DOTALL,
)
_DASHED = re.compile(r"^- ", re.MULTILINE)
_ARMOURED = re.compile(
    r"^-----BEGIN (PGP [A-Z ]+|[A-Z0-9 ]*(?:KEY|CERTIFICATE|PKCS7|CMS)[A-Z0-9 ]*)-----[ \t]*\n"
    r"(?:[^\n]*\n){1,20000}?-----END \1-----[ \t]*$\n?",
    re.MULTILINE,
)
_UUENCODED = re.compile(
    r"^begin(?P<base64>-base64)? [0-7]{3,4} (?P<name>[^\n]{1,200})\n"
    r"(?P<lines>(?:[\x20-\x7e]{1,80}\n){1,200000}?)(?:end|====)[ \t]*$\n?",
    re.MULTILINE,
)


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
        return _from_base64(raw.encode("ascii", "replace"))
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


def opened(text: str) -> tuple[str, list[Enclosed]]:
    """A text without what is armoured or encoded in it, and that; one that is only signed stays, without its seal."""
    enclosed: list[Enclosed] = []
    if "-----BEGIN " in text:
        text = _SIGNED.sub(lambda match: _DASHED.sub("", match[1]), text)
        for match in _ARMOURED.finditer(text):
            if match[1] == "PGP MESSAGE":
                enclosed.append(Enclosed("encrypted message", None))
        text = _ARMOURED.sub("", text)
    if "\nbegin" in f"\n{text}":
        enclosed += [file for match in _UUENCODED.finditer(text) if (file := _file(match))]
        text = _UUENCODED.sub(lambda match: match[0] if _file(match) is None else "", text)
    return text, enclosed


def _file(match: re.Match[str]) -> Enclosed | None:
    """The file of a uuencoded block; None for lines that are no such block."""
    try:
        data = b"".join(_lines(match["lines"], in_base64=match["base64"] is not None))
    except (binascii.Error, ValueError):
        return None
    return Enclosed(match["name"].strip(), data)


def _lines(lines: str, *, in_base64: bool) -> Iterator[bytes]:
    for line in lines.splitlines():
        if in_base64:
            yield base64.b64decode(line, validate=True)
        elif line.strip("` "):
            yield binascii.a2b_uu(line)
