"""Which of several continuations a language model finds likelier: accuracy of its choices, by length and without.

With l the log-likelihood of an option's continuation after its context, the option chosen is that with the largest

    total                l                        (BLiMP; `acc` of lm-evaluation-harness)
    per token            l / tokens
    per character        l / characters           (its `acc_norm`)
    per byte             l / bytes of UTF-8
    beyond the option    l - l without a context  (Holtzman et al. 2021, domain-conditional PMI; its `acc_mutual_info`)

Of equal ones the first is chosen, and how many questions were so is counted. A question with a single option is right
where greedy decoding writes it (LAMBADA; Paperno et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Score

TOTAL, BEYOND = "total", "beyond the option"


@dataclass(frozen=True, slots=True)
class Option:
    """A continuation and what a model makes of it.

    loglikelihood: natural, of its tokens together; alone: the same without the question's context, where that was
    asked; greedy: whether each of its tokens is the likeliest there. characters and bytes are the option's own,
    without what joins it to its context.
    """

    text: str
    loglikelihood: float
    tokens: int
    characters: int
    bytes: int
    alone: float | None = None
    greedy: bool = False


WAYS: dict[str, Callable[[Option], float | None]] = {
    TOTAL: lambda option: option.loglikelihood,
    "per token": lambda option: option.loglikelihood / max(option.tokens, 1),
    "per character": lambda option: option.loglikelihood / max(option.characters, 1),
    "per byte": lambda option: option.loglikelihood / max(option.bytes, 1),
    BEYOND: lambda option: None if option.alone is None else option.loglikelihood - option.alone,
}


def values(options: Sequence[Option], way: str = TOTAL) -> list[float] | None:
    """What each option is ranked by; None where one of them was not asked for it."""
    made = [WAYS[way](option) for option in options]
    known = [value for value in made if value is not None]
    return known if len(known) == len(made) else None


def chosen(options: Sequence[Option], way: str = TOTAL) -> int:
    """The number of the option that is chosen, the first of equal ones."""
    ranked = values(options, way)
    if ranked is None:
        raise TextmillError(f"was not scored {way}")
    return int(np.argmax(ranked))


def tied(options: Sequence[Option], way: str = TOTAL) -> bool:
    """Whether another option is as good as the chosen one."""
    ranked = values(options, way) or []
    return len(ranked) > 1 and ranked.count(max(ranked)) > 1


def right(options: Sequence[Option], gold: int, way: str = TOTAL) -> bool:
    """Whether the right option is chosen; a single one: whether greedy decoding writes it."""
    return options[0].greedy if len(options) == 1 else chosen(options, way) == gold


def choices(
    questions: Sequence[Sequence[Option]],
    gold: Sequence[int],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> dict[str, Score]:
    """`accuracy`, and `accuracy per token` and so on where there is more than one option to choose from.

    A way that was not asked of every question is left out. Raises TextmillError when there is no question.
    """
    single = all(len(options) == 1 for options in questions)
    ways = [TOTAL] if single else [way for way in WAYS if all(values(each, way) for each in questions)]
    made = {}
    for way in ways:
        hits = [right(options, wanted, way) for options, wanted in zip(questions, gold, strict=True)]
        rule = "greedy continuation" if single else f"largest log-likelihood, {way}, the first of equal ones"
        ties = sum(tied(options, way) for options in questions)
        words = f"{how}|ties:{ties}" if how else f"ties:{ties}"
        name = "accuracy" if way == TOTAL else f"accuracy {way}"
        made[name] = proportion(f"accuracy|{rule}", hits, bootstrap, how=words)
    return made
