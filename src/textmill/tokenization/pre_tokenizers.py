"""How byte-level tokenizers of other people cut a text before merging, by the name GGUF files give each way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.tokenization.engines import splitter

_LETTERS = r"\p{L}"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letters}+|\p{{N}}{digits}| ?[^\s{letter}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    r"[^\r\n\p{{L}}\p{{N}}]?{up}*{low}+{end}|[^\r\n\p{{L}}\p{{N}}]?{up}+{low}*{end}|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": regex}


def _digits_apart() -> dict[str, Any]:
    digits = {"type": "Digits", "individual_digits": True}
    return {"type": "Sequence", "pretokenizers": [digits, _byte_level(True)]}


def _gpt4(digits: str) -> dict[str, Any]:
    return splitter(_GPT4.format(letters=_LETTERS, letter=_LETTERS, digits=digits))


def _cased(digits: str, end: str = "") -> dict[str, Any]:
    return splitter(_CASED.format(up=_UPPER, low=_LOWER, digits=digits, end=end))


_CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
# How text is cut before merging, by the name GGUF gives it: (pre-tokenizer, normaliser, whole pieces first).
PRE: Mapping[str, tuple[dict[str, Any], dict[str, Any] | None, bool]] = {
    "gpt-2": (_byte_level(True), None, False),
    "smollm": (_digits_apart(), None, False),
    "starcoder": (_digits_apart(), None, False),
    "refact": (_digits_apart(), None, False),
    "command-r": (_digits_apart(), None, False),
    "llama-bpe": (_gpt4("{1,3}"), None, True),
    "qwen2": (_gpt4(""), {"type": "NFC"}, False),
    "tekken": (_cased(""), None, True),
    "gpt-4o": (_cased("{1,3}", _CONTRACTED), None, False),
}
ALIASES: Mapping[str, str] = {
    "gpt2": "gpt-2",
    "phi-2": "gpt-2",
    "olmo": "gpt-2",
    "roberta-bpe": "gpt-2",
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
    "llama4": "gpt-4o",
    "deepseek-r1-qwen": "qwen2",
    "smollm2": "smollm",
}
