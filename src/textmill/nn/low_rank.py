"""Low-rank additions to frozen matrices: LoRA (Hu et al. 2021), rsLoRA (Kalajdzievski 2023), DoRA (Liu et al. 2024).

    LoRA     y = W x + s · B A x          s = alpha / rank           (Hu et al., equation 3)
    rsLoRA   the same                     s = alpha / sqrt(rank)     (Kalajdzievski, section 4)
    DoRA     y = m ⊙ (W + s B A) x / ‖W + s B A‖                     (Liu et al., equation 5)

m has a magnitude for each output, and ‖·‖ is the norm of its row; that norm counts as a constant in the gradient
(section 4.3 there). A matrix may have an addition for each of the sections it is fused from. B begins at 0 and m at
‖W‖, so a new addition changes nothing, to the bit.

Shapes: N rows (all leading dimensions), I inputs, O outputs, R rank, V vocabulary, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.nn import mode
from textmill.nn.dropout import Dropout
from textmill.nn.eight_bits import EightBitEmbedding, EightBitLinear
from textmill.nn.linear import Linear, onednn_serves, rows_of

WHOLE = "all"  # in place of a section's name: the addition is to the whole matrix
Base = Linear | EightBitLinear


class LowRank(nn.Module):
    """What is added to some rows of a matrix: scale · b a, with a (R, I) and b (O, R)."""

    def __init__(
        self, inputs: int, outputs: int, rank: int, scale: float, *, magnitude: bool = False
    ) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.empty(outputs, rank))
        self.magnitude = nn.Parameter(torch.empty(outputs)) if magnitude else None

    def delta(self) -> Tensor:
        """The addition as a matrix, (O, I)."""
        return self.scale * (self.b @ self.a)


class LowRankLinear(nn.Module):
    """A frozen linear layer and what is added to its matrix, a `LowRank` for each section that has one.

    `row_by_row` may be set: the addition to each row is then worked out by itself, to the bits it has alone.
    """

    def __init__(self, base: Base, additions: Mapping[str, LowRank], dropout: float = 0.0) -> None:
        super().__init__()
        self.base, self.additions = base, nn.ModuleDict(additions)
        self._frozen = (base,)  # itself, whatever layer for decoding may take its place as `base`
        self.dropout, self.row_by_row = Dropout(dropout), False
        self.rows = {
            name: slice(0, base.out_features) if name == WHOLE else rows_of(base.sections, name)
            for name in additions
        }
        self.out_features, self.in_features, self.sections = (
            base.out_features,
            base.in_features,
            base.sections,
        )
        weighed = any(low.magnitude is not None for low in additions.values())
        self.squares: Tensor | None
        self.register_buffer("squares", _squares(base) if weighed else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, O)."""
        lows = {name: self._low(name) for name in self.rows}
        plain = self.squares is None and self.base is self.frozen
        if plain and torch.is_grad_enabled() and onednn_serves(x, next(iter(lows.values())).a):
            return self._at_once(x, lows)
        return self.added(x, self.base(x))

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        """The base's products y (…, O) of x (…, I), and what is added to them: (…, O)."""
        dropped = self.dropout(x)
        for name in self.rows:
            low = self._low(name)
            change = _added(dropped, low, self.row_by_row)
            if low.magnitude is not None:
                gain = low.magnitude / self._norms(name).detach()
                change = (gain - 1) * self._unbiased(y, self.rows[name]) + gain * change
            y = y + _placed(change, self.rows[name], self.out_features)
        return y

    def matrix(self) -> Tensor:
        """The matrix with all additions in it, in float32: (O, I)."""
        base = self.frozen
        whole = base.weight.detach().float() if isinstance(base, Linear) else base.matrix.unpacked()
        whole = whole.clone()
        for name, rows in self.rows.items():
            low = self._low(name)
            changed = whole[rows] + low.delta().detach().float()
            if low.magnitude is not None:
                changed *= (low.magnitude / self._norms(name)).detach().float()[:, None]
            whole[rows] = changed
        return whole

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """First values: a uniform in ±1 / sqrt(I), b zero, the magnitude that of the base."""
        for name in self.rows:
            low = self._low(name)
            bound = self.in_features**-0.5
            low.a.copy_(torch.empty(low.a.shape).uniform_(-bound, bound, generator=generator))
            low.b.zero_()
            if low.magnitude is not None:
                low.magnitude.copy_(self._norms(name))

    @property
    def frozen(self) -> Base:
        """The layer that is added to."""
        return self._frozen[0]

    def _low(self, name: str) -> LowRank:
        low = self.additions[name]
        assert isinstance(low, LowRank)
        return low

    def _at_once(self, x: Tensor, lows: Mapping[str, LowRank]) -> Tensor:
        """All additions in one function whose gradient is written by hand: no temporary is as large as y."""
        rows = x.reshape(-1, x.shape[-1])
        dropped = self.dropout(rows) if self.training and self.dropout.p else None
        a = torch.cat([low.a for low in lows.values()])
        placed = [(self.rows[name], low.a.shape[0], low.scale) for name, low in lows.items()]
        y = _Sum.apply(rows, dropped, self.frozen, placed, a, *(low.b for low in lows.values()))
        return y.view(*x.shape[:-1], self.out_features)

    def _norms(self, name: str) -> Tensor:
        """‖W + s b a‖ of each row, (O,), without that matrix: ‖W‖² + 2 s b · (W aᵀ) + s² b (a aᵀ) bᵀ."""
        low, rows = self._low(name), self.rows[name]
        with torch.no_grad():
            assert self.squares is not None
            crossed = self.frozen.times(low.a).t()[rows]
            squares = self.squares[rows] + 2 * low.scale * (crossed * low.b).sum(1)
            squares += low.scale**2 * ((low.b @ (low.a @ low.a.t())) * low.b).sum(1)
            return squares.clamp_(min=1e-30).sqrt_()

    def _unbiased(self, y: Tensor, rows: slice) -> Tensor:
        bias = self.frozen.bias
        return y[..., rows] if bias is None else y[..., rows] - bias[rows]


