"""How templates write calls: found out by asking them, and read again as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.chat_templates import CALLING, CALLING_CONTROL, CONTROL, NAMES, TEMPLATES, tokenizer_with
from textmill.tokenization.chat.calls import HERMES, HOLE, form_of
from textmill.tokenization.chat.template import DEFAULT, ChatTemplate
from textmill.tokenization.chat.tools import Call, spelt_out

ALL = TEMPLATES | CALLING | {"default": DEFAULT}
ID = HOLE * 9
FORMS = {
    "hermes": HERMES.parts,
    "llama": ('{"name": "', '", "parameters": ', "", "}"),
    "mistral": (
        '[TOOL_CALLS] [{"name": "',
        '", "arguments": ',
        f', "id": "{ID}"}}, {{"name": "',
        f', "id": "{ID}"}}]',
    ),
    "tekken": ("[TOOL_CALLS]", f"[CALL_ID]{ID}[ARGS]", "[TOOL_CALLS]", ""),
    "deepseek": (
        "<|calls|><|call|>function<|sep|>",
        "\n```json\n",
        "\n```<|/call|>\n<|call|>function<|sep|>",
        "\n```<|/call|><|/calls|>",
    ),
    "function": ("<function=", ">", "", "</function>"),
    "compact": ('<call>{"name":"', '","arguments":', '}</call><call>{"name":"', "}</call>"),
    "spread": ("<call>", "\n", "</call><call>", "</call>"),
}
MARKS = {
    "hermes": "<tool_call>",
    "llama": "",
    "mistral": "[TOOL_CALLS]",
    "tekken": "[TOOL_CALLS]",
    "deepseek": "<|calls|><|call|>function<|sep|>",
    "function": "<function=",
}


def template_and_tokenizer(name):
    special = CALLING_CONTROL.get(name) or CONTROL.get(
        name, ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    )
    return ChatTemplate(ALL[name], NAMES), tokenizer_with(special)


@pytest.fixture(scope="module")
def templates():
    """Of each name: its template, tokenizer and form."""
    made = {name: template_and_tokenizer(name) for name in ALL}
    yield {name: (template, form_of(template, tokenizer)) for name, (template, tokenizer) in made.items()}
    for template, _ in made.values():
        template.close()


@pytest.mark.parametrize("name", ALL)
def test_the_form_is_found(templates, name):
    form = templates[name][1]
    assert form.parts == FORMS.get(name, HERMES.parts)
    assert form.mark == MARKS.get(name, form.mark)
    assert form.separators == {"compact": (",", ":"), "spread": None}.get(name, (", ", ": "))
    assert (form.between is None) == (name in ("llama", "function"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["</tool_call>", "[ARGS]", '"}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(
        Call,
        st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True),
        st.dictionaries(st.text(max_size=6), VALUES, max_size=3),
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=25, deadline=None)
@given(calls=CALLS)
def test_what_a_template_writes_is_read_again(templates, name, calls):
    template, form = templates[name]
    calls = calls if form.between is not None else calls[:1]
    told = [one.plain() | {"id": f"id{number:07}"} for number, one in enumerate(calls)]
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": told}]
    messages, _ = spelt_out(template, talk)
    said = template.render(messages, False)[len(template.render(messages[:1], False)) :]
    assert form.calls(said) == calls


def test_special_tokens_vanish_from_a_text():
    template, tokenizer = template_and_tokenizer("tekken")
    form = form_of(template, tokenizer)
    assert set(form.special(tokenizer).values()) == {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"}
    text = 'addabcdefghi{"a": 1}'
    assert form.shown(tokenizer).middle == ID
    assert form.calls(text) == []
    template.close()


UNREADABLE = {
    "arguments as XML": "<a={{ f.name }}>{% for k, v in f.arguments.items() %}<p={{ k }}>{{ v }}</p>{% endfor %}</a>",
    "Python's own way": "{{ f.name }}{{ f.arguments }}",
    "arguments before the name": "<call>{{ f.arguments | tojson }} {{ f.name }}</call>",
    "nothing around it": "{{ f.name }} {{ f.arguments | tojson }}",
    "a mistake": "{{ f.nothing.at.all }}",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_form_that_nobody_can_tell_is_hermes(case):
    source = CALLING["function"].replace(
        "<function={{ f.name }}>{{ f.arguments | tojson }}</function>", UNREADABLE[case]
    )
    assert source != CALLING["function"]
    template = ChatTemplate(source, NAMES)
    assert form_of(template, tokenizer_with(CALLING_CONTROL["function"])) == HERMES
    template.close()
