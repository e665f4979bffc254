"""Beam search against exhaustive search, against greedy decoding, and whatever the batch."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import NonFiniteError, RecipeError, TextmillError
from textmill.decoding import beam
from textmill.decoding.generate import generate
from textmill.decoding.prompt import Prompt
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.position import AlibiPositions
from textmill.specs.recipe import GenerationSpec

END = 0
SPEC = GenerationSpec(tokens=4, temperature=0, beams=4)


def norm(spec: GenerationSpec, length: int) -> float:
    counted = length if spec.length_formula == "power" else (5 + length) / 6
    return counted**spec.length_penalty


def exhaustive(model, prompt: tuple[int, ...], spec: GenerationSpec, ends=(END,)) -> list[tuple]:
    """Every answer there is, best first: (score, ids, log probability)."""
    found = []

    def go_on(ids: tuple[int, ...], logprob: float) -> None:
        logprobs = model.after((*prompt, *ids)).log_softmax(-1).tolist()
        for token, cost in enumerate(logprobs):
            if token in ends and len(ids) < spec.min_tokens:
                continue
            text = (*ids, token)
            if token in ends or len(text) == spec.tokens:
                found.append(((logprob + cost) / norm(spec, len(text)), text, logprob + cost))
            else:
                go_on(text, logprob + cost)

    go_on((), 0.0)
    return sorted(found, reverse=True)


@settings(max_examples=60, deadline=None)
@given(
    vocabulary=st.integers(2, 5),
    tokens=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    prompt=st.lists(st.integers(0, 1), min_size=1, max_size=4),
    formula=st.sampled_from(["power", "gnmt"]),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0, -0.5]),
    least=st.integers(0, 3),
    ends=st.sampled_from([(0,), (0, 1), ()]),
)
def test_a_wide_beam_finds_what_exhaustive_search_finds(
    toy, vocabulary, tokens, seed, prompt, formula, alpha, least, ends
):
    """With as many beams as there are answers nothing is ever left out."""
    model = toy(vocabulary, seed)
    spec = GenerationSpec(
        tokens=tokens,
        beams=max(2, min(1024, vocabulary**tokens)),
        early_stopping="never",
        length_penalty=alpha,
        length_formula=formula,
        min_tokens=least if len(ends) < vocabulary else 0,
    )
    want = exhaustive(model, tuple(prompt), spec, ends)
    (found,) = beam.search(model, [prompt], spec, ends=ends)
    assert len(found) == len(want)
    assert {one.ids for one in found} == {ids for _, ids, _ in want}
    logprobs = {ids: logprob for _, ids, logprob in want}
    for one, (score, _, _) in zip(found, want, strict=True):
        assert one.score == pytest.approx(score, abs=1e-4)
        assert one.logprob == pytest.approx(logprobs[one.ids], abs=1e-4)
        assert one.score == pytest.approx(one.logprob / norm(spec, len(one.ids)), abs=1e-4)
        assert one.finish == ("end" if one.ids[-1] in ends else "length")


@settings(max_examples=30, deadline=None)
@given(
    prompts=st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=6), min_size=2, max_size=7),
    seed=st.integers(0, 1000),
    early=st.sampled_from(["yes", "no", "never"]),
    rows=st.integers(1, 8),
    sources=st.booleans(),
    more=st.sampled_from([{}, {"no_repeat_ngram": 2}, {"repetition_penalty": 1.3, "min_tokens": 3}]),
)
def test_a_prompt_is_answered_the_same_alone_and_in_any_batch(toy, prompts, seed, early, rows, sources, more):
    model = toy(9, seed)
    spec = GenerationSpec(tokens=7, beams=3, early_stopping=early, **more)
    asked = [Prompt([1], source=one) for one in prompts] if sources else prompts
    together = beam.search(model, asked, spec, ends=END, rows=rows)
    for prompt, answers in zip(asked, together, strict=True):
        (alone,) = beam.search(model, [prompt], spec, ends=END)
        assert [one.ids for one in answers] == [one.ids for one in alone]
        assert [one.score for one in answers] == pytest.approx([one.score for one in alone], abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=5), st.integers(0, 1000))
def test_one_beam_is_greedy_decoding(toy, prompts, seed):
    model = toy(9, seed)
    spec = GenerationSpec(tokens=9, temperature=0, beams=1, early_stopping="yes")
    greedy: dict[int, list] = {}
    for piece in generate(model, prompts, spec, ends=END):
        greedy.setdefault(piece.row, []).append(piece)
    for row, (answer,) in enumerate(beam.search(model, prompts, spec, ends=END)):
        assert answer.ids == tuple(piece.id for piece in greedy[row])
        assert answer.logprob == pytest.approx(sum(piece.logprob for piece in greedy[row]), abs=1e-4)
        assert answer.finish == greedy[row][-1].finish


def test_more_beams_never_find_less_where_all_is_searched(toy):
    """And each answer's log probability is its own."""
    model = toy(6, 3)
    spec = GenerationSpec(tokens=5, beams=6, length_penalty=0.0, early_stopping="never")
    (answers,) = beam.search(model, [[2]], spec, ends=END)
    assert [one.score for one in answers] == sorted((one.score for one in answers), reverse=True)
    assert len({one.ids for one in answers}) == 6
    for one in answers:
        text, total = (2,), 0.0
        for token in one.ids:
            total += float(model.after(text).log_softmax(-1)[token])
            text = (*text, token)
        assert one.logprob == pytest.approx(total, abs=1e-4)


