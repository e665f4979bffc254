"""Which encoding makes bytes into the likeliest words: every code page is tried by the letters of its languages.

A reading is an encoding and a language. It costs -log2 of the probability that the language gives to the words it
makes of the bytes: pairs of letters for alphabets, single characters for Chinese, Japanese and Korean, typographic
signs by where they stand (a noisy channel: Shannon 1948). The cheapest reading is believed where it is cheaper by far
than every reading that gives another text, and its letters are no dearer than those of real words; otherwise none is.
Only words that hold more than ASCII count, each once: ASCII is the same in every encoding that is tried.

The tables are `letters.json`; benchmarks/letters.py says how they were made.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from textmill.text.sources.formats import charset  # noqa: F401 (it registers the encodings that Python lacks)

_T = TypeVar("_T")

MARGIN = 10.0  # bits by which a reading must be cheaper than any other
_LEAST_EVIDENCE = 4.0  # of these, those of words, not of how common an encoding is
_CONFLICT = 0.12  # share of what words gain that others may lose
_RANDOM, _RANDOM_WIDE = 8.0, 16.0  # bits of a random byte and of two
_DEAREST, _DEAREST_WIDE = (
    7.0,
    12.5,
)  # bits a pair of letters, one of them not ASCII, or a wide character may cost
_CONTRADICTION = 30.0  # bits by which a reading must be cheaper than one that somebody claims
_EVIDENCE = 24.0  # bits by which the words of UTF-16 must be cheaper than random bytes
_SEVEN_BITS = bytes(range(128))
_SAMPLE = 1 << 13  # bytes of words that are looked at
_GLANCE, _HOPELESS = 600, 150.0  # bytes looked at first, and the bits by which a reading of them is given up
_FOREIGN, _FAR = 3.0, 8.0  # bits for a word of another language than the text's: of `_NEAR`, and of others
_NEAR = ("en", "fr", "es", "de", "it", "pt", "ru")
_FEW = 12.0  # bits for a text in another script most of whose letters are Latin
_UNABLE = (
    8.0  # bits for a language in a code page that lacks one of its letters: nobody writes French without è
)
_SPLICED = 10.0  # bits for characters of two bytes with Latin letters on both sides

# Code pages of one byte a character, by how much rarer than the commonest they are, in bits.
_PAGES = {
    0: "cp1252 cp1251",
    2: "cp1250 cp1253 cp1254 cp1255 cp1256 cp1257 koi8-r cp874",
    4: "iso8859-2 iso8859-15 iso8859-7 iso8859-8 iso8859-5 iso8859-6",
    6: "iso8859-4 iso8859-13 iso8859-16 iso8859-3 koi8-u cp1258 cp437 cp850 cp852 cp866 mac-roman mac-cyrillic",
    8: "cp737 cp855 cp857 cp858 cp862 cp865 mac-greek mac-turkish",
    10: "cp775 cp860 cp861 cp863 cp869 iso8859-10",
    12: "mac-latin2 mac-iceland mac-croatian mac-romanian",
}
_OTHER = 10.0  # for an alphabet written in an encoding of two bytes
# Those of two bytes, and which languages they may hold.
_WIDE: dict[str, tuple[float, str]] = {
    "gb18030": (0, "zh zh-hant ja"),
    "big5_extended": (2, "zh-hant"),
    "cp932": (2, "ja zh-hant"),
    "euc_jp_extended": (2, "ja zh-hant"),
    "cp949": (2, "ko zh-hant"),
    "johab": (10, "ko zh-hant"),
}


@dataclass(frozen=True)
class Reading:
    """How bytes may be read."""

    encoding: str
    language: str
    cost: float  # bits, of the words that were looked at
    mean: float  # bits for each pair of letters (or character of two bytes) that is not ASCII
    rarity: float  # bits of `cost` that are no evidence
    wide: bool  # whether a character is two bytes
    words: np.ndarray  # (words,) bits of each

    def clearer(self, other: Reading) -> bool:
        """Whether this is cheaper by far, not only because its encoding is the commoner, and for nearly every word."""
        more = other.words - self.words
        gained, lost = float(more[more > 0].sum()), -float(more[more < 0].sum())
        return (
            other.cost - self.cost >= MARGIN
            and gained - lost >= _LEAST_EVIDENCE
            and lost <= _CONFLICT * gained
        )

    @property
    def natural(self) -> bool:
        """Whether real words cost as little."""
        return self.mean <= (_DEAREST_WIDE if self.wide else _DEAREST)


def reading(data: bytes) -> Reading | None:
    """How bytes that are not UTF-8 are to be read; None where that cannot be told."""
    return believed(readings(data))


def believed(found: list[tuple[str, Reading]]) -> Reading | None:
    """The first of some readings, cheapest first, where it is natural and clearer than all others."""
    if not found or not found[0][1].natural:
        return None
    best = found[0][1]
    return best if all(best.clearer(other) for _, other in found[1:]) else None


def fits(data: bytes, encoding: str) -> bool:
    """Whether bytes may be in an encoding that somebody says they are in: they make words, or none that is likelier.

    Programs say Windows-1252 (or Latin-1, or ASCII) without being asked, and others what their user's machine writes.
    """
    words = _words(data)
    text = _decoded(b"\n".join([b"", *words, b""]), encoding)
    if not words or (encoding not in _WIDE and encoding not in {name for _, name in _pages()}):
        return True
    if encoding in _WIDE:
        every = [_by_characters(text, 0.0, encoding, name) for name in _WIDE[encoding][1].split()]
    else:
        every = [_by_pairs(text, 0.0, encoding, _ascii_costs(data))]
    claimed = min(every, key=lambda one: one.cost)
    if claimed.natural:
        return True
    found = reading(data)
    return found is None or found.encoding == encoding or claimed.cost - found.cost < _CONTRADICTION


def wide(sample: bytes) -> str:
    """UTF-16 without a mark, told by its words; empty for none. `sample` is a whole number of 16-bit units."""
    found: list[tuple[float, str]] = []
    for encoding in ("utf-16-le", "utf-16-be"):
        units = np.frombuffer(sample[:_SAMPLE], "<u2" if encoding.endswith("le") else ">u2")
        high = units > 0x7F
        if high.sum() < 4 or ((units < 0x20) & ~np.isin(units, (9, 10, 13))).any():
            continue
        text = "\n".join(["", *sample[:_SAMPLE].decode(encoding, "replace").split(), ""])
        readings = [_by_characters(text, 0.0, encoding, name) for name in _tables()["characters"]]
        if not (units[high] >= 0x2E80).all():
            readings.append(_by_pairs(text, 0.0, encoding, dict.fromkeys(_alphabets(), 0.0)))
        if best := min((one for one in readings if one.natural), key=lambda one: one.mean, default=None):
            bits = (_RANDOM_WIDE if best.wide else 2 * _RANDOM) - best.mean
            found.append((bits * int(high.sum()), encoding))
    return max(found)[1] if found and max(found)[0] >= _EVIDENCE else ""


def readings(data: bytes) -> list[tuple[str, Reading]]:
    """(what comes of the words looked at, how), each text once, cheapest first; those that cost far more left out."""
    words = _words(data)
    if not words:
        return []
    plain = _ascii_costs(data)
    distinct = set(data)
    pages = {name: rarity for rarity, name in _pages() if not _holes(name).intersection(distinct)}
    few = b"\n".join([b"", *words])[:_GLANCE].rpartition(b"\n")[0] or b"\n" + words[0][:_GLANCE]
    glance = _read(few + b"\n", pages, _WIDE, plain)
    hopeful = {_same(text) for text, one in glance if one.cost < glance[0][1].cost + _HOPELESS}

    def kept(encodings: Mapping[str, _T]) -> dict[str, _T]:
        return {name: how for name, how in encodings.items() if _same(_decoded(few + b"\n", name)) in hopeful}

    return _read(b"\n".join([b"", *words, b""]), kept(pages), kept(_WIDE), plain)


def _read(
    sample: bytes, pages: dict[str, float], wide: dict[str, tuple[float, str]], plain: dict[str, float]
) -> list[tuple[str, Reading]]:
    """What comes of lines of words in each of some encodings, each text once, cheapest first."""
    texts: dict[str, tuple[str, str]] = {}
    for encoding in pages:  # the commonest come first
        text = _decoded(sample, encoding)
        texts.setdefault(_same(text), (text, encoding))
    found = [(text, _by_pairs(text, pages[encoding], encoding, plain)) for text, encoding in texts.values()]
    for encoding, (rarity, languages) in wide.items():
        text = _decoded(sample, encoding)
        found += [(text, _by_characters(text, rarity, encoding, name)) for name in languages.split()]
        found.append((text, _by_pairs(text, rarity + _OTHER, encoding, plain)))
    cheapest: dict[str, Reading] = {}
    for text, one in sorted(found, key=lambda pair: pair[1].cost):
        cheapest.setdefault(text, one)
    return list(cheapest.items())


def _decoded(lines: bytes, encoding: str) -> str:
    """Lines of words in an encoding, the end of the last line included: alone it would be taken for the rest of a
    character that is cut off, as `£5` is one of four bytes in GB 18030."""
    return (lines + b"\n\n").decode(encoding, "replace").rstrip("\n") + "\n"


@functools.cache
def _holes(encoding: str) -> frozenset[int]:
    """The bytes that a code page has no character for."""
    return frozenset(byte for byte in range(256) if not bytes((byte,)).decode(encoding, "ignore"))


@functools.cache
def _pages() -> list[tuple[float, str]]:
    return [(float(rarity), name) for rarity, names in _PAGES.items() for name in names.split()]


def _words(data: bytes) -> list[bytes]:
    """Words of the bytes that are not ASCII, each once, and some for every byte that there is."""
    taken: dict[bytes, None] = {}
    size, seen = 0, set()
    for word in data.split():
        if word.isascii() or word in taken:
            continue
        if size < _SAMPLE or not seen.issuperset(word):
            taken[word[: _SAMPLE - 1]] = None
            size += len(word)
            seen.update(word)
    return list(taken)


# --- kinds of characters --------------------------------------------------------------------------------------------
_EDGE, _DIGIT, _POINT, _OPEN, _CLOSE, _EITHER, _APOSTROPHE, _DASH, _UNIT, _RARE, _BAD = range(11)
_ASCII, _KIN, _KIN_CAPITAL, _ALIEN, _LETTER, _CAPITAL = range(11, 17)
_SIGNS = {
    **dict.fromkeys("„‚«‹¿¡", _OPEN),
    **dict.fromkeys("”›ºª", _CLOSE),
    **dict.fromkeys("“‘»", _EITHER),
    **dict.fromkeys("’´", _APOSTROPHE),
    **dict.fromkeys("–—…·•", _DASH),
    **dict.fromkeys("€£§°²³½¼¾©®™№‰×±", _UNIT),
}
_SIGN_COSTS = {
    **dict.fromkeys("’", 0.0),
    **dict.fromkeys("“”„«»–—€£", 2.0),
    **dict.fromkeys("‘´…§°", 4.0),
    **dict.fromkeys("‚‹›•·²³½¼¾¿¡ºª©®™№×±‰\xa0", 6.0),
    "\xad": 10.0,
}


_LETTERS = (_ASCII, _KIN, _KIN_CAPITAL, _ALIEN, _LETTER, _CAPITAL)
_SMALL = (_ASCII, _KIN, _ALIEN, _LETTER)
_NO_LETTERS = tuple(range(_ASCII))
_ALL = tuple(range(17))
# (kinds before, kinds after, bits): added up where several meet. What a language's letters cost comes on top.
_KIND_BITS: tuple[tuple[tuple[int, ...], tuple[int, ...], float], ...] = (
    (_ALL, (_DIGIT, _POINT, _DASH, _UNIT), 2),
    (_ALL, (_EITHER,), 1),
    (_LETTERS, (_EITHER,), 4),
    ((_EITHER,), _LETTERS, 4),
    (_LETTERS, (_DASH,), 5),
    ((_DASH,), _LETTERS, 3),
    ((_OPEN,), (_OPEN,), 6),
    (_ALL, (_APOSTROPHE,), 4),
    ((_DIGIT,), (_CLOSE,), 7),
    ((_DASH,), (_EDGE,), 4),
    ((_EDGE,), (_DASH,), -4),
    (_ALL, (_RARE,), 12),
    (_ALL, (_BAD,), 25),
    (_LETTERS, (_DIGIT, _UNIT), 5),
    ((_UNIT,), _LETTERS, 3),
    ((_UNIT,), (_UNIT, _EITHER, _APOSTROPHE, _DASH), 6),
    ((*_LETTERS, _DIGIT), (_OPEN,), 8),
    ((_EDGE, _OPEN), (_CLOSE,), 8),
    ((_OPEN,), (_EDGE,), 8),
    ((_CLOSE,), _LETTERS, 8),
    ((_DIGIT, _UNIT), _LETTERS, 5),
    ((_RARE, _BAD), _LETTERS, 4),
    (_LETTERS, (_RARE,), 6),
    (_NO_LETTERS, (_CAPITAL, _KIN_CAPITAL), 2.5),
    ((_CAPITAL, _KIN_CAPITAL), (_CAPITAL, _KIN_CAPITAL), 2),
    (_SMALL, (_CAPITAL, _KIN_CAPITAL), 9),  # LIKE tHIS
    (_ALL, (_KIN, _KIN_CAPITAL), 11),
    (_ALL, (_ALIEN,), 16),
    (_ALL, (_ASCII,), 5),  # only where the language has none: a name in a text in Greek
    ((_KIN, _KIN_CAPITAL, _ALIEN, _LETTER, _CAPITAL), (_ASCII,), 9),
    ((_ASCII,), (_KIN, _KIN_CAPITAL, _LETTER, _CAPITAL), 13),
)


def _kinds() -> np.ndarray:
    """(17, 17) bits of a kind of character after another."""
    bits = np.zeros((17, 17), np.float32)
    for before, after, more in _KIND_BITS:
        bits[np.ix_(before, after)] += more
    return bits


@dataclass(frozen=True)
class _Alphabet:
    """A language's costs, over the characters that code pages have."""

    script: str
    index: np.ndarray  # (characters,) int, into `costs`
    costs: np.ndarray  # (indices, indices) bits: of the second, after the first


