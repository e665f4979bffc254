"""A model of any family with a head in place of its output layer: labels, numbers, tags, spans.

Shapes: B sequences, T tokens, D features, C labels, tags or numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import RecipeError
from textmill.data.batch import Batch
from textmill.models.encoder import Encoder
from textmill.models.initial import generator
from textmill.models.linear.model import Bag, BagHead
from textmill.models.model import Model
from textmill.nn.block import at_places
from textmill.nn.convolution import Convolutions
from textmill.nn.crf import CRF
from textmill.nn.dropout import Dropout
from textmill.nn.linear import Linear, product
from textmill.specs.head import READ_ONE_WAY, ClassifyHead, HeadSpec, RegressHead, TagHead
from textmill.specs.model import READ_AND_WRITE, MixtureSpec, ModelSpec

_STD = 0.02
_REPLACED = ("output", "transform", "transform_norm", "output_bias", "sentences")  # by a head
LONGEST_SPAN = 30  # tokens of an answer (the BERT authors' max_answer_length)


class Head(Linear):
    """States -> logits: `weight` (C, D), `bias` (C,), and before them a `dense` layer, or `convolutions` (of what they
    say, `Headed.hidden`, D is the width), after them a `crf`, if any."""

    def __init__(self, spec: HeadSpec, width: int) -> None:
        layers = spec.convolutions if isinstance(spec, TagHead) else 0
        beside = Convolutions(layers, width) if layers else None
        super().__init__(width if beside is None else beside.width, outputs(spec), bias=spec.bias)
        self.spec, self.convolutions = spec, beside
        kind = spec.dense if isinstance(spec, (ClassifyHead, RegressHead)) else "none"
        self.activation = {"none": None, "tanh": torch.tanh, "relu": F.relu}[kind]
        self.dense = None if self.activation is None else Linear(width, width)
        self.crf = CRF(outputs(spec)) if isinstance(spec, TagHead) and spec.crf else None
        self.dropout = Dropout(spec.dropout)

    def forward(self, input: Tensor) -> Tensor:
        """(…, D) -> (…, C). With a CRF these are the scores of each tag alone."""
        x = self.dropout(input)
        if self.dense is not None and self.activation is not None:
            x = self.dropout(self.activation(self.dense(x)))
        return product(x, self.weight, self.bias)


def framed(model: Model) -> bool:
    """Whether a model reads each text in a frame: encoders, models with a head, and those that read a source."""
    return isinstance(model, Headed) or model.spec.kind in ("encoder", *READ_AND_WRITE)


class Headed(Model):
    """A body that has `hidden(batch)`, and a head. Parameters are named body.… and head.…

    The body loses what the head replaces, its output layer (unless that is also its embedding), and its pooler
    where the head does not read it, so that every parameter left is trained and published.
    """

    spec: ModelSpec | MixtureSpec

    def __init__(self, body: Model, head: HeadSpec) -> None:
        super().__init__()
        kind = body.spec.kind
        if isinstance(head, (ClassifyHead, RegressHead)) and head.pooling == "first" and kind in READ_ONE_WAY:
            raise RecipeError(
                f"a {kind} has read only one token at its first state",
                where="head.pooling",
                advice='pool the "last" state, or the "mean"',
            )
        self.pooled = _reads_pooler(body, head)
        for name in (*_REPLACED, *(() if self.pooled else ("pooler",))):
            if name in body._modules or name in body._parameters:
                setattr(body, name, None)
        self.body = body
        self.head = BagHead(head) if isinstance(body, Bag) else Head(head, body.hidden_width)
        self.spec, self.vocabulary = body.spec, body.vocabulary

    def all_blocks(self) -> list[nn.Module]:
        """The body's."""
        return self.body.all_blocks()

    def forward(self, batch: Batch) -> Tensor:
        """Logits: (B, C) for the whole text, (B, T, C) of tags, (B, T, 2) of a span's first and last token.

        What stands at padding means nothing. With a CRF these are each tag's scores alone.
        """
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Batch) -> Tensor:
        """What the head reads: (B, D) for the whole text, else (B, T, D)."""
        if isinstance(self.head, Head) and self.head.convolutions is not None:
            states = self.head.dropout(self.body.hidden(batch))
            return self.head.convolutions(states, batch.mask, batch.documents)
        if isinstance(self.body, Bag) or not isinstance(self.head.spec, (ClassifyHead, RegressHead)):
            return self.body.hidden(batch)
        state = pooled_state(self.body, batch, self.head.spec.pooling)
        if self.pooled:
            assert isinstance(self.body, Encoder)
            return self.body.pooled(state[:, None])
        return state

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, C)."""
        return self.head(hidden)


def outputs(spec: HeadSpec) -> int:
    """How many logits a head gives, C."""
    if isinstance(spec, (ClassifyHead, TagHead)):
        return len(spec.labels)
    return spec.outputs if isinstance(spec, RegressHead) else 2


def attach(body: Model, head: HeadSpec, *, seed: int = 0) -> Headed:
    """A body, trained or not, with a fresh head in its dtype and on its device; see `Headed` for what it loses.

    Matrices begin normal with deviation 0.02, those of convolutions, of I inputs, 1 / sqrt(I); biases and the scores of
    a CRF at 0: a function of (head, seed) only.
    """
    like = next(body.parameters())
    with torch.device("meta"):  # PyTorch's own initial values would be drawn from the global random state
        model = Headed(body, head)
    model.head = model.head.to_empty(device=like.device).to(like.dtype)
    with torch.no_grad():
        for name, parameter in model.head.named_parameters():
            drawn = torch.zeros(parameter.shape)
            if name.endswith("weight"):
                deviation = parameter.shape[1] ** -0.5 if name.startswith("convolutions.") else _STD
                drawn.normal_(0.0, deviation, generator=generator(seed, f"head.{name}"))
            parameter.copy_(drawn)
    return model.train(body.training)


def _reads_pooler(body: Model, head: HeadSpec) -> bool:
    """Whether a head reads what the body's own pooler makes of the first state (BERT)."""
    if not isinstance(head, (ClassifyHead, RegressHead)) or not isinstance(body, Encoder):
        return False
    return body.pooler is not None and head.pooling == "first" and head.dense == "none"


