"""Records of supervised objectives: what is kept, what is skipped and why, and the batches made of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.data.batch import IGNORE
from textmill.data.examples import ExampleStore, write_examples
from textmill.data.loader import Batching
from textmill.data.special import SpecialTokens
from textmill.objectives.table import OBJECTIVES, objective_of
from textmill.specs.objective import (
    ClassifyObjective,
    PairsObjective,
    RegressObjective,
    SpanObjective,
    TagObjective,
)
from textmill.specs.recipe import TokenizerSpec
from textmill.text.document import collected
from textmill.tokenization.training import train

quick = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@pytest.fixture(scope="session")
def words():
    """A BPE tokenizer, so that tokens are longer than bytes and shorter than words."""
    return train(
        TokenizerSpec(kind="bpe", vocabulary=400), ["the cat sat on the mat and the dog saw the bird"] * 20
    )


@pytest.fixture
def stored(tmp_path, tokenizer):
    """A store of records, each its first text and all else it holds, texts and metadata; and its manifest."""

    def make(spec, records, *, with_tokenizer=tokenizer, labels=None, name="examples"):
        documents = [document(spec, text, more, f"{n}") for n, (text, more) in enumerate(records)]
        manifest = write_examples(
            tmp_path / name, documents, objective_of(spec).reader(spec, with_tokenizer, labels)
        )
        return ExampleStore(tmp_path / name), manifest

    return make


def document(spec, text, more, source=""):
    first, *others = spec.roles
    texts = {role: more[role] for role in others if role in more}
    return collected({first: text, **texts}, source, {k: v for k, v in more.items() if k not in texts})


def rows(kind, spec, store, tokens, sequence=32):
    view = OBJECTIVES[kind].loader(spec, store, Batching(sequence, 1, 0, "running", tokens)).view
    return view, view.make(np.arange(len(view)), np.zeros(len(view), dtype=np.uint64))


def test_pairs(stored, tokenizer, marked):
    spec = PairsObjective(target="en")
    store, manifest = stored(
        spec,
        [("你好", {"en": "hello"}), ("x", {}), (" ", {"en": "y"}), ("z", {"en": ""}), ("a", {"en": "b c"})],
    )
    assert manifest["skipped"] == {"no en": 1, "the source is empty": 1, "the en is empty": 1}
    assert manifest["read"] == 5 == manifest["records"] + sum(manifest["skipped"].values())
    assert store.labels is None
    assert store.bytes.tolist() == [5, 3]
    assert store.document_id(0) == collected({"source": "你好", "en": "hello"}, "").id
    _, made = rows("pairs", spec, store, marked)
    batch = made.batch
    assert batch.source.tolist() == [
        [marked.start, *"你好".encode()],
        [marked.start, ord("a"), *[marked.pad] * 5],
    ]
    assert batch.source_mask.sum(dim=1).tolist() == [7, 2]
    assert batch.targets.tolist() == [[*b"hello", marked.end], [*b"b c", marked.end, IGNORE, IGNORE]]
    assert batch.inputs.tolist() == [
        [marked.start, *b"hello"],
        [marked.start, *b"b c", marked.pad, marked.pad],
    ]
    assert batch.mask.tolist() == [[True] * 6, [True] * 4 + [False] * 2]
    assert made.owners.tolist() == [[0] * 6, [1] * 4 + [-1] * 2]


def test_long_pairs_are_cut(stored, marked):
    spec = PairsObjective()
    store, _ = stored(spec, [("s" * 100, {"target": "t" * 100}), ("s" * 31, {"target": "t" * 31})])
    _, made = rows("pairs", spec, store, marked)
    assert made.batch.source.shape == made.batch.targets.shape == (2, 32)
    assert made.batch.targets[0].tolist() == [ord("t")] * 32  # cut: it does not end here
    assert made.batch.targets[1].tolist() == [ord("t")] * 31 + [marked.end]
    assert made.batch.mask is None


@quick
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_pairs_come_back(stored, tokenizer, records):
    store, manifest = stored(PairsObjective(), [(a, {"target": b}) for a, b in records])
    kept = [(a, b) for a, b in records if a.strip() and b.strip()]
    assert manifest["records"] == len(store) == len(kept)
    assert manifest["read"] == len(records)
    for place, (source, target) in enumerate(kept):
        assert tokenizer.decode(store.field("source", place)) == source
        assert tokenizer.decode(store.field("target", place)) == target


def test_labels_are_those_of_the_training_part(stored, marked):
    spec = ClassifyObjective(label="mood")
    records = [
        ("a", {"mood": "sad"}),
        ("bb", {"mood": " glad "}),
        ("c", {}),
        ("d", {"mood": ""}),
        ("", {"mood": "z"}),
    ]
    store, manifest = stored(spec, records)
    assert store.labels == ("glad", "sad")  # z stands on no text that can be used
    assert manifest["skipped"] == {"no mood": 1, "the mood is empty": 1, "the text is empty": 1}
    _, made = rows("classify", spec, store, marked)
    assert made.batch.targets.tolist() == [1, 0]
    assert made.batch.targets.dtype == torch.int64
    assert made.batch.inputs.tolist() == [[marked.start, 97, marked.pad], [marked.start, 98, 98]]
    assert made.owners.tolist() == [0, 1]
    other, report = stored(
        spec, [("e", {"mood": "angry"}), ("f", {"mood": "sad"})], labels=store.labels, name="test"
    )
    assert other.labels == store.labels
    assert report["skipped"] == {}
    assert other.unseen == ("angry",)
    assert [int(other.field("value", record)[0]) for record in range(2)] == [2, 1]
    _, made = rows("classify", spec, other, marked)
    assert made.batch.targets.tolist() == [IGNORE, 1]  # nothing can be learnt from a label that no model has


def test_several_labels(stored, marked):
    spec = ClassifyObjective(multiple=True)
    store, _ = stored(
        spec,
        [
            ("a", {"label": "red, big"}),
            ("b", {"label": ""}),
            ("c", {"label": "big big"}),
            ("d", {"label": "旧，red"}),
        ],
    )
    assert store.labels == ("big", "red", "旧")
    _, made = rows("classify", spec, store, marked)
    assert made.batch.targets.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 1]]
    assert made.batch.targets.dtype == torch.float32
    assert made.owners.tolist() == [[n] * 3 for n in range(4)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0), (" -1.5e3 ", -1500.0), (".5", 0.5), ("3.", 3.0), ("1,5", None), ("1_000", None), ("nan", None),
        ("inf", None), ("1e999", None), ("", None), ("１", None), ("0x10", None), ("5 kg", None),
    ],
)  # fmt: skip
def test_numbers_are_read_strictly(stored, marked, text, number):
    store, manifest = stored(RegressObjective(), [("a", {"label": text})])
    if number is None:
        assert manifest["skipped"] == {"the label is not a number": 1}
        return
    _, made = rows("regress", RegressObjective(), store, marked)
    assert made.batch.targets.tolist() == [[number]]
    assert made.batch.targets.dtype == torch.float32


def test_a_word_s_first_token_bears_its_tag(stored, words):
    spec = TagObjective()
    tokens = SpecialTokens.of(words)
    text, tags = "the unbelievable  cat\nsat", "D J N V"
    store, manifest = stored(
        spec,
        [(text, {"tags": tags}), ("a b", {"tags": "N"}), ("a", {}), ("", {"tags": ""})],
        with_tokenizer=words,
    )
    assert store.labels == ("D", "J", "N", "V")
    assert manifest["skipped"] == {
        "there are not as many tags as words": 1,
        "no tags": 1,
        "the text is empty": 1,
    }
    _, made = rows("tag", spec, store, tokens)
    ids, targets = made.batch.inputs[0].tolist(), made.batch.targets[0].tolist()
    assert targets[0] == IGNORE  # the start
    found: list[tuple[str, str]] = []
    for token, target in zip(ids[1:], targets[1:], strict=True):
        if target != IGNORE:
            found.append((store.labels[target], ""))
        found[-1] = (found[-1][0], found[-1][1] + words.decode([token]))
    assert found == [("D", "the"), ("J", " unbelievable"), ("N", " cat"), ("V", " sat")]
    assert len(ids) > 5
    assert ((made.owners == 0) == (made.batch.targets.numpy() != IGNORE)).all()


@quick
@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(3, 14))
def test_long_tagged_texts_are_cut_between_words(stored, marked, lengths, sequence):
    spec = TagObjective()
    text = " ".join("abcdefghi"[:length] for length in lengths)
    store, _ = stored(spec, [(text, {"tags": " ".join(str(n) for n in lengths)}), ("x", {"tags": "1"})])
    view, made = rows("tag", spec, store, marked, sequence)
    targets = made.batch.targets.numpy()
    assert made.batch.inputs.shape[1] <= sequence
    tags = [store.labels[tag] for row in targets for tag in row if tag != IGNORE]
    assert tags == [*map(str, lengths), "1"]
    read = made.batch.inputs.numpy()
    assert bytes(token for row in read for token in row if token < 256).decode() == text + "x"
    for row in range(1, len(view)):
        if view.record[row] == 0 and lengths and max(lengths) < sequence - 1:
            assert targets[row, 1] != IGNORE  # it begins with a word
    assert view.rows_of(1, 0).tolist() == [len(view) - 1]


def test_the_tokens_of_an_answer(stored, words):
    spec = SpanObjective()
    tokens = SpecialTokens.of(words)
    text = "the dog saw the bird，猫 sat on the mat"
    store, manifest = stored(
        spec,
        [
            (text, {"question": "where?", "answer": "on the mat"}),
            (text, {"question": "who?", "answer": "猫"}),
            (text, {"question": "who?", "answer": " ird "}),
            (text, {"question": "who?", "answer": "cow"}),
            (text, {"question": " ", "answer": "dog"}),
            (text, {"question": "who?"}),
        ],
        with_tokenizer=words,
    )
    assert manifest["skipped"] == {
        "the answer does not occur in the passage": 1,
        "no question": 1,
        "no answer": 1,
    }
    _, made = rows("answer", spec, store, tokens, 64)
    for row, answer in enumerate(("on the mat", "猫", "ird")):
        ids = made.batch.inputs[row].tolist()
        first, last = made.batch.targets[row].tolist()
        assert answer in words.decode(ids[first : last + 1])
        assert answer not in words.decode(ids[first + 1 : last + 1])
        assert answer not in words.decode(ids[first:last])
        question = ids.index(tokens.separator)
        assert words.decode(ids[:question]) == ("where?" if row == 0 else "who?")
        segments = made.batch.segments[row].tolist()
        real = len(segments) if made.batch.mask is None else int(made.batch.mask[row].sum())
        assert segments == [0] * (question + 1) + [1] * (real - question - 1) + [0] * (len(segments) - real)
    with pytest.raises(RecipeError, match="has no separator"):
        rows("answer", spec, store, replace(tokens, separator=None, between=()), 64)


@quick
@given(st.integers(0, 120), st.integers(1, 6), st.integers(8, 40), st.integers(1, 40))
def test_long_texts_are_searched_in_windows(stored, marked, before, length, sequence, asked):
    spec = SpanObjective()
    text = "." * before + "A" * length + "." * (100 - before % 100)
    store, _ = stored(spec, [(text, {"question": "?" * asked, "answer": "A" * length})])
    view, made = rows("answer", spec, store, marked, sequence)
    assert made.batch.inputs.shape[1] <= sequence
    seen = np.zeros(len(text), dtype=int)
    found = 0
    for row in range(len(view)):
        ids = made.batch.inputs[row].tolist()
        seen[view.begins[row] : view.ends[row]] += 1
        first, last = made.batch.targets[row].tolist()
        if first:
            found += 1
            assert ids[first : last + 1] == [ord("A")] * length
        else:
            assert (first, last) == (0, 0)
            assert ids[0] == marked.start
    assert (seen > 0).all()
    if length <= (view.ends - view.begins).max() // 2:
        assert found  # a window that overlaps by half holds it whole


@pytest.mark.long
@quick
@given(st.text("ab é你😀\n", min_size=1, max_size=40), st.data())
def test_spans_are_right_for_any_answer(stored, tokenizer, marked, text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    answer = text[start : data.draw(st.integers(start + 1, len(text)))].strip()
    store, manifest = stored(SpanObjective(), [(text, {"question": "?", "answer": answer})])
    if not answer:
        assert manifest["skipped"] == {"no answer": 1}
        return
    first, last = store.field("value", 0).tolist()
    assert tokenizer.decode(store.field("text", 0)[first : last + 1]) == answer
    assert first == len(text[: text.find(answer)].encode())


class Folding:
    """A tokenizer that loses something: letters are folded, blanks fall away. One token a letter."""

    lossless, vocabulary, id, end, pad = False, 300, "folding", 256, 257

    def encode_many(self, texts):
        return [np.frombuffer("".join(text.lower().split()).encode(), dtype=np.uint8) for text in texts]

    def offsets(self, text, cut):
        letters = [place for place, letter in enumerate(text) if not letter.isspace()]
        return np.array([[place, place + 1] for place in letters])


class Silent(Folding):
    """The same, to which only ASCII is anything."""

    def encode_many(self, texts):
        return super().encode_many([text.encode("ascii", "ignore").decode() for text in texts])

    def offsets(self, text, cut):
        return np.array([[place, place + 1] for place, letter in enumerate(text) if letter.isascii()])


def test_tokenizers_that_lose_something(stored):
    store, _ = stored(
        SpanObjective(), [("A  Bc D", {"question": "?", "answer": "Bc"})], with_tokenizer=Folding()
    )
    assert store.field("text", 0).tolist() == list(b"abcd")
    assert store.field("value", 0).tolist() == [1, 2]
    store, manifest = stored(
        SpanObjective(),
        [("A\u200bB", {"question": "?", "answer": "\u200b"})],
        with_tokenizer=Silent(),
        name="silent",
    )
    assert manifest["skipped"] == {"the answer has no tokens": 1}
    store, _ = stored(TagObjective(), [("A Bc", {"tags": "X Y"})], with_tokenizer=Folding(), name="tags")
    assert store.field("value", 0).tolist() == [0, 1, IGNORE]


@pytest.mark.parametrize(
    "spec",
    [PairsObjective(), ClassifyObjective(), RegressObjective(), TagObjective(), SpanObjective()],
    ids=lambda spec: spec.kind,
)
def test_an_epoch_reads_every_record_once(stored, marked, spec, equal):
    """Of each objective whose records are rows of their own; the others have tests of theirs."""
    kind = spec.kind
    metadata = {"target": "t u", "label": "1", "tags": "A B", "question": "what?", "answer": "x"}
    records = [("x" * (n % 7 + 1) + " " + "y" * (n * 5 % 11 + 1), metadata) for n in range(23)]
    store, manifest = stored(spec, records)
    assert manifest["records"] == 23
    loader = OBJECTIVES[kind].loader(spec, store, Batching(16, 4, 1, "running", marked))
    steps = int(loader.steps_per_epoch)
    for epoch in range(2):
        read = [loader.rows(epoch * steps + step) for step in range(steps)]
        assert sorted(np.concatenate(read).tolist()) == list(range(len(loader.view)))
    for scored in loader.evaluation(5):
        assert scored.documents.shape == scored.batch.targets.shape
    owned = np.concatenate([scored.documents.numpy().ravel() for scored in loader.evaluation(5)])
    assert set(owned[owned >= 0].tolist()) == set(range(23))
    pairs = zip(loader.evaluation(5), loader.evaluation(5), strict=True)
    assert all(equal(a.batch, b.batch) for a, b in pairs)


def test_a_store_that_was_changed_is_noticed(stored, tmp_path):
    store, _ = stored(ClassifyObjective(), [("a", {"label": "x"}), ("b", {"label": "y"})])
    store.verify()
    assert len(store.texts()) == 2
    assert store.texts().document(1).tolist() == [98]
    path = tmp_path / "examples"
    data = (path / "text.bin").read_bytes()
    (path / "text.bin").write_bytes(b"zz" + data[2:])
    with pytest.raises(DamagedError, match="its SHA-256 differs"):
        ExampleStore(path).verify()
    (path / "text.bin").write_bytes(data[:-1])
    with pytest.raises(DamagedError, match="bytes, not"):
        ExampleStore(path)
    (path / "text.bin").write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    for change in (
        {"records": 3}, {"records": -1}, {"labels": 5}, {"files": None}, {"format": 9}, {"fields": {"text": {}}},
    ):  # fmt: skip
        (path / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(DamagedError):
            ExampleStore(path)
    (path / "manifest.json").unlink()
    with pytest.raises(DamagedError, match="is missing"):
        ExampleStore(path)


def test_nothing_to_store(stored, marked):
    store, _ = stored(ClassifyObjective(), [("a", {})])
    assert len(store) == 0
    assert store.labels == ()
    with pytest.raises(TextmillError, match="nothing to train on"):
        rows("classify", ClassifyObjective(), store, marked)


def test_every_text_is_indexed_with_its_end(stored, tokenizer):
    store, _ = stored(PairsObjective(), [("ab", {"target": "c"}), ("d", {"target": "ef"})])
    texts = store.ended_texts(tokenizer.end)
    assert [texts.document(number).tolist() for number in range(4)] == [
        [*text, tokenizer.end] for text in (b"ab", b"c", b"d", b"ef")
    ]
    assert [texts.document_id(number) for number in range(4)] == [
        store.document_id(record) for record in (0, 0, 1, 1)
    ]
    assert (texts.vocabulary, texts.end) == (store.vocabulary, tokenizer.end)
    answers, _ = stored(SpanObjective(), [("ab", {"question": "q", "answer": "b"})], name="answers")
    assert answers.text_fields == ["text", "question"]


def test_what_is_to_be_written_is_cut_as_a_target():
    from textmill.objectives.pairs import PairsReader

    class Translators:
        vocabulary = 300

        def encode_many(self, texts, threads=None):
            return [np.array([1, len(text)]) for text in texts]

        def encode_targets(self, texts, threads=None):
            return [np.array([2, len(text)]) for text in texts]

    reader = PairsReader(PairsObjective(), Translators())
    pairs = [(0, "a"), (1, "bb"), (0, "ccc"), (1, "dddd")]
    assert [text.ids.tolist() for text in reader._encoded(pairs)] == [[1, 1], [2, 2], [1, 3], [2, 4]]
