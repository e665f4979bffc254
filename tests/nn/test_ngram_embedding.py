"""Vectors of n-grams against a dictionary of them: each n-gram of one text by itself, found and added by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.models.build import build
from textmill.nn.ngram_embedding import NGramEmbedding, hashed
from textmill.specs.model import EncoderSpec
from textmill.specs.position import NoPositions


def by_hand(embedding, row):
    """The vectors of one text (T,), each n-gram read alone, the token in each of its places where that is wanted."""
    found = torch.zeros(len(row), embedding.weight.shape[1])
    for order in embedding.orders:
        for first in range(len(row) - order + 1):
            alone = row[first : first + order][None]
            rows = list(hashed(alone, (order,), 97, None, None, around=embedding.around))
            assert len(rows) == (order if embedding.around else 1)
            for ahead, (numbers, there) in enumerate(rows):
                place = order - 1 - ahead
                assert there[0, place]
                found[first + place] += embedding.weight[numbers[0, place]]
    return found


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_every_ngram_of_a_text_has_the_vector_it_has_alone(length, around):
    torch.manual_seed(0)
    embedding, row = NGramEmbedding((2, 3, 5), 97, 8, around=around), torch.randint(0, 50, (length,))
    nn.init.normal_(embedding.weight)
    expected = by_hand(embedding, row)
    torch.testing.assert_close(embedding(row[None])[0], expected)
    # 1. Padding on either side, and a neighbour in a packed row, change nothing.
    padded = torch.stack([torch.cat((row, row[:1])), torch.cat((row[:1], row))])
    real = torch.stack([torch.arange(length + 1) < length, torch.arange(length + 1) >= 1])
    found = embedding(padded, real)
    torch.testing.assert_close(found[real].view(2, length, 8), expected.expand(2, -1, -1))
    packed = embedding(torch.cat((row, row))[None], None, torch.arange(2).repeat_interleave(length)[None])
    torch.testing.assert_close(packed[0], expected.repeat(2, 1))


def test_a_token_has_another_vector_of_an_ngram_in_each_of_its_places():
    """And two n-grams that share a row where they end are apart where they begin."""
    pairs = torch.stack(torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij"), -1).flatten(0, 1)
    (ending, _), (beginning, _) = hashed(pairs, (2,), 4096, None, None, around=True)
    ending, beginning = ending[:, 1], beginning[:, 0]
    assert (ending == beginning).float().mean() < 0.002
    same = (ending[:, None] == ending).triu(1)
    both = same & (beginning[:, None] == beginning)
    assert same.sum() > 1000
    assert both.sum() < 20


def test_different_ngrams_are_spread_over_the_rows():
    """At least as many rows are met as when so many balls are thrown into so many bins: 1 - 1/e of them."""
    first, second = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for held in (torch.stack((first, second), -1), torch.stack((second, 7 * first, first), -1)):
        (rows, there), *_ = hashed(held.flatten(0, 1), (held.shape[-1],), 4096, None, None)
        assert there[:, -1].all()
        assert len(rows[:, -1].unique()) / 4096 > 0.62


@torch.no_grad()
def test_an_encoder_tells_the_order_of_tokens_where_nothing_else_does():
    """Without positions, the mean state of tokens is that of any order of them; with bigrams it is not."""
    shape = {
        "d_model": 16,
        "layers": 1,
        "heads": 2,
        "d_ff": 16,
        "segments": 0,
        "pooler": False,
        "dropout": 0.0,
    }
    ids = torch.tensor([[5, 9, 7, 3], [3, 5, 7, 9]])
    for orders, same in (((), True), ((2,), False)):
        spec = EncoderSpec(**shape, position=NoPositions(), ngrams=orders, ngram_rows=97)
        model = build(spec, 50).double().eval()
        if orders:
            assert not model.ngram_embedding.weight.any()  # what was never met says nothing
            nn.init.normal_(model.ngram_embedding.weight)
        states = model.hidden(Batch(ids, torch.full_like(ids, IGNORE))).mean(1)
        assert torch.allclose(states[0], states[1], atol=1e-12) is same


def test_tokens_are_left_out_whole_in_training_only():
    spec = EncoderSpec(
        d_model=8,
        layers=1,
        heads=2,
        d_ff=8,
        position=NoPositions(),
        segments=0,
        dropout=0.0,
        embedding_norm=False,
        token_dropout=0.5,
        ngrams=(2,),
        ngram_places="any",
        ngram_rows=31,
    )
    torch.manual_seed(0)
    model, ids = build(spec, 50), torch.randint(0, 50, (20, 9))
    nn.init.normal_(model.ngram_embedding.weight)
    batch, read = Batch(ids, torch.full_like(ids, IGNORE)), []
    model.read = lambda vectors, *_, **__: read.append(vectors) or vectors
    model.train().hidden(batch), model.eval().hidden(batch)
    left, whole = read
    gone = (left == 0).all(-1)
    assert 50 < gone.sum() < 130
    torch.testing.assert_close(left[~gone], 2 * whole[~gone])
    assert (whole != 0).any(-1).all()


def test_an_order_of_one_is_refused():
    with pytest.raises(RecipeError, match="no orders of n-grams"):
        EncoderSpec(ngrams=(1, 2))
