"""Other people's tokenizers: WordPiece, Unigram, SentencePiece BPE, as a tokenizer.json.

They have the interface of `Tokenizer`, with one difference: what they read is normalised (lower case, spaces,
Unicode forms), so a text need not come back as it was, and `lossless` says so.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from textmill.base.files import content_id
from textmill.tokenization import json_read
from textmill.tokenization.characters import offsets_given, offsets_of_library, without_surrogates
from textmill.tokenization.decoders import Spelled, Spelling, spelling, understood
from textmill.tokenization.file_tokenizer import FileTokenizer
from textmill.tokenization.protocol import Cut

_HIDDEN = " \uffff"  # before the name of a token that no text may produce: a space is never part of a piece


class PretrainedTokenizer(Spelled, FileTokenizer):
    """Any tokenizer.json that is not byte-level. The roles of ids are named as in `Tokenizer`.

    Ids come from the `tokenizers` library; special tokens spelt in a text are plain text, always.
    """

    lossless = False
    _tells = True

    def _check_decoder(self) -> None:
        with json_read.guarded(self._where):
            understood(self._document.get("decoder"), self._where)

    @cached_property
    def id(self) -> str:
        """Content id of the file and of what was said beside it."""
        return content_id(self.data + json.dumps(self.settings, sort_keys=True).encode())

    @cached_property
    def _encoder(self) -> Any:
        """The same, of which no piece is a special token: a Unigram or WordPiece model would find them in a text."""
        document = _hidden(self._document, self._parsed.special)
        if document is None:
            return self.reference
        return json_read.reference(json.dumps(document).encode(), self._where)

    @cached_property
    def _next_encoder(self) -> Any:
        """The same for text that goes on: without the space that some put before the first word only."""
        document = _without_first_blank(self._document)
        if document is None:
            return self._encoder
        document = _hidden(document, self._parsed.special) or document
        return json_read.reference(json.dumps(document).encode(), self._where)

    def encode(self, text: str) -> np.ndarray:
        """(n,) uint32 ids of a text; none is special, except the unknown one where there are no byte tokens."""
        return self._encoded(self._encoder, [text])[0]

    def encode_next(self, text: str) -> np.ndarray:
        """`encode` of a text that goes on after other ids."""
        return self._encoded(self._next_encoder, [text])[0]

    def offsets(self, text: str, cut: Cut = "text") -> np.ndarray:
        """(n, 2) int64: the characters [start, end) of a text that each id of `encode(text)` stands for."""
        encoder = self._next_encoder if cut == "next" else self._encoder
        with json_read.guarded(self._where):
            return offsets_given(text, offsets_of_library(encoder, without_surrogates(text)))

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text as the model spells them; what is unknown stands as it is written."""
        with json_read.guarded(self._where):
            return self._encoder.encode(text, add_special_tokens=False).tokens

    def encode_many(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode` of each text; the library decides on threads."""
        return self._encoded(self._encoder, list(texts))

    def _encoded(self, encoder: Any, texts: list[str]) -> list[np.ndarray]:
        texts = [text if text.isascii() else without_surrogates(text) for text in texts]
        with json_read.guarded(self._where):
            encodings = encoder.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]

    @cached_property
    def spelling(self) -> Spelling:
        """The bytes of every id, inside a text and at its beginning."""
        return spelling(self._document.get("decoder"), self._parsed.tokens, self.vocabulary, self._where)


def _hidden(document: Mapping[str, Any], special: Mapping[str, int]) -> dict[str, Any] | None:
    """A document whose special tokens are called what no text can be; None where no text can be them anyway.

    The unknown token keeps its name where the model knows it by that.
    """
    model = document["model"]
    if model.get("type") == "BPE" and not model.get("ignore_merges"):
        merges = model.get("merges") or ()
        made = [_joined(pair) for pair in merges]
        if special.keys().isdisjoint(made) and all(len(name) > 1 for name in special):
            return None
        # The parts of a merge must be tokens, so none may be one that is about to lose its name.
        kept = [pair for pair in merges if special.keys().isdisjoint((_joined(pair), *_parts(pair)))]
        model = model | {"merges": kept}
    names = {name: _HIDDEN + name for name in special if name != model.get("unk_token")}
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        renamed: Any = [[names.get(token, token), score] for token, score in vocabulary]
    else:
        renamed = {names.get(token, token): number for token, number in vocabulary.items()}
    added = [
        token | {"content": names.get(token["content"], token["content"])}
        for token in document.get("added_tokens") or ()
    ]
    return {**document, "model": model | {"vocab": renamed}, "added_tokens": added, "post_processor": None}


def _parts(pair: Any) -> Sequence[str]:
    return pair if isinstance(pair, list) else pair.split(" ", 1)


def _joined(pair: Any) -> str:
    return "".join(_parts(pair))


def _without_first_blank(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """A document whose Metaspace puts a space nowhere; None where it does not do so at the beginning only."""
    changed = copy.deepcopy(document.get("pre_tokenizer"))
    if not isinstance(changed, dict):
        return None
    parts = [
        part for part in changed.get("pretokenizers", [changed]) if part.get("prepend_scheme") == "first"
    ]
    for part in parts:
        part["prepend_scheme"] = "never"
    return {**document, "pre_tokenizer": changed} if parts else None
