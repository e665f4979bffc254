"""The engines behind `Tokenizer.encode`: the ids that tokenizer.json means, found the quickest safe way.

Which engine may do it is decided from the document alone (`choose`): bytes and characters are table look-ups
in NumPy; byte-level BPE goes through tiktoken when it is certain to give the same ids; everything else goes
through the `tokenizers` library, which is what gives the file its meaning.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol

import numpy as np

Ids = np.ndarray  # (n,) uint32
_GROUP = 1 << 18  # characters handed to a thread at once: large enough that the hand-over costs nothing

# Letters and digits that Unicode gained in versions 12 to 17, between plain ones, mostly in scripts of three
# and four bytes: regex libraries that know different versions of Unicode cut this text differently.
_PROBE = " x".join(
    chr(code) + chr(code) + "y7"
    for code in (
        *(0x1E2C0, 0x10570, 0x16AC0, 0x1E030, 0x31350, 0x11F50, 0x2EBF0, 0x10D50, 0x16D40, 0xA7CB, 0x1C89),
        *(
            0x1CCF0,
            0x10940,
            0x323B0,
            0xA7CE,
            0x11DE0,
            0x1B120,
            0x3134A,
            0x0E50,
            0x3005,
            0x30FC,
            0x3007,
            0x2003,
        ),
    )
)


def _alphabet() -> dict[str, int]:
    """Byte of each letter of the byte-level alphabet (GPT-2: printable Latin-1 stands for itself)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return {chr(b): b for b in shown} | {chr(0x100 + index): b for index, b in enumerate(hidden)}


BYTE_OF_LETTER = _alphabet()
LETTER_OF_BYTE = [letter for letter, _ in sorted(BYTE_OF_LETTER.items(), key=lambda item: item[1])]


def letters(data: bytes) -> str:
    """Bytes spelt in the byte-level alphabet."""
    return "".join(LETTER_OF_BYTE[byte] for byte in data)


class Engine(Protocol):
    """Text to ids. Raises UnicodeEncodeError for text with lone surrogates."""

    name: str

    def encode(self, text: str) -> Ids: ...

    def encode_many(self, texts: Sequence[str], threads: int) -> list[Ids]: ...


class _Threaded:
    """`encode_many` for engines whose `encode` leaves the interpreter lock."""

    def encode(self, text: str) -> Ids:
        raise NotImplementedError

    def encode_many(self, texts: Sequence[str], threads: int) -> list[Ids]:
        if threads <= 1 or len(texts) < 2:
            return [self.encode(text) for text in texts]
        with ThreadPoolExecutor(threads) as pool:
            done = pool.map(lambda group: [self.encode(text) for text in group], _groups(texts))
            return [ids for group in done for ids in group]


def _groups(texts: Iterable[str]) -> list[list[str]]:
    """Texts in order, in groups of about _GROUP characters."""
    groups: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if size > _GROUP:
            groups.append([])
            size = 0
        groups[-1].append(text)
        size += len(text)
    return groups


class ByteEngine(_Threaded):
    """One id a byte: the byte itself."""

    name = "bytes"

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.uint32)


class CharacterEngine(_Threaded):
    """One id a character that is known, one id a UTF-8 byte for the others; ids 0 to 255 are the bytes."""

    name = "characters"

    def __init__(self, known: dict[str, int]) -> None:
        self.known = known

    @cached_property
    def _table(self) -> np.ndarray:
        """(0x110000,) id of each code point, or -1."""
        table = np.full(0x110000, -1, dtype=np.int32)
        table[:0x80] = np.arange(0x80)  # ASCII is its own byte
        table[[ord(character) for character in self.known]] = list(self.known.values())
        return table

    def encode(self, text: str) -> Ids:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        ids = self._table[codes]
        unknown = ids < 0
        if not unknown.any():
            return ids.astype(np.uint32)
        size = 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF).astype(np.int64)  # bytes in UTF-8
        spans = np.where(unknown, size, 1)
        offsets = np.cumsum(spans) - spans  # where each character's ids start
        out = np.zeros(int(spans.sum()), dtype=np.uint32)
        out[offsets[~unknown]] = ids[~unknown]
        data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        starts = np.cumsum(size) - size
        for step in range(4):
            reach = unknown & (size > step)
            out[offsets[reach] + step] = data[starts[reach] + step]
        return out


class ReferenceEngine:
    """The `tokenizers` library itself."""

    name = "tokenizers"

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def encode(self, text: str) -> Ids:
        text.encode("utf-8")  # raises what the other engines raise
        return np.array(self.reference.encode(text, add_special_tokens=False).ids, dtype=np.uint32)

    def encode_many(self, texts: Sequence[str], threads: int) -> list[Ids]:
        for text in texts:
            text.encode("utf-8")
        encodings = self.reference.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]


