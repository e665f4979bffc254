"""Lines, and the marks they begin and end with, in Western and Chinese text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# The commoner characters with the Unicode property Sentence_Terminal (UAX #29), full and half width, and the
# Chinese semicolon, which ends a clause where English would put a full stop.
TERMINAL = frozenset(".!?。．｡！？；؟۔।॥։።፧፨၊။។៕‼‽⁇⁈⁉︒﹒﹖﹗")
CLOSING = frozenset("\"'”’»›」』）)】]〉》")  # may stand behind a terminal mark: `he said.”`
BULLETS = ("•", "-", "●", "■", "◆", "▪", "‣", "◦", "·", "・", "∙")
ELLIPSES = ("...", "…")


def ends_sentence(line: str) -> bool:
    """Whether a line ends in a terminal mark, perhaps inside quotation marks or brackets."""
    last = line[-1:]
    if last in CLOSING:
        line = line.rstrip("\"'”’»›」』）)】]〉》")
        last = line[-1:]
    return last in TERMINAL


def bulleted(lines: Iterable[str]) -> int:
    """How many lines begin with a bullet."""
    return sum(line.lstrip().startswith(BULLETS) for line in lines)


def trailing_off(lines: Iterable[str]) -> int:
    """How many lines end in an ellipsis."""
    return sum(line.rstrip().endswith(ELLIPSES) for line in lines)


def count_any(text: str, marks: Iterable[str]) -> int:
    """How often any of several marks stands in a text."""
    return sum(map(text.count, marks))


def lines_lost(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """How many filled lines fewer there are in the texts of a document, by role, after a step that only drops lines."""
    return sum(_filled(text) - _filled(after[role]) for role, text in before.items())


def _filled(text: str) -> int:
    return sum(1 for line in text.split("\n") if line.strip())


def repeated(parts: list[str]) -> tuple[int, int]:
    """(how many parts repeat an earlier one, their characters)."""
    if len(set(parts)) == len(parts):
        return 0, 0
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        else:
            seen.add(part)
    return count, characters
