"""What every tokenizer is to everybody else, wherever its file comes from.

    ids = tokenizer.encode("a text")       # (n,) uint32, none of them special
    tokenizer.decode(ids)                  # the text; the same to the byte where `lossless`

Those who take a tokenizer take an AnyTokenizer, and ask for nothing that is not named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from textmill.tokenization.reading import Reading

Cut = Literal[
    "text", "next", "target"
]  # how a text is cut: by itself, after other ids, as one that is written


class Decoder(Protocol):
    """Ids in, whole characters out: what `push` and `finish` return, joined, is `decode` of all the ids."""

    def push(self, token: int) -> str:
        """The characters this id completes; empty while a character is still in pieces."""
        ...

    def finish(self) -> str: ...  # what is left: U+FFFD when the ids stopped inside a character


class AnyTokenizer(Protocol):
    """Text to ids and back, and which ids play a part; None where there is no such id."""

    @property
    def id(self) -> str: ...  # content id: of the file, and of what is said beside it

    @property
    def vocabulary(self) -> int: ...  # how many ids there are

    @property
    def lossless(self) -> bool: ...  # whether `decode(encode(text)) == text` for every text

    @property
    def end(self) -> int: ...  # ends a text

    @property
    def ends(self) -> tuple[int, ...]: ...  # all ids that end what a model writes

    @property
    def start(self) -> int: ...  # what a decoder begins with; `end` where nothing else does

    @property
    def begin(self) -> int | None: ...  # what its files call the beginning of a text

    @property
    def told(self) -> bool: ...  # whether files beside its own say what ids do

    @property
    def pad(self) -> int: ...  # stands where nothing does

    @property
    def mask(self) -> int | None: ...  # stands for a masked token

    @property
    def separator(self) -> int | None: ...  # stands between two texts

    @property
    def sentinels(self) -> tuple[int, ...]: ...  # stand for masked spans, the first for the first

    @property
    def prefix(self) -> tuple[int, ...]: ...  # ids the model expects before a text

    @property
    def suffix(self) -> tuple[int, ...]: ...  # ids the model expects after a text

    @property
    def between(self) -> tuple[int, ...]: ...  # ids the model expects between two texts in one row

    @property
    def special(self) -> Mapping[str, int]: ...  # special tokens by their spelling: ids no text produces

    @property
    def added(self) -> Mapping[str, int]: ...  # tokens that are found whole in a text, and are not special

    @property
    def names(self) -> Mapping[str, str]: ...  # spellings a chat template may ask for: eos_token, …

    def encode(self, text: str) -> np.ndarray:
        """(n,) uint32 ids of a text, without what stands around it."""
        ...

    def encode_next(self, text: str) -> np.ndarray:
        """`encode` of a text that goes on after other ids."""
        ...

    def encode_many(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode` of each text."""
        ...

    def encode_targets(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode` of each text that is to be written: a translator's tokenizer cuts it as one of its language."""
        ...

    def offsets(self, text: str, cut: Cut = "text") -> np.ndarray:
        """(n, 2) int64: the characters [start, end) of a text that each of its ids stands for, when it is cut as
        `encode`, `encode_next` or `encode_targets` cut it."""
        ...

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids. Special tokens vanish; bytes that are no UTF-8 become U+FFFD."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes an id stands for; none for a special token."""
        ...

    def byte_counts(self) -> np.ndarray: ...  # (vocabulary,) int64: how many bytes each id stands for

    def stream(self) -> Decoder: ...  # a decoder for ids that come one at a time

    def trims(self, name: str) -> tuple[bool, bool]:
        """Whether an added token takes away the spaces before it, and those after it."""
        ...

    def save(self, path: Path | str) -> None: ...  # write its files, from which it is read again

    def publish(
        self, directory: Path, reading: Reading
    ) -> None: ...  # the files of a model that reads texts so
