"""Losses: (model, batch) -> (sum of nats, number of targets). Nothing here divides; the loop does, once.

B rows, T positions, N = B·T tokens, D features, V ids; n texts, a row each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from textmill.data.batch import IGNORE, Batch
from textmill.models.model import Model, TokenScorer
from textmill.nn import fused
from textmill.nn.linear import onednn_serves, plain_product

CPU_CHUNK = 512  # tokens: their logits stay near the processor, and the matrix is not read too often
Loss = Callable[[Model, Batch], tuple[Tensor, Tensor]]
Count = Callable[[Batch], int]


@dataclass(frozen=True)
class Losses:
    """What a model is trained by, and what it is validated by.

    Every loss is (sum of nats, number of targets), and the loop divides once, by the number in the whole global
    batch. So the gradient of a step is the same however its batch is padded, cut into micro-batches or dealt to ranks.
    """

    training: Loss
    validation: Loss  # the same in plain nats: labels are not smoothed
    count: Count  # targets of a batch, as both losses count them
    # (sum, number) of what every row of an update is to know the mean of (`Batch.baseline`) before its loss is made;
    # it has no gradient. None: nothing.
    baseline: Loss | None = None


def count_targets(batch: Batch) -> int:
    """Positions of a batch that are in the loss."""
    return int((batch.targets != IGNORE).sum())


def count_labels(batch: Batch) -> int:
    """Labels or numbers of a batch that are in the loss: those that are not IGNORE, or not NaN."""
    if batch.targets.is_floating_point():
        return int((~batch.targets.isnan()).sum())
    return count_targets(batch)


def losses_of_tokens(spec: Any, *, sequence: int, chunk: int | None = None) -> Losses:
    """Those of an objective whose targets are tokens, each said from what stands before it.

    sequence: tokens of a row. chunk: logits of at most so many tokens exist at a time; see `causal`. Label smoothing
    is the spec's, where it has one, and for training only.
    """
    plain = functools.partial(causal, chunk=chunk)
    smoothing = getattr(spec, "label_smoothing", 0.0)
    training = functools.partial(plain, smoothing=smoothing) if smoothing else plain
    return Losses(training, plain, count_targets)


def losses_by(loss: Loss, count: Count) -> Callable[..., Losses]:
    """Those of an objective that has one loss, whatever its spec and the run say."""
    return lambda spec, *, sequence, chunk=None: Losses(loss, loss, count)


def causal(
    model: Model, batch: Batch, chunk: int | None = None, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each target token: (sum of nats, number of targets), two scalar tensors.

    Logits are made of those positions alone that are in the loss. With `chunk` those of at most that many tokens exist
    at a time: exactly the same gradients and, up to the order of additions, the same sum. In float32 training on a CPU
    they are always made in chunks, since that is also the quicker way there.

    smoothing: the share ε of the probability that every id gets alike, the target's own included (Szegedy et al. 2016,
    section 7): a target costs (1 - ε) · -log p(target) + ε / V · Σ -log p(id). That is `F.cross_entropy`'s
    label_smoothing. fairseq spreads its ε over the V - 1 other ids: as much as ε · V / (V - 1) does here.
    """
    targets = batch.targets.flatten()
    if isinstance(model, TokenScorer):
        real = targets != IGNORE
        nats = token_nats(model, model.hidden(batch).flatten(0, 1)[real], targets[real])
        return nats.double().sum(), real.sum()
    number = (targets != IGNORE).sum()
    factors = model.factors(batch) if _products_in_place(model) else None
    if factors is None:
        return sum_of_nats(model, model.hidden(batch), batch.targets, chunk, smoothing), number
    hidden, matrix = factors
    return _LinearLoss.apply(hidden.flatten(0, 1), matrix, targets, chunk or CPU_CHUNK, smoothing), number


def sum_of_nats(
    model: Model, hidden: Tensor, targets: Tensor, chunk: int | None = None, smoothing: float = 0.0
) -> Tensor:
    """The same sum from states (…, D) that are there already, and their targets (…,)."""
    hidden, targets = hidden.flatten(0, -2), targets.flatten()
    rows = (targets != IGNORE).nonzero().squeeze(1)
    if len(rows) < len(targets):
        hidden, targets = hidden.index_select(0, rows), targets[rows]
    if chunk is None or len(targets) == 0:
        return _nats(model.logits(hidden), targets, smoothing)
    return _chunked(model, hidden, targets, chunk, smoothing)


