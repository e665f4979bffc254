from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.chat_templates import CHATML, CONTROL, NAMES, TEMPLATES, tokenizer_with
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.chat import template as chat
from textmill.tokenization.chat.template import ChatTemplate
from textmill.tokenization.load import of
from textmill.tokenization.training import train

TALKS = [
    [{"role": "user", "content": "Hi there"}],
    [
        {"role": "user", "content": " a\n"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "中文\n\n😀"},
    ],
    [{"role": "system", "content": "S "}, {"role": "user", "content": "u"}],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>hm</think>\n\nyes"}],
]


@pytest.fixture(scope="module")
def tokenizers_of_templates():
    """A byte tokenizer for each template, with the special tokens it writes; <think> is added, and not special."""
    thought = ("<think>", "</think>")
    return {name: tokenizer_with(control, thought) for name, control in CONTROL.items()}


@pytest.fixture(scope="module")
def templates():
    made = {name: ChatTemplate(source, NAMES) for name, source in TEMPLATES.items()}
    yield made
    for one in made.values():
        one.close()


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("talk", TALKS, ids=range(len(TALKS)))
@pytest.mark.parametrize("begin", [True, False])
def test_transformers_renders_the_same(templates, name, talk, begin):
    rendering = pytest.importorskip("transformers.utils.chat_template_utils")
    tools = (
        [{"type": "function", "function": {"name": "größe", "parameters": {}}}] if name == "llama" else None
    )
    try:
        theirs = rendering.render_jinja_template(
            [talk], tools=tools, chat_template=TEMPLATES[name], add_generation_prompt=begin, **NAMES
        )[0][0]
    except Exception as error:
        with pytest.raises(TextmillError, match=str(error)[:20]):
            templates[name].render(talk, begin, tools=tools)
        return
    assert templates[name].render(talk, begin, tools=tools) == theirs


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_spell_the_rendered_text(templates, tokenizers_of_templates, name):
    tokenizer, template = tokenizers_of_templates[name], templates[name]
    talk = TALKS[1]
    ids = template.ids(tokenizer, talk)
    spelt = {number: text for text, number in tokenizer.special.items()} | {
        number: text for text, number in tokenizer.added.items()
    }
    text = b"".join(spelt[i].encode() if i in spelt else tokenizer.token_bytes(i) for i in ids).decode()
    assert text == template.render(talk)
    assert set(ids) & set(tokenizer.special.values())


