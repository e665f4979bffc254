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

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import content_id, write_bytes
from textmill.text.tokenizer_engine import BYTE_OF_LETTER, Engine, choose, threads_here

END, PAD = "<|endoftext|>", "<|pad|>"
# The rest is for conversations: who speaks, and the end of a turn.
SPECIAL = (END, PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
CONTINUES = "‿"  # WordPiece: begins a token that goes on inside a word; not in the byte-level alphabet

# What other people's files call the same two.
_ENDS = (END, "<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>", "[SEP]")
_PADS = (PAD, "<|padding|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>")


class Tokenizer:
    """A loaded tokenizer.json. Cheap to make; the engine behind `encode` is built when first needed."""

    def __init__(self, data: bytes, where: object = "tokenizer.json") -> None:
        """data: the bytes of a tokenizer.json, read from `where`.

        Raises DamagedError when they are not one, TextmillError when its tokens do not stand for bytes.
        """
        self.data = data
        try:
            self._document: dict[str, Any] = json.loads(data)
            added = self._document["added_tokens"]
            vocabulary = self._document["model"]["vocab"]
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"is not a tokenizer.json ({error!r})", where=where) from error
        if isinstance(vocabulary, list):  # unigram: [[token, score], ...]
            vocabulary = {token: place for place, (token, _) in enumerate(vocabulary)}
        self._check_decoder(where)
        self.id = content_id(data)
        self.special: Mapping[str, int] = {
            token["content"]: token["id"] for token in added if token["special"]
        }
        self._tokens: dict[str, int] = {**vocabulary, **{token["content"]: token["id"] for token in added}}
        self.vocabulary = max(self._tokens.values()) + 1
        ends = [self.special[name] for name in _ENDS if name in self.special]
        if not ends:
            raise TextmillError(
                "has no special token for the end of a text",
                where=where,
                advice=f"add one of {', '.join(_ENDS)} to its added_tokens, with special = true",
            )
        self.end: int = ends[0]
        self.pad: int = next((self.special[name] for name in _PADS if name in self.special), self.end)
        self.ends: tuple[int, ...] = (self.end,)  # whatever ends an answer

    def _check_decoder(self, where: object) -> None:
        decoder = self._document.get("decoder") or {}
        steps = decoder.get("decoders", [decoder])
        if not steps or steps[-1].get("type") != "ByteLevel":
            raise TextmillError(
                f"its decoder is {decoder.get('type', 'missing')}: its tokens do not stand for bytes, "
                "so text would not come back as it was",
                where=where,
                advice="use a byte-level tokenizer, or let Textmill train one",
            )

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Read a tokenizer.json, or the one in a directory. Raises as the constructor, or when it is missing."""
        path = Path(path)
        if path.is_dir():
            path = path / "tokenizer.json"
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise DamagedError("is missing", where=path) from error
        return cls(data, path)

    def save(self, path: Path | str) -> None:
        """Write the same bytes that were read or trained, whole or not at all."""
        write_bytes(Path(path), self.data)

    @cached_property
    def reference(self) -> Any:
        """The `tokenizers.Tokenizer` of this file, told to read special tokens in a text as plain text."""
        from tokenizers import Tokenizer as Reference

        reference = Reference.from_str(self.data.decode("utf-8"))
        reference.encode_special_tokens = True
        return reference

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

    def encode_many(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode` of each text, on all processors this process may use unless told otherwise."""
        texts = list(texts)
        try:
            return self.engine.encode_many(texts, threads or threads_here())
        except UnicodeEncodeError:
            return self.engine.encode_many(
                [without_surrogates(text) for text in texts], threads or threads_here()
            )

    @cached_property
    def _bytes(self) -> list[bytes]:
        table = [b""] * self.vocabulary
        special = set(self.special.values())
        added = {token["id"]: token["content"] for token in self._document["added_tokens"]}
        for token, place in self._tokens.items():
            if place in special:
                continue
            if place in added:
                table[place] = token.encode("utf-8")
            else:
                table[place] = bytes(BYTE_OF_LETTER[letter] for letter in token if letter in BYTE_OF_LETTER)
        return table

    def token_bytes(self, token: int) -> bytes:
        """The bytes an id stands for: part of a character, or several characters; none for a special token."""
        return self._bytes[token]

    def byte_counts(self) -> np.ndarray:
        """(vocabulary,) int64: how many bytes each id stands for."""
        return np.array([len(data) for data in self._bytes], dtype=np.int64)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids. Special tokens vanish; bytes that are no UTF-8 become U+FFFD."""
        ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
        return b"".join([self._bytes[token] for token in ids]).decode("utf-8", "replace")

    def stream(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""
        return StreamDecoder(self)

    def __len__(self) -> int:
        return self.vocabulary


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


def without_surrogates(text: str) -> str:
    """Pairs of surrogates joined to their character, lone ones replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
