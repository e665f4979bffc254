"""Signs: what words leave out and meaning hangs on, for whoever compares texts by their words.

`-5` and `5`, `x > y` and `x < y`, `1.2` and `1,2`, `C++` and `C#`, `Is it true?` and `It is true!`, `US` and `us` have
the same words. A sign is a symbol that is no mere punctuation: an operator, a currency, an emoji, a question mark; a
mark inside a number; a minus; and the spelling of a word with capitals after its first letter, or of a single capital
letter, except in texts that are all in capitals. Quotation marks, brackets, commas, full stops, exclamation marks after
words, hyphens and dashes between words are none: typesetters change them freely.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import GOLDEN, mixed
from textmill.text.words import SYMBOL, Spelt, Words, spelt

_TABLE = 0x20000  # code points looked up; those above are no punctuation
_SHOUTED = 5  # words in capitals, and half of all, make a text of capitals
_FACTOR = np.uint64(GOLDEN)
_BEFORE, _AFTER = (
    np.uint64(0x5851F42D4C957F2D),
    np.uint64(0x14057B7EF767814F),
)  # odd: which side a word stands on


@dataclass(frozen=True, slots=True)
class Signs:
    """The m signs of the n words of D texts, in order; those of text d are [offsets[d], offsets[d + 1])."""

    hash: NDArray[np.uint64]  # (m,)
    before: NDArray[np.int64]  # (m,) the number of the word before each, -1 where none of its text is
    after: NDArray[np.int64]  # (m,) of the word after it; of a spelling, `before` and `after` are that word
    offsets: NDArray[np.int64]  # (D + 1,)

    def placed(self, words: Words) -> NDArray[np.uint64]:
        """(m,) a hash of each sign and the words beside it."""
        hashes = np.append(words.hash, np.uint64(0))  # -1: no word
        return mixed(self.hash ^ hashes[self.before] * _BEFORE ^ hashes[self.after] * _AFTER)


def signed(texts: Sequence[str]) -> tuple[Words, Signs]:
    """The words of each text, case aside, as `words.hashes` gives them, and its signs."""
    tokens = spelt(texts)
    is_word = tokens.kind != SYMBOL
    number = np.cumsum(is_word)  # of words up to and with each token
    offsets = np.concatenate([[0], number])[tokens.offsets]
    at = np.flatnonzero(is_word)
    words = Words(tokens.hash.take(at), tokens.start.take(at), tokens.end.take(at), offsets)
    found = np.zeros(len(is_word), bool)
    found[_symbols(tokens)] = found[_spellings(tokens, np.diff(offsets))] = True
    at = np.flatnonzero(found)
    spelling = is_word[at]
    text = np.searchsorted(tokens.offsets, at, side="right") - 1
    before = number[at] - 1
    after = np.where(spelling, before, before + 1)
    before = np.where(before < offsets[text], -1, before)
    after = np.where(after >= offsets[text + 1], -1, after)
    code = tokens.code[at]
    folded = _folded().take(code, mode="clip").astype(np.uint64) * _FACTOR
    folded += (tokens.end[at] - tokens.start[at]).astype(np.uint64)
    symbols = mixed(np.where(code < _TABLE, folded, tokens.hash[at]))
    values = np.where(
        spelling, mixed(tokens.hash[at] ^ tokens.capitals[at].astype(np.uint64) * _FACTOR), symbols
    )
    return words, Signs(values, before, after, np.searchsorted(at, tokens.offsets))


def signed_words(texts: Sequence[str]) -> Words:
    """The words of each text, case aside, each hashed together with the signs beside it."""
    words, signs = signed(texts)
    value = words.hash.copy()
    for beside, factor in ((signs.before, _BEFORE), (signs.after, _AFTER)):
        there = beside >= 0
        np.add.at(value, beside[there], mixed(signs.hash[there] * factor))
    return Words(value, words.start, words.end, words.offsets)


def _symbols(tokens: Spelt) -> NDArray[np.int64]:
    """(k,) which tokens are symbols that say something where they stand."""
    at = np.flatnonzero(tokens.kind == SYMBOL)
    code = tokens.code.take(at)
    kinds = np.where(code < _TABLE, _kinds().take(code, mode="clip"), np.uint8(0))
    at, kinds = at[kinds != _QUIET], kinds[kinds != _QUIET]  # most marks are nothing else
    edges = np.zeros(len(tokens.kind) + 1, bool)
    edges[tokens.offsets] = True
    first, final = edges[at], edges[at + 1]  # of its text
    left, right = np.maximum(at - 1, 0), np.minimum(at + 1, len(tokens.kind) - 1)
    start, end = tokens.start[at], tokens.end[at]
    word_left, word_right = (tokens.kind[left] != SYMBOL) & ~first, (tokens.kind[right] != SYMBOL) & ~final
    close_left, close_right = (tokens.end[left] == start) & ~first, (tokens.start[right] == end) & ~final
    digit_left, digit_right = word_left & tokens.last_digit[left], word_right & tokens.first_digit[right]
    # Short words are what formulas are made of.
    short_left = word_left & ((tokens.end[left] - tokens.start[left] == 1) | tokens.first_digit[left])
    short_right = word_right & ((tokens.end[right] - tokens.start[right] == 1) | tokens.first_digit[right])

    def of(kind: int) -> NDArray[np.bool_]:
        return (kinds & np.uint8(kind)) > 0

    one, dash = end - start == 1, of(_DASH)
    number = of(_IN_NUMBER) & close_left & close_right & digit_left & digit_right
    leading = of(_LEADS) & close_right & digit_right & ~(close_left & word_left)  # -5, .5
    operator = (
        (dash | of(_STAR)) & short_left & short_right & (close_left == close_right) & ~(dash & close_left)
    )
    heading = of(_HEADS) & ~close_left & ~close_right
    exclaimed = of(_EXCLAIMS) & close_left & word_left & ~digit_left & ~close_right
    ruled = of(_RULES) & (end - start >= 3)
    quiet = of(_QUIET | _STAR) | heading | exclaimed | ruled
    return at[~quiet | (one & (number | leading | operator))]


def _spellings(tokens: Spelt, words: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k,) which tokens are words that are spelt on purpose as they are. In a text of capitals they say nothing."""
    at = np.flatnonzero(tokens.capitals)
    text = np.searchsorted(tokens.offsets, at, side="right") - 1
    capitals = np.bincount(text, minlength=len(words))
    shouted = (capitals >= _SHOUTED) & (2 * capitals >= words)
    return at[~shouted[text]]