@functools.cache
def _characters() -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """(characters of all pages, code point -> their number, bits of each as a sign, whether each is not ASCII)."""
    every = {c for _, name in _pages() for c in bytes(range(256)).decode(name, "ignore")}
    characters = "\ufffd" + "".join(sorted(every - {"\ufffd"}))
    number = np.zeros(1 << 16, np.int32)
    number[[ord(c) for c in characters]] = np.arange(len(characters))
    signs = np.array([_SIGN_COSTS.get(c, 0.0) for c in characters], np.float32)
    return characters, number, signs, np.array([c > "\x7f" for c in characters])


def _script(c: str) -> str:
    return unicodedata.name(c, " ").split(" ")[0] if c.isalpha() or unicodedata.category(c) == "Mn" else ""


def _kind(c: str, script: str) -> int:
    """The kind of a character that is no letter of the language."""
    if c in _SIGNS:
        return _SIGNS[c]
    if c.isspace():
        return _EDGE
    if c.isascii():
        return _ASCII if c.isalpha() else _DIGIT if c.isdigit() else _POINT if c.isprintable() else _BAD
    category = unicodedata.category(c)
    if category in ("Cc", "Cn", "Co") or c == "\ufffd":
        return _BAD
    if c.isalpha() or category == "Mn":
        kin = _script(c) in (script, "COMBINING")
        return (_KIN_CAPITAL if c.isupper() else _KIN) if kin else _ALIEN
    return _DASH if c == "\xad" else _RARE


