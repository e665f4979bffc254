"""Which bytes each id stands for, worked out from a tokenizer.json's decoder.

Decoders put spaces between words, take marks off pieces, and treat the first piece of a text otherwise than the
rest. All the ones people use can be expressed by two tables (inside a text, and at its beginning) and a number of
spaces to take off at the beginning, so a text can be decoded id by id and comes out as if decoded at once.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# What the `tokenizers` library's WordPiece decoder does with English, piece by piece.
_CLEANING = (
    *((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m")),
    *((" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")),
)
Step = Callable[[str, bool], str]  # (what a piece spells so far, whether it is the first of the text)


@dataclass(frozen=True)
class Spelling:
    """inside, opening: bytes by id, within a text and as its first; strip: spaces taken off its beginning."""

    inside: Sequence[bytes]
    opening: Sequence[bytes]
    strip: int

    def text(self, ids: Iterable[int], silent: frozenset[int]) -> str:
        """The text of ids, those in `silent` left out; bytes that are no UTF-8 become U+FFFD."""
        stream = Stream(self, silent)
        return "".join([stream.push(token) for token in ids]) + stream.finish()


class Stream:
    """Ids in, whole characters out: what `push` and `finish` return, joined, is the text of all the ids."""

    def __init__(self, spelling: Spelling, silent: frozenset[int]) -> None:
        self._spelling, self._silent = spelling, silent
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begin()

    def _begin(self) -> None:
        self._first, self._strip = True, self._spelling.strip

    def push(self, token: int) -> str:
        """The characters this id completes; empty while a character is still in pieces."""
        if token in self._silent or token >= len(self._spelling.inside):
            return ""
        data = (self._spelling.opening if self._first else self._spelling.inside)[token]
        self._first = False
        while self._strip and data:
            if data[:1] != b" ":
                self._strip = 0
            else:
                data, self._strip = data[1:], self._strip - 1
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What is left: U+FFFD when the ids stopped inside a character. A new text may begin after it."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._begin()
        return text


class Spelled:
    """What every tokenizer can do whose ids have a `Spelling`."""

    vocabulary: int
    special: Mapping[str, int]

    @property
    def spelling(self) -> Spelling:
        """The bytes of every id, inside a text and at its beginning."""
        raise NotImplementedError

    @cached_property
    def _silent(self) -> frozenset[int]:
        return frozenset(self.special.values())

    def token_bytes(self, token: int) -> bytes:
        """The bytes an id stands for inside a text, a space before a word included; none for a special token, or for an
        id beyond the vocabulary, which a model may have rows for."""
        beyond = token >= len(self.spelling.inside)
        return b"" if beyond or token in self._silent else self.spelling.inside[token]

    def byte_counts(self) -> np.ndarray:
        """(vocabulary,) int64: how many bytes each id stands for."""
        return np.array([len(self.token_bytes(token)) for token in range(self.vocabulary)], dtype=np.int64)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids. Special tokens vanish; bytes that are no UTF-8 become U+FFFD."""
        return self.spelling.text(ids.tolist() if isinstance(ids, np.ndarray) else ids, self._silent)

    def stream(self) -> Stream:
        """A decoder for ids that come one at a time."""
        return Stream(self.spelling, self._silent)

    def __len__(self) -> int:
        return self.vocabulary


def spelling(
    decoder: Mapping[str, Any] | None, tokens: Mapping[str, int], size: int, where: object
) -> Spelling:
    """The bytes of `tokens` (token to id, ids under `size`) as `decoder` (of a tokenizer.json) spells them.

    Raises TextmillError for a decoder that a Spelling cannot express.
    """
    steps, to_bytes, strip = understood(decoder, where)
    inside, opening = [b""] * size, [b""] * size
    for token, number in tokens.items():
        inside[number] = _spell(token, steps, to_bytes, False)
        opening[number] = _spell(token, steps, to_bytes, True)
    return Spelling(inside, opening, strip)


def understood(decoder: Mapping[str, Any] | None, where: object) -> tuple[list[Step], bool, int]:
    """(changes to a piece, whether <0xNN> is a byte, spaces taken off the beginning) of a decoder.

    Raises TextmillError when it does anything else.
    """
    if decoder is None:
        return [_apart], False, 0
    steps: list[Step] = []
    to_bytes, fused, strip = False, False, 0
    for part in decoder.get("decoders", [decoder]):
        kind = part.get("type")
        if kind in _STEPS and not fused:
            steps.append(_STEPS[kind](part, where))
        elif kind == "ByteFallback":
            to_bytes = True
        elif kind == "Fuse":
            fused = True
        elif kind == "Strip" and fused and part.get("content") == " " and not part.get("stop"):
            strip += _count(part.get("start"), where)
        else:
            raise _strange(str(kind), where)
    return steps, to_bytes, strip


def _spell(token: str, steps: Sequence[Step], to_bytes: bool, first: bool) -> bytes:
    if to_bytes and (match := _BYTE.fullmatch(token)):
        return bytes([int(match[1], 16)])
    for step in steps:
        token = step(token, first)
    return token.encode("utf-8", "replace")


def _apart(piece: str, first: bool) -> str:
    """Without a decoder, a space stands before every piece but the first."""
    return piece if first else " " + piece


def _replace(part: Mapping[str, Any], where: object) -> Step:
    pattern, content = part.get("pattern"), part.get("content")
    if not isinstance(pattern, Mapping) or not pattern.get("String") or not isinstance(content, str):
        raise _strange("Replace by a pattern", where)
    old = str(pattern["String"])
    return lambda piece, first: piece.replace(old, content)


def _metaspace(part: Mapping[str, Any], _where: object) -> Step:
    mark = str(part.get("replacement", "▁"))
    prepends = (
        part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never") != "never"
    )
    return lambda piece, first: piece.replace(mark, "" if first and prepends else " ")


def _wordpiece(part: Mapping[str, Any], _where: object) -> Step:
    mark, cleans = str(part.get("prefix", "##")), bool(part.get("cleanup", True))

    def step(piece: str, first: bool) -> str:
        if not first:
            piece = piece.removeprefix(mark) if mark and piece.startswith(mark) else " " + piece
        for dirty, clean in _CLEANING if cleans else ():
            piece = piece.replace(dirty, clean)
        return piece

    return step


_STEPS: Mapping[str, Callable[[Mapping[str, Any], object], Step]] = {
    "Replace": _replace,
    "Metaspace": _metaspace,
    "WordPiece": _wordpiece,
}


def _count(value: object, where: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 16:
        raise _strange("Strip without a number", where)
    return value


def _strange(kind: str, where: object) -> TextmillError:
    return TextmillError(
        f"its decoder ({kind[:40]}) is not supported, so which bytes an id stands for is not known",
        where=where,
        advice="supported are ByteLevel, WordPiece, Metaspace, Replace, ByteFallback, Fuse and Strip",
    )
