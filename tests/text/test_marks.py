"""Words, tags and spans move with their text, or the record is skipped."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textmill.specs.cleaning import (
    ChineseStep,
    PersonalDataStep,
    RepairStep,
    SegmentStep,
    StopWordsStep,
    UnicodeStep,
    WhitespaceStep,
)
from textmill.text import marks
from textmill.text.cleaning.steps import apply
from textmill.text.document import Document, Rejected, collected


def marked(text, spans=(), tags=None, words=None):
    metadata = {marks.SPANS: marks.written(spans)} if spans else {}
    if tags is not None:
        metadata |= {"tags": tags, marks.ALIGNED: "tags"}
    if words is not None:
        metadata |= {marks.WORDS: marks.written(words)}
    return collected(text, "a", metadata)


def cleaned(document, *steps):
    [item] = apply([document], steps)
    return item


@pytest.mark.parametrize(
    ("text", "span", "steps"),
    [
        (
            "\ufeffDr\u00a0Zoe\u0308  runs it",
            "Zoe\u0308",
            [RepairStep(), UnicodeStep(form="NFKC"), WhitespaceStep()],
        ),
        ("ＡＢＣ公司 在北京。", "ＡＢＣ公司", [ChineseStep()]),
        ("one   \n\n\n\n\n two three", "two three", [WhitespaceStep()]),
        ("write to jane@example.org or Bob", "Bob", [PersonalDataStep()]),
        ("write to jane@example.org or Bob", "jane@example.org", [PersonalDataStep()]),
        ("cafÃ© au lait at Joe's", "Joe's", [RepairStep()]),
        ("the mill by the river", "river", [SegmentStep(by="whitespace")]),
    ],
)
def test_a_span_is_found_where_it_went(text, span, steps):
    start = text.index(span)
    item = cleaned(marked(text, [(start, start + len(span), "X")]), *steps)
    assert isinstance(item, Document), item
    [(start, end, label)] = marks.spans_of(item.metadata)
    [alone] = apply([collected(span, "b")], steps)
    assert (item.text[start:end], label) == (alone.text, "X")


def test_what_cuts_a_span_or_a_word_costs_the_record():
    text = "call +44 20 7946 0958 now"
    cut = cleaned(marked(text, [(5, 11, "AREA")]), PersonalDataStep())
    assert isinstance(cut, Rejected)
    assert cut.reason == "changes an annotated word or span"
    joined = cleaned(marked(text, tags="O B I I I O"), PersonalDataStep())
    assert isinstance(joined, Rejected)
    whole = cleaned(marked(text, [(5, 21, "PHONE")]), PersonalDataStep())
    assert whole.text == "call [PHONE] now"
    assert marks.spans_of(whole.metadata) == [(5, 12, "PHONE")]


def test_a_word_that_goes_takes_its_tag_with_it():
    item = cleaned(marked("\x00 the mill \x01 stands", tags="A B C D E"), RepairStep(), WhitespaceStep())
    assert (item.text.split(), item.metadata["tags"]) == (["the", "mill", "stands"], "B C E")
    item = cleaned(marked("the mill and the river", tags="D N C D N"), StopWordsStep())
    assert (item.text.split(), item.metadata["tags"]) == (["mill", "river"], "N N")


WORD = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="\u0085"), min_size=1, max_size=6)
GAP = st.sampled_from([" ", "  ", "\t", "\u00a0", " \n\n\n\n ", "\u2003", " \x00"])


@settings(deadline=None)
@given(st.lists(st.tuples(WORD, GAP), min_size=1, max_size=30))
@example([("¡", " "), ("à¡¡", " ")])
@example([("Ä", "  "), ("b", " \x00"), ("磨", "\t")])
def test_tags_stay_at_their_words_through_the_usual_steps(pairs):
    """Each word's tag is the word as the steps leave it alone, so that a tag at another word shows."""
    steps = [RepairStep(), UnicodeStep(form="NFC"), WhitespaceStep()]
    text, places = "", []
    for word, gap in pairs:
        places.append((len(text), len(text) + len(word)))
        text += word + gap
    alone = [[item] for item in apply([collected(word, "w") for word, _ in pairs], steps)]
    if not all(isinstance(item, Document) and item.text.split() for [item] in alone):
        return
    tags = " ".join("".join(item.text.split()) for [item] in alone)
    [whole] = apply([collected(text, "w")], steps)
    if not isinstance(whole, Document) or "".join(whole.text.split()) != "".join(tags.split()):
        return  # letters garbled by a wrong decoding are repaired or not as those around them are
    item = cleaned(marked(text, tags=tags, words=places), *steps)
    if isinstance(item, Document):
        words = marks.words_of(item.text, item.metadata)
        assert ["".join(item.text[start:end].split()) for start, end in words] == item.metadata[
            "tags"
        ].split()


@settings(deadline=None)
@given(st.text("ab \n", max_size=40), st.text("ab \n", max_size=40), st.data())
def test_marks_never_point_outside_their_text(old, new, data):
    if not old:
        return
    start = data.draw(st.integers(0, len(old) - 1))
    end = data.draw(st.integers(start + 1, len(old)))
    try:
        found = marks.moved(old, new, {marks.SPANS: marks.written([(start, end, "X")])})
    except marks.Lost:
        return
    for first, last, _ in json.loads(found.get(marks.SPANS, "[]")):
        assert 0 <= first < last <= len(new)


@given(st.lists(st.text("ab 中文\n\r\t", max_size=30), min_size=1, max_size=5))
def test_pages_begin_where_what_is_left_of_them_begins(pages):
    """Each page is marked by letters of its own, so that the place they went to is known."""
    marked_pages = [f"{chr(ord('Q') + number)}1 {page}" for number, page in enumerate(pages)]
    text, starts = "", []
    for page in marked_pages:
        starts.append(len(text))
        text += f"{page}\r\n\r\n \r\n\r\n"
    document = collected(text, "a.pdf", {"pages": " ".join(map(str, starts))})
    [cleaned] = apply([document], (RepairStep(), UnicodeStep(), WhitespaceStep()))
    found = [cleaned.text.index(f"{chr(ord('Q') + number)}1") for number in range(len(pages))]
    assert cleaned.metadata["pages"] == " ".join(map(str, found))


def test_of_a_text_that_became_another_nobody_knows_its_pages():
    old, new = "first page\n\nsecond", "".join(chr(0x4E00 + at * 7 % 9000) for at in range(9000))
    assert marks.moved(old, new, {"pages": "0 12"}) == {"pages": ""}
