"""What marks a text decides what is learnt of it: where answers and words are, and that a question has no answer."""

from __future__ import annotations

import numpy as np
import pytest

from textmill.data.batch import IGNORE
from textmill.data.examples import ExampleStore, write_examples
from textmill.data.loader import Batching
from textmill.data.special import SpecialTokens
from textmill.objectives.table import objective_of
from textmill.specs.objective import ClassifyObjective, RegressObjective, SpanObjective, TagObjective
from textmill.text.document import collected
from textmill.text.marks import SPANS, WORDS, written


@pytest.fixture
def stored(tmp_path, tokenizer):
    """A store of documents, and a function to a batch of all its rows."""

    def make(spec, documents, sequence=32):
        objective = objective_of(spec)
        write_examples(tmp_path / "records", documents, objective.reader(spec, tokenizer))
        store = ExampleStore(tmp_path / "records")
        tokens = SpecialTokens.of(tokenizer)
        view = objective.loader(spec, store, Batching(sequence, 1, 0, "running", tokens)).view
        return store, view.make(np.arange(len(view)), np.zeros(len(view), dtype=np.uint64)).batch, tokens

    return make


PASSAGE = "a mill, and a mill"


def test_an_answer_is_where_it_is_marked_and_a_question_may_have_none(stored):
    texts = {"passage": PASSAGE, "question": "Which?", "answer": "mill"}
    second = collected(texts, "a", {SPANS: written([(14, 18, "answer")])})
    first = collected(texts, "b")
    none = collected({"passage": PASSAGE, "question": "Who?"}, "c", {"answerable": "false"})
    lacking = collected({"passage": PASSAGE, "question": "Who?"}, "d")
    store, batch, _ = stored(SpanObjective(), [second, first, none, lacking], sequence=64)
    assert [store.field("value", record).tolist() for record in range(3)] == [[14, 17], [2, 5], [-1, -1]]
    assert store.manifest["skipped"] == {"no answer": 1}
    assert batch.targets[2].tolist() == [0, 0]  # the row's first token: not here


def test_tags_are_of_the_words_that_are_marked(stored, tokenizer):
    document = collected("去Bern.", "a", {"tags": "O B-LOC O", WORDS: written([(0, 1), (1, 5), (5, 6)])})
    store, batch, _ = stored(TagObjective(), [document])
    assert tokenizer.decode(store.field("text", 0)) == "去Bern."  # no space that the text does not have
    tags = [store.labels[tag] for tag in store.field("value", 0) if tag != IGNORE]
    assert tags == ["O", "B-LOC", "O"]
    assert batch.candidates.sum() == 3


@pytest.mark.parametrize("spec", [ClassifyObjective(pair="second"), RegressObjective(pair="second")])
def test_a_label_of_two_texts(stored, spec):
    pairs = [("abc", "de"), ("a" * 50, "bcd"), ("ab", "c" * 50), ("a" * 50, "b" * 50)]
    documents = [
        collected({"text": a, "second": b}, f"{n}", {"label": "1"}) for n, (a, b) in enumerate(pairs)
    ]
    documents.append(collected({"text": "a"}, "x", {"label": "1"}))
    store, batch, tokens = stored(spec, documents, sequence=20)
    assert store.manifest["skipped"] == {"no second": 1}
    between = tokens.need_between()
    room = 20 - tokens.frame - len(between)
    for row, (first, second) in enumerate(pairs):
        ids = batch.inputs[row]
        ids = ids if batch.mask is None else ids[batch.mask[row]]
        segments = batch.segments[row][: len(ids)]
        # The longer of the two gives way first: a short one is whole, two long ones share what there is.
        b = min(len(second), max(room - len(first), room // 2))
        a = min(len(first), room - b)
        assert len(ids) == tokens.frame + len(between) + a + b <= 20
        assert segments.tolist() == [0] * (len(tokens.lead) + a + len(between)) + [1] * (b + len(tokens.tail))
