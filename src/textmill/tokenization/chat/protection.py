"""What people wrote stays text: inside a conversation nobody can spell a special token.

Where a message spells one, or begins or ends with a part of one, a mark is put into it before the template is
rendered; special tokens are then looked for in what the template made, and the marks are taken out of the rest. The
mark is of characters that no message holds. Templates see it only in such messages, and spaces at the ends of a
message stay at the ends.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from textmill.tokenization.protocol import AnyTokenizer, Cut

_NONCHARACTER = "\ufdd0"  # Unicode promises never to give it a meaning
_WRITER = "assistant"


@functools.lru_cache(maxsize=8)
def _parts(names: frozenset[str]) -> tuple[set[str], set[str], int]:
    """All beginnings and all ends of names, the whole ones left out, and the length of the longest name."""
    beginnings = {name[:at] for name in names for at in range(1, len(name))}
    ends = {name[at:] for name in names for at in range(1, len(name))}
    return beginnings, ends, max(map(len, names), default=0)


def _kind(key: object, value: object) -> bool:
    """Whether this says what kind of part a part of a message is: a word that a template compares, and nobody wrote."""
    return key == "type" and isinstance(value, str) and value.isidentifier()


class Protection:
    """The messages of one conversation, marked, and the ids of what a template made of them."""

    def __init__(self, tokenizer: AnyTokenizer, source: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """source: the template. Added tokens that are not special count as special where it writes them, except in
        what an assistant wrote: a template may look for `</think>` there."""
        self._tokenizer = tokenizer
        self._special = {name: token for name, token in tokenizer.special.items() if len(name) > 1}
        self._control = {
            name: token for name, token in tokenizer.added.items() if len(name.strip()) > 1 and name in source
        }
        whole = json.dumps(messages, default=str, ensure_ascii=False)
        self._mark = next(mark for size in itertools.count(1) if (mark := _NONCHARACTER * size) not in whole)
        self.messages = [self._message(message) for message in messages]

    def shielded(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Other variables of a template, such as tools, marked likewise."""
        names = frozenset(self._special | self._control)
        return {key: self._marked(value, names) for key, value in variables.items()}

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        names = frozenset(self._special)
        if message.get("role") != _WRITER:
            names = names.union(self._control)
        return {key: value if key == "role" else self._marked(value, names) for key, value in message.items()}

    def _marked(self, value: Any, names: frozenset[str]) -> Any:
        if isinstance(value, str):
            return self._shield(value, names)
        if isinstance(value, Mapping):
            return {
                self._shield(str(key), names): part if _kind(key, part) else self._marked(part, names)
                for key, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._marked(part, names) for part in value]
        return value

    def _shield(self, text: str, names: frozenset[str]) -> str:
        """A mark after the first character of each special token spelt in it, and where it begins or ends in one."""
        for name in names:
            while name in text:  # more than once where it overlaps itself
                text = text.replace(name, name[0] + self._mark + name[1:])
        bare = text.strip()
        if not bare:
            return text
        start = text.index(bare)
        beginnings, ends, longest = _parts(names)
        front = any(bare[:size] in ends for size in range(1, longest))
        back = any(bare[-size:] in beginnings for size in range(1, longest))
        marked = (self._mark if front else "") + bare + (self._mark if back else "")
        return text[:start] + marked + text[start + len(bare) :]

    def unmarked(self, text: str) -> str:
        """What a template made, without the marks."""
        return text.replace(self._mark, "")

    def written(self, text: str) -> Written:
        """The ids of what a template made, special tokens being those it wrote itself."""
        known = self._special | self._control
        names = sorted((name for name in known if name in text), key=len, reverse=True)
        parts = re.split("(" + "|".join(map(re.escape, names)) + ")", text) if names else [text]
        pieces: list[_Piece] = []
        begin = 0
        for index, part in enumerate(parts):
            clean = self.unmarked(part)
            if index % 2:
                pieces.append(_Piece(part, begin, token=known[part]))
            else:
                kept, at = clean, begin
                if index and self._tokenizer.trims(parts[index - 1])[1]:
                    kept = kept.lstrip()
                    at += len(clean) - len(kept)
                if index + 1 < len(parts) and self._tokenizer.trims(parts[index + 1])[0]:
                    kept = kept.rstrip()
                pieces += self._plain(kept, at, first=index == 0)
            begin += len(clean)
        return Written(self.unmarked(text), self._tokenizer, tuple(pieces))

    def _plain(self, text: str, at: int, *, first: bool) -> Iterator[_Piece]:
        """Text that is only text. Where it spells a control token that is not special to the tokenizer, it is encoded
        in pieces, so that none of them is that token."""
        cuts = {match.start() + 1 for name in self._control for match in re.finditer(re.escape(name), text)}
        for start, stop in itertools.pairwise(sorted({0, *cuts, len(text)})):
            cut: Cut = "text" if first and start == 0 else "next"
            yield _Piece(text[start:stop], at + start, cut)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a text, from the character `begin` on: a special token, or text that is cut by itself."""

    text: str
    begin: int
    cut: Cut = "text"
    token: int | None = None


@dataclass(frozen=True, eq=False)
class Written:
    """What a template made, without the marks, and what it is to a tokenizer.

    ids      (n,) uint32
    offsets  (n, 2) int64: the characters [start, end) of the text that each stands for; found when first asked for
    """

    text: str
    _tokenizer: AnyTokenizer = field(repr=False)
    _pieces: tuple[_Piece, ...] = field(repr=False)

    @cached_property
    def ids(self) -> np.ndarray:
        """The ids of all pieces."""
        made = [np.zeros(0, dtype=np.uint32)]
        for piece in self._pieces:
            if piece.token is not None:
                made.append(np.array([piece.token], dtype=np.uint32))
            else:
                encode = self._tokenizer.encode if piece.cut == "text" else self._tokenizer.encode_next
                made.append(encode(piece.text))
        return np.concatenate(made)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each id comes from."""
        made = [np.zeros((0, 2), dtype=np.int64)]
        for piece in self._pieces:
            if piece.token is not None:
                made.append(np.array([[piece.begin, piece.begin + len(piece.text)]]))
            else:
                made.append(self._tokenizer.offsets(piece.text, piece.cut) + piece.begin)
        return np.concatenate(made)
