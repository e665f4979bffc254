"""The tokenizer inside a GGUF file.

Two kinds are read: byte-level BPE ("gpt2") and SentencePiece's BPE ("llama"). Files that hold a whole tokenizer.json
(`tokenizer.huggingface.json`, as those that Textmill writes) are read from that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError, TextmillError
from textmill.tokenization import json_build, json_read, load
from textmill.tokenization.json_build import CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from textmill.tokenization.json_read import Parsed, Settings
from textmill.tokenization.load import AnyTokenizer, PretrainedTokenizer

PREFIX = "tokenizer.ggml."
DOCUMENT, TEMPLATE = "tokenizer.huggingface.json", "tokenizer.chat_template"
ROLES = {  # what a role is called in tokenizer_config.json, and in a GGUF
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "pad_token": "padding_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # spelt so by llama.cpp
    "mask_token": "mask_token_id",
}
_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
# Ends of a turn that many files do not name by id; llama.cpp stops at them too.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
_HOW = ("single_word", "lstrip", "rstrip", "normalized", "special")  # an added token is found in a text
_BEGIN_USUALLY = (
    "llama-bpe",
    "llama3",
    "llama-v3",
    "tekken",
)  # cuts whose files add bos where they do not say


def read(metadata: Mapping[str, Any], where: object) -> AnyTokenizer:
    """The tokenizer of a file. Raises TextmillError for a kind that is not read, DamagedError for lists that cannot be
    one's."""
    kind = metadata.get(PREFIX + "model")
    tokens = _list(metadata, "tokens", where)
    types = _types(metadata, len(tokens), where)
    said = _settings(metadata, tokens, types, kind, where)
    whole = metadata.get(DOCUMENT)
    if isinstance(whole, str):
        return load.of(whole.encode("utf-8", "replace"), where, said)
    if kind == "gpt2":
        return load.of(_byte_level(metadata, tokens, types, said, where), where, said)
    if kind == "llama":
        return _sentencepiece(metadata, tokens, types, said, where)
    raise TextmillError(
        f"its tokenizer is of the kind {str(kind)[:40]!r}, which is not read here",
        where=where,
        advice="kinds gpt2 (byte-level BPE) and llama (SentencePiece BPE) are",
    )


def template(metadata: Mapping[str, Any]) -> str | None:
    """The chat template, where there is one."""
    found = metadata.get(TEMPLATE)
    return found if isinstance(found, str) else None


def _list(metadata: Mapping[str, Any], name: str, where: object) -> list[str]:
    found = metadata.get(PREFIX + name)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise DamagedError(
            f"holds no {PREFIX}{name}", where=where, advice="fetch a file with a tokenizer in it"
        )
    return found


def _numbers(metadata: Mapping[str, Any], name: str, count: int, where: object) -> np.ndarray | None:
    found = metadata.get(PREFIX + name)
    if found is None:
        return None
    if not isinstance(found, np.ndarray) or len(found) != count:
        raise DamagedError(f"{PREFIX}{name} does not say one number a token", where=where)
    return found


def _types(metadata: Mapping[str, Any], count: int, where: object) -> list[int]:
    found = _numbers(metadata, "token_type", count, where)
    return [NORMAL] * count if found is None else found.tolist()


def _settings(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], kind: Any, where: object
) -> Settings:
    """What the file says of roles, as the files beside a tokenizer.json would."""

    def token(name: str) -> int | None:
        found = metadata.get(PREFIX + name)
        if found is None or found == 0xFFFFFFFF:  # -1 as uint32: none
            return None
        if not isinstance(found, int) or not 0 <= found < len(tokens):
            raise DamagedError(f"{PREFIX}{name} = {str(found)[:40]} is no id", where=where)
        return found

    named = {role: token(key) for role, key in ROLES.items()}
    known = {name: place for place, name in enumerate(tokens) if name in _TURN_ENDS}
    ends = [number for number in map(token, _ENDS) if number is not None]
    if DOCUMENT not in metadata:
        ends += [known[name] for name in _TURN_ENDS if name in known and types[known[name]] == CONTROL]
    begins = metadata.get(PREFIX + "add_bos_token")
    if not isinstance(begins, bool):
        begins = kind == "llama" or metadata.get(PREFIX + "pre") in _BEGIN_USUALLY
    return Settings(
        tokens={role: tokens[number] for role, number in named.items() if number is not None},
        ids={"eos_token_id": tuple(dict.fromkeys(ends))} if ends else {},
        add_bos=begins and named["bos_token"] is not None,
        add_eos=metadata.get(PREFIX + "add_eos_token") is True and named["eos_token"] is not None,
    )


