"""Where the words of a text stand that nobody has marked: cut as those of the training texts were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from textmill.text.marks import TAGS, WORDS, Place, words_of

Way = Literal["spaces", "signs", "characters"]
_SIGNS = re.compile(r"\w+://\S+|[@#]\w+|\w+(?:[-'’.,:/&@]\w+)*|\S")
_PATTERNS = {"spaces": re.compile(r"\S+"), "signs": _SIGNS, "characters": re.compile(r"\S")}
_MOSTLY = 0.9  # of the words of texts in which each character is one
_SOME = 0.02  # of words that are a sign alone, where signs were cut off


def way_of(texts: Iterable[tuple[str, Mapping[str, str]]]) -> Way:
    """How the words of texts, each with its facts, were cut: at spaces, with signs apart, or every character alone."""
    words = single = signs = 0
    for text, facts in texts:
        for start, end in words_of(text, facts):
            words += 1
            single += end - start == 1
            signs += not any(map(str.isalnum, text[start:end]))
    if words and single >= _MOSTLY * words:
        return "characters"
    return "signs" if words and signs >= _SOME * words else "spaces"


def places(text: str, facts: Mapping[str, str], way: Way) -> list[Place]:
    """Where the words of a text stand: those that are marked, or as many as it has tags, else by the way they were cut
    in training."""
    if WORDS in facts:
        return words_of(text, facts)
    spaced = words_of(text, {})
    if TAGS in facts and len(facts[TAGS].split()) == len(spaced):
        return spaced
    return [match.span() for match in _PATTERNS[way].finditer(text)]
