"""Smoothing: from counts to probabilities that leave something for what was never seen.

Every method here comes out in one form. With h a context and h' the same without its first token,

    P(w | h) = alpha(h, w) + gamma(h) · P(w | h')

with alpha = 0 for an n-gram that was not seen and gamma = 1 for a context that was not, down to P(w), a number for
each id of the vocabulary, none of them 0. (A method that backs off instead of interpolating has alpha(h, w) =
P(w | h) - gamma(h) · P(w | h') for what was seen.)

Say "the mill" was seen 4 times, 3 of them before "turns" and once before "stands", Kneser-Ney takes a discount of 0.5
off each count, and after "mill" alone P(turns) = 0.4 and P(grinds) = 0.1. Then

    alpha(the mill, turns) = (3 - 0.5) / 4 = 0.625,  gamma(the mill) = 2 · 0.5 / 4 = 0.25
    P(turns | the mill) = 0.625 + 0.25 · 0.4 = 0.725,  P(grinds | the mill) = 0 + 0.25 · 0.1 = 0.025
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from textmill.models.ngram.counts import Counts, Level
from textmill.specs.model import NGramSpec

_GOOD_TURING = 5  # counts up to this are discounted (Katz 1987, section III)
_COVERED = (
    1e-6  # of the shorter context's probability: where less is left to unseen tokens, Katz interpolates
)


@dataclass(frozen=True)
class Smoothed:
    """The form above, in float64."""

    unigram: np.ndarray  # (V,): P(w)
    alpha: list[np.ndarray]  # of the n-grams of length 2, 3, …
    gamma: list[np.ndarray]  # of their contexts: of the n-grams of length 1, 2, …


def smooth(counts: Counts, spec: NGramSpec) -> Smoothed:
    """The probabilities of a spec's smoothing; `infinity` gives the modified Kneser-Ney it begins from."""
    return METHODS[spec.smoothing](counts, spec)


def _add_k(counts: Counts, spec: NGramSpec) -> Smoothed:
    """(c(h, w) + k) / (c(h) + k·V) with the whole context; gamma leads to 1 / V at once (Lidstone 1920).

    For a model's longest context this is all there is: the module reads the longest context's numbers alone.
    """
    vocabulary = len(counts.unigrams)
    if not counts.levels:
        total = counts.unigrams.sum() + spec.k * vocabulary
        return Smoothed((counts.unigrams + spec.k) / total, [], [])
    alpha, gamma = [], []
    for level in counts.levels:
        total = level.sums(level.counts) + spec.k * vocabulary
        alpha.append(level.counts / total[level.parents])
        gamma.append(spec.k * vocabulary / total)
    return Smoothed(np.full(vocabulary, 1 / vocabulary), alpha, gamma)


def _witten_bell(counts: Counts, spec: NGramSpec) -> Smoothed:
    """gamma(h) = T(h) / (c(h) + T(h)), T(h) the number of different tokens after h (Witten & Bell 1991, method C;
    interpolated as in Chen & Goodman 1998, section 2.5)."""
    kinds = np.count_nonzero(counts.unigrams)
    unigram = (counts.unigrams + kinds / len(counts.unigrams)) / (counts.unigrams.sum() + kinds)
    alpha, gamma = [], []
    for level in counts.levels:
        followers = np.diff(level.starts)
        total = level.sums(level.counts) + followers
        alpha.append(level.counts / total[level.parents])
        gamma.append(_share(followers, total))
    return Smoothed(unigram, alpha, gamma)


def _kneser_ney(counts: Counts, spec: NGramSpec) -> Smoothed:
    """One discount an order, n1 / (n1 + 2·n2) unless it is given (Ney, Essen & Kneser 1994; interpolated)."""

    def discounts(adjusted: np.ndarray) -> np.ndarray:
        if spec.discount is not None:
            return np.full(3, spec.discount)
        once, twice = (np.count_nonzero(adjusted == number) for number in (1, 2))
        return np.full(3, once / (once + 2 * twice) if once and twice else 0.5)

    return _discounted(counts, discounts)


def _modified_kneser_ney(counts: Counts, spec: NGramSpec) -> Smoothed:
    """Discounts for counts of 1, 2 and more (Chen & Goodman 1998, section 3, equations 26 and 27):
    D_i = i - (i + 1) · Y · n_{i+1} / n_i, with Y = n1 / (n1 + 2·n2).

    A text too small for that (an n_i of 0, a D_i outside 0 … i) takes 0.5, 1 and 1.5 at that order.
    """
    return _discounted(counts, modified_discounts)


