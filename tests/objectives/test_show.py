"""What training will read: the mask, the end of text, the overlap of two parts."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data import tokens
from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Loader
from textmill.data.overlap import overlap
from textmill.data.packing import BestFitPacking, RunningPacking
from textmill.data.tokens import Texts
from textmill.objectives import show
from textmill.objectives.table import OBJECTIVES
from textmill.specs.recipe import TokenizerSpec
from textmill.text.document import Document
from textmill.tokenization.training import train as train_tokenizer


def shown_rows(batch, kind, rows=4):
    return [OBJECTIVES[kind].show(batch, row) for row in range(min(rows, len(batch)))]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TokenizerSpec(kind="bytes"), ["abc"])


@pytest.fixture
def make_store(tmp_path, tokenizer):
    def make(name: str, texts: list[str]) -> tokens.TokenStore:
        documents = [Document(hashlib.md5(text.encode()).hexdigest(), {"text": text}, name) for text in texts]
        tokens.write_tokens(tmp_path / name, documents, tokenizer)
        return tokens.TokenStore(tmp_path / name)

    return make


def test_shown_tokens_say_what_is_learnt():
    # two documents packed into a row of six, the second cut off by two places of padding
    inputs = torch.tensor([[9, 1, 2, 9, 4, 0]])
    targets = torch.tensor([[1, 2, 8, 4, IGNORE, IGNORE]])
    batch = Batch(inputs, targets, inputs != 0, torch.tensor([[5, 5, 5, 6, 6, 6]]))
    assert [(token.id, token.bears_loss, token.document) for token in show.of_tokens(batch, 0).tokens] == [
        (9, False, 5), (1, True, 5), (2, True, 5), (8, True, 5), (9, False, 6), (4, True, 6)
    ]  # fmt: skip


def test_every_target_is_shown_once(make_store):
    store = make_store("part", ["hello there", "a", "", "some more words"])
    for packing in (RunningPacking(store, 8), BestFitPacking(store, 8)):
        batch = Loader(packing, len(packing), 0).batch(0)
        rows = [show.of_tokens(batch, row).tokens for row in range(len(batch))]
        assert sum(token.bears_loss for row in rows for token in row) == store.tokens
        learnt = sorted(token.id for row in rows for token in row if token.bears_loss)
        assert learnt == sorted(store.ids.tolist())


def test_the_end_of_text_is_a_target(make_store):
    store = make_store("part", ["abc" * 5] * 4)
    loader = Loader(RunningPacking(store, 8), 2, 0)
    assert show.end_is_trained(loader, [store.end]) is not None
    assert show.end_is_trained(loader, [store.vocabulary + 1], 5) is None


def test_overlap_by_hand(make_store):
    sentence = "the quick brown fox jumps over it"  # 33 bytes: with its end 34 tokens, 22 windows
    train = make_store("train", [sentence, "nothing of interest at all", "x" * 40])
    other = make_store(
        "other", [sentence, "he said: the quick brown fox!", "short", "entirely fresh words here"]
    )
    found = overlap(train, other)
    assert (found.documents, found.same, found.touched) == (4, 1, 2)
    common = len("the quick brown fox") - 12  # windows of 13 bytes in the run both have
    assert found.shared == 22 + common
    assert found.windows == 22 + (30 - 12) + (26 - 12)
    assert [share for _, share in found.worst] == [1.0, pytest.approx(common / 18)]
    assert found.worst[0][0] == other.document_id(0)
    assert overlap(train, train).share == 1.0


def test_what_is_only_read_is_no_overlap():
    """Of conversations: the same instructions and template, other answers; then the same answer, too."""
    read, fresh, known = range(20), range(100, 120), range(200, 220)
    rows = {"train": [*read, *known], "other": [*read, *fresh], "same": [*fresh, *known]}
    loss = np.repeat(np.array([0, 1], dtype=np.int8), 20)
    texts = {
        name: Texts(np.array(ids, dtype=np.uint16), np.array([0, 40]), np.zeros((1, 16), np.uint8), loss)
        for name, ids in rows.items()
    }
    found = overlap(texts["train"], texts["other"])
    assert (found.windows, found.shared, found.touched) == (8, 0, 0)
    assert overlap(texts["train"], texts["same"]).shared == 8


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_windows_are_found_as_by_looking(make_store_once, data):
    alphabet = st.text("ab", max_size=40)
    one = make_store_once(data.draw(st.lists(alphabet, min_size=1, max_size=4)))
    other = make_store_once(data.draw(st.lists(alphabet, min_size=1, max_size=4)))

    def windows(store):
        documents = [store.document(index).tolist() for index in range(len(store))]
        return [tuple(ids[start : start + 13]) for ids in documents for start in range(len(ids) - 12)]

    seen = set(windows(one))
    found = overlap(one, other)
    assert found.windows == len(windows(other))
    assert found.shared == sum(window in seen for window in windows(other))


@pytest.fixture(scope="module")
def make_store_once(tmp_path_factory, tokenizer):
    def make(texts):
        directory = tmp_path_factory.mktemp("store") / "part"
        documents = [Document(f"{index:032x}", {"text": text}, "") for index, text in enumerate(texts)]
        tokens.write_tokens(directory, documents, tokenizer)
        return tokens.TokenStore(directory)

    return make


def test_pieces_of_a_large_store_meet(make_store, monkeypatch):
    texts = ["".join(np.random.default_rng(seed).choice(list("abcd"), 90)) for seed in range(3)]
    train, other = make_store("train", texts), make_store("other", texts[1:])
    whole = overlap(train, other)
    monkeypatch.setattr("textmill.data.overlap._PIECE", 17)
    assert overlap(train, other) == whole
    assert whole.share == 1.0


def test_a_hidden_token_is_shown_with_what_stood_there():
    batch = Batch(
        torch.tensor([[7, 50, 2, 9, 8, 3, 0]]),
        torch.tensor([[IGNORE, 1, 2, IGNORE, IGNORE, IGNORE, IGNORE]]),
        mask=torch.tensor([[True] * 6 + [False]]),
        segments=torch.tensor([[0, 0, 0, 0, 0, 1, 0]]),
        labels=torch.tensor([1]),
    )
    (row,) = shown_rows(batch, "masked")
    assert [(token.id, token.bears_loss, token.target, token.segment) for token in row.tokens] == [
        (7, False, None, 0), (50, True, 1, 0), (2, True, 2, 0),
        (9, False, None, 0), (8, False, None, 0), (3, False, None, 1),
    ]  # fmt: skip
    assert row.label == 1
    assert row.source is None
    assert shown_rows(batch, "tag")[0].tokens == row.tokens


def test_a_pair_is_shown_as_source_and_target():
    batch = Batch(
        torch.tensor([[1, 5, 6, 7], [1, 5, 0, 0]]),
        torch.tensor([[5, 6, 7, 2], [5, 2, IGNORE, IGNORE]]),
        mask=torch.tensor([[True] * 4, [True, True, False, False]]),
        source=torch.tensor([[3, 4, 0], [3, 4, 8]]),
        source_mask=torch.tensor([[True, True, False], [True, True, True]]),
    )
    for kind in ("pairs", "infilling", "spans", "continue"):
        one, two = shown_rows(batch, kind)
        assert [(token.id, token.bears_loss) for token in one.tokens] == [
            (1, False), (5, True), (6, True), (7, True), (2, True)
        ]  # fmt: skip
        assert [(token.id, token.bears_loss) for token in two.tokens] == [(1, False), (5, True), (2, True)]
        assert [token.id for token in one.source] == [3, 4]
        assert [token.id for token in two.source] == [3, 4, 8]
    silent = Batch(batch.inputs, torch.full_like(batch.targets, IGNORE), source=batch.source)
    shown = shown_rows(silent, "pairs", rows=1)
    assert [(token.id, token.bears_loss) for token in shown[0].tokens] == [
        (token, False) for token in (1, 5, 6, 7)
    ]


@pytest.mark.parametrize(
    ("kind", "targets", "label"),
    [
        ("classify", torch.tensor([2]), 2),
        ("classify", torch.tensor([IGNORE]), None),
        ("classify", torch.tensor([[1.0, 0.0, 1.0]]), (0, 2)),
        ("regress", torch.tensor([[0.5]]), (0.5,)),
    ],
)
def test_labels_of_whole_rows_are_shown(kind, targets, label):
    batch = Batch(torch.tensor([[0, 4, 5]]), targets, mask=torch.tensor([[False, True, True]]))
    (row,) = shown_rows(batch, kind)
    assert [(token.id, token.bears_loss) for token in row.tokens] == [(4, False), (5, False)]
    assert row.label == label


def test_an_answer_is_shown_in_its_text():
    batch = Batch(
        torch.tensor([[0, 4, 5, 6, 7]]),
        torch.tensor([[2, 3]]),
        mask=torch.tensor([[False, True, True, True, True]]),
    )
    (row,) = shown_rows(batch, "answer")
    assert [(token.id, token.bears_loss) for token in row.tokens] == [
        (4, False),
        (5, True),
        (6, True),
        (7, False),
    ]
    assert row.label == (1, 2)
    nothing = Batch(batch.inputs, torch.full((1, 2), IGNORE))
    assert shown_rows(nothing, "answer")[0].label is None
