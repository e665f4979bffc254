"""Documents of one text and of several: their ids, and what a step may leave of them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from textmill.base.files import content_id
from textmill.text.document import Document, Rejected, collected, document_id, rewritten

ROLES = st.text(max_size=4) | st.sampled_from(["text", "source", "target", "question"])
TEXTS = st.text(max_size=6) | st.sampled_from(["\ud83d\ude00", "😀", '", "b": "', "a", ""])


@given(
    st.dictionaries(ROLES, TEXTS, min_size=1, max_size=3),
    st.dictionaries(ROLES, TEXTS, min_size=1, max_size=3),
)
def test_ids_are_equal_only_where_roles_and_texts_are(one, other):
    assert (document_id(one) == document_id(other)) == (one == other)


@given(st.permutations(["source", "target", "question"]), st.permutations(["a", "b", "c"]))
def test_who_says_what_is_part_of_an_id(roles, texts):
    told = dict(zip(roles, texts, strict=True))
    plain = {"source": "a", "target": "b", "question": "c"}
    assert (document_id(told) == document_id(plain)) == (told == plain)
    assert document_id(told) == document_id(dict(sorted(told.items())))


@given(TEXTS, st.dictionaries(ROLES, TEXTS, min_size=2, max_size=3))
def test_a_text_alone_has_the_id_it_always_had(text, several):
    assert collected(text, "").id == collected({"text": text}, "").id == content_id(text)
    assert collected({"target": text}, "").id != content_id(text)
    written = json.dumps(several, sort_keys=True, ensure_ascii=False)
    assert document_id(several) != document_id({"text": written})


def test_questions_about_one_passage_have_ids_of_their_own():
    passage = "The mill stands by the river."
    ids = {collected({"passage": passage, "question": q}, "").id for q in ("Where?", "What?", "Who?")}
    assert len(ids) == 3


def test_what_a_document_says_of_its_texts():
    pair = collected({"source": "Größe", "target": "大小"}, "a")
    assert (pair.text, pair.whole, pair.characters, pair.bytes) == ("Größe", "Größe\n\n大小", 7, 13)
    alone = "one text"
    assert collected(alone, "a").whole is alone  # no copy is made of it


def test_a_text_that_is_left_blank_is_named():
    pair = collected({"source": "a", "target": "b", "note": " "}, "a")
    aside = rewritten(pair, {"source": "a", "target": " \n", "note": ""}, "step")
    assert isinstance(aside, Rejected)
    assert (aside.document, aside.step, aside.reason) == (pair, "step", "has no target left")
    changed = rewritten(pair, {"source": "c", "target": "b", "note": ""}, "step")  # the note was blank before
    assert changed == Document(pair.id, {"source": "c", "target": "b", "note": ""}, "a")
