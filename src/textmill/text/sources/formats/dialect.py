"""How a file of separated values is written, told from its first lines: delimiter, quoting, escapes.

Nothing is guessed by looks alone: a way of reading counts by the rows that come out of it with as many fields as the
header, and quotes between tabs are quotes only where something shows it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from textmill.text.sources.formats.records import held

DELIMITERS = ",;\t|"
_HINT = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # the first line that Excel writes and obeys
_ESCAPED = re.compile(r'\\([\\"])')
_ENDS = "\r\n"
_HABIT = 3  # fields from which on a habit of quoting is one


@dataclass(frozen=True)
class Dialect:
    """`delimiter` between fields; `quoted`: whether fields may stand in double quotes (RFC 4180); `escaped`: whether a
    quote inside them is written `\\"`; `spaced`: whether spaces follow the delimiter."""

    delimiter: str = ","
    quoted: bool = True
    escaped: bool = False
    spaced: bool = False

    def rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """The rows of lines. Raises csv.Error for a row that breaks the rules; the next row can still be had."""
        if self.escaped:
            lines = map(_doubled, lines)
        if not self.quoted:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self.spaced)

    def quotes(self, line: str) -> int:
        """How many quotes that open or close something a line holds, a doubled one counting as two."""
        return (_doubled(line) if self.escaped else line).count('"')

    def careful(self, line: str) -> bool:
        """Whether every quote in a row of one line opens, closes or stands doubled in a quoted field."""
        if '"' not in line or not self.quoted:
            return True
        line = _doubled(line) if self.escaped else line
        d, space = re.escape(self.delimiter), " *" if self.spaced else ""
        field = rf'{space}(?:"(?:[^"]|"")*"|[^"{d}]*)'
        return re.fullmatch(rf"{field}(?:{d}{field})*", line.rstrip(_ENDS)) is not None


def hinted(line: str) -> str:
    """The delimiter that a first line `sep=;` names; empty when it is no such line."""
    match = _HINT.fullmatch(line)
    return match[1] if match else ""


@dataclass(frozen=True)
class Header:
    """The names of a table's columns, and of how many fields a row has at least."""

    names: tuple[str, ...]
    least: int

    @classmethod
    def of(cls, row: Sequence[str]) -> Header:
        """Each name once: a repeated one gets a number, as pandas gives it (`text.1`), one that is missing the number
        of its column (`column 3`). Columns without a name at the end may be missing from rows."""
        seen: Counter[str] = Counter()
        made: dict[str, None] = {}
        for number, name in enumerate(row, 1):
            unique = base = name.strip() or f"column {number}"
            while unique in made:
                seen[base] += 1
                unique = f"{base}.{seen[base]}"
            made[unique] = None
        unnamed = next((n for n, name in enumerate(reversed(row)) if name.strip()), len(row))
        return cls(tuple(made), max(1, len(row) - unnamed))

    @classmethod
    def numbered(cls, columns: int) -> Header:
        """Columns that have no names."""
        return cls(tuple(f"column {number}" for number in range(1, columns + 1)), columns)

    def fits(self, row: Sequence[str]) -> bool:
        """Whether a row has a field for each name; more may follow that are empty."""
        return self.least <= len(row) <= len(self.names) or (
            len(row) > len(self.names) and not any(row[len(self.names) :])
        )


def told(
    lines: list[str],
    whole: bool,
    ending: str,
    columns: Iterable[str],
    delimiter: str = "",
    header: bool = True,
) -> Dialect:
    """How the lines at the head of a file are written: so that its header names the columns, and most rows fit it.

    whole: whether they are the whole file; ending: its file extension; columns: those that are to be found;
    delimiter: what the file itself says it is; header: whether the first line names columns.
    """
    choices = [delimiter] if delimiter else sorted(DELIMITERS, key=lambda d: (d == "\t") != (ending == "tsv"))
    candidates = [_with(choice, lines, whole) for choice in choices]
    firsts = [next(_tried(dialect, lines, whole), None) or [""] for dialect in candidates]
    headers = [Header.of(row) if header else Header.numbered(len(row)) for row in firsts]
    choices_with = list(zip(candidates, headers, strict=True))
    wanted = tuple(columns)
    fitting = [pair for pair in choices_with if all(held(pair[1].names, column) for column in wanted)]
    if not fitting:  # then for the message's sake
        return max(choices_with, key=lambda pair: len(pair[1].names))[0]
    # By number any line has a first column: what parts lines at all comes before what does not.
    return min(fitting, key=lambda pair: (len(pair[1].names) == 1, _misfits(pair[0], lines, whole)))[0]


def _with(delimiter: str, lines: list[str], whole: bool) -> Dialect:
    """The best way to read lines with a given delimiter."""
    if delimiter == "\t" and not _quotes_between_tabs(lines, whole):
        return Dialect(delimiter, quoted=False)
    _, *others = lines[0].split(delimiter) if lines else [""]
    spaced = delimiter != "\t" and bool(others) and all(name.startswith(" ") for name in others)
    dialects = [Dialect(delimiter, spaced=spaced)]
    if any('\\"' in line for line in lines):
        dialects.append(Dialect(delimiter, escaped=True, spaced=spaced))
    return min(dialects, key=lambda dialect: _misfits(dialect, lines, whole))


def _misfits(dialect: Dialect, lines: list[str], whole: bool) -> int:
    """Rows that break the rules or do not fit the header."""
    rows = _tried(dialect, lines, whole)
    header = Header.of(next(rows, None) or [""])
    return sum(row is None or (row != [] and not header.fits(row)) for row in rows)


def _tried(dialect: Dialect, lines: Iterable[str], whole: bool) -> Iterator[list[str] | None]:
    """The rows of lines, None for one that breaks the rules; a row that the end of a sample cuts off is left out."""
    rows = dialect.rows(iter(lines))
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if whole or "end of data" not in str(error):
                yield None


def _quotes_between_tabs(lines: list[str], whole: bool) -> bool:
    """Whether fields separated by tabs stand in quotes where they must, as spreadsheets write them.

    Of itself a quote between tabs is a character: lines of dialogue begin and end with it. It quotes where the header
    is quoted throughout, or where more speaks for it (lines that are rows only when read together, quotes doubled
    inside a quoted field, a habit of quoting what holds a comma or a quote and nothing else) than against it.
    """
    plain = [line.rstrip(_ENDS).split("\t") for line in lines]
    within = [field for row in plain for field in row if field.startswith('"')]
    if not within:
        return False
    if all(len(field) >= 2 and field[0] == field[-1] == '"' for field in plain[0]):
        return True
    proper = [
        f[1:-1] for f in within if len(f) >= 2 and f[-1] == '"' and '"' not in f[1:-1].replace('""', "")
    ]
    doubled = sum('""' in text for text in proper)
    needed = sum("," in text or '"' in text for text in proper)
    bare = any("," in field or '"' in field for row in plain for field in row if not field.startswith('"'))
    habit = _HABIT <= len(within) == needed and not bare
    lost_plainly = _misfits(Dialect("\t", quoted=False), lines, whole)
    return doubled + habit + lost_plainly > _misfits(Dialect("\t"), lines, whole)


def _doubled(line: str) -> str:
    r"""A line with `\"` as `""` and `\\` as `\`."""
    return _ESCAPED.sub(lambda found: '""' if found[1] == '"' else "\\", line) if "\\" in line else line