@cache
def _folded() -> NDArray[np.int64]:
    """What each code point stands for: full-width forms for ASCII, every dash and minus for the hyphen."""
    table = np.arange(_TABLE)
    table[0xFF01:0xFF5F] -= 0xFEE0
    table[[code for code in range(0x2000, 0x3100) if unicodedata.category(chr(code)) == "Pd"]] = ord("-")
    table[0x2212] = ord("-")
    return table


# What a symbol may be, by its code point; where it is nothing of it, it always is a sign.
_QUIET, _IN_NUMBER, _LEADS, _DASH, _STAR, _RULES, _HEADS, _EXCLAIMS = (1 << bit for bit in range(8))
_QUIET_MARKS = ".,:'·-"  # the commonest; others are no tokens at all (`words.spelt`)
_KINDS = (
    (_QUIET_MARKS, _IN_NUMBER),  # between two digits these are part of the number
    ("-.", _LEADS),
    ("-", _DASH),
    ("*", _STAR),  # emphasis, or the mark of a line in a list
    ("-=*_~#+", _RULES),  # three and more in a row are a line
    ("#", _HEADS),
    ("!", _EXCLAIMS),
)


@cache
def _kinds() -> NDArray[np.uint8]:
    kinds = np.zeros(_TABLE, np.uint8)
    kinds[[ord(character) for character in _QUIET_MARKS]] = _QUIET
    for characters, kind in _KINDS:
        kinds[[ord(character) for character in characters]] |= kind
    return kinds[_folded()]
