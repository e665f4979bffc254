"""Strategies against transformers' processors, against hand-worked cases, and draws against their distribution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.decoding.sampling import (
    CountPenalty,
    Forbidden,
    History,
    MinP,
    MinTokens,
    NoRepeat,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    Typical,
    constraints,
    draw,
    highest,
    likeliest,
    normalizer,
    seeded,
    strategies,
)
from textmill.specs.recipe import GenerationSpec

PLAIN = {"temperature": 1.0, "top_p": None}


def logits(rows: int = 4, vocabulary: int = 1500, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * scale


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal tokens dropped, and equal log probabilities to 1e-6 (a constant added to all logits is no difference)."""
    assert torch.equal(ours.isinf(), theirs.isinf())
    a, b = ours.double().softmax(-1), theirs.double().softmax(-1)
    assert torch.allclose(a, b, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("transformers.generation.logits_process")


@pytest.mark.parametrize(
    "scale", [0.1, 1.0, 5.0]
)  # nearly flat: the nucleus is larger than the quick path looks at
def test_filters_equal_those_of_transformers(theirs, scale):
    x = logits(scale=scale)
    ids = torch.zeros(4, 1, dtype=torch.int64)
    pairs = [
        (Temperature(0.7), theirs.TemperatureLogitsWarper(0.7)),
        (TopK(1), theirs.TopKLogitsWarper(1)),
        (TopK(40), theirs.TopKLogitsWarper(40)),
        (TopK(9999), theirs.TopKLogitsWarper(9999)),
        *((TopP(p), theirs.TopPLogitsWarper(p)) for p in (0.01, 0.5, 0.9, 0.99)),
        *((MinP(p), theirs.MinPLogitsWarper(p)) for p in (0.02, 0.3, 1.0)),
        *((Typical(p), theirs.TypicalLogitsWarper(p)) for p in (0.1, 0.5, 0.95)),
    ]
    for ours, other in pairs:
        same(ours(x, None), other(ids, x.clone()))


def test_repetition_penalty_equals_that_of_transformers(theirs):
    x = logits(vocabulary=60)
    ids = torch.randint(60, (4, 12), generator=torch.Generator().manual_seed(1))
    history = History.of(ids[:, :7].tolist())
    for column in ids[:, 7:].T:
        history = history.add(column)
    for penalty in (0.8, 1.3):
        ours = RepetitionPenalty(penalty)(x, history)
        assert torch.allclose(
            ours, theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, x.clone()), atol=1e-6
        )


@pytest.mark.long
def test_the_whole_chain_is_in_the_order_of_transformers(theirs):
    transformers = pytest.importorskip("transformers")
    spec = GenerationSpec(
        temperature=0.6, top_k=50, top_p=0.8, min_p=0.05, typical_p=0.7, repetition_penalty=1.2
    )
    config = transformers.GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_k=50,
        top_p=0.8,
        min_p=0.05,
        typical_p=0.7,
        repetition_penalty=1.2,
    )
    tiny = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=400)
    )
    x = logits(vocabulary=400, scale=2.0)
    ids = torch.randint(400, (4, 9), generator=torch.Generator().manual_seed(2))
    chain = tiny._get_logits_processor(config, input_ids_seq_length=9)
    ours, history = x, History.of(ids.tolist())
    for strategy in strategies(spec):
        ours = strategy(ours, history)
    same(ours, chain(ids, x.clone()))
    assert [type(one).__name__ for one in strategies(spec)] == [
        "RepetitionPenalty",
        "Temperature",
        "TopK",
        "TopP",
        "MinP",
        "Typical",
    ]


def test_presence_and_frequency_count_what_was_generated_not_the_prompt():
    history = History.of([[0, 0, 1]])
    for token in (2, 2, 3):
        history = history.add(torch.tensor([token]))
    changed = CountPenalty(0.5, 0.25)(torch.zeros(1, 4), history)
    assert changed.tolist() == [[0.0, 0.0, -1.0, -0.75]]


