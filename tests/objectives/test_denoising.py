"""Rows of an encoder-decoder made of plain text: the text comes back out of source and target."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.loaders import check_steps_of
from textmill.base.errors import RecipeError, TextmillError
from textmill.data import noise
from textmill.data.batch import IGNORE
from textmill.data.loader import Batching
from textmill.objectives.denoising import ContinueView, InfillingView, SpansView, corrupted
from textmill.objectives.table import OBJECTIVES
from textmill.specs.objective import ContinueObjective, InfillingObjective, SpansObjective

LENGTHS = [5, 40, 0, 17, 100, 3, 3, 64, 9]
SPECS = {"infilling": InfillingObjective(), "spans": SpansObjective(), "continue": ContinueObjective()}
VIEWS = {"infilling": InfillingView, "spans": SpansView, "continue": ContinueView}
KINDS = pytest.mark.parametrize("kind", list(SPECS))
PACKINGS = pytest.mark.parametrize("packing", ["running", "best-fit"])
quick = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def loader_of(kind, store, marked, *, packing="running", sequence=24, batch=4, seed=3):
    how = Batching(sequence, batch, seed, packing, marked)
    return OBJECTIVES[kind].loader(SPECS[kind], store, how)


def pieces(view, key):
    """(text of the piece, pair) of every row."""
    for row in range(len(view)):
        word = noise.row_keys(np.array([key], dtype=np.uint64), np.array([row]))
        yield view.store.ids[view.pieces.places(row)].tolist(), view.pair(row, word)


def refilled(source: list[int], target: list[int], sentinels: tuple[int, ...]) -> list[int]:
    """A text put together again from T5's source and target."""
    runs: dict[int, list[int]] = {}
    for token in target:
        if token in sentinels:
            runs[token] = []
        else:
            runs[list(runs)[-1]].append(token)
    return [token for place in source for token in (runs[place] if place in sentinels else [place])]


def test_the_figure_of_the_paper():
    """Raffel et al. 2020, figure 2: Thank you <X> me to your party <Y> week. / <X> for inviting <Y> last <Z>"""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    ids = np.arange(1, len(words) + 1)
    hidden = np.array([word in ("for", "inviting", "last") for word in words])
    names = {0: "</s>", **dict(enumerate(words, 1)), 91: "<X>", 92: "<Y>", 93: "<Z>"}
    source, target, places = corrupted(ids, hidden, np.array([91, 92, 93, 94]), 0)
    assert " ".join(names[token] for token in source) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(names[token] for token in target) == "<X> for inviting <Y> last <Z> </s>"
    assert [words[place] for place in places] == ["for", "for", "inviting", "last", "last", ".", "."]


@quick
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=8),
    st.integers(12, 50),
    st.sampled_from([0.15, 0.4]),
    st.sampled_from([1.0, 3.0]),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
def test_spans_hold_the_text(make_store, marked, lengths, sequence, share, span, key, running):
    store = make_store(lengths)
    spec = SpansObjective(share=share, span=span)
    view = SpansView(spec, store, sequence, marked, "running" if running else "best-fit")
    read = []
    for text, pair in pieces(view, key):
        read += text
        source, target = pair.source.tolist(), pair.target.tolist()
        assert source[0] == marked.start
        assert target[-1] == marked.end
        assert refilled(source[1:], target[:-1], marked.sentinels) == text
        used = [token for token in target if token in marked.sentinels]
        assert used == list(marked.sentinels[: len(used)])  # in order, and a last one that hides nothing
        assert [token for token in source if token in marked.sentinels] == used[:-1]
        assert target[-2] == used[-1]
        assert max(len(source), len(target)) <= sequence
        hidden = [token for token in target if token not in marked.sentinels][:-1]
        assert not marked.special[hidden].any()
        free = int((~marked.special[text]).sum())
        assert len(hidden) == noise.hidden_count(free, share, span)[0]
        assert len(pair.owners) == len(target)
        assert (pair.owners >= 0).all()
    assert read == store.ids.tolist()


@quick
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=8),
    st.integers(6, 50),
    st.sampled_from([0.1, 0.3, 0.9]),
    st.sampled_from([1.0, 3.0]),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
