"""Separated values: CSV, TSV and their like, with a header (RFC 4180). One row, one document.

A row that breaks the rules costs itself alone. Where a quote is never closed, reading goes on at the line after the
one that opened it, so a file is read = kept + skipped, row by row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from textmill.text.sources.formats.dialect import Dialect, Header, hinted, told
from textmill.text.sources.formats.forms import documents
from textmill.text.sources.formats.lines import (
    MARK,
    Lines,
    refuse_binary_records,
    sound,
    span,
    text_encoding,
    text_stream,
)
from textmill.text.sources.formats.records import Items, held, lacking, unread
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside

_SAMPLE = 1 << 16  # characters by which the dialect is told
_LONGEST_FIELD = (
    1 << 31
) - 1  # characters; the csv module has one cap for the whole process, ours is for lines
_NEAR = 100  # lines in which the end of a broken row is looked for
_FILLING = "\0\x1a"  # what stands behind the last row: zeros of a disk's block, the end of a file in DOS


def table_rows(item: Input, fields: Fields) -> Items:
    """The rows of a file of separated values; how they are separated and quoted is told from its first lines."""
    head = item.stream.read(BLOCK)
    refuse_binary_records(head)
    lines = Lines(text_stream(item, head, text_encoding(head)), item.limits.file_bytes)
    rows = _Rows(lines, _dialect(lines, item.name, fields))
    header = _header(rows, fields) if fields.header else None
    for number, row in rows.all:
        location = f"{item.place}:line {number}"
        if rows.feed.joined:
            rows.feed.joined = False
            if header and not isinstance(row, SetAside) and set(fields.columns) <= set(row):
                header = _header(rows, fields, row)
        if isinstance(row, SetAside):
            yield unread(location, row.reason, row.detail)
        elif row and row == rows.header_row:
            yield unread(location, "repeats the header")
        elif row:
            header = header or _numbered(rows, fields, row)
            yield from _made(row, header, location, fields)


def _header(rows: _Rows, fields: Fields, row: list[str] | SetAside | None = None) -> Header:
    """The header that a row is, the next one that holds anything where none is given. Raises SetAside without it."""
    while row is None or row == []:
        _, row = next(rows.all, (0, SetAside("is empty", "it is empty")))
    if isinstance(row, SetAside):
        raise SetAside(f"has no column {fields.columns[0]!r}", row.detail)
    return _found(rows.begin(row), fields)


def _numbered(rows: _Rows, fields: Fields, row: list[str]) -> Header:
    """The columns of a table without a header, as many as its first row has. Raises SetAside where texts lack one."""
    rows.header = Header.numbered(len(row))
    return _found(rows.header, fields)


def _found(header: Header, fields: Fields) -> Header:
    """The same header, which has the columns of all texts. Raises SetAside where it lacks one."""
    for role, column in fields.texts if fields.by_column else ():
        if held(header.names, column) is None:
            raise lacking("column", role, column.removeprefix("#"), header.names)
    return header


def _made(row: list[str], header: Header, location: str, fields: Fields) -> Items:
    if len(row) != len(header.names) and not header.fits(row):
        if len(row) == 1 and row[0] and not row[0].strip(_FILLING):
            if "\0" in row[0]:  # rows may have stood there before the file was cut off
                yield unread(location, "is not text", f"{row[0].count(chr(0)):,} zero bytes")
            return
        kind = "header" if fields.header else "first row"
        yield unread(
            location, f"has another number of fields than the {kind}", f"{len(row)}, not {len(header.names)}"
        )
    elif not all(map(sound, row)):
        yield unread(location, "is not valid in the encoding of its file")
    else:
        yield from documents(dict(zip(header.names, row, strict=False)), location, fields)


def _dialect(lines: Lines, name: str, fields: Fields) -> Dialect:
    """How a file is written, by its first lines; a line that says so, and empty ones before it, are taken."""
    sample: list[str | SetAside] = []
    size, hint = 0, ""
    while size < _SAMPLE and (line := lines.next()) is not None:
        if not sample and isinstance(line, str) and (not line.strip() or hinted(line)):
            hint = hinted(line) or hint
            continue
        sample.append(line)
        size += len(line) if isinstance(line, str) else 1
    lines.give_back(sample)
    texts = [line for line in sample if isinstance(line, str)]
    return told(texts, size < _SAMPLE, name.lower().rpartition(".")[2], _wanted(fields), hint, fields.header)


def _wanted(fields: Fields) -> tuple[str, ...]:
    return fields.columns if fields.by_column else ()


class _Open(SetAside):
    """A quote was opened and is not closed where it could be."""

    def __init__(self) -> None:
        super().__init__("is not a valid row", "an unclosed quote")


class _Large(SetAside):
    """A row of several lines is larger than a record may be."""


class _Feed:
    """Lines as the csv module asks for them: one for each row, and more while a quote is open."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._next = lines.next
        self.taken: list[str | SetAside] = []  # of the row that is being read
        self.doomed = 0  # a line's number: no row that goes on into it, or one before, comes to a good end
        self.header_line = ""
        self.joined = False  # whether a byte order mark stood before a row: here another file begins
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, taken = self._next(), self.taken
        if taken or not isinstance(line, str) or MARK in line:
            return self._unusual(line)
        taken.append(line)
        return line

    def _unusual(self, line: str | SetAside | None) -> str:
        """A line within a row, one with a byte order mark, or none."""
        if line is None:
            raise StopIteration
        if not self.taken and isinstance(line, str):
            line = self._unmarked(line)
        self.taken.append(line)
        if isinstance(line, SetAside):
            raise line
        self._size = len(line) + (self._size if len(self.taken) > 1 else 0)
        if len(self.taken) > 1 and self._lines.number <= self.doomed:
            raise _Open
        if self._size > self._lines.limit:
            detail = f"a row of more than {self._lines.limit} characters"
            raise _Large("is larger than limits.file_bytes", detail)
        return line

    def texts(self) -> list[str]:
        """The lines of the row that is being read, but those too long to be held."""
        return [line for line in self.taken if isinstance(line, str)]

    def _unmarked(self, line: str) -> str:
        """A line without the byte order mark, and the header, of a file that was joined on."""
        before, _, after = line.rpartition(MARK)
        if not before:
            self.joined = True
            return after
        return f"{before}\n" if after.strip() == self.header_line else line


