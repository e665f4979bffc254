"""Where the words of many texts stand, and a 64-bit hash of each: numpy over a batch, no loop over words.

Two ways of cutting a text:

- `hashes`: words. A word is a longest run of letters, digits and the marks that belong to them (Unicode categories
  L, N, Mn, Mc), but each hanzi and each kana is a word of its own; everything else only parts words.
- `tokens`: those words and, between them, symbols: a symbol is a longest run of one and the same character that
  is neither in a word nor a space nor a control, so `--` is one and `?!` are two. Much like the tokens of spaCy's
  rules, in which the quality filters of others count.

A run longer than `LONGEST` characters counts as several words of that length, so that no text makes a hash cost
more memory than another. The hash is a polynomial in the code points modulo 2**64, mixed at the end; it is the
same in every process and on every machine (up to characters that only newer Unicode tables know), and two
different words of everyday text share one with probability 2**-64.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import GOLDEN, mixed

LONGEST = 4096  # characters of a word
_CHUNK = 1 << 16  # characters looked at in one turn: what the turn needs then stays in the processor's cache
_TABLE = 0x40000  # code points with an entry of their own; the planes above hold neither letters nor symbols
_CASED = 0x20000  # no character from here on has a lower case
_ALONE = 1 << 31  # set in the kind of a character that is a word of its own
# Hanzi and kana; the marks of iteration and length are written like them.
ALONE_RANGES = (
    (0x3005, 0x3007), (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D), (0x20000, 0x3FFFD),
)  # fmt: skip
# The same as the inside of a character class of regular expressions.
ALONE_CHARACTERS = "".join(f"{chr(low)}-{chr(high)}" for low, high in ALONE_RANGES)
_DUMB = frozenset(
    ("Ps", "Pe", "Pi", "Pf", "Pc", "Cf")
)  # brackets, quotation marks, joiners: they never say anything
_DUMB_MARKS = '"`´•…‧∙・‥、。｡､;；'  # nor do these of other categories
_SELECTORS = range(0xFE00, 0xFE10)  # marks by category, but they choose between shapes of symbols


@dataclass(frozen=True, slots=True)
class Words:
    """The n words of D texts, in order; those of text d are [offsets[d], offsets[d + 1])."""

    hash: NDArray[np.uint64]  # (n,)
    start: NDArray[np.int64]  # (n,) first character, within its text
    end: NDArray[np.int64]  # (n,) one past the last
    offsets: NDArray[np.int64]  # (D + 1,)


@dataclass(frozen=True, slots=True)
class Tokens(Words):
    """The words and symbols of D texts, and what each is: SYMBOL, NUMBER, ASCII, OTHER or ALONE."""

    kind: NDArray[np.uint8]  # (n,)


@dataclass(frozen=True, slots=True)
class Spelt(Tokens):
    """Words (case aside) and symbols of D texts, and how each is written. The hash is that of the lower case. Of a
    kind of several characters the first decides, so that SYMBOL and ALONE are told from all others, and no more."""

    code: NDArray[np.uint32]  # (n,) the first code point
    first_digit: NDArray[np.bool_]  # (n,) whether it begins with one of 0 to 9
    last_digit: NDArray[np.bool_]  # (n,) whether it ends with one
    # (n,) 0, or, where a word has a capital after its first letter or is a single one (but A or I): twice the number of
    # its capitals, and 1 where it begins with one.
    capitals: NDArray[np.uint16]


# Kinds of tokens. A word is of the highest kind among its characters.
SYMBOL = 0
NUMBER = 1  # no letter in it
ASCII = 2  # its letters are those of ASCII
OTHER = 3
ALONE = 4  # a hanzi or a kana


def hashes(texts: Sequence[str], lower: bool = True) -> Words:
    """The words of each text, hashed with or without regard to case (simple case mapping, one to one).

    The same text gives the same words whatever stands beside it in `texts`. Memory: 24 bytes per word.
    """
    joined, begins = _joined(texts)
    turns = [
        (start, end, _hashed(_lowered(codes) if lower else codes, start - at, end - at))
        for codes, at, start, end in _turns(joined, symbols=False)
    ]
    value, start, end, offsets = _assembled(turns, begins)
    return Words(value, start, end, offsets)


def tokens(texts: Sequence[str]) -> Tokens:
    """The words and symbols of each text; case counts. Memory: 25 bytes per token."""
    joined, begins = _joined(texts)
    turns, kinds = [], [np.empty(0, np.uint8)]
    for codes, at, start, end in _turns(joined, symbols=True):
        turns.append((start, end, _hashed(codes, start - at, end - at)))
        kinds.append(_classed(codes, start - at, end - at))
    value, start, end, offsets = _assembled(turns, begins)
    return Tokens(value, start, end, offsets, np.concatenate(kinds))


def spelt(texts: Sequence[str]) -> Spelt:
    """The words and symbols of each text, and how they are written; no brackets, quotation marks and the like, which
    only part words here. Memory: 42 bytes per token."""
    joined, begins = _joined(texts)
    turns, others, kind_of = [], [_no_spelling()], _class_table()
    for codes, at, start, end in _turns(joined, symbols="telling"):
        lowered, first, after = _lowered(codes), start - at, end - at
        turns.append((start, end, _hashed(lowered, first, after)))
        begun, ended = codes.take(first), codes.take(after - 1)
        others.append(
            (
                kind_of.take(begun, mode="clip"),
                begun.astype(np.uint32),
                (begun >= ord("0")) & (begun <= ord("9")),
                (ended >= ord("0")) & (ended <= ord("9")),
                _capitals(codes, lowered, first, after),
            )
        )
    value, start, end, offsets = _assembled(turns, begins)
    return Spelt(
        value, start, end, offsets, *(np.concatenate(column) for column in zip(*others, strict=True))
    )


def _no_spelling() -> tuple[NDArray, ...]:
    return tuple(np.empty(0, kind) for kind in (np.uint8, np.uint32, np.bool_, np.bool_, np.uint16))


def _capitals(codes: NDArray, lowered: NDArray, start: NDArray, end: NDArray) -> NDArray[np.uint16]:
    """`Spelt.capitals` of each token [start, end) of a piece: only where a capital stands is anything looked at."""
    upper = np.flatnonzero(codes != lowered)
    word = np.searchsorted(start, upper, side="right") - 1
    upper, word = upper[word >= 0], word[word >= 0]
    word = word[upper < end.take(word)]  # others stand in no token
    numbers = np.bincount(word, minlength=len(start))
    which = np.flatnonzero(numbers > 0)
    number, first = numbers.take(which), start.take(which)
    begun = codes.take(first)
    capital = begun != lowered.take(first)
    alone = capital & (end.take(which) - first == 1) & (begun != ord("A")) & (begun != ord("I"))
    capitals = np.zeros(len(start), np.uint16)
    capitals[which] = np.where((number > capital) | alone, 2 * number + capital, 0)
    return capitals


def count(text: str, enough: int) -> int:
    """How many words a text has; counting stops soon after `enough`. Needs no memory to speak of."""
    number = 0
    for _, _, start, _ in _turns(text, symbols=False):
        number += len(start)
        if number > enough:
            break
    return number


def hash_of(word: str) -> int:
    """The hash of one word or symbol, case counting."""
    words = tokens([word])
    if len(words.hash) != 1 or words.end[0] - words.start[0] != len(word):
        raise ValueError(f"{word!r} is not one word")
    return int(words.hash[0])


def _joined(texts: Sequence[str]) -> tuple[str, NDArray[np.int64]]:
    """The texts as one, and where each begins in it."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = np.cumsum(lengths + 1) - (lengths + 1)
    return texts[0] if len(texts) == 1 else "\n".join(texts), begins  # a line end is in no word


