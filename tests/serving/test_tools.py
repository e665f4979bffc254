"""An answer taken apart while it comes, however it is cut; and the grammar of calls, by llguidance itself."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.chat_templates import CALLING, CALLING_CONTROL, NAMES, tokenizer_with
from textmill.decoding.stop_strings import Spelling
from textmill.inference.constraints import Grammars, Matcher
from textmill.inference.requests import Constraint
from textmill.serving.tools import Offer, Pieces, taken_apart
from textmill.tokenization.chat.calls import HERMES, form_of
from textmill.tokenization.chat.template import ChatTemplate
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
    "JSON alone": (
        '{"name": "add", "arguments": {"a": 1}}',
        '{"name": "add", "arguments": {"a": 1}}',
        "",
        [],
    ),
    "a mark within an argument": (
        CALL.replace("1", '"</tool_call>"'),
        "",
        "",
        [Call("add", {"a": "</tool_call>"})],
    ),
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
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    pieces = Pieces(HERMES, thinks=True)
    assert taken_apart(pieces, parts) == (said, thought, calls)
    if thought and size == 1:
        assert pieces.thought == text.index("</think>") + len("</think>")


def test_words_are_held_back_only_where_they_may_be_a_mark():
    pieces = Pieces(HERMES)
    assert pieces.push("Hello <") == [("text", "Hello ")]
    assert pieces.push("b>") == [("text", "<b>")]
    assert Pieces().push("<tool_call>") == [("text", "<tool_call>")]


def test_a_prompt_that_ends_within_a_thought():
    pieces = Pieces.begun(None, True)
    assert taken_apart(pieces, ["\n", "hm", "</think>", "\n\n", "Yes"]) == ("Yes", "hm", [])
    assert pieces.thought == 3


ALLOWED = {
    "auto": (
        Offer((ADD,)),
        {"hello <b>": True, CALL: True, f"Hm. {CALL[:-12]}{CALL}": False, "<tool_call>no": False, "": True},
    ),
    "several": (
        Offer((ADD,)),
        {f"{CALL}\n{CALL}": True, f"Hm. {CALL}\n{CALL}\n{CALL}": True, f"{CALL} and": False},
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
    "a schema that is none of an object": (
        Offer(({"name": "add", "parameters": {"title": "any"}},), "required"),
        {CALL: True, CALL.replace('{"a": 1}', "[1]"): False},
    ),
}


def allows(constraint: Constraint, text: str) -> bool:
    llguidance = pytest.importorskip("llguidance")
    assert constraint.kind == "grammar"
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), constraint.text)
    assert not matcher.is_error(), matcher.get_error()
    ids = list(text.encode())
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


@pytest.mark.parametrize("case", ALLOWED)
def test_the_grammar_of_calls(case):
    offer, answers = ALLOWED[case]
    constraint = offer.constraint()
    for text, allowed in answers.items():
        assert allows(constraint, text) == allowed, text
    assert json.loads(json.dumps(offer.plain()))[0]["type"] == "function"


TALL = {
    "type": "object",
    "properties": {"tall": {"type": "boolean"}},
    "required": ["tall"],
    "additionalProperties": False,
}
BARE = '{"name": "add", "parameters": {"a": 1}}'


def test_an_answer_calls_or_follows_a_schema():
    """In one grammar: a call, or what the schema allows; text that is neither is not."""
    content = Constraint("json_schema", json.dumps(TALL))
    constraint = Offer((ADD,)).constraint(HERMES, content)
    answers = {CALL: True, '{"tall": true}': True, "hello": False, f"Hm. {CALL}": False, '{"tall": 1}': False}
    assert {text: allows(constraint, text) for text in answers} == answers
    only = Offer((ADD,), "required").constraint(HERMES, content)
    assert not allows(only, '{"tall": true}')


def test_what_begins_as_a_call_is_one_where_calls_are_json_and_no_more(forms):
    form = forms["llama"][1]
    constraint = Offer((ADD,)).constraint(form)
    answers = {
        BARE: True,
        "hello {": True,
        '{"tall": 1}': True,
        f"Hm. {BARE}": True,
        '{ "name" : "x"}': False,
        BARE.replace("1", "null"): False,
    }
    assert {text: allows(constraint, text) for text in answers} == answers
    assert taken_apart(Pieces(form), [BARE]) == ("", "", [ONE])
    assert taken_apart(Pieces(form), [*BARE]) == ("", "", [ONE])
    assert taken_apart(Pieces(form), [f"Hm. {BARE}"]) == (f"Hm. {BARE}", "", [])
    assert Pieces(form).push('{"tall') == [("text", '{"tall')]


def test_json_of_a_schema_that_looks_like_a_call_is_judged(forms):
    form = forms["llama"][1]
    calls = Offer((ADD,), "required").constraint(form)
    judged = BARE.replace("1", "null")
    for text, right in (
        (BARE, ("", "", [ONE])),
        (judged, (judged, "", [])),
        ('{"tall": 1}', ('{"tall": 1}', "", [])),
    ):
        pieces = Pieces(form, judge=lambda text: allows(calls, text))
        assert taken_apart(pieces, [*text]) == right


@pytest.fixture(scope="module")
def forms():
    """Of each template that writes calls: its tokenizer, form and template."""
    made = {}
    for name, source in CALLING.items():
        template, tokenizer = ChatTemplate(source, NAMES), tokenizer_with(CALLING_CONTROL[name])
        made[name] = (tokenizer, form_of(template, tokenizer), template)
    yield made
    for _, _, template in made.values():
        template.close()


FUNCTIONS = (
    {"name": "add", "parameters": ADD["parameters"]},
    {"name": "add_all", "parameters": {"properties": {"to": {"type": "string"}}, "required": ["to"]}},
    {"name": "no"},
)
CALLS = st.lists(
    st.one_of(
        st.builds(lambda a: Call("add", {"a": a}), st.integers(-99, 99)),
        st.builds(
            lambda to: Call("add_all", {"to": to}),
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
        ),
        st.just(Call("no", {})),
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("name", CALLING)
@settings(max_examples=15, deadline=None)
@given(calls=CALLS, before=st.sampled_from(["", "Let me see. "]))
def test_a_call_in_a_models_own_form_is_allowed_and_read(forms, name, calls, before):
    """What the template writes is of the grammar, token by token, and taken apart as it comes: the same calls."""
    pytest.importorskip("llguidance")
    tokenizer, form, template = forms[name]
    calls, before = (calls if form.between else calls[:1]), (before if form.mark else "")
    told = [one.plain() | {"id": f"call{number:05}"} for number, one in enumerate(calls)]
    asked = [{"role": "user", "content": "a"}]
    talk = [*asked, {"role": "assistant", "content": "", "tool_calls": told}]
    ids, begun = template.ids(tokenizer, talk, False), template.ids(tokenizer, asked, True)
    special = {name: token for token, name in form.special(tokenizer).items()}
    ends = {*tokenizer.special.values()} - {*special.values()}
    said = [*tokenizer.encode(before).tolist(), *(token for token in ids[len(begun) :])]
    while said[-1] in ends or tokenizer.token_bytes(said[-1]) == b"\n":
        said.pop()
    constraint = Offer(FUNCTIONS).constraint(form, None, special)
    grammars = Grammars()
    matcher = grammars.compiled(tokenizer, (tokenizer.end,), constraint).result().deep_copy().matcher
    grammars.close()
    if name != "spread":  # where any white space may stand, bytes are more than one way to write it
        assert matcher.validate_tokens(said) == len(said)
    assert matcher.try_consume_tokens(said) == len(said)
    assert matcher.is_accepting()
    stream = Spelling(tokenizer.stream(), form.special(tokenizer))
    parts = [*(stream.push(token) for token in said), stream.finish()]
    assert taken_apart(Pieces(form), parts) == (before, "", calls)


@pytest.mark.parametrize("name", ["tekken", "mistral", "deepseek"])
def test_no_special_token_is_written_but_those_of_a_call(forms, name):
    """Step by step: what the mask allows, the grammar takes."""
    pytest.importorskip("llguidance")
    tokenizer, form, _ = forms[name]
    special = {name: token for token, name in form.special(tokenizer).items()}
    grammars = Grammars()
    constraint = Offer(FUNCTIONS).constraint(form, None, special)
    matcher = Matcher(grammars.compiled(tokenizer, (tokenizer.end,), constraint).result().deep_copy())
    grammars.close()
    logits = torch.zeros(1, tokenizer.vocabulary)
    begins = {
        form.open.index(text): token for token, text in form.special(tokenizer).items() if text in form.open
    }
    first = begins[0]
    for token in (*tokenizer.encode("Hm").tolist(), first):
        allowed = matcher(logits, None)[0].isfinite().nonzero()[:, 0].tolist()
        assert {one for one in allowed if one in tokenizer.special.values()} == {tokenizer.end, first}
        assert not matcher.wrote(token)
    allowed = matcher(logits, None)[0].isfinite().nonzero()[:, 0].tolist()
    assert tokenizer.end not in allowed
    assert first not in allowed
