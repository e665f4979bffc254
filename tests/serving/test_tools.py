"""An answer taken apart while it comes, however it is cut; and the grammar of calls, by llguidance itself."""

from __future__ import annotations

import json

import pytest

from textmill.serving.tools import Offer, Pieces, taken_apart
from textmill.tokenization.chat.tools import Call

ADD = {
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/whole"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"whole": {"type": "integer"}},
    },
}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
ONE = Call("add", {"a": 1})
ANSWERS = {
    "words": ("Hello < there", "Hello < there", "", []),
    "a call": (CALL, "", "", [ONE]),
    "words and calls": (f"Let me see. {CALL}\n{CALL}", "Let me see. ", "", [ONE, ONE]),
    "a call that is not ended": (CALL.removesuffix("</tool_call>"), "", "", [ONE]),
    "a call that is none": ("<tool_call>what</tool_call>", "<tool_call>what</tool_call>", "", []),
    "a call cut off": ("a <tool_call>\n{", "a <tool_call>\n{", "", []),
    "JSON alone": ('{"name": "add", "parameters": {"a": 1}}', "", "", [ONE]),
    "JSON that is no call": ('{"a": 1}', '{"a": 1}', "", []),
    "thought": ("<think>\nhm\n</think>\n\nYes", "Yes", "hm\n", []),
    "thought and a call": (f"<think>hm</think>{CALL}", "", "hm", [ONE]),
    "a mark that is another": ("<thinking> <tool_cal", "<thinking> <tool_cal", "", []),
    "nothing": ("", "", "", []),
    "blanks": ("  \n", "  \n", "", []),
}


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_answer_is_taken_apart(case, size):
    text, said, thought, calls = ANSWERS[case]
    assert taken_apart(Pieces(calls=True, thinks=True), text) == (said, thought, calls)
    pieces = Pieces(calls=True, thinks=True)
    found = [one for at in range(0, len(text), size) for one in pieces.push(text[at : at + size])]
    found += pieces.finish()
    assert "".join(one[1] for one in found if not isinstance(one, Call) and one[0] == "text") == said
    assert [one for one in found if isinstance(one, Call)] == calls


def test_words_are_held_back_only_where_they_may_be_a_mark():
    pieces = Pieces(calls=True)
    assert pieces.push("Hello <") == [("text", "Hello ")]
    assert pieces.push("b>") == [("text", "<b>")]
    assert Pieces().push("<tool_call>") == [("text", "<tool_call>")]


ALLOWED = {
    "auto": (
        Offer((ADD,)),
        {"hello <b>": True, CALL: True, f"Hm. {CALL}\n{CALL}": True, "<tool_call>no": False},
    ),
    "one call at most": (Offer((ADD,), parallel=False), {CALL: True, f"{CALL}\n{CALL}": False}),
    "required": (Offer((ADD,), "required"), {"hello": False, CALL: True, CALL.replace("1", '"1"'): False}),
    "named": (
        Offer((ADD, {"name": "other"}), "required", "add", False),
        {CALL: True, CALL.replace("add", "other"): False},
    ),
    "any of two": (
        Offer((ADD, {"name": "other"}), "required"),
        {CALL: True, '<tool_call>\n{"name": "other", "arguments": {}}\n</tool_call>': True},
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_the_grammar_of_calls(case):
    llguidance = pytest.importorskip("llguidance")
    offer, answers = ALLOWED[case]
    constraint = offer.constraint()
    assert constraint.kind == "grammar"
    for text, allowed in answers.items():
        matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), constraint.text)
        assert not matcher.is_error(), matcher.get_error()
        ids = list(text.encode())
        whole = matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()
        assert whole == allowed, text
    assert json.loads(json.dumps(offer.plain()))[0]["type"] == "function"
