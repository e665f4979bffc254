"""Recurrent layers over rows that may be padded on either side or hold several documents.

Shapes: B rows, T tokens, I inputs, W features of a state, L layers, R runs (sequences cut out of the rows), N real
tokens in all of them. A state is a tuple of (L, B, W) tensors: (h,) of a GRU, (h, c) of an LSTM.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from textmill.specs.model import Cell, RecurrentEncoderDecoderSpec, RecurrentSpec

States = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """Where the sequences lie that rows are made of, in the order in which PyTorch's kernels read them:
    the first token of every sequence, longest sequence first, then the second of each that has one, …"""

    places: Tensor  # (N,) int64: row · T + column of each real token
    sizes: Tensor  # (longest run,) int64, on the CPU: how many runs are that long or longer
    rows: Tensor  # (R,) int64: which row each run lies in
    last: Tensor  # (≤ B,) int64: the runs that are the last of their row

    def real(self, rows: int, length: int) -> Tensor:
        """(B, T) bool: the tokens that are not padding."""
        real = torch.zeros(rows * length, dtype=torch.bool, device=self.places.device)
        return real.index_fill(0, self.places, True).view(rows, length)


def cut(real: Tensor | None, documents: Tensor | None, *, exact: bool = True) -> Runs | None:
    """The runs of rows, real (B, T) bool and documents (B, T) int64; None: each row is one, from its first column on.

    A run is what one row holds of one document, padding left out. exact: False where padding after the last token
    may be read too, as it may when reading forwards and nobody asks for the last state. The quick way is then open.
    """
    if documents is not None and bool((documents == documents[:, :1]).all()):
        documents = None
    if real is not None and documents is None:
        harmless = real if exact else real[:, :-1] | ~real[:, 1:]  # never padding first and then a token
        real = None if bool(harmless.all()) else real
    if documents is None and real is None:
        return None
    if real is None:
        assert documents is not None
        real = torch.ones_like(documents, dtype=torch.bool)
    positions = real.flatten().nonzero().squeeze(1)
    row = positions // real.shape[1]
    begins = torch.ones_like(positions, dtype=torch.bool)
    begins[1:] = row[1:] != row[:-1]
    if documents is not None:
        document = documents.flatten()[positions]
        begins[1:] |= document[1:] != document[:-1]
    starts = begins.nonzero().squeeze(1)
    run = begins.cumsum(0) - 1
    lengths = torch.bincount(run, minlength=len(starts))
    order = lengths.argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    within = torch.arange(len(positions), device=positions.device) - starts[run]
    rows = row[starts]
    ends = torch.ones_like(rows, dtype=torch.bool)
    ends[:-1] = rows[1:] != rows[:-1]
    return Runs(
        places=positions[(within * len(order) + rank[run]).argsort()],
        sizes=torch.bincount(within).cpu(),
        rows=rows[order],
        last=rank[ends],
    )


class Recurrent(nn.Module):
    """A stack of GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000) layers.

    The gates are PyTorch's, in its order and with its two biases:

    GRU   r = σ(W_r x + b_r + U_r h + d_r), z likewise, n = tanh(W_n x + b_n + r ⊙ (U_n h + d_n)),
          h' = (1 - z) ⊙ n + z ⊙ h
    LSTM  i, f, o = σ(W x + b + U h + d), g = tanh(likewise), c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c')
    """

    def __init__(
        self,
        cell: Cell,
        inputs: int,
        width: int,
        layers: int,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        """With `bidirectional`, width is that of both directions together. Dropout falls between layers."""
        super().__init__()
        self.width, self.layers, self.ways = width, layers, 2 if bidirectional else 1
        self.core = (nn.GRU if cell == "gru" else nn.LSTM)(
            inputs,
            width // self.ways,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        self.kinds = 1 if cell == "gru" else 2  # tensors in a state

    def forward(
        self, x: Tensor, runs: Runs | None = None, states: States | None = None
    ) -> tuple[Tensor, States]:
        """x (B, T, I) -> what the last layer says (B, T, W), zeros at padding; and each row's last states.

        runs: as `cut` gives them. states: what rows begin from; left out: zeros. Each run of a row begins from it.
        """
        if runs is None and states is not None and x.shape[1] == 1 and self.ways == 1:
            return self._step(x, states)
        if runs is None:
            outputs, last = self.core(x, self._given(states))
            return outputs, self._taken(last)
        rows, length, _ = x.shape
        before = states or (x.new_zeros(self.layers, rows, self.width),) * self.kinds
        if not len(runs.places):  # PyTorch's kernels want one token at least
            return x.new_zeros(rows, length, self.width), before
        first = None if states is None else tuple(state[:, runs.rows] for state in states)
        packed = PackedSequence(x.flatten(0, 1)[runs.places], runs.sizes)
        outputs, last = self.core(packed, self._given(first))
        spread = outputs.data.new_zeros(rows * length, self.width)
        spread = spread.index_copy(0, runs.places, outputs.data).view(rows, length, -1)
        after = zip(before, self._taken(last), strict=True)
        ends = runs.rows[runs.last]  # rows that have no token stay as they were
        return spread, tuple(old.to(new.dtype).index_copy(1, ends, new[:, runs.last]) for old, new in after)

    def _step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """One token of each row, by PyTorch's cells: whole kernels take longer over it, and keep more of it."""
        core, after = self.core, []
        vector = x[:, 0]
        for layer, now in enumerate(zip(*states, strict=True)):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(core, f"{name}_l{layer}") for name in names]
            if layer:
                vector = F.dropout(vector, core.dropout, self.training)
            after.append(
                (torch.gru_cell(vector, *now, *weights),)
                if self.kinds == 1
                else torch.lstm_cell(vector, now, *weights)
            )
            vector = after[-1][0]
        return vector[:, None], tuple(torch.stack(kind) for kind in zip(*after, strict=True))

    def _given(self, states: States | None) -> Tensor | States | None:
        """As PyTorch wants them: a tensor for a GRU, a pair for an LSTM."""
        if states is None:
            return None
        states = tuple(state.contiguous() for state in states)
        return states[0] if self.kinds == 1 else states

    def _taken(self, last: Tensor | States) -> States:
        """As we have them: both directions of a layer side by side."""
        states = (last,) if isinstance(last, Tensor) else last
        if self.ways == 1:
            return states
        return tuple(
            state.unflatten(0, (self.layers, 2)).transpose(1, 2).flatten(2).contiguous() for state in states
        )


