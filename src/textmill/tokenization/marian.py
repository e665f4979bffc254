"""Marian's tokenizer: one SentencePiece model cuts sources, another targets, and vocab.json numbers the pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import content_id, write_bytes, write_json
from textmill.tokenization import json_read, sentencepiece_model
from textmill.tokenization.characters import offsets_given, without_surrogates
from textmill.tokenization.decoders import Spelled, Spelling
from textmill.tokenization.json_build import BLANK
from textmill.tokenization.pretrained import PretrainedTokenizer
from textmill.tokenization.protocol import Cut
from textmill.tokenization.reading import Reading

FILES = ("source.spm", "target.spm", "vocab.json")
_OWN = "target_vocab.json"
_END, _PAD, _UNKNOWN = "</s>", "<pad>", "<unk>"
_LANGUAGE = re.compile(r">>[^<>\s]{1,64}<<")  # the language to translate into, where a model knows several
_ALL = 1 << 16  # spaces taken off the beginning


class MarianTokenizer(Spelled):
    """The interface of `Tokenizer`, with `encode` for sources and `encode_target` for targets; one set of ids."""

    lossless = False
    prefix: tuple[int, ...] = ()
    mask = separator = begin = None
    told = True
    between: tuple[int, ...] = ()
    sentinels: tuple[int, ...] = ()
    added: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self,
        source: bytes,
        target: bytes,
        vocabulary: bytes,
        where: Path | str = "",
        settings: json_read.Settings | None = None,
    ) -> None:
        """The bytes of the three files, read from the directory `where`; settings: what the files beside them say.

        Raises DamagedError."""
        self._said = settings or json_read.Settings()
        self._files = dict(zip(FILES, (source, target, vocabulary), strict=True))
        self._where = Path(where)
        path = self._where / "vocab.json"
        numbers = json_read.plain_json(vocabulary, path)
        if not isinstance(numbers, dict) or not all(type(value) is int for value in numbers.values()):
            raise DamagedError("is not a table of ids", where=path)
        if not numbers or not 0 <= min(numbers.values()) <= max(numbers.values()) < json_read.MOST_IDS:
            raise DamagedError("has no ids, or absurd ones", where=path)
        self._numbers: dict[str, int] = numbers
        missing = [name for name in (_END, _PAD, _UNKNOWN) if name not in numbers]
        if missing:
            raise DamagedError(f"holds no {missing[0]}", where=path)
        self.vocabulary = max(numbers.values()) + 1
        languages = {name: number for name, number in numbers.items() if _LANGUAGE.fullmatch(name)}
        self.special: Mapping[str, int] = {name: numbers[name] for name in (_END, _PAD, _UNKNOWN)} | languages
        self.end, self.pad = numbers[_END], numbers[_PAD]
        self.ends, self.suffix = (self.end,), (self.end,)
        self.start = self.pad  # what Marian's decoders begin with
        self.names = {"eos_token": _END, "pad_token": _PAD, "unk_token": _UNKNOWN}
        self.id = content_id(b"".join(content_id(data).encode() for data in self._files.values()))

    @classmethod
    def load(cls, directory: Path | str) -> MarianTokenizer:
        """Read source.spm, target.spm and vocab.json. Raises DamagedError, and TextmillError where targets have a
        vocabulary of their own."""
        directory = Path(directory)
        if (directory / _OWN).exists():
            raise TextmillError("numbers the pieces of targets differently", where=directory / _OWN)
        source, target, vocabulary = (json_read.read_file(directory / name) for name in FILES)
        return cls(source, target, vocabulary, directory, json_read.settings(directory))

    def save(self, path: Path | str) -> None:
        """Write the three files into a directory, or beside the file that is named."""
        path = Path(path)
        for name, data in self._files.items():
            write_bytes((path.parent if path.suffix == ".json" else path) / name, data)

    def publish(self, directory: Path, reading: Reading) -> None:
        """Write the three files and their tokenizer_config.json."""
        self.save(directory)
        said = {"tokenizer_class": "MarianTokenizer", **self.names, **reading.settings(self._said.others)}
        write_json(directory / json_read.SETTINGS, said)

    def trims(self, name: str) -> tuple[bool, bool]:
        """Whether an added token takes away the spaces before or after it: none does."""
        return False, False

    @cached_property
    def _source(self) -> PretrainedTokenizer:
        return self._cutter("source.spm")

    @cached_property
    def _target(self) -> PretrainedTokenizer:
        return self._cutter("target.spm")

    def _cutter(self, name: str) -> PretrainedTokenizer:
        where = self._where / name
        document = sentencepiece_model.read(self._files[name], where).document()
        settings = json_read.Settings(tokens={"eos_token": _END})
        return PretrainedTokenizer(document, where, settings)

    def encode(self, text: str) -> np.ndarray:
        """(n,) uint32 ids of a source, without its end; a language (`>>fr<<`) may stand at its beginning."""
        return self._encoded(self._source, text, languages=True)

    def encode_next(self, text: str) -> np.ndarray:
        """`encode` of a text that goes on after other ids: here the same."""
        return self.encode(text)

    def encode_target(self, text: str) -> np.ndarray:
        """(n,) uint32 ids of a target, without its end."""
        return self._encoded(self._target, text, languages=False)

    def encode_many(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode` of each text."""
        return [self.encode(text) for text in texts]

    def encode_targets(self, texts: Iterable[str], threads: int | None = None) -> list[np.ndarray]:
        """`encode_target` of each text."""
        return [self.encode_target(text) for text in texts]

    def offsets(self, text: str, cut: Cut = "text") -> np.ndarray:
        """(n, 2) int64: the characters [start, end) of a text that each id of `encode(text)` stands for."""
        clean, cutter = without_surrogates(text), self._target if cut == "target" else self._source
        match = None if cut == "target" else _LANGUAGE.match(clean)
        before = match.end() if match else 0
        language = np.array([[0, before]] if match else [], dtype=np.int64).reshape(-1, 2)
        return offsets_given(text, np.concatenate([language, cutter.offsets(clean[before:]) + before]))

    def _encoded(self, cutter: PretrainedTokenizer, text: str, *, languages: bool) -> np.ndarray:
        text = without_surrogates(text)
        unknown = self._numbers[_UNKNOWN]
        ids = []
        match = _LANGUAGE.match(text) if languages else None
        if match:
            ids.append(self._numbers.get(match[0], unknown))
            text = text[match.end() :]
        for piece in cutter.pieces(text):
            ids.append(unknown if piece in self.special else self._numbers.get(piece, unknown))
        return np.array(ids, dtype=np.uint32)

    @cached_property
    def spelling(self) -> Spelling:
        """The bytes of every id; spaces at the beginning of a text go."""
        table = [b""] * self.vocabulary
        for piece, number in self._numbers.items():
            table[number] = piece.replace(BLANK, " ").encode("utf-8", "replace")
        return Spelling(table, table, _ALL)