def test_infilled_texts_fit_around_what_is_left(
    make_store, marked, lengths, sequence, share, span, key, running
):
    store = make_store(lengths)
    spec = InfillingObjective(share=share, span=span)
    view = InfillingView(spec, store, sequence, marked, "running" if running else "best-fit")
    read = []
    for text, pair in pieces(view, key):
        read += text
        source, target = pair.source.tolist(), pair.target.tolist()
        assert source[0] == marked.start
        assert target == (text if text[-1] == marked.end else [*text, marked.end])
        assert max(len(source), len(target)) <= sequence
        masks = source.count(marked.mask)
        left = [token for token in source[1:] if token != marked.mask]
        free = int((~marked.special[text]).sum())
        assert abs(len(text) - len(left) - share * free) < 1
        assert masks <= len(text) - len(left)
        assert [t for t in left if marked.special[t]] == [t for t in text if marked.special[t]]
        pattern = "".join("[^\u0100]*" if t == marked.mask else re.escape(chr(t)) for t in source[1:])
        assert re.fullmatch(pattern, "".join(map(chr, text)), re.DOTALL)
    assert read == store.ids.tolist()


def test_some_masks_hide_nothing(make_store, marked):
    """As many as a Poisson distribution has zeros: masks, less the runs that the same key hides."""
    view = InfillingView(InfillingObjective(), make_store([40_000]), 400, marked, "running")
    masks = runs = 0
    for row, (text, pair) in enumerate(pieces(view, 5)):
        word = noise.row_keys(np.array([5], dtype=np.uint64), np.array([row]))
        hidden, _ = noise.poisson_hidden(int((~marked.special[text]).sum()), 0.3, 3.0, word)
        runs += int((np.diff(np.concatenate([[0], hidden.astype(int)])) == 1).sum())
        masks += pair.source.tolist().count(marked.mask)
    assert abs((masks - runs) / masks - np.exp(-3)) < 0.01


@quick
@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(4, 50), st.booleans())
def test_every_token_is_the_continuation_of_what_stands_before_it(
    make_store, marked, lengths, sequence, running
):
    store = make_store(lengths)
    view = ContinueView(ContinueObjective(), store, sequence, marked, "running" if running else "best-fit")
    read, before = [], []
    for text, pair in pieces(view, 0):
        assert pair.target.tolist() == text
        source = pair.source.tolist()
        assert source[0] == marked.start
        assert max(len(source), len(text)) <= sequence
        begins = not read or (not running and read[-1] == marked.end)
        assert source[1:] == ([] if begins else before)
        read += text
        before = text
    assert read == store.ids.tolist()


@KINDS
@PACKINGS
def test_the_decoder_reads_its_start_and_the_target_so_far(make_store, marked, kind, packing):
    loader = loader_of(kind, make_store(LENGTHS), replace(marked, start=99), packing=packing, batch=5)
    for step in range(int(loader.steps_per_epoch)):
        batch = loader.batch(step)
        real = np.ones(batch.inputs.shape, bool) if batch.mask is None else batch.mask.numpy()
        assert real.any(axis=0).all()  # no wider than the longest row
        targets = batch.targets.numpy()
        assert ((targets != IGNORE) == real).all()
        for row in range(len(batch)):
            said = targets[row][real[row]]
            assert batch.inputs[row].numpy()[real[row]].tolist() == [99, *said[:-1].tolist()]
            assert (batch.inputs[row].numpy()[~real[row]] == marked.pad).all()
        heard = np.ones(batch.source.shape, bool) if batch.source_mask is None else batch.source_mask.numpy()
        assert heard.any(axis=0).all()
        assert (batch.source.numpy()[~heard] == marked.pad).all()
        assert (batch.source.numpy()[:, 0] == marked.lead[0]).all()


@KINDS
@PACKINGS
def test_ranks_stacked_are_the_batch_of_one(make_store, marked, kind, packing, equal, stacked):
    store = make_store(LENGTHS)
    loader, again = (loader_of(kind, store, marked, packing=packing) for _ in range(2))
    for step in (9, 0, 31):
        whole = loader.batch(step)
        assert equal(again.batch(step), whole)
        for world in (2, 4) if len(whole) == 4 else ():
            assert equal(stacked([loader.batch(step, rank, world) for rank in range(world)]), whole)


