"""A tokenizer.json and what lies beside it, read with distrust: what it holds, and which id does what."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textmill.base.errors import DamagedError, TextmillError

MOST_IDS = 1 << 22  # of a tokenizer; far above the largest there is
_LARGEST = 1 << 28  # bytes of a tokenizer.json; Gemma's is 33 MB
_LARGEST_SETTINGS = 1 << 26  # of any other file beside it
SETTINGS = "tokenizer_config.json"

# What people call the tokens of each role, where no file says it.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "end": ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]"),
    "start": ("<s>", "<bos>", "<|begin_of_text|>", "[CLS]"),
    "pad": ("<|pad|>", "<|padding|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"),
    "mask": ("<|mask|>", "[MASK]", "<mask>"),
    "separator": ("<|separator|>", "[SEP]"),
    "unknown": ("<unk>", "[UNK]"),
}
OUR_START = "<|start|>"
_SENTINEL = re.compile(r"<(?:\|hidden_(\d{1,4})\||extra_id_(\d{1,4}))>")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
# What else a tokenizer_config.json may say to others, and how it looks there.
_OTHERS: Mapping[str, Callable[[Any], bool]] = {
    "model_max_length": lambda value: type(value) in (int, float) and 0 < value < float("inf"),
    "padding_side": lambda value: value in ("left", "right"),
    "truncation_side": lambda value: value in ("left", "right"),
    "model_input_names": lambda value: isinstance(value, list) and all(type(name) is str for name in value),
    "source_lang": lambda value: type(value) is str,
    "target_lang": lambda value: type(value) is str,
}
# Classes of tokenizers that pad on the left unless they are told otherwise; all others do so on the right.
_PAD_LEFT = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer")
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class Settings:
    """What the files beside a tokenizer.json say of it.

    tokens   spelling of bos_token, eos_token, pad_token, unk_token, sep_token, cls_token, mask_token
    ids      bos_token_id, eos_token_id (perhaps several), pad_token_id, decoder_start_token_id
    add_bos, add_eos   whether the first of them goes before, the second after a text; None: as the file has it
    others   what tokenizer_config.json says to others and nothing here depends on (`_OTHERS`)
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    add_bos: bool | None = None
    add_eos: bool | None = None
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """The contents of a tokenizer.json."""

    document: dict[str, Any]
    tokens: Mapping[str, int]  # every token, added ones included
    added: Mapping[str, Mapping[str, Any]]  # added tokens by their spelling, as the file has them
    special: Mapping[str, int]
    vocabulary: int  # the largest id and one


@dataclass(frozen=True)
class Around:
    """Ids around texts: before one, after one, and between two in one row."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    between: tuple[int, ...] = ()


@dataclass(frozen=True)
class Roles:
    """Which id does what. `start` is what a decoder begins with, `ends` all that end what it writes, `begin` what a
    text is said to begin with, if anything is."""

    end: int
    ends: tuple[int, ...]
    start: int
    begin: int | None
    pad: int
    mask: int | None
    separator: int | None
    unknown: int | None
    sentinels: tuple[int, ...]  # of masked spans, the first one first


def read_file(path: Path, largest: int = _LARGEST) -> bytes:
    """The bytes of a file. Raises DamagedError when it is missing or absurdly large."""
    try:
        with path.open("rb") as handle:
            data = handle.read(largest + 1)
    except FileNotFoundError as error:
        raise DamagedError("is missing", where=path) from error
    except OSError as error:
        raise TextmillError(f"cannot be read ({error.strerror})", where=path) from error
    if len(data) > largest:
        raise DamagedError(f"is larger than {largest >> 20} MB", where=path)
    return data


def plain_json(data: bytes, where: object) -> Any:
    """JSON as plain data. Raises DamagedError, also for nesting without end."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(
            f"is not readable JSON ({type(error).__name__}: {error})"[:300], where=where
        ) from error


