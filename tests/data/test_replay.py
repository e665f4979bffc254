"""General text beside the new: a pure function of the step, whatever is read and whoever reads it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.loaders import check_steps_of
from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Loader
from textmill.data.packing import RunningPacking
from textmill.data.replay import ReplayLoader, joined


def rows(count, width, source=None, **more):
    ids = torch.arange(count * width).view(count, width)
    return Batch(
        ids, ids, source=None if source is None else torch.ones(count, source, dtype=torch.int64), **more
    )


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_rows_stand_under_each_other_and_padding_is_masked(first, second, wide, narrow, sources):
    a = rows(first, wide, 3 if sources else None)
    b = rows(second, narrow, 5 if sources else None)
    both = joined(a, b)
    assert len(both) == first + second
    for start, each in ((0, a), (first, b)):
        width = each.inputs.shape[1]
        mine = both.rows(start, start + len(each))
        assert torch.equal(mine.inputs[:, :width], each.inputs)
        assert torch.equal(mine.targets[:, :width], each.targets)
        assert (mine.targets[:, width:] == IGNORE).all()
        if mine.mask is None:
            assert wide == narrow
        else:
            assert mine.mask[:, :width].all()
            assert not mine.mask[:, width:].any()
        if sources:
            assert mine.source_mask.sum() == each.source.numel()


def test_labels_numbers_and_documents():
    a, b = rows(2, 4, documents=torch.ones(2, 4, dtype=torch.int64)), rows(1, 4)
    assert joined(a, b).documents.tolist() == [[1] * 4, [1] * 4, [0] * 4]
    label = Batch(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([1, 0]))
    assert joined(label, label).targets.tolist() == [1, 0, 1, 0]


def test_every_rank_has_a_share(make_store):
    def loader(lengths, batch):
        return Loader(RunningPacking(make_store(lengths), 16), batch, seed=3)

    both = ReplayLoader(loader([30, 7, 50, 21, 16], 3), loader([25, 25, 40], 2))
    assert both.steps_per_epoch == both.first.steps_per_epoch
    whole = both.batch(4)
    shares = [both.batch(4, rank, 3).inputs for rank in range(3)]
    assert [len(share) for share in shares] == [1, 2, 2]
    assert torch.equal(torch.cat(shares), whole.inputs)
    assert (both.batch(4, 0, 7).targets == IGNORE).all()  # nothing to learn, but something to compute
    with pytest.raises(IndexError):
        both.batch(0, 2, 2)
    check_steps_of(both, [name for name, _ in both.documents(0)], 6)
