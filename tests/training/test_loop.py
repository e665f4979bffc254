"""The loop: one gradient however a batch is cut up, and nothing half done."""

from __future__ import annotations

import itertools

import pytest
import torch

from textmill.base.errors import NonFiniteError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.objectives.loss import causal, count_targets
from textmill.specs.training import AdamWSpec, MuonSpec
from textmill.training import optimizer as optimizers
from textmill.training.loop import global_norm, train


class Recorder(optimizers.Optimizer):
    """Keeps the gradients of each step; changes nothing."""

    def __init__(self, model) -> None:
        built = optimizers.build(model, AdamWSpec())
        super().__init__(built.parts, built.names)
        self.gradients = []

    def step(self, rate: float) -> None:
        self.gradients.append({self.names[weight]: weight.grad.clone() for weight in self.parameters()})


def _gradients(model, loader, steps=range(1), loss=causal, **options):
    recorder = Recorder(model)
    results = list(train(model, loss, loader, recorder, steps=steps, rates=lambda step: 1.0, **options))
    return recorder.gradients, results


def _assert_same(one, other, rtol=1e-6):
    for name, gradient in one.items():
        error = (gradient - other[name]).norm() / gradient.norm()
        assert error < rtol, name


@pytest.mark.parametrize("micro_batch", [1, 3, 5, 8, 100])
def test_accumulation_is_one_big_batch(make_model, loader, micro_batch):
    whole, first = _gradients(make_model(), loader)
    cut, second = _gradients(make_model(), loader, micro_batch=micro_batch)
    _assert_same(whole[0], cut[0], 1e-12)
    assert second[0].nats == pytest.approx(first[0].nats, rel=1e-12)
    assert second[0].targets == first[0].targets == count_targets(loader.batch(0))
    assert second[0].micro_batch == micro_batch  # what was settled on, not what this batch happened to have


def test_the_gradient_is_that_of_the_mean_over_targets(make_model, loader):
    model = make_model()
    batch = loader.batch(0)
    nats, targets = causal(model, batch)
    names, weights = zip(*model.named_parameters(), strict=True)
    expected = torch.autograd.grad(nats / targets, weights)
    gradients, results = _gradients(make_model(), loader)
    _assert_same(dict(zip(names, expected, strict=True)), gradients[0], 1e-12)
    norm = torch.cat([gradient.flatten() for gradient in expected]).norm()
    assert results[0].grad_norm == pytest.approx(norm.item(), rel=1e-9)


class Fixed:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        return self._batch


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_bears_nothing(make_model, side):
    draw = torch.Generator().manual_seed(0)
    lengths = [9, 4, 7]
    rows = [torch.randint(0, 37, (length + 1,), generator=draw) for length in lengths]
    inputs, targets = torch.zeros(3, 11, dtype=torch.long), torch.full((3, 11), IGNORE)
    mask = torch.zeros(3, 11, dtype=torch.bool)
    for index, row in enumerate(rows):
        place = slice(0, len(row) - 1) if side == "right" else slice(11 - len(row) + 1, 11)
        inputs[index, place], targets[index, place], mask[index, place] = row[:-1], row[1:], True
    padded, _ = _gradients(make_model(), Fixed(Batch(inputs, targets, mask)))
    model = make_model()
    sums = [causal(model, Batch(row[None, :-1], row[None, 1:])) for row in rows]
    names, weights = zip(*model.named_parameters(), strict=True)
    mean = sum(nats for nats, _ in sums) / sum(number for _, number in sums)
    expected = dict(zip(names, torch.autograd.grad(mean, weights), strict=True))
    _assert_same(expected, padded[0])


def test_packing_documents_is_padding_them(make_model):
    draw = torch.Generator().manual_seed(1)
    lengths = [[5, 4, 3], [12], [2, 10]]
    inputs, targets = torch.zeros(3, 12, dtype=torch.long), torch.zeros(3, 12, dtype=torch.long)
    documents = torch.zeros(3, 12, dtype=torch.long)
    number = sum(len(row) for row in lengths)
    padded, wanted = torch.zeros(number, 12, dtype=torch.long), torch.full((number, 12), IGNORE)
    mask = torch.zeros(number, 12, dtype=torch.bool)
    count = itertools.count()
    for row, pieces in enumerate(lengths):
        place = 0
        for length in pieces:
            ids = torch.randint(0, 37, (length + 1,), generator=draw)
            index = next(count)
            inputs[row, place : place + length] = padded[index, :length] = ids[:-1]
            targets[row, place : place + length] = wanted[index, :length] = ids[1:]
            documents[row, place : place + length] = index
            mask[index, :length] = True
            place += length
    packed, _ = _gradients(make_model(), Fixed(Batch(inputs, targets, documents=documents)))
    alone, _ = _gradients(make_model(), Fixed(Batch(padded, wanted, mask)))
    _assert_same(alone[0], packed[0])


