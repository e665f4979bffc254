"""The files tokenizers came in before tokenizer.json: SentencePiece models, vocab.txt, vocab.json with merges.txt.

Each layout is turned into a tokenizer.json, and into what such a model's settings are when nobody says them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textmill.base.errors import DamagedError, TextmillError
from textmill.tokenization import json_read, sentencepiece_model
from textmill.tokenization.json_build import byte_level_bpe, wordpiece
from textmill.tokenization.json_read import Settings

Read = Callable[[Path, Settings], tuple[bytes, Settings]]
_EXTRA_IDS = 100  # sentinels of T5, which are not in its SentencePiece model
_SHIFTED = ("XLMRoberta", "Camembert", "MBart", "Barthez", "NllbTokenizer", "XGLM", "M2M100", "DebertaV2")


def _config(directory: Path) -> Mapping[str, Any]:
    """tokenizer_config.json and config.json together, the first one first; empty where there is none."""
    whole: dict[str, Any] = {}
    for name in ("config.json", json_read.SETTINGS):
        if (directory / name).is_file():
            content = json_read.plain_json(json_read.read_file(directory / name), directory / name)
            whole |= content if isinstance(content, dict) else {}
    return whole


def _sentencepiece(name: str) -> Read:
    def read(directory: Path, settings: Settings) -> tuple[bytes, Settings]:
        config = _config(directory)
        kind = str(config.get("tokenizer_class") or config.get("model_type") or "")
        if (
            any(kind.lower().startswith(shifted.lower()) for shifted in _SHIFTED)
            or name == "sentencepiece.bpe.model"
        ):
            raise TextmillError(
                f"numbers its pieces differently from {name} does",
                where=directory,
                advice="save its tokenizer.json (transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…))",
            )
        model = sentencepiece_model.read(json_read.read_file(directory / name), directory / name)
        t5 = kind.lower().startswith(("t5", "mt5", "umt5"))
        count = config.get("extra_ids", _EXTRA_IDS if kind.lower().startswith("t5") else 0)
        if type(count) is not int or not 0 <= count <= 10_000:
            raise DamagedError("extra_ids is not a number", where=directory / json_read.SETTINGS)
        extra = [f"<extra_id_{number}>" for number in reversed(range(count))]
        extra = [] if extra and extra[0] in model.tokens else extra
        suffix = [model.eos] if (t5 and model.eos >= 0) else []
        begins = settings.add_bos is not False and not t5 and model.bos >= 0
        data = model.document(prefix=[model.bos] if begins else [], suffix=suffix, extra=extra)
        spelt = {"eos_token": model.eos, "bos_token": -1 if t5 else model.bos, "pad_token": model.pad}
        spelt |= {"unk_token": model.unk}
        tokens = {role: model.tokens[number] for role, number in spelt.items() if number >= 0}
        ids = dict(settings.ids)
        if t5:
            ids.setdefault("decoder_start_token_id", (max(model.pad, 0),))
        return data, replace(settings, tokens=tokens | dict(settings.tokens), ids=ids)

    return read


def _wordpiece(directory: Path, settings: Settings) -> tuple[bytes, Settings]:
    """BERT's vocab.txt: a token a line."""
    path = directory / "vocab.txt"
    config = _config(directory)
    tokens = _lines(path)
    flags = {name: config.get(name) for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars")}
    for name, value in flags.items():
        if value is not None and not isinstance(value, bool):
            raise DamagedError(f"{name} is neither true nor false", where=directory / json_read.SETTINGS)
    lower = flags["do_lower_case"] is not False
    chinese = flags["tokenize_chinese_chars"] is not False
    data = wordpiece(tokens, lower=lower, accents=flags["strip_accents"], chinese=chinese)
    usual = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    return data, replace(settings, tokens=usual | {"unk_token": "[UNK]"} | dict(settings.tokens))


_GPT2 = ("<|endoftext|>",)
_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def _byte_level(directory: Path, settings: Settings) -> tuple[bytes, Settings]:
    """GPT-2's vocab.json and merges.txt; RoBERTa's and BART's are the same with their own special tokens."""
    path = directory / "vocab.json"
    numbers = json_read.plain_json(json_read.read_file(path), path)
    if not isinstance(numbers, dict) or sorted(map(str, numbers.values())) != sorted(
        map(str, range(len(numbers)))
    ):
        raise DamagedError("is not a table of ids from 0 on", where=path)
    tokens = sorted(numbers, key=lambda token: int(numbers[token]))
    merges = [line for line in _lines(directory / "merges.txt") if line and not line.startswith("#version")]
    roberta = all(name in numbers for name in _ROBERTA[:3])
    names = _ROBERTA if roberta else _GPT2
    special = [numbers[name] for name in names if name in numbers]
    around = ([numbers["<s>"]], [numbers["</s>"]]) if roberta else ([], [])
    data = byte_level_bpe(tokens, merges, special, "gpt-2", prefix=around[0], suffix=around[1])
    end = "</s>" if roberta else _GPT2[0]
    usual = {"eos_token": end, "bos_token": "<s>" if roberta else end}
    if roberta:
        usual |= {"sep_token": "</s>", "cls_token": "<s>", "pad_token": "<pad>", "mask_token": "<mask>"}
    return data, replace(settings, tokens=usual | dict(settings.tokens))


def _lines(path: Path) -> list[str]:
    try:
        text = json_read.read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError("is not UTF-8", where=path) from error
    lines = text.split("\n")  # and at nothing else: U+2028 may be part of a token
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


LAYOUTS: tuple[tuple[tuple[str, ...], Read], ...] = (
    *(
        ((name,), _sentencepiece(name))
        for name in ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
    ),
    (("vocab.json", "merges.txt"), _byte_level),
    (("vocab.txt",), _wordpiece),
)