_SAME = {"ş": "ș", "ţ": "ț"}  # Romanian as it was written before Unicode 3


def _same(text: str) -> str:
    for other, same in _SAME.items():
        text = text.replace(other, same)
    return text


@functools.cache
def _tables() -> dict[str, dict[str, dict]]:
    return json.loads(Path(__file__).with_name("letters.json").read_text("utf-8"))


@functools.cache
def _scripts() -> list[str]:
    return sorted({alphabet.script for alphabet in _alphabets().values()})


@functools.cache
def _characters_script() -> np.ndarray:
    """The script of each character that is not ASCII, as a place in `_scripts()`; one beyond them for others."""
    place = {script: at for at, script in enumerate(_scripts())}
    return np.array(
        [len(place) if c.isascii() else place.get(_script(c), len(place)) for c in _characters()[0]]
    )


@functools.cache
def _alphabets() -> dict[str, _Alphabet]:
    return {name: _alphabet(table["letters"], table["costs"]) for name, table in _tables()["pairs"].items()}


def _alphabet(letters: str, rows: list[str]) -> _Alphabet:
    characters = _characters()[0]
    script = _script(letters[-1])
    count = len(letters)
    place = {c: 17 + at for at, c in enumerate(letters)}
    place |= {
        c.upper(): 17 + count + at for at, c in enumerate(letters) if len(c.upper()) == 1 and c.upper() != c
    }
    for other, same in _SAME.items():
        if same in place:
            place |= {other: place[same], other.upper(): place[same.upper()]}
    index = np.array([place[c] if c in place else _kind(c, script) for c in characters])
    kinds = np.array([*range(17), *[_LETTER] * count, *[_CAPITAL] * count])
    costs = _kinds()[kinds[:, None], kinds[None, :]]
    pairs = np.array(
        [[(ord(c) - 48) / 2 for c in row] for row in rows], np.float32
    )  # row 0: the edge of a word
    first, last = np.tile(pairs[0, 1:], 2), np.tile(pairs[1:, 0], 2)[:, None]
    costs[17:, 17:] += np.tile(pairs[1:, 1:], (2, 2))
    costs[:_ASCII, 17:] += first
    costs[_APOSTROPHE, 17:] += 3 - first  # few letters follow one, and not those that begin words
    costs[_ASCII:_LETTER, 17:] += 4.5
    costs[17:, :_ASCII] += last
    costs[17:, [_APOSTROPHE]] -= last
    costs[_ASCII:_LETTER, :_ASCII] += 3
    return _Alphabet(script, index, costs)