def test_penalties_change_the_score_and_not_the_log_probability(toy):
    model = toy(6, 5)
    spec = GenerationSpec(tokens=5, beams=4, length_penalty=0.0, repetition_penalty=1.5)
    (answers,) = beam.search(model, [[2, 3]], spec, ends=END)
    for one in answers:
        text, total, changed = (2, 3), 0.0, 0.0
        for token in one.ids:
            cost = float(model.after(text).log_softmax(-1)[token])
            total += cost
            changed += cost * (1.5 if token in text else 1.0)
            text = (*text, token)
        assert one.logprob == pytest.approx(total, abs=1e-4)
        assert one.score == pytest.approx(changed, abs=1e-4)


def test_bans_hold(toy):
    model = toy(5, 1, scale=4.0)
    spec = GenerationSpec(tokens=9, beams=3, no_repeat_ngram=2, min_tokens=6, suppressed_tokens=(3,))
    for answers in beam.search(model, [[1, 2], [2, 2, 1]], spec, ends=END):
        for one in answers:
            assert 3 not in one.ids
            assert END not in one.ids[:6]


def test_where_everything_is_banned_nothing_is(toy):
    model = toy(3, 1)
    spec = GenerationSpec(tokens=6, beams=2, no_repeat_ngram=1, min_tokens=6)
    (answers,) = beam.search(model, [[1, 2, 0]], spec, ends=END)
    assert [len(one.ids) for one in answers] == [6, 6]


def test_finished_prompts_leave_the_batch(toy):
    """Half of the prompts end at once; the others go on alone, and each prompt is read once."""

    class Ends(toy):
        def after(self, text):
            logits = super().after(text)
            logits[END] = 50.0 if text[0] == 1 else -50.0
            return logits

    model = Ends(7, 2)
    spec = GenerationSpec(tokens=6, beams=2, early_stopping="yes", length_penalty=0.0)
    answers = beam.search(model, [[1]] * 5 + [[2]] * 3, spec, ends=END)
    assert {one[0].ids for one in answers[:5]} == {(END,)}
    assert {len(one[0].ids) for one in answers[5:]} == {6}
    assert model.rows[0] == 16
    assert set(model.rows[2:]) == {6}