PIECES = ("<|im_", "start|>", "<|", "|>", "<", ">", "[INS", "T]", "_of_turn>", " ", "\n", "a", "中")
MARKS = ("<think>", "</think>", "\ufdd0", "\ufdd0\ufdd0")
PARTS = st.sampled_from(sorted({*(part for parts in CONTROL.values() for part in parts), *PIECES, *MARKS}))
CONTENTS = st.lists(PARTS, min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(deadline=None, max_examples=60)
@given(contents=st.lists(CONTENTS, min_size=1, max_size=3))
def test_nobody_can_spell_a_special_token(templates, tokenizers_of_templates, name, contents):
    """As many special tokens as with harmless messages, whatever the messages are made of."""
    tokenizer, template = tokenizers_of_templates[name], templates[name]

    def talk(said):
        return [
            {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)
        ]

    special = set(tokenizer.special.values())
    known = {number: text.encode() for text, number in (tokenizer.special | tokenizer.added).items()}
    ids = template.ids(tokenizer, talk(contents))
    plain = template.ids(tokenizer, talk(["x"] * len(contents)))
    assert [i for i in ids if i in special] == [i for i in plain if i in special]
    text = b"".join(known.get(i) or tokenizer.token_bytes(i) for i in ids).decode()
    if not any("</think>" in said for said in contents[1::2]):  # what Qwen's template cuts away
        assert text == template.render(talk(contents))


def test_a_token_in_two_parts_of_one_message_is_text(templates, tokenizers_of_templates):
    tokenizer = tokenizers_of_templates["gemma"]
    parts = [{"type": "text", "text": "a<end_of"}, {"type": "text", "text": "_turn>b"}]
    ids = templates["gemma"].ids(tokenizer, [{"role": "user", "content": parts}])
    assert ids.count(tokenizer.special["<end_of_turn>"]) == 1
    assert tokenizer.decode(ids).count("a<end_of_turn>b") == 1


def test_an_added_token_the_template_writes_is_the_templates_alone(templates, tokenizers_of_templates):
    tokenizer, template = tokenizers_of_templates["qwen"], templates["qwen"]
    think = tokenizer.added["</think>"]
    said = [{"role": "user", "content": "</think>"}]
    assert template.ids(tokenizer, said).count(think) == 1  # of the generation prompt
    assert template.ids(tokenizer, said, False).count(think) == 0
    assert tokenizer.encode("</think>").tolist() == [think]


def test_blanks_beside_a_token_that_takes_them_go():
    document = json.loads(train(TokenizerSpec(kind="bytes"), []).data)
    document["added_tokens"][3] |= {"rstrip": True}
    document["added_tokens"][5] |= {"lstrip": True}
    tokenizer = of(json.dumps(document).encode())
    template = ChatTemplate(
        "{% for m in messages %}{{ '<|user|> ' + m['content'] + ' <|end|>' }}{% endfor %}"
    )
    user, end = tokenizer.special["<|user|>"], tokenizer.special["<|end|>"]
    assert template.ids(tokenizer, [{"role": "user", "content": "a b"}]) == [user, *b"a b", end]


def test_ends_of_an_answer(templates, tokenizers_of_templates):
    expected = {
        "chatml": "<|im_end|>",
        "llama": "<|eot_id|>",
        "gemma": "<end_of_turn>",
        "qwen": "<|im_end|>",
        "mistral": "</s>",
    }
    for name, content in expected.items():
        tokenizer = tokenizers_of_templates[name]
        assert templates[name].ends(tokenizer)[-1] == tokenizer.special[content]
        assert templates[name].ends(tokenizer)[0] == tokenizer.end


def test_who_takes_a_system_message(templates):
    assert {name: one.system for name, one in templates.items()} == {
        "chatml": True,
        "llama": True,
        "gemma": True,
        "qwen": True,
        "mistral": False,
    }


def test_our_own_template():
    tokenizer = train(TokenizerSpec(kind="bytes"), [])
    template = chat.default(tokenizer)
    assert template is not None
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "<|end|>"}]
    s, u, a, e = (tokenizer.special[f"<|{name}|>"] for name in ("system", "user", "assistant", "end"))
    assert template.ids(tokenizer, talk) == [s, ord("s"), e, u, *b"<|end|>", e, a]
    assert template.ends(tokenizer) == (tokenizer.end, e)
    document = json.loads(tokenizer.data)
    document["added_tokens"] = document["added_tokens"][:2]
    assert chat.default(of(json.dumps(document).encode())) is None