# --- alphabets ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Lines:
    """Lines of words as numbers of characters: ready to be priced in any language."""

    at: np.ndarray  # (n,) numbers of characters
    signs: np.ndarray  # (n - 1,) bits of each but the first as a sign
    unusual: np.ndarray  # (n - 1,) whether one of a pair is not ASCII
    starts: np.ndarray  # (words,) where each begins among the pairs

    @classmethod
    def of(cls, text: str) -> _Lines:
        _, number, signs, high = _characters()
        at = number[np.frombuffer(text.encode("utf-16-le"), "<u2")]
        unusual = high[at[:-1]] | high[at[1:]]
        return cls(at, signs[at[1:]], unusual, np.flatnonzero(at[:-1] == number[0x0A]))

    def costs(self, alphabet: _Alphabet) -> tuple[np.ndarray, np.ndarray]:
        """(bits of every word, of them those of pairs that are not ASCII)."""
        index = alphabet.index[self.at]
        bits = alphabet.costs[index[:-1], index[1:]] + self.signs
        return np.add.reduceat(bits, self.starts), np.add.reduceat(bits * self.unusual, self.starts)


def _ascii_costs(data: bytes) -> dict[str, float]:
    """What the words in ASCII cost in each language, beyond the cheapest: nothing where its letters are others."""
    words = itertools.islice(dict.fromkeys(word for word in data[:_SAMPLE].split() if word.isalpha()), 200)
    text = "\n".join(["", *(word.decode("ascii", "ignore") for word in words), ""])
    latin = {name: alphabet for name, alphabet in _alphabets().items() if alphabet.script == "LATIN"}
    lines = _Lines.of(text)
    costs = {name: float(lines.costs(alphabet)[0].sum()) for name, alphabet in latin.items()}
    least = min(costs.values())
    latin_letters = sum(map(len, re.findall(rb"[A-Za-z]+", data[: 8 * _SAMPLE])))
    high = len(data[: 8 * _SAMPLE].translate(None, _SEVEN_BITS))
    others = _FEW if high < 4 or latin_letters > 2 * high else 0.0
    return {name: costs[name] - least if name in costs else others for name in _alphabets()}