def _assembled(
    turns: list[tuple[NDArray, NDArray, NDArray]], begins: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Hashes, starts, ends within their texts, and offsets, from those of the turns."""
    start = np.concatenate([np.empty(0, np.int64), *(turn[0] for turn in turns)])
    end = np.concatenate([np.empty(0, np.int64), *(turn[1] for turn in turns)])
    value = np.concatenate([np.empty(0, np.uint64), *(turn[2] for turn in turns)])
    offsets = np.append(np.searchsorted(start, begins), len(start))
    shift = np.repeat(begins, np.diff(offsets))
    start -= shift
    end -= shift
    return value, start, end, offsets


def _turns(
    text: str, *, symbols: bool | Literal["telling"]
) -> Iterator[tuple[NDArray, int, NDArray, NDArray]]:
    """(code points of a piece, where it begins, starts of its words in the text, ends), turn by turn."""
    at = 0
    while at < len(text):
        piece = text[at : at + _CHUNK]
        codes, kinds = _kinds(piece, symbols)
        edges = np.empty(len(piece) + 1, bool)
        edges[0] = edges[-1] = True
        np.not_equal(kinds[1:], kinds[:-1], out=edges[1:-1])
        if codes.dtype != np.uint8:
            edges[:-1] |= kinds >= _ALONE
        bounds = np.flatnonzero(edges)
        inside = np.flatnonzero(kinds.take(bounds[:-1]))  # positions are taken faster than by a mask
        start, end = _shortened(bounds.take(inside), bounds.take(inside + 1))
        step = len(piece)
        if at + step < len(text) and len(end) and end[-1] == step:  # it may go on in the next turn
            step = int(start[-1])
            start, end = start[:-1], end[:-1]
        yield codes, at, start + at, end + at
        at += step


def _hashed(codes: NDArray, start: NDArray, end: NDArray) -> NDArray[np.uint64]:
    """The hash of each word [start, end) of a piece: the sum of code * GOLDEN**(position in the word), mixed."""
    powers, inverses = _powers()
    sums = np.empty(len(codes) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(np.multiply(codes, powers[: len(codes)], dtype=np.uint64), out=sums[1:])
    return mixed((sums.take(end) - sums.take(start)) * inverses.take(start))


def _classed(codes: NDArray, start: NDArray, end: NDArray) -> NDArray[np.uint8]:
    """The kind of each token of a piece."""
    table = _class_table()
    kinds = table.take(codes[start], mode="clip")
    # Most words begin with the highest kind they hold: only those need a look inside that begin with a digit,
    # or with an ASCII letter where others may follow.
    doubtful = kinds == NUMBER
    if codes.dtype != np.uint8:
        doubtful |= kinds == ASCII
    doubtful &= end - start > 1
    which = np.flatnonzero(doubtful)
    if len(which):
        lengths = (end - start)[which]
        begins = np.cumsum(lengths) - lengths
        positions = np.arange(lengths.sum()) + np.repeat(start[which] - begins, lengths)
        kinds[which] = np.maximum.reduceat(table.take(codes[positions], mode="clip"), begins)
    return kinds


def _shortened(start: NDArray, end: NDArray) -> tuple[NDArray, NDArray]:
    """Runs, those longer than LONGEST cut into several."""
    if not len(start) or (end - start).max() <= LONGEST:
        return start, end
    parts = -(-(end - start) // LONGEST)
    which = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    start = np.repeat(start, parts) + which * LONGEST
    return start, np.minimum(start + LONGEST, np.repeat(end, parts))


def _kinds(piece: str, symbols: bool | Literal["telling"]) -> tuple[NDArray, NDArray]:
    """Code points, and what each is: 0 parts words, equal neighbours belong together unless >= _ALONE."""
    table = _kind_table(symbols)
    if piece.isascii():
        data = piece.encode("ascii")
        narrow = data.translate(_narrow(symbols))
        return np.frombuffer(data, np.uint8), np.frombuffer(narrow, np.uint8)
    codes = np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes, table.take(codes, mode="clip")


@cache
def _class_table() -> NDArray[np.uint8]:
    """The kind of token each code point would be alone."""
    classes = np.full(_TABLE, SYMBOL, np.uint8)
    for code in np.flatnonzero(_kind_table(False) == 1).tolist():
        character = chr(code)
        letter = character.isalpha()
        classes[code] = (ASCII if code < 128 else OTHER) if letter else NUMBER
    classes[_kind_table(False) >= _ALONE] = ALONE
    return classes


def _lowered(codes: NDArray) -> NDArray:
    if codes.dtype == np.uint8:
        return np.frombuffer(codes.tobytes().lower(), np.uint8)
    return np.where(codes < _CASED, _lower_table().take(codes, mode="clip"), codes)


@cache
def _powers() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """GOLDEN**i and GOLDEN**-i modulo 2**64, i = 0 .. _CHUNK."""
    tables = []
    for base in (GOLDEN, pow(GOLDEN, -1, 1 << 64)):
        factors = np.full(_CHUNK + 1, base, np.uint64)
        factors[0] = 1
        tables.append(np.multiply.accumulate(factors))
    return tables[0], tables[1]


@cache
def _kind_table(symbols: bool | Literal["telling"]) -> NDArray[np.uint32]:
    """The kind of each code point: 0 (parts words), 1 (in a word), itself (a symbol), itself + _ALONE.

    symbols: whether any are told from spaces; `telling`: those that may say something.
    """
    kinds = np.zeros(_TABLE, np.uint32)
    for code in range(_CASED):
        character = chr(code)
        category = unicodedata.category(character)
        if (category[0] in "LN" or category in ("Mn", "Mc")) and code not in _SELECTORS:
            kinds[code] = 1
        elif symbols and category != "Cc" and not character.isspace() and code not in _SELECTORS:
            dumb = symbols == "telling" and (category in _DUMB or character in _DUMB_MARKS)
            kinds[code] = 0 if dumb else code
    for low, high in ALONE_RANGES:
        kinds[low : high + 1] = np.arange(low, high + 1) + _ALONE
    return kinds


@cache
def _narrow(symbols: bool | Literal["telling"]) -> bytes:
    return _kind_table(symbols)[:256].astype(np.uint8).tobytes()


@cache
def _lower_table() -> NDArray[np.uint32]:
    """The lower case of each code point below _CASED, where it is one character."""
    lowered = [chr(code).lower() for code in range(_CASED)]
    return np.array([ord(c) if len(c) == 1 else code for code, c in enumerate(lowered)], np.uint32)