def _around(said: Settings, tokens: list[str]) -> dict[str, list[int]]:
    """Ids that go before and after a text."""
    prefix = [tokens.index(said.tokens["bos_token"])] if said.add_bos else []
    suffix = [tokens.index(said.tokens["eos_token"])] if said.add_eos else []
    return {"prefix": prefix, "suffix": suffix}


def _byte_level(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], said: Settings, where: object
) -> bytes:
    merges = _list(metadata, "merges", where)
    special = {place for place, kind in enumerate(types) if kind in (CONTROL, UNKNOWN, UNUSED)}
    named = set(said.tokens.values())
    special |= {place for place, name in enumerate(tokens) if name in named}
    added = [place for place, kind in enumerate(types) if kind == USER_DEFINED and place not in special]
    pre = metadata.get(PREFIX + "pre", "gpt-2")
    with _placed(where):
        return json_build.byte_level_bpe(
            tokens, merges, special, str(pre)[:80], added=added, **_around(said, tokens)
        )


@contextmanager
def _placed(where: object) -> Iterator[None]:
    """Errors of the lists are errors of the file."""
    try:
        yield
    except TextmillError as error:
        raise type(error)(error.what, where=where, advice=error.advice) from error


def _sentencepiece(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], said: Settings, where: object
) -> PretrainedTokenizer:
    """The library's tokenizer is made from the lists themselves: through JSON, Gemma's would take some seconds."""
    numbers = _numbers(metadata, "scores", len(tokens), where)
    if numbers is None:
        raise DamagedError(f"holds no {PREFIX}scores", where=where)
    scores = numbers.tolist()
    options: dict[str, Any] = {
        "add_prefix": metadata.get(PREFIX + "add_space_prefix", True) is not False,
        "squeeze": metadata.get(PREFIX + "remove_extra_whitespaces", False) is True,
        "normalizer": (),
        **_around(said, tokens),
    }
    with _placed(where):
        model = json_build.sentencepiece_bpe_model(tokens, types)
        frame = json_build.sentencepiece_document(
            model | {"vocab": {}, "unk_token": None}, tokens, types, **options
        )
        merges = json_build.recovered_merges(tokens, scores, types)
    document = json.loads(frame)
    made = _library(document, model, merges, where)
    vocabulary = model["vocab"]
    added = {token["content"]: token for token in document["added_tokens"]}
    special = {name: token["id"] for name, token in added.items() if token["special"]}
    parsed = Parsed(document | {"model": model}, vocabulary, added, special, len(tokens))
    whole = partial(json_build.sentencepiece_bpe, tokens, scores, types, **options)
    return PretrainedTokenizer(whole, where, said, parsed, made)


def _library(
    frame: Mapping[str, Any], model: Mapping[str, Any], merges: list[tuple[str, str]], where: object
) -> Any:
    """The `tokenizers.Tokenizer` of a document whose model is given apart from it."""
    from tokenizers import AddedToken
    from tokenizers.models import BPE

    added = frame["added_tokens"]
    made = json_read.reference(json.dumps({**frame, "added_tokens": []}).encode(), where)
    settings = {name: model[name] for name in ("unk_token", "fuse_unk", "byte_fallback")}
    with json_read.guarded(where):
        made.model = BPE(model["vocab"], merges, **settings)
        # All at once: each call makes the matcher of all of them anew.
        made.add_tokens(
            [AddedToken(token["content"], **{name: token[name] for name in _HOW}) for token in added]
        )
    return made