def _by_pairs(text: str, rarity: float, encoding: str, plain: dict[str, float]) -> Reading:
    """The cheapest reading of lines of words, in a language of the script that most of their letters have."""
    lines = _Lines.of(text)
    counts = np.bincount(_characters_script()[lines.at], minlength=len(_scripts()) + 1)[:-1]
    script = _scripts()[int(counts.argmax())] if counts.any() else "LATIN"
    names = [name for name, one in _alphabets().items() if one.script == script]
    bits, unusual = map(np.array, zip(*(lines.costs(_alphabets()[name]) for name in names), strict=True))
    foreign = bits + np.array([[_FOREIGN if name in _NEAR else _FAR] for name in names], np.float32)
    nearest, every = foreign.argmin(axis=0), np.arange(bits.shape[1])
    foreign, theirs = foreign[nearest, every], unusual[nearest, every]
    words = np.minimum(bits, foreign)
    lacking = np.array([encoding in _without(name) for name in names])
    own = ((bits <= foreign) & (np.add.reduceat(lines.unusual, lines.starts) > 0)).any(axis=1)
    unable = np.where(
        lacking & own, np.float32(_UNABLE), np.float32(0)
    )  # words of other languages prove nothing
    costs = words.sum(axis=1) + np.array([plain[name] for name in names], np.float32) + unable
    best = int(costs.argmin())
    rarity += float(unable[best])
    spent = np.where(bits[best] <= foreign, unusual[best], theirs).sum()
    mean = float(spent) / max(1, int(lines.unusual.sum()))
    cost = float(costs[best] - unable[best]) + rarity
    return Reading(encoding, names[best], cost, mean, rarity, False, words[best])