class MergeEngine(_Threaded):
    """Byte-level BPE through tiktoken, over the same merges."""

    name = "tiktoken"

    def __init__(self, pattern: str, ranks: dict[bytes, int]) -> None:
        import tiktoken

        self._encoding = tiktoken.Encoding(
            "textmill",
            pat_str=pattern,
            mergeable_ranks=ranks,
            # Never allowed, so text that holds it is plain text. With no special token at all, the pattern
            # that looks for them would be empty and match at every character.
            special_tokens={"<|none|>": len(ranks) + (1 << 20)},
        )

    def encode(self, text: str) -> Ids:
        # tiktoken would replace surrogates by itself; all engines leave that to the tokenizer.
        text.encode("utf-8")
        return self._encoding.encode_to_numpy(text, allowed_special=set(), disallowed_special=())


def choose(document: dict[str, Any], reference: Any) -> Engine:
    """The quickest engine that is certain to give the ids of `document` (a parsed tokenizer.json).

    reference   the `tokenizers.Tokenizer` of the same document, with `encode_special_tokens` set
    """
    model = document["model"]
    plain = (
        document.get("normalizer") is None
        and model.get("type") == "BPE"
        and not any(model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"))
        and all(token.get("special") for token in document.get("added_tokens", ()))
        and document.get("post_processor") is None
    )
    if not plain:
        return ReferenceEngine(reference)
    vocabulary: dict[str, int] = model["vocab"]
    merges = model["merges"]
    bytes_first = all(vocabulary.get(letter) == byte for letter, byte in BYTE_OF_LETTER.items())
    if bytes_first and not merges and document.get("pre_tokenizer") == byte_level():
        return ByteEngine() if len(vocabulary) == 256 else ReferenceEngine(reference)
    if (
        bytes_first
        and not merges
        and model.get("ignore_merges")
        and document["pre_tokenizer"] == splitter(ANY)
    ):
        known = {_spelt(token).decode("utf-8", "replace"): id for token, id in vocabulary.items() if id > 255}
        if all(len(character) == 1 for character in known):
            return CharacterEngine(known)
    pattern = _pattern(document.get("pre_tokenizer"))
    merging = pattern and not model.get("ignore_merges") and _ranks_are_merges(model, reference)
    if pattern and merging and _cut_alike(pattern, reference):
        return MergeEngine(pattern, {_spelt(token): id for token, id in vocabulary.items()})
    return ReferenceEngine(reference)


ANY = r"[\s\S]"  # every character is its own piece


def byte_level() -> dict[str, Any]:
    """The pre-tokenizer that spells text in the byte-level alphabet."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def splitter(pattern: str) -> dict[str, Any]:
    """The pre-tokenizer that cuts text into the matches of `pattern`, spelt in the byte-level alphabet."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, byte_level()]}


def _spelt(token: str) -> bytes:
    return bytes(BYTE_OF_LETTER[letter] for letter in token)


def _pattern(pre_tokenizer: dict[str, Any] | None) -> str | None:
    """The pattern of `splitter(pattern)`, or None for any other pre-tokenizer."""
    try:
        pattern = pre_tokenizer["pretokenizers"][0]["pattern"]["Regex"]  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return None
    same = json.dumps(splitter(pattern), sort_keys=True) == json.dumps(pre_tokenizer, sort_keys=True)
    return pattern if same else None


def _ranks_are_merges(model: dict[str, Any], reference: Any) -> bool:
    """Whether merging by the rank of the result (tiktoken) is merging by the rank of the pair (tokenizers).

    tiktoken joins any neighbours whose join is a token, so it could join a pair that is in no merge. That
    cannot happen when (1) the letters are the 256 bytes and every other token is the result of exactly one
    merge, ids in the order of the merges, and (2) every token, encoded alone, comes out as itself. For as
    long as no merge has crossed the borders of a token's bytes, what happens between them is what happens
    when it is encoded alone, and by (1) and (2) that ends with the one pair of its merge: neighbours that
    join to the token are that pair. (2) is also what tiktoken's short cut for whole pieces relies on.
    """
    vocabulary: dict[str, int] = model["vocab"]
    results = ["".join(pair if isinstance(pair, list) else pair.split(" ")) for pair in model["merges"]]
    single = [token for token in vocabulary if len(token) == 1]
    if set(single) != set(BYTE_OF_LETTER) or len(set(results)) != len(results):
        return False
    if len(results) + 256 != len(vocabulary) or any(token not in vocabulary for token in results):
        return False
    ids = [vocabulary[token] for token in results]
    if any(second <= first for first, second in itertools.pairwise(ids)):
        return False
    if ids and ids[0] <= max(vocabulary[token] for token in single):
        return False
    return all(
        [piece.id for piece in reference.model.tokenize(token)] == [vocabulary[token]] for token in results
    )


def _cut_alike(pattern: str, reference: Any) -> bool:
    """Whether both libraries, each with its own Unicode tables, cut the probe text into the same pieces."""
    pieces = [_spelt(piece) for piece, _ in reference.pre_tokenizer.pre_tokenize_str(_PROBE)]
    ranks = {bytes([byte]): byte for byte in range(256)}
    for piece in pieces:
        ranks.setdefault(piece, len(ranks))
    ids = MergeEngine(pattern, ranks).encode(_PROBE).tolist()
    return ids == [ranks[piece] for piece in pieces]