def pooled_state(body: Model, batch: Batch, pooling: str) -> Tensor:
    """What stands for each whole text in the states of a body, (B, D). Where that is one state, and nothing is to be
    learnt, an encoder makes no more of its last ones than that."""
    if isinstance(body, Encoder) and pooling in PLACES and not torch.is_grad_enabled():
        return body.hidden_at(batch, PLACES[pooling](batch.inputs, batch.mask))
    return POOLED[pooling](body.hidden(batch), batch.mask)


def _first(rows: Tensor, real: Tensor | None) -> Tensor:
    """The place of each row's first real token: (B, T, …), (B, T) bool -> (B,)."""
    if real is None:
        return torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    return real.int().argmax(1)


def _last(rows: Tensor, real: Tensor | None) -> Tensor:
    """The place of each row's last real token, with padding on either side: (B, T, …), (B, T) bool -> (B,)."""
    if real is None:
        return torch.full((len(rows),), rows.shape[1] - 1, device=rows.device)
    return rows.shape[1] - 1 - real.flip(1).int().argmax(1)


def first_state(states: Tensor, real: Tensor | None) -> Tensor:
    """The state of each row's first real token: (B, T, D), (B, T) bool -> (B, D)."""
    return at_places(states, _first(states, real))[:, 0]


def last_state(states: Tensor, real: Tensor | None) -> Tensor:
    """The state of each row's last real token, with padding on either side: (B, T, D), (B, T) bool -> (B, D)."""
    return at_places(states, _last(states, real))[:, 0]


def mean_state(states: Tensor, real: Tensor | None) -> Tensor:
    """The mean of each row's real tokens: (B, T, D), (B, T) bool -> (B, D); zeros where a row has none."""
    if real is None:
        return states.mean(1)
    kept = states.masked_fill(~real[..., None], 0.0)
    return kept.sum(1) / real.sum(1, keepdim=True).clamp(min=1).to(states.dtype)


def max_state(states: Tensor, real: Tensor | None) -> Tensor:
    """The largest number of each feature over each row's real tokens: (B, T, D), (B, T) bool -> (B, D)."""
    return (states if real is None else states.masked_fill(~real[..., None], -torch.inf)).amax(1)


PLACES = {"first": _first, "last": _last}
POOLED = {"first": first_state, "mean": mean_state, "last": last_state, "max": max_state}


def best_span(logits: Tensor, real: Tensor | None, longest: int = LONGEST_SPAN) -> Tensor:
    """The first and last token of the likeliest span (Devlin et al. 2019, section 4.2): (B, T, 2) -> (B, 2) int64.

    The score of a span is start[i] + end[j]; it holds at most `longest` tokens, all between real ones.
    """
    rows, length, _ = logits.shape
    if real is not None:
        logits = logits.masked_fill(~real[..., None], -torch.inf)
    start, end = logits.unbind(-1)
    # The best start for each end lies among the `longest` places up to it: a sliding maximum.
    window = min(longest, length)
    before = F.pad(start, (window - 1, 0), value=-torch.inf).unfold(1, window, 1)
    best, offset = before.max(-1)
    last = (best + end).argmax(1)
    picked = torch.arange(rows, device=logits.device)
    return torch.stack((last - (window - 1) + offset[picked, last], last), dim=1)
