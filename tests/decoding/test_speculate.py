"""Speculation changes the time and nothing else: against plain decoding, and against the exact distribution."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data.batch import IGNORE, Batch
from textmill.decoding import generate as generating
from textmill.decoding.generate import generate
from textmill.decoding.layout import prepare
from textmill.decoding.pace import Pace
from textmill.decoding.sampling import strategies
from textmill.decoding.speculate import Speculation
from textmill.index.draft import ContextDrafter, Draft
from textmill.models.build import build
from textmill.models.model import Generator
from textmill.nn.state import Rewindable, State
from textmill.specs.model import DecoderSpec
from textmill.specs.position import AlibiPositions, LearnedPositions, RelativePositions, T5Positions
from textmill.specs.recipe import GenerationSpec

VOCABULARY, END, CONTEXT = 60, 0, 96
SPEC = DecoderSpec(d_model=32, layers=2, heads=4, kv_heads=2, d_ff=64, context=CONTEXT, tied=False)
KINDS = {
    "plain": SPEC,
    "tied": dataclasses.replace(SPEC, tied=True),
    "learned": dataclasses.replace(SPEC, position=LearnedPositions()),
    "alibi": dataclasses.replace(SPEC, position=AlibiPositions()),
    "t5": dataclasses.replace(SPEC, position=T5Positions()),
    "relative": dataclasses.replace(SPEC, position=RelativePositions()),
    "window": dataclasses.replace(SPEC, window=9),
    "layernorm": dataclasses.replace(SPEC, norm="layernorm", activation="gelu", bias="all"),
}
GREEDY = GenerationSpec(tokens=40, temperature=0)
SPECS = {
    "greedy": GREEDY,
    "penalised": dataclasses.replace(GREEDY, repetition_penalty=1.2, frequency_penalty=0.3),
    "sampled": GenerationSpec(
        tokens=40, temperature=0.9, top_k=20, top_p=0.95, min_p=0.001, repetition_penalty=1.1, seed=5
    ),
    "typical": GenerationSpec(tokens=40, temperature=1.2, typical_p=0.9, top_p=None, presence_penalty=0.2),
}
MODELS: dict = {}


def made(kind: str):
    """A model with a will of its own."""
    if kind not in MODELS:
        model = build(KINDS[kind], VOCABULARY, seed=4)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.mul_(3)
        MODELS[kind] = model.eval()
    return MODELS[kind]


class Always(Pace):
    """Reads every guess, whatever it costs, in every length in turn."""

    turn = 0

    def asks(self, name):
        return True

    def asked(self, name, seconds):
        pass

    def choose(self, drafts, may=lambda length: True):
        draft = next((draft for draft in drafts.values() if draft), None)
        self.turn += 1
        return draft and Draft(draft.ids[: 1 + self.turn % 9], draft.evidence)

    def learn(self, draft, right, seconds):
        return 0.0

    def lost(self, seconds):
        pass


class Oracle:
    """Knows how a text goes on, and is wrong at every `wrong`th place."""

    def __init__(self, text, wrong):
        self.text, self.wrong, self.at = text, wrong, 0

    def extend(self, ids):
        self.at += len(ids)

    def propose(self, most):
        ids = [
            (token + (place % self.wrong == 0)) % VOCABULARY
            for place, token in enumerate(self.text[self.at : self.at + most], self.at)
        ]
        return Draft(tuple(ids), "oracle") if ids else None


def tokens(model, prompt, spec, speculation=None, **options):
    pieces = generate(model, [prompt], spec, ends=END, speculation=speculation, **options)
    return [(piece.id, piece.finish, piece.logprob) for piece in pieces]


def same(one, two):
    assert [row[:2] for row in one] == [row[:2] for row in two]
    for (*_, a), (*_, b) in zip(one, two, strict=True):
        assert a == pytest.approx(b, abs=1e-3)


@pytest.mark.parametrize("rule", list(SPECS))
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_written_is_what_plain_decoding_writes(kind, rule):
    model, spec, rng = made(kind), SPECS[rule], random.Random(kind + rule)
    for number in range(5):
        prompt = rng.choices(range(1, VOCABULARY), k=rng.randrange(1, 30)) * rng.randrange(1, 3)
        plain = tokens(model, prompt, spec)
        text = [*prompt, *(row[0] for row in plain)]
        for drafter in (ContextDrafter, lambda text=text, number=number: Oracle(text, 2 + 3 * number)):
            ahead = Speculation(lambda drafter=drafter: {"it": drafter()}, Always())
            same(tokens(model, prompt, spec, ahead), plain)
        report = ahead.report
        assert report.drafted > 0 or len(plain) < 3
        assert 0 <= report.accepted <= report.drafted
        assert report.tokens == len(plain) - 1


@pytest.mark.long
@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, VOCABULARY - 1), max_size=50),
    st.sampled_from(list(SPECS)),
    st.sampled_from(list(KINDS)),
    st.integers(1, 9),
    st.integers(1, 120),
)
def test_for_any_prompt_and_any_guesses(prompt, rule, kind, wrong, length):
    spec = dataclasses.replace(SPECS[rule], tokens=length)
    plain = tokens(made(kind), prompt, spec)
    text = [*(prompt or [END]), *(row[0] for row in plain)]
    ahead = Speculation(lambda: {"oracle": Oracle(text, wrong)}, Always())
    same(tokens(made(kind), prompt, spec, ahead), plain)


def test_right_guesses_save_steps():
    model, prompt = made("plain"), [5, 6, 7]
    plain = tokens(model, prompt, dataclasses.replace(GREEDY, tokens=60))
    text = prompt + [row[0] for row in plain]
    ahead = Speculation(lambda: {"oracle": Oracle(text, 10**6)}, Always())
    same(tokens(model, prompt, dataclasses.replace(GREEDY, tokens=60), ahead), plain)
    assert ahead.report.steps < 0.7 * len(plain)
    assert ahead.report.accepted >= 0.9 * ahead.report.drafted


@pytest.mark.parametrize("kind", ["plain", "alibi", "window"])
def test_rounded_weights_write_the_same(kind):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("no bfloat16 products here")
    model, rng = prepare(made(kind), "bf16"), random.Random(3)
    for _ in range(6):
        prompt = rng.choices(range(1, VOCABULARY), k=rng.randrange(1, 30))
        plain = tokens(model, prompt, GREEDY)
        text = [*prompt, *(row[0] for row in plain)]
        ahead = Speculation(lambda text=text: {"oracle": Oracle(text, 4)}, Always())
        assert [row[0] for row in tokens(model, prompt, GREEDY, ahead)] == [row[0] for row in plain]


def test_several_rows_are_read_plainly_until_one_is_left():
    model = made("plain")
    prompts = [[5, 6, 7], [8, 9], [11] * 20]

    def heard(row, sample, token):  # the first two stop early
        counts[row] += 1
        return row < 2 and counts[row] == 4

    counts: Counter[int] = Counter()
    plain = [(p.row, p.id) for p in generate(model, prompts, GREEDY, ends=-1, heard=heard)]
    counts.clear()
    ahead = Speculation(lambda: {"prompt": ContextDrafter()}, Always())
    found = [(p.row, p.id) for p in generate(model, prompts, GREEDY, ends=-1, heard=heard, speculation=ahead)]
    assert found == plain
    assert ahead.report.speculated > 0
    assert ahead.report.tokens < len(plain)


def test_a_state_that_cannot_be_shortened_is_read_plainly():
    class Long(Generator):
        """A model whose state has no `truncate`."""

        class Held(State):
            def __init__(self, state):
                self.state, self.length = state, state.length

        spec = SPEC

        def begin(self, batch, capacity):
            logits, state = made("plain").begin(batch, capacity)
            return logits, self.Held(state)

        def step(self, ids, state):
            logits, inner = made("plain").step(ids, state.state)
            return logits, self.Held(inner)

    ahead = Speculation(lambda: {"prompt": ContextDrafter()}, Always())
    same(tokens(Long(), [4, 5, 4, 5], GREEDY, ahead), tokens(made("plain"), [4, 5, 4, 5], GREEDY))
    assert ahead.report.speculated == 0


def test_the_cache_is_shortened_in_place():
    model = made("plain")
    ids = torch.tensor([[3, 4, 5]])
    _, state = model.begin(Batch(ids, torch.full_like(ids, IGNORE)), 20)
    expected, _ = model.step(torch.tensor([[7]]), state)
    state.truncate(3)
    model.step(torch.tensor([[9, 9, 9, 9]]), state)
    assert state.length == 7
    again, state = model.step(torch.tensor([[7]]), state.truncate(3))
    assert torch.equal(again, expected)
    assert state.truncate(50).length == 4


def test_near_ties_are_settled_as_plain_decoding_settles_them():
    """Two tokens with the same output vector tie at every place, so rounding alone decides between them."""
    model = build(SPEC, VOCABULARY, seed=4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3)
        half = VOCABULARY // 2
        noise = 1e-7 * torch.randn(half, SPEC.d_model, generator=torch.Generator().manual_seed(1))
        model.output.weight[half:] = model.output.weight[:half] * (1 + noise)
    model.eval()
    settled = 0
    for start in range(1, 9):
        plain = tokens(model, [start, 2, 3], GREEDY)
        text = [start, 2, 3, *(row[0] for row in plain)]
        ahead = Speculation(lambda text=text: {"oracle": Oracle(text, 5)}, Always())
        same(tokens(model, [start, 2, 3], GREEDY, ahead), plain)
        settled += ahead.report.settled
    assert settled > 20


# --- the distribution ---------------------------------------------------------------------------------------------

DRAWS, LETTERS = 3000, 5
RULE = GenerationSpec(tokens=3, temperature=1.1, top_k=4, top_p=0.97, repetition_penalty=1.2)


class Table(Generator):
    """A model whose logits hang on the last two tokens: as small as one can be, so that it can be asked often."""

    class Held(Rewindable):
        def __init__(self, ids):
            self.ids = ids

        @property
        def length(self):
            return self.ids.shape[1]

        def truncate(self, length):
            self.ids = self.ids[:, :length]
            return self

    def __init__(self):
        super().__init__()
        self.spec = dataclasses.replace(SPEC, context=64)
        self.logits = 1.2 * torch.randn(LETTERS, LETTERS, LETTERS, generator=torch.Generator().manual_seed(2))

    def forward(self, batch):
        before = torch.nn.functional.pad(batch.inputs, (1, 0))[:, :-1]
        return self.logits[before, batch.inputs]

    def begin(self, batch, capacity):
        return self(batch)[:, -1], self.Held(batch.inputs)

    def step(self, ids, state):
        state.ids = torch.cat([state.ids, ids], 1)
        return self(Batch(state.ids, state.ids))[:, -ids.shape[1] :], state


@pytest.fixture(scope="module")
def tiny():
    return Table()


def exact(model, prompt, spec):
    """Probability of every answer of `spec.tokens` tokens, by reading every one of them."""
    from textmill.decoding.sampling import History

    chain, found = strategies(spec), {}

    def follow(written, probability):
        if len(written) == spec.tokens:
            found[tuple(written)] = probability
            return
        ids = torch.tensor([[*prompt, *written]])
        logits = model(Batch(ids, torch.full_like(ids, IGNORE)))[:, -1]
        history = History.of([prompt])
        for token in written:
            history = history.add(torch.tensor([token]))
        for strategy in chain:
            logits = strategy(logits, history)
        for token, share in enumerate(logits.double().softmax(-1)[0].tolist()):
            if share > 0:
                follow([*written, token], probability * share)

    with torch.inference_mode():
        follow([], 1.0)
    return found


class Fixed:
    """Guesses the same tokens whatever was written."""

    def __init__(self, ids):
        self.ids = ids

    def extend(self, ids):
        pass

    def propose(self, most):
        return Draft(tuple(self.ids[:most]), "fixed") if most else None


class Whole(Always):
    """Reads the whole guess."""

    def choose(self, drafts, may=lambda length: True):
        return next((draft for draft in drafts.values() if draft), None)


def chi_squared(model, ids):
    """(statistic, degrees of freedom) of many answers against the exact distribution."""
    prompt, counts = [1, 2], Counter()
    probabilities = exact(model, prompt, RULE)
    for seed in range(DRAWS):
        ahead = Speculation(lambda: {"fixed": Fixed(ids)}, Whole())
        spec = dataclasses.replace(RULE, seed=seed)
        answer = generate(model, [prompt], spec, ends=-1, speculation=ahead)
        counts[tuple(piece.id for piece in answer)] += 1
    assert set(counts) <= set(probabilities)
    common = {key: share * DRAWS for key, share in probabilities.items() if share * DRAWS >= 5}
    rest = DRAWS - sum(common.values())
    statistic = sum((counts[key] - mean) ** 2 / mean for key, mean in common.items())
    if rest >= 5:
        statistic += (DRAWS - sum(counts[key] for key in common) - rest) ** 2 / rest
    return statistic, len(common) - (rest < 5)


def bound(freedom):
    """Where chi-squared stays below but once in ten million (Wilson & Hilferty 1931)."""
    return freedom * (1 - 2 / (9 * freedom) + 5.2 * math.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.long
@pytest.mark.parametrize(
    "ids", [(3, 4), *(pytest.param(ids, marks=pytest.mark.slow) for ids in ((0, 0), (2, 1)))]
)
def test_samples_are_of_the_models_distribution(tiny, ids):
    statistic, freedom = chi_squared(tiny, ids)
    assert freedom > 15
    assert statistic < bound(freedom)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["accept what is likely", "forget to leave it out"])
def test_wrong_rules_are_found_out(tiny, monkeypatch, rule):
    """The same test must fail where drafted tokens are accepted by another rule."""
    real, rng, drawn = generating.draw, random.Random(9), itertools.count()

    def draw(logits, generators):
        tokens = real(logits, generators)
        drafted = {1: 3, 2: 4}.get(next(drawn) % RULE.tokens)
        if drafted is not None:
            share = float(logits.softmax(-1)[0, drafted])
            if share > 0.3 if rule == "accept what is likely" else rng.random() < share:
                tokens = torch.tensor([drafted])
            # Otherwise the draw stays as it is; the drafted token should be left out of it.
        return tokens

    monkeypatch.setattr(generating, "draw", draw)
    statistic, freedom = chi_squared(tiny, (3, 4))
    assert statistic > bound(freedom)


def test_seeds_write_the_same_with_and_without(tiny):
    for seed in range(50):
        spec = dataclasses.replace(RULE, tokens=12, seed=seed)
        ahead = Speculation(lambda: {"fixed": Fixed((3, 4, 2, 1))}, Whole())
        same(tokens(tiny, [1, 2], spec, ahead), tokens(tiny, [1, 2], spec))


# --- the pace -----------------------------------------------------------------------------------------------------


def simulate(right_of, *, tokens=4000, plain=2e-3, asking=1e-4, extra=0.08, seed=1):
    """Seconds of speculating by a real Pace where a guess's tokens are each right with probability right_of(place)."""
    rng, pace, now, place, asked = random.Random(seed), Pace(), 0.0, 0, 0
    while place < tokens:
        found = {}
        if pace.asks("it"):
            found["it"] = Draft(tuple(range(16)), "kind")
            pace.asked("it", asking)
            asked += 1
            now += asking
        draft = pace.choose(found)
        if draft is None:
            pace.plain(plain)
            now, place = now + plain, place + 1
            continue
        right = 0
        while right < len(draft.ids) and rng.random() < right_of(place):
            right += 1
        seconds = plain * (1 + extra * len(draft.ids))
        pace.learn(draft, right, seconds)
        now, place = now + seconds, place + right + 1
    return now / (tokens * plain), asked


def test_it_is_quick_where_guesses_come_true():
    time, _ = simulate(lambda place: 0.9)
    assert time < 0.45


def test_it_turns_itself_off_where_they_do_not():
    for share in (0.0, 0.03):
        time, asked = simulate(lambda place, share=share: share)
        assert time < 1.02
        assert asked < 600


def test_it_is_not_tried_where_reading_ahead_is_dear():
    time, _ = simulate(lambda place: 0.5, extra=1.0)
    assert time < 1.05


def test_it_turns_itself_on_again():
    time, _ = simulate(lambda place: 0.0 if place < 3000 else 0.95, tokens=12000)
    assert time < 0.65


def test_it_turns_itself_off_again():
    time, _ = simulate(lambda place: 0.95 if place < 1000 else 0.0, tokens=12000)
    assert time < 1.0
