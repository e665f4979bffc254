"""What a training run reads, put together from its recipe: the packing, the loader, the evaluation batches."""

from __future__ import annotations

from textmill.base.errors import RecipeError
from textmill.base.spec import Recipe
from textmill.data.loader import Loader
from textmill.data.packing import BestFitPacking, RunningPacking
from textmill.data.tokens import TokenStore
from textmill.stages.prepare import Prepared

_PACKINGS = {"running": RunningPacking, "best-fit": BestFitPacking}


def loader_of(recipe: Recipe, prepared: Prepared) -> Loader:
    """The loader of a recipe's training part: `batch(step)` is a pure function of data, seed and step."""
    store = not_empty(part(prepared, "train"))
    packing = _PACKINGS[recipe.training.packing](store, recipe.sequence)
    return Loader(packing, recipe.training.batch, recipe.seed)


def part(prepared: Prepared, name: str) -> TokenStore:
    """The token store of one part of the corpus."""
    return TokenStore(prepared.tokens.path / name)


def not_empty(store: TokenStore) -> TokenStore:
    """The training part. Raises RecipeError when it holds nothing."""
    if not len(store.ids):
        raise RecipeError(
            "the training part is empty",
            where="corpus",
            advice="add text, or lower split.test and split.validation",
        )
    return store