def parse(data: bytes, where: object) -> Parsed:
    """The contents of a tokenizer.json, their types and ids checked. Raises DamagedError."""
    document = plain_json(data, where)
    try:
        vocabulary = document["model"]["vocab"]
        if isinstance(vocabulary, list):  # unigram: [[token, score], ...]
            vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
        added = {token["content"]: token for token in document.get("added_tokens") or ()}
        tokens: dict[str, int] = {**vocabulary, **{name: token["id"] for name, token in added.items()}}
        special = {name: token["id"] for name, token in added.items() if token["special"]}
        if not all(map(_is_token, tokens, tokens.values())):
            raise ValueError("ids must be numbers, tokens text")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"is not a tokenizer.json ({error!r})"[:300], where=where) from error
    if not tokens or max(tokens.values()) >= MOST_IDS or min(tokens.values()) < 0:
        raise DamagedError(f"has no tokens, or ids outside 0 … {MOST_IDS - 1}", where=where)
    return Parsed(document, tokens, added, special, max(tokens.values()) + 1)


def _is_token(name: object, number: object) -> bool:
    return type(name) is str and type(number) is int


@contextlib.contextmanager
def guarded(where: object) -> Iterator[None]:
    """Turn what the `tokenizers` library raises into a DamagedError; where its Rust panics, too."""
    try:
        yield
    except TextmillError:
        raise
    except Exception as error:
        raise DamagedError(f"cannot be used as a tokenizer ({error})"[:400], where=where) from error
    except BaseException as error:  # PyO3's PanicException is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise DamagedError(f"cannot be used as a tokenizer ({error})"[:400], where=where) from None


def reference(data: bytes, where: object) -> Any:
    """The `tokenizers.Tokenizer` of a file: special tokens in a text are plain text, nothing is padded or cut."""
    from tokenizers import Tokenizer

    with guarded(where):
        made = Tokenizer.from_str(data.decode("utf-8"))
        made.encode_special_tokens = True
        made.no_padding()
        made.no_truncation()
    return made


def around(made: Any, where: object) -> Around:
    """Ids that the library puts around texts."""
    with guarded(where):
        one, two = made.encode("a"), made.encode("a", "a")
    before, _, after = _gaps(one.ids, one.sequence_ids)
    return Around(before, after, _gaps(two.ids, two.sequence_ids)[1])


def _gaps(ids: Sequence[int], owners: Sequence[int | None]) -> tuple[tuple[int, ...], ...]:
    """The ids of no text: before the first text, between it and a second, after the last."""
    own = [place for place, owner in enumerate(owners) if owner is not None]
    if not own:
        return tuple(ids), (), ()
    second = next((place for place, owner in enumerate(owners) if owner == 1), own[-1] + 1)
    first = max(place for place in own if place < second)
    return tuple(ids[: own[0]]), tuple(ids[first + 1 : second]), tuple(ids[own[-1] + 1 :])


def surroundings(made: Any, parsed: Parsed, config: Settings, where: object) -> Around:
    """Ids that belong around texts: `around`, and what `add_bos` and `add_eos` change of it."""
    found = around(made, where)
    prefix, suffix = found.before, found.after
    begins = parsed.tokens.get(config.tokens.get("bos_token", ""))
    ends = parsed.tokens.get(config.tokens.get("eos_token", ""))
    if config.add_bos is True and begins is not None and begins not in prefix:
        prefix = (begins, *prefix)
    if config.add_bos is False:
        prefix = tuple(token for token in prefix if token != begins)
    if config.add_eos is True and ends is not None and ends not in suffix:
        suffix = (*suffix, ends)
    if config.add_eos is False:
        suffix = tuple(token for token in suffix if token != ends)
    return Around(prefix, suffix, found.between)


def names(parsed: Parsed, config: Settings, assigned: Roles) -> dict[str, str]:
    """The spellings of bos_token, eos_token, …, as far as there are such tokens."""
    spelt = {number: name for name, number in parsed.tokens.items()}
    ids = {
        "eos_token": assigned.end,
        "pad_token": assigned.pad,
        "mask_token": assigned.mask,
        "unk_token": assigned.unknown,
    }
    bos = [number for number in config.ids.get("bos_token_id", ()) if number in spelt]
    if bos:
        ids["bos_token"] = bos[0]
    known = {role: spelt[number] for role, number in ids.items() if number in spelt}
    return known | {role: name for role, name in config.tokens.items() if name in parsed.tokens}


