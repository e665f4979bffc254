"""How well words are tagged: word accuracy, and F1 of entities as conlleval counts them.

An entity is right when its first word, its last and its type are (Tjong Kim Sang & De Meulder 2003, section 2.3):

    precision  =  right / said        recall  =  right / there        F1  =  2 · right / (said + there)

Tags are a letter and a type, "B-PER": B begins an entity, I is inside it, E ends it, S is one of a single word, O is
outside. M is another name of I (BMES), L of E and U or W of S (BILOU, BMEWO). Letters without a type, as word
segmentation has them, are entities of one type. What cannot be (I after O, or of another type) is read as conlleval and
seqeval's default read it: it begins an entity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from textmill.metrics.score import BOOTSTRAP, Bootstrap, Figures, Score, Sums, share

_LETTERS = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S", "O": "O"}
_ENDS = {("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}
_BEGINS = {(before, tag) for before in "ESO" for tag in "EI"}
Entity = tuple[int, int, str]  # first word, last word, type


def marks_entities(labels: Iterable[str]) -> bool:
    """Whether a set of tags is of entities: each is O, or letter and type, or each a letter alone.

    Some must be of entities, and some must begin or single one out, so that a tag set of parts of speech is none.
    """
    labels = set(labels)
    inside = [_split(label) for label in labels - {"O"}]
    if not inside or any(letter not in _LETTERS or letter == "O" for letter, _ in inside):
        return False
    typed = {"-" in label for label in labels - {"O"}}
    return len(typed) == 1 and (typed == {True} or any(_LETTERS[letter] in "BS" for letter, _ in inside))


def _split(label: str) -> tuple[str, str]:
    letter, _, kind = label.partition("-")
    return letter, kind


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one text's tags, in order.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
    [(0, 1, 'PER'), (3, 3, 'LOC')]
    """
    spans: list[Entity] = []
    before, kind_before, first = "O", "", 0
    for index, label in enumerate([*tags, "O"]):
        prefix, kind = _split(label)
        letter = _LETTERS.get(prefix, "O")
        other = kind != kind_before
        if before != "O" and (before in "ES" or (before, letter) in _ENDS or other):
            spans.append((first, index - 1, kind_before))
        if letter in "BS" or (before, letter) in _BEGINS or (letter != "O" and other):
            first = index
        before, kind_before = letter, kind
    return spans


def tagged(
    truth: Sequence[Sequence[str]],
    guess: Sequence[Sequence[str]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    entities_too: bool,
    how: str = "",
) -> dict[str, Score]:
    """Scores of texts, one sequence of tags each: with entities `entity F1`, `entity precision`, `entity recall`
    (each left out where it has no bottom), and always `word accuracy`.

    Raises TextmillError when there is no text.
    """
    sums = Sums.of(_rows(truth, guess, entities_too), bootstrap)
    there, predicted = sums.total[0, 3:]
    scores = {}
    for name, bottom, value in (
        ("entity F1", there + predicted, _f1),
        ("entity precision", predicted, share(2, 4)),
        ("entity recall", there, share(2, 3)),
    ):
        if bottom:
            scores[name] = sums.score(f"{name.replace(' ', '-')}|micro|conlleval", value, how=how)
    scores["word accuracy"] = sums.score("word-accuracy|right/words", share(0, 1), how=how)
    return scores


def figures(truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]], *, entities_too: bool) -> Figures:
    """What entity F1 is made of, text by text; where tags mark no entities, what the accuracy of words is."""
    rows = _rows(truth, guess, entities_too)
    return Figures("entity F1", rows, _f1) if entities_too else Figures("word accuracy", rows, share(0, 1))


def _f1(sums: np.ndarray) -> np.ndarray:
    return 2 * sums[:, 2] / (sums[:, 3] + sums[:, 4])


def _rows(truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]], entities_too: bool) -> np.ndarray:
    return np.array([_row(*pair, entities_too) for pair in zip(truth, guess, strict=True)]).reshape(-1, 5)


def _row(truth: Sequence[str], guess: Sequence[str], entities_too: bool) -> tuple[int, int, int, int, int]:
    """Words right and words; entities right, there and said."""
    right = sum(tag == other for tag, other in zip(truth, guess, strict=True))
    if not entities_too:
        return right, len(truth), 0, 0, 0
    there, predicted = set(entities(truth)), set(entities(guess))
    return right, len(truth), len(there & predicted), len(there), len(predicted)


def by_type(truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each type of entity, by name; None where a ratio has no bottom."""
    right: Counter[str] = Counter()
    there: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    for true_tags, guessed_tags in zip(truth, guess, strict=True):
        true, false = set(entities(true_tags)), set(entities(guessed_tags))
        for count, some in ((right, true & false), (there, true), (predicted, false)):
            count.update(kind for _, _, kind in some)
    return [
        {
            "label": kind,
            "precision": right[kind] / predicted[kind] if predicted[kind] else None,
            "recall": right[kind] / there[kind] if there[kind] else None,
            "F1": 2 * right[kind] / (there[kind] + predicted[kind]),
            "entities": there[kind],
        }
        for kind in sorted(there | predicted)
    ]
