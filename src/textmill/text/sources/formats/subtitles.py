"""Subtitles and lyrics: what is said, without times and styles.

SubRip (.srt), WebVTT (.vtt), SubViewer (.sbv), SubStation Alpha (.ass, .ssa), MicroDVD (.sub), LRC (.lrc).

A few lines of rules each, so no library (pysubs2 would do as well). A caption that repeats the line before it, as
rolling captions do, gives that line once.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from textmill.text.document import Document, collected
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.stream import Fields, Input, SetAside, read_whole

_TIMES = re.compile(r"\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*(?:-->\s*|,)(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}")
_TIMED_LINE = re.compile(r"\{\d+\}\{\d*\}(?:\{[^{}]*\})*|(?:\[\d+:\d{2}(?:[.:]\d{1,3})?\])+|<\d+:\d{2}\.\d+>")
_FACT = re.compile(r"\[(ti|ar|la):\s*([^\]]*)\]", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z0-9:.][^<>]*>|<\d[^<>]*>|\{\\[^{}]*\}")
_OVERRIDE = re.compile(r"\{[^{}]*\}")
_DRAWING = re.compile(r"\\p[1-9]")  # what follows are strokes, no words
_NOT_CAPTIONS = ("NOTE", "STYLE", "REGION")  # blocks of WebVTT §4.1
_LANGUAGE = re.compile(r"^Language:\s*(\S+)", re.MULTILINE)


def timed_blocks(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of an .srt or .vtt file: blocks set apart by empty lines, each with a line of times."""
    text, encoding = decode(read_whole(item), item.name)
    lines: list[str] = []
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        parts = block.strip("\n").split("\n")
        times = next((at for at, line in enumerate(parts[:3]) if _TIMES.match(line)), None)
        if times is not None and not parts[0].startswith(_NOT_CAPTIONS):
            for line in parts[times + 1 :]:
                _add(lines, html.unescape(_TAG.sub("", line)))
    head = text[:1000].partition("\n\n")[0] if text.lstrip("\ufeff").startswith("WEBVTT") else ""
    language = _LANGUAGE.search(head)
    yield _document(item, lines, encoding, facts(language=language[1] if language else ""))


def scripts(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of an .ass or .ssa file: its Dialogue lines in the order they are shown."""
    text, encoding = decode(read_whole(item), item.name)
    columns, spoken, title = ["start", *[""] * 8, "text"], [], ""
    within = ""
    for number, line in enumerate(text.splitlines()):
        key, _, value = line.partition(":")
        if line.startswith("["):
            within = line.strip().lower()
        elif within == "[script info]" and key == "Title":
            title = value
        elif within == "[events]" and key == "Format":
            columns = [name.strip().lower() for name in value.split(",")]
        elif within == "[events]" and key == "Dialogue":
            row = dict(zip(columns, value.split(",", len(columns) - 1), strict=False))
            spoken.append((_seconds(row.get("start", "")), number, row.get("text", "")))
    lines: list[str] = []
    for _, _, words in sorted(spoken):
        if not _DRAWING.search(words):
            for line in re.split(r"\\[Nn]", _OVERRIDE.sub("", words)):
                _add(lines, line.replace("\\h", " "))
    yield _document(item, lines, encoding, facts(title))


def lines(item: Input, fields: Fields) -> Iterator[Document]:
    """The one document of a .sub or .lrc file: a line for each time, parted by `|` in the first."""
    text, encoding = decode(read_whole(item), item.name)
    spoken: list[str] = []
    said: dict[str, str] = {}
    for line in text.splitlines():
        if fact := _FACT.match(line.strip()):
            said[fact[1].lower()] = fact[2]
        elif time := _TIMED_LINE.match(line.strip()):
            words = _OVERRIDE.sub("", _TIMED_LINE.sub("", line.strip()[time.end() :]))
            for each in words.split("|") if time[0].startswith("{") else [words]:
                _add(spoken, each)
    yield _document(
        item, spoken, encoding, facts(said.get("ti", ""), said.get("ar", ""), "", said.get("la", ""))
    )


def _seconds(time: str) -> float:
    try:
        hours, minutes, seconds = time.strip().split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return 0.0


def _add(lines: list[str], line: str) -> None:
    line = " ".join(line.split())
    if line and lines[-1:] != [line]:
        lines.append(line)


def _document(item: Input, lines: list[str], encoding: str, metadata: dict[str, str]) -> Document:
    if not lines:
        raise SetAside("holds no text", "it has no captions")
    more = {} if encoding in ("utf-8", "utf-8-sig") else {"encoding": encoding}
    return collected("\n".join(lines), item.place, {**metadata, **more})