def settings(directory: Path) -> Settings:
    """What tokenizer_config, special_tokens_map, generation_config and config.json say. Raises DamagedError."""
    tokens: dict[str, str] = {}
    ids: dict[str, tuple[int, ...]] = {}
    flags: dict[str, bool] = {}
    others: dict[str, Any] = {}
    for name in (SETTINGS, "special_tokens_map.json", "generation_config.json", "config.json"):
        path = directory / name
        if not path.is_file():
            continue
        content = plain_json(read_file(path, _LARGEST_SETTINGS), path)
        if not isinstance(content, dict):
            raise DamagedError("is not a JSON object", where=path)
        if name == SETTINGS:
            others = _others(content)
        nested = content.get("text_config")
        for part in (content, nested if isinstance(nested, dict) else {}):
            for role in _TOKENS:
                _put(tokens, role, _spelling(part.get(role), path, role))
            for role in _IDS:
                _put(ids, role, _numbers(part.get(role), path, role))
        for flag in ("add_bos_token", "add_eos_token"):
            if isinstance(content.get(flag), bool):
                flags.setdefault(flag, content[flag])
    return Settings(tokens, ids, flags.get("add_bos_token"), flags.get("add_eos_token"), others)


def _others(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a tokenizer_config.json says to others. One that names no side to pad on means that of its class."""
    said = {
        name: content[name] for name, is_well_formed in _OTHERS.items() if is_well_formed(content.get(name))
    }
    kind = str(content.get("tokenizer_class")).removesuffix("Fast")
    return {"padding_side": "left" if kind in _PAD_LEFT else "right"} | said


def _put(kept: dict[str, Any], role: str, value: Any) -> None:
    if value is not None:
        kept.setdefault(role, value)


def _spelling(value: Any, where: Path, role: str) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    if value is None or isinstance(value, str):
        return value
    raise DamagedError(f"{role} is not text", where=where)


def _numbers(value: Any, where: Path, role: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) > 64 or not all(type(number) is int for number in numbers):
        raise DamagedError(f"{role} is neither an id nor a list of ids", where=where)
    return tuple(numbers) or None


def roles(parsed: Parsed, config: Settings, where: object) -> Roles:
    """Which id does what, from the files beside first, then from the names of special tokens.

    Raises TextmillError when nothing ends a text.
    """

    def named(role: str) -> int | None:
        return next((parsed.special[name] for name in _NAMES[role] if name in parsed.special), None)

    def configured(*keys: str) -> int | None:
        for key in keys:
            if config.tokens.get(key) in parsed.tokens:
                return parsed.tokens[config.tokens[key]]
            for number in config.ids.get(f"{key}_id", ()):
                if 0 <= number < parsed.vocabulary:
                    return number
        return None

    def first(*choices: int | None) -> int | None:
        return next((choice for choice in choices if choice is not None), None)

    end = first(configured("eos_token"), named("end"), configured("sep_token"))
    if end is None:
        raise TextmillError(
            "has no special token for the end of a text",
            where=where,
            advice=f"add one of {', '.join(_NAMES['end'])} to its added_tokens, with special = true",
        )
    ends = [number for number in config.ids.get("eos_token_id", ()) if 0 <= number < parsed.vocabulary]
    start = first(
        configured("decoder_start_token"),
        parsed.special.get(OUR_START),
        configured("bos_token", "cls_token"),
        named("start"),
    )
    pad = first(configured("pad_token"), named("pad"))
    return Roles(
        end=end,
        ends=tuple(dict.fromkeys((end, *ends))),
        start=end if start is None else start,
        begin=configured("bos_token"),
        pad=end if pad is None else pad,
        mask=first(configured("mask_token"), named("mask")),
        separator=first(configured("sep_token"), named("separator")),
        unknown=first(configured("unk_token"), named("unknown")),
        sentinels=_sentinels(parsed.special),
    )


def _sentinels(special: Mapping[str, int]) -> tuple[int, ...]:
    """Ids of the sentinels 0, 1, 2, … for as far as there are any."""
    by_index = {
        int(match[1] or match[2]): number
        for name, number in special.items()
        if (match := _SENTINEL.fullmatch(name))
    }
    numbers = []
    while len(numbers) in by_index:
        numbers.append(by_index[len(numbers)])
    return tuple(numbers)
