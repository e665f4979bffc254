"""Entities against seqeval, against an enumeration by hand, and on the tag schemes there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.metrics.score import Bootstrap
from textmill.metrics.tags import by_type, entities, marks_entities, tagged

TAGS = ["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("PER", "LOC"))]
sequences = st.lists(st.sampled_from(TAGS), max_size=12)


@settings(max_examples=300, deadline=None)
@given(sequences)
def test_entities_as_seqeval_reads_them(tags):
    """Any run of tags, also those that cannot be."""
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    assert entities(tags) == [(first, last, kind) for kind, first, last in seqeval.get_entities(list(tags))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1
    )
)
@pytest.mark.filterwarnings("ignore")
def test_scores_as_seqeval_has_them(texts):
    seqeval = pytest.importorskip("seqeval.metrics")
    truth, guess = ([[pair[side] for pair in text] for text in texts] for side in (0, 1))
    scores = tagged(truth, guess, entities_too=True, bootstrap=Bootstrap(5))
    assert scores["word accuracy"].value == pytest.approx(seqeval.accuracy_score(truth, guess))
    for name, measure in (("F1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
        if f"entity {name}" in scores:
            expected = getattr(seqeval, measure)(truth, guess, zero_division=0)
            assert scores[f"entity {name}"].value == pytest.approx(expected)


@st.composite
def proper(draw):
    """Entities that do not overlap, and how BIOES writes them."""
    length = draw(st.integers(1, 15))
    tags, found, place = ["O"] * length, [], 0
    while place < length:
        size, kind = draw(st.integers(0, 4)), draw(st.sampled_from(["A", "B-2"]))
        size = min(size, length - place)
        if size:
            inner = [f"I-{kind}"] * (size - 2)
            tags[place : place + size] = [f"S-{kind}"] if size == 1 else [f"B-{kind}", *inner, f"E-{kind}"]
            found.append((place, place + size - 1, kind))
        place += max(size, 1)
    return tags, found


@settings(max_examples=100, deadline=None)
@given(proper())
def test_every_scheme_says_the_same(case):
    tags, found = case
    assert entities(tags) == found
    swap = str.maketrans({"I": "M"})
    bmes = [tag[0].translate(swap) + tag[1:] for tag in tags]
    bilou = [{"E": "L", "S": "U"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    bio = [{"E": "I", "S": "B"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    assert entities(bmes) == entities(bilou) == entities(bio) == found


def test_words_of_a_segmented_text():
    assert entities(["B", "E", "S", "B", "M", "E"]) == [(0, 1, ""), (2, 2, ""), (3, 5, "")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["B", "M", "E", "S"], True),
        (["B", "I", "O"], True),
        (["I-PER", "O"], True),
        (["NN", "VB", "DT"], False),
        (["O"], False),
        (["I", "E"], False),
        (["B-PER", "S"], False),
        (["ADJ", "B-PER"], False),
        ([], False),
    ],
)
def test_which_tags_are_of_entities(labels, expected):
    assert marks_entities(labels) is expected


def test_types_apart():
    truth = [["B-PER", "O", "B-LOC"], ["B-PER", "I-PER"]]
    guess = [["B-PER", "O", "O"], ["B-PER", "O"]]
    assert by_type(truth, guess) == [
        {"label": "LOC", "precision": None, "recall": 0.0, "F1": 0.0, "entities": 1},
        {"label": "PER", "precision": 0.5, "recall": 0.5, "F1": 0.5, "entities": 2},
    ]


def test_no_entity_anywhere_has_no_f1():
    scores = tagged([["O", "O"]], [["O", "O"]], entities_too=True, bootstrap=Bootstrap(5))
    assert list(scores) == ["word accuracy"]
    assert np.isfinite(scores["word accuracy"].value)
