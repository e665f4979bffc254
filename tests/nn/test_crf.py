"""The CRF against all sequences of tags written out, and against its own skipped positions."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.nn.crf import CRF


def make(tags: int, seed: int) -> CRF:
    draw = torch.Generator().manual_seed(seed)
    crf = CRF(tags).double()
    for parameter in crf.parameters():
        parameter.data.normal_(generator=draw)
    return crf


def score_by_hand(crf: CRF, scores: torch.Tensor, tags: tuple[int, ...]) -> torch.Tensor:
    if not tags:
        return torch.zeros((), dtype=torch.float64)
    total = crf.start[tags[0]] + crf.end[tags[-1]]
    for place, tag in enumerate(tags):
        total = total + scores[place, tag]
    for one, other in itertools.pairwise(tags):
        total = total + crf.transitions[one, other]
    return total


def all_scores(crf: CRF, scores: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    length, tags = scores.shape
    return {some: score_by_hand(crf, scores, some) for some in itertools.product(range(tags), repeat=length)}


@st.composite
def problems(draw):
    tags, places = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    real = draw(st.lists(st.lists(st.booleans(), min_size=places, max_size=places), min_size=1, max_size=3))
    return tags, torch.tensor(real), draw(st.integers(0, 1000))


@settings(max_examples=40, deadline=None)
@given(problems())
def test_against_every_sequence(problem):
    """Any positions may be left out, in any row, all of them too."""
    tags, real, seed = problem
    crf, draw = make(tags, seed), torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(*real.shape, tags, generator=draw, dtype=torch.float64)
    targets = torch.randint(0, tags, real.shape, generator=draw)
    partition, nats, best = (
        crf.log_partition(scores, real),
        crf.nats(scores, targets, real),
        crf.best(scores, real),
    )
    assert (best[~real] == 0).all()
    for row, chosen in enumerate(real):
        every = all_scores(crf, scores[row][chosen])
        exact = torch.stack(list(every.values())).logsumexp(0)
        torch.testing.assert_close(partition[row], exact, rtol=1e-10, atol=1e-10)
        said = tuple(targets[row][chosen].tolist())
        torch.testing.assert_close(nats[row], exact - every[said], rtol=1e-10, atol=1e-10)
        found = tuple(best[row][chosen].tolist())
        torch.testing.assert_close(every[found], max(every.values()), rtol=1e-10, atol=1e-10)


def test_gradients():
    crf = make(3, 1)
    scores = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[0, 1, 2, 1], [1, 1, 0, 0]])
    real = torch.tensor([[True, False, True, True], [True, True, False, False]])
    weights = tuple(crf.parameters())

    def nats(scores, *weights):
        return torch.func.functional_call(
            crf, dict(zip(dict(crf.named_parameters()), weights, strict=True)), (scores, targets, real)
        )

    crf.forward = crf.nats
    assert torch.autograd.gradcheck(nats, (scores, *weights))


def test_the_slope_of_the_partition_is_the_probability_of_each_tag():
    crf, scores = make(3, 2), torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(
        crf.log_partition(scores, torch.ones(1, 4, dtype=torch.bool)).sum(), scores
    )
    every = all_scores(crf, scores[0].detach())
    chances = torch.stack(list(every.values())).softmax(0)
    for place in range(4):
        for tag in range(3):
            share = sum(p for p, tags in zip(chances, every, strict=True) if tags[place] == tag)
            torch.testing.assert_close(slope[0, place, tag], share.detach(), rtol=1e-10, atol=1e-12)


def test_skipped_positions_are_as_if_not_there():
    """Whatever they score, and wherever they stand."""
    crf = make(4, 3)
    scores = torch.randn(1, 5, 4, dtype=torch.float64)
    wide = torch.full((1, 8, 4), 1e4, dtype=torch.float64)
    places = torch.tensor([1, 2, 4, 5, 7])
    wide[:, places] = scores
    tags = torch.tensor([[3, 0, 1, 1, 2]])
    every, real = torch.ones(1, 5, dtype=torch.bool), torch.zeros(1, 8, dtype=torch.bool)
    real[:, places] = True
    targets = torch.full((1, 8), -100)
    targets[:, places] = tags
    torch.testing.assert_close(crf.nats(wide, targets, real), crf.nats(scores, tags, every))
    assert torch.equal(crf.best(wide, real)[:, places], crf.best(scores, every))


def test_impossible_moves_are_never_made():
    """A tag that nothing leads to, however well it scores itself."""
    crf = make(3, 4)
    with torch.no_grad():
        crf.transitions[:, 2] = -1e4
        crf.start[2] = -1e4
    scores = torch.zeros(1, 6, 3, dtype=torch.float64)
    scores[..., 2] = 50.0
    assert not (crf.best(scores, torch.ones(1, 6, dtype=torch.bool)) == 2).any()


def test_long_rows_stay_finite_in_float32():
    crf = make(5, 5).float()
    scores = 50 * torch.randn(2, 400, 5)
    tags, real = torch.zeros(2, 400, dtype=torch.long), torch.ones(2, 400, dtype=torch.bool)
    nats = crf.nats(scores, tags, real)
    exact = crf.double().nats(scores.double(), tags, real)
    torch.testing.assert_close(nats.double(), exact, rtol=1e-5, atol=0)


@settings(max_examples=20, deadline=None)
@given(problems())
def test_marginals_against_every_sequence(problem):
    """The probability of each tag of a row, and of each given the one before, summed over all sequences."""
    tags, real, seed = problem
    crf, draw = make(tags, seed), torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(*real.shape, tags, generator=draw, dtype=torch.float64)
    said = torch.randint(0, tags, real.shape, generator=draw)
    alone, given_before = crf.marginals(scores, said, real)
    assert (alone[~real] == 0).all()
    for row, chosen in enumerate(real):
        every = all_scores(crf, scores[row][chosen])
        total = torch.stack(list(every.values())).logsumexp(0)
        mine = said[row][chosen].tolist()
        for place, tag in enumerate(mine):
            agree = {some: score for some, score in every.items() if some[place] == tag}
            here = torch.stack(list(agree.values())).logsumexp(0) - total
            torch.testing.assert_close(alone[row][chosen][place], here)
            if place:
                before = [score for some, score in every.items() if some[place - 1] == mine[place - 1]]
                both = [score for some, score in agree.items() if some[place - 1] == mine[place - 1]]
                torch.testing.assert_close(
                    given_before[row][chosen][place],
                    torch.stack(both).logsumexp(0) - torch.stack(before).logsumexp(0),
                )
