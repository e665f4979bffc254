"""Rows of ids from texts, against what is written out by hand; padding and batches by length, by their properties."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import IGNORE
from textmill.data.codec import Codec, Row, by_length, padded
from textmill.data.examples import ExampleStore, write_examples
from textmill.data.loader import Batching
from textmill.objectives.table import objective_of
from textmill.specs.objective import ClassifyObjective, PairsObjective, SpanObjective, TagObjective
from textmill.specs.recipe import TokenizerSpec
from textmill.text.document import collected
from textmill.tokenization.chat.template import DEFAULT, ChatTemplate
from textmill.tokenization.load import of
from textmill.tokenization.training import train

quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
SAID = "The mill isn't Müller's: 磨坊 grinds, twice. ﬁne 12 👩\u200d👩 é"
TEXT = st.lists(st.sampled_from([*SAID.split(), " ", "  ", "\n", "unheard"]), max_size=30).map("".join)


@pytest.fixture(scope="module")
def uncased():
    """A WordPiece tokenizer that takes capitals and accents away, with a frame around one text and two."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    made.train_from_iterator([SAID] * 9, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return of(made.to_str().encode())


@pytest.fixture(scope="module")
def merging():
    """A byte-level BPE tokenizer: spaces are in its tokens, and characters in pieces."""
    return train(TokenizerSpec(kind="bpe", vocabulary=330), [SAID] * 20)


@pytest.fixture(params=["uncased", "merging"])
def codec(request) -> Codec:
    return Codec(request.getfixturevalue(request.param))


def parts(row: Row, text: str) -> list[str]:
    return [text[start:end] for start, end in row.offsets.tolist()]


def test_a_source_stands_in_its_frame(tokenizer):
    codec = Codec(tokenizer)
    ids = tokenizer.encode("the mill grinds words")
    framed = [*codec.special.lead, *ids.tolist(), *codec.special.tail]
    row = codec.source("the mill grinds words")
    assert row.ids.tolist() == framed == codec.special.around(ids).tolist()
    assert parts(row, "the mill grinds words") == ["", *"the mill grinds words"]
    assert row.of.tolist() == [-1, *[0] * 21]
    assert not row.loss.any()
    assert row.windows == (row,)


def test_offsets_are_of_the_text_as_it_was_written(uncased):
    text = "The MILL isn't Müller's"
    row = Codec(uncased).source(text)
    assert "".join(parts(row, text)) == text.replace(" ", "")
    assert [uncased.token_bytes(token) for token in row.ids[[0, -1]].tolist()] == [b"", b""]
    assert row.offsets[[0, -1]].tolist() == [[0, 0], [0, 0]]
    assert row.texts[0].between(0, len(row.texts[0]) - 1) == text


def test_a_target_begins_as_the_model_says(tokenizer):
    assert Codec(tokenizer).special.start == tokenizer.start
    assert Codec(tokenizer, start=7).special.start == 7


def test_a_target_and_its_end_are_in_the_loss(tokenizer):
    row = Codec(tokenizer).target("ab")
    assert row.ids.tolist() == [*b"ab", tokenizer.end]
    assert row.loss.all()
    assert row.offsets.tolist() == [[0, 1], [1, 2], [0, 0]]


def test_a_prompt_has_what_the_tokenizer_expects_before_it(tokenizer, uncased):
    ids = tokenizer.encode("the mill").tolist()
    assert Codec(tokenizer).prompt("the mill").ids.tolist() == [*tokenizer.prefix, *ids]
    assert Codec(uncased).prompt("mill").ids[0] == 2


def test_a_scored_text_follows_an_end(tokenizer):
    row = Codec(tokenizer).scored("ab")
    assert row.ids.tolist() == [tokenizer.end, *b"ab"]
    assert row.loss.tolist() == [False, True, True]


def test_two_texts_in_one_row(uncased):
    row = Codec(uncased).pair("the mill", "grinds")
    library = uncased.reference.encode("the mill", "grinds")
    assert row.ids.tolist() == library.ids
    assert row.segments.tolist() == library.type_ids
    inside = np.array(library.special_tokens_mask) == 0
    assert row.offsets[inside].tolist() == np.array(library.offsets)[inside].tolist()
    assert row.candidates.tolist() == (inside & np.array(library.type_ids, dtype=bool)).tolist()


