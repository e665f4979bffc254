"""Learning a vocabulary: byte-level BPE, unigram, WordPiece, characters, bytes; out comes a tokenizer.json.

All kinds share three decisions:
- text is cut into pieces by a pattern, and pieces are spelt in bytes (GPT-2's byte-level alphabet), so there
  are 256 letters, nothing is unknown and nothing is lost;
- ids 0 to 255 are the bytes; special tokens are the last ids and no part of the model's own vocabulary, so
  text cannot become one;
- the same texts in the same order give the same file to the byte.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization import load, unigram
from textmill.tokenization.characters import without_surrogates
from textmill.tokenization.engines import ANY, LETTER_OF_BYTE, byte_level, letters, splitter
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.tokenizer import CONTINUES, SPECIAL, Tokenizer, sentinel

_IDEOGRAPHS = r"\p{Han}\p{Hiragana}\p{Katakana}ー"


# How text is cut; no token crosses a cut. In this order: a run of Chinese or Japanese, which has no spaces, kept
# apart from Latin words beside it; a word with the one mark or space before it (" the", ".append", "_name",
# "'s"); digits in short groups, so that numbers are spelt alike wherever they stand; marks, with a space before
# and line ends after; empty lines; spaces, of which the last stays with the next word; spaces at the end.
# Every repetition is bounded, and with it the time to merge a piece: a million equal letters cost what a
# million letters of prose cost, in every engine.
def pattern(longest: int) -> str:
    """The cuts, with at most `longest` letters, marks or spaces in a piece."""
    return "|".join(
        (
            rf"[{_IDEOGRAPHS}]{{1,{longest // 2}}}",
            rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}&&[^{_IDEOGRAPHS}]]{{1,{longest}}}",
            r"\p{N}{1,3}",
            rf" ?[^\s\p{{L}}\p{{N}}]{{1,{longest}}}[\r\n]{{0,8}}",
            rf"\s{{0,{longest}}}[\r\n]{{1,16}}",
            rf"\s{{1,{longest}}}(?!\S)",
            rf"\s{{1,{longest}}}",
        )
    )


PATTERN = pattern(64)
# WordPiece tries every length at every place of a piece, so its time grows with the cube of the piece.
SHORT_PATTERN = pattern(16)
_LONGEST_PIECE = (
    1024  # bytes; far above what the patterns let through, so WordPiece never gives up on a piece
)
LONGEST_TEXT = 1 << 16  # characters that are learnt from at once
_LEAST_COUNT = 2  # a pair seen once teaches nothing


def train(spec: TokenizerSpec, texts: Iterable[str]) -> AnyTokenizer:
    """Learn a tokenizer from the first `spec.train_bytes` bytes of the texts, or load `spec.path`.

    Deterministic. When the texts are too few to fill `spec.vocabulary`, the vocabulary is what could be
    learnt; it is never larger. Raises RecipeError when the vocabulary is too small for the kind,
    TextmillError when there is no text to learn from.
    """
    if spec.path is not None:
        return load.load(Path(spec.path))
    special = (*SPECIAL, *map(sentinel, range(spec.sentinels)))
    least = len(special) + (512 if spec.kind == "wordpiece" else 256)
    if spec.vocabulary < least:
        raise RecipeError(
            f"{spec.vocabulary} ids are too few for {spec.kind}: bytes and special tokens alone are {least}",
            where="tokenizer.vocabulary",
            advice=f"set it to {least} or more",
        )
    sample = () if spec.kind == "bytes" else _sample(texts, spec.train_bytes)
    document = LEARNERS[spec.kind](sample, spec.vocabulary - len(special))
    size = len(document["model"]["vocab"])
    document["added_tokens"] = [_special(size + index, name) for index, name in enumerate(special)]
    return Tokenizer(json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8"))


def _sample(texts: Iterable[str], limit: int) -> Iterator[str]:
    """The texts up to `limit` bytes of UTF-8, in pieces of bounded length, the last one cut between two characters."""
    left = limit
    for piece in itertools.chain.from_iterable(map(pieces, texts)):
        try:
            data = piece.encode("utf-8")
        except UnicodeEncodeError:
            piece = without_surrogates(piece)  # noqa: PLW2901
            data = piece.encode("utf-8")
        yield piece if len(data) <= left else data[:left].decode("utf-8", "ignore")
        left -= len(data)
        if left <= 0:
            return
    if left == limit:
        raise TextmillError(
            "no text to learn a vocabulary from",
            where="tokenizer",
            advice='look at the corpus report, or use kind = "bytes", which learns nothing',
        )


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of at most `LONGEST_TEXT` characters, which together are the text.

    The libraries that learn hold some 90 bytes for each character of what they are given at once, so a book must not
    come as one. A piece ends at the last line end in its second half, else before the last space there, so that no
    word is cut that could be spared.
    """
    start = 0
    while len(text) - start > LONGEST_TEXT:
        half, stop = start + LONGEST_TEXT // 2, start + LONGEST_TEXT
        # Before a space, which belongs to the word behind it; behind a line end, which belongs to the line before.
        end = text.rfind("\n", half, stop) + 1 or max(0, text.rfind(" ", half, stop)) or stop
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _document(model: dict[str, Any], pre_tokenizer: dict[str, Any], *undo: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json without its special tokens. undo: decoding before the bytes."""
    to_bytes = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [*undo, to_bytes]} if undo else to_bytes,
        "model": model,
    }


def _special(number: int, content: str) -> dict[str, Any]:
    return {
        "id": number,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _merging(tokens: list[str], merges: list[list[str]], *, whole: bool = False) -> dict[str, Any]:
    """A BPE model whose first ids are the bytes. whole: a piece that is a token is taken without merging."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": whole,
        "vocab": {token: number for number, token in enumerate([*LETTER_OF_BYTE, *tokens])},
        "merges": merges,
    }


