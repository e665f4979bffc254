"""N-gram models: every context's probabilities add up to 1, every way to them agrees, documents stay apart."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.models import build
from textmill.models.ngram import counts as ngram_counts
from textmill.models.ngram.fit import fit
from textmill.models.ngram.smoothing import good_turing, modified_discounts
from textmill.specs.model import NGramSpec

END = 0
SMOOTHINGS = ("add-k", "witten-bell", "katz", "kneser-ney", "modified-kneser-ney", "infinity")
documents = st.lists(st.lists(st.integers(1, 4), max_size=12), min_size=1, max_size=12)


def text(docs) -> np.ndarray:
    return np.array([END, *itertools.chain.from_iterable([*doc, END] for doc in docs)], dtype=np.int32)


def model_of(docs, vocabulary=6, **fields):
    return fit(NGramSpec(**fields), text(docs), vocabulary, END, dtype=torch.float64)


def read(ids, **more) -> Batch:
    inputs = torch.as_tensor(ids, dtype=torch.int64)
    return Batch(inputs, torch.full_like(inputs, IGNORE), **more)


def sample(count=60, vocabulary=5, seed=0):
    """Documents with habits: what follows depends on the last two tokens."""
    rng = np.random.default_rng(seed)
    habit = rng.dirichlet(np.full(vocabulary, 0.3), size=(vocabulary, vocabulary))
    docs = []
    for _ in range(count):
        doc = rng.integers(1, vocabulary, size=2).tolist()
        while doc[-1] and len(doc) < 30:
            doc.append(int(rng.choice(vocabulary, p=habit[doc[-2], doc[-1]])))
        docs.append([token for token in doc if token])
    return docs


def every_ngram(docs, length):
    """Counted the slow way."""
    found = Counter()
    for doc in docs:
        run = (END, *doc, END)
        found.update(run[i : i + length] for i in range(len(run) - length + 1))
    return found


@settings(max_examples=30, deadline=None)
@given(documents)
def test_counts_are_those_of_a_plain_loop(docs):
    ids = text(docs)
    order = ngram_counts.sort(ids, 5)
    assert order.tolist() == sorted(range(len(ids)), key=lambda place: ids[place:].tolist())
    shared = ngram_counts.common(ids, order, END, 4)
    counts = ngram_counts.count(ids, order, 5, END, 4, shared)
    grams = [(token,) for token in range(5)]
    for length, level in enumerate(counts.levels, 2):
        here = [
            (*grams[parent], int(token)) for parent, token in zip(level.parents, level.tokens, strict=True)
        ]
        assert dict(zip(here, level.counts.tolist(), strict=True)) == every_ngram(docs, length)
        assert here == sorted(here)
        assert [grams[suffix] for suffix in level.suffixes] == [gram[1:] for gram in here]
        assert level.begins.tolist() == [gram[0] == END for gram in here]
        before = Counter(gram[1:] for gram in every_ngram(docs, length))
        assert counts.continuations(length - 1).tolist() == [before[gram] for gram in grams]
        grams = here


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@settings(max_examples=20, deadline=None)
@given(docs=documents, ids=st.lists(st.integers(0, 5), min_size=1, max_size=20), order=st.integers(1, 4))
def test_every_context_is_a_distribution(smoothing, docs, ids, order):
    model = model_of(docs, smoothing=smoothing, order=order, cache=0.1, cache_window=4)
    logits = model(read([ids]))
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(1, len(ids), dtype=torch.float64))


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("cache", [0.0, 0.2])
def test_step_and_single_token_agree_with_forward(smoothing, cache):
    docs = sample()
    model = model_of(docs, smoothing=smoothing, order=3, cache=cache, cache_window=6)
    ids = torch.as_tensor(text(docs[:4]), dtype=torch.int64)[None]
    logits = model(read(ids))
    wanted = torch.roll(ids, -1)
    one = model.log_probs(model.hidden(read(ids))[0], wanted[0])
    torch.testing.assert_close(one, logits[0].gather(1, wanted[0][:, None])[:, 0])
    first, state = model.begin(read(ids[:, :3]), capacity=100)
    rest, state = model.step(ids[:, 3:8], state)
    assert state.nodes.shape == (1, 2)
    torch.testing.assert_close(first, logits[:, 2])
    torch.testing.assert_close(rest, logits[:, 3:8])
    twice = state.reorder(torch.tensor([0, 0]))
    both, _ = model.step(ids[:, 8:9].expand(2, 1), twice)
    torch.testing.assert_close(both, logits[:, 8:9].expand(2, 1, -1))


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_padding_and_neighbours_change_nothing(smoothing):
    docs = sample()
    model = model_of(docs, smoothing=smoothing, order=4, cache=0.2, cache_window=3)
    one, other = [END, *docs[0][:7]], [END, *docs[1][:4]]
    alone = [model(read([ids]))[0] for ids in (one, other)]
    packed = model(read([one + other], documents=torch.tensor([[0] * len(one) + [1] * len(other)])))[0]
    torch.testing.assert_close(packed, torch.cat(alone))
    gap = len(one) - len(other)
    for row in ([5] * gap + other, other + [5] * gap):  # padding before, and behind
        mask = torch.ones(2, len(one), dtype=torch.bool)
        real = slice(gap, None) if row[0] == 5 else slice(None, len(other))
        mask[1] = False
        mask[1, real] = True
        batch = read([one, row], mask=mask)
        torch.testing.assert_close(model(batch)[1, real], alone[1])
        last, state = model.begin(batch, 100)
        torch.testing.assert_close(last, torch.stack([found[-1] for found in alone]))
        after, _ = model.step(torch.tensor([[1], [1]]), state)
        torch.testing.assert_close(after[1, 0], model(read([[*other, 1]]))[0, -1])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_an_end_of_text_begins_anew(smoothing):
    docs = sample()
    model = model_of(docs, smoothing=smoothing, order=4, cache=0.2, cache_window=3)
    running = model(read([[END, *docs[0], END, *docs[1]]]))[0]
    torch.testing.assert_close(running[len(docs[0]) + 1 :], model(read([[END, *docs[1]]]))[0])


def test_longer_contexts_serve_where_the_text_repeats_itself():
    docs = sample(300)
    held = sample(340)[300:]
    batch = read(text(held)[None, :-1])
    wanted = torch.as_tensor(text(held)[1:], dtype=torch.int64)

    def nats(**fields):
        model = model_of(docs, **fields)
        return float(-model.log_probs(model.hidden(batch)[0], wanted).mean())

    assert nats(order=3) < nats(order=2) < nats(order=1)


def test_infinity_knows_a_long_repetition_by_heart():
    rng = np.random.default_rng(3)
    verses = [rng.integers(1, 5, size=40).tolist() for _ in range(12)]
    docs = [*sample(200), *([1, 2, *verse] for verse in verses), *([3, *verse] for verse in verses)]
    verse = verses[0]
    batch, wanted = read([[END, *verse[:-1]]]), torch.tensor(verse)

    def nats(smoothing):
        model = model_of(docs, smoothing=smoothing, order=3)
        return float(-model.log_probs(model.hidden(batch)[0], wanted).mean())

    assert nats("infinity") < 0.5 * nats("modified-kneser-ney")


def test_cache_is_the_share_of_what_was_read_last():
    docs = sample()
    plain = model_of(docs, order=2)(read([[END, 1, 2, 1]]))[0].exp()
    cached = model_of(docs, order=2, cache=0.25, cache_window=3)(read([[END, 1, 2, 1]]))[0].exp()
    share = torch.tensor([0, 2 / 3, 1 / 3, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(cached[0], plain[0])  # nothing read yet but the beginning
    torch.testing.assert_close(cached[3], 0.75 * plain[3] + 0.25 * share)


def test_discounts_are_the_published_formulas():
    counts = np.repeat([1, 2, 3, 4, 5, 6], [100, 40, 20, 12, 8, 6])
    y = 100 / 180
    expected = [1 - 2 * y * 40 / 100, 2 - 3 * y * 20 / 40, 3 - 4 * y * 12 / 20]
    np.testing.assert_allclose(modified_discounts(counts), expected)
    share = 6 * 6 / 100
    katz = [
        ((r + 1) * b / (r * a) - share) / (1 - share)
        for r, (a, b) in enumerate(itertools.pairwise([100, 40, 20, 12, 8, 6]), 1)
    ]
    np.testing.assert_allclose(good_turing(counts), [*katz, 1.0])
    np.testing.assert_array_equal(modified_discounts(np.array([1, 1, 2])), [0.5, 1.0, 1.5])


def test_tables_are_saved_and_loaded_like_weights():
    model = model_of(sample(), order=3, smoothing="infinity")
    again = build.empty(model.spec, model.vocabulary)
    again.load_state_dict(model.state_dict(), assign=True)
    batch = read([[END, 1, 2, 3]])
    assert torch.equal(model(batch), again(batch))
    assert again.float()(batch).dtype == torch.float32
    with pytest.raises(RuntimeError, match=r"levels\.0\.alpha"):
        again.load_state_dict({name: t for name, t in model.state_dict().items() if "alpha" not in name})


def test_specs_that_cannot_be_are_refused():
    with pytest.raises(RecipeError, match="order"):
        NGramSpec(order=9, context=8)
    with pytest.raises(RecipeError, match="cache_window"):
        NGramSpec(cache=0.1, cache_window=20, context=8)


@settings(max_examples=60, deadline=None)
@given(docs=documents)
def test_the_order_of_suffixes_may_come_in_unsigned_numbers(docs):
    """As the corpus index keeps it."""
    ids, spec = text(docs), NGramSpec(order=3, smoothing="infinity")
    order = ngram_counts.sort(ids, 6)
    plain, unsigned = (fit(spec, ids, 6, END, order=order.astype(kind)) for kind in (np.int64, np.uint32))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(unsigned.state_dict()[name], tensor, rtol=0, atol=0, msg=name)
