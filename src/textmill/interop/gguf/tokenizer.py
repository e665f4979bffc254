"""The tokenizer inside a GGUF file: the lists that llama.cpp reads, as a tokenizer, and a tokenizer as such lists.

Two kinds are read and written: byte-level BPE ("gpt2") and SentencePiece's BPE ("llama"). Of byte-level BPE llama.cpp
knows only the ways to cut text that it has a name for. A tokenizer that cuts otherwise is written with the nearest of
them, and its tokenizer.json beside it (`tokenizer.huggingface.json`): Textmill, and who else looks there, then gives
the exact ids; llama.cpp's differ here and there, and the export says so.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError, TextmillError
from textmill.tokenization import json_build, json_read, load
from textmill.tokenization.file_tokenizer import FileTokenizer
from textmill.tokenization.json_build import BYTE, CONTROL, NORMAL, PRE, UNKNOWN, UNUSED, USER_DEFINED
from textmill.tokenization.json_read import Parsed, Settings
from textmill.tokenization.load import PretrainedTokenizer
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.tokenizer import decoder_kind

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
_LEAST_ALIKE = 0.9  # share of a text's ids that must stay the same
_USUAL = "llama-bpe"  # of equally near ways to cut
_BYTE = re.compile(r"<0x[0-9A-F]{2}>\Z")
_SAMPLES = (  # what is rare and what is common, to compare ids on
    "The mill stood where the two streams met, and on quiet evenings one could hear the wheel from the road. "
    "It didn't turn on Sundays; nobody knew why. In 1897 the owner, a Mrs. O'Brien, sold it for $12,500.00.",
    "磨坊在两条小溪交汇的地方，安静的傍晚，从路上就能听见水轮的声音。2024年，GPT模型很流行。",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / 2\n",
    "naïve café, 42 €, \t¬ \u2003 𝔘𝔫𝔦 👩‍🔬 e\u0301   three blanks \x7f\n\n\nEnd of it.",
)


def read_tokenizer(metadata: Mapping[str, Any], where: object) -> AnyTokenizer:
    """The tokenizer of a file. Raises TextmillError for a kind that is not read, DamagedError for lists that cannot be
    one's."""
    kind = metadata.get(PREFIX + "model")
    tokens = _list(metadata, "tokens", where)
    types = _types(metadata, len(tokens), where)
    settings = _settings(metadata, tokens, types, kind, where)
    whole = metadata.get(DOCUMENT)
    if isinstance(whole, str):
        return load.of(whole.encode("utf-8", "replace"), where, settings)
    if kind == "gpt2":
        return load.of(_read_byte_level(metadata, tokens, types, settings, where), where, settings)
    if kind == "llama":
        return _read_sentencepiece(metadata, tokens, types, settings, where)
    raise TextmillError(
        f"its tokenizer is of the kind {str(kind)[:40]!r}, which is not read here",
        where=where,
        advice="kinds gpt2 (byte-level BPE) and llama (SentencePiece BPE) are",
    )


def assumed(metadata: Mapping[str, Any], architecture: str) -> str | None:
    """What a person should know of a tokenizer whose file does not say how it cuts text; None where it does, or where
    nothing is cut before merging, or the architecture had one way only."""
    if metadata.get(PREFIX + "model") != "gpt2" or DOCUMENT in metadata or architecture == "gpt2":
        return None
    if metadata.get(PREFIX + "pre") is not None:
        return None
    return (
        f"the file does not say how its tokenizer splits text ({PREFIX}pre); GPT-2's is assumed; if it is "
        "another, ids and answers differ from the model's own"
    )


def template(metadata: Mapping[str, Any]) -> str | None:
    """The chat template, where there is one."""
    text = metadata.get(TEMPLATE)
    return text if isinstance(text, str) else None


def _list(metadata: Mapping[str, Any], name: str, where: object) -> list[str]:
    texts = metadata.get(PREFIX + name)
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise DamagedError(
            f"holds no {PREFIX}{name}", where=where, advice="fetch a file with a tokenizer in it"
        )
    return texts


def _numbers(metadata: Mapping[str, Any], name: str, count: int, where: object) -> np.ndarray | None:
    numbers = metadata.get(PREFIX + name)
    if numbers is None:
        return None
    if not isinstance(numbers, np.ndarray) or len(numbers) != count:
        raise DamagedError(f"{PREFIX}{name} does not give one number per token", where=where)
    return numbers


def _types(metadata: Mapping[str, Any], count: int, where: object) -> list[int]:
    types = _numbers(metadata, "token_type", count, where)
    return [NORMAL] * count if types is None else types.tolist()


