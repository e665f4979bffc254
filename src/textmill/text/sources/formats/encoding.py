"""Bytes into text when nobody says how: byte order marks, UTF-8, declarations, then what the bytes look like.

A wrong guess poisons a corpus silently, so a guess must look right by the habits of the language it implies;
bytes that look like nothing known are set aside.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

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
    (b"PK\x03\x04", "a zip file by another name"),
    (b"\x1f\x8b", "a gzip file by another name"),
    (b"BZh", "a bzip2 file by another name"),
    (b"\xfd7zXZ\x00", "an xz file by another name"),
    (b"(\xb5/\xfd", "a zstd file by another name"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    (b"Rar!", "a rar file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"PAR1", "a Parquet file by another name"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\f\r\x1a\x1b")) + b"\x7f"
_CONTROL_CHARACTERS = re.compile(f"[{re.escape(_CONTROLS.decode('ascii'))}]")
_MOST_CONTROLS = 0.01  # share of control bytes from which bytes are not text
_SAMPLE = 1 << 16
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
# What senders mean by a name (WHATWG Encoding Standard §4.2: labels), where Python takes it to the letter.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
_SEVEN_BITS = ("iso2022_jp", "iso2022_jp_2", "iso2022_kr", "hz", "utf-7")
_MARKUP = re.compile(rb"""(?:encoding|charset)\s*=\s*["']?([-\w.]+)""", re.IGNORECASE)  # XML 1.0 §4.3.3, HTML


def marked(head: bytes) -> str | None:
    """The encoding the byte order mark at the head of a file names, if there is one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def wide(head: bytes) -> str | None:
    """UTF-16 without a mark: nearly every other byte of Western text in it is zero."""
    sample = head[: min(len(head), _SAMPLE) & ~1]
    if len(sample) < 4:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.7 * half and odd < 0.05 * half:
        return "utf-16-be"
    return None


def refuse_binary(head: bytes) -> None:
    """Raises SetAside when the first bytes of a file are not text."""
    if marked(head) or wide(head):
        return
    sample = head[:_SAMPLE]
    magic = next((kind for start, kind in _MAGIC if sample.startswith(start)), "")
    if 0 in sample:
        raise SetAside("is not text", magic or "holds zero bytes")
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls > max(1, _MOST_CONTROLS * len(sample)):
        raise SetAside(
            "is not text", magic or f"{controls} of its first {len(sample)} bytes are control characters"
        )
    if magic and magic != "a program":  # text may well begin with the letters MZ
        raise SetAside("is not text", magic)


def refuse_controls(text: str) -> None:
    """Raises SetAside for what decoded well and is no text: sound in 16 bits passes for UTF-16, say."""
    if "\0" in text:
        raise SetAside("is not text", "holds zero bytes")
    sample = text[:_SAMPLE]
    controls = len(_CONTROL_CHARACTERS.findall(sample))
    if controls > max(1, _MOST_CONTROLS * len(sample)):
        raise SetAside(
            "is not text", f"{controls} of its first {len(sample)} characters are control characters"
        )


def decode(data: bytes, name: str = "", charset: str = "") -> tuple[str, str]:
    """The text of a whole file and the encoding it was in.

    data: the file's bytes; name: its name, whose ending says which declarations to look for; charset: what
    whoever sent it (a mail, a web server) said of it.
    Raises SetAside for binary data and for encodings that cannot be told.
    """
    refuse_binary(data)
    for encoding in _claims(data, name, charset):
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        refuse_controls(text)
        return text, encoding
    if 0 in data:
        raise SetAside("is not text", "holds zero bytes")
    for encoding, looks_right in _GUESSES:
        if looks_right(data):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError:
                continue
    repaired, damage = _damaged_utf8(data)
    if repaired is not None:
        return repaired, f"utf-8, {damage} damaged"
    raise SetAside("is in an encoding that cannot be told", "save it as UTF-8")


def _claims(data: bytes, name: str, charset: str) -> Iterator[str]:
    """Encodings to try strictly, most trustworthy first."""
    if mark := marked(data[:4]):
        yield mark
    if bare := wide(data):
        yield bare
    ending = name.lower().rpartition(".")[2]
    # Python itself believes the declaration before it tries UTF-8, and refuses unknown ones.
    if ending in ("py", "pyi", "pyw"):
        yield from _declared(_COOKIE, b"\n".join(data[:400].split(b"\n", 2)[:2]), each_line=True)
    declared = _codec(charset.encode("ascii", "replace"))
    if not declared and ending in ("xml", "html", "htm", "xhtml", "svg"):
        declared = next(_declared(_MARKUP, data[:1024], each_line=False), "")
    declared = _MEANT.get(declared, declared)
    if declared in _SEVEN_BITS:  # such bytes are always good UTF-8 as well
        yield declared
    yield "utf-8"
    if declared:
        yield declared


def _declared(pattern: re.Pattern[bytes], head: bytes, *, each_line: bool) -> Iterator[str]:
    parts = head.split(b"\n") if each_line else [head]
    for part in parts:
        if (match := pattern.search(part)) and (codec := _codec(match[1])):
            yield codec


def _codec(name: bytes) -> str:
    """Python's name for an encoding of text; empty when there is no such encoding, or it is not one of text (rot13)."""
    try:
        codec = codecs.lookup(name.decode("ascii", "replace"))
        text_codec = isinstance("".encode(codec.name), bytes) and isinstance(b"".decode(codec.name), str)
    except (LookupError, UnicodeError, TypeError, ValueError):
        return ""
    return codec.name if text_codec else ""