def test_nothing_is_moved_when_every_row_stays(toy):
    """One beam never changes places."""
    seen = []

    class Watched(toy):
        def step(self, tokens, state):
            seen.append(state.reorders)
            return super().step(tokens, state)

    beam.search(Watched(7, 2), [[1], [2]], GenerationSpec(tokens=9, beams=1), ends=())
    assert set(seen) == {0}


def test_settled_keeps_first_children_where_their_parents_were():
    parents = torch.tensor([[0, 1, 2, 3], [3, 3, 3, 3], [2, 0, 2, 1], [1, 1, 0, 0]])
    order = beam._settled(parents)
    placed = parents.gather(1, order)
    assert order.sort(1).values.tolist() == [[0, 1, 2, 3]] * 4
    assert placed[0].tolist() == [0, 1, 2, 3]
    assert order[1, 3] == 0
    for row, row_parents in enumerate(parents.tolist()):
        for parent in set(row_parents):
            assert order[row, parent] == row_parents.index(parent)


SMALL = {"d_model": 32, "layers": 2, "heads": 4, "kv_heads": 2, "d_ff": 48, "context": 40}


@pytest.mark.parametrize("position", [None, AlibiPositions()], ids=["rotary", "alibi"])
def test_a_cached_decoder_gives_what_reading_everything_anew_gives(position):
    """Every answer's score, from the training path; and prompts of all lengths, alone and together."""
    from textmill.data.batch import IGNORE, Batch

    more = {} if position is None else {"position": position}
    model = build(DecoderSpec(**SMALL, **more), 60, seed=2)
    for parameter in model.parameters():
        parameter.data.mul_(3 if parameter.ndim == 2 else 1)
    spec = GenerationSpec(tokens=8, beams=4, length_penalty=0.7)
    prompts = [[5, 6, 7], [9], list(range(1, 30)), [40] * 12, [3, 3]]
    together = beam.search(model, prompts, spec, ends=END)
    for prompt, answers in zip(prompts, together, strict=True):
        (alone,) = beam.search(model, [prompt], spec, ends=END)
        assert [one.ids for one in alone] == [one.ids for one in answers]
        for one in answers:
            ids = torch.tensor([[*prompt, *one.ids]])
            with torch.inference_mode():
                logprobs = model.eval()(Batch(ids, torch.full_like(ids, IGNORE)))[0].log_softmax(-1)
            found = sum(
                float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(one.ids)
            )
            assert one.logprob == pytest.approx(found, abs=1e-3)
            assert one.score == pytest.approx(found / len(one.ids) ** 0.7, abs=1e-3)


def test_the_context_is_the_limit():
    model = build(DecoderSpec(**SMALL), 60, seed=2)
    spec = GenerationSpec(tokens=100, beams=3, early_stopping="never")
    long = list(range(1, 50))
    answers = beam.search(model, [long, [1], [2] * 40], spec, ends=())
    assert {one.cut for one in answers[0]} == {len(long) - 20}
    assert {len(one.ids) for one in answers[0]} == {21}
    assert {len(one.ids) for one in answers[1]} == {40}
    assert {(len(one.ids), one.cut, one.finish) for one in answers[2]} == {(1, 0, "length")}


def test_what_cannot_be_done_is_said(toy):
    model = toy(5)
    with pytest.raises(RecipeError, match="4 beams cannot give 5"):
        beam.search(model, [[1]], SPEC, ends=END, samples=5)
    with pytest.raises(TextmillError, match="attention to a source"):
        beam.search(model, [[1]], dataclasses.replace(SPEC, coverage_penalty=0.2), ends=END)
    with pytest.raises(TextmillError, match="the target is empty"):
        beam.search(model, [Prompt([], source=[1])], SPEC, ends=END)
    with pytest.raises(TextmillError, match="some have none"):
        beam.search(model, [[1], Prompt([1], source=[1])], SPEC, ends=END)
    for fields, where in (
        ({"beams": 2, "contrastive": 0.6, "top_k": 4}, "beams"),
        ({"contrastive": 0.6}, "top_k"),
        ({"mbr": "chrf", "temperature": 0.0}, "temperature"),
    ):
        with pytest.raises(RecipeError) as error:
            GenerationSpec(**fields)
        assert error.value.where == where

    class Broken(toy):
        def after(self, text):
            return torch.full((5,), math.nan)

    with pytest.raises(NonFiniteError):
        beam.search(Broken(5), [[1]], SPEC, ends=END)
    assert beam.search(model, [], SPEC, ends=END) == []


