"""What every tokenizer out of a tokenizer.json shares: its ids, which of them play a part, what goes around a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.files import write_bytes, write_json
from textmill.tokenization import json_read
from textmill.tokenization.json_read import SETTINGS, Around, Parsed, Roles, Settings
from textmill.tokenization.reading import Reading, framed, says

_FLAGS = ("add_bos_token", "add_eos_token")


class FileTokenizer:
    """Which ids play a part: `end` (of a text) and `ends` (all that end what a model writes), `start` (what a decoder
    begins with; `end` where nothing else does), `pad`, `mask` and `separator` (None where there is none), `sentinels`
    (of masked spans), `prefix` and `suffix` (what a model expects around a text), `between` (between two texts).
    """

    _tells = False  # whether a tokenizer_config.json is written although there are no settings

    def __init__(
        self,
        data: bytes | Callable[[], bytes],
        where: object = "tokenizer.json",
        settings: Settings | None = None,
        parsed: Parsed | None = None,
        reference: Any = None,
    ) -> None:
        """data: the bytes of a tokenizer.json, read from `where`; settings: what the files beside it say; parsed: its
        contents, where they are known. Who has made it from other files (interop/gguf/tokenizer.py) also gives the
        library's tokenizer, and `data` as a function: writing a large tokenizer.json takes a second.

        Raises DamagedError when they are not one, TextmillError when its ids do not say what they stand for.
        """
        self._data, self._where, self._said = data, where, settings or Settings()
        self._parsed = parsed or json_read.parse(self.data, where)
        self._reference = reference
        self._document: dict[str, Any] = self._parsed.document
        self._check_decoder()
        self.special: Mapping[str, int] = self._parsed.special
        self.vocabulary: int = self._parsed.vocabulary
        self.roles: Roles = json_read.roles(self._parsed, self._said, where)
        self.end, self.ends, self.start = self.roles.end, self.roles.ends, self.roles.start
        self.begin: int | None = self.roles.begin
        self.told = self._said != Settings()
        self.pad, self.mask, self.separator = self.roles.pad, self.roles.mask, self.roles.separator
        self.sentinels = self.roles.sentinels

    @cached_property
    def data(self) -> bytes:
        """The bytes of the tokenizer.json."""
        return self._data() if callable(self._data) else self._data

    def _check_decoder(self) -> None:
        raise NotImplementedError

    def encode_many(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """(n,) uint32 ids of each text."""
        raise NotImplementedError

    def encode_targets(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode_many` of texts that are to be written: they are cut as all are."""
        return self.encode_many(texts, threads)

    def save(self, path: Path | str) -> None:
        """Write the tokenizer.json, the same bytes that were read or trained; a directory gets one of that name.

        Where more is known than the file says, it is written beside, as tokenizer_config.json.
        """
        path = Path(path)
        path = path if path.suffix == ".json" else path / "tokenizer.json"
        write_bytes(path, self.data)
        if self._tells or self.told:
            write_json(path.with_name(SETTINGS), {**self.settings, **self._said.others})

    def publish(self, directory: Path, reading: Reading) -> None:
        """Write the tokenizer.json and tokenizer_config.json of a model that reads texts so: whoever loads them gets
        the ids that it was trained on. The bytes of the first are kept where they say so already."""
        data = self.data
        if not says(self._in_file, reading):
            data = framed(self._document, self._spelt, reading)
        named = {"bos_token": reading.begin, "sep_token": self.separator}
        names = {role: self._spelt[number] for role, number in named.items() if number is not None}
        names = {role: name for role, name in names.items() if name}
        said = {**names, **self.settings, **reading.settings(self._said.others)}
        for flag in _FLAGS:  # which the file itself now says
            said.pop(flag, None)
        write_bytes(directory / "tokenizer.json", data)
        write_json(directory / SETTINGS, said)

    @property
    def said(self) -> Settings:
        """What the files beside its own say of it."""
        return self._said

    def grown(self, tokens: Iterable[tuple[str, bool]]) -> bytes:
        """The bytes of its tokenizer.json with these (spelling, special) as added tokens behind all others."""
        added = [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": special,
            }
            for number, (text, special) in enumerate(tokens, self.vocabulary)
        ]
        document = {**self._document, "added_tokens": [*(self._document.get("added_tokens") or ()), *added]}
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")

    @property
    def settings(self) -> dict[str, Any]:
        """A tokenizer_config.json from which all roles are found again."""
        flags = zip(_FLAGS, (self._said.add_bos, self._said.add_eos), strict=True)
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **self.names,
            **{name: value for name, value in flags if value is not None},
            "eos_token_id": list(self.ends),
            "decoder_start_token_id": self.start,
            "clean_up_tokenization_spaces": False,
        }

    @cached_property
    def reference(self) -> Any:
        """The `tokenizers.Tokenizer` of this file, told to read special tokens in a text as plain text."""
        return self._reference or json_read.reference(self.data, self._where)

    @cached_property
    def _spelt(self) -> Sequence[str]:
        """The spelling of each id; none for numbers between them that are no token's."""
        spelt = [""] * self.vocabulary
        for name, number in self._parsed.tokens.items():
            spelt[number] = name
        return spelt

    @cached_property
    def _in_file(self) -> Around:
        """What the file itself says of ids around texts."""
        if self._document.get("post_processor") is None:
            return Around()
        return json_read.around(self.reference, self._where)

    @cached_property
    def _around(self) -> Around:
        if self._document.get("post_processor") is None and self._said.add_bos is self._said.add_eos is None:
            return Around()
        return json_read.surroundings(self.reference, self._parsed, self._said, self._where)

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids the model expects before a text; none for those trained here."""
        return self._around.before

    @property
    def suffix(self) -> tuple[int, ...]:
        """Ids the model expects after a text."""
        return self._around.after

    @property
    def between(self) -> tuple[int, ...]:
        """Ids the model expects between two texts in one row: the separator, unless the file says it otherwise."""
        return self._around.between or (() if self.separator is None else (self.separator,))

    @property
    def names(self) -> dict[str, str]:
        """Spellings a chat template may ask for: bos_token, eos_token, pad_token, …"""
        return json_read.names(self._parsed, self._said, self.roles)

    @cached_property
    def added(self) -> dict[str, int]:
        """Tokens that are found whole in a text, and are not special."""
        return {name: token["id"] for name, token in self._parsed.added.items() if not token["special"]}

    def trims(self, name: str) -> tuple[bool, bool]:
        """Whether an added token takes away the spaces before it, and those after it."""
        token = self._parsed.added.get(name, {})
        return bool(token.get("lstrip")), bool(token.get("rstrip"))
