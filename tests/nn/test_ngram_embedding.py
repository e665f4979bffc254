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
    """The vectors of one text (T,), each n-gram read alone."""
    found = []
    for place in range(len(row)):
        total = torch.zeros(embedding.weight.shape[1])
        for order in embedding.orders:
            if place + 1 >= order:
                alone = row[place + 1 - order : place + 1][None]
                rows = dict(
                    zip(embedding.orders, hashed(alone, embedding.orders, 97, None, None), strict=True)
                )
                total = total + embedding.weight[rows[order][0][0, -1]]
        found.append(total)
    return torch.stack(found)


def test_every_ngram_of_a_text_has_the_vector_it_has_alone():
    torch.manual_seed(0)
    embedding, row = NGramEmbedding((2, 3), 97, 8), torch.randint(0, 50, (9,))
    nn.init.normal_(embedding.weight)
    torch.testing.assert_close(embedding(row[None])[0], by_hand(embedding, row))
    # 1. Padding on either side, and a neighbour in a packed row, change nothing.
    padded = torch.stack([torch.cat((row, row[:3])), torch.cat((row[:3], row))])
    real = torch.stack([torch.arange(12) < 9, torch.arange(12) >= 3])
    found = embedding(padded, real)
    torch.testing.assert_close(found[real].view(2, 9, 8), by_hand(embedding, row).expand(2, 9, 8))
    packed = embedding(torch.cat((row, row))[None], None, torch.arange(2).repeat_interleave(9)[None])
    torch.testing.assert_close(packed[0], by_hand(embedding, row).repeat(2, 1))


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
        states = model.hidden(Batch(ids, torch.full_like(ids, IGNORE))).mean(1)
        assert torch.allclose(states[0], states[1], atol=1e-12) is same


def test_an_order_of_one_is_refused():
    with pytest.raises(RecipeError, match="no orders of n-grams"):
        EncoderSpec(ngrams=(1, 2))
