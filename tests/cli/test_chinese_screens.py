"""Every command on a Chinese screen of 80 columns: it ends as in English, and says nothing of its own in English."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from conftest import WORDS
from helpers.commands import call, right_line

# The main commands, but those that show what a model writes, or what is for programs.
COMMANDS = [
    "check",
    "compare",
    "data where",
    "docs list",
    "docs search",
    "doctor",
    "evaluate",
    "export",
    "forget",
    "import",
    "index count",
    "index search",
    "lineage",
    "list",
    "merge",
    "models list",
    "ngram export",
    "prepare",
    "publish",
    "recipe new",
    "recipe show",
    "report",
    "rm",
    "run",
    "runs list",
    "runs show",
    "show",
    "trace",
    "train",
    "verify",
]
# What is in English wherever it is shown: commands to type, names of files, keys of recipes, what a library says.
_TYPED = re.compile(
    r"`[^`]*`|textmill [^;；\n]*|\S*[/\\]\S*|\S*[\w-]+\.[\w.-]+\S*|--?[\w-]+|"
    r"Invalid value \(.*?\)|\w+ et al\.|(?<= # )\S+ = .*"
)
_PHRASE = re.compile(r"(?:\b[A-Za-z][a-z']+\b[ ,]+){2,}[A-Za-z][a-z']+\b")
_TABLE = re.compile(r"\S {2,}\S.*\S {2,}\S")
_TEXTS = {*WORDS, "the", "mill", "turns", "water", "into", "flour"}  # of which the place's own texts are made


def english(screen: str) -> list[str]:
    """Phrases of a screen that are of ours and in English."""
    phrases = [match[0] for match in _PHRASE.finditer(_TYPED.sub(" | ", screen))]
    return [phrase for phrase in phrases if not set(re.findall(r"[a-z']+", phrase.lower())) <= _TEXTS]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_screen_is_chinese_and_fits(command, place, monkeypatch):
    monkeypatch.setenv("TEXTMILL_LANG", "zh")
    said = call(right_line(command))
    assert "Traceback" not in said.err, said.err
    screen = said.out + said.err
    assert english(screen) == [], screen
    tables = [line for line in screen.splitlines() if _TABLE.search(line) and str(place.parent) not in line]
    wide = [line for line in tables if cell_len(line) > 80]
    assert command == "recipe show" or wide == [], screen
