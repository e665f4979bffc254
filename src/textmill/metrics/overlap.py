"""How much generated texts overlap with their references: BLEU, chrF, TER, exact matches.

BLEU (Papineni et al. 2002), chrF (Popović 2015) and TER (Snover et al. 2006) come from sacrebleu (Post 2018), with its
signatures, of the whole corpus: BLEU and chrF from 0 to 100, TER in edits per hundred words of the reference. All are
functions of counts that add up over texts, so an interval resamples texts and scores the sums anew. Each text has one
reference or several, not all as many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.metrics.guesses import proportion
from textmill.metrics.score import BOOTSTRAP, LOWER, Bootstrap, Figures, Score, Sums

_HANZI = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LETTER = re.compile(r"[^\W\d_]")
_ORDER = 6  # longest character n-gram of chrF
_BETA = 2  # how much more recall counts there than precision


def tokenisation(references: Iterable[str]) -> str:
    """How sacrebleu cuts words: `zh` where half of the references' letters are hanzi, `char` where it is Japanese (its
    own cutter of words needs a dictionary), else `13a`, the usual one."""
    text = "\n".join(references)
    letters, hanzi, kana = (len(kind.findall(text)) for kind in (_LETTER, _HANZI, _KANA))
    if 2 * (hanzi + kana) < letters or not letters:
        return "13a"
    return "char" if 20 * kana > letters else "zh"


def overlap(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> dict[str, Score]:
    """`BLEU`, `chrF`, `TER` and `exact match` of outputs, each with its references. Raises TextmillError when there is
    none."""
    same = [
        any(text.split() == reference.split() for reference in several)
        for text, several in zip(outputs, references, strict=True)
    ]
    return {
        "BLEU": bleu(outputs, references, bootstrap, how=how),
        "chrF": chrf(outputs, references, bootstrap, how=how),
        "TER": ter(outputs, references, bootstrap, how=how),
        "exact match": proportion("exact-match|ignoring spaces", same, bootstrap, how=how),
    }


def bleu(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> Score:
    """BLEU of a corpus, 0 to 100."""
    counted = figures(outputs, references)
    cut = tokenisation(chain.from_iterable(references))
    sums = Sums.of(counted.columns, bootstrap)
    signature = _signature(_sacrebleu().BLEU(tokenize=cut), outputs, references)
    return sums.score(f"BLEU|{signature}", counted.value, how=how)


def figures(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Figures:
    """What BLEU is made of, text by text: n-grams that are right and that there are, and lengths."""
    BLEU = _sacrebleu().BLEU
    # Sentences are asked for their counts only; `effective_order` keeps sacrebleu from warning of their scores.
    counter = BLEU(tokenize=tokenisation(chain.from_iterable(references)), effective_order=True)
    rows = [
        _bleu_counts(counter.sentence_score(output, list(several)))
        for output, several in zip(outputs, references, strict=True)
    ]

    def value(rows: np.ndarray) -> np.ndarray:
        whole = rows.round().astype(np.int64).tolist()
        return np.array(
            [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in whole]
        )

    return Figures("BLEU", np.array(rows).reshape(-1, 10), value)


def _signature(metric: Any, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> str:
    """sacrebleu's own, which knows how many references there are once it has scored a text."""
    metric.corpus_score([outputs[0]], [[text] for text in references[0]])
    signature, first = str(metric.get_signature()), len(references[0])
    alike = all(len(several) == first for several in references)
    return signature if alike else signature.replace(f"nrefs:{first}", "nrefs:var")


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
    references: Sequence[Sequence[str]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> Score:
    """chrF of a corpus, 0 to 100: character n-grams up to 6, recall counting twice as much as precision (chrF2). Of
    several references the one with the highest chrF counts."""
    rows = [_best_chrf(output, several) for output, several in zip(outputs, references, strict=True)]
    sums = Sums.of(np.array(rows).reshape(-1, 3 * _ORDER), bootstrap)
    metric = _sacrebleu().CHRF(char_order=_ORDER, beta=_BETA)
    return sums.score(f"chrF|{_signature(metric, outputs, references)}", chrf_of_counts, how=how)


def _best_chrf(output: str, references: Sequence[str]) -> list[int]:
    rows = np.array([chrf_counts(output, reference) for reference in references])
    return rows[chrf_of_counts(rows).argmax()].tolist()


def ter(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    how: str = "",
) -> Score:
    """TER of a corpus: edits (words put in, left out, replaced, and shifts) to the nearest reference, per hundred words
    of a reference; Chinese and Japanese by character. 0 is best."""
    cjk = tokenisation(chain.from_iterable(references)) != "13a"
    metric = _sacrebleu().TER(asian_support=cjk, normalized=cjk)
    scores = [
        metric.sentence_score(output, list(several))
        for output, several in zip(outputs, references, strict=True)
    ]
    rows = [(score.num_edits, score.ref_length) for score in scores]
    sums = Sums.of(np.array(rows, dtype=np.float64).reshape(-1, 2), bootstrap)
    name = f"TER|{_signature(metric, outputs, references)}"
    return sums.score(name, lambda sums: 100 * sums[:, 0] / sums[:, 1], how=how, better=LOWER)


def chrf_counts(output: str, reference: str) -> list[int]:
    """(18,) for n = 1 … 6: character n-grams of the output, of the reference, and of both; spaces do not count."""
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
