"""How likely a language model finds what might come after a context: what choices are ranked by.

Contexts that several continuations share are read once, and continuations of like length together.

Shapes: N continuations, P contexts of a batch, n tokens, D what the output layer reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from textmill.base.console import tracked
from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import padded
from textmill.data.special import OUR_START, opening
from textmill.models.model import Generator, TokenScorer
from textmill.models.pretrained import Pretrained
from textmill.nn.shared import evaluating
from textmill.objectives.loss import token_nats, widened
from textmill.tokenization.characters import without_surrogates
from textmill.tokenization.protocol import AnyTokenizer

_POSITIONS = 8192  # of contexts and continuations, read at once
_MOST_LOGITS = 1 << 26  # computed at once: 256 MiB in float32


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one continuation: its natural log-likelihood, its tokens, and whether each of them is the likeliest there."""

    value: float
    tokens: int
    greedy: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """A continuation to be scored: what is read before it, never nothing, and its own tokens."""

    before: tuple[int, ...]
    tokens: tuple[int, ...]


def likelihoods(
    pretrained: Pretrained, pairs: Sequence[tuple[str, str]], *, greedy: bool = False
) -> list[Likelihood | str]:
    """The likelihood of each (context, continuation), in order, or why it has none: one of few fixed phrases.

    Both are cut as one text, and what is not the same as in the context cut alone is of the continuation. Before a
    context stands what the tokenizer puts before every text; before none, what begins a text that is scored. greedy:
    whether that is asked, too; else it is False. Raises TextmillError for models of another kind.
    """
    model = pretrained.model
    if not isinstance(model, Generator) or not pretrained.writes or pretrained.reads_source:
        raise TextmillError(
            f"a model of kind {pretrained.spec.kind!r} does not continue text, so it gives continuations no likelihood"
        )
    asked = _asked(pretrained, pairs)
    made: list[Likelihood | str] = [
        each if isinstance(each, str) else Likelihood(0.0, 0, True) for each in asked
    ]
    known = [number for number, each in enumerate(asked) if not isinstance(each, str)]
    with torch.inference_mode():
        batches = _batches([each for each in asked if not isinstance(each, str)])
        for some in tracked(batches, "scoring", unit="batches"):
            scored = _scored(evaluating(model), [asked[known[number]] for number in some], greedy)  # type: ignore[misc]
            for number, one in zip(some, scored, strict=True):
                made[known[number]] = one
    return made


def _asked(pretrained: Pretrained, pairs: Sequence[tuple[str, str]]) -> list[_Asked | str]:
    tokenizer, longest = pretrained.tokenizer, pretrained.spec.context
    contexts = [without_surrogates(context) for context, _ in pairs]
    wholes = [without_surrogates(context + continuation) for context, continuation in pairs]
    distinct = list(dict.fromkeys(contexts))
    alone = dict(zip(distinct, tokenizer.encode_many(distinct), strict=True))
    made: list[_Asked | str] = []
    for context, ids in zip(contexts, tokenizer.encode_many(wholes), strict=True):
        read, whole = alone[context].tolist(), ids.tolist()
        same = next(
            (at for at, pair in enumerate(zip(read, whole, strict=False)) if pair[0] != pair[1]), len(read)
        )
        before = (*(tokenizer.prefix if same else _beginning(tokenizer)), *whole[:same])
        tokens = tuple(whole[same:])
        if not tokens:
            made.append("the continuation has no tokens")
        elif len(before) + len(tokens) - 1 > longest:
            made.append("is longer than the model reads")
        else:
            made.append(_Asked(before, tokens))
    return made


def _beginning(tokenizer: AnyTokenizer) -> tuple[int, ...]:
    """What stands before a text without a context: what the tokenizer puts there, or the beginning-of-text token that
    somebody else's names, as lm-evaluation-harness has it; else what begins a text that is scored here."""
    ours = tokenizer.special.get(OUR_START) == tokenizer.start
    if tokenizer.prefix or ours or tokenizer.start is None:
        return opening(tokenizer)
    return (tokenizer.start,)


def _batches(asked: Sequence[_Asked]) -> Iterator[list[int]]:
    """Numbers of continuations that are scored together: those of one context beside each other, contexts of like
    length, each batch of a bounded number of positions."""
    order = sorted(
        range(len(asked)), key=lambda at: (-len(asked[at].before), asked[at].before, -len(asked[at].tokens))
    )
    batch: list[int] = []
    widest = 0
    for number in order:
        widest = max(widest, len(asked[number].tokens))
        most = len(asked[batch[0]].before if batch else asked[number].before) + widest
        if batch and most * (len(batch) + 1) > _POSITIONS:
            yield batch
            batch, widest = [], len(asked[number].tokens)
        batch.append(number)
    if batch:
        yield batch


def _scored(model: Generator, asked: Sequence[_Asked], greedy: bool) -> list[Likelihood]:
    """A batch of them, N: each context is read once, and its state goes on with each of its continuations."""
    contexts = {before: place for place, before in enumerate(dict.fromkeys(each.before for each in asked))}
    ids, real = padded([np.array(before) for before in contexts])
    owners = torch.tensor([contexts[each.before] for each in asked])
    targets = torch.from_numpy(padded([np.array(each.tokens) for each in asked], IGNORE)[0])
    inputs = torch.from_numpy(ids)
    mask = None if real is None else torch.from_numpy(real)
    batch = Batch(inputs, torch.full_like(inputs, IGNORE), mask=mask)
    last, state = model.hidden_begin(batch, ids.shape[1] + targets.shape[1])
    hidden = last[owners][:, None]
    if targets.shape[1] > 1:
        more, _ = model.hidden_step(targets[:, :-1].clamp(min=0), state.reorder(owners))
        hidden = torch.cat([hidden, more], dim=1)
    there = targets != IGNORE
    nats, likeliest = _of_tokens(model, hidden[there], targets[there], greedy)
    sums = torch.zeros(len(asked), dtype=torch.float64)
    rows = there.nonzero()[:, 0]
    sums.index_add_(0, rows, nats.double())
    missed = torch.zeros(len(asked), dtype=torch.int64).index_add_(0, rows, (~likeliest).long())
    return [
        Likelihood(-value, len(each.tokens), greedy and not wrong)
        for value, wrong, each in zip(sums.tolist(), missed.tolist(), asked, strict=True)
    ]


def _of_tokens(
    model: Generator, hidden: torch.Tensor, targets: torch.Tensor, greedy: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) nats of targets, and (n,) whether each is the likeliest token, where that is asked."""
    nats, hits = [], []
    most = max(1, _MOST_LOGITS // model.vocabulary)
    for start in range(0, len(targets), most):
        part = slice(start, start + most)
        if greedy or not isinstance(model, TokenScorer):
            logits = widened(model.logits(hidden[part]))
            nats.append(torch.nn.functional.cross_entropy(logits, targets[part], reduction="none"))
            hits.append(logits.argmax(-1) == targets[part])
        else:
            nats.append(token_nats(model, hidden[part], targets[part]))
            hits.append(torch.zeros(len(nats[-1]), dtype=torch.bool))
    return torch.cat(nats).float(), torch.cat(hits)
