"""Numbers in the forms of lists, each by a few that are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.text.sources.formats.numerals import _FORMATS, numeral


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        ("lowerRoman", {1: "i", 4: "iv", 9: "ix", 1994: "mcmxciv"}),
        ("lowerLetter", {1: "a", 26: "z", 27: "aa", 53: "aaa"}),
        ("upperColumn", {1: "A", 26: "Z", 27: "AA", 28: "AB", 703: "AAA"}),
        ("decimalZero", {3: "03", 12: "12", 100: "100"}),
        ("decimal3", {3: "003", 1234: "1234"}),
        ("ordinal", {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 112: "112th", 21: "21st"}),
        ("cardinalText", {1: "One", 21: "Twenty-one", 105: "One hundred five", 2000: "Two thousand"}),
        (
            "ordinalText",
            {1: "First", 3: "Third", 12: "Twelfth", 20: "Twentieth", 21: "Twenty-first", 40: "Fortieth"},
        ),
        (
            "chineseCounting",
            {1: "一", 10: "十", 12: "十二", 20: "二十", 101: "一百零一", 110: "一百一十", 1010: "一千零一十"},
        ),
        ("chineseLegalSimplified", {1: "壹", 10: "壹拾", 23: "贰拾叁"}),
        ("japaneseCounting", {11: "十一", 100: "百", 203: "二百三", 1000: "千"}),
        ("ideographTraditional", {1: "甲", 10: "癸", 11: "11"}),
        ("decimalEnclosedCircle", {1: "①", 20: "⑳", 21: "21"}),
        ("hebrew1", {1: "א", 15: "טו", 16: "טז", 115: "קטו"}),
        ("ganada", {1: "가", 3: "다"}),
        ("numberInDash", {5: "- 5 -"}),
        ("none", {7: ""}),
        ("nobodyKnows", {7: "7"}),
        ("lowerRoman", {0: "0", -3: "-3"}),
    ],
)
def test_known_numbers(form, numbers):
    assert {number: numeral(number, form) for number in numbers} == numbers


@given(form=st.sampled_from(sorted(set(_FORMATS) - {"none", "bullet"})), number=st.integers(-5, 40_000))
def test_every_number_has_a_form(form, number):
    assert numeral(number, form).strip()


@given(
    form=st.sampled_from(
        ("lowerRoman", "upperColumn", "chineseCounting", "japaneseCounting", "cardinalText", "hebrew1")
    ),
    pair=st.lists(st.integers(1, 1999), min_size=2, max_size=2, unique=True),
)
def test_different_numbers_look_different(form, pair):
    assert numeral(pair[0], form) != numeral(pair[1], form)
