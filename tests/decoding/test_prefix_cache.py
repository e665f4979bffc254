"""A conversation's next prompt is read from where the last one ended, and means what it would have meant whole."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data.batch import IGNORE, Batch
from textmill.decoding.generate import generate
from textmill.decoding.prefix_cache import PrefixCache
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, RecurrentSpec
from textmill.specs.position import AlibiPositions, LearnedPositions, RelativePositions, T5Positions
from textmill.specs.recipe import GenerationSpec

VOCABULARY, CONTEXT = 60, 64
SPEC = DecoderSpec(d_model=32, layers=2, heads=4, kv_heads=2, d_ff=64, context=CONTEXT, tied=False)
KINDS = {
    "rotary": SPEC,
    "learned": dataclasses.replace(SPEC, position=LearnedPositions()),
    "alibi": dataclasses.replace(SPEC, position=AlibiPositions()),
    "t5": dataclasses.replace(SPEC, position=T5Positions()),
    "relative": dataclasses.replace(SPEC, position=RelativePositions()),
    "window": dataclasses.replace(SPEC, window=9),
}
DRAWN = GenerationSpec(tokens=12, temperature=0.7, top_k=20)


def prompt_of(*rows: list[int]) -> Batch:
    ids = torch.tensor(rows)
    return Batch(ids, torch.full_like(ids, IGNORE))


def made(kind: str) -> torch.nn.Module:
    return build(KINDS[kind], VOCABULARY, seed=3).eval()


def said(model: torch.nn.Module, prompt: list[int]) -> list[int]:
    return [piece.id for piece in generate(model, [prompt], DRAWN, ends=())]


ids = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=8)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(turns=st.lists(st.tuples(ids, st.booleans()), min_size=2, max_size=4), begun=ids)
def test_answers_are_those_of_the_whole_prompt(kind, turns, begun):
    """Turns that go on from the answer, and turns that take another way from somewhere in the middle."""
    model = made(kind)
    cached = PrefixCache(model)
    conversation = begun
    for text, goes_on in turns:
        conversation = [*conversation, *text] if goes_on else [*conversation[: len(conversation) // 2], *text]
        conversation = conversation[-40:]
        logits, _ = cached.begin(prompt_of(conversation), CONTEXT)
        whole, _ = model.begin(prompt_of(conversation), CONTEXT)
        torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)
        answer = said(cached, conversation)
        assert answer == said(model, conversation)
        conversation = [*conversation, *answer]


def test_only_what_is_new_is_read(monkeypatch):
    model = made("rotary")
    cached = PrefixCache(model)
    read = []
    plain = model.hidden_step
    monkeypatch.setattr(
        model, "hidden_step", lambda tokens, state: read.append(tokens.shape[1]) or plain(tokens, state)
    )
    answer = said(cached, [5, 6, 7, 8])
    read.clear()
    # What was written last was never read: the last of the answer, and the three that follow.
    said(cached, [5, 6, 7, 8, *answer, 1, 2, 3])
    assert read[0] == 4
    assert set(read[1:]) == {1}
    read.clear()
    said(cached, [5, 6, 7, 8])  # nothing is new: the last token is read for what follows it
    assert read[0] == 1


def test_several_rows_are_left_to_the_model():
    model = made("rotary")
    cached = PrefixCache(model)
    rows = [[5, 6, 7], [8, 9]]

    def all_of(reader):
        return [(piece.row, piece.id) for piece in generate(reader, rows, DRAWN, ends=(), samples=2)]

    expected = all_of(model)
    said(cached, [5, 6, 7])
    assert all_of(cached) == expected
    assert said(cached, [8, 9, 1]) == said(model, [8, 9, 1])


def test_what_was_written_by_several_rows_is_not_taken_for_the_prompts():
    """One prompt and three samples: the state of its one row is no longer anybody's."""
    model = made("rotary")
    cached = PrefixCache(model)
    list(generate(cached, [[5, 6, 7]], DRAWN, ends=(), samples=3))
    assert said(cached, [5, 6, 7, 4]) == said(model, [5, 6, 7, 4])


def test_states_that_cannot_be_shortened_are_read_whole():
    model = build(RecurrentSpec(d_model=16, layers=1, context=CONTEXT), VOCABULARY, seed=3).eval()
    cached = PrefixCache(model)
    for prompt in ([5, 6, 7], [5, 6, 7, 8]):
        assert said(cached, prompt) == said(model, prompt)


def test_a_state_that_grows_keeps_what_it_holds():
    model = made("window")
    logits, state = model.begin(prompt_of([1, 2, 3]), 4)
    assert state.grown(2) is state
    wide = state.grown(9)
    assert wide.capacity == 9
    _, wide = model.step(torch.tensor([[4, 5, 6, 7]]), wide)
    logits, _ = model.step(torch.tensor([[8]]), wide)
    expected, _ = model.begin(prompt_of([1, 2, 3, 4, 5, 6, 7, 8]), 9)
    torch.testing.assert_close(logits[:, -1], expected, rtol=1e-4, atol=1e-5)
    padded = Batch(
        torch.tensor([[0, 2, 3], [1, 2, 3]]),
        torch.full((2, 3), IGNORE),
        torch.tensor([[False, True, True], [True] * 3]),
    )
    _, narrow = model.begin(padded, 3)
    logits, _ = model.step(torch.tensor([[4], [4]]), narrow.grown(5))
    expected, _ = model.begin(prompt_of([2, 3, 4]), 9)
    torch.testing.assert_close(logits[:1, -1], expected, rtol=1e-4, atol=1e-5)
