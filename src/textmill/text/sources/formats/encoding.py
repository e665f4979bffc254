"""Bytes into text when nobody says how: byte order marks, UTF-8, declarations, then the likeliest words.

A wrong guess poisons a corpus silently, so bytes that are not clearly words of a language are skipped.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterable, Iterator

from textmill.text.sources.formats import charset as charsets
from textmill.text.sources.formats import letters
from textmill.text.sources.formats.stream import SetAside

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (
    (b"%PDF-", "a PDF file"),
    (b"PK\x03\x04", "a zip file under another file extension"),
    (b"\x1f\x8b", "a gzip file under another file extension"),
    (b"BZh", "a bzip2 file under another file extension"),
    (b"\xfd7zXZ\x00", "an xz file under another file extension"),
    (b"(\xb5/\xfd", "a zstd file under another file extension"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    (b"Rar!", "a rar file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x7fELF", "an executable program"),
    (b"MZ", "an executable program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"PAR1", "a Parquet file under another file extension"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\f\r\x1a\x1b")) + b"\x7f"
_CONTROL_CHARACTERS = re.compile(f"[{re.escape(_CONTROLS.decode('ascii'))}]")
_MOST_CONTROLS = 0.01  # share of control bytes from which bytes are not text
_SAMPLE = 1 << 16
_STRAY = 0.02  # share of zero bytes up to which they are strays in a text
_BROKEN = 0.001  # share of characters that may be broken in an encoding that is otherwise certain
_END = "\x1a"  # of a file, in DOS
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_SEVEN_BITS = ("iso2022_jp_extended", "iso2022_kr", "hz", "utf-7")
_SOUND = re.compile(r"[^\x00-\x7f\ufffd]")
_JOINT = re.compile("(?<=\n)\ufeff")
_BETWEEN = re.compile(rb"[/. -]")  # words of names; `_` may be half of a character, as in 契 of Shift-JIS
_MARKUP = re.compile(rb"""(?:encoding|charset)\s*=\s*["']?([-\w.]+)""", re.IGNORECASE)  # XML 1.0 §4.3.3, HTML


def marked(head: bytes) -> str | None:
    """The encoding the byte order mark at the head of a file names, if there is one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: by the zeros of Western text in it, or by the words it makes."""
    sample = head[: min(len(head), _SAMPLE) & ~3] if len(head) >= 4 else b""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if even + odd >= half:
        for name in ("utf-32-le", "utf-32-be"):
            with contextlib.suppress(UnicodeDecodeError):
                sample.decode(name)
                return name if sample else None
    if odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.7 * half and odd < 0.05 * half:
        return "utf-16-be"
    return letters.wide(sample) or None


def refuse_binary(head: bytes) -> None:
    """Raises SetAside when the first bytes of a file are not text."""
    first = head[:_SAMPLE]
    sample = (
        first.rstrip(b"\0") or first
    )  # zeros behind a text fill up what was cut off, or a block of a disk
    magic = next((kind for start, kind in _MAGIC if sample.startswith(start)), "")
    zeros = sample.count(0)
    controls = len(sample) - len(sample.translate(None, _CONTROLS)) - zeros
    refused = ""
    if zeros > max(1, _STRAY * len(sample)) or (magic and 0 in first):
        refused = "holds zero bytes"
    elif controls > max(1, _MOST_CONTROLS * len(sample)):
        refused = f"{controls} of its first {len(sample)} bytes are control characters"
    if refused and not marked(head) and not charsets.escaped(sample) and not wide(head):
        raise SetAside("is not text", magic or refused)
    if magic and magic != "an executable program" and not refused:  # text may well begin with the letters MZ
        raise SetAside("is not text", magic)


def refuse_controls(text: str) -> None:
    """Raises SetAside for what decoded well and is no text: sound in 16 bits passes for UTF-16, say."""
    sample = text[:_SAMPLE].rstrip("\0") or text[:_SAMPLE]
    zeros = sample.count("\0")
    if zeros > max(1, _STRAY * len(sample)):
        raise SetAside("is not text", "holds zero bytes")
    controls = len(_CONTROL_CHARACTERS.findall(sample)) - zeros
    if controls > max(1, _MOST_CONTROLS * len(sample)):
        raise SetAside(
            "is not text", f"{controls} of its first {len(sample)} characters are control characters"
        )


