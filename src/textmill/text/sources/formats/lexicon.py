"""Which words a language has, and how common they are: the lists of pyspellchecker (extra `documents`)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

_LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "ru")
_MOST = 400  # words of a document that say its language
_KNOWN = 0.6  # share of them that a list must have; one of a related language has half
_CERTAIN = 0.8  # from here on no other list is looked at


@dataclass(frozen=True)
class Lexicon:
    """The words of one language, in small letters, and how often each was met."""

    language: str
    counts: Mapping[str, int]

    @property
    def compounds(self) -> bool:
        """Whether the language writes words of words as one, which no list can have all of."""
        return self.language in ("de", "nl")


@functools.lru_cache(2)
def _lexicon(language: str) -> Lexicon:
    from spellchecker import SpellChecker

    return Lexicon(language, SpellChecker(language=language, distance=1).word_frequency.dictionary)


def of_text(words: Counter[str]) -> Lexicon | None:
    """The lexicon of the language that a document is written in, by its words; None where none has them.

    Raises ImportError without the library.
    """
    sample = [word for word, _ in words.most_common() if len(word) > 2 and "-" not in word][:_MOST]
    best, share = "", 0.0
    for language in _LANGUAGES if sample else ():
        counts = _lexicon(language).counts
        known = sum(word in counts for word in sample) / len(sample)
        if known > share:
            best, share = language, known
        if share >= _CERTAIN:
            break
    return _lexicon(best) if share >= _KNOWN else None