def modified_discounts(adjusted: np.ndarray) -> np.ndarray:
    """(3,): what is taken off counts of 1, of 2, and of 3 and more."""
    n = [np.count_nonzero(adjusted == number) for number in range(1, 5)]
    if all(n):
        ratio = n[0] / (n[0] + 2 * n[1])
        taken = np.array([i - (i + 1) * ratio * n[i] / n[i - 1] for i in (1, 2, 3)])
        if (taken > 0).all() and (taken <= (1, 2, 3)).all():
            return taken
    return np.array([0.5, 1.0, 1.5])


def _discounted(counts: Counts, discounts: Callable[[np.ndarray], np.ndarray]) -> Smoothed:
    """Interpolated absolute discounting of counts at the highest order and of continuations below it.

    What begins a document has nothing before it, so there the count itself is taken, at any order.
    """
    order = len(counts.levels) + 1
    base = counts.unigrams if order == 1 else counts.continuations(1)
    taken = discounts(base)[np.clip(base, 1, 3) - 1] * (base > 0)
    unigram = (base - taken + taken.sum() / len(base)) / base.sum()
    alpha, gamma = [], []
    for length, level in enumerate(counts.levels, 2):
        adjusted = level.counts
        if length < order:
            adjusted = np.where(level.begins, level.counts, counts.continuations(length))
        taken = discounts(adjusted)[np.minimum(adjusted, 3) - 1]
        total = level.sums(adjusted)
        alpha.append((adjusted - taken) / total[level.parents])
        gamma.append(_share(level.sums(taken), total))
    return Smoothed(unigram, alpha, gamma)


def _katz(counts: Counts, spec: NGramSpec) -> Smoothed:
    """Counts up to 5 discounted after Good and Turing, the rest shared out in proportion to P(w | h') among the
    tokens not seen after h (Katz 1987). Single tokens: Witten-Bell.

    A context all of whose counts are over 5 leaves nothing: its total is then taken one larger. Where the tokens
    seen have nearly all of the shorter context's probability, there is nobody to share with, and what is left is
    interpolated.
    """
    unigram = _witten_bell(Counts(counts.unigrams, []), spec).unigram
    lower, alpha, gamma = unigram, [], []
    for level in counts.levels:
        parents, total = level.parents, level.sums(level.counts)
        ratios = good_turing(level.counts)
        kept = level.counts * ratios[np.minimum(level.counts, _GOOD_TURING + 1) - 1]
        left = total - level.sums(kept)
        total = np.where(left < 1e-9, total + 1, total)
        kept = kept / total[parents]
        below = lower[level.suffixes]
        left = np.where(np.diff(level.starts) > 0, 1 - level.sums(kept), 1.0)
        rest = 1 - level.sums(below)
        backs = rest > _COVERED
        weight = np.where(backs, left / np.where(backs, rest, 1), left)
        gamma.append(weight)
        alpha.append(np.where(backs[parents], kept - weight[parents] * below, kept))
        lower = alpha[-1] + weight[parents] * below
    return Smoothed(unigram, alpha, gamma)


def good_turing(counts: np.ndarray) -> np.ndarray:
    """(6,): what counts of 1 … 5, and more, are multiplied by. A text too small for it: (r - 1/2) / r."""
    n = [np.count_nonzero(counts == number) for number in range(1, _GOOD_TURING + 2)]
    r = np.arange(1, _GOOD_TURING + 1)
    fallback = np.append((r - 0.5) / r, 1.0)
    if not all(n):
        return fallback
    share = (_GOOD_TURING + 1) * n[-1] / n[0]
    if share >= 1:
        return fallback
    ratios = ((r + 1) * np.array(n[1:]) / (r * np.array(n[:-1])) - share) / (1 - share)
    return np.append(ratios, 1.0) if (ratios > 0).all() and (ratios < 1).all() else fallback


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 1 for contexts after which nothing comes."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)


def probabilities(smoothed: Smoothed, levels: list[Level]) -> list[np.ndarray]:
    """P of the last token of every n-gram of length 1, 2, … after the others."""
    by_length = [smoothed.unigram]
    for level, alpha, gamma in zip(levels, smoothed.alpha, smoothed.gamma, strict=True):
        by_length.append(alpha + gamma[level.parents] * by_length[-1][level.suffixes])
    return by_length


METHODS: dict[str, Callable[[Counts, NGramSpec], Smoothed]] = {
    "add-k": _add_k,
    "witten-bell": _witten_bell,
    "katz": _katz,
    "kneser-ney": _kneser_ney,
    "modified-kneser-ney": _modified_kneser_ney,
    "infinity": _modified_kneser_ney,
}