@functools.cache
def _without(language: str) -> frozenset[str]:
    """The code pages that lack a letter of a language; none of English, which is written on every machine."""
    if language == "en":
        return frozenset()
    letters = set(_same(_tables()["pairs"][language]["letters"]))
    return frozenset(
        name for _, name in _pages() if letters - set(_same(bytes(range(256)).decode(name, "ignore")))
    )


# --- many characters ------------------------------------------------------------------------------------------------
_FULL_MARKS = "、。，．！？：；「」『』（）《》〈〉【】〔〕“”‘’…—―–·・～〜ー々　"


@functools.cache
def _character_costs(language: str) -> np.ndarray:
    bits = np.full(1 << 16, 14.0, np.float32)
    bits[0x3400:0xA000] = bits[0xAC00:0xD7A4] = 20.0
    bits[0xE000:0xF900] = bits[0xFFFD] = bits[:0x20] = bits[0x80:0xA0] = 25.0
    bits[0x20:0x7F] = 6.0
    bits[0xFF01:0xFF5F] = 9.0
    bits[0xFF61:0xFFA0] = 11.0
    bits[[ord(c) for c in _FULL_MARKS]] = 6.0
    for cost, row in enumerate(_tables()["characters"][language], 5):
        codes = [ord(c) for c in row if ord(c) < 1 << 16]
        bits[codes] = cost
    bits[0x0A] = 0.0
    return bits


def _is_latin(codes: np.ndarray) -> np.ndarray:
    """Whether each is a letter of ASCII."""
    return ((codes | 0x20) >= ord("a")) & ((codes | 0x20) <= ord("z"))


def _by_characters(text: str, rarity: float, encoding: str, language: str) -> Reading:
    """A reading of words that an encoding of two bytes makes."""
    codes = np.frombuffer(text.encode("utf-16-le"), "<u2")
    bits = _character_costs(language)[codes]
    unusual = codes > 0x7F
    starts, ends = (np.flatnonzero(np.diff(unusual.astype(np.int8)) == turn) for turn in (1, -1))
    bits[ends + 1] += _SPLICED * (_is_latin(codes[starts]) & _is_latin(codes[ends + 1]))
    mean = float(bits[unusual].sum()) / max(1, int(unusual.sum()))
    words = np.add.reduceat(bits, np.flatnonzero(codes[:-1] == 0x0A))
    return Reading(encoding, language, float(bits.sum()) + rarity, mean, rarity, True, words)
