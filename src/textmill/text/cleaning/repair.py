"""Repair: text that was decoded wrongly, escapes and control characters."""

from __future__ import annotations

import re


# --- repair -------------------------------------------------------------------------------------------------------
def _byte_characters() -> dict[str, int]:
    """Every character a byte 0x80 to 0xFF becomes when read as Windows-1252 or as Latin-1."""
    table = {chr(byte): byte for byte in range(0x80, 0x100)}
    for byte in range(0x80, 0xA0):
        try:
            table[bytes([byte]).decode("cp1252")] = byte
        except UnicodeDecodeError:  # the five holes of Windows-1252
            continue
    return table


def _letters(low: int, high: int) -> str:
    return "[" + re.escape("".join(c for c, byte in _BYTES.items() if low <= byte <= high)) + "]"


_BYTES = _byte_characters()

_TO_LATIN = {ord(character): byte for character, byte in _BYTES.items()}

_TAIL = _letters(0x80, 0xBF)

# UTF-8 read byte by byte: sequences of two, three and four bytes.
_SEQUENCE = re.compile(
    f"{_letters(0xC2, 0xDF)}{_TAIL}|{_letters(0xE0, 0xEF)}{_TAIL}{{2}}|{_letters(0xF0, 0xF4)}{_TAIL}{{3}}"
)

# Two characters of other kinds are no evidence alone: `É»` may end a French quotation.
_STRONG = re.compile(f"{_letters(0xC2, 0xC3)}|{_letters(0xE0, 0xF4)}")

_LEADS = re.compile(_letters(0xC2, 0xF4))

_HIGH = re.compile(r"[^\x00-\x7f]+")

_ROUNDS = 4  # texts wrongly decoded again and again


def _repair_mojibake(line: str) -> str:
    """Undo UTF-8 read as Windows-1252 or Latin-1: `Ã©` becomes `é`.

    A line is changed only when all its non-ASCII characters take part and decode strictly, so that a genuine
    `Â` or `Ã` between other accented letters stays.
    """
    for _ in range(_ROUNDS):
        runs = _HIGH.findall(line)
        if not runs or not _misread(runs):
            break
        try:
            line = _HIGH.sub(lambda run: run[0].translate(_TO_LATIN).encode("latin-1").decode("utf-8"), line)
        except UnicodeDecodeError:
            break
    return line


def _misread(runs: list[str]) -> bool:
    """Whether runs of non-ASCII characters are nothing but sequences of UTF-8 read byte by byte."""
    count, strong = 0, False
    for run in runs:
        end = 0
        while match := _SEQUENCE.match(run, end):
            end = match.end()
            count += 1
        if end < len(run):
            return False
        strong = strong or bool(_STRONG.match(run))
    return strong or count >= 2


_ESCAPES = re.compile(
    r"\x1b\[[0-9;:?]{0,64}[ -/]{0,8}[@-~]"
)  # colours and cursor moves of terminals (ECMA-48 §5.4)

# Ends of lines and pages, and the separators of files, groups, records and fields: what they part stays parted.
_BREAKS = {ord(character): "\n" for character in "\x0b\x0c\x1c\x1d\x1e\x85"} | {0x1F: "\t"}

_PARTING = re.compile("[\x0b\x0c\x1c-\x1f\x85]")

_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f\ufeff\ufffe\uffff]")

_ASCII_CONTROLS = bytes(code for code in range(128) if _CONTROLS.match(chr(code)))

_C1 = re.compile("[\x80-\x9f]")

_SURROGATES = re.compile("[\ud800-\udfff]")


def repair(text: str) -> str:
    """Text without control characters, byte order marks and lone surrogates, and with UTF-8 read as
    Windows-1252 put right. Separators of pages, lines and records among the controls become line ends, those of
    fields tabs.

    Left to a later step (ftfy, with the `web` extra): HTML entities, other wrong encodings, lookalikes.
    """
    for _ in range(2 * _ROUNDS):  # what goes may join what stood apart
        repaired = _repair_once(text)
        if repaired == text:
            break
        text = repaired
    return text


def _repair_once(text: str) -> str:
    if not text.isascii() and _SURROGATES.search(
        text
    ):  # pairs become the character they stand for, single ones go
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if text.isascii():  # most text by far, and bytes are searched fifty times faster
        data = text.encode("ascii")
        kept = data.translate(None, _ASCII_CONTROLS)
        text = kept.decode("ascii") if len(kept) < len(data) else text
    else:
        text = _CONTROLS.sub("", text)
    if not text.isascii() and _LEADS.search(text):
        text = "\n".join([line if line.isascii() else _repair_mojibake(line) for line in text.split("\n")])
    if _PARTING.search(text):
        text = text.translate(_BREAKS)
    # Only now, since they are the tails of many sequences.
    return text if text.isascii() else _C1.sub("", text)