def decode(data: bytes, name: str = "", charset: str = "") -> tuple[str, str]:
    """The text of a whole file and the encoding it was in.

    data: the file's bytes; name: its name, whose file extension says which declarations to look for; charset: what
    whoever sent it (a mail, a web server) said of it.
    Raises SetAside for binary data and for encodings that cannot be told.
    """
    refuse_binary(data)
    text, encoding = _decoded(data, name, charset)
    refuse_controls(text)
    if "\0" in text:
        text = text.replace("\0", "")
    if text.endswith(_END):
        text = text.rstrip(_END)
    if encoding == "utf-8-sig" and "\ufeff" in text:  # marked files put one behind another
        text = _JOINT.sub("", text)
    return text, encoding


def of_names(raw: Iterable[bytes]) -> str:
    """The encoding of some names or headings that belong together; empty where none is likely.

    They are not learnt from, so the likeliest reading is taken where a text would be skipped.
    """
    together = b"\n".join(raw)
    if _is_utf8(together):
        return "utf-8"
    likeliest = letters.readings(_BETWEEN.sub(b"\n", together))
    return likeliest[0][1].encoding if likeliest and likeliest[0][1].natural else ""


def heading(raw: bytes, charset: str = "") -> str:
    """A short text, such as a header of a mail, in the encoding it is said to be in or is likeliest to be in."""
    for encoding in filter(None, ("utf-8", charsets.named(charset), of_names([raw]))):
        with contextlib.suppress(UnicodeDecodeError):
            return charsets.decoded(raw, encoding)
    return raw.decode("utf-8", "replace")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decoded(data: bytes, name: str, charset: str) -> tuple[str, str]:
    for encoding in _claims(data, name, charset):
        try:
            return charsets.decoded(data, encoding), encoding
        except UnicodeDecodeError:
            continue
    text, damage = _replaced(data, "utf-8")
    if len(_SOUND.findall(text)) >= 10 * damage:
        return text, f"utf-8, {damage} damaged"
    if bare := wide(data):
        return _mended(data, bare)
    if found := letters.reading(data):
        return _mended(data, found.encoding)
    raise SetAside("is in an unknown encoding", "save it as UTF-8")


def _mended(data: bytes, encoding: str) -> tuple[str, str]:
    """The text of bytes whose encoding is certain, with U+FFFD for the few that it does not have."""
    text, damage = _replaced(data, encoding)
    if damage > max(1, _BROKEN * len(text)):
        raise SetAside("is in an unknown encoding", "save it as UTF-8")
    return text, f"{encoding}, {damage} damaged" if damage else encoding


def _replaced(data: bytes, encoding: str) -> tuple[str, int]:
    text = data.decode(encoding, "replace")
    return text, text.count("\ufffd")


def _claims(data: bytes, name: str, charset: str) -> Iterator[str]:
    """Encodings to try strictly, most trustworthy first."""
    if mark := marked(data[:4]):
        yield mark
    if 0 in data[:_SAMPLE] and (bare := wide(data)):
        yield bare
    extension = name.lower().rpartition(".")[2]
    # Python itself believes the declaration before it tries UTF-8, and refuses unknown ones.
    if extension in ("py", "pyi", "pyw"):
        yield from filter(
            None, _declared(_COOKIE, b"\n".join(data[:400].split(b"\n", 2)[:2]), each_line=True)
        )
    declared = charsets.named(charset)
    if not declared and extension in ("xml", "html", "htm", "xhtml", "svg", "xht", "opf", "ncx"):
        declared = next(_declared(_MARKUP, data[:1024], each_line=False), "")
        if declared.startswith(("utf-16", "utf-32")):  # it could not have been read
            declared = ""
    if declared in _SEVEN_BITS:  # such bytes are always good UTF-8 as well
        yield declared
    if escaped := charsets.escaped(data):
        yield escaped
    yield "utf-8"
    if declared and letters.fits(data, declared):
        yield declared


def _declared(pattern: re.Pattern[bytes], head: bytes, *, each_line: bool) -> Iterator[str]:
    parts = head.split(b"\n") if each_line else [head]
    for part in parts:
        if (match := pattern.search(part)) and (codec := charsets.named(match[1].decode("ascii", "replace"))):
            yield codec
