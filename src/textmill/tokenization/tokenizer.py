"""A tokenizer: text to ids and back, lossless, from a standard tokenizer.json.

Every tokenizer here is byte-level: a token stands for bytes, so `decode(encode(text)) == text` for any
Unicode text, whatever the kind; nothing is normalised, nothing is unknown. (Lone surrogates are no text: each
is read as U+FFFD.) Special tokens stand for no bytes at all; they are added by whoever builds the ids, and no
text can produce them.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.base.files import content_id
from textmill.base.machine import usable_cores
from textmill.tokenization import json_read
from textmill.tokenization.characters import (
    offsets_given,
    offsets_of_bytes,
    offsets_of_library,
    without_surrogates,
)
from textmill.tokenization.engines import BYTE_OF_LETTER, Engine, choose
from textmill.tokenization.file_tokenizer import FileTokenizer
from textmill.tokenization.protocol import Cut

END, PAD = "<|endoftext|>", "<|pad|>"
# The next four are for conversations: who speaks, and the end of a turn. The last are for what masks tokens, for
# what a decoder begins with, and for what stands between two texts.
SPECIAL = (
    *(END, PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<|mask|>", json_read.OUR_START, "<|separator|>"),
)
CONTINUES = "‿"  # WordPiece: begins a token that goes on inside a word; not in the byte-level alphabet


def sentinel(number: int) -> str:
    """The special token that stands for masked span `number`, from 0."""
    return f"<|hidden_{number}|>"


class Tokenizer(FileTokenizer):
    """A loaded tokenizer.json. Cheap to make; the engine behind `encode` is built when first needed."""

    def _check_decoder(self) -> None:
        kind = decoder_kind(self._document)
        if kind != "ByteLevel":
            raise TextmillError(
                f"its decoder is {kind}: its tokens do not stand for bytes, so decoding would not give the text back",
                where=self._where,
                advice="use a byte-level tokenizer, or let Textmill train one",
            )

    @cached_property
    def id(self) -> str:
        """Content id of the file."""
        return content_id(self.data)

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Read a tokenizer.json, or the one in a directory. Raises as the constructor, or when it is missing."""
        path = Path(path)
        if path.is_dir():
            path = path / "tokenizer.json"
        return cls(json_read.read_file(path), path)

    @property
    def lossless(self) -> bool:
        """Whether `decode(encode(text)) == text` for every text: nothing is normalised, no space is put before."""
        cutter = self._document.get("pre_tokenizer") or {}
        steps = cutter.get("pretokenizers", [cutter])
        return self._document.get("normalizer") is None and not any(
            step.get("add_prefix_space") for step in steps
        )

    @cached_property
    def engine(self) -> Engine:
        """What turns text into ids; `engine.name` says which."""
        return choose(self._document, self.reference)

    def encode(self, text: str) -> np.ndarray:
        """(n,) uint32 ids of a text; none of them is special, and no end is added."""
        try:
            return self.engine.encode(text)
        except UnicodeEncodeError:
            return self.engine.encode(without_surrogates(text))

    def encode_next(self, text: str) -> np.ndarray:
        """`encode` of a text that goes on after other ids: here the same."""
        return self.encode(text)

    def encode_many(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode` of each text, on all processors this process may use unless told otherwise."""
        texts = list(texts)
        try:
            return self.engine.encode_many(texts, threads or usable_cores())
        except UnicodeEncodeError:
            return self.engine.encode_many(
                [without_surrogates(text) for text in texts], threads or usable_cores()
            )

    @cached_property
    def _bytes(self) -> list[bytes]:
        table = [b""] * self.vocabulary
        special = set(self.special.values())
        added = {token["id"]: name for name, token in self._parsed.added.items()}
        for token, number in self._parsed.tokens.items():
            if number in special:
                continue
            if number in added:
                table[number] = token.encode("utf-8")
            else:
                table[number] = bytes(BYTE_OF_LETTER[letter] for letter in token if letter in BYTE_OF_LETTER)
        return table

    def token_bytes(self, token: int) -> bytes:
        """The bytes an id stands for: part of a character, or several characters; none for a special token, or for an
        id beyond the vocabulary, which a model may have rows for."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def byte_counts(self) -> np.ndarray:
        """(vocabulary,) int64: how many bytes each id stands for."""
        return np.array([len(data) for data in self._bytes], dtype=np.int64)

    @cached_property
    def _untrimmed(self) -> Any:
        """The library's tokenizer without what takes spaces off the ends of offsets."""
        if self._document.get("post_processor") is None:
            return self.reference
        return json_read.reference(
            json.dumps({**self._document, "post_processor": None}).encode(), self._where
        )

    def offsets(self, text: str, cut: Cut = "text") -> np.ndarray:
        """(n, 2) int64: the characters [start, end) of a text that each id of `encode(text)` has a part in."""
        clean = without_surrogates(text)
        if self.lossless:
            return offsets_given(text, offsets_of_bytes(clean, self.byte_counts()[self.encode(clean)]))
        with json_read.guarded(self._where):
            return offsets_given(text, offsets_of_library(self._untrimmed, clean))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids. Special tokens vanish; bytes that are no UTF-8 become U+FFFD."""
        ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
        return b"".join([self.token_bytes(token) for token in ids]).decode("utf-8", "replace")

    def stream(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""
        return StreamDecoder(self)

    def __len__(self) -> int:
        return self.vocabulary


def decoder_kind(document: Mapping[str, Any]) -> str:
    """The type of a tokenizer.json's decoder; of several, the last one's."""
    try:
        decoder = document.get("decoder") or {"type": "missing"}
        return str((decoder.get("decoders") or [decoder])[-1]["type"])
    except (AttributeError, KeyError, TypeError, IndexError):
        return "damaged"


class StreamDecoder:
    """Ids in, whole characters out: what `push` and `finish` return, joined, is `decode` of all the ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters this id completes; empty while a character is still in pieces."""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def finish(self) -> str:
        """What is left: U+FFFD when the ids stopped inside a character."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