# --- what bytes look like -----------------------------------------------------------------------------------------
_HIGH_PAIR = re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_FREQUENT = frozenset(
    character.encode("gb2312")
    for character in "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过"
    "家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知明"
)
_LETTERS_1252 = frozenset(b"\x8a\x8c\x8e\x9a\x9c\x9e\x9f" + bytes(set(range(0xC0, 0x100)) - {0xD7, 0xF7}))


def _share(data: bytes, leads: range, trails: range, among: list[bytes]) -> float:
    """The share of two-byte characters whose bytes fall in the given ranges."""
    return sum(pair[0] in leads and pair[1] in trails for pair in among) / max(1, len(among))


def _pairs(data: bytes) -> list[bytes]:
    return _HIGH_PAIR.findall(data[:_SAMPLE])


def _chinese(data: bytes) -> bool:
    """GB18030: nine in ten characters are punctuation (rows 1 to 3) or the 3755 common ideographs of GB 2312.

    Korean in EUC-KR fills rows 16 to 40 only, and Japanese in EUC-JP is half kana (rows 4 and 5): a fifth of
    the characters must lie in rows 41 to 55, or be among the hundred that make up two fifths of Chinese text.
    """
    pairs = _pairs(data)
    common = _share(data, range(0xB0, 0xD8), range(0xA1, 0xFF), pairs)
    marks = _share(data, range(0xA1, 0xA4), range(0xA1, 0xFF), pairs)
    late = _share(data, range(0xC9, 0xD8), range(0xA1, 0xFF), pairs)
    frequent = sum(pair in _FREQUENT for pair in pairs) / max(1, len(pairs))
    distinctive = late >= 0.2 or frequent >= 0.15
    return len(pairs) >= 2 and common >= 0.4 and common + marks >= 0.9 and distinctive


def _japanese(data: bytes) -> bool:
    """EUC-JP: a quarter or more of the characters are kana."""
    pairs = _pairs(data)
    kana = _share(data, range(0xA4, 0xA6), range(0xA1, 0xF7), pairs)
    return (
        len(pairs) >= 4 and kana >= 0.25 and _share(data, range(0xA1, 0xF5), range(0xA1, 0xFF), pairs) >= 0.95
    )


def _japanese_shift(data: bytes) -> bool:
    """Shift JIS: a quarter or more of the characters are kana (lead bytes 82 and 83)."""
    pairs = _pairs(data)
    return len(pairs) >= 4 and _share(data, range(0x82, 0x84), range(0x40, 0xF2), pairs) >= 0.25


def _korean(data: bytes) -> bool:
    """EUC-KR: nearly all characters are hangul (rows 16 to 40)."""
    pairs = _pairs(data)
    return len(pairs) >= 4 and _share(data, range(0xB0, 0xC9), range(0xA1, 0xFF), pairs) >= 0.9


def _traditional(data: bytes) -> bool:
    """Big5: nine in ten characters are punctuation or of the 5401 common ideographs (lead bytes A1 to C6)."""
    pairs = _pairs(data)
    low = _share(data, range(0xA4, 0xC7), range(0x40, 0x7F), pairs)
    return (
        len(pairs) >= 4 and low >= 0.15 and _share(data, range(0xA1, 0xC7), range(0x40, 0xFF), pairs) >= 0.9
    )


def _cyrillic(data: bytes, lower: range, upper: range) -> bool:
    """Words of high bytes, nine in ten of them small letters or first letters."""
    runs = [run for run in _HIGH_RUN.findall(data[:_SAMPLE]) if len(run) >= 2]
    total = sum(map(len, runs))
    fits = sum(sum(byte in lower for byte in run[1:]) + (run[0] in lower or run[0] in upper) for run in runs)
    return total >= 8 and fits >= 0.9 * total


def _western(data: bytes) -> bool:
    """Windows-1252: accented letters stand singly between plain ones, so long runs of them are rare."""
    runs = [sum(byte in _LETTERS_1252 for byte in run) for run in _HIGH_RUN.findall(data[:_SAMPLE])]
    letters = sum(runs)
    plain = len(re.findall(rb"[A-Za-z]", data[:_SAMPLE]))
    return letters <= plain and sum(run for run in runs if run >= 3) <= 0.2 * letters


_GUESSES = (
    ("gb18030", _chinese),
    ("euc_jp", _japanese),
    ("euc_kr", _korean),
    ("shift_jis", _japanese_shift),
    ("big5", _traditional),
    ("cp1251", lambda data: _cyrillic(data, range(0xE0, 0x100), range(0xC0, 0xE0))),
    ("koi8-r", lambda data: _cyrillic(data, range(0xC0, 0xE0), range(0xE0, 0x100))),
    ("cp1252", _western),
)


def _damaged_utf8(data: bytes) -> tuple[str | None, int]:
    """UTF-8 with a few broken bytes, each replaced by U+FFFD; None when it was hardly UTF-8 to begin with."""
    text = data.decode("utf-8", "replace")
    damage = text.count("\ufffd")
    sound = len(re.findall(r"[^\x00-\x7f\ufffd]", text))
    return (text, damage) if sound >= 10 * damage else (None, damage)