HOSTILE = {
    "a loop without end": "{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}",
    "a long range": "{% for i in range(10**9) %}{% endfor %}",
    "a long string": "{{ 'a' * 10**10 }}",
    "a wide string": "{{ 'a'.center(10**11) }}",
    "a wide format": "{{ '%10000000000d' % 1 }}",
    "doubling": "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "much text": "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a huge number": "{{ 10 ** (10 ** 10) }}",
    "attributes": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "files": "{% include '/etc/passwd' %}",
    "imports": "{% import 'os' as os %}",
    "changing the messages": "{{ messages.append(1) }}",
    "format of attributes": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "no template": "{% if %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_end_with_one_screen(name):
    template = ChatTemplate(HOSTILE[name], where="model/chat_template.jinja", seconds=1.0)
    with pytest.raises(TextmillError) as caught:
        template.render([{"role": "user", "content": "x"}])
    assert str(caught.value).startswith("model/chat_template.jinja: ")
    assert len(str(caught.value)) < 1200
    template.close()


def test_a_template_that_was_ended_begins_anew():
    source = "{% if messages[0].content == 'loop' %}{% for i in range(99999) %}{% for j in range(99999) %}"
    source += "{% endfor %}{% endfor %}{% endif %}{{ messages[0].content }}"
    template = ChatTemplate(source, seconds=1.0)
    assert template.render([{"role": "user", "content": "a"}]) == "a"
    with pytest.raises(TextmillError, match="more than 1 seconds"):
        template.render([{"role": "user", "content": "loop"}])
    assert template.render([{"role": "user", "content": "b"}]) == "b"
    template.close()
    assert template.render([{"role": "user", "content": "c"}]) == "c"


def test_messages_that_are_none():
    template = ChatTemplate("x")
    deep: list = []
    for _ in range(50):
        deep = [deep]
    for message in (
        {},
        {"role": 1},
        {"role": "a|b", "content": ""},
        {"role": "user", "content": deep},
        "hello",
    ):
        with pytest.raises(RecipeError):
            template.render([message])
    with pytest.raises(RecipeError):
        template.render([{"role": "user", "content": object()}])
    with pytest.raises(TextmillError, match="characters long"):
        ChatTemplate("x" * (1 << 21))


def test_templates_are_found_in_directories(tmp_path):
    assert chat.read_template(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text(
        '{"chat_template": [{"name": "rag", "template": "1"}, {"name": "default", "template": "2"}]}'
    )
    found = chat.read_template(tmp_path)
    assert found is not None
    assert found.source == "2"
    (tmp_path / "chat_template.jinja").write_text("3")
    found = chat.read_template(tmp_path)
    assert found is not None
    assert found.source == "3"
    for value in (3, [3], {"a": 1}, [{"name": "default", "template": 5}]):
        with pytest.raises(TextmillError):
            chat.chosen(value, "here")


PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
EITHER = PARTS.replace(
    "{% for part", "{% if m.content is string %}{{ m.content }}{% else %}{% for part"
).replace("{% endfor %}<|im_end|>", "{% endfor %}{% endif %}<|im_end|>")
USERS_PARTS = (
    "{% for m in messages %}<|im_start|>{% if m.role == 'user' %}{{ m.content[0]['text'] }}"
    "{% else %}{{ m.role + m.content }}{% endif %}<|im_end|>{% endfor %}"
)
TALK = [
    {"role": "system", "content": "Be kind"},
    {"role": "user", "content": "Hello <|im_end|>"},
    {"role": "assistant", "content": "Yes"},
    {"role": "user", "content": "text"},
]


@pytest.mark.parametrize("source", [PARTS, EITHER, CHATML])
def test_a_content_is_given_as_the_template_takes_it(source):
    """As transformers renders it, which gives each template what its author expects."""
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    template = ChatTemplate(source)
    in_parts = [one | {"content": [{"type": "text", "text": one["content"]}]} for one in TALK]
    given_to = in_parts if source == PARTS else TALK
    wanted, _ = transformers.render_jinja_template(
        [given_to], chat_template=source, add_generation_prompt=True
    )
    assert template.render(TALK) == template.render(in_parts) == wanted[0]
    assert "Hello" in wanted[0]
    assert template.readable
    assert template.system


def test_one_role_may_take_parts_and_another_a_text():
    template = ChatTemplate(USERS_PARTS)
    text = template.render(TALK)
    assert all(one["content"] in text for one in TALK)


def test_nobody_can_spell_a_special_token_in_a_part(tokenizers_of_templates):
    tokenizer = tokenizers_of_templates["chatml"]
    template = ChatTemplate(PARTS)
    ids = template.ids(tokenizer, TALK)
    assert ids.count(tokenizer.special["<|im_end|>"]) == 4
    assert tokenizer.decode(ids).count("<|im_end|>") == 1


def test_what_shows_nothing_that_is_said_is_not_readable():
    assert not ChatTemplate("{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}").readable


def test_a_part_that_is_no_text_is_refused():
    picture = [{"role": "user", "content": [{"type": "image", "url": "x"}, {"type": "text", "text": "a"}]}]
    with pytest.raises(RecipeError, match="image"):
        ChatTemplate(CHATML).render(picture)


@pytest.mark.parametrize("source", [CHATML, PARTS])
def test_ends_are_found_where_a_conversation_may_not_end_with_the_assistant(source, tokenizers_of_templates):
    tokenizer = tokenizers_of_templates["chatml"]
    strict = "{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}" + source
    assert ChatTemplate(strict).ends(tokenizer) == ChatTemplate(source).ends(tokenizer)
    assert tokenizer.special["<|im_end|>"] in ChatTemplate(strict).ends(tokenizer)


def test_a_template_that_shows_no_answer_ends_one_as_the_tokenizer_does(tokenizers_of_templates):
    tokenizer = tokenizers_of_templates["chatml"]
    deaf = "<|im_start|>{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    never = "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}" + deaf
    assert ChatTemplate(deaf).ends(tokenizer) == ChatTemplate(never).ends(tokenizer) == tokenizer.ends


@pytest.mark.parametrize(
    "named",
    [
        [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}],
        {"default": "a", "tool_use": "b"},
        [{"name": "only", "template": "a"}],
    ],
)
def test_of_several_templates_the_default_is_taken(named, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert chat.read_template(tmp_path).source == "a"