def _settings(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], kind: Any, where: object
) -> Settings:
    """What the file says of roles, as the files beside a tokenizer.json would."""

    def token(name: str) -> int | None:
        number = metadata.get(PREFIX + name)
        if number is None or number == 0xFFFFFFFF:  # -1 as uint32: none
            return None
        if not isinstance(number, int) or not 0 <= number < len(tokens):
            raise DamagedError(f"{PREFIX}{name} = {str(number)[:40]} is not an id", where=where)
        return number

    named = {role: token(key) for role, key in ROLES.items()}
    known = {name: number for number, name in enumerate(tokens) if name in _TURN_ENDS}
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


def _around(settings: Settings, tokens: list[str]) -> dict[str, list[int]]:
    """Ids that go before and after a text."""
    prefix = [tokens.index(settings.tokens["bos_token"])] if settings.add_bos else []
    suffix = [tokens.index(settings.tokens["eos_token"])] if settings.add_eos else []
    return {"prefix": prefix, "suffix": suffix}


def _read_byte_level(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], settings: Settings, where: object
) -> bytes:
    merges = _list(metadata, "merges", where)
    special = {number for number, kind in enumerate(types) if kind in (CONTROL, UNKNOWN, UNUSED)}
    named = set(settings.tokens.values())
    special |= {number for number, name in enumerate(tokens) if name in named}
    added = [number for number, kind in enumerate(types) if kind == USER_DEFINED and number not in special]
    pre = metadata.get(PREFIX + "pre", "gpt-2")
    with _placed(where):
        return json_build.byte_level_bpe(
            tokens, merges, special, str(pre)[:80], added=added, **_around(settings, tokens)
        )


@contextmanager
def _placed(where: object) -> Iterator[None]:
    """Errors of the lists are errors of the file."""
    try:
        yield
    except TextmillError as error:
        raise type(error)(error.what, where=where, advice=error.advice) from error


def _read_sentencepiece(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], settings: Settings, where: object
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
        **_around(settings, tokens),
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
    return PretrainedTokenizer(whole, where, settings, parsed, made)


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


@dataclass(frozen=True)
class Written:
    """Metadata of a tokenizer, and what a person should know of them; "" when all ids are the same."""

    metadata: Mapping[str, Any]
    note: str


def write_tokenizer(tokenizer: AnyTokenizer, rows: int, template: str | None) -> Written:
    """The metadata of a tokenizer; rows: ids that the embedding knows, at least as many as it has tokens.

    Raises TextmillError for a tokenizer that llama.cpp cannot have.
    """
    if not isinstance(tokenizer, FileTokenizer):
        raise _refused("Marian's pair of tokenizers")
    document = json.loads(tokenizer.data)
    model = document["model"]
    if model.get("type") != "BPE":
        raise _refused(f"a {model.get('type')} tokenizer")
    tokens, types = _listed(document, rows)
    around = {"prefix": list(tokenizer.prefix), "suffix": list(tokenizer.suffix)}
    if decoder_kind(document) == "ByteLevel":
        lists, note = _write_byte_level(document, tokens, types, around)
    else:
        lists, note = _write_sentencepiece(document, tokens, types, around), ""
    metadata = {"tokens": tokens, "token_type": types, **lists, **_roles(tokenizer, tokens)}
    named = {PREFIX + key: value for key, value in metadata.items()}
    if note:
        named[DOCUMENT] = tokenizer.data.decode("utf-8")
    return Written(named | ({TEMPLATE: template} if template else {}), note)


def _refused(what: str) -> TextmillError:
    return TextmillError(
        f"llama.cpp has nothing like {what}",
        advice="export a model with a BPE tokenizer (tokenizer.kind = bpe or bytes), or use the model's own directory",
    )


