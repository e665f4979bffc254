"""Cleaning, step by step. A step takes items and gives one back for each, so nothing is ever lost on the way.

Every text step is idempotent: cleaning what is clean changes nothing.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import (
    BoilerplateStep,
    C4Step,
    ChineseStep,
    ClassifierStep,
    CleaningStep,
    ContaminationStep,
    ExactDuplicatesStep,
    FineWebStep,
    FtfyStep,
    GopherStep,
    LanguageStep,
    LengthStep,
    NearDuplicatesStep,
    PersonalDataStep,
    RepairStep,
    SegmentStep,
    StopWordsStep,
    SubstringsStep,
    UnicodeStep,
    WhitespaceStep,
)
from textmill.text import c4, classifier, fineweb, gopher
from textmill.text.boilerplate import boilerplate
from textmill.text.chinese import chinese
from textmill.text.contamination import contamination
from textmill.text.document import Document, Item, Rejected, Step, reject
from textmill.text.duplicates import ExactDuplicates
from textmill.text.language import language
from textmill.text.near_duplicates import NearDuplicates
from textmill.text.privacy import personal_data
from textmill.text.repairs import ftfy_step
from textmill.text.segmentation import segment
from textmill.text.step import CorpusStep, Sketched, carry_out
from textmill.text.stop_words import stop_words
from textmill.text.substrings import Substrings


def apply(items: Iterable[Item], steps: tuple[CleaningStep, ...]) -> Iterator[Item]:
    """Run the steps in their order over a stream; what is set aside passes on untouched.

    Before a corpus step the whole stream is gathered in memory: for more text than that there is `text.engine`.
    Raises TextmillError when a step lost or invented an item (read = kept + set aside).
    """
    stream: Iterator[Item] = iter(items)
    for spec in steps:
        corpus_step = CORPUS_STEPS.get(type(spec))
        stream = (
            _whole(corpus_step(spec), stream) if corpus_step else conserved(STEPS[type(spec)](spec), stream)
        )
    yield from stream


def conserved(step: Step, items: Iterable[Item]) -> Iterator[Item]:
    """What a document step makes of a stream. Raises TextmillError when it is not one for one."""
    given = made = 0

    def counted() -> Iterator[Item]:
        nonlocal given
        for item in items:
            given += 1
            yield item

    for item in step(counted()):
        made += 1
        yield item
    if made != given:
        raise TextmillError(
            f"{given} documents went in and {made} came out", where="cleaning", advice="report this"
        )


def _whole(step: CorpusStep, items: Iterable[Item]) -> Iterator[Item]:
    """What a corpus step makes of a stream, in memory."""
    gathered = list(items)
    documents = [item for item in gathered if isinstance(item, Document)]
    sketched = [
        Sketched(number, document.id, len(document.text), sketch)
        for number, (document, sketch) in enumerate(zip(documents, step.sketch(documents), strict=True))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        verdicts = dict(step.decide(lambda: sketched, Path(scratch)))
    number = 0
    for item in gathered:
        if isinstance(item, Document):
            verdict = verdicts.get(number)
            number += 1
            yield item if verdict is None else carry_out(item, verdict, step.name)
        else:
            yield item


def _each(change: Callable[[str], str]) -> Step:
    """A step that changes the text of every document."""

    def step(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Document) and (text := change(item.text)) != item.text:
                yield replace(item, text=text)
            else:
                yield item

    return step


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
        while found := _SEQUENCE.match(run, end):
            end = found.end()
            count += 1
        if end < len(run):
            return False
        strong = strong or bool(_STRONG.match(run))
    return strong or count >= 2


_ESCAPES = re.compile(
    r"\x1b\[[0-9;:?]{0,64}[ -/]{0,8}[@-~]"
)  # colours and cursor moves of terminals (ECMA-48 §5.4)
_BREAKS = str.maketrans({"\x0b": "\n", "\x0c": "\n", "\x85": "\n"})
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufeff\ufffe\uffff]")
_ASCII_CONTROLS = bytes(code for code in range(128) if _CONTROLS.match(chr(code)))
_C1 = re.compile("[\x80-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def repair(text: str) -> str:
    """Text without control characters, byte order marks and lone surrogates, and with UTF-8 read as
    Windows-1252 put right. Page and line separators among the controls become line ends.

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
    if "\x0b" in text or "\x0c" in text or "\x85" in text:
        text = text.translate(_BREAKS)
    # Only now, since they are the tails of many sequences.
    return text if text.isascii() else _C1.sub("", text)