def test_nothing_stands_between_two_texts():
    bare = train(TokenizerSpec(kind="bytes"), ())
    document = json.loads(bare.data)
    document["added_tokens"] = document["added_tokens"][:2]
    for name in list(document["model"]["vocab"]):
        if name.startswith("<|") and name not in ("<|endoftext|>", "<|pad|>"):
            del document["model"]["vocab"][name]
    with pytest.raises(RecipeError, match="separator"):
        Codec(of(json.dumps(document).encode())).pair("a", "b")


def test_words_are_cut_apart(codec):
    text = "The  mill\tgrinds"
    row = codec.words(text)
    first = row.candidates
    assert row.words[first].tolist() == [0, 1, 2]
    for word, (begin, end) in enumerate([(0, 3), (5, 9), (10, 16)]):
        of_word = row.offsets[row.words == word]
        assert (of_word[0, 0], of_word[-1, 1]) == (begin, end)
    assert codec.words(["The", "mill", "grinds"]).ids.tolist() == row.ids.tolist()
    assert codec.words(["The", "mill", "grinds"]).offsets.max() == len("The mill grinds")
    close = codec.words("Themill", spans=[(0, 3), (3, 7)])
    alone = [codec.tokenizer.encode(word).tolist() for word in ("The", "mill")]
    assert close.texts[0].ids.tolist() == [*alone[0], *alone[1]]
    assert close.offsets.max() == 7


@quick
@given(TEXT, st.integers(5, 20))
def test_windows_read_all_of_a_text_and_no_more_than_the_model(codec, text, context):
    codec = replace(codec, context=context)
    for row in (codec.source(text), codec.words(text), codec.pair("the", text)):
        assert all(len(window) <= context for window in row.windows)
        last = len(row.texts) - 1
        read = [window.at[window.of == last] for window in row.windows]
        assert sorted(set(np.concatenate(read).tolist())) == list(range(len(row.texts[last])))
        for window in row.windows:
            outside = window.of < 0
            assert window.ids[outside].tolist() == row.ids[row.of < 0].tolist()
            inside = window.of == last
            assert window.ids[inside].tolist() == row.texts[last].ids[window.at[inside]].tolist()
            assert window.offsets.shape == (len(window), 2)
    text_row, words = codec.source(text), codec.words(text)
    if len(words.windows) > 1:
        assert sum(len(window) - codec.special.frame for window in words.windows) == len(words.texts[0])
    assert len(text_row.windows) == 1 or len(text_row) > context


def test_what_cannot_be_read_in_pieces_has_no_windows(tokenizer):
    codec = Codec(tokenizer, context=4)
    assert [len(of("abcd").windows) for of in (codec.target, codec.scored, codec.prompt)] == [0, 0, 1]
    with pytest.raises(TextmillError, match="no room"):
        Codec(tokenizer, context=1).source("a")


TALK = [
    {"role": "system", "content": "short"},
    {"role": "user", "content": "who? <|end|>"},
    {"role": "assistant", "content": "me"},
    {"role": "user", "content": "why"},
    {"role": "assistant", "content": "so"},
]


def test_what_assistants_say_is_in_the_loss(tokenizer):
    special = tokenizer.special
    codec = Codec(tokenizer, template=ChatTemplate(DEFAULT, tokenizer.names))
    row = codec.chat(TALK)
    assert row.ids[row.loss].tolist() == [*b"me", special["<|end|>"], *b"so", special["<|end|>"]]
    written = row.texts[0].text
    assert "".join(parts(row, written)) == written
    assert [part for part, held in zip(parts(row, written), row.loss, strict=True) if held] == [
        *"me", "<|end|>", *"so", "<|end|>"
    ]  # fmt: skip
    asked = codec.chat(TALK[:2], answer=True)
    assert asked.ids.tolist() == row.ids[: len(asked)].tolist()
    assert asked.ids[-1] == special["<|assistant|>"]
    assert not asked.loss.any()


