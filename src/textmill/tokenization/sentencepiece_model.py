"""SentencePiece models (.model, .spm), read without the protobuf library, and as a tokenizer.json.

The file is one protobuf message (sentencepiece_model.proto): fields are a number, a wire type and a value, and of
the wire types only four are used. Anything that does not fit into the bytes there are is damage.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from textmill.base.errors import DamagedError, TextmillError
from textmill.tokenization.json_build import BYTE, CONTROL, NORMAL, sentencepiece_bpe, sentencepiece_unigram
from textmill.tokenization.json_read import MOST_IDS

UNIGRAM, BPE = 1, 2
_LONGEST_PIECE = 1 << 12  # bytes
_LARGEST_MAP = 1 << 24  # bytes of the table of character replacements; nmt_nfkc's has 300 kB


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says. Ids of roles are -1 where there is none."""

    tokens: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]  # as in tokenizer_document
    kind: int  # UNIGRAM or BPE
    charsmap: bytes  # replacements of characters, compiled; empty: none
    add_prefix: bool
    squeeze: bool
    unk: int
    bos: int
    eos: int
    pad: int

    def document(
        self, *, prefix: Sequence[int] = (), suffix: Sequence[int] = (), extra: Sequence[str] = ()
    ) -> bytes:
        """The tokenizer.json. extra: special tokens whose ids follow; prefix, suffix: ids around a text."""
        steps: list[dict[str, Any]] = []
        if self.charsmap:
            packed = base64.b64encode(self.charsmap).decode("ascii")
            steps.append({"type": "Precompiled", "precompiled_charsmap": packed})
        make = sentencepiece_unigram if self.kind == UNIGRAM else sentencepiece_bpe
        return make(
            [*self.tokens, *extra],
            [*self.scores, *(0.0 for _ in extra)],
            [*self.types, *(CONTROL for _ in extra)],
            add_prefix=self.add_prefix,
            squeeze=self.squeeze,
            normalizer=steps,
            prefix=prefix,
            suffix=suffix,
        )


def read(data: bytes, where: object) -> SentencePieceModel:
    """A model from its bytes. Raises DamagedError when they are none, TextmillError for kinds not supported."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    cleaning: dict[int, Any] = {}
    for number, value in _fields(memoryview(data), where):
        if number == 1:
            if len(pieces) >= MOST_IDS:
                raise DamagedError(f"has more than {MOST_IDS} pieces", where=where)
            pieces.append(_piece(_part(value, where), where))
        elif number == 2:
            trainer |= dict(_fields(_part(value, where), where))
        elif number == 3:
            cleaning |= dict(_fields(_part(value, where), where))
    if not pieces:
        raise DamagedError("holds no pieces: it is not a SentencePiece model", where=where)
    kind = _number(trainer, 3, UNIGRAM, where)
    if kind not in (UNIGRAM, BPE):
        raise TextmillError(
            "is a SentencePiece model of words or characters", where=where, advice="use another"
        )
    if _number(trainer, 24, 0, where) or not _number(cleaning, 5, 1, where):
        raise TextmillError("marks spaces after words, or not at all, which is not supported", where=where)
    charsmap = bytes(_part(cleaning.get(2, memoryview(b"")), where))
    if len(charsmap) > _LARGEST_MAP:
        raise DamagedError("has an absurd table of replacements", where=where)
    tokens, scores, types = (list(column) for column in zip(*pieces, strict=True))
    roles = {
        name: _role(_number(trainer, field, default, where), len(tokens))
        for name, field, default in (("unk", 40, 0), ("bos", 41, 1), ("eos", 42, 2), ("pad", 43, -1))
    }
    return SentencePieceModel(
        tokens=tokens,
        scores=scores,
        types=types,
        kind=kind,
        charsmap=charsmap,
        add_prefix=bool(_number(cleaning, 3, 1, where)),
        squeeze=bool(_number(cleaning, 4, 1, where)),
        **roles,
    )


def _piece(data: memoryview, where: object) -> tuple[str, float, int]:
    fields = dict(_fields(data, where))
    spelt = bytes(_part(fields.get(1, memoryview(b"")), where))
    if not spelt or len(spelt) > _LONGEST_PIECE:
        raise DamagedError(f"holds a piece of {len(spelt)} bytes", where=where)
    try:
        token = spelt.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError("holds a piece that is not UTF-8", where=where) from error
    score = fields.get(2, 0.0)
    if not isinstance(score, float) or not math.isfinite(score):
        raise DamagedError(f"holds a piece without a finite score ({token[:40]!r})", where=where)
    kind = _number(fields, 3, NORMAL, where)
    if not NORMAL <= kind <= BYTE:
        raise DamagedError(f"holds a piece of an unknown type ({kind})", where=where)
    return token, score, kind


def _role(number: int, size: int) -> int:
    """An id, or -1; negative numbers are written as the largest ones."""
    return number if number < size else -1


def _fields(data: memoryview, where: object) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message's fields: whole numbers, floats of 4 bytes, or parts."""
    at, size = 0, len(data)
    while at < size:
        key, at = _varint(data, at, where)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at, where)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            length, at = _varint(data, at, where)
        if length is None or length > size - at:
            raise DamagedError("is not a SentencePiece model, or truncated", where=where)
        part, at = data[at : at + length], at + length
        yield number, struct.unpack("<f", part)[0] if wire == 5 else part


def _varint(data: memoryview, at: int, where: object) -> tuple[int, int]:
    """(number, where the next thing begins): seven bits per byte, the lowest first."""
    number = 0
    for index in range(10):
        if at + index >= len(data):
            break
        byte = data[at + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, at + index + 1
    raise DamagedError("is not a SentencePiece model, or truncated", where=where)


def _part(value: Any, where: object) -> memoryview:
    if not isinstance(value, memoryview):
        raise DamagedError("is not a SentencePiece model: a number where a field should be", where=where)
    return value


def _number(fields: dict[int, Any], key: int, default: int, where: object) -> int:
    value = fields.get(key, default)
    if not isinstance(value, int):
        raise DamagedError("is not a SentencePiece model: a field where a number should be", where=where)
    return value
