"""How much of a reference summary a summary says: ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin 2004).

With `common` what both sides share (n-grams as bags; the longest common subsequence of words):

    precision = common / of the summary     recall = common / of the reference     F1 = 2 · P · R / (P + R)

ROUGE-Lsum compares line by line: each line of the reference counts the words that stand in the longest common
subsequence with any line of the summary (section 3.2). A corpus' score is the mean of its texts' F1, from 0 to 100; of
several references the one with the highest F1 counts.

Words of English are those of the rouge-score package without its stemmer (runs of a-z and 0-9, in lower case), which
finds none in other scripts. Here hanzi and kana are words of one character, and other scripts have words of letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from textmill.metrics.score import BOOTSTRAP, Bootstrap, Figures, Score, Sums, share

NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum")
_ONE_EACH = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_LATIN = r"\u0080-\u024f\u1e00-\u1eff"  # its accented letters cut words, as rouge-score has it
_WORDS = re.compile(rf"[a-z0-9]+|{_ONE_EACH}|(?:(?!{_ONE_EACH})[^\W_a-z0-9{_LATIN}])+")


def words(text: str) -> list[str]:
    """The words that are compared.

    >>> words("The cat's 3 猫咪, и кот")
    ['the', 'cat', 's', '3', '猫', '咪', 'и', 'кот']
    """
    return _WORDS.findall(text.lower())


def rouge(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> dict[str, Score]:
    """The four scores of outputs, each with one reference or several. Raises TextmillError when there is none."""
    sums = Sums.of(_rows(outputs, references), bootstrap)
    several = max((len(each) for each in references), default=1)
    return {
        name: sums.score(
            f"{name}|mean F1, nrefs:{several}, stemmer:no, hanzi one each", share(column, len(NAMES)), how=how
        )
        for column, name in enumerate(NAMES)
    }


def figures(outputs: Sequence[str], references: Sequence[Sequence[str]], name: str = "ROUGE-L") -> Figures:
    """What one of them is made of, text by text."""
    return Figures(name, _rows(outputs, references), share(NAMES.index(name), len(NAMES)))


def _rows(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(D, 5): the four of each text, and 1."""
    pairs = zip(outputs, references, strict=True)
    rows = np.array([_best(output, several) for output, several in pairs]).reshape(-1, len(NAMES))
    return np.column_stack([100 * rows, np.ones(len(rows))])


def _best(output: str, references: Sequence[str]) -> list[float]:
    return [max(column) for column in zip(*(rouge_of(output, text) for text in references), strict=True)]


def rouge_of(output: str, reference: str) -> tuple[float, float, float, float]:
    """F1 of the four, each 0 to 1, of one text and one reference.

    >>> rouge_of("the cat sat", "the cat was here")[0]  # 2 of 3 words, 2 of 4: 2 · 2 / (3 + 4)
    0.5714285714285714
    """
    mine, theirs = words(output), words(reference)
    lines = [[words(line) for line in text.split("\n")] for text in (output, reference)]
    return (
        _ngram_f1(mine, theirs, 1),
        _ngram_f1(mine, theirs, 2),
        f1(longest_common(mine, theirs), len(mine), len(theirs)),
        f1(_common_by_line(*lines), len(mine), len(theirs)),
    )


def f1(common: int, mine: int, theirs: int) -> float:
    """2 · common / (mine + theirs), and 0 where one side has nothing."""
    return 2 * common / (mine + theirs) if mine and theirs else 0.0


def _ngram_f1(mine: list[str], theirs: list[str], length: int) -> float:
    left, right = (
        Counter(zip(*(side[start:] for start in range(length)), strict=False)) for side in (mine, theirs)
    )
    return f1((left & right).total(), left.total(), right.total())


def longest_common(mine: Sequence[str], theirs: Sequence[str]) -> int:
    """How long the longest common subsequence is.

    A row of the usual table is kept as the bits of one number, 0 where its length rises (Hyyrö 2004).
    """
    places: dict[str, int] = {}
    for place, word in enumerate(mine):
        places[word] = places.get(word, 0) | 1 << place
    whole = (1 << len(mine)) - 1
    row = whole
    for word in theirs:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & whole
    return len(mine) - row.bit_count()


def _common_by_line(mine: list[list[str]], theirs: list[list[str]]) -> int:
    """Words of the reference's lines that stand in a longest common subsequence with a line of the output, none
    counted more often than it occurs on either side."""
    left = [Counter(word for line in side for word in line) for side in (mine, theirs)]
    common = 0
    for line in theirs:
        for place in sorted(set().union(*(_in_common(line, other) for other in mine))):
            word = line[place]
            if all(side[word] > 0 for side in left):
                common += 1
                for side in left:
                    side[word] -= 1
    return common


def _in_common(line: list[str], other: list[str]) -> set[int]:
    """Places of `line` in a longest common subsequence with `other`: of several, the one rouge-score takes."""
    table = [[0] * (len(other) + 1)]
    for word in line:
        row, above = [0], table[-1]
        for column, beside in enumerate(other):
            row.append(above[column] + 1 if word == beside else max(row[column], above[column + 1]))
        table.append(row)
    places: set[int] = set()
    place, column = len(line), len(other)
    while place and column:
        if line[place - 1] == other[column - 1]:
            place, column = place - 1, column - 1
            places.add(place)
        elif table[place][column - 1] > table[place - 1][column]:
            column -= 1
        else:
            place -= 1
    return places