# --- Unicode ------------------------------------------------------------------------------------------------------
_MOST_MARKS = (
    30  # UAX #15 §13, stream-safe text: longer runs of marks are in no language, and cost quadratic time
)


def _mark_ranges() -> str:
    """The combining marks as the inside of a character class: ranges, since a list of them is slow to search."""
    ranges: list[list[int]] = []
    for code in range(0x300, 0x20000):
        if unicodedata.combining(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


_MARK_RUN = re.compile(f"[{_mark_ranges()}]{{{_MOST_MARKS + 1},}}")


def normalise(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Text in a Unicode normal form (UAX #15); runs of over 30 combining marks are cut to 30."""
    if text.isascii():
        return text
    # Cut before, for the time it takes, and after, since one mark may decompose into two.
    return _cut_marks(unicodedata.normalize(form, _cut_marks(text)))


def _cut_marks(text: str) -> str:
    return _MARK_RUN.sub(lambda run: run[0][:_MOST_MARKS], text)


# --- whitespace ---------------------------------------------------------------------------------------------------


def whitespace(text: str, blank_lines: int) -> str:
    """Text with `\\n` line ends, no blanks at line ends, no empty lines at its ends and few within.

    Blanks at the beginning of lines stay: they are the grammar of code. A last line end stays as well.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    # Not a regular expression: `[ \t]+$` is quadratic on a long run of blanks inside a line.
    text = "\n".join([line.rstrip() for line in text.split("\n")])
    ended = text.endswith("\n")
    text = text.strip("\n")
    if "\n" * (blank_lines + 2) in text:
        text = re.sub(f"\n{{{blank_lines + 2},}}", "\n" * (blank_lines + 1), text)
    return f"{text}\n" if ended and text else text


# --- length -------------------------------------------------------------------------------------------------------
def _length(least: int, most: int | None) -> Step:
    def step(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            size = len(item.text) if isinstance(item, Document) else 0
            if isinstance(item, Rejected):
                yield item
            elif size < least:
                yield reject(item, "length", f"is shorter than {least} characters", f"{size}")
            elif most is not None and size > most:
                yield reject(item, "length", f"is longer than {most} characters", f"{size}")
            else:
                yield item

    return step


# What each step of a recipe does: spec -> step. A new step is one module and one line here.
STEPS: dict[type, Callable[[Any], Step]] = {
    RepairStep: lambda spec: _each(repair),
    UnicodeStep: lambda spec: _each(partial(normalise, form=spec.form)),
    WhitespaceStep: lambda spec: _each(partial(whitespace, blank_lines=spec.blank_lines)),
    LengthStep: lambda spec: _length(spec.least, spec.most),
    FtfyStep: lambda spec: _each(ftfy_step()),
    ChineseStep: lambda spec: _each(chinese(spec)),
    BoilerplateStep: lambda spec: _each(partial(boilerplate, repeats=spec.repeats)),
    LanguageStep: language,
    PersonalDataStep: personal_data,
    SegmentStep: segment,
    StopWordsStep: stop_words,
    ContaminationStep: contamination,
    GopherStep: gopher.step,
    C4Step: c4.step,
    FineWebStep: fineweb.step,
    ClassifierStep: classifier.step,
}
# Steps that must know every document: spec -> step.
CORPUS_STEPS: dict[type, Callable[[Any], CorpusStep]] = {
    ExactDuplicatesStep: lambda spec: ExactDuplicates(),
    NearDuplicatesStep: NearDuplicates,
    SubstringsStep: Substrings,
}
# Files that a step reads, relative to the working folder: they decide the corpus too.
STEP_FILES: dict[type, Callable[[Any], tuple[str, ...]]] = {
    ClassifierStep: classifier.files,
    ContaminationStep: lambda spec: spec.files,
}