def initial_values(
    name: str,
    parameter: Tensor,
    spec: RecurrentSpec | RecurrentEncoderDecoderSpec,
    generator: torch.Generator,
) -> None:
    """Fill one parameter of a recurrent model.

    parameter                                begins as
    embedding, if it is the output layer too normal, 4 / sqrt(D)
    other embeddings                         normal, 1 (PyTorch)
    output layer of its own                  normal, 4 / sqrt(D)
    matrices and biases of recurrent layers  uniform, ±1 / sqrt(width of that layer's state) (PyTorch)
    forget gate of an LSTM                   input bias 1, state bias 0 (Jozefowicz et al. 2015, section 2.2)
    other matrices of I inputs               uniform, ±1 / sqrt(I) (PyTorch)
    other biases                             0

    Fresh states are around 0.2, so 4 / sqrt(D) lets logits begin with a spread of about one. With the 0.02 of
    Transformers, which have norms to make up for it, neither the gates nor the states get a signal at first: a
    character model of 128 features stood still for its first 150 steps.
    """
    values = parameter.data
    if "embedding" in name or name == "output.weight":
        both = name == "output.weight" or (name == "embedding.weight" and spec.tied)
        values.normal_(0.0, 4 / math.sqrt(spec.d_model) if both else 1.0, generator=generator)
    elif ".core." in name:
        width = len(values) // (3 if spec.cell == "gru" else 4)
        values.uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
        if spec.cell == "lstm" and values.ndim == 1:
            values[width : 2 * width] = float("bias_ih" in name)
    elif values.ndim < 2:
        values.zero_()
    else:
        bound = 1 / math.sqrt(values.shape[1])
        values.uniform_(-bound, bound, generator=generator)
