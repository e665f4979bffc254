"""Small corpora of ids, and an index of them; naive answers to hold it against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from textmill.base.files import content_id
from textmill.index.build import build
from textmill.index.search import Index


@dataclass
class Corpus:
    """Documents as lists of ids, without their ends; what a token store would hold of them."""

    documents: list[list[int]]
    vocabulary: int = 8
    end: int = 0

    def __post_init__(self):
        ended = [[*document, self.end] for document in self.documents]
        dtype = np.uint16 if self.vocabulary <= 1 << 16 else np.uint32
        self.ids = np.array([token for document in ended for token in document], dtype=dtype)
        self.offsets = np.cumsum([0, *map(len, ended)], dtype=np.int64)
        self.names = [content_id(f"{number} {document}") for number, document in enumerate(ended)]
        self.document_ids = np.array([list(bytes.fromhex(name)) for name in self.names], dtype=np.uint8)
        self.document_ids = self.document_ids.reshape(-1, 16)
        self.sources = [f"texts/文 {number}.txt" for number in range(len(ended))]

    def index(self, folder, tokens_a_shard=1 << 20, **options):
        """Build and open; shards hold `tokens_a_shard` at most."""
        width = 2 if self.vocabulary <= 1 << 16 else 4
        folder.mkdir(parents=True, exist_ok=True)
        options = {"finished": folder.parent / "finished"} | options
        build(folder, self, self.sources, shard_bytes=tokens_a_shard * width, **options)
        return Index(folder)

    def places(self, run):
        """(document, token) of every occurrence, by looking everywhere."""
        run, found = list(run), []
        for number, document in enumerate(self.documents):
            ids = [self.end, *document, self.end]
            first = 0 if len(run) > 1 else 1
            for start in range(first, len(ids) - len(run) + 1):
                whole = ids[start : start + len(run)]
                if whole == run:
                    found.append((number, max(0, start - 1)))
        return found

    def following(self, context):
        """Counter of what comes after a context inside documents."""
        counts, length = Counter(), len(context)
        for document in self.documents:
            ids = [self.end, *document, self.end]
            for start in range(len(ids) - length):
                if ids[start : start + length] == list(context) and (length or start):
                    counts[ids[start + length]] += 1
        return counts


@pytest.fixture(scope="session")
def corpus_of():
    """The class of small corpora."""
    return Corpus


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """A new empty folder at each call, also within a property."""
    return lambda: tmp_path_factory.mktemp("index") / "index"
