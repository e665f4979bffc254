"""What a run reads, opened once: tokenizer, corpus, stores, loaders, the model that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.base.files import read_json
from textmill.data.examples import ExampleStore
from textmill.data.tokens import Texts, TokenStore
from textmill.specs.head import HeadSpec
from textmill.specs.recipe import Recipe
from textmill.stages.workspace.lineage import Artifact
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import unit_of
from textmill.text.document import Document
from textmill.tokenization import load
from textmill.tokenization.protocol import AnyTokenizer

if TYPE_CHECKING:
    from textmill.data.loader import AnyLoader
    from textmill.data.special import SpecialTokens
    from textmill.objectives.objective import Objective

PARTS = ("train", "validation", "test")
Store = TokenStore | ExampleStore


@dataclass(frozen=True)
class Prepared:
    """The three artifacts a training run reads."""

    corpus: Artifact
    tokenizer: Artifact
    tokens: Artifact


@dataclass(frozen=True, eq=False)
class RunData:
    """A recipe and what was prepared for it. Everything is opened when it is first asked for, and kept."""

    recipe: Recipe
    prepared: Prepared
    _stores: dict[str, Store] = field(default_factory=dict, init=False, repr=False)
    _loaders: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def objective(self) -> Objective:
        """What the model is trained to predict."""
        from textmill.objectives.table import objective_of

        return objective_of(self.recipe.objective)

    @cached_property
    def tokenizer(self) -> AnyTokenizer:
        """What its ids mean."""
        return load.load(self.prepared.tokenizer.path)

    @cached_property
    def special(self) -> SpecialTokens:
        """What stands around texts and in place of their tokens."""
        from textmill.data.special import SpecialTokens

        return SpecialTokens.of(self.tokenizer, start=self.recipe.model.start)

    @cached_property
    def corpus(self) -> Corpus:
        """The documents."""
        return Corpus(self.prepared.corpus.path)

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return self.tokenizer.vocabulary

    def store(self, part: str) -> Store:
        """What one part of the corpus holds for the objective: plain text as tokens, or records."""
        if part not in self._stores:
            path = self.prepared.tokens.path / part
            records = "fields" in read_json(path / "manifest.json")
            store = ExampleStore(path) if records else TokenStore(path)
            counted = isinstance(store, TokenStore) and self.recipe.model.kind == "ngram"
            self._stores[part] = store.after_end() if counted else store
        return self._stores[part]

    def plain(self, part: str) -> TokenStore:
        """The tokens of one part of a corpus of plain text. Raises TextmillError where it is one of records."""
        store = self.store(part)
        if isinstance(store, ExampleStore):
            raise TextmillError(
                "was trained on records, not on plain text",
                where=f"run {self.recipe.name}",
                advice="name a run of a language model",
            )
        return store

    def texts(self, part: str) -> Texts:
        """What is read of each document or record."""
        store = self.store(part)
        return store.texts() if isinstance(store, ExampleStore) else store

    def not_empty(self, part: str) -> Store:
        """The store of a split. Raises RecipeError when there is nothing in it."""
        store = self.store(part)
        if not len(store):
            raise RecipeError(
                f"the {part} split is empty",
                where="corpus.split",
                advice="give it a larger share, or add text",
            )
        return store

    def loader(self, part: str = "train") -> AnyLoader:
        """The loader of one part: `batch(step)` is a pure function of data, seed and step.

        Raises RecipeError when the part is empty, or the tokenizer lacks what the objective needs.
        """
        from textmill.data.loader import Batching

        if part not in self._loaders:
            recipe, training = self.recipe, self.recipe.training
            how = Batching(recipe.sequence, training.batch, recipe.seed, training.packing, self.special)
            self._loaders[part] = self.objective.loader(recipe.objective, self.not_empty(part), how)
        return self._loaders[part]

    def documents(self, part: str) -> Iterator[Document]:
        """The document each entry of a part's store was made of, in their order.

        Raises DamagedError when the store is not of this corpus.
        """
        store, index = self.store(part), 0
        positions = store.positions if isinstance(store, ExampleStore) else np.arange(len(store))
        for position, document in enumerate(self.corpus.documents(part)):
            if index < len(store) and positions[index] == position:
                if store.document_id(index) != document.id:
                    break
                yield document
                index += 1
        if index < len(store):
            raise DamagedError(
                "holds other documents than its corpus",
                where=store.directory,
                advice="prepare the data again",
            )

    def units(self, part: str) -> np.ndarray | None:
        """(entries,) int64: what each entry of a part's store was split together with (its group, or the cluster of
        its near-duplicates), numbered from 0. None where every entry stands for itself."""
        split = self.recipe.corpus.split
        names = [unit_of(document, split) for document in self.documents(part)]
        different, numbers = np.unique(names, return_inverse=True)
        return None if len(different) == len(names) else numbers

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row trained on, at most a sequence: of records, what they really hold."""
        if self.objective.reader is None or not len(self.store("train")):
            return self.recipe.sequence
        view: Any = self.loader().view  # type: ignore[attr-defined]
        most = max(int(side.max()) for side in view.lengths())
        return min(self.recipe.sequence, most + 4)  # and what stands around it

    @cached_property
    def head(self) -> HeadSpec | None:
        """What stands in place of the model's output layer, for objectives whose answer is no token."""
        make, store = self.objective.head, self.store("train")
        if make is None:
            return None
        assert isinstance(store, ExampleStore)
        return make(self.recipe.objective, self.recipe.model.kind, store)

    def model(self) -> Any:
        """A new model with its first weights, its head included."""
        from textmill.models import build

        return build.build(self.recipe.model, self.vocabulary, seed=self.recipe.seed, head=self.head)