class _Rows:
    """(number of its first line, its fields or what is wrong with it) of each row."""

    def __init__(self, lines: Lines, dialect: Dialect) -> None:
        csv.field_size_limit(_LONGEST_FIELD)
        self._lines, self._dialect, self.feed = lines, dialect, _Feed(lines)
        self._rows = dialect.rows(self.feed)
        self._careful = False  # after a broken row, until one shows that rows begin where lines do again
        self.header: Header | None = None
        self.header_row: list[str] = []
        self.all = self._each()

    def begin(self, row: list[str]) -> Header:
        """Take the last row for the header of those that follow."""
        self.header, self.header_row, self.feed.joined = Header.of(row), row, False
        self.feed.header_line = "".join(self.feed.texts()).strip()
        return self.header

    def _each(self) -> Iterator[tuple[int, list[str] | SetAside]]:
        taken, lines, rows = self.feed.taken, self._lines, self._rows
        while True:
            taken.clear()
            number = lines.number + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, SetAside) as error:
                yield number, self._broken(number, error)
                continue
            if self._careful and row:
                yield number, self._after_broken(row)
            else:
                yield number, row

    def _broken(self, number: int, error: csv.Error | SetAside) -> SetAside:
        """What is wrong with the row at a line; where only its first line can be, the others are given back."""
        wrong = error if isinstance(error, SetAside) else SetAside("is not a valid row", str(error))
        lines, last = self.feed.taken[1:], self._lines.number
        self._careful = True
        if isinstance(error, _Large):
            return self._passed_over(number, error)
        if lines and (last <= self.feed.doomed or self._are_rows(lines)):
            # Every line up to here was read within quotes: whoever is in quotes there comes to the same end.
            self.feed.doomed = max(last, self.feed.doomed)
            self._lines.give_back(lines)
            return _Open()
        self._pass_tail()
        last = self._lines.number
        return wrong if last == number else SetAside(wrong.reason, f"{wrong.detail}; {span(number, last)}")

    def _pass_tail(self) -> None:
        """Go to the end of a broken row whose quote is still open, where a line near by closes one and those before
        it are no rows."""
        if not sum(map(self._dialect.quotes, self.feed.texts())) % 2:
            return
        between: list[str | SetAside] = []
        while (line := self._lines.next()) is not None:
            ends = isinstance(line, str) and self._dialect.quotes(line) % 2
            if ends and self._closes(line) and not (between and self._are_rows(between)):
                return
            between.append(line)
            if ends or len(between) >= _NEAR:
                break
        self._lines.give_back(between)

    def _closes(self, line: str) -> bool:
        """Whether a line has a quote that opens nothing."""
        return self._is_row(line) is False and not self._dialect.careful(line)

    def _are_rows(self, lines: list[str | SetAside]) -> bool:
        """Whether lines that a broken row has taken are rows of their own: at least as many fit the header as not."""
        verdicts = [self._is_row(line) for line in lines]
        return verdicts.count(True) >= verdicts.count(False)

    def _is_row(self, line: str | SetAside) -> bool | None:
        """Whether a line alone is a row; None where it opens a quote."""
        if isinstance(line, SetAside):
            return False
        try:
            row = next(self._dialect.rows(iter([line])), [])
        except csv.Error:
            return None
        return self._fits(row) and self._dialect.careful(line)

    def _fits(self, row: list[str]) -> bool:
        return row == [] or self.header is None or self.header.fits(row)

    def _after_broken(self, row: list[str]) -> list[str] | SetAside:
        line = self.feed.taken[0]
        if len(self.feed.taken) == 1 and isinstance(line, str) and not self._dialect.careful(line):
            return SetAside("is not a valid row", "a quote inside a field, after a broken row")
        self._careful = not self._fits(row)
        return row

    def _passed_over(self, number: int, error: SetAside) -> SetAside:
        """Go to the end of a row that is too large to be held: where its quote is closed."""
        while (line := self._lines.next()) is not None:
            if isinstance(line, str) and self._dialect.quotes(line) % 2:
                break
        return SetAside(error.reason, f"{error.detail}; {span(number, self._lines.number)}")