def _cutter(cuts: str) -> Any:
    """The pre-tokenizer `splitter(cuts)` as an object of the `tokenizers` library."""
    from tokenizers import Regex, pre_tokenizers

    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cuts), "isolated"), spell])


def _learn(model: Any, trainer: Any, cuts: str, texts: Iterable[str]) -> dict[str, Any]:
    """Run a trainer of the `tokenizers` library over texts; what it learnt, as plain data."""
    from tokenizers import Tokenizer as Reference

    learner = Reference(model)
    learner.pre_tokenizer = _cutter(cuts)
    learner.train_from_iterator(texts, trainer)
    return json.loads(learner.to_str())["model"]


def _bytes(_: Iterable[str], __: int) -> dict[str, Any]:
    return _document(_merging([], []), byte_level())


def _characters(texts: Iterable[str], size: int) -> dict[str, Any]:
    """The commonest characters, ASCII being bytes already; the rest is spelt in bytes."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for text in texts:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        present, times = np.unique(codes, return_counts=True)
        counts[present] += times
    counts[:0x80] = 0
    present = np.flatnonzero(counts)
    commonest = present[np.argsort(-counts[present], kind="stable")][: size - 256]
    tokens = [letters(chr(code).encode("utf-8")) for code in commonest]
    return _document(_merging(tokens, [], whole=True), splitter(ANY))


def _bpe(texts: Iterable[str], size: int) -> dict[str, Any]:
    """Byte-level byte-pair encoding (Sennrich et al. 2016; bytes: Radford et al. 2019, section 2.2)."""
    from tokenizers import models, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=_LEAST_COUNT, initial_alphabet=LETTER_OF_BYTE, show_progress=False
    )
    merges = [list(pair) for pair in _learn(models.BPE(), trainer, PATTERN, texts)["merges"]]
    tokens = ["".join(pair) for pair in merges]
    return _document(_merging(tokens, merges), splitter(PATTERN))


def _wordpiece(texts: Iterable[str], size: int) -> dict[str, Any]:
    """WordPiece (Wu et al. 2016, section 4.1; longest match first as in BERT), over bytes.

    The mark of a token inside a piece is not BERT's `##`, which is itself text: `##a` would be ambiguous.
    """
    from tokenizers import models, trainers

    inner = [CONTINUES + letter for letter in LETTER_OF_BYTE]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=_LEAST_COUNT,
        # Told beforehand, in order: the trainer would number them in the random order of a hash table, and
        # break ties between merges by those numbers.
        special_tokens=[*LETTER_OF_BYTE, *inner],
        initial_alphabet=LETTER_OF_BYTE,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    learnt = _learn(models.WordPiece(), trainer, SHORT_PATTERN, texts)["vocab"]
    model = {
        "type": "WordPiece",
        "unk_token": "<|unknown|>",  # the format wants a name; every byte is known, so it never comes up
        "continuing_subword_prefix": CONTINUES,
        "max_input_chars_per_word": _LONGEST_PIECE,
        "vocab": dict(sorted(learnt.items(), key=lambda item: item[1])),
    }
    undo = {"type": "Replace", "pattern": {"String": CONTINUES}, "content": ""}
    return _document(model, splitter(SHORT_PATTERN), undo)


def _unigram(texts: Iterable[str], size: int) -> dict[str, Any]:
    """A unigram language model of pieces (Kudo 2018, section 3.2), over bytes."""
    from tokenizers import Regex, pre_tokenizers

    cutter = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(piece for piece, _ in cutter.pre_tokenize_str(text))
    pieces = unigram.learn([(piece.encode("utf-8"), times) for piece, times in counts.items()], size)
    model = {
        "type": "Unigram",
        "unk_id": None,
        "vocab": [[letters(piece), score] for piece, score in pieces],
        "byte_fallback": False,  # bytes are ordinary pieces here
    }
    return _document(model, splitter(PATTERN))


LEARNERS: dict[str, Callable[[Iterable[str], int], dict[str, Any]]] = {
    "bpe": _bpe,
    "unigram": _unigram,
    "wordpiece": _wordpiece,
    "characters": _characters,
    "bytes": _bytes,
}
