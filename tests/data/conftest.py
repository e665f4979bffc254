from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch

from textmill.data.batch import Batch
from textmill.data.special import SpecialTokens
from textmill.data.tokens import TokenStore, write_tokens
from textmill.specs.recipe import TokenizerSpec
from textmill.text.document import Document, collected
from textmill.tokenization.tokenizer import Tokenizer
from textmill.tokenization.training import train


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One id a byte, so that the ids of a text are known without asking."""
    return train(TokenizerSpec(kind="bytes"), ())


@pytest.fixture(scope="session")
def make_store(tokenizer, tmp_path_factory):
    """A store of documents of the given lengths in bytes (each token is its byte; the end comes on top)."""

    def make(lengths: list[int]) -> TokenStore:
        directory = tmp_path_factory.mktemp("store") / "tokens"
        write_tokens(
            directory, [numbered(number, length) for number, length in enumerate(lengths)], tokenizer
        )
        return TokenStore(directory)

    return make


def numbered(number: int, length: int) -> Document:
    """A document whose text tells its number and place apart as well as bytes can."""
    text = "".join(chr((number * 37 + place * 11) % 96 + 32) for place in range(length))
    return collected(text, f"{number}.txt", {"number": str(number)})


@pytest.fixture(scope="session")
def marked(tokenizer) -> SpecialTokens:
    """Special tokens of the tokenizer whose ids are bytes, and as many sentinels as any test hides runs."""
    full = train(TokenizerSpec(kind="bytes", vocabulary=1024, sentinels=500), ())
    assert (full.end, full.pad) == (tokenizer.end, tokenizer.pad)
    return SpecialTokens.of(full)


def same(one: Batch, two: Batch) -> bool:
    """Whether two batches are equal to the bit."""
    pairs = [(getattr(one, field.name), getattr(two, field.name)) for field in fields(Batch)]
    return all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in pairs)


@pytest.fixture(scope="session")
def equal() -> Callable[[Batch, Batch], bool]:
    return same


@pytest.fixture(scope="session")
def stacked() -> Callable[[list[Batch]], Batch]:
    """Batches one under the other."""

    def stack(parts: list[Batch]) -> Batch:
        values = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Batch)}
        return Batch(**{name: None if some[0] is None else torch.cat(some) for name, some in values.items()})

    return stack
