"""What the name of an encoding means, and the decoder browsers use for it: one table for pages, mail, books and files.

Names and decoders follow the WHATWG Encoding Standard, which describes what senders mean: `iso-8859-1` is
Windows-1252, `gb2312` is GB 18030, `shift_jis`, `euc-kr` and `big5` have the extensions of Windows and of Hong Kong.
Encodings of mail that browsers no longer read (HZ, ISO-2022-KR, UTF-7) and Python's others keep Python's decoders.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable

# Python's name -> what senders mean by it (§4.2: labels).
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    **dict.fromkeys(("big5", "cp950", "big5hkscs"), "big5_extended"),
    "euc_jp": "euc_jp_extended",
    **dict.fromkeys(("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_ext"), "iso2022_jp_extended"),
}
# Names of §4.2 that Python does not know, by Python's name, and some that mail programs use.
_UNKNOWN = {
    name: codec
    for codec, names in {
        "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 utf8mb4 utf-8-mac",
        "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff",
        "utf-16-be": "unicodefffe",
        "cp866": "866",
        "iso8859-2": "iso88592",
        "iso8859-3": "iso88593",
        "iso8859-4": "iso88594",
        "iso8859-5": "iso88595",
        "iso8859-6": "csiso88596e csiso88596i iso-8859-6-e iso-8859-6-i iso88596",
        "iso8859-7": "iso88597 sun_eu_greek",
        "iso8859-8": "csiso88598e csiso88598i iso-8859-8-e iso-8859-8-i iso88598 logical visual",
        "iso8859-10": "iso885910",
        "iso8859-13": "iso885913",
        "iso8859-14": "iso885914",
        "iso8859-15": "csisolatin9 iso885915",
        "koi8-r": "koi koi8",
        "koi8-u": "koi8-ru",
        "mac-roman": "csmacintosh mac x-mac-roman",
        "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
        "mac-greek": "x-mac-greek",
        "mac-latin2": "x-mac-ce x-mac-centraleurroman",
        "mac-turkish": "x-mac-turkish",
        "cp874": "dos-874 iso885911 windows-874",
        "cp1250": "x-cp1250",
        "cp1251": "x-cp1251",
        "cp1252": "csisolatin1 iso88591 x-cp1252 x-ansi ansi",
        "cp1253": "x-cp1253",
        "cp1254": "csisolatin5 iso88599 x-cp1254",
        "cp1255": "x-cp1255",
        "cp1256": "x-cp1256",
        "cp1257": "x-cp1257",
        "cp1258": "x-cp1258",
        "gb18030": "csgb2312 gb_2312 gb_2312-80 x-gbk cn-gb windows-936",
        "big5": "cn-big5 x-x-big5 windows-950 big5-eten x-windows-950",
        "euc_jp": "cseucpkdfmtjapanese x-euc-jp eucjp-ms cp51932 eucjp-win",
        "cp932": "csshiftjis windows-31j x-sjis x-ms-cp932 windows-932",
        "cp949": "cseuckr csksc56011987 iso-ir-149 ks_c_5601-1989 ksc_5601 windows-949 x-windows-949",
        "iso2022_jp": "cp50220 cp50221 cp50222",
        "hz": "hz-gb-2312",
    }.items()
    for name in names.split()
}


@functools.lru_cache
def named(label: str) -> str:
    """The encoding a label means, by its name here; empty when there is none, or it is not one of text (rot13)."""
    label = label.strip(" \t\r\n\f\"'").lower()
    if not label.isascii() or "\0" in label:
        return ""
    try:
        codec = codecs.lookup(_UNKNOWN.get(label, label)).name
        if not isinstance("".encode(codec), bytes) or not isinstance(b"".decode(codec), str):
            return ""
    except (LookupError, UnicodeError, TypeError, ValueError):
        return ""
    return _MEANT.get(codec, codec)


def decoded(data: bytes, encoding: str) -> str:
    """The text of bytes in an encoding of `named`, as browsers decode it. Raises UnicodeDecodeError."""
    return data.decode(encoding, _BROWSERS)


# --- code pages with holes ----------------------------------------------------------------------------------------
_BROWSERS = "textmill-browsers"


def _as_browsers(error: UnicodeError) -> tuple[str, int]:
    """A byte from 80 to 9F that a code page does not have is the control character of that number (§9.1)."""
    if isinstance(error, UnicodeDecodeError) and error.end == error.start + 1:
        byte = error.object[error.start]
        if 0x80 <= byte < 0xA0 and error.encoding == "charmap":
            return chr(byte), error.end
        if byte == 0x80 and error.encoding.startswith("gb"):
            return "€", error.end  # §10.1.1
    raise error


codecs.register_error(_BROWSERS, _as_browsers)


# --- two bytes per character ----------------------------------------------------------------------------------------
_EUC = re.compile(rb"[\x00-\x7f]+|\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}|[\xa1-\xfe]{2}|[\x80-\xff]")
_BIG5 = re.compile(rb"[\x00-\x7f]+|[\x81-\xfe][\x40-\x7e\xa1-\xfe]|[\x80-\xff]")


def _by_table(
    data: bytes, errors: str, pieces: re.Pattern[bytes], one: Callable[[bytes], str], name: str
) -> str:
    """Decode piece by piece, each by `one`, which raises UnicodeDecodeError for what is not a character."""
    known: dict[bytes, str] = {}
    out: list[str] = []
    for match in pieces.finditer(data):
        piece = match[0]
        if (text := known.get(piece)) is None:
            try:
                text = one(piece)
            except UnicodeDecodeError as error:
                fault = UnicodeDecodeError(name, data, match.start(), match.end(), error.reason)
                text = str(codecs.lookup_error(errors)(fault)[0])
            else:
                if len(piece) <= 3:
                    known[piece] = text
        out.append(text)
    return "".join(out)


def _euc_jp(data: bytes, errors: str = "strict") -> str:
    """EUC-JP with the rows of NEC and IBM that Windows added: JIS X 0208 is read by Windows' own table of it."""
    return _by_table(data, errors, _EUC, _euc_piece, "euc_jp_extended")


