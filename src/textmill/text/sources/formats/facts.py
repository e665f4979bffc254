"""What a file says of itself (title, author, date, language), in one notation whatever the format."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST = 500  # characters of a title or a name
_ISO = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_PDF_DATE = re.compile(
    r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(?:(\d\d)'?)?|(Z)[\d']*)?"
)
_LANGUAGE = re.compile(r"[a-z]{2,3}(?=$|[-_])", re.IGNORECASE)


def facts(title: str = "", author: str = "", date: str = "", language: str = "") -> dict[str, str]:
    """Metadata of what is known, left out where it is not: `date` in ISO 8601, `language` as an ISO 639 code."""
    code = _LANGUAGE.match(language.strip())
    metadata = {
        "title": _line(title),
        "author": _line(author),
        "date": iso_date(date),
        "language": code[0].lower() if code else "",
    }
    return {name: value for name, value in metadata.items() if value}


def _line(text: str) -> str:
    line = " ".join(text.split())[:_LONGEST]
    return "".join(c for c in line if c.isprintable()).strip()


def iso_date(text: str) -> str:
    """A date as ISO 8601, in UTC where its zone is known, so that text sorts as time; empty when it is none.

    Understands ISO 8601, RFC 2822 (mail) and PDF dates (ISO 32000-1 §7.9.4).
    """
    text = text.strip()[:100]
    if _ISO.fullmatch(text):
        return text
    for read in (datetime.fromisoformat, _pdf_date, parsedate_to_datetime):
        try:
            return _written(read(text))
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return ""


def _pdf_date(text: str) -> datetime:
    match = _PDF_DATE.fullmatch(text)
    if not match:
        raise ValueError
    year, month, day, hour, minute, second, sign, zone_hours, zone_minutes, utc = match.groups()
    zone = "+00:00" if utc else f"{sign}{zone_hours}:{zone_minutes or '00'}" if sign else ""
    time = f"{hour or '00'}:{minute or '00'}:{second or '00'}"
    return datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}T{time}{zone}")


def _written(when: datetime) -> str:
    if when.tzinfo is None:
        return when.isoformat(timespec="seconds")
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