def test_a_history_can_be_reordered():
    history = History.of([[0], [1], []]).add(torch.tensor([2, 2, 0]))
    chosen = history.reorder(torch.tensor([2, 0]))
    assert chosen.text.tolist() == [[-1, 0], [0, 2]]
    assert chosen.generated.tolist() == [[0], [2]]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_bans_equal_those_of_transformers(theirs, n):
    generator = torch.Generator().manual_seed(n)
    x, ids = logits(vocabulary=9), torch.randint(9, (4, 14), generator=generator)
    history = History.of(ids[:, :10].tolist())
    for column in ids[:, 10:].T:
        history = history.add(column)
    reference = theirs.NoRepeatNGramLogitsProcessor(n)(ids, x.clone())
    emptied = reference.isinf().all(-1)
    ours = NoRepeat(n)(x, history)
    assert torch.equal(ours[~emptied], reference[~emptied])
    assert torch.equal(ours[emptied], x[emptied])
    for least in (4, 5):
        reference = theirs.MinNewTokensLengthLogitsProcessor(10, least, [2, 7])(ids, x.clone())
        assert torch.equal(MinTokens(least, (2, 7))(x, history), reference)


def test_padding_before_a_short_row_repeats_nothing():
    history = History.of([[1], [3, 4, 3]])
    assert NoRepeat(2)(torch.zeros(2, 6), history).isinf().nonzero().tolist() == [[1, 4]]
    assert NoRepeat(3)(torch.zeros(2, 6), history).isinf().nonzero().tolist() == []


def test_what_would_leave_nothing_gives_way_the_n_gram_first():
    chain = constraints(GenerationSpec(suppressed_tokens=(2,), min_tokens=3, no_repeat_ngram=1), (0,))
    assert chain == (Forbidden((2,)), MinTokens(3, (0,)), NoRepeat(1))
    history, left = History.of([[1, 2]]), torch.zeros(1, 3)
    for strategy in chain:
        left = strategy(left, history)
    assert left.tolist() == [[-math.inf, 0.0, -math.inf]]


def test_only_what_changes_something_is_in_the_chain():
    assert strategies(GenerationSpec(**PLAIN)) == ()
    assert strategies(GenerationSpec(temperature=1, top_p=1.0, min_p=0.0, typical_p=1.0)) == ()
    greedy = GenerationSpec(temperature=0, top_k=5, repetition_penalty=1.1)
    assert strategies(greedy) == (RepetitionPenalty(1.1),)
    assert constraints(GenerationSpec()) == ()
    assert constraints(GenerationSpec(frequency_penalty=-0.1)) == (CountPenalty(0.0, -0.1),)
    assert constraints(GenerationSpec(min_tokens=3)) == ()  # nothing ends a row
    assert constraints(GenerationSpec(min_tokens=3), (5,)) == (MinTokens(3, (5,)),)


def test_tied_tokens_stay_or_go_together():
    tied = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    for strategy in (TopK(1), TopP(0.3), MinP(1.0)):
        assert strategy(tied, None).isfinite().tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("temperature", [1e-40, 1e-30, 1e-9, 1e9])
def test_no_temperature_makes_nan(temperature):
    changed = Temperature(temperature)(torch.tensor([[90.0, -90.0, 89.9]]), None)
    assert not changed.isnan().any()
    assert int(draw(changed, [torch.Generator().manual_seed(0)])) in (0, 1, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([TopK(3), TopP(0.7), MinP(0.1), Typical(0.6), Temperature(0.3)]),
    st.floats(0.01, 20),
)
def test_a_row_does_not_depend_on_its_neighbours(seed, strategy, scale):
    x = logits(5, 700, seed, scale)
    together = strategy(x, None)
    for row in range(5):
        assert torch.equal(strategy(x[row : row + 1], None), together[row : row + 1])
    assert together.isfinite().any(-1).all()


