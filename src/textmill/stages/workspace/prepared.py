"""The artifacts a training run reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textmill.stages.workspace.lineage import Artifact
from textmill.text.corpus.corpus import Corpus
from textmill.tokenization import load

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """The three artifacts a training run reads."""

    corpus: Artifact
    tokenizer: Artifact
    tokens: Artifact

    def open_tokenizer(self) -> Any:
        return load.load(self.tokenizer.path)

    def open_corpus(self) -> Corpus:
        return Corpus(self.corpus.path)
