"""N-gram probabilities held against NLTK's, and against modified Kneser-Ney written from its formula.

Where definitions differ. NLTK's models give unseen single tokens nothing (`unigram_score`): ours ends in the uniform
distribution, so the references here do, too, and everything above single tokens is NLTK's own. At lower orders NLTK
has no counts for contexts that begin a document, and divides by zero there: such contexts are compared at the
highest order alone.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from textmill.data.batch import IGNORE, Batch
from textmill.models.ngram.fit import fit
from textmill.models.ngram.smoothing import modified_discounts
from textmill.specs.model import NGramSpec

END, VOCABULARY = 0, 9


@pytest.fixture(scope="module")
def docs():
    rng = np.random.default_rng(4)
    weights = np.array([5, 4, 3, 2, 1, 1, 0.5])
    return [
        rng.choice(np.arange(1, 8), size=rng.integers(4, 40), p=weights / weights.sum()).tolist()
        for _ in range(30)
    ]


def ours(docs, contexts, **fields) -> np.ndarray:
    """(contexts, V) probabilities."""
    ids = np.concatenate([[END], *([*doc, END] for doc in docs)])
    model = fit(NGramSpec(**fields), ids, VOCABULARY, END, dtype=torch.float64)
    rows = []
    for context in contexts:
        inputs = torch.tensor([context])
        rows.append(model(Batch(inputs, torch.full_like(inputs, IGNORE)))[0, -1].exp().numpy())
    return np.stack(rows)


def contexts_of(docs, length):
    """Contexts that occur, one that begins a document, and some that never occur."""
    runs = [tuple([END, *doc][i : i + length]) for doc in docs for i in range(len(doc) - length)]
    rare = [tuple(np.random.default_rng(seed).integers(1, 8, size=length).tolist()) for seed in range(20)]
    return list(dict.fromkeys(runs))[:60] + rare


def fitted(kind, docs, order, *arguments):
    util = pytest.importorskip("nltk.util")
    from nltk.lm import Vocabulary

    # What NLTK calls the unknown word counts as one of its words, so the last id takes that place.
    known = Vocabulary(
        [str(word) for word in range(VOCABULARY - 1)], unk_cutoff=1, unk_label=str(VOCABULARY - 1)
    )
    model = kind(*arguments, order=order, vocabulary=known)
    model.fit(
        [list(util.everygrams([str(word) for word in (END, *doc, END)], max_len=order)) for doc in docs]
    )
    return model


def with_floor(smoothing, unigrams: np.ndarray):
    """A model of NLTK whose single tokens are those given."""
    smoothing.estimator.unigram_score = lambda word: unigrams[int(word)]
    return smoothing


def theirs(model, contexts) -> np.ndarray:
    words = [str(word) for word in range(VOCABULARY)]
    return np.array([[model.score(word, [*map(str, context)]) for word in words] for context in contexts])


@pytest.mark.parametrize("order", [2, 3])
def test_kneser_ney_is_that_of_nltk(docs, order):
    lm = pytest.importorskip("nltk.lm")
    before = Counter(
        pair[1] for pair in {pair for doc in docs for pair in zip([END, *doc], [*doc, END], strict=True)}
    )
    kinds = np.array([before[word] for word in range(VOCABULARY)])
    unigrams = (np.maximum(kinds - 0.3, 0) + 0.3 * np.count_nonzero(kinds) / VOCABULARY) / kinds.sum()
    model = with_floor(fitted(lambda **o: lm.KneserNeyInterpolated(discount=0.3, **o), docs, order), unigrams)
    contexts = contexts_of(docs, order - 1)
    found = ours(docs, contexts, order=order, smoothing="kneser-ney", discount=0.3)
    np.testing.assert_allclose(found, theirs(model, contexts), rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_witten_bell_is_that_of_nltk(docs, order):
    lm = pytest.importorskip("nltk.lm")
    counts = np.bincount([*(t for doc in docs for t in doc), *[END] * len(docs)], minlength=VOCABULARY)
    kinds = np.count_nonzero(counts)
    unigrams = (counts + kinds / VOCABULARY) / (counts.sum() + kinds)
    model = with_floor(fitted(lm.WittenBellInterpolated, docs, order), unigrams)
    contexts = contexts_of(docs, order - 1)
    found = ours(docs, contexts, order=order, smoothing="witten-bell")
    np.testing.assert_allclose(found, theirs(model, contexts), rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_add_k_is_that_of_nltk(docs, order):
    lm = pytest.importorskip("nltk.lm")
    model = fitted(lm.Lidstone, docs, order, 0.2)
    contexts = contexts_of(docs, order - 1)
    found = ours(docs, contexts, order=order, smoothing="add-k", k=0.2)
    np.testing.assert_allclose(found, theirs(model, contexts), rtol=0, atol=1e-9)


def slow_modified_kneser_ney(docs, order):
    """P(word, context), straight from Chen & Goodman 1998, equations 24 to 27, by recursion over dictionaries."""
    raw = [Counter() for _ in range(order + 2)]
    for doc in docs:
        run = (END, *doc, END)
        for length in range(1, order + 2):
            raw[length].update(run[i : i + length] for i in range(len(run) - length + 1))
    raw[1][(END,)] -= len(docs)  # the beginning of a document is no token

    def adjusted(length):
        if length == order:
            return raw[length]
        before = Counter(gram[1:] for gram in raw[length + 1])
        return {g: raw[length][g] if g[0] == END and length > 1 else before[g] for g in raw[length]}

    tables = {length: adjusted(length) for length in range(1, order + 1)}
    discounts = {n: modified_discounts(np.array(list(tables[n].values()))) for n in tables}

    def probability(word, context):
        length = len(context) + 1
        followers = {g[-1]: c for g, c in tables[length].items() if g[:-1] == context and c}
        lower = probability(word, context[1:]) if context else 1 / VOCABULARY
        if not followers:
            return lower
        total = sum(followers.values())
        d = discounts[length]
        kept = max(followers[word] - d[min(followers[word], 3) - 1], 0) if word in followers else 0
        gamma = sum(d[min(c, 3) - 1] for c in followers.values()) / total
        return kept / total + gamma * lower

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_modified_kneser_ney_is_its_formula(docs, order):
    probability = slow_modified_kneser_ney(docs, order)
    contexts = contexts_of(docs, order - 1) if order > 1 else [(1,)]
    expected = [[probability(word, c if order > 1 else ()) for word in range(VOCABULARY)] for c in contexts]
    found = ours(docs, contexts, order=order, smoothing="modified-kneser-ney")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
