"""Contrastive search (Su et al. 2022, "A Contrastive Framework for Neural Text Generation", equation 5).

Of the k likeliest tokens v, the one of highest

    (1 - alpha) · p(v | x) - alpha · max over j of cos(h_v, h_j)

is taken, where h_v is the model's last hidden state once it has read v, and h_j those of all tokens before. It is what
the output layer reads: `hidden` of the training path, and `hidden_step`, which is optional:

    hidden_step(tokens (B, n), state) -> ((B, n, D), state)          step, before the output layer

A Generator without it is read anew for every token, through `hidden`: slow, and the same.

Shapes: B rows, k candidates of each, L tokens read so far, D features.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textmill.base.errors import NonFiniteError, RecipeError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.generate import evaluating
from textmill.decoding.hypothesis import Hypothesis
from textmill.decoding.prompt import Fitted, Prompt, batch_of, context_of, device_of, ending, fitted
from textmill.decoding.sampling import History, changed, constraints
from textmill.specs.recipe import GenerationSpec


@torch.inference_mode()
def search(
    model: nn.Module,
    prompts: Sequence[Sequence[int] | Prompt],
    spec: GenerationSpec,
    *,
    ends: int | Collection[int],
    rows: int = 32,
    context: int | None = None,
) -> list[list[Hypothesis]]:
    """One answer to each prompt; `score` is the mean of its tokens' scores by the formula above.

    spec: alpha is `contrastive`, k is `top_k`; bans and penalties hold, nothing is drawn. rows: most prompts computed
    together (each takes k rows).

    Raises RecipeError when the spec asks for no contrastive search, TextmillError for a model without hidden states,
    NonFiniteError when its logits are not finite.
    """
    if spec.contrastive is None or spec.top_k is None:
        raise RecipeError("contrastive search needs contrastive and top_k", where="contrastive")
    reads: Any = model
    # Whoever knows a token's cost without the others reads tables, and what it calls hidden is a place in them.
    if not hasattr(reads, "hidden") or hasattr(reads, "log_probs"):
        raise TextmillError(
            "contrastive search compares hidden states, and this model has none",
            where="contrastive",
            advice="sample, or use beams",
        )
    last = ending(ends)
    # Candidates are read before they are chosen, so the last token takes a place of the context too.
    whole = context_of(model, context) - 1
    kept = fitted(prompts, tokens=spec.tokens, context=whole, start=last[0] if last else None)
    found: list[list[Hypothesis]] = []
    with evaluating(model):
        for start in range(0, len(kept), rows):
            found += [[one] for one in _together(reads, spec, last, kept[start : start + rows])]
    return found


@dataclass(slots=True)
class _Row:
    """An answer being written."""

    prompt: Fitted
    ids: list[int]
    score: float = 0.0
    logprob: float = 0.0
    done: bool = False

    def write(self, token: int, score: float, logprob: float) -> None:
        self.ids.append(token)
        self.score, self.logprob = self.score + score, self.logprob + logprob

    def hypothesis(self, ends: tuple[int, ...]) -> Hypothesis:
        finish = "end" if self.ids[-1] in ends else "length"
        return Hypothesis(tuple(self.ids), self.score / len(self.ids), self.logprob, finish, self.prompt.cut)


def _together(
    model: Any, spec: GenerationSpec, ends: tuple[int, ...], prompts: list[Fitted]
) -> list[Hypothesis]:
    """The answers to one batch of prompts."""
    alpha, chain = spec.contrastive or 0.0, constraints(spec, ends)
    rows = [_Row(one, []) for one in prompts]
    reader = (_Stepping if hasattr(model, "hidden_step") else _Rereading)(model, prompts, spec.top_k or 1)
    history = History.of([one.ids for one in prompts], reader.logits.device)
    live = list(rows)
    while True:
        logits = reader.logits.float()
        logprobs = logits.log_softmax(-1)
        kept = changed(logits, chain, history).log_softmax(-1)
        probabilities, tokens = kept.exp().topk(min(reader.width, logits.shape[-1]))  # (B, k)
        if bool(logprobs[:, 0].isnan().any()):
            raise NonFiniteError("the model's logits are not finite", advice="its weights are damaged")
        likeness = reader.likeness(tokens)
        scores = (1 - alpha) * probabilities - alpha * likeness
        scores = scores.masked_fill(probabilities == 0, -math.inf)  # what is banned is no candidate
        score, best = scores.max(1)
        token = tokens.gather(1, best[:, None]).squeeze(1)
        cost = logprobs.gather(1, token[:, None]).squeeze(1)
        for one, *written in zip(live, token.tolist(), score.tolist(), cost.tolist(), strict=True):
            one.write(*written)
            one.done = one.ids[-1] in ends or len(one.ids) >= one.prompt.room
        keep = torch.tensor([place for place, one in enumerate(live) if not one.done], device=token.device)
        live = [one for one in live if not one.done]
        if not live:
            return [one.hypothesis(ends) for one in rows]
        reader.choose(best, keep.long())
        history = history.add(token).reorder(keep.long())


class _Reading:
    """The logits to choose from, and the states of what was read, whichever way a model gives them."""

    def __init__(self, model: Any, prompts: list[Fitted], width: int) -> None:
        self.model = model
        self.batch = batch_of(prompts, device_of(model))
        mask = self.batch.mask
        self.real = torch.ones_like(self.batch.inputs, dtype=torch.bool) if mask is None else mask
        states = model.hidden(self.batch)
        self.states = F.normalize(states.float(), dim=-1)  # (B, L, D)
        self.logits = model.logits(states[:, -1])
        self.width = min(width, self.logits.shape[-1])

    def _like(self, states: Tensor) -> Tensor:
        """(B, k): the largest cosine of each candidate's state (B, k, D) with one before; and they are kept."""
        self.fresh = F.normalize(states.float(), dim=-1)
        cosines = self.fresh @ self.states.transpose(1, 2)
        return cosines.masked_fill(~self.real[:, None], -math.inf).amax(-1)

    def _take(self, best: Tensor, keep: Tensor) -> None:
        """The chosen candidates (B,) join what was read; rows that are not kept leave."""
        chosen = self.fresh[torch.arange(len(best), device=best.device), best]
        self.states = torch.cat([self.states, chosen[:, None]], 1)[keep]
        self.real = F.pad(self.real, (0, 1), value=True)[keep]


