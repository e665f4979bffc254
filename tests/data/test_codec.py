"""Rows of ids from texts, against what is written out by hand; padding and batches by length, by their properties."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.codec import Codec, by_length, padded


def test_a_source_stands_in_its_frame(tokenizer):
    codec = Codec(tokenizer)
    ids = tokenizer.encode("the mill grinds words")
    framed = [*codec.special.lead, *ids.tolist(), *codec.special.tail]
    assert codec.source("the mill grinds words").tolist() == framed == codec.special.around(ids).tolist()


def test_a_target_begins_as_the_model_says(tokenizer):
    assert Codec(tokenizer).special.start == tokenizer.start
    assert Codec(tokenizer, start=7).special.start == 7


def test_a_prompt_has_what_the_tokenizer_expects_before_it(tokenizer):
    ids = tokenizer.encode("the mill").tolist()
    assert Codec(tokenizer).prompt("the mill").tolist() == [*tokenizer.prefix, *ids]


ROWS = st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=8)


@given(ROWS, st.booleans(), st.integers(-1, 0))
def test_padding_keeps_every_row_and_marks_it(rows, front, filler):
    values, real = padded(rows, filler, front=front)
    assert values.shape == (len(rows), max(map(len, rows)))
    mask = np.ones(values.shape, dtype=bool) if real is None else real
    assert [values[i][mask[i]].tolist() for i in range(len(rows))] == rows
    assert (values[~mask] == filler).all()
    assert (real is None) == all(len(row) == values.shape[1] for row in rows)
    if values.shape[1]:
        ends = mask[:, -1 if front else 0]
        assert all(end or not row for end, row in zip(ends, rows, strict=True))


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 64))
def test_batches_by_length_hold_every_row_once_and_keep_to_their_tokens(lengths, tokens):
    batches = [batch.tolist() for batch in by_length(lengths, tokens)]
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    ordered = [lengths[index] for batch in batches for index in batch]
    assert ordered == sorted(ordered, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= tokens
