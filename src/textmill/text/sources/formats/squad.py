"""Questions about passages, as SQuAD has them (Rajpurkar et al. 2016, 2018), nested or one question a record.

    {"version": …, "data": [{"title": …, "paragraphs": [{"context": …, "qas": [
        {"id": …, "question": …, "answers": [{"text": …, "answer_start": 17}], "is_impossible": false}]}]}]}
    {"id": …, "context": …, "question": …, "answers": {"text": ["…"], "answer_start": [17]}}

Each question is a document. An answer whose `answer_start` does not hold, as in copies that were cleaned or translated,
costs its question: nobody knows which place was meant. Without `answer_start` it is the first place.
A question without an answer has none: it has no answer text, and the metadata `answerable` says `false`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textmill.text.document import Document, Rejected, collected
from textmill.text.marks import SPANS, written
from textmill.text.sources.formats.records import metadata_of, said, unread, utf8, value_of
from textmill.text.sources.formats.stream import Fields, SetAside

_ROLES = ("passage", "question", "answer")
ANSWER = "answer"  # what a span is that answers


def documents(record: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    """The questions of a record, each at its place: `:article 2 paragraph 1 question 3` of nested ones."""
    if not isinstance(record, dict):
        yield unread(location, "is not a record", "a JSON object was expected")
    elif isinstance(record.get("data"), list):
        for number, article in enumerate(record["data"], 1):
            yield from _article(article, f"{location}:article {number}", fields)
    elif "paragraphs" in record:
        yield from _article(record, location, fields)
    elif "qas" in record:
        yield from _paragraph(record, location, {}, fields)
    else:
        columns = {name: fields.column(role, _flat(record, name)) for name, role in _roles(fields).items()}
        known = {name: value_of(record, column) for name, column in columns.items()}
        known["is_impossible"] = record.get("is_impossible")
        facts = metadata_of(record, fields, {*columns.values(), "answers", "is_impossible"})
        yield _question(known | {"answers": record.get("answers", known["answer"])}, location, facts, fields)


def _roles(fields: Fields) -> dict[str, str]:
    """What the objective calls passage, question and answer."""
    roles = [role for role, _ in fields.texts]
    return dict(zip(_ROLES, roles if len(roles) == len(_ROLES) else _ROLES, strict=True))


def _flat(record: Mapping[str, Any], name: str) -> str:
    """What a column of questions is usually called."""
    return "context" if name == "passage" and name not in record else name


def _article(article: Any, location: str, fields: Fields) -> Iterator[Document | Rejected]:
    paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
    if not isinstance(paragraphs, list):
        yield unread(location, "is not an article", "an object with paragraphs was expected")
        return
    title = {"title": utf8(article["title"])} if isinstance(article.get("title"), str) else {}
    for number, paragraph in enumerate(paragraphs, 1):
        yield from _paragraph(paragraph, f"{location} paragraph {number}", title, fields)


def _paragraph(
    paragraph: Any, location: str, facts: Mapping[str, str], fields: Fields
) -> Iterator[Document | Rejected]:
    asked = paragraph.get("qas") if isinstance(paragraph, dict) else None
    if not isinstance(asked, list):
        yield unread(location, "is not a paragraph", "an object with context and qas was expected")
        return
    for number, one in enumerate(asked, 1):
        place = f"{location} question {number}"
        if not isinstance(one, dict):
            yield unread(place, "is not a question", "an object was expected")
            continue
        name = said(one.get("id"))
        more = {"id": utf8(name)} if name else {}
        yield _question(one | {"passage": paragraph.get("context")}, place, {**facts, **more}, fields)


def _question(
    known: Mapping[str, Any], location: str, facts: Mapping[str, str], fields: Fields
) -> Document | Rejected:
    """The document of a question, or what is wrong with it."""
    passage_role, question_role, answer_role = _roles(fields).values()
    passage, question = known["passage"], known.get("question")
    if not isinstance(passage, str) or not passage.strip():
        return unread(location, f"has no {passage_role}")
    if not isinstance(question, str) or not question.strip():
        return unread(location, f"has no {question_role}")
    passage = utf8(passage)
    texts = {passage_role: passage, question_role: utf8(question)}
    try:
        answers = list(dict.fromkeys(_answers(known.get("answers"))))
        if known.get("is_impossible") in (True, "true", "True"):
            answers = []
        places = [_place(passage, text, start) for text, start in answers]
    except SetAside as error:
        return unread(location, error.reason, error.detail)
    for text, _ in answers:
        role = answer_role if answer_role not in texts else f"{answer_role} {len(texts) - 1}"
        if text not in list(texts.values())[2:]:
            texts[role] = text
    more = {SPANS: written([(*place, ANSWER) for place in places])} if places else {"answerable": "false"}
    return collected(texts, location, {**facts, **more})


def _answers(value: Any) -> Iterator[tuple[str, int | None]]:
    """(text, where it begins) of each answer, however they are written."""
    if isinstance(value, dict) and "text" in value:
        listed = value["text"] if isinstance(value["text"], list) else [value["text"]]
        starts = value.get("answer_start")
        starts = starts if isinstance(starts, list) else [starts] * len(listed)
        pairs = list(zip(listed, starts, strict=False)) if len(starts) == len(listed) else [(None, None)]
    elif isinstance(value, list):
        pairs = [(a.get("text"), a.get("answer_start")) if isinstance(a, dict) else (a, None) for a in value]
    else:
        pairs = [] if value is None else [(value, None)]
    for text, start in pairs:
        if not isinstance(text, str) or not text.strip():
            raise SetAside("has an answer that is not text")
        yield utf8(text), start if isinstance(start, int) and not isinstance(start, bool) else None


def _place(passage: str, answer: str, start: int | None) -> tuple[int, int]:
    """Where an answer stands. Raises SetAside where it stands nowhere, or not where it is said to."""
    wanted = answer.strip()
    lead = len(answer) - len(answer.lstrip())
    if start is not None and start >= 0 and passage[start + lead : start + lead + len(wanted)] == wanted:
        return start + lead, start + lead + len(wanted)
    found = passage.find(wanted)
    if found < 0:
        raise SetAside("has an answer that does not occur in the passage", repr(wanted[:60]))
    if start is not None:
        there = passage[start : start + len(wanted)] if start >= 0 else ""
        raise SetAside(
            "has an answer_start that is wrong",
            f"character {start} is at {there[:60]!r}, not {wanted[:60]!r}",
        )
    return found, found + len(wanted)
