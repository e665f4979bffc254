"""A tokenizer as the lists that llama.cpp reads.

llama.cpp knows two kinds that language models have here, and of byte-level BPE only the ways to cut text that it has
a name for. A tokenizer that is cut otherwise is written with the nearest of them, and its tokenizer.json beside it:
Textmill, and who else looks there, then gives the exact ids, and llama.cpp's differ here and there, which is said.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textmill.base.errors import TextmillError
from textmill.interop.gguf.tokenizer_read import DOCUMENT, PREFIX, ROLES, TEMPLATE
from textmill.tokenization import json_build, json_read
from textmill.tokenization.file_tokenizer import FileTokenizer
from textmill.tokenization.json_build import BYTE, CONTROL, NORMAL, PRE, UNKNOWN, UNUSED, USER_DEFINED
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.tokenizer import decoder_kind

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


@dataclass(frozen=True)
class Written:
    """Metadata of a tokenizer, and what a person should know of them; "" when all ids are the same."""

    metadata: Mapping[str, Any]
    note: str


def write(tokenizer: AnyTokenizer, rows: int, template: str | None) -> Written:
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
        lists, note = _byte_level(document, tokens, types, around)
    else:
        lists, note = _sentencepiece(document, tokens, types, around), ""
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


def _byte_level(
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
        raise _refused("a tokenizer that cuts text as this one does")
    if share == 1 and not merges:  # single bytes: nothing to cut
        return lists | {"pre": best}, ""
    note = (
        f"llama.cpp cuts text in a slightly other way before it looks for tokens ({best}): {share:.1%} of the ids of a "
        "mixed text are the same there; the text is the same in any case"
    )
    return lists | {"pre": best}, note


def _sentencepiece(
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
    """Whether a blank is put before a text: by the normaliser, or by a Metaspace step."""
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


def _alike(one: list[list[int]], other: list[list[int]]) -> float:
    """Share of ids that stay."""
    same = sum(
        block.size
        for a, b in zip(one, other, strict=True)
        for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    )
    return same / max(sum(map(len, one)), sum(map(len, other)), 1)
