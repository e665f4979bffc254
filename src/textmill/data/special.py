"""The few ids and tables of a tokenizer that the views of the data need."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from textmill.base.errors import RecipeError
from textmill.text.scripts import HANZI
from textmill.tokenization.json_read import OUR_START
from textmill.tokenization.protocol import AnyTokenizer

_HANZI = re.compile(f"[{HANZI}]")
_RETRAIN = "let Textmill train the tokenizer, or use one that has it"


@dataclass(frozen=True, eq=False)
class SpecialTokens:
    """What a view puts around and in place of a text's tokens. None: the tokenizer has no such token.

    lead and tail stand around whatever an encoder, or a model with a head, reads: what the tokenizer's own model
    expects there; of a tokenizer learnt here, `start` before it and nothing after it. between: what stands between
    two texts in one row.
    """

    start: int  # what a target begins with on the decoder's side
    end: int
    pad: int
    mask: int | None
    separator: int | None
    between: tuple[int, ...]
    sentinels: tuple[int, ...]
    lead: tuple[int, ...]
    tail: tuple[int, ...]
    special: np.ndarray  # (V,) bool: stands for no text
    token_bytes: Callable[[int], bytes] = field(repr=False)

    @classmethod
    def of(cls, tokenizer: AnyTokenizer, *, start: int | None = None) -> SpecialTokens:
        """start: the id a target begins with, where the model says one (`model.start`); else the tokenizer's."""
        lead, tail = frame(tokenizer)
        special = np.zeros(tokenizer.vocabulary, dtype=bool)
        named = (tokenizer.pad, tokenizer.end, tokenizer.start, *lead, *tail)
        special[[*named, *tokenizer.special.values(), *tokenizer.sentinels]] = True
        return cls(
            start=tokenizer.start if start is None else start,
            end=tokenizer.end,
            pad=tokenizer.pad,
            mask=tokenizer.mask,
            separator=tokenizer.separator,
            between=tokenizer.between,
            sentinels=tokenizer.sentinels,
            lead=lead,
            tail=tail,
            special=special,
            token_bytes=tokenizer.token_bytes,
        )

    @cached_property
    def ordinary(self) -> np.ndarray:
        """Ids that stand for text, rising, int64."""
        return np.flatnonzero(~self.special)

    @cached_property
    def word_starts(self) -> np.ndarray:
        """(V,) bool: tokens a word begins with. Punctuation and digits begin one each time, as do hanzi."""
        starts = self.special.copy()
        starts[self.ordinary] = [begins_word(self.token_bytes(token)) for token in self.ordinary.tolist()]
        return starts

    @property
    def frame(self) -> int:
        """Tokens of `lead` and `tail` together."""
        return len(self.lead) + len(self.tail)

    def around(self, first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
        """lead first tail, or lead first between second tail: (T,) int64. Raises RecipeError when nothing stands
        between two texts."""
        inner = [first] if second is None else [first, self.need_between(), second]
        return np.concatenate([self.lead, *inner, self.tail]).astype(np.int64)

    @property
    def before_second(self) -> int:
        """Tokens around a first text that stand before a second one."""
        return len(self.lead) + len(self.need_between())

    def need_mask(self) -> int:
        """The mask. Raises RecipeError when the tokenizer has none."""
        return _need(self.mask, "mask")

    def need_between(self) -> tuple[int, ...]:
        """The ids between two texts. Raises RecipeError when the tokenizer has none."""
        return self.between or (self.need_separator(),)

    def need_separator(self) -> int:
        """The separator. Raises RecipeError when the tokenizer has none."""
        return _need(self.separator, "separator")


def frame(tokenizer: AnyTokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What stands before and after whatever an encoder, or a model with a head, reads, in training as in use.

    Tokenizers of others say it, or mean that nothing stands there; those learnt here have a token for it.
    """
    prefix, suffix = tokenizer.prefix, tokenizer.suffix
    ours = tokenizer.special.get(OUR_START) == tokenizer.start
    return ((tokenizer.start,) if ours and not prefix and not suffix else prefix), suffix


def opening(tokenizer: AnyTokenizer) -> tuple[int, ...]:
    """What stands before a text that a model goes on with, in scoring as in use: what the tokenizer puts there (a
    beginning-of-text token), or the end of the text before; never nothing."""
    return tokenizer.prefix or (tokenizer.end,)


def spelt(tokenizer: AnyTokenizer, ids: Iterable[int]) -> str:
    """Special ids by their names, for a person; ids that have none as numbers."""
    names = {number: name for name, number in tokenizer.special.items()}
    return "".join(names.get(number, f"[{number}]") for number in ids)


def begins_word(data: bytes) -> bool:
    """Whether a token of these bytes begins a word: unless its first character is a letter (hanzi apart), a mark
    on one, or the rest of a character begun by the token before. A special token, of no bytes, begins one."""
    if not data:
        return True
    first = data[0]
    if 0x80 <= first < 0xC0:
        return False
    length = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    try:
        character = data[:length].decode("utf-8")
    except UnicodeDecodeError:  # a character in pieces: hanzi, symbols and emoji begin with these bytes
        return first in (0xE2, 0xEF) or 0xE3 <= first <= 0xE9 or first >= 0xF0
    return bool(_HANZI.match(character)) or unicodedata.category(character)[0] not in "LM"


def _need(token: int | None, name: str) -> int:
    if token is None:
        raise RecipeError(
            f"has no {name} token, which this objective needs", where="tokenizer", advice=_RETRAIN
        )
    return token
