"""The loss: sums and counts, whole or chunked, with exact gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from textmill.data.batch import IGNORE, Batch
from textmill.objectives.loss import causal, count_targets, evaluate_loss


class Table(nn.Module):
    """A model whose logits are given."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(logits)

    def hidden(self, batch: Batch) -> torch.Tensor:
        return self.table

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def test_by_hand():
    logits = torch.tensor([[[math.log(3.0), 0.0], [0.0, math.log(7.0)], [5.0, 5.0]]])
    batch = Batch(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[0, 0, IGNORE]]))
    nats, targets = causal(Table(logits), batch)
    assert targets == 2
    assert nats.item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 8), rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"logit_softcap": 3.0}])
@pytest.mark.parametrize("chunk", [1, 5, 7, 96, 1000])
def test_chunks_change_nothing(make_model, loader, chunk, changes):
    batch = loader.batch(3)
    whole, pieces = make_model(**changes), make_model(**changes)
    nats, targets = causal(whole, batch)
    nats.backward()
    some, number = causal(pieces, batch, chunk=chunk)
    (some * 1.0).backward()
    assert targets == number == count_targets(batch)
    torch.testing.assert_close(some, nats, rtol=1e-12, atol=0)
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("changes", [{}, {"tied": False}])
@pytest.mark.parametrize("chunk", [None, 1, 7, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_quick_way_on_a_cpu_is_the_formula(make_model, loader, chunk, changes, smoothing):
    """float32 takes its own road; the float64 model is the reference. Some targets bear no loss."""
    batch = loader.batch(5)
    assert (batch.targets == IGNORE).any()
    exact, quick = make_model(**changes), make_model(torch.float32, **changes)
    expected, _ = causal(exact, batch, None, smoothing)
    (expected / 3).backward()
    nats, targets = causal(quick, batch, chunk, smoothing)
    assert type(nats.grad_fn).__name__ == "_LinearLossBackward"
    (nats / 3).backward()
    assert targets == count_targets(batch)
    assert nats.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(exact.parameters(), quick.parameters(), strict=True):
        torch.testing.assert_close(other.grad.double(), one.grad, rtol=2e-4, atol=2e-5)
    quick.eval()
    with torch.no_grad():
        assert causal(quick, batch, chunk, smoothing)[0].item() == pytest.approx(nats.item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [None, 5])
def test_a_batch_that_bears_no_loss(make_model, loader, dtype, chunk):
    """As a micro-batch may be: nothing is lost and nothing learnt, and ranks still have a gradient to add up."""
    model, batch = make_model(dtype), loader.batch(0)
    empty = Batch(batch.inputs, torch.full_like(batch.targets, IGNORE))
    nats, targets = causal(model, empty, chunk, 0.1)
    nats.backward()
    assert (nats.item(), targets.item()) == (0.0, 0)
    assert all(float(weight.grad.abs().max()) == 0.0 for weight in model.parameters())


def test_chunks_with_frozen_output_layer(make_model, loader):
    model = make_model(tied=False)
    model.output.requires_grad_(False)
    causal(model, loader.batch(0), chunk=7)[0].backward()
    assert model.output.weight.grad is None
    assert model.embedding.weight.grad.abs().sum() > 0


def test_chunked_logits_are_never_whole(make_model, loader):
    model, sizes = make_model(), []
    original = model.logits
    model.logits = lambda hidden: sizes.append(hidden.shape[:-1].numel()) or original(hidden)
    causal(model, loader.batch(0), chunk=10)[0].backward()
    assert max(sizes) == 10


@pytest.mark.parametrize("chunk", [None, 9])
def test_evaluation_counts_all_and_gives_the_mode_back(make_model, loader, chunk):
    model = make_model(dropout=0.5).train()
    batches = [loader.batch(step) for step in range(3)]
    first = evaluate_loss(model, batches, lambda m, b: causal(m, b, chunk))
    second = evaluate_loss(model, batches)
    assert model.training
    assert first == pytest.approx(second, rel=1e-12)  # dropout is off
    assert first[1] == sum(map(count_targets, batches))
    assert all(parameter.grad is None for parameter in model.parameters())