def token_nats(model: Model, hidden: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target: hidden (N, …) as the model's `hidden` gives it, (N,) -> (N,), in float32 or more.

    A model that has `log_probs` (counted ones, mixtures) is not asked for the rest of its vocabulary.
    """
    if isinstance(model, TokenScorer):
        return -model.log_probs(hidden, targets)
    return F.cross_entropy(widened(model.logits(hidden)), targets, reduction="none")


def log_probs(model: Model, texts: Batch, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """(n,) float64, the sum over each text's targets of their log-probability, and (n,) how many they are.

    chunk: logits of at most so many tokens exist at a time; they are made once more in the backward pass.
    """
    hidden, borne = model.hidden(texts), texts.targets != IGNORE
    states, targets = hidden[borne], texts.targets[borne]
    nats = [
        checkpoint(token_nats, model, *part, use_reentrant=False) if chunk else token_nats(model, *part)
        for part in zip(states.split(chunk or len(states) or 1), targets.split(chunk or len(targets) or 1), strict=True)
    ]  # fmt: skip
    owner = borne.nonzero()[:, 0]
    sums = torch.zeros(len(texts), dtype=torch.float64, device=hidden.device)
    return sums.index_add(0, owner, -torch.cat(nats).double()), borne.sum(1)


def _products_in_place(model: Model) -> bool:
    """Whether `_LinearLoss` serves a model: in float32 training on a CPU, its weights whole on this rank."""
    trained = (weight for weight in model.parameters() if weight.requires_grad)
    weight = next(trained, None) if isinstance(model, Model) else None
    return (
        weight is not None
        and not hasattr(weight, "full_tensor")  # cut up over ranks: only the model's own methods gather it
        and onednn_serves(weight, weight)
        and fused.worthwhile(weight)
    )


def widened(logits: Tensor) -> Tensor:
    """Logits in float32 or more: a sum of exponentials wants it."""
    return logits if logits.dtype == torch.float64 else logits.float()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over rows that are in the loss: (N, C), (N,) -> ()."""
    return F.cross_entropy(widened(logits), targets, ignore_index=IGNORE, reduction="sum")


def _nats(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Sum of -log softmax(logits)[target] in float32: (N, V), (N,) -> ()."""
    return F.cross_entropy(widened(logits), targets, reduction="sum", label_smoothing=smoothing)


def _chunked(model: Model, hidden: Tensor, targets: Tensor, chunk: int, smoothing: float) -> Tensor:
    if torch.is_grad_enabled() and hidden.requires_grad:
        weights = _head_parameters(model, hidden)
        return _Chunked.apply(model, chunk, smoothing, targets, hidden, *weights)
    pairs = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    return torch.stack([_nats(model.logits(part), wanted, smoothing) for part, wanted in pairs]).sum()


def _head_parameters(model: Model, hidden: Tensor) -> list[Tensor]:
    """The parameters `model.logits` reads, found by asking autograd about one token."""
    with torch.enable_grad():
        probe = model.logits(hidden[:1].detach()).sum()
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    if not probe.requires_grad:
        return []
    gradients = torch.autograd.grad(probe, parameters, allow_unused=True)
    return [weight for weight, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


class _Chunked(torch.autograd.Function):
    """Logits, loss and its gradients chunk by chunk in the forward pass, so nothing is computed twice.

    The loss is the end of the graph: its gradient is known up to one factor, which the backward pass applies.
    """

    @staticmethod
    def forward(
        ctx: Any,
        model: Model,
        chunk: int,
        smoothing: float,
        targets: Tensor,
        hidden: Tensor,
        *weights: Tensor,
    ) -> Tensor:  # type: ignore[override]
        total = hidden.new_zeros((), dtype=torch.float64 if hidden.dtype == torch.float64 else torch.float32)
        back = torch.empty_like(hidden)
        sums = [torch.zeros_like(weight) for weight in weights]
        for start in range(0, len(hidden), chunk):
            part = hidden[start : start + chunk].detach().requires_grad_()
            with torch.enable_grad():
                nats = _nats(model.logits(part), targets[start : start + chunk], smoothing)
            first, *rest = torch.autograd.grad(nats, [part, *weights])
            back[start : start + chunk] = first
            torch._foreach_add_(sums, rest) if sums else None
            total += nats.detach()
        ctx.save_for_backward(back, *sums)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:  # type: ignore[override]
        return None, None, None, None, *(tensor.mul_(scale.to(tensor.dtype)) for tensor in ctx.saved_tensors)


class _LinearLoss(torch.autograd.Function):
    """Cross-entropy of logits = hidden · matrixᵀ, and its gradients, with one buffer of logits.

    With e = exp(logits - their maximum), made in place, and s the sum of e:

        d nats / d logits = e / s - (1 - ε) · onehot(target) - ε / V

    Only e goes through the large products. 1 / s is a factor of their rows, and the rest are rows of the matrix and of
    hidden that are added where they belong, so the logits are gone over no more often than the formula needs.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, matrix: Tensor, targets: Tensor, chunk: int, smoothing: float
    ) -> Tensor:
        rows = (targets != IGNORE).nonzero().squeeze(1)
        every = len(rows) == len(targets)
        back = torch.empty_like(hidden) if every else torch.zeros_like(hidden)
        slope = torch.zeros_like(matrix) if ctx.needs_input_grad[1] else None  # None: a frozen output layer
        total = torch.zeros((), dtype=torch.float64)
        mean = matrix.mean(0) if smoothing else None
        for some in rows.split(chunk):
            part = hidden[some[0] : some[-1] + 1] if every else hidden[some]
            wanted = targets[some]
            logits = plain_product(part, matrix)
            top = logits.amax(dim=-1, keepdim=True)
            nats = top - logits.gather(1, wanted[:, None]) * (1 - smoothing)
            sums = logits.sub_(top).exp_().sum(dim=-1, keepdim=True)
            nats.add_(sums.log())
            gradient = plain_product(logits, matrix.t()).div_(sums).sub_(matrix[wanted], alpha=1 - smoothing)
            if slope is not None:
                slope.addmm_(logits.t(), part / sums)
                slope.index_add_(0, wanted, part, alpha=smoothing - 1)
            if mean is not None:
                nats.sub_((part @ mean)[:, None], alpha=smoothing)
                gradient.sub_(mean, alpha=smoothing)
                if slope is not None:
                    slope.sub_(part.sum(0), alpha=smoothing / len(matrix))
            total += nats.sum(dtype=torch.float64)
            back.index_copy_(0, some, gradient)
        ctx.save_for_backward(back, slope)
        return total.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        back, slope = ctx.saved_tensors
        return back.mul_(scales[0]), None if slope is None else slope.mul_(scales[0]), None, None, None


@torch.no_grad()
def evaluate_loss(model: Model, batches: Iterable[Batch], loss: Loss = causal) -> tuple[float, int]:
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
