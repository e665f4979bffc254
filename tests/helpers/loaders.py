"""What the loaders of every objective must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from textmill.data.batch import IGNORE


def check_steps_of(loader, documents: Iterable[str], steps: int) -> None:
    """The steps a document is said to be read in are those that walking over all batches finds."""
    walked: dict[str, Counter[int]] = {}
    for step in range(steps):
        found = loader.documents(step)
        assert sum(count for _, count in found) == int((loader.batch(step).targets != IGNORE).sum())
        for document, tokens in found:
            walked.setdefault(document, Counter())[step] += tokens
    for name in documents:
        places, tokens = loader.steps_of(name, steps)
        assert (places[1:] > places[:-1]).all()
        assert dict(zip(places.tolist(), tokens.tolist(), strict=True)) == walked.get(name, {})