@KINDS
@PACKINGS
def test_an_epoch_reads_every_row_once_and_with_new_noise_the_next(make_store, marked, kind, packing):
    store = make_store(LENGTHS)
    loader = loader_of(kind, store, marked, packing=packing, batch=1)
    rows = int(loader.steps_per_epoch)
    targets: list[Counter[tuple[int, ...]]] = []
    sources = []
    for epoch in range(2):
        batches = [loader.batch(epoch * rows + step) for step in range(rows)]
        targets.append(Counter(tuple(batch.targets[0].tolist()) for batch in batches))
        sources.append(Counter(tuple(batch.source[0].tolist()) for batch in batches))
    if kind != "spans":
        assert targets[0] == targets[1]
        said = [token for row in targets[0].elements() for token in row]
        assert not Counter(store.ids.tolist()) - Counter(said)
    assert (sources[0] == sources[1]) == (kind == "continue")


@settings(quick, max_examples=12)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=10), st.sampled_from(list(SPECS)), st.booleans())
def test_steps_are_those_of_the_walk(make_store, marked, lengths, kind, running):
    loader = loader_of(kind, make_store(lengths), marked, packing="running" if running else "best-fit")
    check_steps_of(loader, map(loader.store.document_id, range(len(loader.store))), 12)


@KINDS
def test_evaluation_keeps_documents_apart_and_never_changes(make_store, marked, kind, equal):
    store = make_store(LENGTHS)
    running, fitted = (loader_of(kind, store, marked, packing=packing) for packing in ("running", "best-fit"))
    one, two = list(running.evaluation(3)), list(running.evaluation(3))
    assert all(equal(a.batch, b.batch) for a, b in zip(one, two, strict=True))
    said: Counter[int] = Counter()
    for item in one:
        for row in item.documents:
            assert len(set(row[row >= 0].tolist())) == 1
            said[int(row[0])] += int((row >= 0).sum())
    assert sorted(said) == list(range(len(store)))
    if kind == "continue":
        assert said == Counter({d: len(store.document(d)) for d in range(len(store))})
    total = sum(said.values())
    assert total == sum(int((item.documents >= 0).sum()) for item in fitted.evaluation(3))
    part = sum(int((item.documents >= 0).sum()) for item in running.evaluation(3, tokens=60))
    assert 0 < part < total


def test_sources_end_as_the_tokenizer_says(make_store, marked):
    framing = replace(marked, lead=(), tail=(marked.end,))
    for kind, packing in (("spans", "best-fit"), ("infilling", "best-fit"), ("spans", "running")):
        view = VIEWS[kind](SPECS[kind], make_store(LENGTHS), 24, framing, packing)
        for text, pair in pieces(view, 1):
            source = pair.source.tolist()
            assert source[0] != marked.start
            assert source[-1] == marked.end
            assert source.count(marked.end) == text.count(marked.end) + (text[-1] != marked.end)


def test_what_is_missing_is_said(make_store, marked):
    store = make_store([300])
    with pytest.raises(RecipeError, match="has 5 sentinels, but sequences of 256 tokens need 14"):
        loader_of("spans", store, replace(marked, sentinels=marked.sentinels[:5]), sequence=256)
    with pytest.raises(RecipeError, match="longer than a sequence"):
        SpansView(SpansObjective(share=0.9, span=1), store, 64, marked, "running")
    with pytest.raises(RecipeError, match="has no mask token"):
        loader_of("infilling", store, replace(marked, mask=None))
    for kind in SPECS:
        with pytest.raises(RecipeError, match="no room"):
            loader_of(kind, store, marked, sequence=2)
    with pytest.raises(TextmillError, match="holds no document"):
        loader_of("spans", make_store([]), marked)


def test_few_sentinels_hide_less_where_texts_are_short(make_store, marked):
    """Ends of text part runs into more of them than a row needs as a rule."""
    store = make_store([3] * 60)
    few = replace(marked, sentinels=marked.sentinels[: noise.hidden_count(47, 0.5, 3.0)[1] + 1])
    view = SpansView(SpansObjective(share=0.5), store, 48, few, "running")
    for text, pair in pieces(view, 3):
        assert refilled(pair.source.tolist()[1:], pair.target.tolist()[:-1], few.sentinels) == text
        assert max(len(pair.source), len(pair.target)) <= 48
