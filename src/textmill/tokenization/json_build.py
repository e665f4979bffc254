"""A tokenizer.json from the lists other formats keep: tokens by id, merges, scores, types.

GGUF files and SentencePiece models say the same in other words; here they become the document that the
`tokenizers` library, and with it everybody else, reads.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError, TextmillError
from textmill.tokenization import merges as tokenizer_merges
from textmill.tokenization.json_read import MOST_IDS
from textmill.tokenization.pre_tokenizers import ALIASES, PRE

# Types of pieces in a SentencePiece model (and in GGUF's tokenizer.ggml.token_type).
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BLANK = "▁"  # how SentencePiece spells a space
_ALL = 1 << 10  # spaces at the beginning of a decoded text
_SPELLING = 8  # more characters than <0x00> has
_LONGEST_PIECE = 1 << 10  # characters of a piece that merges are looked for in


def byte_level_bpe(
    tokens: Sequence[str],
    merges: Sequence[str],
    special: Collection[int],
    pre: str,
    *,
    added: Collection[int] = (),
    prefix: Sequence[int] = (),
    suffix: Sequence[int] = (),
) -> bytes:
    """A byte-level BPE tokenizer.json.

    Args:
        tokens: by id, spelt in GPT-2's byte-level alphabet; special and added ones as they are written.
        merges: "left right", the first one first.
        special: ids that no text can produce.
        pre: name of the cuts before merging (`PRE`), as GGUF's tokenizer.ggml.pre says it.
        added: ids found whole in a text before it is cut.
        prefix, suffix: ids the model expects around a text.

    Raises TextmillError when `pre` is not known, DamagedError when the lists do not belong to each other.
    """
    known = ALIASES.get(pre, pre)
    if known not in PRE:
        raise TextmillError(
            f"its text is split by a pre-tokenizer called {pre!r}, which is not supported",
            where="tokenizer",
            advice=f"supported are {',  '.join(PRE)}",
        )
    cutter, normalizer, whole = PRE[known]
    vocabulary = _numbered(tokens)
    pairs = [merge.split(" ") for merge in merges]
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in vocabulary or pair[1] not in vocabulary:
            raise DamagedError(f"a merge is not of two tokens: {' '.join(pair)[:80]!r}", where="tokenizer")
        if pair[0] + pair[1] not in vocabulary:
            raise DamagedError(f"a merge makes no token: {' '.join(pair)[:80]!r}", where="tokenizer")
    model = bpe_model(vocabulary, pairs, whole=whole)
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return document(
        model,
        added=_added(tokens, special, added, normalized=False),
        normalizer=normalizer,
        pre_tokenizer=cutter,
        decoder=decoder,
        around=template(tokens, prefix, suffix),
    )


def sentencepiece_bpe(
    tokens: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    add_prefix: bool = True,
    squeeze: bool = False,
    normalizer: Sequence[dict[str, Any]] = (),
    unknown: int | None = None,
    prefix: Sequence[int] = (),
    suffix: Sequence[int] = (),
) -> bytes:
    """A tokenizer.json of SentencePiece's BPE (Llama 2, Gemma): merges are recovered from the scores.

    SentencePiece joins the neighbours whose join scores highest, leftmost first; the merges are all ways to
    make a piece of two others, best score first.

    Args:
        tokens, scores, types: by id; types as NORMAL … BYTE above.
        add_prefix: a space is put before the text (add_dummy_prefix; GGUF's add_space_prefix).
        squeeze: spaces at the ends go, and several become one (remove_extra_whitespaces).
        normalizer: steps before that, as tokenizer.json has them.
        unknown: id of what is in no other token; left out: the one of type UNKNOWN.
        prefix, suffix: ids the model expects around a text.

    Raises DamagedError when the lists do not belong to each other.
    """
    _check_lists(tokens, scores, types)
    model = sentencepiece_bpe_model(tokens, types, unknown)
    model["merges"] = recovered_merges(tokens, scores, types)
    return sentencepiece_document(model, tokens, types, add_prefix, squeeze, normalizer, prefix, suffix)


def sentencepiece_bpe_model(
    tokens: Sequence[str], types: Sequence[int], unknown: int | None = None
) -> dict[str, Any]:
    """The model of such a document, but for its merges. Raises DamagedError as `sentencepiece_bpe`."""
    vocabulary = _numbered(tokens)
    unknown = _unknown(types, unknown)
    return bpe_model(vocabulary, []) | {
        "unk_token": None if unknown is None else tokens[unknown],
        "fuse_unk": True,
        "byte_fallback": BYTE in types,
    }


def sentencepiece_unigram(
    tokens: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    add_prefix: bool = True,
    squeeze: bool = True,
    normalizer: Sequence[dict[str, Any]] = (),
    unknown: int | None = None,
    prefix: Sequence[int] = (),
    suffix: Sequence[int] = (),
) -> bytes:
    """A tokenizer.json of SentencePiece's unigram model (T5, XLM-R); arguments as `sentencepiece_bpe`."""
    _check_lists(tokens, scores, types)
    _numbered(tokens)
    # The library looks for pieces of bytes in a text, too, where SentencePiece does not: under these scores they lose.
    lowest = _SPELLING * min(
        -1.0, *(score for score, kind in zip(scores, types, strict=True) if kind == NORMAL), -1.0
    )
    model = {
        "type": "Unigram",
        "unk_id": _unknown(types, unknown),
        "vocab": [
            [token, lowest if kind == BYTE else float(score)]
            for token, score, kind in zip(tokens, scores, types, strict=True)
        ],
        "byte_fallback": BYTE in types,
    }
    return sentencepiece_document(model, tokens, types, add_prefix, squeeze, normalizer, prefix, suffix)


def wordpiece(
    tokens: Sequence[str], *, lower: bool, accents: bool | None = None, chinese: bool = True
) -> bytes:
    """A tokenizer.json of BERT's WordPiece, from the lines of a vocab.txt.

    lower: do_lower_case. accents: strip_accents (None: as lower). chinese: tokenize_chinese_chars. Raises
    DamagedError when [CLS], [SEP] or [UNK] is missing.
    """
    vocabulary = _numbered(tokens)
    for name in ("[UNK]", "[CLS]", "[SEP]"):
        if name not in vocabulary:
            raise DamagedError(f"holds no {name}", where="vocab.txt")
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    special = [vocabulary[name] for name in names if name in vocabulary]
    cleaning = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": chinese}
    return document(
        model,
        added=_added(tokens, special, (), normalized=False),
        normalizer=cleaning | {"strip_accents": accents, "lowercase": lower},
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        around=template(tokens, [vocabulary["[CLS]"]], [vocabulary["[SEP]"]]),
    )


def document(
    model: Mapping[str, Any],
    *,
    added: Sequence[Mapping[str, Any]],
    normalizer: Mapping[str, Any] | None,
    pre_tokenizer: Mapping[str, Any] | None,
    decoder: Mapping[str, Any],
    around: Mapping[str, Any] | None,
) -> bytes:
    """The bytes of a tokenizer.json of these parts."""
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(added),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": around,
        "decoder": decoder,
        "model": model,
    }
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace")


