"""Minimum-Bayes-risk decoding: of many draws, the one that is most like all the others.

The expected utility of an answer under the model is estimated from the same draws (Eikema & Aziz 2022, "Sampling-Based
Approximations to Minimum Bayes Risk Decoding", section 3): the mean of utility(answer, other) over the other draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from textmill.base.errors import TextmillError
from textmill.metrics.overlap import tokenisation

T = TypeVar("T", bound=Hashable)
Utility = Callable[[T, T], float]  # (answer, what it is compared with) -> how like it is; more is better


def expected(draws: Sequence[T], utility: Utility[T]) -> list[float]:
    """The mean utility of each draw, compared with all the others. Draws that are equal are compared once."""
    counts = Counter(draws)
    others = max(len(draws) - 1, 1)
    means = {}
    for draw in counts:
        total = sum(count * utility(draw, other) for other, count in counts.items() if other != draw)
        if counts[draw] > 1:
            total += (counts[draw] - 1) * utility(draw, draw)
        means[draw] = total / others
    return [means[draw] for draw in draws]


def utility(name: str, draws: Sequence[str] = ()) -> Utility[str]:
    """A score of sentences by its name: `chrf` (Popović 2015) or `bleu` (Papineni et al. 2002, over the n-grams a
    short sentence has), 0 to 100, by sacrebleu. BLEU cuts words as the script of `draws` asks for.

    Raises TextmillError when sacrebleu is missing.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise TextmillError(
            "sacrebleu is missing, which measures how similar two answers are",
            where="mbr",
            advice="`pip install sacrebleu`",
        ) from error
    metric = CHRF() if name == "chrf" else BLEU(effective_order=True, tokenize=tokenisation(draws))
    return lambda answer, other: metric.sentence_score(answer, [other]).score
