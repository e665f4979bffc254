"""Which ids assistants say: against transformers' mask of generation marks, over templates and real conversations."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.chat_templates import CONTROL, MARKED, NAMES, TEMPLATES, UNMARKED, tokenizer_with
from textmill.data.codec import Codec
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text import chats
from textmill.text.document import Document
from textmill.text.sources import table
from textmill.tokenization.chat.answers import Unaligned
from textmill.tokenization.chat.template import ChatTemplate

SHARED = Path(__file__).parents[4] / "shared" / "data"
SHARED_SETS = (
    "instruct-en/alpaca_2k",
    "instruct-zh/alpaca_zh_demo",
    "tool-calls/glaive_toolcall_en_demo",
    "tool-calls/glaive_toolcall_zh_demo",
)
EACH = 50
SPECIAL = CONTROL | {"default": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "plain": ["</s>"]}
SAID = (
    "Hello, what is 1 + 2?",
    "It is 3.\n\nAnything else?",
    "  磨坊在哪里？ ",
    "\n在河边。\n",
    "Why\tnot",
    "😀",
)


@pytest.fixture(scope="module")
def tokenizers():
    """A byte-level BPE tokenizer for each template, so that what stands side by side is merged."""
    return {name: tokenizer_with([*SPECIAL[name], *NAMES.values()], texts=SAID * 20) for name in MARKED}


@pytest.fixture(scope="module")
def templates():
    made = {
        name: [ChatTemplate(source, NAMES) for source in (UNMARKED[name], MARKED[name])] for name in MARKED
    }
    yield made
    for one in itertools.chain(*made.values()):
        one.close()


@pytest.fixture(scope="module")
def readers(tokenizers):
    """The same tokenizers as transformers has them."""
    transformers = pytest.importorskip("transformers")
    return {
        name: transformers.PreTrainedTokenizerFast(tokenizer_object=one.reference, **NAMES)
        for name, one in tokenizers.items()
    }


def theirs(reader, name, talk) -> tuple[list[int], list[int]]:
    """(ids, mask) as transformers has them of the marked template."""
    read = reader.apply_chat_template(
        talk, chat_template=MARKED[name], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return read["input_ids"], read["assistant_masks"]


def ours(tokenizer, template, talk, **options) -> tuple[list[int], list[int]]:
    row = Codec(tokenizer, template=template).chat(talk, **options)
    return row.ids.tolist(), row.loss.astype(int).tolist()


def talk_of(said) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]


@pytest.mark.parametrize("name", MARKED)
def test_what_is_in_the_loss_is_what_transformers_masks(tokenizers, readers, templates, name):
    """Made conversations, with blanks where turns meet: the plain template by alignment, the marked one by both."""
    for count in (2, 4, 6):
        for said in itertools.pairwise([*SAID, SAID[2], SAID[0]]) if count == 2 else [SAID[:count]]:
            talk = talk_of(said)
            expected = theirs(readers[name], name, talk)
            for template in templates[name]:
                assert ours(tokenizers[name], template, talk) == expected, (name, said)


def conversations() -> list[Document]:
    """The first of each set, as Textmill reads them."""
    paths = [SHARED / f"{name}.jsonl.gz" for name in SHARED_SETS]
    if not all(path.is_file() for path in paths):
        pytest.skip("the conversations of ../shared/data: no data here")
    found = []
    for path in paths:
        read = table.read_documents(FilesSource(paths=(str(path),), format="chat"), LimitSpec(), Path())
        found += itertools.islice((item for item in read if isinstance(item, Document)), EACH)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKED)
def test_two_hundred_conversations(tokenizers, readers, templates, name):
    from textmill.tokenization.chat.tools import spelt_out

    documents, compared, turns = conversations(), 0, 0
    assert len(documents) == EACH * len(SHARED_SETS)
    for document in documents:
        said = [
            chats.plain(turn) for turn in chats.put_together(document.texts, document.metadata)["messages"]
        ]
        talk, _ = spelt_out(templates["chatml"][0], said, chats.tools_of(document.metadata))
        if not alternates(talk) and name in ("gemma", "mistral"):
            continue  # which refuse them
        compared += 1
        turns += sum(message["role"] == "assistant" for message in talk)
        expected = theirs(readers[name], name, talk)
        for template in templates[name]:
            assert ours(tokenizers[name], template, talk) == expected, document.source
    assert compared >= (100 if name in ("gemma", "mistral") else 200)
    assert turns >= compared


def alternates(talk) -> bool:
    roles = [message["role"] for message in talk]
    return roles == ["user", "assistant"] * (len(roles) // 2)


TEXTS = st.text(alphabet=st.sampled_from("ab \n\t.磨é<|>#:"), max_size=12)


@settings(deadline=None, max_examples=15)
@given(said=st.lists(TEXTS, min_size=2, max_size=6).filter(lambda said: len(said) % 2 == 0))
@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_begins_where_a_prompt_ends_and_ends_with_its_turn(
    tokenizers_of_bytes, plain_templates, name, said
):
    """Whatever is said: what stands before each answer is what would be asked with, and its last id ends the turn."""
    tokenizer, template = tokenizers_of_bytes[name], plain_templates[name]
    talk = talk_of(said)
    try:
        read = template.read(tokenizer, talk, False)
    except Unaligned:
        assert name == "qwen"  # whose prompt for an answer has thoughts in it that it leaves out later
        return
    ends = template.ends(tokenizer)
    for answer in read.answers:
        asked = template.ids(tokenizer, talk[: answer.turn - 1])
        assert read.ids[: answer.begin].tolist() == asked
        assert read.ids[answer.end - 1] in ends
        content = talk[answer.turn - 1]["content"]
        assert tokenizer.decode(read.ids[answer.begin : answer.end]).strip() == content.strip()
    assert [answer.turn for answer in read.answers] == list(range(2, len(talk) + 1, 2))


@pytest.fixture(scope="module")
def tokenizers_of_bytes():
    return {name: tokenizer_with(CONTROL[name]) for name in TEMPLATES}


@pytest.fixture(scope="module")
def plain_templates():
    made = {name: ChatTemplate(source, NAMES) for name, source in TEMPLATES.items()}
    yield made
    for one in made.values():
        one.close()


FORGETS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THOUGHT = talk_of(["a", "<think>hm</think>b", "c", "<think>so</think>d"])


def test_a_template_that_drops_earlier_thoughts_trains_the_last_turn_alone(tokenizers_of_bytes):
    tokenizer, template = tokenizers_of_bytes["chatml"], ChatTemplate(FORGETS, NAMES)
    with pytest.raises(Unaligned, match='message 2 otherwise.*objective.turns = "last"'):
        template.read(tokenizer, THOUGHT, False)
    row = Codec(tokenizer, template=template).chat(THOUGHT, turns="last")
    assert tokenizer.decode(row.ids[row.loss]) == "<think>so</think>d"
    assert row.ids[row.loss][-1] == tokenizer.special["<|im_end|>"]
    template.close()


def test_marks_that_say_otherwise_are_an_error(tokenizers_of_bytes):
    tokenizer = tokenizers_of_bytes["chatml"]
    header = "{% generation %}<|im_start|>assistant\n"  # which the prompt gives
    wrong = (
        FORGETS.replace("<|im_start|>{{ m.role }}\n", "")
        .replace(
            "{% if m.role == 'assistant'",
            "{% if m.role != 'assistant' %}<|im_start|>user\n{{ m.content }}<|im_end|>{% else %}"
            + header
            + "{{ m.content }}<|im_end|>{% endgeneration %}{% endif %}{% if false and m.role == 'assistant'",
            1,
        )
        .replace("{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}", "{% endif %}\n{% endfor %}")
    )
    template = ChatTemplate(wrong, NAMES)
    with pytest.raises(Unaligned, match="marks other tokens of message 2"):
        template.read(tokenizer, talk_of(["a", "b"]), False)
    template.close()


def test_what_weighs_nothing_is_not_in_the_loss(tokenizers_of_bytes, plain_templates):
    tokenizer = tokenizers_of_bytes["chatml"]
    talk = talk_of(["a", "no", "c", "yes"])
    talk[1]["weight"] = 0  # type: ignore[assignment]
    row = Codec(tokenizer, template=plain_templates["chatml"]).chat(talk)
    assert tokenizer.decode(row.ids[row.loss]) == "yes"
    assert np.flatnonzero(np.diff(row.loss.astype(int), prepend=0, append=0)).size == 2


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
CALLED = [
    {"role": "user", "content": "1 + 2?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "3"},
    {"role": "assistant", "content": "It is 3."},
]


def test_calls_are_written_where_the_template_has_no_place_for_them(tokenizers_of_bytes, plain_templates):
    tokenizer, tools = tokenizers_of_bytes["chatml"], [{"type": "function", "function": {"name": "add"}}]
    row = Codec(tokenizer, template=plain_templates["chatml"]).chat(CALLED, tools=tools)
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert tokenizer.decode(row.ids[row.loss]) == f"{call}It is 3."
    read = tokenizer.decode(row.ids)
    assert '<tools>\n{"type": "function", "function": {"name": "add"}}\n</tools>' in read
    own = (
        "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% for c in m.tool_calls or [] %}[{{ c.function.name }}]{% endfor %}{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    template = ChatTemplate(own, NAMES)
    row = Codec(tokenizer, template=template).chat(CALLED, tools=tools)
    assert tokenizer.decode(row.ids[row.loss]) == "[add]It is 3."
    template.close()