def bpe_model(
    vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], *, whole: bool = False
) -> dict[str, Any]:
    """The model of a BPE document. whole: a piece that is a token is taken without merging."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": whole,
        "vocab": vocabulary,
        "merges": merges,
    }


def template(
    tokens: Sequence[str],
    prefix: Sequence[int],
    suffix: Sequence[int],
    *,
    between: Sequence[int] | None = None,
) -> dict[str, Any] | None:
    """The post-processor that puts ids around a text; None where there are none. between: what stands between two
    texts in one row; left out: what stands after a text."""
    if not prefix and not suffix:
        return None
    between = suffix if between is None else between
    for token in (*prefix, *suffix, *between):
        if not 0 <= token < len(tokens):
            raise DamagedError(
                f"puts id {token} around a text, and has {len(tokens)} tokens", where="tokenizer"
            )

    def piece(token: int, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": tokens[token], "type_id": segment}}

    def sequence(name: str, segment: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": segment}}

    first = [*(piece(t, 0) for t in prefix), sequence("A", 0)]
    second = [sequence("B", 1), *(piece(t, 1) for t in suffix)]
    names = {
        tokens[token]: {"id": tokens[token], "ids": [token], "tokens": [tokens[token]]}
        for token in (*prefix, *suffix, *between)
    }
    return {
        "type": "TemplateProcessing",
        "single": [*first, *(piece(t, 0) for t in suffix)],
        "pair": [*first, *(piece(t, 0) for t in between), *second],
        "special_tokens": names,
    }


def recovered_merges(
    tokens: Sequence[str], scores: Sequence[float], types: Sequence[int]
) -> list[tuple[str, str]]:
    """All ways to make a piece of two others, those of the best score first."""
    kinds = np.asarray(types)
    usable = np.isin(kinds, (NORMAL, USER_DEFINED, UNUSED))
    short = np.fromiter((len(token) <= _LONGEST_PIECE for token in tokens), dtype=bool, count=len(tokens))
    return tokenizer_merges.recovered(tokens, scores, usable, usable & (kinds != UNUSED) & short)


def sentencepiece_document(
    model: Mapping[str, Any],
    tokens: Sequence[str],
    types: Sequence[int],
    add_prefix: bool,
    squeeze: bool,
    normalizer: Sequence[dict[str, Any]],
    prefix: Sequence[int],
    suffix: Sequence[int],
) -> bytes:
    """What both kinds of SentencePiece models share: spaces, special tokens, decoding."""
    steps = list(normalizer)
    if squeeze:
        steps += [_replace({"Regex": r"\A +|[ ▁]+\z"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if add_prefix:
        steps.append({"type": "Prepend", "prepend": BLANK})
    steps.append(_replace({"String": " "}, BLANK))
    undo: list[dict[str, Any]] = [
        _replace({"String": BLANK}, " "),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if add_prefix or squeeze:
        undo.append({"type": "Strip", "content": " ", "start": _ALL if squeeze else 1, "stop": 0})
    special = [number for number, kind in enumerate(types) if kind in (UNKNOWN, CONTROL)]
    whole = [number for number, kind in enumerate(types) if kind == USER_DEFINED]
    return document(
        model,
        # With a space before each stretch of text, the name of a token would get one too if it were normalised.
        added=_added(tokens, special, whole, normalized=not add_prefix),
        normalizer={"type": "Sequence", "normalizers": steps} if len(steps) > 1 else steps[0],
        pre_tokenizer=None,
        decoder={"type": "Sequence", "decoders": undo},
        around=template(tokens, prefix, suffix),
    )


def _replace(pattern: Mapping[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _added(
    tokens: Sequence[str], special: Collection[int], added: Collection[int], *, normalized: bool
) -> list[dict[str, Any]]:
    """The added tokens: special ones as they are written, the others perhaps as normalised text has them."""
    alone = set(special)
    return [
        {
            "id": number,
            "content": tokens[number],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": normalized and number not in alone,
            "special": number in alone,
        }
        for number in sorted({*special, *added})
        if tokens[number]
    ]


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    """Token to id. Raises DamagedError when there are too many, or one is there twice."""
    if not 0 < len(tokens) <= MOST_IDS:
        raise DamagedError(f"has {len(tokens)} tokens", where="tokenizer")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if vocabulary[token] != number)
        raise DamagedError(f"the token {twice[:40]!r} is there twice", where="tokenizer")
    return vocabulary


def _unknown(types: Sequence[int], declared: int | None) -> int | None:
    if declared is not None and not 0 <= declared < len(types):
        raise DamagedError(f"calls id {declared} unknown, and has {len(types)} tokens", where="tokenizer")
    return next((number for number, kind in enumerate(types) if kind == UNKNOWN), declared)


def _check_lists(tokens: Sequence[str], scores: Sequence[float], types: Sequence[int]) -> None:
    if not len(tokens) == len(scores) == len(types):
        raise DamagedError(
            f"has {len(tokens)} tokens, {len(scores)} scores and {len(types)} types", where="tokenizer"
        )
