"""Texts with labelled spans, as four tools export them."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.records import kept, read, skipped
from textmill.text import marks

TEXT = "Zoë lives in Bern. 张三在北京"
SPANS = [(0, 3, "PER"), (13, 17, "LOC"), (19, 21, "PER"), (22, 24, "LOC")]
TAGS = "B-PER O O B-LOC O B-PER I-PER O B-LOC I-LOC"


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def objects(start="start", end="end", **more):
    return [{start: a, end: b, "label": label, **more} for a, b, label in SPANS]


STUDIO = [
    {"value": {"start": a, "end": b, "text": TEXT[a:b], "labels": [label]}, "type": "labels"}
    for a, b, label in SPANS
]


@pytest.mark.parametrize(
    "record",
    [
        {
            "text": TEXT,
            "spans": objects(token_start=0),
            "tokens": [{"text": "Zoë"}],
            "answer": "accept",
        },  # Prodigy
        {
            "id": 1,
            "text": TEXT,
            "entities": objects("start_offset", "end_offset", id=3),
            "relations": [],
        },  # doccano
        {"text": TEXT, "label": [list(span) for span in SPANS]},  # doccano, simple
        {"text": TEXT, "ents": objects(), "title": None},  # spaCy's displacy
        [TEXT, {"entities": SPANS}],  # spaCy's training data
        {
            "id": 1,
            "data": {"text": TEXT},
            "annotations": [{"result": STUDIO, "was_cancelled": False}],
        },  # Label Studio
        {"text": TEXT, "label": [one["value"] for one in STUDIO], "annotator": 1},  # Label Studio, JSON-MIN
    ],
)
def test_each_tools_export_gives_the_same(tmp_path, record):
    item, _ = read(tmp_path, {"a.jsonl": lines(record, {"text": "a", "spans": []})}, format="spans")
    assert item.text == TEXT
    assert item.metadata["tags"] == TAGS
    assert marks.spans_of(item.metadata) == SPANS
    assert len(marks.words_of(item.text, item.metadata)) == len(TAGS.split())


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        ({"text": TEXT, "spans": [[1, 3, "PER"]]}, "has a span that cuts a word", "characters 1 to 3, 'oë', PER"),
        ({"text": TEXT, "spans": [[0, 3, "A"], [0, 9, "B"]]}, "has spans that overlap", "characters 0 to 9"),
        ({"text": TEXT, "spans": [[0, 99, "A"]]}, "has a span outside its text", "0 to 99 of 24"),
        ({"text": TEXT, "spans": [{"start": 0, "end": 3, "label": "A", "text": "Joe"}]},
         "has a span whose text differs", "'Joe'"),
        ({"text": TEXT, "spans": [{"start": 0, "label": "A"}]}, "has a span without start and end", "start"),
        ({"text": TEXT, "spans": [[0, 3, ["A", "B"]]]}, "has a span without exactly one label", "'A', 'B'"),
        ({"text": TEXT}, "has no spans", "it has text"),
        ({"text": TEXT, "answer": "reject"}, "was not accepted", "reject"),
        ({"data": {"text": TEXT}, "annotations": [{"result": [], "was_cancelled": True}]}, "was not annotated", ""),
        ({"spans": []}, "has no text", ""),
        ([1, 2], "is not a record", "JSON object"),
    ],
)  # fmt: skip
def test_what_is_wrong_costs_its_record_alone_and_says_where(tmp_path, record, reason, detail):
    wrong, right = read(tmp_path, {"a.jsonl": lines(record, {"text": "Bern", "spans": []})}, format="spans")
    assert (wrong.source, wrong.reason) == ("a.jsonl:line 1", reason)
    assert detail in wrong.detail
    assert (right.text, right.metadata["tags"]) == ("Bern", "O")


WORD = st.text(st.characters(categories=["L"], max_codepoint=0x24F), min_size=1, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(WORD, st.sampled_from([" ", "  ", ". ", "-"]), st.sampled_from(["", "A", "B c"])),
        max_size=8,
    )
)
def test_spans_of_whole_words_become_their_tags(tmp_path, pieces):
    text, spans, expected = "", [], []
    for word, gap, label in pieces:
        if label:
            spans.append({"start": len(text), "end": len(text) + len(word), "label": label})
        expected += [f"B-{label.replace(' ', '_')}" if label else "O", *["O"] * len(gap.strip())]
        text += word + gap
    items = read(tmp_path, {"a.json": json.dumps([{"text": text, "spans": spans}])}, format="spans")
    if not text.strip():
        assert skipped(items) == [("a.json:item 1", "has no text")]
    else:
        assert kept(items)[0].metadata["tags"].split() == expected