def _euc_piece(piece: bytes) -> str:
    if len(piece) != 2 or piece[0] < 0xA1:
        return piece.decode("euc_jp")
    row, cell = piece[0] - 0xA0, piece[1] - 0xA0
    lead = (row + 1) // 2 + (0x80 if row <= 62 else 0xC0)
    trail = (cell + 0x3F + (cell > 63)) if row % 2 else cell + 0x9E
    return bytes((lead, trail)).decode("cp932")


def _big5(data: bytes, errors: str = "strict") -> str:
    """Big5 as Windows has it (with the characters of ETEN), and Hong Kong's supplement wherever that differs."""
    return _by_table(data, errors, _BIG5, _big5_piece, "big5_extended")


def _big5_piece(piece: bytes) -> str:
    supplement = b"\xc6\xa1" <= piece[:2] <= b"\xc8\xfe" or piece[:1] < b"\xa1" or piece[:1] > b"\xf9"
    return piece.decode("big5hkscs" if supplement and len(piece) == 2 else "cp950")


# --- seven bits ---------------------------------------------------------------------------------------------------
_JIS = re.compile(rb"\x1b(?:\$[@B]|\$\([D@B]|\([BJIH])")
_SETS = {b"\x1b$@": 2, b"\x1b$B": 2, b"\x1b$(@": 2, b"\x1b$(B": 2, b"\x1b$(D": 3, b"\x1b(I": 1}


def _iso_2022_jp(data: bytes, errors: str = "strict") -> str:
    """ISO-2022-JP (RFC 1468) with the vendors' rows, half-width katakana and JIS X 0212, by way of EUC-JP."""
    out, width, at = [], 0, 0
    for match in [*_JIS.finditer(data), None]:
        part = data[at : match.start() if match else len(data)]
        if width:
            part = _in_euc(part, width)
        out.append(_euc_jp(part, errors) if width else part.decode("ascii", errors))
        if match:
            width, at = _SETS.get(match[0], 0), match.end()
    return "".join(out)


def _in_euc(part: bytes, width: int) -> bytes:
    """Characters of a 7-bit set as EUC-JP has them: high, after 8E for katakana (width 1) and 8F for JIS X 0212 (3)."""
    high = bytes(byte | 0x80 if 0x20 < byte < 0x7F else byte for byte in part)
    if width == 1:
        return re.sub(rb"([\xa1-\xdf])", rb"\x8e\1", high)
    return re.sub(rb"([\xa1-\xfe]{2})", b"\x8f\\1", high) if width == 3 else high


# --- as codecs of Python --------------------------------------------------------------------------------------------
_OURS = {"big5_extended": _big5, "euc_jp_extended": _euc_jp, "iso2022_jp_extended": _iso_2022_jp}


def _found(name: str) -> codecs.CodecInfo | None:
    if name not in _OURS:
        return None
    whole = _OURS[name]

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        raise LookupError(f"{name} is only read, never written")

    def decode(
        data, errors: str = "strict"
    ) -> tuple[str, int]:  # of any buffer, which Python 3.11 cannot say
        held = bytes(data)
        return whole(held, errors), len(held)

    class Lines(codecs.BufferedIncrementalDecoder):
        """Decodes whole lines: none ends within a character, and in ISO-2022-JP each begins in ASCII."""

        def _buffer_decode(self, input, errors: str, final: bool) -> tuple[str, int]:
            held = bytes(input)
            end = len(held) if final else held.rfind(b"\n") + 1
            return whole(held[:end], errors), end

    return codecs.CodecInfo(
        encode, decode, incrementalencoder=codecs.IncrementalEncoder, incrementaldecoder=Lines, name=name
    )


codecs.register(_found)


# --- escapes --------------------------------------------------------------------------------------------------------
_ESCAPES = (
    (re.compile(rb"\x1b\$\)C"), "iso2022_kr"),  # RFC 1557
    (re.compile(rb"\x1b\$(?:[@B]|\([D@B])"), "iso2022_jp_extended"),
    (re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}"), "hz"),  # RFC 1843
)


def escaped(data: bytes) -> str:
    """The 7-bit encoding whose escapes these bytes have; empty for none, or when what they say is no text in it."""
    if b"\x1b$" not in data and b"~{" not in data:
        return ""
    for escape, encoding in _ESCAPES:
        if escape.search(data):
            try:
                text = decoded(data, encoding)
            except UnicodeDecodeError:
                continue
            if "\x1b" not in text and "\x0e" not in text:
                return encoding
    return ""