def _listed(document: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Tokens and types by id; ids that nothing is called are unused."""
    vocabulary: dict[str, int] = document["model"]["vocab"]
    added = {token["id"]: token for token in document.get("added_tokens") or ()}
    names = {number: token for token, number in vocabulary.items()}
    names |= {number: token["content"] for number, token in added.items()}
    if max(names, default=0) >= rows:
        raise TextmillError(f"the tokenizer has {max(names) + 1} ids, and the model knows {rows}")
    tokens = [names.get(number, f"[PAD{number}]") for number in range(rows)]
    unknown = vocabulary.get(document["model"].get("unk_token") or "", -1)
    types = []
    for number, token in enumerate(tokens):
        if number not in names:
            types.append(UNUSED)
        elif number == unknown:
            types.append(UNKNOWN)
        elif number in added:
            types.append(CONTROL if added[number]["special"] else USER_DEFINED)
        else:
            fallback = document["model"].get("byte_fallback") and _BYTE.match(token)
            types.append(BYTE if fallback else NORMAL)
    return tokens, types


def _roles(tokenizer: AnyTokenizer, tokens: Sequence[str]) -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(tokens)}
    named = {
        key: numbers[name] for role, key in ROLES.items() if (name := tokenizer.names.get(role)) in numbers
    }
    # What no file calls the first of a text is, here, what ended the one before it.
    roles = {"bos_token_id": tokenizer.end} | named
    roles |= {"eos_token_id": tokenizer.end, "padding_token_id": tokenizer.pad}
    others = [number for number in tokenizer.ends if number != tokenizer.end]
    if others:
        roles["eot_token_id"] = others[0]
    return roles | {"add_bos_token": bool(tokenizer.prefix), "add_eos_token": bool(tokenizer.suffix)}


def _write_byte_level(
    document: Mapping[str, Any], tokens: list[str], types: list[int], around: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Merges, and the name of the cuts: the right one, or else the nearest."""
    merges = [" ".join(_pair(merge)) for merge in document["model"]["merges"]]
    lists = {"model": "gpt2", "merges": merges}
    here = _cuts(document.get("pre_tokenizer"), document.get("normalizer"))
    whole = bool(document["model"].get("ignore_merges"))
    for name, (cutter, normalizer, pieces) in PRE.items():
        if _cuts(cutter, normalizer) == here and pieces == whole:
            return lists | {"pre": name}, ""
    special = [number for number, kind in enumerate(types) if kind in (CONTROL, UNKNOWN, UNUSED)]
    added = [number for number, kind in enumerate(types) if kind == USER_DEFINED]
    wanted = _ids(json.dumps(document).encode())

    def alike(name: str) -> float:
        return _alike(
            wanted,
            _ids(json_build.byte_level_bpe(tokens, merges, special, name, added=added, **around)),
        )

    shares = {name: alike(name) for name in PRE}
    best = max(PRE, key=lambda name: (shares[name], name == _USUAL))
    share = shares[best]
    if share < _LEAST_ALIKE:
        raise _refused("a tokenizer that splits text as this one does")
    if share == 1 and not merges:  # single bytes: nothing to cut
        return lists | {"pre": best}, ""
    note = (
        f"llama.cpp splits text slightly differently before tokenization ({best}): {share:.1%} of the ids of a "
        "mixed text are the same there; the text is the same in any case"
    )
    return lists | {"pre": best}, note


def _write_sentencepiece(
    document: Mapping[str, Any], tokens: list[str], types: list[int], around: Mapping[str, Any]
) -> dict[str, Any]:
    """Scores that give the merges of a SentencePiece BPE back. Raises TextmillError where none do."""
    merges = [tuple(_pair(merge)) for merge in document["model"]["merges"]]
    numbers = {token: number for number, token in enumerate(tokens)}
    scores, last = [0.0] * len(tokens), None
    rank = 0
    for left, right in merges:
        made = left + right
        if made != last:
            rank -= 1
            scores[numbers[made]] = float(rank)
            last = made
    options: dict[str, Any] = {"add_prefix": _adds_blank(document), **around}
    again = json_build.sentencepiece_bpe(tokens, scores, types, **options)
    same = {tuple(merge) for merge in json.loads(again)["model"]["merges"]} == set(merges)
    if not same or _ids(again) != _ids(json.dumps(document).encode()):
        raise _refused("a BPE tokenizer that neither stands for bytes nor comes from SentencePiece")
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": options["add_prefix"]}


def _pair(merge: Any) -> list[str]:
    return merge if isinstance(merge, list) else merge.split(" ", 1)


def _adds_blank(document: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text: by the normaliser, or by a Metaspace step."""
    normalizer, cutter = document.get("normalizer") or {}, document.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer]) + cutter.get("pretokenizers", [cutter])
    return any(
        step.get("type") == "Prepend"
        or (step.get("type") == "Metaspace" and step.get("prepend_scheme", "always") != "never")
        for step in steps
    )


def _cuts(cutter: Any, normalizer: Any) -> str:
    """Two steps of a tokenizer.json, as far as they decide on ids."""

    def plain(step: Any) -> Any:
        if isinstance(step, list):
            return [plain(item) for item in step]
        if not isinstance(step, dict):
            return step
        return {key: plain(value) for key, value in step.items() if key != "trim_offsets"}

    return json.dumps([plain(cutter), plain(normalizer)], sort_keys=True)


def _ids(document: bytes) -> list[list[int]]:
    made = json_read.reference(document, "tokenizer")
    return [made.encode(text, add_special_tokens=False).ids for text in _SAMPLES]


def _alike(ids: list[list[int]], others: list[list[int]]) -> float:
    """Share of ids that are the same."""
    same = sum(
        block.size
        for a, b in zip(ids, others, strict=True)
        for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    )
    return same / max(sum(map(len, ids)), sum(map(len, others)), 1)
