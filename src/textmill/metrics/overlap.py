"""How much generated texts overlap with their references: BLEU, chrF, exact matches.

BLEU (Papineni et al. 2002) and chrF (Popović 2015) come from sacrebleu (Post 2018), with its signatures: scores from 0
to 100, of the whole corpus. Both are functions of counts that add up over texts, so an interval resamples texts and
scores the sums anew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, Bootstrap, Score, Sums

_HANZI = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LETTER = re.compile(r"[^\W\d_]")
_ORDER = 6  # longest character n-gram of chrF
_BETA = 2  # how much more recall counts there than precision


def tokenisation(references: Sequence[str]) -> str:
    """How sacrebleu cuts words: `zh` where half of the references' letters are hanzi, `char` where it is Japanese (its
    own cutter of words needs a dictionary), else `13a`, the usual one."""
    text = "\n".join(references)
    letters, hanzi, kana = (len(kind.findall(text)) for kind in (_LETTER, _HANZI, _KANA))
    if 2 * (hanzi + kana) < letters or not letters:
        return "13a"
    return "char" if 20 * kana > letters else "zh"


def overlap(
    outputs: Sequence[str],
    references: Sequence[str],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> dict[str, Score]:
    """`BLEU`, `chrF` and `exact match` of outputs, each with one reference. Raises TextmillError when there is none."""
    same = [text.split() == reference.split() for text, reference in zip(outputs, references, strict=True)]
    return {
        "BLEU": bleu(outputs, references, bootstrap, how=how),
        "chrF": chrf(outputs, references, bootstrap, how=how),
        "exact match": proportion("exact-match|ignoring spaces", same, bootstrap, how=how),
    }


def bleu(
    outputs: Sequence[str],
    references: Sequence[str],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> Score:
    """BLEU of a corpus, 0 to 100."""
    BLEU = _sacrebleu().BLEU
    cut = tokenisation(references)
    # Sentences are asked for their counts only; `effective_order` keeps sacrebleu from warning of their scores.
    counter = BLEU(tokenize=cut, effective_order=True)
    rows = [
        _bleu_counts(counter.sentence_score(output, [reference]))
        for output, reference in zip(outputs, references, strict=True)
    ]
    sums = Sums.of(np.array(rows).reshape(-1, 10), bootstrap)
    metric = BLEU(tokenize=cut)
    metric.corpus_score(list(outputs), [list(references)])  # so that its signature knows how many references

    def value(rows: np.ndarray) -> np.ndarray:
        whole = rows.round().astype(np.int64).tolist()
        return np.array(
            [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in whole]
        )

    return sums.score(f"BLEU|{metric.get_signature()}", value, how=how)


def _sacrebleu() -> Any:
    """Its metrics, imported where they are needed: they take a while. Raises TextmillError when it is missing."""
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise TextmillError(
            "sacrebleu is missing, which scores generated texts", advice="`pip install sacrebleu`"
        ) from error
    return metrics


def _bleu_counts(score: Any) -> list[int]:
    return [*score.counts, *score.totals, score.sys_len, score.ref_len]


def chrf(
    outputs: Sequence[str],
    references: Sequence[str],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> Score:
    """chrF of a corpus, 0 to 100: character n-grams up to 6, recall counting twice as much as precision (chrF2)."""
    CHRF = _sacrebleu().CHRF
    rows = [chrf_counts(output, reference) for output, reference in zip(outputs, references, strict=True)]
    sums = Sums.of(np.array(rows).reshape(-1, 3 * _ORDER), bootstrap)
    metric = CHRF(char_order=_ORDER, beta=_BETA)
    metric.corpus_score(list(outputs), [list(references)])
    return sums.score(f"chrF|{metric.get_signature()}", chrf_of_counts, how=how)


def chrf_counts(output: str, reference: str) -> list[int]:
    """(18,) for n = 1 … 6: character n-grams of the output, of the reference, and of both; blanks do not count."""
    output_text, reference_text = "".join(output.split()), "".join(reference.split())
    counts = []
    for length in range(1, _ORDER + 1):
        mine, theirs = _ngrams(output_text, length), _ngrams(reference_text, length)
        predicted, there = sum(mine.values()), sum(theirs.values())
        # An n-gram longer than the reference could not have been right: sacrebleu does not count it against the output.
        counts += [predicted if there else 0, there, sum((mine & theirs).values())]
    return counts


def _ngrams(text: str, length: int) -> Counter[str]:
    return Counter(text[start : start + length] for start in range(len(text) - length + 1))


def chrf_of_counts(sums: np.ndarray) -> np.ndarray:
    """chrF from counts: (S, 18) -> (S,), 0 to 100. Precision and recall are means over the lengths both sides have."""
    predicted, there, both = sums.reshape(len(sums), _ORDER, 3).transpose(2, 0, 1)
    known = (predicted > 0) & (there > 0)
    number = np.maximum(known.sum(1), 1)
    precision = (np.where(known, both, 0) / np.where(known, predicted, 1)).sum(1) / number
    recall = (np.where(known, both, 0) / np.where(known, there, 1)).sum(1) / number
    bottom = _BETA**2 * precision + recall
    return 100 * np.where(
        bottom > 0, (1 + _BETA**2) * precision * recall / np.where(bottom > 0, bottom, 1), 0
    )
