from __future__ import annotations

import pytest

from textmill.base.spec import TokenizerSpec
from textmill.data.tokens import TokenStore, write
from textmill.text.document import Document, collected
from textmill.text.tokenizer import Tokenizer
from textmill.text.tokenizer_training import train


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One id a byte, so that the ids of a text are known without asking."""
    return train(TokenizerSpec(kind="bytes"), ())


@pytest.fixture(scope="session")
def make_store(tokenizer, tmp_path_factory):
    """A store of documents of the given lengths in bytes (each token is its byte; the end comes on top)."""

    def make(lengths: list[int]) -> TokenStore:
        directory = tmp_path_factory.mktemp("store") / "tokens"
        write(directory, [numbered(number, length) for number, length in enumerate(lengths)], tokenizer)
        return TokenStore(directory)

    return make


def numbered(number: int, length: int) -> Document:
    """A document whose text tells its number and place apart as well as bytes can."""
    text = "".join(chr((number * 37 + place * 11) % 96 + 32) for place in range(length))
    return collected(text, f"{number}.txt", {"number": str(number)})