class _Stepping(_Reading):
    """Each candidate is read after the model's state, k rows a prompt."""

    def __init__(self, model: Any, prompts: list[Fitted], width: int) -> None:
        super().__init__(model, prompts, width)
        capacity = self.batch.inputs.shape[1] + max(one.room for one in prompts)
        self.logits, state = model.begin(self.batch, capacity)
        rows = torch.arange(len(prompts), device=self.logits.device)
        self.state = state.reorder(rows.repeat_interleave(self.width))

    def likeness(self, tokens: Tensor) -> Tensor:
        """(B, k), for candidates (B, k)."""
        states, self.state = self.model.hidden_step(tokens.reshape(-1, 1), self.state)
        self.raw = states[:, -1].view(*tokens.shape, -1)
        return self._like(self.raw)

    def choose(self, best: Tensor, keep: Tensor) -> None:
        """Go on from the chosen candidates (B,) of the rows kept."""
        self._take(best, keep)
        self.logits = self.model.logits(self.raw[keep, best[keep]])
        rows = (keep * self.width + best[keep]).repeat_interleave(self.width)
        self.state = self.state.reorder(rows)


class _Rereading(_Reading):
    """Every candidate is read with all that stands before it."""

    def likeness(self, tokens: Tensor) -> Tensor:
        """(B, k), for candidates (B, k)."""
        width = tokens.shape[1]
        read = self.batch.inputs.repeat_interleave(width, 0)
        inputs = torch.cat([read, tokens.reshape(-1, 1)], 1)
        mask = F.pad(self.real, (0, 1), value=True).repeat_interleave(width, 0)
        source, source_mask = (
            None if one is None else one.repeat_interleave(width, 0)
            for one in (self.batch.source, self.batch.source_mask)
        )
        targets = torch.full_like(inputs, IGNORE)
        states = self.model.hidden(Batch(inputs, targets, mask, source=source, source_mask=source_mask))
        self.raw, self.tokens = states[:, -1].view(*tokens.shape, -1), tokens
        return self._like(self.raw)

    def choose(self, best: Tensor, keep: Tensor) -> None:
        """Go on from the chosen candidates (B,) of the rows kept."""
        self._take(best, keep)
        self.logits = self.model.logits(self.raw[keep, best[keep]])
        read = torch.cat([self.batch.inputs, self.tokens.gather(1, best[:, None])], 1)[keep]
        chosen = {
            name: None if one is None else one[keep]
            for name in ("source", "source_mask")
            for one in (getattr(self.batch, name),)
        }
        self.batch = replace(self.batch, inputs=read, targets=read, mask=self.real, **chosen)