def test_draws_follow_the_distribution():
    """Chi-square with 9 degrees of freedom under 27.9 (p = 0.001), on fixed seeds."""
    x = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5, 1.5, -2.0, 0.1, 0.2, -math.inf, 3.0]])
    expected = x.double().softmax(-1)[0]
    n = 20_000
    tokens = draw(x.expand(n, -1), [seeded(7, sample, [1, 2]) for sample in range(n)])
    counts = torch.bincount(tokens, minlength=11).double()
    assert counts[9] == 0
    keep = expected > 0
    chi = ((counts - n * expected)[keep] ** 2 / (n * expected)[keep]).sum()
    assert 1.0 < float(chi) < 27.9  # a value near nothing would mean draws that are not random


def test_a_filtered_draw_follows_the_renormalised_distribution():
    x = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    chain = strategies(GenerationSpec(temperature=0.5, top_k=3, top_p=None))
    changed = x
    for strategy in chain:
        changed = strategy(changed, None)
    expected = torch.tensor([4.0, 2.0, 0.0]).exp().double()
    expected /= expected.sum()
    n = 20_000
    tokens = draw(changed.expand(n, -1), [seeded(1, sample, []) for sample in range(n)])
    counts = torch.bincount(tokens, minlength=4).double()
    assert counts[3] == 0
    assert float(((counts[:3] - n * expected) ** 2 / (n * expected)).sum()) < 13.8  # 2 degrees, p = 0.001


def test_the_last_draw_there_is_still_has_probability(monkeypatch):
    largest = torch.tensor(1 - 2**-53, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: largest)
    x = torch.full((1, 1000), -math.inf)
    x[0, 17], x[0, 5] = 1.0, 0.3
    assert draw(x, [torch.Generator()]).tolist() == [17]


def test_seeds_depend_on_seed_sample_and_prompt_only():
    first = [torch.rand((), generator=seeded(0, 0, [1, 2])).item() for _ in range(2)]
    assert first[0] == first[1]
    others = [seeded(1, 0, [1, 2]), seeded(0, 1, [1, 2]), seeded(0, 0, [1, 2, 3]), seeded(0, 0, [12])]
    assert len({first[0], *(torch.rand((), generator=one).item() for one in others)}) == 5


@pytest.mark.parametrize("rows", [1, 16, 37])
def test_the_normalizer_is_the_logarithm_of_the_sum(rows):
    logits = torch.randn(rows, 501, generator=torch.Generator().manual_seed(rows)) * 20
    logits[0, :200] = -math.inf
    expected = logits.double().logsumexp(-1, keepdim=True).float()
    torch.testing.assert_close(normalizer(logits), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("width", [10, 4096, 10_000, 10_007])
def test_the_likeliest_is_the_first_of_the_highest(width):
    logits = torch.randint(0, 40, (50, width), generator=torch.Generator().manual_seed(width)).float()
    logits[0] = -math.inf
    logits[0, -1] = 1.0
    logits[1, :] = 0.0
    logits[2, 3] = math.nan
    found = likeliest(logits)
    expected = [
        next(place for place, one in enumerate(row) if one == max(row)) for row in logits[3:].tolist()
    ]
    assert found[3:].tolist() == expected
    assert found[:3].tolist() == [width - 1, 0, 3]


@pytest.mark.parametrize(("width", "k"), [(10_000, 10), (641, 8), (640, 10), (63, 5), (130, 1), (5000, 78)])
def test_the_highest_are_those_of_topk(width, k):
    scores = torch.randn(7, width, generator=torch.Generator().manual_seed(width))
    scores[1, 5:] = -math.inf  # a row that is ruled out but for few
    found, places = highest(scores, k)
    expected = scores.topk(k)
    assert torch.equal(found, expected.values)
    assert torch.equal(scores.gather(1, places), found)
    assert all(len(set(row)) == k for row in places.tolist())
