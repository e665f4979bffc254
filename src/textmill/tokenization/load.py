"""The tokenizer of a directory, whichever files it comes in."""

from __future__ import annotations

from pathlib import Path

from textmill.base.errors import TextmillError
from textmill.tokenization import json_read
from textmill.tokenization.json_read import Settings
from textmill.tokenization.legacy_files import LAYOUTS
from textmill.tokenization.marian import FILES as MARIAN_FILES
from textmill.tokenization.marian import MarianTokenizer
from textmill.tokenization.pretrained import PretrainedTokenizer
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.tokenizer import Tokenizer, decoder_kind

__all__ = ["AnyTokenizer", "MarianTokenizer", "PretrainedTokenizer", "Settings", "Tokenizer", "load", "of"]


def of(
    data: bytes, where: object = "tokenizer.json", settings: Settings | None = None
) -> Tokenizer | PretrainedTokenizer:
    """The tokenizer of a tokenizer.json's bytes and the settings of the files beside it. Raises as the classes do."""
    parsed = json_read.parse(data, where)
    kind = Tokenizer if decoder_kind(parsed.document) == "ByteLevel" else PretrainedTokenizer
    return kind(data, where, settings, parsed)


def load(path: Path | str) -> AnyTokenizer:
    """The tokenizer of a model directory, or of a tokenizer.json and what lies beside it.

    Where there is no tokenizer.json it is made from the files that came before: SentencePiece models, Marian's
    pair of them, vocab.txt, or vocab.json and merges.txt. Raises DamagedError when a file is damaged, TextmillError
    when there is none that Textmill can read.
    """
    path = Path(path)
    if not path.is_dir():
        return of(json_read.read_file(path), path, json_read.settings(path.parent))
    if (path / "tokenizer.json").is_file():
        return load(path / "tokenizer.json")
    settings = json_read.settings(path)
    if all((path / name).is_file() for name in MARIAN_FILES):
        return MarianTokenizer.load(path)
    for names, read in LAYOUTS:
        if all((path / name).is_file() for name in names):
            data, settings = read(path, settings)
            return of(data, path / names[0], settings)
    raise TextmillError(
        "holds no tokenizer",
        where=path,
        advice=f"there should be tokenizer.json, or {', '.join(' and '.join(names) for names, _ in LAYOUTS)}",
    )
