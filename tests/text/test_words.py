"""Words of many texts at once, beside a loop over characters."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.text import words

nasty = st.text(
    st.one_of(
        st.sampled_from(
            "aZ09 \n\t.-—_'’#…!?é́ßΣςİÅ中文字々あアｱー한ไทยक्षि❤️😀👨‍👩\x00\x01\x1f\x85\u2028\ud800\U00020000\U000e0100"
        ),
        st.characters(),
    ),
    max_size=40,
)


def kind(character: str, symbols: bool) -> str:
    if any(low <= ord(character) <= high for low, high in words.ALONE_RANGES):
        return "alone"
    category = unicodedata.category(character)
    if "\ufe00" <= character <= "\ufe0f" or ord(character) >= 0x40000:
        return ""
    if category[0] in "LN" or category in ("Mn", "Mc"):
        return "word"
    return character if symbols and category != "Cc" and not character.isspace() else ""


def plain(text: str, symbols: bool) -> list[tuple[int, int]]:
    """The words of a text, one character after the other."""
    spans, start = [], 0
    kinds = [kind(c, symbols) for c in text]
    for i, here in enumerate(kinds):
        if here and (i == 0 or here != kinds[i - 1] or here == "alone" or i - start == words.LONGEST):
            start = i
        if here and (
            i + 1 == len(text) or here != kinds[i + 1] or here == "alone" or i + 1 - start == words.LONGEST
        ):
            spans.append((start, i + 1))
    return spans


def lowered(word: str) -> str:
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in word)


def spans(found: words.Words, d: int) -> list[tuple[int, int]]:
    part = slice(found.offsets[d], found.offsets[d + 1])
    return list(zip(found.start[part].tolist(), found.end[part].tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(st.lists(nasty, max_size=5))
def test_words_are_those_of_a_loop_over_characters(texts):
    for found, symbols, seen in (
        (words.hashes(texts), False, lowered),
        (words.hashes(texts, lower=False), False, str),
        (words.tokens(texts), True, str),
    ):
        assert found.offsets.tolist()[-1] == len(found.hash) == len(found.start) == len(found.end)
        hashed: dict[str, int] = {}
        for d, text in enumerate(texts):
            assert spans(found, d) == plain(text, symbols)
            for (start, end), value in zip(
                spans(found, d), found.hash[found.offsets[d] :].tolist(), strict=False
            ):
                assert hashed.setdefault(seen(text[start:end]), value) == value
        assert len(set(hashed.values())) == len(hashed)  # different words, different hashes


@pytest.mark.parametrize("beside", ["", " 中"])  # texts of ASCII alone take a way of their own
def test_what_a_token_is(beside):
    text = f"The 2nd mill, 1,024 x2y _{beside}"
    kinds = [words.ASCII, words.ASCII, words.ASCII, words.SYMBOL, words.NUMBER, words.SYMBOL, words.NUMBER]
    kinds += [words.ASCII, words.SYMBOL]
    assert words.tokens([text]).kind.tolist() == kinds + [words.ALONE] * bool(beside)
    others = "café 2é éa नहीं あ१२Ⅳ—"
    kinds = [words.OTHER] * 4 + [words.ALONE, words.NUMBER, words.SYMBOL]
    assert words.tokens([others]).kind.tolist() == kinds


@pytest.mark.parametrize("filler", ["a", "é", "中", "-", "a ", "a b-", "ab" * 3000 + " "])
def test_long_texts_are_cut_as_short_ones(filler):
    """Turns of the loop inside never show: not in long words, and not where a word lies across two turns."""
    text = "x" * 7 + filler * (200_000 // len(filler)) + " end"
    assert spans(words.tokens([text]), 0) == plain(text, symbols=True)
    assert spans(words.hashes([text]), 0) == plain(text, symbols=False)
    together = words.tokens([filler, text, "中", text])
    alone = words.tokens([text])
    for d in (1, 3):
        part = slice(together.offsets[d], together.offsets[d + 1])
        assert np.array_equal(together.hash[part], alone.hash)
        assert np.array_equal(together.start[part], alone.start)


def test_a_hash_depends_on_the_word_alone():
    """Also in another process, and beside text that is stored with wider characters."""
    assert words.hashes(["Word"]).hash.tolist() == words.hashes(["中 word 😀"]).hash.tolist()[1:2]
    assert words.hash_of("the") == words.tokens(["in the"]).hash[1]
    code = "from textmill.text import words; print(words.hash_of('mill'), words.hash_of('中'))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.split() == [str(words.hash_of("mill")), str(words.hash_of("中"))]
    assert told.split() == ["11736378211197585255", "3591304247082416459"]  # what any machine says
    with pytest.raises(ValueError):
        words.hash_of("two words")


def test_no_texts_and_empty_texts():
    assert words.hashes([]).offsets.tolist() == [0]
    found = words.hashes(["", "a", "", "..."])
    assert found.offsets.tolist() == [0, 0, 1, 1, 1]
    assert (found.start.dtype, found.hash.dtype) == (np.int64, np.uint64)


@settings(max_examples=300, deadline=None)
@given(st.lists(nasty, max_size=5))
def test_how_words_are_spelt(texts):
    found = words.spelt(texts)
    for d, text in enumerate(texts):
        for at, (start, end) in zip(
            range(found.offsets[d], found.offsets[d + 1]), spans(found, d), strict=True
        ):
            token = text[start:end]
            small = lowered(token)
            number = sum(a != b for a, b in zip(token, small, strict=True))
            first = token[0] != small[0]
            told = number > first or (first and len(token) == 1 and token not in "AI")
            assert found.capitals[at] == (2 * number + first if told else 0)
            assert (found.kind[at] == words.SYMBOL) == (kind(token[0], True) == token[0])
            assert (found.kind[at] == words.ALONE) == (kind(token[0], True) == "alone")
            assert found.first_digit[at] == ("0" <= token[0] <= "9")
            assert found.last_digit[at] == ("0" <= token[-1] <= "9")
