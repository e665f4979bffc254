"""Recurrent sequence to sequence with attention: a source is read, and a target written while looking at it.

Shapes: B sequences, S source tokens, T target tokens, D features of a token vector, W of a state, L layers,
V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.models.generator import Writer
from textmill.nn import fused, recurrent
from textmill.nn.alignment import Alignment, Memory
from textmill.nn.attention import record
from textmill.nn.dropout import Dropout
from textmill.nn.linear import Linear, product
from textmill.nn.recurrent import Runs, States
from textmill.specs.model import RecurrentEncoderDecoderSpec


@dataclass(slots=True)
class TranslationState:
    """What the model remembers: what it read, and where its writing stands."""

    memory: Memory
    states: States  # (h,) or (h, c), each (L, B, W)
    fed: Tensor | None  # (B, W): the last attentional state, where the model feeds it back
    sources: Tensor  # (B,) int64: which source each row reads, by the row it stood in at first

    def reorder(self, rows: Tensor) -> TranslationState:
        """The state whose row i is row rows[i] of this one, rows (n,) int64. This state is left as it was.

        The memory is not copied where every row keeps its source, as it is when hypotheses of one source change places.
        """
        sources = self.sources[rows]
        memory = self.memory if torch.equal(sources, self.sources) else self.memory.reorder(rows)
        states = tuple(state[:, rows] for state in self.states)
        return TranslationState(memory, states, None if self.fed is None else self.fed[rows], sources)


class RecurrentEncoderDecoder(Writer, nn.Module):
    """An encoder, a bridge from its last states to the decoder's first, a decoder with attention, an output layer.

    The encoder reads the source both ways (Bahdanau et al. 2015, section 3.2) or forwards. Bridge: h ← tanh(W h + b)
    for every layer (the same, appendix A.2.2, for theirs), c ← W c + b of an LSTM's cells, which have no bound.
    With input feeding (Luong et al. 2015, section 3.3) the decoder reads the last attentional state beside each
    token, so it goes one token at a time; without, all targets known, it is one call of PyTorch's kernel.

    `teacher_forcing` may be set at any time: in training, the probability with which the decoder reads the target;
    else it reads the token it held likeliest itself (Bengio et al. 2015, scheduled sampling). Draws come from
    torch's random state.
    """

    output: Linear | None

    def __init__(self, spec: RecurrentEncoderDecoderSpec, vocabulary: int) -> None:
        super().__init__()
        self.spec, self.vocabulary = spec, vocabulary
        self.teacher_forcing = 1.0
        width, layers = spec.width, spec.layers
        self.embedding = nn.Embedding(vocabulary, spec.d_model)
        self.source_embedding = None if spec.tied else nn.Embedding(vocabulary, spec.d_model)
        self.dropout = Dropout(spec.dropout)
        self.encoder = recurrent.Recurrent(
            spec.cell, spec.d_model, width, layers, dropout=spec.dropout, bidirectional=spec.bidirectional
        )
        kinds = range(self.encoder.kinds if spec.bridge else 0)
        self.bridge = nn.ModuleList(nn.ModuleList(Linear(width, width) for _ in range(layers)) for _ in kinds)
        self.decoder = recurrent.Recurrent(
            spec.cell, spec.d_model + spec.fed_width, width, layers, dropout=spec.dropout
        )
        self.alignment = None if spec.attention == "none" else Alignment(spec.attention, width)
        self.projection = Linear(width, spec.d_model) if width != spec.d_model else None
        # Registered where it is None too, so that whoever changes a model's layers finds that it has one to change.
        self.register_module("output", None if spec.tied else Linear(spec.d_model, vocabulary, bias=False))

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of the token after each of `batch.inputs`, having read `batch.source` (B, S)."""
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch, vectors: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """What the output layer reads, (B, T, D): so that a loss can compute logits a piece at a time.

        vectors: of the source (B, S, D) and of the inputs (B, T, D), the embedding's rows, where they were already
        looked up. Raises TextmillError when the batch has no source, or its rows hold several documents.
        """
        source, inputs = vectors or (self._source_vectors(batch), self.embedding(batch.inputs))
        state = self._read_source(batch, source)
        if self.training and self.teacher_forcing < 1.0:
            return self._by_token(self.dropout(inputs), state, batch.mask, self._told(batch))[0]
        return self._write(self.dropout(inputs), state, recurrent.cut(batch.mask, None, exact=False))[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        return product(hidden, self.embedding.weight) if self.output is None else self.output(hidden)

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """hidden (B, T, D) and the matrix (V, D): logits are hidden · matrixᵀ, and a loss may make them itself.

        Where the matrix is also the embedding of both sides, all its gradients are made in one buffer.
        """
        if self.output is not None:
            return self.hidden(batch), self.output.weight
        source = _source(batch)
        rows, length = batch.inputs.shape
        both = torch.cat([source.flatten(), batch.inputs.flatten()])
        vectors, matrix = fused.tied_embedding(both, self.embedding.weight)
        before, after = vectors.split([source.numel(), batch.inputs.numel()])
        pair = before.view(*source.shape, -1), after.view(rows, length, -1)
        return self.hidden(batch, pair), matrix

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """What the encoder makes of source (B, S): (B, S, W), zeros at padding, which may stand on either side."""
        vectors = (self.source_embedding or self.embedding)(source)
        return self.encoder(self.dropout(vectors), recurrent.cut(source_mask, None))[0]

    @torch.no_grad()
    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, TranslationState]:
        """Read the sources and the targets so far, `batch.inputs` (B, T): logits (B, V) after each, and the state.

        capacity is not needed: the state does not grow. `batch.mask` may mark padding of the targets on either side.
        """
        state = self._read_source(batch, self._source_vectors(batch))
        runs = recurrent.cut(batch.mask, None)
        hidden, state = self._write(self.dropout(self.embedding(batch.inputs)), state, runs)
        if batch.mask is None:
            return self.logits(hidden[:, -1]), state
        columns = torch.arange(batch.inputs.shape[1], device=hidden.device)
        last = torch.where(batch.mask, columns, 0).amax(1)
        return self.logits(hidden[torch.arange(len(last), device=last.device), last]), state

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: TranslationState) -> tuple[Tensor, TranslationState]:
        """Read `tokens` (B, n) after what `state` holds: what the output layer reads, (B, n, D), and the state."""
        return self._write(self.dropout(self.embedding(tokens)), state, None)

    def _source_vectors(self, batch: Batch) -> Tensor:
        return (self.source_embedding or self.embedding)(_source(batch))

    def _read_source(self, batch: Batch, vectors: Tensor) -> TranslationState:
        """The state before anything is written. vectors: (B, S, D)."""
        if batch.documents is not None:
            raise TextmillError(
                "packed rows have one source, but several documents to write",
                advice="give each pair a row of its own",
            )
        values, last = self.encoder(self.dropout(vectors), recurrent.cut(batch.source_mask, None))
        memory = (
            Memory(values, values, batch.source_mask)
            if self.alignment is None
            else self.alignment.memory(values, batch.source_mask)
        )
        if self.spec.bridge:
            last = tuple(self._bridged(kind, one) for kind, one in enumerate(last))
        fed = values.new_zeros(len(values), self.spec.width) if self.spec.fed_width else None
        return TranslationState(memory, last, fed, torch.arange(len(values), device=values.device))

    def _bridged(self, kind: int, states: Tensor) -> Tensor:
        """First states of the decoder's layers from the encoder's last ones, (L, B, W); kind: 0, h, or 1, c."""
        linear = self.bridge[kind]
        assert isinstance(linear, nn.ModuleList)
        crossed = torch.stack([layer(one) for layer, one in zip(linear, states, strict=True)])
        return torch.tanh(crossed) if kind == 0 else crossed

    def _write(
        self, vectors: Tensor, state: TranslationState, runs: Runs | None
    ) -> tuple[Tensor, TranslationState]:
        """Read target vectors (B, T, D): what the output layer reads after each (B, T, D), and the state after all."""
        if state.fed is not None:
            real = None if runs is None else runs.real(*vectors.shape[:2])
            return self._by_token(vectors, state, real)
        queries, states = self.decoder(vectors, runs, state.states)
        found, weights = self._aligned(queries, state.memory)
        _record(weights)
        return self._out(found), replace(state, states=states)

    def _by_token(
        self, vectors: Tensor, state: TranslationState, real: Tensor | None, told: Tensor | None = None
    ) -> tuple[Tensor, TranslationState]:
        """The same, one token after the other.

        real: (B, T) bool; a row whose token is padding keeps its state. told: (B, T) bool, where the token given is
        read, and not the one the model held likeliest before; None: everywhere.
        """
        found, weights = [], []
        for place, given in enumerate(vectors.unbind(1)):
            vector = given
            if told is not None and found:
                with torch.no_grad():
                    guess = self.logits(self._out(found[-1])).argmax(-1)
                vector = torch.where(told[:, place, None], given, self.dropout(self.embedding(guess)))
            read = vector if state.fed is None else torch.cat([vector, state.fed], dim=-1)
            query, states = self.decoder(read[:, None], None, state.states)
            one, seen = self._aligned(query, state.memory)
            found.append(one[:, 0])
            weights.append(seen)
            after = replace(state, states=states, fed=None if state.fed is None else one[:, 0])
            state = after if real is None else _kept(real[:, place, None], after, state)
        _record(None if self.alignment is None else torch.cat(weights, dim=1))
        return self._out(torch.stack(found, dim=1)), state

    def _told(self, batch: Batch) -> Tensor:
        """(B, T) bool, drawn at random: which tokens of the target the decoder reads. The first of each always is."""
        inputs, real = batch.inputs, batch.mask
        told = torch.rand(inputs.shape, device=inputs.device) < self.teacher_forcing
        told[:, 0] = True
        if real is not None:
            told[:, 1:] |= ~real[:, :-1]
        return told

    def _aligned(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Attentional states (B, T, W), and the weights (B, T, S); without attention, the queries themselves."""
        return (queries, None) if self.alignment is None else self.alignment(queries, memory)

    def _out(self, found: Tensor) -> Tensor:
        found = self.dropout(found)
        return found if self.projection is None else self.projection(found)


def _source(batch: Batch) -> Tensor:
    if batch.source is None:
        raise TextmillError("the batch has no source to read", advice="give `source`, token ids (B, S)")
    return batch.source


def _kept(real: Tensor, after: TranslationState, before: TranslationState) -> TranslationState:
    """The state after a token in rows that have one, real (B, 1) bool, and before it in the others."""
    pairs = zip(after.states, before.states, strict=True)
    states = tuple(torch.where(real, new, old) for new, old in pairs)
    if after.fed is None or before.fed is None:
        return replace(after, states=states)
    return replace(after, states=states, fed=torch.where(real, after.fed, before.fed))


def _record(weights: Tensor | None) -> None:
    """Show weights (B, T, S) to who captures them; there is one head."""
    if weights is not None:
        record(weights[:, None], source=True)
