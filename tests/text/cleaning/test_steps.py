"""The cleaning steps: what they repair, what they leave alone, and that a second time changes nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import (
    ExactDuplicatesStep,
    LengthStep,
    RepairStep,
    SegmentStep,
    UnicodeStep,
    WhitespaceStep,
)
from textmill.specs.corpus import CorpusSpec
from textmill.text.cleaning import steps as clean
from textmill.text.cleaning.duplicates.exact import Seen
from textmill.text.cleaning.normalise import normalise, whitespace
from textmill.text.cleaning.repair import repair
from textmill.text.document import Document, Rejected, collected, ending, printable

# Text with everything in it that the steps look for: high bytes, controls, surrogates, spaces, line ends.
nasty = st.text(
    st.one_of(
        st.sampled_from(
            "Ã©Â£â€™ðŸ˜€\x80\x9d\xad\ufeff\ud83d\ude00\x1b[1m\x00\x0b\x0c\x85\r\n\t  \u2028\u3000\u0301\u0344aé"
        ),
        st.characters(),
    ),
    max_size=60,
)
DEFAULT = CorpusSpec(sources=()).steps


def one(text, *steps):
    (item,) = clean.apply([collected(text, "a")], steps)
    return item


@pytest.mark.parametrize(
    "text",
    ["déjà vu", "Où est l’été ?", "5 £ and “quotes”", "你好，世界", "Привет", "😀", "naïve café", "ελληνικά"],
)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_utf8_read_as_something_else_is_repaired(text, wrong):
    try:
        broken = text.encode("utf-8").decode(wrong)
    except UnicodeDecodeError:
        broken = "".join(
            bytes([b]).decode("cp1252") if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else chr(b)
            for b in text.encode()
        )
    assert broken != text
    assert repair(broken) == text
    twice = broken.encode("utf-8").decode("latin-1")
    assert repair(twice) == text


@pytest.mark.parametrize(
    "text",
    [
        "CAFÉ» and «NOËL»",
        "São Paulo; NÃO; AÇÃO",
        "Â, Ã and ß are letters",
        "garçon déjà Übung Ñandú Øst",
        "10 Â° déjà",  # partly genuine: left alone rather than guessed at
        "£5 ½ © ® « » ±",
        "Ελληνικά, русский, 中文, 日本語, العربية, हिन्दी",
        "emoji 👩‍👩‍👧 with joiners, flags 🇫🇷",
        "tabs\tstay\nand lines",
    ],
)
def test_sound_text_is_left_alone(text):
    assert repair(text) == text


def test_controls_marks_surrogates_and_terminal_colours_go():
    assert repair("\ufeffa\x00b\x07c\x7f\x9fd\ufeff") == "abcd"
    assert repair("\ud83d\ude00 \ud83d.\udc00") == "😀 ."
    assert repair("\x1b[1;31mred\x1b[0m") == "red"
    assert repair("page\x0cpage\x85line") == "page\npage\nline"


@given(nasty)
@settings(max_examples=300)
def test_every_text_step_is_idempotent_and_leaves_utf8(text):
    for change in (
        repair,
        lambda t: normalise(t, "NFC"),
        lambda t: normalise(t, "NFKC"),
        lambda t: whitespace(t, 0),
        lambda t: whitespace(t, 2),
    ):
        once = change(text)
        assert change(once) == once
    repair(text).encode("utf-8")


@given(nasty)
def test_cleaning_keeps_the_id_and_gives_one_item_for_each(text):
    document = collected(text, "a")
    (item,) = clean.apply([document], DEFAULT)
    assert (item.id if isinstance(item, Document) else item.document.id) == document.id
    if isinstance(item, Document):
        assert item.text
        item.text.encode("utf-8")


@given(st.text(st.characters(codec="utf-8")))
def test_normal_forms_are_those_of_the_standard_library(text):
    for form in ("NFC", "NFKC"):
        assert normalise(text, form) == unicodedata.normalize(form, text)


def test_whitespace_keeps_the_grammar_of_code():
    source = "def f():\r\n\treturn 1   \r\n\r\n\r\n\r\n\r\n    # four blanks\u00a0\r\n"
    assert whitespace(source, 2) == "def f():\n\treturn 1\n\n\n    # four blanks\n"
    assert whitespace("\n\n  first line indented\n \n", 2) == "  first line indented\n"
    assert whitespace("a\n\n\nb", 0) == "a\nb"
    assert whitespace(" \n\t\n", 2) == ""


def test_hostile_text_takes_linear_time(within):
    size = 300_000
    hostile = [
        "a" + " " * size + "b",
        "\n \n" * size,
        "Ã" * size,
        "\x1b[" + "1;" * size,
        "e" + "\u0301\u0323" * size,
    ]
    with within(10):  # quadratic time would be hours
        for text in hostile:
            whitespace(normalise(repair(text), "NFC"), 2)


def test_length_counts_characters():
    assert one("你好", LengthStep(least=2, most=2)).text == "你好"
    short, long = one("", LengthStep()), one("abc", LengthStep(most=2))
    assert (short.step, short.reason, short.detail) == ("length", "is shorter than 1 characters", "0")
    assert long.reason == "is longer than 2 characters"


def test_exact_duplicates_name_the_first():
    documents = [collected(text, str(n)) for n, text in enumerate(["a", "b ", "b", "a", "c"])]
    items = list(clean.apply(documents, (WhitespaceStep(), ExactDuplicatesStep())))
    assert [isinstance(item, Document) for item in items] == [True, True, False, False, True]
    assert items[2].detail == f"id {documents[1].id}"
    assert items[3].detail == f"id {documents[0].id}"
    assert documents[1].id != documents[2].id  # ids are of the text as collected


@given(st.lists(st.integers(0, 400), max_size=3000))
@settings(max_examples=20, deadline=None)
def test_the_table_of_hashes_is_a_dictionary(keys):
    seen, expected = Seen(), {}
    for at, key in enumerate(keys):
        # Few different first words, so that entries collide and wrap around.
        digest = (key % 5).to_bytes(8, "little") + (key * 7 + 1).to_bytes(8, "little")
        name = f"{at:032x}"
        assert seen.add(digest, name) == expected.get(digest)
        expected.setdefault(digest, name)
    assert len(seen) == len(expected)


def test_the_table_of_hashes_grows():
    from textmill.base.files import content_id

    seen = Seen()
    names = [content_id(str(n)) for n in range(5000)]
    assert all(seen.add(bytes.fromhex(name), name) is None for name in names)
    assert all(seen.add(bytes.fromhex(name), "0" * 32) == name for name in names)


def test_what_was_set_aside_passes_through_untouched():
    gone = Rejected(None, "a", "read", "is damaged")
    assert list(clean.apply([gone], DEFAULT)) == [gone]


def test_a_step_that_loses_a_document_is_caught(monkeypatch):
    monkeypatch.setitem(
        clean.STEPS, RepairStep, lambda spec: lambda items: (i for n, i in enumerate(items) if n)
    )
    with pytest.raises(TextmillError, match="2 documents went in and 1 came out"):
        list(clean.apply([collected("a", "a"), collected("b", "b")], (RepairStep(), UnicodeStep())))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/b.TXT", ".txt"),
        ("a.zip!b/c.jsonl:line 3", ".jsonl"),
        ("a.tar.gz", ".gz"),
        ("Makefile", ""),
        (".hidden", ""),
        ("x.parquet:row 12", ".parquet"),
        ("python-stdlib:os.py", ".py"),
        ("python-stdlib:pydoc_data/topics.py:topic with", ".py"),
        ("odd: name.md", ".md"),
    ],
)
def test_endings_of_places(source, expected):
    assert ending(source) == expected


@given(st.text())
def test_names_become_printable(name):
    clear = printable(name)
    assert clear.isprintable()
    clear.encode("utf-8")


def test_separators_of_records_and_fields_part_what_they_parted():
    assert repair("name\x1fvalue\x1ename\x1fother\x1d\x00end") == "name\tvalue\nname\tother\nend"
    assert repair("é\x1fvalue\x1cmore") == "é\tvalue\nmore"


def test_nltk_leaves_quotation_marks_as_they_are():
    pytest.importorskip("nltk")
    [item] = clean.apply([collected('He said "yes" (now).', "a")], (SegmentStep(by="nltk"),))
    assert item.text == 'He said " yes " ( now ) .'
