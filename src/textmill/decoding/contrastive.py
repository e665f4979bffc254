"""Contrastive search (Su et al. 2022, "A Contrastive Framework for Neural Text Generation", equation 5).

Of the k likeliest tokens v, the one of highest

    (1 - alpha) · p(v | x) - alpha · max over j of cos(h_v, h_j)

is taken, where h_v is the model's last hidden state once it has read v, and h_j those of all tokens before: what the
output layer reads.

Shapes: B rows, k candidates of each, L tokens read so far, D features, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from textmill.base.errors import NonFiniteError, RecipeError, TextmillError
from textmill.decoding.hypothesis import Hypothesis
from textmill.decoding.prompt import Fitted, Prompt, batch_of, device_of, ending, fitted
from textmill.decoding.sampling import changed, constraints, read_by
from textmill.models.model import Generator, TokenScorer
from textmill.nn.shared import evaluating
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import longest_source


@torch.inference_mode()
def search(
    model: Generator,
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
    if isinstance(model, TokenScorer):
        raise TextmillError(
            "contrastive search compares hidden states, and this model has none",
            where="contrastive",
            advice="sample, or use beams",
        )
    last = ending(ends)
    # Candidates are read before they are chosen, so the last token takes a place of the context too.
    whole = (context or model.spec.context) - 1
    sources = context or longest_source(model.spec)
    kept = fitted(prompts, tokens=spec.tokens, context=whole, ends=last, sources=sources)
    model = evaluating(model)
    answers: list[list[Hypothesis]] = []
    for start in range(0, len(kept), rows):
        together = _together(model, kept[start : start + rows], spec, last, spec.contrastive, spec.top_k)
        answers += [[row.hypothesis(last)] for row in together]
    return answers


@dataclass(slots=True)
class _Row:
    """An answer being written."""

    prompt: Fitted
    ids: list[int]
    score: float = 0.0
    logprob: float = 0.0
    done: bool = False

    def write(self, token: int, score: float, logprob: float, ends: tuple[int, ...]) -> None:
        self.ids.append(token)
        self.score, self.logprob = self.score + score, self.logprob + logprob
        self.done = token in ends or len(self.ids) >= self.prompt.room

    def hypothesis(self, ends: tuple[int, ...]) -> Hypothesis:
        finish = "end" if self.ids[-1] in ends else "length"
        return Hypothesis(tuple(self.ids), self.score / len(self.ids), self.logprob, finish, self.prompt.cut)


def _together(
    model: Generator, prompts: list[Fitted], spec: GenerationSpec, ends: tuple[int, ...], alpha: float, k: int
) -> list[_Row]:
    """The answers to one batch of prompts."""
    # 1. The prompts are read: the states of all their tokens (B, L, D) and logits (B, V) after the last of each.
    batch = batch_of(prompts, device_of(model))
    real = torch.ones_like(batch.inputs, dtype=torch.bool) if batch.mask is None else batch.mask
    states = F.normalize(model.hidden(batch).float(), dim=-1)
    logits, state = model.begin(batch, batch.inputs.shape[1] + max(prompt.room for prompt in prompts))
    k = min(k, logits.shape[-1])
    state = state.reorder(torch.arange(len(prompts), device=logits.device).repeat_interleave(k))

    rows = [_Row(prompt, []) for prompt in prompts]
    live, chain = list(rows), constraints(spec, ends)
    history = read_by(prompts, logits.device)
    while True:
        # 2. The candidates are the k likeliest tokens, (B, k).
        logprobs = logits.float().log_softmax(-1)
        if bool(logprobs[:, 0].isnan().any()):
            raise NonFiniteError("the model's logits are not finite", advice="its weights are damaged")
        probabilities, tokens = changed(logits, chain, history).softmax(-1).topk(k)

        # 3. Each is read, k rows a prompt: its state (B, k, D), and its largest cosine with a token before, (B, k).
        hidden, state = model.hidden_step(tokens.reshape(-1, 1), state)
        hidden = hidden[:, -1].unflatten(0, tokens.shape)
        fresh = F.normalize(hidden.float(), dim=-1)
        likeness = (fresh @ states.transpose(1, 2)).masked_fill(~real[:, None], -math.inf).amax(-1)

        # 4. The best of them is written, (B,); what is banned is no candidate.
        scores = (1 - alpha) * probabilities - alpha * likeness
        score, best = scores.masked_fill(probabilities == 0, -math.inf).max(1)
        token = tokens.gather(1, best[:, None]).squeeze(1)
        logprob = logprobs.gather(1, token[:, None]).squeeze(1)
        written = zip(live, token.tolist(), score.tolist(), logprob.tolist(), strict=True)
        for row, chosen, its_score, its_logprob in written:
            row.write(chosen, its_score, its_logprob, ends)

        # 5. Rows that are done leave; the others go on from their best candidate, all k rows of each.
        keep = torch.tensor([not row.done for row in live], device=token.device).nonzero().squeeze(1)
        live = [row for row in live if not row.done]
        if not live:
            return rows
        history = history.add(token).reorder(keep)
        states = torch.cat([states[keep], fresh[keep, best[keep], None]], 1)
        real = F.pad(real[keep], (0, 1), value=True)
        logits = model.logits(hidden[keep, best[keep]])
        state = state.reorder((keep * k + best[keep]).repeat_interleave(k))
