"""How well questions are answered: exact match and F1 of words, as SQuAD counts them.

Both sides are normalised first: small letters, no punctuation, no English article, single spaces (Rajpurkar et al.
2016, section 6.1, and the authors' evaluation script). F1 compares the words of both as bags. Hanzi and kana are words
of one character each, and the punctuation of Chinese is left out like that of ASCII, so one rule serves both languages:
for English text it gives what the SQuAD script gives.

A question may have several right answers, of which the nearest counts, or none: then the empty answer alone is right
(Rajpurkar et al. 2018, the SQuAD 2.0 script).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Figures, Score, share

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# Marks of CJK text and full-width forms. Quotes and dashes of Western typography stay, as in SQuAD's script.
_CJK_MARKS = "".join(
    map(chr, [*range(0x3001, 0x3004), *range(0x3008, 0x3020), 0x30FB, *range(0xFF01, 0xFF10)])
)
_CJK_MARKS += "：；＜＝＞？＠［＼］＾＿｀｛｜｝～｟｠｡｢｣､･"
_GONE = str.maketrans("", "", string.punctuation + _CJK_MARKS)
_ONE_EACH = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


def normalised(text: str) -> str:
    """A text as answers are compared.

    >>> normalised("The  Eiffel-Tower, 1889。")
    'eiffeltower 1889'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_GONE)).split())


def words(text: str) -> list[str]:
    """The words of a normalised text; a hanzi or kana is one."""
    return _ONE_EACH.sub(r" \1 ", normalised(text)).split()


def exact(answer: str, guess: str) -> bool:
    """Whether both are the same once normalised."""
    return normalised(answer) == normalised(guess)


def f1(answer: str, guess: str) -> float:
    """F1 of the words of both; of two answers without words 1 (SQuAD 2.0's script; that of 1.1 says 0)."""
    expected, guessed = words(answer), words(guess)
    if not expected or not guessed:
        return float(expected == guessed)
    common = sum((Counter(expected) & Counter(guessed)).values())
    return 2 * common / (len(expected) + len(guessed))


def answered(
    truth: Sequence[Sequence[str]], guess: Sequence[str], bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`answer F1` and `exact match` of answers, one a question; truth: the right answers of each, none where the text
    does not say. Where some have none, `answer F1, answerable` and `unanswerable` (the share of these left without an
    answer) as well. Raises TextmillError when there is no question.
    """
    pairs = [(_right(several), said) for several, said in zip(truth, guess, strict=True)]
    wholes = np.array([max(exact(answer, said) for answer in several) for several, said in pairs])
    parts = np.array([max(f1(answer, said) for answer in several) for several, said in pairs])
    rule = "SQuAD 2.0 script" if any(several == [""] for several, _ in pairs) else "SQuAD 1.1 normalisation"
    name = f"F1|words, {rule}, hanzi one each"
    made = {
        "answer F1": proportion(name, parts, bootstrap, how=how),
        "exact match": proportion(f"exact-match|{rule}", wholes, bootstrap, how=how),
    }
    answerable = np.array([several != [""] for several, _ in pairs])
    if answerable.any() and not answerable.all():
        for label, chosen in (("answer F1, answerable", answerable), ("unanswerable", ~answerable)):
            some = bootstrap.of(chosen)
            made[label] = proportion(f"{name}, {label}", parts[chosen], some, how=how)
    return made


def figures(truth: Sequence[Sequence[str]], guess: Sequence[str]) -> Figures:
    """What answer F1 is made of, question by question."""
    pairs = [(_right(several), said) for several, said in zip(truth, guess, strict=True)]
    parts = [max(f1(answer, said) for answer in several) for several, said in pairs]
    return Figures("answer F1", np.column_stack([parts, np.ones(len(parts))]).reshape(-1, 2), share(0, 1))


def _right(answers: Sequence[str]) -> list[str]:
    """The right answers that something is left of once normalised; the empty one where there is none."""
    return [answer for answer in answers if normalised(answer)] or [""]
