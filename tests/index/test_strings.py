"""Strings are counted in the text, whatever the tokens: held against `str.find`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.index.strings import Occurrence, Strings
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.training import train

WORDS = (
    "cat",
    "concat",
    "scatter",
    "at",
    "a",
    "aa",
    "玉",
    "宝玉",
    "玉道",
    "宝玉道",
    "，",
    " ",
    "é",
    "\n",
    "😀",
)
prose = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map("".join)


def places(texts, wanted):
    """(document, character) of every occurrence, overlapping ones too."""
    found = []
    for number, text in enumerate(texts):
        at = text.find(wanted)
        while at >= 0:
            found.append((number, at))
            at = text.find(wanted, at + 1)
    return found


def strings(corpus_of, folder, texts, tokenizer, tokens_a_shard=1 << 20):
    ids = [tokenizer.encode(text).tolist() for text in texts]
    made = corpus_of(ids, vocabulary=tokenizer.vocabulary, end=tokenizer.end)
    names = [tokenizer.token_bytes(token) for token in range(tokenizer.vocabulary)]
    return Strings(made.index(folder, tokens_a_shard), names), ids, names


def found(occurrences, ids, names, shards):
    """The same as (document, character)."""
    starts, number = {}, 0
    for shard in range(len(shards)):
        for row in shards[shard].offsets[:-1].tolist():
            starts[shard, row] = number
            number += 1
    pairs = []
    for shard, at, skip, end in ((o.shard, o.at, o.skip, o.end) for o in occurrences):
        first = max(row for which, row in starts if which == shard and row <= at)
        document = starts[shard, first]
        assert end <= first + len(ids[document])
        before = b"".join(names[token] for token in ids[document][: at - first])
        pairs.append((document, len((before + names[ids[document][at - first]][:skip]).decode())))
    return pairs


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "characters", "bytes"])
@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(prose, min_size=1, max_size=6),
    vocabulary=st.integers(265, 330),
    shard=st.sampled_from([20, 1 << 20]),
    data=st.data(),
)
def test_counts_are_those_of_the_text(corpus_of, fresh, kind, texts, vocabulary, shard, data):
    extra = 256 if kind == "wordpiece" else 0
    tokenizer = train(
        TokenizerSpec(kind=kind, vocabulary=vocabulary + extra), [*texts, "cat concat 宝玉道 " * 3]
    )
    made, ids, names = strings(corpus_of, fresh(), texts, tokenizer, shard)
    for _ in range(4):
        text = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(text) - 1))
        wanted = data.draw(
            st.sampled_from([text[start : start + n] for n in (1, 2, 3, 5, 9)] + ["xyz", "tc"])
        )
        expected = places(texts, wanted)
        assert made.count(wanted) == len(expected)
        everywhere, documents = made.find(wanted)
        assert found(everywhere, ids, names, made._index.shards) == expected
        assert documents == len({document for document, _ in expected})
        assert made.find(wanted, 2) == (everywhere[:2], documents)


def test_a_string_across_the_cuts_of_tokens_is_counted(corpus_of, fresh):
    texts = ["宝玉道，宝玉道，玉道", "道宝玉", "con" + "cat" * 3, "aaaa"]
    tokenizer = train(TokenizerSpec(vocabulary=290), [text * 9 for text in texts])
    made, _, _ = strings(corpus_of, fresh(), texts, tokenizer)
    for wanted, number in (
        ("玉道", 3),
        ("道宝", 1),
        ("aa", 3),
        ("aaa", 2),
        ("ncatca", 1),
        ("道道", 0),
        ("x", 0),
    ):
        assert made.count(wanted) == number


def test_no_string_crosses_from_one_document_into_the_next(corpus_of, fresh):
    texts = ["ab", "cd", "abcd"]
    tokenizer = train(TokenizerSpec(kind="bytes"), texts)
    made, _, _ = strings(corpus_of, fresh(), texts, tokenizer)
    assert made.count("bc") == 1
    assert made.find("bc") == ([Occurrence(0, 8, 0, 10)], 1)
    with pytest.raises(ValueError, match="empty"):
        made.count("")
