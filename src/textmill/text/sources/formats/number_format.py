"""The number formats of spreadsheet cells (ECMA-376 part 1 §18.8.30 and §18.8.31): what a cell shows of its value.

Two things are decided otherwise than a spreadsheet does. A full date (year, month and day) is written in ISO 8601,
with as much of a time as the format shows: `05/06/23` is another day in another country. And `General` shows a number
with its 15 digits, not with as many as the column is wide.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction

GENERAL = "General"
_DATE = "yyyy-mm-dd"
_ACCOUNT = '_({0}* #,##0{1}_);_({0}* (#,##0{1});_({0}* "-"{2}_);_(@_)'
BUILT_IN: dict[
    int, str
] = {  # what a workbook may use without saying it; those of East Asia are dates and times there
    **dict.fromkeys((*range(27, 32), 36, *range(50, 55), 57, 58), _DATE),
    **dict.fromkeys((32, 34, 55), "h:mm"),
    **dict.fromkeys((33, 35, 56), "h:mm:ss"),
    **{0: GENERAL, 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00"},
    **{5: '"$"#,##0_);("$"#,##0)', 7: '"$"#,##0.00_);("$"#,##0.00)', 12: "# ?/?", 13: "# ??/??"},
    **{6: '"$"#,##0_);[Red]("$"#,##0)', 8: '"$"#,##0.00_);[Red]("$"#,##0.00)', 14: _DATE, 15: "d-mmm-yy"},
    **{16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss"},
    **{22: f"{_DATE} h:mm", 37: "#,##0_);(#,##0)", 38: "#,##0_);[Red](#,##0)", 39: "#,##0.00_);(#,##0.00)"},
    **{40: "#,##0.00_);[Red](#,##0.00)", 41: _ACCOUNT.format("", "", ""), 42: _ACCOUNT.format('"$"', "", "")},
    **{43: _ACCOUNT.format("", ".00", "??"), 44: _ACCOUNT.format('"$"', ".00", "??"), 45: "mm:ss"},
    **{46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@"},
}
_LONGEST = 255  # characters of a format (§18.8.31 leaves it open; spreadsheets take no more)
_DIGITS = 15  # of a number that count
_NOTHING = Fraction(1, 2_000_000)  # what is left of a number when its fraction is as good as exact
_MOST = 40  # digits written before and behind the point
_LAST_DAY = 2_958_466  # 31 December 9999
_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)"? | \\(?P<escaped>.) | _(?P<space>.) | \*(?P<fill>.) | \[(?P<bracket>[^\]]*)\]
    | (?P<general>General) | (?P<half>AM/PM|A/P|上午/下午) | (?P<exponent>E[+-]) | (?P<clock>y+|m+|d+|h+|s+|e+)
    | (?P<digit>[0\#?]) | (?P<other>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"(<>|<=|>=|<|>|=)\s*(-?[0-9.]+)")
_CURRENCY = re.compile(r"\$([^-]*)(?:-.*)?")
_ELAPSED = re.compile(r"(h+|m+|s+)", re.IGNORECASE)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
# What stands behind the parts of a date in a language, and says nothing beside a date in ISO 8601.
_UNITS = frozenset(
    ["年", "月", "日", "号", "时", "時", "分", "秒", "년", "월", "일", "시", "분", "초", "г", "г."]
)


@dataclass(frozen=True)
class _Part:
    """A piece of a section: its kind (`literal`, `digit`, `point`, …) and its characters."""

    kind: str
    text: str


@dataclass(frozen=True)
class _Section:
    parts: tuple[_Part, ...]
    condition: tuple[str, Decimal] | None = None

    def has(self, *kinds: str) -> bool:
        return any(part.kind in kinds for part in self.parts)

    def accepts(self, value: Decimal) -> bool:
        if self.condition is None:
            return True
        sign, limit = self.condition
        order = (value > limit) - (value < limit)
        return order in {"<": (-1,), ">": (1,), "=": (0,), "<=": (-1, 0), ">=": (0, 1), "<>": (-1, 1)}[sign]


class NumberFormat:
    """A format code, ready to show values."""

    def __init__(self, code: str) -> None:
        self._sections = _sections(code[:_LONGEST]) or (_Section((_Part("general", GENERAL),)),)

    def text(self, value: str) -> str:
        """What a cell of text shows."""
        last = self._sections[-1]
        if len(self._sections) < 4 and not last.has("text"):
            return value
        return _trimmed("".join(value if part.kind == "text" else _plain(part) for part in last.parts))

    def number(self, value: str, since_1904: bool = False) -> str:
        """What a cell of a number shows; the value as it is where it is no number."""
        try:
            number = Decimal(f"{float(value):.{_DIGITS}g}")
        except (ValueError, InvalidOperation):
            return value
        if not number.is_finite():
            return value
        section, magnitude = self._section(number)
        if not section.parts:
            return ""
        try:
            return _trimmed(_shown(section, magnitude, since_1904))
        except (
            ArithmeticError,
            ValueError,
        ):  # a date before the first or after the last, a number of a hundred digits
            return _general(number)

    def _section(self, value: Decimal) -> tuple[_Section, Decimal]:
        """The section for a number, and the number as it shows it: without its sign where the section stands for it."""
        sections = self._sections[:3]
        if any(section.condition for section in sections):
            chosen = next((section for section in sections if section.accepts(value)), sections[-1])
            return chosen, abs(value) if _signed(chosen.condition, sections[0].condition) else value
        if len(sections) == 1 or value > 0 or (value == 0 and len(sections) == 2):
            return sections[0], value
        return (sections[1], -value) if value < 0 else (sections[2], value)


def _signed(condition: tuple[str, Decimal] | None, first: tuple[str, Decimal] | None) -> bool:
    """Whether a section can only be reached by negative numbers, so that it shows the sign by itself."""
    if condition is None:
        return first is not None and first[0] in (">", ">=") and first[1] == 0
    return condition[0] in ("<", "<=", "=") and condition[1] <= 0


@functools.lru_cache(maxsize=1024)
def number_format(code: str) -> NumberFormat:
    """The format of a code, parsed once."""
    return NumberFormat(code)


# --- the code -----------------------------------------------------------------------------------------------------
def _sections(code: str) -> tuple[_Section, ...]:
    sections: list[list[_Part]] = [[]]
    conditions: list[tuple[str, Decimal] | None] = [None]
    for match in _TOKEN.finditer(code):
        kind, text = match.lastgroup or "", match[match.lastgroup or 0]
        if kind == "other" and text == ";":
            sections.append([])
            conditions.append(None)
        elif kind == "bracket" and (found := _CONDITION.fullmatch(text.strip())):
            conditions[-1] = (found[1], Decimal(found[2]))
        elif part := _part(kind, text):
            sections[-1].append(part)
    if not code:
        return ()
    made = (_dated(parts) for parts in sections[:4])
    return tuple(
        _Section(tuple(parts), condition) for parts, condition in zip(made, conditions, strict=False)
    )


def _part(kind: str, text: str) -> _Part | None:
    if kind in ("quoted", "escaped"):
        return _Part("literal", text)
    if kind == "space":
        return _Part("literal", " ")
    if kind == "bracket":
        if currency := _CURRENCY.fullmatch(text):
            return _Part("literal", currency[1])
        return (
            _Part("elapsed", text.lower()) if _ELAPSED.fullmatch(text) else None
        )  # else a colour, or a numbering
    if kind == "fill":
        return None
    if kind == "other":
        meaning = {".": "point", ",": "comma", "%": "percent", "/": "slash", "@": "text"}
        return _Part(meaning.get(text, "literal"), text)
    return _Part(kind, text if kind in ("half", "exponent") else text.lower())


def _dated(parts: list[_Part]) -> list[_Part]:
    """The parts of a section; in one that shows a date or time `m` is told to be months or minutes, and what would
    place digits is read as it is then: the fraction of a second, or a literal."""
    if not any(part.kind in ("clock", "elapsed") for part in parts):
        return parts
    clock = [n for n, part in enumerate(parts) if part.kind in ("clock", "elapsed")]
    made: list[_Part] = []
    for n, part in enumerate(parts):
        at = clock.index(n) if n in clock else 0
        letter = part.text[0] if part.text else ""
        if part.kind == "clock" and letter == "m":
            before = parts[clock[at - 1]].text[0] if at else ""
            after = parts[clock[at + 1]].text[0] if at + 1 < len(clock) else ""
            made.append(
                _Part(
                    "minute" if len(part.text) <= 2 and (before == "h" or after == "s") else "month",
                    part.text,
                )
            )
        elif part.kind == "clock":
            kind = {"y": "year", "e": "year", "d": "day", "h": "hour", "s": "second"}[letter]
            made.append(_Part("weekday" if kind == "day" and len(part.text) > 2 else kind, part.text))
        elif part.kind == "digit" and made and made[-1].kind == "fraction":
            made[-1] = _Part("fraction", made[-1].text + part.text)
        elif part.kind == "point" and made and made[-1].text.startswith("s"):
            made.append(_Part("fraction", "."))
        else:
            made.append(part if part.kind in ("elapsed", "half", "literal") else _Part("literal", part.text))
    return made


# --- what is shown ------------------------------------------------------------------------------------------------
def _shown(section: _Section, value: Decimal, since_1904: bool) -> str:
    if section.has("year", "month", "day", "weekday", "hour", "minute", "second", "elapsed"):
        return _moment(section, value, since_1904)
    sign = "-" if value < 0 else ""
    if section.has("general"):
        body = "".join(_general(abs(value)) if p.kind == "general" else _plain(p) for p in section.parts)
        return sign + body
    if section.has("text") and not section.has("digit"):
        return sign + "".join(_general(abs(value)) if p.kind == "text" else _plain(p) for p in section.parts)
    if not section.has("digit"):
        return sign + "".join(map(_plain, section.parts))
    value = abs(value).scaleb(2 * sum(part.kind == "percent" for part in section.parts))
    if section.has("slash") and (fraction := _fraction(section.parts, value)) is not None:
        return sign + fraction
    digits = _scientific(section.parts, value) if section.has("exponent") else _decimal(section.parts, value)
    return (sign if any(character in "123456789" for character in digits) else "") + digits


def _plain(part: _Part) -> str:
    return "" if part.kind in ("digit", "comma", "point") else part.text


def _trimmed(text: str) -> str:
    return " ".join(text.split())


def _general(value: Decimal) -> str:
    if value == 0:
        return "0"
    value = value.normalize()
    if -10 <= value.adjusted() < 21:
        return f"{value:f}"
    mantissa = f"{value.scaleb(-value.adjusted()):f}"
    return f"{mantissa}E{value.adjusted():+03d}"


def _decimal(parts: tuple[_Part, ...], value: Decimal) -> str:
    """A number by its placeholders: the digits before the point from right to left, those behind it onwards."""
    point = next((n for n, part in enumerate(parts) if part.kind == "point"), len(parts))
    whole = [n for n, part in enumerate(parts[:point]) if part.kind == "digit"]
    behind = [n for n, part in enumerate(parts) if n > point and part.kind == "digit"]
    last = whole[-1] if whole else point
    grouped = any(part.kind == "comma" for part in parts[whole[0] : last]) if whole else False
    scale = sum(1 for _ in _run(parts, (last if whole else point) + 1, "comma"))
    if behind:
        scale += sum(1 for _ in _run(parts, behind[-1] + 1, "comma"))
    value = value.scaleb(-3 * scale)
    rounded = f"{_rounded(value, len(behind)):f}"
    before, _, after = rounded.partition(".")
    before = before.lstrip("0")
    if len(before) > _MOST * 8:
        raise ValueError("too long")
    placed: dict[int, str] = dict(_before(parts, whole, before, grouped)) | dict(
        _behind(parts, behind, after)
    )
    written = []
    for n, part in enumerate(parts):
        if n in placed:
            written.append(placed[n])
        elif n == point:
            written.append(part.text if whole else before + part.text)
        else:
            written.append(_plain(part))
    return "".join(written)


def _run(parts: tuple[_Part, ...], start: int, kind: str) -> Iterator[_Part]:
    for part in parts[start:]:
        if part.kind != kind:
            return
        yield part


def _before(
    parts: tuple[_Part, ...], places: list[int], digits: str, grouped: bool
) -> Iterator[tuple[int, str]]:
    """What stands at each placeholder before the point; the first takes all digits that are left."""
    count = 0  # digits and zeros written so far, from the right
    for n in reversed(places):
        wanted = len(digits) if n == places[0] else 1
        taken, digits = (digits[-wanted:], digits[:-wanted]) if wanted and digits else ("", digits)
        taken = taken or {"0": "0", "?": " "}.get(parts[n].text, "")
        written = ""
        for character in reversed(taken):
            if grouped and count and count % 3 == 0 and character != " ":
                written = "," + written
            written = character + written
            count += 1
        yield n, written


def _behind(parts: tuple[_Part, ...], places: list[int], digits: str) -> Iterator[tuple[int, str]]:
    """What stands at each placeholder behind the point: trailing zeros only where the format asks for them."""
    digits = digits.ljust(len(places), "0")
    for at, n in enumerate(places):
        needed = digits[at:].strip("0") or any(parts[other].text == "0" for other in places[at:])
        yield n, digits[at] if needed else {"?": " "}.get(parts[n].text, "")


def _rounded(value: Decimal, places: int) -> Decimal:
    if value.adjusted() > 300 or places > _MOST:
        raise ValueError("too long")
    step = Decimal(1).scaleb(-places)
    # 28 digits of a context do not hold a number of hundreds.
    return (
        Decimal(int((value / step).to_integral_value(ROUND_HALF_UP))).scaleb(-places)
        if value
        else Decimal(0) * step
    )


def _scientific(parts: tuple[_Part, ...], value: Decimal) -> str:
    at = next(n for n, part in enumerate(parts) if part.kind == "exponent")
    mantissa = parts[:at]
    point = next((n for n, part in enumerate(mantissa) if part.kind == "point"), at)
    step = max(1, sum(part.kind == "digit" for part in mantissa[:point]))
    places = sum(part.kind == "digit" for part in mantissa[point:])
    power = value.adjusted() // step * step if value else 0
    if value and _rounded(value.scaleb(-power), places) >= Decimal(10) ** step:
        power += step
    end = at + 1
    while end < len(parts) and parts[end].kind == "digit":
        end += 1
    sign = "-" if power < 0 else "+" if parts[at].text.endswith("+") else ""
    exponent = str(abs(power)).rjust(end - at - 1, "0")
    rest = "".join(map(_plain, parts[end:]))
    return f"{_decimal(mantissa, value.scaleb(-power))}E{sign}{exponent}{rest}"


def _fraction(parts: tuple[_Part, ...], value: Decimal) -> str | None:
    """A number as a fraction; None where the slash belongs to none."""
    at = next(n for n, part in enumerate(parts) if part.kind == "slash")
    start = at
    while start and parts[start - 1].kind == "digit":
        start -= 1
    end = at + 1
    while end < len(parts) and (parts[end].kind == "digit" or parts[end].text.isdecimal()):
        end += 1
    below = "".join(part.text for part in parts[at + 1 : end])
    if start == at or not below:
        return None
    has_whole = any(part.kind == "digit" for part in parts[:start])
    exact = Fraction(value)
    whole = int(exact) if has_whole else 0
    if below.isdecimal() and int(below):
        bottom = int(below)
        top = int((exact - whole) * bottom + Fraction(1, 2))
    else:
        top, bottom = _near(exact - whole, 10 ** min(len(below), 9) - 1)
    if has_whole and top == bottom:
        whole, top = whole + 1, 0
    # Without a digit that must be shown, nothing is said of a part that is zero.
    head = _decimal(parts[:start], Decimal(whole)) if has_whole else "".join(map(_plain, parts[:start]))
    missing = has_whole and not top
    middle = f"{top}/{bottom}" if not missing else "" if head.strip() else "0"
    return f"{head} {middle}" + "".join(map(_plain, parts[end:]))


def _near(value: Fraction, most: int) -> tuple[int, int]:
    """The last convergent of a continued fraction whose denominator is no larger: what spreadsheets show, which is not
    always the nearest fraction."""
    before, last, rest = (1, 0), (int(value), 1), value - int(value)
    while rest > _NOTHING:
        rest = 1 / rest
        term = int(rest)
        rest -= term
        step = (term * last[0] + before[0], term * last[1] + before[1])
        if step[1] > most:
            break
        before, last = last, step
    return last


# --- dates and times ----------------------------------------------------------------------------------------------
def _moment(section: _Section, value: Decimal, since_1904: bool) -> str:
    """A date or a time. Raises ValueError where there is none of this value."""
    if value < 0 and not since_1904:
        raise ValueError("before the first day")
    fraction = next((len(part.text) - 1 for part in section.parts if part.kind == "fraction"), 0)
    seconds = (abs(value) * 86_400).quantize(Decimal(1).scaleb(-fraction), ROUND_HALF_UP)
    sign = "-" if value < 0 else ""
    day, within = divmod(seconds, 86_400)
    clock = _Clock(seconds, within, fraction)
    if section.has("elapsed"):
        return sign + "".join(clock.part(part, True) for part in section.parts)
    if sign or day >= _LAST_DAY:
        raise ValueError("no day")
    calendar = _Calendar(int(day), since_1904)
    if section.has("year") and section.has("month") and section.has("day"):
        return _iso(section, calendar, clock)
    twelve = section.has("half")
    return "".join(calendar.part(part) or clock.part(part, False, twelve) for part in section.parts)


def _iso(section: _Section, calendar: _Calendar, clock: _Clock) -> str:
    """A full date in ISO 8601, with the time that is shown of it, and what stands before and behind both."""
    told = [n for n, part in enumerate(section.parts) if part.kind not in ("literal",)]
    before = "".join(part.text for part in section.parts[: told[0]])
    behind = "".join(part.text for part in section.parts[told[-1] + 1 :])
    time = ""
    if section.has("hour"):
        time = f" {clock.hours % 24:02d}:{clock.minutes:02d}"
        time += f":{clock.second}" if section.has("second") else ""
    return f"{before}{calendar.iso}{time}{'' if behind.strip() in _UNITS else behind}"


@dataclass(frozen=True)
class _Clock:
    seconds: Decimal  # of the whole value, rounded to what is shown
    within: Decimal  # of these, those since midnight
    places: int  # digits of fractions of a second

    @property
    def hours(self) -> int:
        return int(self.within // 3600)

    @property
    def minutes(self) -> int:
        return int(self.within // 60 % 60)

    @property
    def second(self) -> str:
        return f"{int(self.within % 60):02d}" + self.fraction

    @property
    def fraction(self) -> str:
        return f"{self.within % 1:.{self.places}f}"[1:] if self.places else ""

    def part(self, part: _Part, elapsed: bool, twelve: bool = False) -> str:
        width = min(len(part.text), 2 if part.kind != "elapsed" else 9)
        if part.kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[part.text[0]]
            return str(int((self.seconds / unit).to_integral_value(ROUND_FLOOR))).rjust(width, "0")
        if part.kind == "hour":
            hours = self.hours % 12 or 12 if twelve else self.hours
            return str(hours).rjust(width, "0")
        if part.kind in ("minute", "month") and (elapsed or part.kind == "minute"):
            return str(self.minutes).rjust(width, "0")
        if part.kind == "second":
            return str(int(self.within % 60)).rjust(width, "0")
        if part.kind == "fraction":
            return self.fraction
        if part.kind == "half":
            return part.text.split("/")[self.hours >= 12]
        return part.text


class _Calendar:
    """A day by its number. The system of 1900 has a day 0, and a 29 February 1900 that never was (§18.17.4.1)."""

    def __init__(self, number: int, since_1904: bool) -> None:
        if since_1904:
            day = date(1904, 1, 1) + timedelta(number)
        elif number in (0, 60):
            day = None
        else:
            day = date(1899, 12, 31 if number < 60 else 30) + timedelta(number)
        self._fixed = {0: (1900, 1, 0), 60: (1900, 2, 29)}
        self.year, self.month, self.day = (day.year, day.month, day.day) if day else self._fixed[number]
        # Spreadsheets count weekdays on from day 1, a Sunday to them, through the day that never was.
        self._weekday = day.weekday() if since_1904 and day else (number + 5) % 7

    @property
    def iso(self) -> str:
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"

    def part(self, part: _Part) -> str:
        width = len(part.text)
        if part.kind == "year":
            return f"{self.year % 100:02d}" if width <= 2 and part.text[0] == "y" else f"{self.year:04d}"
        if part.kind == "month":
            name = _MONTHS[self.month - 1]
            return {1: str(self.month), 2: f"{self.month:02d}", 3: name[:3], 5: name[0]}.get(width, name)
        if part.kind == "day":
            return str(self.day).rjust(width, "0")
        if part.kind == "weekday":
            return _DAYS[self._weekday][: 3 if width == 3 else None]
        return ""
