"""Losses: (model, batch) -> (sum of nats, number of targets). Nothing here divides; the loop does, once.

B rows, T positions, N = B·T tokens, D features, V ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.nn import fused
from textmill.nn.linear import onednn, onednn_serves

CPU_CHUNK = 512  # tokens: their logits stay near the processor, and the matrix is not read too often
Loss = Callable[[Any, Batch], tuple[Tensor, Tensor]]


def count_targets(batch: Batch) -> int:
    """Positions of a batch that bear loss."""
    return int((batch.targets != IGNORE).sum())


def causal(model: Any, batch: Batch, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each next token: (sum of nats, number of targets), two scalar tensors.

    With `chunk` the logits of at most that many tokens exist at a time: exactly the same gradients and, up to
    the order of additions, the same sum. In float32 training on a CPU they are always made in chunks, since
    that is also the quicker way there.
    """
    targets = batch.targets.flatten()
    if hasattr(model, "log_probs"):
        real = targets != IGNORE
        nats = token_nats(model, model.hidden(batch).flatten(0, 1)[real], targets[real])
        return nats.double().sum(), real.sum()
    factors = model.factors(batch) if _products_in_place(model) else None
    if factors is not None:
        hidden, matrix = factors
        nats = _LinearLoss.apply(hidden.flatten(0, 1), matrix, targets, chunk or CPU_CHUNK)
        return nats, (targets != IGNORE).sum()
    if chunk is None:
        nats = _nats(model(batch).flatten(0, 1), targets)
    else:
        hidden = model.hidden(batch).flatten(0, 1)
        nats = _chunked(model, hidden, targets, chunk)
    return nats, (targets != IGNORE).sum()


def token_nats(model: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target: hidden (N, …) as the model's `hidden` gives it, (N,) -> (N,), in float32 or more.

    A model that has `log_probs` (counted ones, mixtures) is not asked for the rest of its vocabulary.
    """
    if hasattr(model, "log_probs"):
        return -model.log_probs(hidden, targets)
    return F.cross_entropy(model.logits(hidden).float(), targets, reduction="none")


def _products_in_place(model: Any) -> bool:
    """Whether `_LinearLoss` serves a model: in float32 training on a CPU, its weights whole on this rank."""
    weight = next(model.parameters(), None) if hasattr(model, "factors") else None
    return (
        weight is not None
        and not hasattr(weight, "full_tensor")  # cut up over ranks: only the model's own methods gather it
        and onednn_serves(weight, weight)
        and fused.worthwhile(weight)
    )


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log softmax(logits)[target] in float32: (N, V), (N,) -> ()."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, targets, ignore_index=IGNORE, reduction="sum")


def _chunked(model: Any, hidden: Tensor, targets: Tensor, chunk: int) -> Tensor:
    pairs = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    if not (torch.is_grad_enabled() and hidden.requires_grad):
        return torch.stack([_nats(model.logits(part), wanted) for part, wanted in pairs]).sum()
    weights = _head_parameters(model, hidden)
    return _Chunked.apply(model, chunk, targets, hidden, *weights)


def _head_parameters(model: Any, hidden: Tensor) -> list[Tensor]:
    """The parameters `model.logits` reads, found by asking autograd about one token."""
    with torch.enable_grad():
        probe = model.logits(hidden[:1].detach()).sum()
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    if not probe.requires_grad:
        return []
    found = torch.autograd.grad(probe, parameters, allow_unused=True)
    return [weight for weight, gradient in zip(parameters, found, strict=True) if gradient is not None]


class _Chunked(torch.autograd.Function):
    """Logits, loss and its gradients chunk by chunk in the forward pass, so nothing is computed twice.

    The loss is the end of the graph: its gradient is known up to one factor, which the backward pass applies.
    """

    @staticmethod
    def forward(
        ctx: Any, model: Any, chunk: int, targets: Tensor, hidden: Tensor, *weights: Tensor
    ) -> Tensor:  # type: ignore[override]
        total = hidden.new_zeros((), dtype=torch.float64 if hidden.dtype == torch.float64 else torch.float32)
        back = torch.empty_like(hidden)
        sums = [torch.zeros_like(weight) for weight in weights]
        for start in range(0, len(hidden), chunk):
            part = hidden[start : start + chunk].detach().requires_grad_()
            with torch.enable_grad():
                nats = _nats(model.logits(part), targets[start : start + chunk])
            first, *rest = torch.autograd.grad(nats, [part, *weights])
            back[start : start + chunk] = first
            torch._foreach_add_(sums, rest) if sums else None
            total += nats.detach()
        ctx.save_for_backward(back, *sums)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:  # type: ignore[override]
        return None, None, None, *(tensor.mul_(scale.to(tensor.dtype)) for tensor in ctx.saved_tensors)


class _LinearLoss(torch.autograd.Function):
    """Cross-entropy of logits = hidden · matrixᵀ, and its gradients, with one buffer of logits.

    d nats / d logits = softmax(logits) - onehot(target), made in place and used up before the next chunk.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, matrix: Tensor, targets: Tensor, chunk: int) -> Tensor:
        back, slope = torch.empty_like(hidden), torch.zeros_like(matrix)
        total = torch.zeros((), dtype=torch.float64)
        for rows, wanted in zip(range(0, len(hidden), chunk), targets.split(chunk), strict=True):
            part = hidden[rows : rows + chunk]
            logits = onednn(part, matrix)
            real = wanted != IGNORE
            places = torch.where(real, wanted, 0)[:, None]
            scale = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (scale - logits.gather(1, places))[real].sum(dtype=torch.float64)
            logits.sub_(scale).exp_()
            logits.scatter_add_(1, places, logits.new_full((1, 1), -1.0).expand_as(places))
            logits.mul_(real[:, None]) if not bool(real.all()) else None
            back[rows : rows + chunk] = onednn(logits, matrix.t())
            slope.addmm_(logits.t(), part)
        ctx.save_for_backward(back, slope)
        return total.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor, Tensor, None, None]:
        back, slope = ctx.saved_tensors
        return back.mul_(scales[0]), slope.mul_(scales[0]), None, None


@torch.no_grad()
def evaluate_loss(model: Any, batches: Any, loss: Loss = causal) -> tuple[float, int]:
    """(sum of nats, targets) over batches, with dropout off; the model's mode is as before afterwards."""
    training = model.training
    model.eval()
    nats, count = 0.0, 0
    try:
        for batch in batches:
            some, number = loss(model, batch)
            nats, count = nats + some.item(), count + int(number)
    finally:
        model.train(training)
    return nats, count
