"""A trace finds every maximal span, and names the documents that hold it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.index.trace import common_length, maximal, trace


def naive_maximal(corpus, text, shortest):
    spans = []
    for start in range(len(text)):
        lengths = [n for n in range(1, len(text) - start + 1) if corpus.places(text[start : start + n])]
        end = start + max(lengths, default=0)
        if end > start and (not spans or end > spans[-1][1]):
            spans.append((start, end))
    return [(start, end) for start, end in spans if end - start >= shortest]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(st.integers(1, 3), max_size=25), min_size=1, max_size=6),
    st.lists(st.integers(1, 4), max_size=30),
    st.integers(1, 6),
    st.sampled_from([1, 20, 1000]),
)
def test_maximal_spans_are_those_of_looking_everywhere(corpus_of, fresh, documents, text, shortest, size):
    corpus = corpus_of(documents)
    index = corpus.index(fresh(), size)
    assert list(maximal(index, np.array(text, dtype=np.int64), shortest)) == naive_maximal(
        corpus, text, shortest
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 2), max_size=25), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
)
def test_common_length_is_the_longest_beginning_that_occurs(corpus_of, fresh, documents, text):
    corpus = corpus_of(documents)
    lengths = [n for n in range(1, len(text) + 1) if corpus.places(text[:n])]
    assert common_length(corpus.index(fresh(), 20), np.array(text)) == max(lengths, default=0)


def test_spans_name_their_documents_and_leave_out_what_is_common(corpus_of, fresh):
    rng = np.random.default_rng(0)
    said, phrase = list(range(100, 130)), [5, 6, 7, 8, 9, 10, 11, 12, 13]
    documents = [[*rng.integers(200, 300, size=40).tolist(), *phrase] for _ in range(20)]
    documents[3] = [*documents[3], *said]
    documents[9] = [*said[:20], *documents[9]]
    corpus = corpus_of(documents, vocabulary=400)
    index = corpus.index(fresh(), 300)
    text = [1, 2, *said, 3, *phrase, 4]
    spans = trace(index, text)
    assert [(span.start, span.end, span.count) for span in spans] == [(2, 32, 1), (33, 42, 20)]
    assert spans[0].holders[0].document == corpus.names[3]
    assert spans[0].holders[0].first.token == 49
    assert spans[1].documents == 20
    assert len(spans[1].holders) == 5
    assert [(span.start, span.common) for span in trace(index, text, common=19)] == [(2, False), (33, True)]
    assert [(span.start, span.end) for span in trace(index, text, shortest=31)] == []
    assert trace(index, [1, 2, 3]) == trace(index, []) == []
    with pytest.raises(ValueError, match="400"):
        trace(index, [400])


def test_what_chance_would_have_written_is_no_span(corpus_of, fresh):
    rng = np.random.default_rng(1)
    corpus = corpus_of([rng.integers(1, 3, size=500).tolist() for _ in range(10)])
    index = corpus.index(fresh())
    spans = trace(index, rng.integers(1, 3, size=14).tolist(), shortest=4)
    assert spans
    assert all(span.common and not span.holders for span in spans)


def test_a_text_shorter_than_any_span_is_looked_for_whole(corpus_of, fresh):
    index = corpus_of([[1, 2, 3, 4, 5, 6], [2, 3, 9]], vocabulary=10).index(fresh())
    [span] = trace(index, [2, 3])
    assert (span.start, span.end, span.count, span.common) == (0, 2, 2, True)


def test_a_text_copied_whole_is_one_span(corpus_of, fresh):
    rng = np.random.default_rng(2)
    corpus = corpus_of([rng.integers(1, 5000, size=3000).tolist() for _ in range(3)], vocabulary=5000)
    spans = trace(corpus.index(fresh()), corpus.documents[1])
    assert [(span.start, span.end) for span in spans] == [(0, 3000)]
