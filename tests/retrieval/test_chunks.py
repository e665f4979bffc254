"""Chunks: everything of a text, in order, none longer than asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from textmill.retrieval.chunks import chunks, page_of, weigh

TEXTS = st.lists(
    st.sampled_from(
        ["A word. ", "Two words here! ", "他赢了。", "\n\n", "x" * 50, " ", "\n", "Nr. 5 ", "é", "なに？"]
    ),
    max_size=40,
).map("".join)


@given(TEXTS, st.integers(5, 60))
def test_nothing_but_space_is_between_chunks_and_none_is_too_large(text, size):
    at = 0
    for chunk in chunks(text, size=size):
        assert at <= chunk.start < chunk.end
        assert not text[at : chunk.start].strip()
        said = text[chunk.start : chunk.end]
        assert said == said.strip()
        assert weigh(said) <= size or len(said) == 1
        at = chunk.end
    assert not text[at:].strip()


def test_a_chunk_ends_with_a_paragraph_once_it_is_half_full():
    text = "One is here.\n\nTwo is there.\n\nThree."
    assert [text[c.start : c.end] for c in chunks(text, size=30)] == [
        "One is here.\n\nTwo is there.",
        "Three.",
    ]
    assert [text[c.start : c.end] for c in chunks(text, size=24)] == [
        "One is here.",
        "Two is there.",
        "Three.",
    ]


def test_the_page_of_a_character():
    pages = (0, 19, 33)
    assert [page_of(place, pages) for place in (0, 18, 19, 32, 33)] == [1, 1, 2, 2, 3]
    assert page_of(3, ()) is None