class _Sum(torch.autograd.Function):
    """y = W x + bias + Σ s b a d: x (N, I), d x after dropout or, where there is none, x; a holds those of all
    additions one under the other, (ΣR, I)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        base: Base,
        placed: list[tuple[slice, int, float]],
        a: Tensor,
        *bs: Tensor,
    ) -> Tensor:
        read = x if dropped is None else dropped
        y, inner = base.times(x, base.bias), read @ a.t()
        for (rows, rank, scale), some, b in zip(placed, _split(inner, placed), bs, strict=True):
            assert some.shape[1] == rank
            y[:, rows].addmm_(some, b.t(), alpha=scale)
        ctx.base, ctx.placed, ctx.apart = base, placed, dropped is not None
        ctx.save_for_backward(read, inner, a, *bs)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        read, inner, a, *bs = ctx.saved_tensors
        back, slopes = [], []
        for (rows, _, scale), some, b in zip(ctx.placed, _split(inner, ctx.placed), bs, strict=True):
            slopes.append((grad[:, rows].t() @ some).mul_(scale))
            back.append((grad[:, rows] @ b).mul_(scale))
        reached = torch.cat(back, dim=1)
        grad_x = ctx.base.back(grad) if ctx.needs_input_grad[0] else None
        grad_dropped = reached @ a if ctx.needs_input_grad[1] else None
        if grad_x is not None and not ctx.apart:
            grad_x.addmm_(reached, a)
        return grad_x, grad_dropped, None, None, reached.t() @ read, *slopes


class LowRankEmbedding(nn.Module):
    """A frozen embedding and what is added to it: that of a linear layer over ids as one-hot vectors, so a (R, V) and
    b (D, R)."""

    def __init__(self, base: nn.Embedding | EightBitEmbedding, low: LowRank, dropout: float = 0.0) -> None:
        super().__init__()
        self.base, self.additions = base, nn.ModuleDict({WHOLE: low})
        self.dropout, self.row_by_row = Dropout(dropout), False
        self.num_embeddings, self.embedding_dim = base.num_embeddings, base.embedding_dim

    @property
    def low(self) -> LowRank:
        """What is added."""
        low = self.additions[WHOLE]
        assert isinstance(low, LowRank)
        return low

    def forward(self, ids: Tensor) -> Tensor:
        """(…) -> (…, D)."""
        return self.added(ids, self.base(ids))

    def added(self, ids: Tensor, vectors: Tensor) -> Tensor:
        """The base's vectors (…, D) of ids (…), and what is added to them: (…, D)."""
        if self.row_by_row and len(ids) > 1:
            pairs = zip(ids.split(1), vectors.split(1), strict=True)
            return torch.cat([self.added(*pair) for pair in pairs])
        inner = self.dropout(F.embedding(ids, self.low.a.t()))
        return vectors + F.linear(inner, self.low.b) * self.low.scale

    def matrix(self) -> Tensor:
        """The embedding with the addition in it, in float32: (V, D)."""
        base = self.base
        whole = base.weight.detach().float() if isinstance(base, nn.Embedding) else base.matrix.unpacked()
        return whole + self.low.delta().detach().float().t()

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """First values: a zero, b normal."""
        self.low.a.zero_()
        self.low.b.copy_(torch.empty(self.low.b.shape).normal_(generator=generator))


class Several(nn.Module):
    """A frozen layer for rows of several models: its products are made at once for all of them, and what each model
    adds is added to its own rows. Those stand model after model, so many of each as `nn.mode.Mode.rows` says.
    """

    def __init__(self, base: nn.Module, adapted: Sequence[LowRankLinear | LowRankEmbedding | None]) -> None:
        """adapted: of each model the layer over this base; None of one that adds nothing."""
        super().__init__()
        self.base, self._adapted = base, tuple(adapted)

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) as the base reads it -> (B, …)."""
        rows = list(mode.current().rows)
        parts = zip(self._adapted, x.split(rows), self.base(x).split(rows), strict=True)
        return torch.cat([y if one is None or not len(y) else one.added(own, y) for one, own, y in parts])


def _added(x: Tensor, low: LowRank, row_by_row: bool) -> Tensor:
    """scale · b a x: (B, …, I) -> (B, …, O)."""
    if row_by_row and len(x) > 1:
        return torch.cat([_added(row, low, False) for row in x.split(1)])
    return F.linear(F.linear(x, low.a), low.b) * low.scale


def _squares(base: Base) -> Tensor:
    """‖W‖² of each row, (O,) float32."""
    if isinstance(base, Linear):
        return base.weight.detach().float().square().sum(1)
    return torch.cat([weight.square().sum(1) for _, weight in base.matrix.pieces()])


def _placed(change: Tensor, rows: slice, outputs: int) -> Tensor:
    """(…, some rows) -> (…, O), zero elsewhere."""
    if (rows.start, rows.stop) == (0, outputs):
        return change
    return F.pad(change, (rows.start, outputs - rows.stop))


def _split(inner: Tensor, placed: list[tuple[slice, int, float]]) -> tuple[Tensor, ...]:
    return inner.split([rank for _, rank, _ in placed], dim=1)