def test_a_run_taken_up_again_is_the_run(make_model, loader):
    """With dropout, so the random numbers of a step must not depend on the steps before it in the process."""

    def go(model, optimizer, steps):
        torch.rand(7)  # whatever was drawn before does not matter
        options = {"rates": lambda step: 1 / (step + 1), "clip": 0.5, "micro_batch": 3, "seed": 9}
        return [result.nats for result in train(model, causal, loader, optimizer, steps=steps, **options)]

    whole = make_model(torch.float32, dropout=0.2)
    losses = go(whole, optimizers.build(whole, MuonSpec()), range(6))
    first = make_model(torch.float32, dropout=0.2)
    before = optimizers.build(first, MuonSpec())
    begun = go(first, before, range(4))
    second = make_model(torch.float32, dropout=0.2)
    second.load_state_dict(first.state_dict())
    after = optimizers.build(second, MuonSpec())
    after.load_state(before.state())
    assert begun + go(second, after, range(4, 6)) == losses
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_dropout_differs_between_micro_batches_and_steps(make_model):
    batch = Batch(torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long))
    nats = []

    def noted(model, batch):
        result = causal(model, batch)
        nats.append(result[0].item())
        return result

    _gradients(make_model(dropout=0.3), Fixed(batch), range(2), noted, micro_batch=1)
    assert len(set(nats)) == 4


def test_clipping(make_model, loader):
    _, plain = _gradients(make_model(), loader)
    norm = plain[0].grad_norm
    clipped, results = _gradients(make_model(), loader, clip=norm / 10)
    assert results[0].grad_norm == pytest.approx(norm)  # the figure is from before clipping
    total = torch.cat([gradient.flatten() for gradient in clipped[0].values()]).norm()
    assert total.item() == pytest.approx(norm / 10, rel=1e-9)
    free, _ = _gradients(make_model(), loader, clip=norm * 10)
    _assert_same(_gradients(make_model(), loader)[0][0], free[0], 1e-12)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_not_a_number_stops_before_the_update(make_model, loader, where):
    model = make_model()
    optimizer = optimizers.build(model, AdamWSpec(lr=0.1))

    def spoilt(model, batch):
        nats, targets = causal(model, batch)
        if optimizer.state() and where == "loss":
            nats = nats * float("inf")
        if optimizer.state() and where == "gradient":
            nats = nats + (model.norm.weight * 0).sqrt().sum()
        return nats, targets

    steps = train(model, spoilt, loader, optimizer, steps=range(5, 9), rates=lambda step: 1.0)
    assert next(steps).step == 5
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with pytest.raises(NonFiniteError, match="step 7") as caught:
        next(steps)
    assert caught.value.step == 6
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.grad is None


def test_memory_running_out_halves_the_micro_batch_and_keeps_the_batch(make_model, loader):
    sizes = []

    def tight(model, batch):
        sizes.append(len(batch))
        result = causal(model, batch)
        if len(batch) > 2:
            result[0].backward(retain_graph=True)  # gradients were begun when memory ran out
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            )
        return result

    whole, _ = _gradients(make_model(), loader, range(2))
    cut, results = _gradients(make_model(), loader, range(2), loss=tight)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert [result.micro_batch for result in results] == [2, 2]
    for one, other in zip(whole, cut, strict=True):
        _assert_same(one, other, 1e-12)


def test_a_row_too_large_for_memory_is_said(make_model, loader):
    def never(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TextmillError, match="out of memory while computing 1 sequences"):
        _gradients(make_model(), loader, loss=never)


def test_other_errors_pass(make_model, loader):
    def wrong(model, batch):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        _gradients(make_model(), loader, loss=wrong)


def test_a_loss_that_counts_otherwise_is_refused(make_model, loader):
    with pytest.raises(TextmillError, match="counted"):
        _gradients(make_model(), loader, loss=lambda m, b: (causal(m, b)[0], torch.tensor(1)))


@pytest.mark.long
def test_it_learns(make_model, loader):
    for spec in (AdamWSpec(lr=1e-2), MuonSpec(lr=0.02)):
        model = make_model(torch.float32)
        steps = train(
            model, causal, loader, optimizers.build(model, spec), steps=range(60), rates=lambda s: 1.0
        )
        losses = [result.loss for result in steps]
        assert sum(losses[-5:]) / 5 < 0.6 * losses[0]


def test_norm_of_nothing(make_model):
    from textmill.training.distributed import World

    assert global_norm(list(make_model().parameters()), World()) == 0.0
