"""robots.txt (RFC 9309): what a site lets a reader of our name fetch, and how slowly.

Written here, since the standard library's `urllib.robotparser` takes the first rule that fits instead of the
longest and knows neither `*` nor `$`, so it would fetch pages that sites forbid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

MOST_BYTES = 500 << 10  # RFC 9309 §2.5: at least this much of the file is read


@dataclass(frozen=True)
class Robots:
    """The rules for us: (path pattern, allowed) and the seconds asked for between two requests."""

    rules: tuple[tuple[str, bool], ...] = ()
    delay: float = 0.0

    def allows(self, url: str) -> bool:
        """Whether an address may be fetched: the longest pattern that fits decides, and `allow` when equal."""
        parts = urlsplit(url)
        path = _spelling(f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}")
        if path == "/robots.txt":
            return True
        fitting = [(len(pattern), allowed) for pattern, allowed in self.rules if _fits(pattern, path)]
        return max(fitting, default=(0, True))[1]


EVERYTHING = Robots()


def parse(text: str, agent: str) -> Robots:
    """The rules of a robots.txt that speak to `agent`, or else those for everybody."""
    groups: list[tuple[list[str], list[tuple[str, str]]]] = []
    naming = False
    for line in re.split(r"[\r\n]+", text.removeprefix("\ufeff")):
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            if not naming:
                groups.append(([], []))
            groups[-1][0].append(value.lower().partition("/")[0].strip())
            naming = True
        elif key in ("allow", "disallow", "crawl-delay"):
            naming = False
            if groups:
                groups[-1][1].append((key, value))
    ours = [lines for names, lines in groups if agent.lower() in names]
    lines = [line for group in ours or [lines for names, lines in groups if "*" in names] for line in group]
    rules = tuple(
        (_spelling(value), key == "allow") for key, value in lines if value and key != "crawl-delay"
    )
    return Robots(rules, max((_seconds(value) for key, value in lines if key == "crawl-delay"), default=0.0))


def _seconds(value: str) -> float:
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value) else 0.0


def _spelling(path: str) -> str:
    """Path and pattern spelt alike: letters that need no escape unescaped, all others escaped."""
    return quote(unquote(path.replace("%2F", "%252F").replace("%2f", "%252F")), safe="/%:@!$&'()*+,;=~-._?")


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern with `*` and a last `$` fits the beginning of a path; in linear time, whatever it holds."""
    anchored = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    for number, part in enumerate(others, 1):
        if anchored and number == len(others):
            return len(path) - at >= len(part) and path.endswith(part)
        start = path.find(part, at)
        if start < 0:
            return False
        at = start + len(part)
    return not anchored or at == len(path)
