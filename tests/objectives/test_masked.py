"""Rows of an encoder: what is hidden, how it reads, and which rows a document stands in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.loaders import check_steps_of
from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE
from textmill.data.loader import Batching
from textmill.data.special import SpecialTokens, begins_word
from textmill.data.tokens import TokenStore, write_tokens
from textmill.data.view import ViewLoader
from textmill.objectives.masked import MASKED, MaskedView, NextSentenceView
from textmill.specs.objective import MaskedObjective
from textmill.text.document import collected

LENGTHS = [5, 40, 0, 17, 100, 3, 3, 64, 9]
quick = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
PACKINGS = pytest.mark.parametrize("packing", ["running", "best-fit"])


def masked(store, marked, *, packing="running", sequence=16, batch=4, seed=3, **keys):
    spec = MaskedObjective(**keys)
    return MASKED.loader(spec, store, Batching(sequence, batch, seed, packing, marked))


@PACKINGS
def test_only_chosen_places_are_targets_and_the_rest_reads_as_it_is(make_store, marked, packing):
    store = make_store(LENGTHS)
    loader = masked(store, marked, packing=packing)
    plain = MaskedView(MaskedObjective(), store, 16, marked, packing).packing
    for step in range(12):
        batch = loader.batch(step)
        rows = plain.rows(loader.order(step)[1])
        stood = np.where(rows.places >= 0, store.ids[np.maximum(rows.places, 0)], marked.start)
        stood[rows.places == -1] = marked.pad
        inputs, targets = batch.inputs.numpy(), batch.targets.numpy()
        chosen = targets != IGNORE
        assert np.array_equal(inputs[~chosen], stood[~chosen])
        assert np.array_equal(targets[chosen], stood[chosen])
        assert not marked.special[stood[chosen]].any()
        assert not marked.special[inputs[chosen & (inputs != marked.mask)]].any()
        assert batch.inputs[:, 0].tolist() == [marked.start] * 4
        if batch.mask is not None:
            assert not chosen[~batch.mask.numpy()].any()


def test_of_the_chosen_80_percent_are_hidden_and_10_read_as_another(make_store, marked):
    store = make_store([5000] * 12)
    loader = masked(store, marked, sequence=128, batch=100)
    counts: Counter[str] = Counter()
    for step in range(10):
        batch = loader.batch(step)
        inputs, targets = batch.inputs.numpy(), batch.targets.numpy()
        chosen = targets != IGNORE
        counts["free"] += int((~marked.special[np.where(chosen, targets, inputs)]).sum())
        counts["chosen"] += int(chosen.sum())
        counts["hidden"] += int((inputs[chosen] == marked.mask).sum())
        counts["same"] += int((inputs == targets)[chosen].sum())
    chosen = counts["chosen"]
    assert abs(chosen / counts["free"] - 0.15) < 0.001  # each row has its share but for rounding
    assert abs(counts["hidden"] / chosen - 0.8) < 5 * np.sqrt(0.16 / chosen)
    same = 0.1 + 0.1 / len(marked.ordinary)  # a random token may be the one that stood there
    assert abs(counts["same"] / chosen - same) < 5 * np.sqrt(same * (1 - same) / chosen)


@pytest.mark.parametrize(("hidden", "random"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_the_shares_are_the_recipe_s(make_store, marked, hidden, random):
    batch = masked(make_store([3000]), marked, sequence=64, batch=32, hidden=hidden, random=random).batch(0)
    chosen = batch.targets != IGNORE
    rate = (batch.inputs[chosen] == marked.mask).double().mean().item()
    same = (batch.inputs == batch.targets)[chosen].double().mean().item()
    assert abs(rate - hidden) < 0.15
    assert abs(same - (1 - hidden - random)) < 0.15


@PACKINGS
@pytest.mark.parametrize("keys", [{}, {"whole_words": True}, {"next_sentence": True}])
def test_ranks_stacked_are_the_batch_of_one_and_nothing_else_matters(
    make_store, marked, packing, keys, equal, stacked
):
    store = make_store([*LENGTHS, *LENGTHS])
    loader = masked(store, marked, packing=packing, batch=8, **keys)
    again = masked(store, marked, packing=packing, batch=8, **keys)
    other = masked(store, marked, packing=packing, batch=8, seed=4, **keys)
    assert not all(equal(other.batch(step), loader.batch(step)) for step in range(3))
    for step in (7, 0, 100):
        whole = loader.batch(step)
        assert equal(again.batch(step), whole)
        for world in (2, 4, 8):
            assert equal(stacked([loader.batch(step, rank, world) for rank in range(world)]), whole)
    with pytest.raises(RecipeError, match="cannot be shared evenly"):
        loader.batch(0, 0, 3)


@settings(quick, max_examples=12)
@given(st.lists(st.integers(0, 40), min_size=8, max_size=16), st.sampled_from([0, 1, 2]), st.booleans())
def test_steps_are_those_of_the_walk(make_store, marked, lengths, way, running):
    keys = [{}, {"whole_words": True}, {"next_sentence": True}][way]
    try:
        loader = masked(
            make_store([*lengths, 9, 9, 9, 9]), marked, packing="running" if running else "best-fit", **keys
        )
    except RecipeError:
        assert way == 2
        return
    check_steps_of(loader, map(loader.store.document_id, range(len(loader.store))), 10)


@PACKINGS
def test_an_epoch_reads_every_token_once(make_store, marked, packing):
    """Seen by hiding nothing: every ordinary token then reads as itself, exactly once."""
    store = make_store(LENGTHS)
    view = MaskedView(MaskedObjective(hidden=0, random=0), store, 16, marked, packing)
    loader = ViewLoader(view, len(view), 0)
    for step in (0, 1):
        batch = loader.batch(step)
        read = batch.inputs.numpy().ravel()
        expected = np.asarray(store.ids)[~marked.special[store.ids]]
        if packing == "best-fit":
            assert sorted(read[~marked.special[read]]) == sorted(expected.tolist())
        else:
            assert not Counter(expected.tolist()) - Counter(read.tolist())
    assert not np.array_equal(loader.batch(0).inputs, loader.batch(1).inputs)


def test_best_fit_gives_each_document_its_start(make_store, marked):
    store = make_store(LENGTHS)
    batch = MaskedView(MaskedObjective(hidden=0, random=0), store, 32, marked, "best-fit")
    made = batch.make(np.arange(len(batch)), np.zeros(len(batch), dtype=np.uint64)).batch
    starts = 0
    for row in range(len(made)):
        inputs, documents = made.inputs[row].tolist(), made.documents[row].tolist()
        for place, token in enumerate(inputs):
            if made.mask[row, place]:
                first = place == 0 or documents[place - 1] != documents[place]
                assert (token == marked.start) == first
                starts += first
    assert starts == sum(-(-(length + 1) // 31) for length in LENGTHS)


def test_evaluation_is_the_same_every_time_and_says_whose_each_target_is(make_store, marked, equal):
    store = make_store(LENGTHS)
    loader = masked(store, marked)
    one, two = list(loader.evaluation(3)), list(loader.evaluation(3))
    for a, b in zip(one, two, strict=True):
        assert equal(a.batch, b.batch)
        assert np.array_equal(a.documents, b.documents)
        assert ((a.documents >= 0) == (a.batch.targets != IGNORE)).all()
        for row, place in np.argwhere(a.documents.numpy() >= 0):
            document = int(a.documents[row, place])
            assert int(a.batch.targets[row, place]) in store.document(document)
    assert sum(len(item.batch) for item in loader.evaluation(3, tokens=40)) == 3
    other = masked(store, marked, packing="best-fit", seed=9)
    assert all(equal(a.batch, b.batch) for a, b in zip(one, other.evaluation(3), strict=True))


def test_whole_words_of_a_text(tokenizer, marked, tmp_path):
    text = "It's 5 o'clock，我们 naïve über-cool\nend. " * 30
    write_tokens(tmp_path / "s", [collected(text, "x")], tokenizer)
    store = TokenStore(tmp_path / "s")
    words = np.cumsum([begins_word(bytes([byte])) for byte in text.encode()])
    loader = masked(store, marked, sequence=len(text.encode()) + 2, batch=1, whole_words=True)
    for step in range(8):
        chosen = loader.batch(step).targets[0].numpy()[1 : len(words) + 1] != IGNORE
        assert chosen.any()
        for word in np.unique(words[chosen]):
            assert chosen[words == word].all()


@pytest.mark.parametrize(
    ("piece", "begins"),
    [
        (" the", True), ("the", False), ("é", False), ("1", True), (".", True), ("\n", True), ("我", True),
        ("们的", True), ("щ", False), ("_", True), ("", True), ("😀", True), ("\u0301", False),
    ],
)  # fmt: skip
def test_what_begins_a_word(piece, begins):
    assert begins_word(piece.encode()) == begins


def test_pieces_of_a_character():
    assert begins_word("我".encode()[:2])
    assert begins_word("😀".encode()[:1])
    assert not begins_word("我".encode()[1:])
    assert not begins_word("é".encode()[:1])
    assert not begins_word("न".encode()[:2])


def sentences(store, marked, sequence=16):
    return NextSentenceView(MaskedObjective(next_sentence=True, hidden=0, random=0), store, sequence, marked)


def test_the_second_segment_follows_in_half_of_the_rows_and_else_is_of_another_document(make_store, marked):
    store = make_store([50, 30, 45, 0, 1, 80, 20, 33, 7, 2])
    view = sentences(store, marked)
    for key in range(20):
        made = view.make(np.arange(len(view)), np.full(len(view), key, dtype=np.uint64))
        labels = made.batch.labels.tolist()
        assert sum(labels) == len(view) // 2
        for row, label in enumerate(labels):
            ids, segments = made.batch.inputs[row].tolist(), made.batch.segments[row].tolist()
            real = int(made.batch.mask[row].sum())
            first, second = [place for place, token in enumerate(ids) if token == marked.separator]
            assert ids[0] == marked.start
            assert second == real - 1
            assert segments == [0] * (first + 1) + [1] * (second - first) + [0] * (16 - real)
            one, two = bytes(ids[1:first]), bytes(ids[first + 1 : second])
            assert one
            assert two
            read = set(made.read[made.read[:, 0] == row][:, 1].tolist())
            assert len(read) == 1 + label
            texts = [bytes(store.document(d)[:-1].tolist()) for d in sorted(read)]
            if label:
                assert any(one in text for text in texts)
                assert any(two in text for text in texts)
            else:
                assert one + two in texts[0]


@quick
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12), st.integers(5, 40), st.integers(0, 2**64 - 1))
def test_an_epoch_reads_every_token_of_sentences_once(make_store, marked, lengths, sequence, key):
    store = make_store(lengths)
    try:
        view = sentences(store, marked, sequence)
    except RecipeError:
        assert sum(-(-length // (sequence - 3)) for length in lengths if length > 1) < 4
        return
    rows = np.arange(len(view))
    second = view.seconds(rows, key)
    assert sorted(second.tolist()) == rows.tolist()
    assert np.array_equal(view._shifted(second, key, -1), rows)
    assert (second != rows).sum() == len(view) // 2
    batch = view.make(rows, np.full(len(rows), key, dtype=np.uint64)).batch
    read = batch.inputs.numpy()[batch.mask.numpy()]
    kept = [store.document(d)[:-1] for d in range(len(store)) if len(store.document(d)) > 2]
    assert sorted(read[read < 256]) == sorted(np.concatenate(kept).tolist())


def test_epochs_pair_sentences_differently(make_store, marked):
    view = sentences(make_store([60] * 12), marked)
    pairs = {tuple(view.seconds(np.arange(len(view)), key).tolist()) for key in range(10)}
    assert len(pairs) == 10


def test_what_a_tokenizer_lacks_is_said(make_store, marked):
    store = make_store(LENGTHS)
    with pytest.raises(RecipeError, match="has no mask token"):
        masked(store, replace(marked, mask=None))
    with pytest.raises(RecipeError, match="has no separator token"):
        masked(store, replace(marked, separator=None), next_sentence=True)
    with pytest.raises(RecipeError, match="too few"):
        masked(make_store([9]), marked, next_sentence=True)
    with pytest.raises(RecipeError, match="no room"):
        masked(store, marked, sequence=1)


def test_special_tokens_of_a_plain_tokenizer(tokenizer):
    made = SpecialTokens.of(tokenizer)
    assert made.end == tokenizer.end
    assert not made.special[made.ordinary].any()
    assert len(made.ordinary) == 256
    assert made.special[tokenizer.pad]
    assert made.lead == (made.start,)
    assert SpecialTokens.of(tokenizer, start=7).start == 7


def test_a_tokenizer_that_frames_texts(tokenizer):
    class Framing:
        vocabulary, end, pad, start = 300, 256, 257, 258
        prefix, suffix = (258,), (256, 259)
        mask = separator = None
        between: tuple[int, ...] = ()
        sentinels = ()
        special = {"[CLS]": 258}  # noqa: RUF012
        token_bytes = staticmethod(lambda token: b"")

    made = SpecialTokens.of(Framing())
    assert (made.lead, made.tail, made.frame) == ((258,), (256, 259), 3)
    assert (made.mask, made.separator, made.sentinels) == (None, None, ())
    assert np.flatnonzero(made.special).tolist() == [256, 257, 258, 259]
