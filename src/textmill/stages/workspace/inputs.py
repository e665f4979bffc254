"""What a run reads, put together from its recipe: stores, loaders, the model that reads them."""

from __future__ import annotations

from typing import Any

from textmill.base.errors import RecipeError
from textmill.data import loaders
from textmill.data.examples import ExampleStore
from textmill.data.special import SpecialTokens
from textmill.data.tokens import Texts, TokenStore
from textmill.specs.head import HeadSpec, head_for
from textmill.specs.recipe import Recipe
from textmill.stages.workspace.prepared import Prepared

Store = TokenStore | ExampleStore


def loader_of(recipe: Recipe, prepared: Prepared, name: str = "train") -> loaders.AnyLoader:
    """The loader of one part: `batch(step)` is a pure function of data, seed and step. Raises RecipeError when the
    part is empty."""
    return loaders.loader(
        recipe.objective,
        not_empty(store_of(recipe, prepared, name), name),
        sequence=recipe.sequence,
        batch=recipe.training.batch,
        seed=recipe.seed,
        packing=recipe.training.packing,
        tokens=SpecialTokens.of(prepared.open_tokenizer(), start=recipe.model.start),
    )


def store_of(recipe: Recipe, prepared: Prepared, name: str) -> Store:
    """What one part of the corpus holds for a recipe's objective: plain text as tokens, or records."""
    path = prepared.tokens.path / name
    return ExampleStore(path) if recipe.objective.kind in loaders.SUPERVISED else TokenStore(path)


def part(prepared: Prepared, name: str) -> TokenStore:
    """The token store of one part of a corpus of plain text."""
    return TokenStore(prepared.tokens.path / name)


def texts_of(store: Store) -> Texts:
    """What is read of each document or record."""
    return store.texts() if isinstance(store, ExampleStore) else store


def longest(recipe: Recipe, prepared: Prepared) -> int:
    """The longest row a recipe trains on, at most its sequence: of records, what they really hold."""
    store = store_of(recipe, prepared, "train")
    if isinstance(store, TokenStore) or empty(store):
        return recipe.sequence
    sides = [int(store.lengths(name).max()) for name in store.fields if name != "value"]
    most = sum(sides) if recipe.objective.kind == "answer" else max(sides)  # question and text share a row
    return min(recipe.sequence, most + 4)  # and what stands around it


def empty(store: Store) -> bool:
    """Whether there is nothing in a store."""
    return not len(store)


def not_empty(store: Any, name: str = "train") -> Any:
    """A store that holds something. Raises RecipeError when it does not."""
    if empty(store):
        raise RecipeError(
            f"the {'training' if name == 'train' else name} part is empty",
            where="corpus",
            advice="add text, or lower split.test and split.validation",
        )
    return store


def head_of(recipe: Recipe, prepared: Prepared) -> HeadSpec | None:
    """What stands in place of the model's output layer, for objectives whose answer is no token."""
    if recipe.objective.kind not in loaders.SUPERVISED or recipe.objective.kind == "pairs":
        return None
    store = store_of(recipe, prepared, "train")
    assert isinstance(store, ExampleStore)
    outputs = int(store.lengths("value")[0]) if recipe.objective.kind == "regress" and len(store) else 1
    return head_for(recipe.objective, recipe.model.kind, store.labels or (), outputs)


def model_of(recipe: Recipe, prepared: Prepared) -> Any:
    """The model of a recipe with its first weights, its head included."""
    from textmill.models import build

    vocabulary = prepared.open_tokenizer().vocabulary
    return build.build(recipe.model, vocabulary, seed=recipe.seed, head=head_of(recipe, prepared))