@pytest.mark.parametrize("kind", ["encoder-decoder", "recurrent-encoder-decoder"])
def test_coverage_is_that_of_wu_et_al(kind):
    """Equation 14 from the attention of the training path, with sources of different lengths."""
    from textmill.data.batch import IGNORE, Batch
    from textmill.nn import mode
    from textmill.specs.model import EncoderDecoderSpec, RecurrentEncoderDecoderSpec

    spec = {
        "encoder-decoder": EncoderDecoderSpec(
            d_model=32, layers=2, heads=4, d_ff=48, context=32, dropout=0.0
        ),
        "recurrent-encoder-decoder": RecurrentEncoderDecoderSpec(
            d_model=32, layers=1, context=32, dropout=0.0
        ),
    }[kind]
    model = build(spec, 40, seed=5).eval()
    for parameter in model.parameters():
        parameter.data.mul_(2.5 if parameter.ndim == 2 else 1)
    asked = GenerationSpec(
        tokens=7, beams=3, coverage_penalty=0.4, length_penalty=0.6, length_formula="gnmt", min_tokens=2
    )
    sources = [[5, 6, 7, 8, 9], [3, 11], [12, 13, 14, 15, 16, 17, 18, 19]]
    found = beam.search(model, [Prompt([1], source=one) for one in sources], asked, ends=END)
    plain = beam.search(
        model,
        [Prompt([1], source=one) for one in sources],
        dataclasses.replace(asked, coverage_penalty=0.0),
        ends=END,
    )
    assert [row[0].score for row in found] != [row[0].score for row in plain]
    for source, answers in zip(sources, found, strict=True):
        for one in answers:
            inputs = torch.tensor([[1, *one.ids[:-1]]])
            batch = Batch(inputs, torch.full_like(inputs, IGNORE), source=torch.tensor([source]))
            with torch.inference_mode(), mode.capture_sources() as maps:
                logprobs = model(batch)[0].log_softmax(-1)
            logprob = float(logprobs.gather(1, torch.tensor(one.ids)[:, None]).sum())
            attended = torch.stack([layer.mean(1)[0] for layer in maps]).mean(0).sum(0)  # (S,)
            coverage = 0.4 * float(attended.clamp(max=1).log().sum())
            assert one.logprob == pytest.approx(logprob, abs=1e-3)
            assert one.score == pytest.approx(logprob / ((5 + len(one.ids)) / 6) ** 0.6 + coverage, abs=1e-3)


@pytest.mark.parametrize("padded", [False, True])
def test_rearranging_a_cache_is_reordering_it(padded):
    from textmill.data.batch import IGNORE, Batch

    model = build(DecoderSpec(**SMALL), 60, seed=2).eval()
    inputs = torch.randint(1, 60, (5, 6))
    mask = torch.ones(5, 6, dtype=torch.bool)
    if padded:
        mask[1, :3] = mask[3, :5] = False
    batch = Batch(inputs, torch.full_like(inputs, IGNORE), mask)
    tokens, rows = torch.randint(60, (5, 1)), torch.tensor([0, 1, 1, 0, 3])
    with torch.inference_mode():
        state = model.begin(batch, 10)[1]
        want = model.step(tokens, state.reorder(rows))[0]
        found = model.step(tokens, state.rearrange(rows))[0]
    assert torch.equal(found, want)
