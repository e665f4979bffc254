"""SQuAD 1.1 and 2.0, nested and one question a record."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.records import kept, read, skipped
from textmill.specs.corpus import RecordSpec
from textmill.text.marks import spans_of

ROLES = ("passage", "question", "answer")
ANSWERS = RecordSpec(several=("answer",))
PASSAGE = "The mill stands by the river. The river is wide."


def squad(*asked, passage=PASSAGE):
    return json.dumps(
        {"version": "v2.0", "data": [{"title": "Mills", "paragraphs": [{"context": passage, "qas": asked}]}]}
    )


def question(number, *answers, **more):
    listed = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": f"q{number}", "question": f"Question {number}?", "answers": listed, **more}


def of(tmp_path, data, **more):
    return read(tmp_path, {"a.json": data}, ANSWERS, format="squad", text_fields=ROLES, **more)


def test_several_answers_and_questions_without_one(tmp_path):
    data = squad(
        question(1, ("the river", 19), ("river", 34), ("the river", 19)),
        question(2, is_impossible=True, plausible_answers=[{"text": "mill", "answer_start": 4}]),
    )
    first, second = of(tmp_path, data)
    assert first.source == "a.json:article 1 paragraph 1 question 1"
    assert dict(first.texts) == {
        "passage": PASSAGE,
        "question": "Question 1?",
        "answer": "the river",
        "answer 2": "river",
    }
    assert [PASSAGE[start:end] for start, end, _ in spans_of(first.metadata)] == ["the river", "river"]
    assert spans_of(first.metadata)[1][0] == 34  # the second river, as it says
    assert (first.metadata["title"], first.metadata["id"]) == ("Mills", "q1")
    assert set(second.texts) == {"passage", "question"}
    assert second.metadata["answerable"] == "false"


def test_answers_that_are_not_where_they_say_cost_their_question(tmp_path):
    data = squad(
        question(1, ("river", 20)), question(2, ("lake", 4)), question(3, ("", 0)), question(4, ("mill", 4))
    )
    items = of(tmp_path, data)
    assert [reason for _, reason in skipped(items)] == [
        "has an answer_start that is wrong",
        "has an answer that does not occur in the passage",
        "has an answer that is not text",
    ]
    assert "character 20 is at" in items[0].detail
    assert [item.texts["answer"] for item in kept(items)] == ["mill"]


def test_one_question_a_record(tmp_path):
    flat = {
        "id": 7,
        "context": PASSAGE,
        "question": "Where?",
        "answers": {"text": ["river"], "answer_start": [23]},
    }
    none = flat | {"answers": {"text": [], "answer_start": []}}
    plain = {"passage": PASSAGE, "question": "Where?", "answer": "river", "level": "easy"}
    data = "".join(json.dumps(record) + "\n" for record in (flat, none, plain))
    first, second, third = read(tmp_path, {"a.jsonl": data}, ANSWERS, format="squad", text_fields=ROLES)
    assert [item.texts.get("answer") for item in (first, second, third)] == ["river", None, "river"]
    assert (first.metadata["id"], third.metadata["level"]) == ("7", "easy")
    assert first.source == "a.jsonl:line 1"


def test_what_is_no_article_counts_once(tmp_path):
    data = json.dumps(
        {"data": [5, {"paragraphs": [None, {"context": PASSAGE, "qas": ["x", {"question": ""}]}]}]}
    )
    assert [reason for _, reason in skipped(of(tmp_path, data))] == [
        "is not an article", "is not a paragraph", "is not a question", "has no question",
    ]  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("abc d", min_size=1, max_size=30).filter(str.strip), st.data())
def test_what_is_written_is_read(tmp_path, passage, data):
    """Every answer is found where it was put, and each wrong one counts once."""
    asked, right = [], []
    for number in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(passage) - 1))
        text = passage[start : data.draw(st.integers(start + 1, len(passage)))]
        wrong = data.draw(st.booleans())
        asked.append(question(number, (text + "!" if wrong else text, start)))
        if text.strip() and not wrong:
            right.append((text, start + len(text) - len(text.lstrip())))
    items = of(tmp_path, squad(*asked, passage=passage))
    assert len(items) == len(asked)
    found = [(item.texts["answer"], spans_of(item.metadata)[0][0]) for item in kept(items)]
    assert found == right
