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
from textmill.models.model import SourceReader, source_of
from textmill.models.output import OutputLayer, source_and_target, split_vectors
from textmill.nn import mode, recurrent
from textmill.nn.alignment import Alignment, Memory
from textmill.nn.dropout import Dropout
from textmill.nn.linear import Linear
from textmill.nn.recurrent import Runs, States
from textmill.nn.state import State
from textmill.specs.model import RecurrentEncoderDecoderSpec


@dataclass(slots=True)
class TranslationState(State):
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


class RecurrentEncoderDecoder(OutputLayer, SourceReader[TranslationState]):
    """An encoder, a bridge from its last states to the decoder's first, a decoder with attention, an output layer.

    The encoder reads the source both ways (Bahdanau et al. 2015, section 3.2) or forwards. Bridge: h ← tanh(W h + b)
    for every layer (the same, appendix A.2.2, for theirs), c ← W c + b of an LSTM's cells, which have no bound.
    With input feeding (Luong et al. 2015, section 3.3) the decoder reads the last attentional state beside each
    token, so it goes one token at a time; without, all targets known, it is one call of PyTorch's kernel.

    In training the decoder reads the target with probability `nn.mode.Mode.teacher_forcing`; else it reads the token
    it held likeliest itself (Bengio et al. 2015, scheduled sampling). Draws come from torch's random state.
    """

    spec: RecurrentEncoderDecoderSpec

    def __init__(self, spec: RecurrentEncoderDecoderSpec, vocabulary: int) -> None:
        super().__init__()
        self.spec, self.vocabulary = spec, vocabulary
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
        self.add_output(tied=spec.tied)

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, (B, T, D), having read `batch.source` (B, S).

        Raises TextmillError when the batch has no source, or its rows hold several documents.
        """
        if self.source_embedding is None:
            return super().hidden(batch)
        return self._hidden(self.source_embedding(source_of(batch)), self.embedding(batch.inputs), batch)

    def looked_up(self, batch: Batch) -> Tensor:
        """(N,): the ids of the source, then those of the target."""
        return source_and_target(batch)

    def hidden_of(self, vectors: Tensor, batch: Batch) -> Tensor:
        """(N, D) -> (B, T, D), where both sides have one embedding."""
        return self._hidden(*split_vectors(vectors, batch), batch)

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """What the encoder makes of source (B, S): (B, S, W), zeros at padding, which may stand on either side."""
        vectors = (self.source_embedding or self.embedding)(source)
        return self.encoder(self.dropout(vectors), recurrent.cut(source_mask, None))[0]

    @torch.no_grad()
    def hidden_begin(self, batch: Batch, capacity: int) -> tuple[Tensor, TranslationState]:
        """As `Generator.hidden_begin`, of the targets so far, having read the sources. The state does not grow."""
        state = self._read_source(batch, (self.source_embedding or self.embedding)(source_of(batch)))
        runs = recurrent.cut(batch.mask, None)
        hidden, state = self._write(self.dropout(self.embedding(batch.inputs)), state, runs)
        if batch.mask is None:
            return hidden[:, -1], state
        columns = torch.arange(batch.inputs.shape[1], device=hidden.device)
        last = torch.where(batch.mask, columns, 0).amax(1)
        return hidden[torch.arange(len(last), device=last.device), last], state

    @torch.no_grad()
    def hidden_step(self, tokens: Tensor, state: TranslationState) -> tuple[Tensor, TranslationState]:
        """As `Generator.hidden_step`."""
        return self._write(self.dropout(self.embedding(tokens)), state, None)

    def _hidden(self, source: Tensor, inputs: Tensor, batch: Batch) -> Tensor:
        """(B, S, D), (B, T, D) -> (B, T, D)."""
        state = self._read_source(batch, source)
        forcing = mode.current().teacher_forcing
        if self.training and forcing < 1.0:
            return self._by_token(self.dropout(inputs), state, batch.mask, _told(batch, forcing))[0]
        return self._write(self.dropout(inputs), state, recurrent.cut(batch.mask, None, exact=False))[0]

    def _read_source(self, batch: Batch, vectors: Tensor) -> TranslationState:
        """The state before anything is written. vectors: (B, S, D)."""
        if batch.documents is not None:
            raise TextmillError(
                "packed sequences have one source, but several targets",
                advice="give each pair a sequence of its own",
            )
        values, last = self.encoder(self.dropout(vectors), recurrent.cut(batch.source_mask, None))
        memory = (
            Memory(values, values, batch.source_mask)
            if self.alignment is None
            else self.alignment.memory(values, batch.source_mask)
        )
        if self.spec.bridge:
            last = tuple(self._bridged(kind, states) for kind, states in enumerate(last))
        fed = values.new_zeros(len(values), self.spec.width) if self.spec.fed_width else None
        return TranslationState(memory, last, fed, torch.arange(len(values), device=values.device))

    def _bridged(self, kind: int, states: Tensor) -> Tensor:
        """First states of the decoder's layers from the encoder's last ones, (L, B, W); kind: 0, h, or 1, c."""
        linear = self.bridge[kind]
        assert isinstance(linear, nn.ModuleList)
        crossed = torch.stack([layer(state) for layer, state in zip(linear, states, strict=True)])
        return torch.tanh(crossed) if kind == 0 else crossed

    def _write(
        self, vectors: Tensor, state: TranslationState, runs: Runs | None
    ) -> tuple[Tensor, TranslationState]:
        """Read target vectors (B, T, D): what the output layer reads after each (B, T, D), and the state after all."""
        if state.fed is not None:
            real = None if runs is None else runs.real(*vectors.shape[:2])
            return self._by_token(vectors, state, real)
        queries, states = self.decoder(vectors, runs, state.states)
        attentional, weights = self._aligned(queries, state.memory)
        _record(weights)
        return self._out(attentional), replace(state, states=states)

    def _by_token(
        self, vectors: Tensor, state: TranslationState, real: Tensor | None, forced: Tensor | None = None
    ) -> tuple[Tensor, TranslationState]:
        """The same, one token after the other.

        real: (B, T) bool; a row whose token is padding keeps its state. forced: (B, T) bool, where the token itself is
        read, and not the one the model held likeliest before; None: everywhere.
        """
        written, weights = [], []
        for step, target in enumerate(vectors.unbind(1)):
            vector = target
            if forced is not None and written:
                with torch.no_grad():
                    guess = self.logits(self._out(written[-1])).argmax(-1)
                vector = torch.where(forced[:, step, None], target, self.dropout(self.embedding(guess)))
            read = vector if state.fed is None else torch.cat([vector, state.fed], dim=-1)
            query, states = self.decoder(read[:, None], None, state.states)
            attentional, seen = self._aligned(query, state.memory)
            written.append(attentional[:, 0])
            weights.append(seen)
            after = replace(state, states=states, fed=None if state.fed is None else attentional[:, 0])
            state = after if real is None else _kept(real[:, step, None], after, state)
        _record(None if self.alignment is None else torch.cat(weights, dim=1))
        return self._out(torch.stack(written, dim=1)), state

    def _aligned(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Attentional states (B, T, W), and the weights (B, T, S); without attention, the queries themselves."""
        return (queries, None) if self.alignment is None else self.alignment(queries, memory)

    def _out(self, attentional: Tensor) -> Tensor:
        """(…, W) -> (…, D)."""
        attentional = self.dropout(attentional)
        return attentional if self.projection is None else self.projection(attentional)


def _told(batch: Batch, forcing: float) -> Tensor:
    """(B, T) bool, drawn at random: which tokens of the target the decoder reads. The first of each always is."""
    inputs, real = batch.inputs, batch.mask
    forced = torch.rand(inputs.shape, device=inputs.device) < forcing
    forced[:, 0] = True
    if real is not None:
        forced[:, 1:] |= ~real[:, :-1]
    return forced


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
        mode.current().record(weights[:, None], source=True)