def test_an_answer_that_later_turns_change_cannot_be_told(tokenizer):
    source = "{% for m in messages %}{{ '[' + (m['content'] if loop.last else '…') + ']' }}{% endfor %}"
    codec = Codec(tokenizer, template=ChatTemplate(source, tokenizer.names))
    assert codec.chat(TALK[1:2]).ids.tolist() == list(b"[who? <|end|>]")
    with pytest.raises(TextmillError, match="otherwise when others follow"):
        codec.chat(TALK[1:])
    with pytest.raises(TextmillError, match="no chat template"):
        Codec(tokenizer).chat(TALK)


RECORDS = [
    (
        {"text": "the mill grinds", "source": "the mill", "target": "grinds", "passage": "the mill grinds é"},
        "a",
    ),
    ({"text": "Müller's 磨坊", "source": "磨坊", "target": "é", "passage": "磨坊 the mill isn't fine"}, "b"),
]


@pytest.mark.parametrize(
    "spec",
    [ClassifyObjective(), TagObjective(), SpanObjective(), PairsObjective()],
    ids=lambda spec: spec.kind,
)
@pytest.mark.parametrize("context", [8, 64])
def test_rows_of_training_are_rows_of_use(codec, spec, context, tmp_path):
    """What a loader of each objective reads is what the codec makes of the same texts."""
    documents = []
    for texts, label in RECORDS:
        more = {
            "question": "the" if label == "a" else "the mill grinds",
            "answer": texts["passage"].split()[1],
        }
        facts = {"label": label, "tags": " ".join("O" for _ in texts["text"].split())}
        documents.append(collected({role: (texts | more)[role] for role in spec.roles}, label, facts))
    objective = objective_of(spec)
    write_examples(tmp_path / "x", documents, objective.reader(spec, codec.tokenizer, None))
    codec = replace(codec, context=context)
    how = Batching(context, 1, 0, "running", codec.special)
    view = objective.loader(spec, ExampleStore(tmp_path / "x"), how).view
    read = view.make(np.arange(len(view)), np.zeros(len(view), dtype=np.uint64)).batch
    rows = []
    for document in documents:
        texts = [document.texts[role] for role in spec.roles]
        if spec.kind == "tag":
            rows += codec.words(texts[0]).windows
        elif spec.kind == "answer":
            rows += codec.pair(texts[1], texts[0]).windows
        else:
            rows.append(codec.source(texts[0]).windows[0])
    made = codec.batch(rows)
    if spec.kind == "pairs":
        assert torch.equal(read.source, made.inputs)
        targets = padded(
            [codec.target(document.texts["target"]).ids[:context] for document in documents], IGNORE
        )[0]
        assert torch.equal(read.targets, torch.from_numpy(targets))
        return
    assert torch.equal(read.inputs, made.inputs)
    assert (read.mask is None) == (made.mask is None)
    assert read.mask is None or torch.equal(read.mask, made.mask)
    if spec.kind == "answer":
        assert torch.equal(read.segments, made.segments)
    if spec.kind != "classify":
        assert torch.equal(read.candidates, made.candidates)


ROWS = st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=8)


@given(ROWS, st.booleans(), st.integers(-1, 0))
def test_padding_keeps_every_row_and_marks_it(rows, front, filler):
    values, real = padded(rows, filler, front=front)
    assert values.shape == (len(rows), max(map(len, rows)))
    mask = np.ones(values.shape, dtype=bool) if real is None else real
    assert [values[i][mask[i]].tolist() for i in range(len(rows))] == rows
    assert (values[~mask] == filler).all()
    assert (real is None) == all(len(row) == values.shape[1] for row in rows)
    if values.shape[1]:
        ends = mask[:, -1 if front else 0]
        assert all(end or not row for end, row in zip(ends, rows, strict=True))


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 64))
def test_batches_by_length_hold_every_row_once_and_keep_to_their_tokens(lengths, tokens):
    batches = [batch.tolist() for batch in by_length(lengths, tokens)]
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    ordered = [lengths[index] for batch in batches for index in batch]
    assert ordered == sorted(ordered, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= tokens
