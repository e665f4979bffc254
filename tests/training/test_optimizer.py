"""AdamW against its formula, Muon against PyTorch's and against the SVD, groups, and states by name."""

from __future__ import annotations

import pytest
import torch

from textmill.base.errors import DamagedError
from textmill.specs.training import AdamWSpec, MuonSpec
from textmill.training import optimizer as optimizers
from textmill.training.muon import Muon, orthogonalise


def _fill_gradients(model, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=draw, dtype=weight.dtype)
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def test_adamw_is_the_published_formula(model):
    spec = AdamWSpec(lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.5)
    optimizer = optimizers.build(model, spec)
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for step, share in ((1, 0.5), (2, 1.0), (3, 0.25)):
        gradients = _fill_gradients(model, step)
        optimizer.step(share)
        for name, gradient in gradients.items():
            lr = 0.01 * share
            matrix = weights[name].ndim == 2 and "embedding" not in name
            weights[name] -= lr * (0.5 if matrix else 0.0) * weights[name]
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.9 * second[name] + 0.1 * gradient**2
            m, v = first[name] / (1 - 0.8**step), second[name] / (1 - 0.9**step)
            weights[name] -= lr * m / (v.sqrt() + 1e-6)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.detach(), weights[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24), (3, 2, 16, 40)])
def test_orthogonalise_against_the_svd(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrix, 5)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.6
    assert singular.max() < 1.25
    # the same singular vectors: in their basis the result is diagonal and positive
    inside = u.mT @ result @ v.mT
    off = inside - torch.diag_embed(torch.diagonal(inside, dim1=-2, dim2=-1))
    assert off.abs().max() < 2e-3
    assert result.dtype == matrix.dtype


@pytest.mark.parametrize("shape", [(32, 32), (96, 32), (32, 80)])
def test_muon_against_pytorch(shape):
    draw = torch.Generator().manual_seed(3)
    start = torch.randn(shape, generator=draw)
    mine, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours = Muon([mine], lr=0.1, momentum=0.9, weight_decay=0.3)
    peer = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.3, adjust_lr_fn="original")
    for _ in range(4):
        mine.grad = torch.randn(shape, generator=draw)
        theirs.grad = mine.grad.clone()
        ours.step()
        peer.step()
    moved = (mine - start).norm()
    assert (mine - theirs).norm() / moved < 0.02  # theirs computes in bfloat16


def test_muon_takes_fused_matrices_apart():
    draw = torch.Generator().manual_seed(5)
    start = torch.randn(48, 16, generator=draw)
    gradient = torch.randn(48, 16, generator=draw)
    fused = torch.nn.Parameter(start.clone())
    parts = [torch.nn.Parameter(part.clone()) for part in start.split((24, 12, 12))]
    fused.grad = gradient.clone()
    for part, own in zip(parts, gradient.split((24, 12, 12)), strict=True):
        part.grad = own.clone()
    Muon([{"params": [fused], "splits": [(24, 12, 12)]}]).step()
    Muon(parts).step()
    torch.testing.assert_close(
        fused.detach(), torch.cat([part.detach() for part in parts]), rtol=1e-5, atol=1e-6
    )


def test_batches_of_matrices_are_as_single_ones(monkeypatch):
    draw = torch.Generator().manual_seed(6)
    together = [torch.nn.Parameter(torch.randn(8, 12, generator=draw)) for _ in range(5)]
    alone = [torch.nn.Parameter(weight.detach().clone()) for weight in together]
    for one, other in zip(together, alone, strict=True):
        one.grad = torch.randn(8, 12, generator=draw)
        other.grad = one.grad.clone()
    Muon(together).step()
    monkeypatch.setattr("textmill.training.muon.BATCH_ELEMENTS", 1)
    Muon(alone).step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def _described(optimizer) -> dict[str, tuple[str, float, float]]:
    return {
        optimizer.names[weight]: (type(part).__name__, group["peak"], group["weight_decay"])
        for part in optimizer.parts
        for group in part.param_groups
        for weight in group["params"]
    }


def test_what_each_parameter_gets(make_model):
    model = make_model(tied=False, base_width=8)  # twice as wide as the one that was tuned
    spec = AdamWSpec(lr=0.01, weight_decay=0.1)
    adam = _described(optimizers.build(model, spec))
    assert adam["embedding.weight"] == ("AdamW", 0.01, 0.0)
    assert adam["output.weight"] == ("AdamW", 0.01, 0.1)
    assert adam["blocks.0.attention.qkv.weight"] == ("AdamW", 0.005, 0.1)
    assert adam["blocks.0.attention_norm.weight"] == ("AdamW", 0.01, 0.0)
    muon = _described(optimizers.build(model, MuonSpec(lr=0.02, rest=spec)))
    assert muon["blocks.1.feedforward.down.weight"] == ("Muon", 0.02, 0.0)
    assert muon["embedding.weight"] == ("AdamW", 0.01, 0.0)
    assert set(muon) == set(adam) == {name for name, _ in model.named_parameters()}


def test_fused_rows_add_up(make_model):
    model = make_model(kv_heads=1)
    assert optimizers.fused_rows(model, "blocks.0.attention.qkv.weight") == (16, 8, 8)
    assert optimizers.fused_rows(model, "blocks.0.feedforward.up.weight") == (32, 32)
    for name, weight in model.named_parameters():
        assert sum(optimizers.fused_rows(model, name)) == weight.shape[0]


@pytest.mark.parametrize("spec", [AdamWSpec(), MuonSpec()])
def test_state_goes_through_names(make_model, spec):
    one, other = make_model(torch.float32), make_model(torch.float32)
    first, second = optimizers.build(one, spec), optimizers.build(other, spec)
    for seed in range(2):
        _fill_gradients(one, seed)
        first.step(1.0)
    other.load_state_dict(one.state_dict())
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    assert list(second.state()) == sorted(first.state())
    assert all(name.rpartition("/")[0] in dict(one.named_parameters()) for name in first.state())
    for seed in range(2, 5):
        for model, optimizer in ((one, first), (other, second)):
            _fill_gradients(model, seed)
            optimizer.step(0.7)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_of_another_model_is_refused(make_model):
    optimizer = optimizers.build(make_model(), AdamWSpec())
    with pytest.raises(DamagedError, match="blocks.9"):
        optimizer.load_state({"blocks.9.norm.weight/exp_avg": torch.zeros(16)})
    with pytest.raises(DamagedError, match="shape"):
        optimizer.load_state({"norm.weight/exp_avg": torch.zeros(17)})
