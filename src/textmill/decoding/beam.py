"""Beam search, for any Generator: only begin, step and reorder are used, and all prompts go through one batch.

In every round each running answer may go on with any token. Of all these the best become the running answers of the
next round; those among the first K that end are kept apart as finished. A finished answer scores

    log P(answer) / length^alpha                                     length_formula = "power" (transformers)
    log P(answer) / ((5 + length) / 6)^alpha + coverage              "gnmt" (Wu et al. 2016, equation 14)

where the length counts the end id. Rounds, candidates (so many that K running ones are left when others end) and the
rules of stopping are those of transformers, so that the same answers come out.

Shapes: B prompts, K running answers of each, N candidates, V vocabulary, S source tokens, L tokens written.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.base.errors import NonFiniteError, RecipeError, TextmillError
from textmill.decoding.hypothesis import Hypothesis
from textmill.decoding.prompt import Fitted, Prompt, batch_of, device_of, ending, fitted
from textmill.decoding.sampling import (
    History,
    Strategy,
    changed,
    constraints,
    highest,
    normalizer,
    read_by,
)
from textmill.models.model import Generator
from textmill.nn import mode
from textmill.nn.shared import evaluating
from textmill.nn.state import State
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import longest_source


@torch.inference_mode()
def search(
    model: Generator,
    prompts: Sequence[Sequence[int] | Prompt],
    spec: GenerationSpec,
    *,
    ends: int | Collection[int],
    samples: int | None = None,
    rows: int = 32,
    context: int | None = None,
) -> list[list[Hypothesis]]:
    """The best answers found to each prompt, best first.

    Args:
        spec: its beams, length and coverage penalties, early stopping, bans and penalties; nothing is drawn.
        ends: the id, or the ids, that end an answer.
        samples: how many answers of each are given back; left out: as many as there are beams. There may be
            fewer where all continuations are ruled out.
        rows: most prompts computed together (each takes `spec.beams` rows). Those of like length go together.
        context: longest sequence the model reads; left out: `model.spec.context`.

    Raises RecipeError when more answers than beams are asked for, TextmillError for a coverage penalty with a model
    that pays no attention to a source, NonFiniteError when its logits are not finite.
    """
    wanted = spec.beams if samples is None else samples
    if wanted > spec.beams:
        raise RecipeError(
            f"{spec.beams} beams cannot give {wanted} answers", where="beams", advice=f"use {wanted} beams"
        )
    last = ending(ends)
    kept = fitted(
        prompts,
        tokens=spec.tokens,
        context=context or model.spec.context,
        ends=last,
        sources=context or longest_source(model.spec),
    )
    order = sorted(range(len(kept)), key=lambda row: (len(kept[row].source or ()), len(kept[row].ids)))
    answers: list[list[Hypothesis]] = [[]] * len(kept)
    model = evaluating(model)
    for start in range(0, len(order), rows):
        together = order[start : start + rows]
        best = _Search(model, spec, last, [kept[row] for row in together]).run()
        for row, hypotheses in zip(together, best, strict=True):
            answers[row] = hypotheses[:wanted]
    return answers


@dataclass(slots=True)
class _Running:
    """Answers that go on. One that is ruled out scores -inf."""

    scores: Tensor  # (B, K): log probabilities after penalties
    logprobs: Tensor  # (B, K): under the model itself
    ids: Tensor  # (B, K, L)
    coverage: Tensor  # (B, K, S): attention each source token got so far; S = 0 where nobody asks

    @property
    def width(self) -> int:
        return self.scores.shape[1]


@dataclass(slots=True)
class _Candidates:
    """Running answers with one more token, best first."""

    scores: Tensor  # (B, N)
    logprobs: Tensor  # (B, N)
    parents: Tensor  # (B, N): place of the answer it goes on from
    tokens: Tensor  # (B, N)

    def at(self, indices: Tensor) -> _Candidates:
        """The candidates at (B, n) indices."""
        return _Candidates(*(getattr(self, name).gather(1, indices) for name in self.__slots__))


@dataclass(slots=True)
class _Finished:
    """The best K finished answers so far, best first. A place not yet taken scores -inf."""

    scores: Tensor  # (B, K)
    logprobs: Tensor  # (B, K)
    ids: Tensor  # (B, K, room), -1 after the end

    @classmethod
    def none(cls, prompts: int, beams: int, room: int, device: torch.device) -> _Finished:
        scores = torch.full((prompts, beams), -math.inf, device=device)
        ids = torch.full((prompts, beams, room), -1, dtype=torch.int64, device=device)
        return cls(scores, scores.clone(), ids)

    def take_in(self, scores: Tensor, logprobs: Tensor, ids: Tensor) -> None:
        """Keep the best of these and others: (B, n), (B, n) and (B, n, L); those that score -inf are none."""
        beams, room = self.ids.shape[1:]
        ids = F.pad(ids, (0, room - ids.shape[2]), value=-1)
        self.scores, best = torch.cat([self.scores, scores], 1).topk(beams)
        self.logprobs = torch.cat([self.logprobs, logprobs], 1).gather(1, best)
        self.ids = torch.cat([self.ids, ids], 1).gather(1, best[..., None].expand(-1, -1, room))

    def of(self, row: int, ends: tuple[int, ...], cut: int) -> list[Hypothesis]:
        """The answers to one prompt."""
        answers = []
        columns = (self.scores[row].tolist(), self.logprobs[row].tolist(), self.ids[row].tolist())
        for score, logprob, padded in zip(*columns, strict=True):
            if score > -math.inf:
                ids = tuple(token for token in padded if token >= 0)
                answers.append(Hypothesis(ids, score, logprob, "end" if ids[-1] in ends else "length", cut))
        return answers

    def rows(self, keep: Tensor) -> _Finished:
        return _Finished(self.scores[keep], self.logprobs[keep], self.ids[keep])


class _Search:
    """The search for the answers to one batch of prompts."""

    def __init__(
        self, model: Generator, spec: GenerationSpec, ends: tuple[int, ...], prompts: list[Fitted]
    ) -> None:
        self.model, self.spec, self.ends, self.prompts = model, spec, ends, prompts
        self.device = device_of(model)
        self.chain: tuple[Strategy, ...] = constraints(spec, ends)
        self.end_ids = torch.tensor(ends, dtype=torch.int64, device=self.device)
        self.candidates = max(2, 1 + len(ends)) * spec.beams
        self.rooms = torch.tensor([prompt.room for prompt in prompts], device=self.device)
        self.most = torch.tensor([prompt.context for prompt in prompts], device=self.device)
        self.numbers = torch.arange(len(prompts), device=self.device)  # of the prompts still in the batch
        self.done = torch.zeros(len(prompts), dtype=torch.bool, device=self.device)
        self.answers: list[list[Hypothesis]] = [[]] * len(prompts)

    def run(self) -> list[list[Hypothesis]]:
        """The finished answers to each prompt, best first."""
        spec, prompts = self.spec, self.prompts
        batch = batch_of(prompts, self.device)
        room = int(self.rooms.max())
        with self._watching() as maps:
            logits, state = self.model.begin(batch, batch.inputs.shape[1] + room - 1)
        self.source = batch.source_mask if batch.source_mask is not None else batch.source
        nothing = torch.zeros(len(prompts), 1, device=logits.device)
        ids = nothing.new_empty(len(prompts), 1, 0, dtype=torch.int64)
        running = _Running(nothing, nothing, ids, self._attended(maps, nothing))
        finished = _Finished.none(len(prompts), spec.beams, room, logits.device)
        history = read_by(prompts, logits.device) if self.chain else None
        length = 0
        while True:
            length += 1
            every = self._extended(logits, running, history)
            ended = self._finish(every, running, finished, length)
            every = self._surviving(every, ended, running.width)
            self._judge(every.scores.amax(1), finished, length)
            if bool(self.done.all()):
                self._report(finished, self.done)
                return self.answers
            keep = self._kept(finished, length)
            rows, before = self._rows(every.parents, running.width, keep), running.scores.numel()
            finished = finished if keep is None else finished.rows(keep)
            running = self._advanced(running, every, keep)
            state = _moved(state, rows, before)
            tokens = running.ids[..., -1].reshape(-1)
            history = None if history is None else history.reorder(rows).add(tokens)
            with self._watching() as maps:
                logits, state = self.model.step(tokens[:, None], state)
            logits = logits[:, -1]
            running.coverage = running.coverage + self._attended(maps, running.scores)

    def _extended(self, logits: Tensor, running: _Running, history: History | None) -> _Candidates:
        """The best continuations, N of them where there are so many. The best of each row are among those of all."""
        prompts = len(running.scores)
        logits = logits.float()
        number, whole = min(self.candidates, logits.shape[-1]), normalizer(logits)
        if self.chain:
            logprobs = logits - whole
            top, ids = highest(changed(logprobs, self.chain, history), number)
            own = logprobs.gather(1, ids)
        else:
            top, ids = highest(logits, number)
            top = own = top - whole
        total = (running.scores.view(-1, 1) + top).view(prompts, -1)
        own = (running.logprobs.view(-1, 1) + own).view(prompts, -1)
        scores, indices = total.topk(min(self.candidates, total.shape[1]))
        if bool(scores[:, 0].isnan().any()):
            raise NonFiniteError("the model's logits are not finite", advice="its weights are damaged")
        tokens = ids.view(prompts, -1).gather(1, indices)
        return _Candidates(scores, own.gather(1, indices), indices // ids.shape[1], tokens)

    def _finish(self, every: _Candidates, running: _Running, finished: _Finished, length: int) -> Tensor:
        """Which candidates (B, N) end here. Those among the first K are taken in, where the search goes on."""
        ended = torch.isin(every.tokens, self.end_ids) | (self.rooms <= length)[:, None]
        first = _Candidates(*(getattr(every, name)[:, : self.spec.beams] for name in every.__slots__))
        counts = ended[:, : self.spec.beams] & ~self.done[:, None]
        if bool(counts.any()):
            scores = first.scores / self._norm(length)
            if self.spec.coverage_penalty:
                scores = scores + self._coverage(running.coverage).gather(1, first.parents)
            finished.take_in(scores.masked_fill(~counts, -math.inf), first.logprobs, _written(running, first))
        return ended

    def _surviving(self, every: _Candidates, ended: Tensor, width: int) -> _Candidates:
        """The best K that go on. Each stands where its parent stood, as far as that place is not taken by a better
        one, so that few rows of the model's state have to move."""
        going = every.scores.masked_fill(ended, -math.inf)
        scores, indices = going.topk(min(self.spec.beams, going.shape[1]))
        best = every.at(indices)
        best.scores = scores
        return best.at(_settled(best.parents)) if width == scores.shape[1] else best

    def _judge(self, best: Tensor, finished: _Finished, length: int) -> None:
        """Which prompts need no further search. best: (B,), the scores of the best running answers."""
        spec = self.spec
        worst = finished.scores[:, -1]
        full = worst > -math.inf
        if spec.early_stopping != "yes":
            longest = self.rooms if spec.early_stopping == "never" and spec.length_penalty > 0 else length
            full &= best / self._norm(longest) <= worst
        self.done |= full | (best == -math.inf) | (self.rooms <= length)

    def _kept(self, finished: _Finished, length: int) -> Tensor | None:
        """Places of the prompts that stay in the batch, when it is time to take the others out; else None.

        Taking out copies the state, so it is done when half are finished, or one has filled its context.
        """
        if 2 * int(self.done.sum()) < len(self.done) and not bool((self.done & (self.most <= length)).any()):
            return None
        self._report(finished, self.done)
        keep = (~self.done).nonzero().squeeze(1)
        self.rooms, self.most, self.numbers = self.rooms[keep], self.most[keep], self.numbers[keep]
        self.done = self.done[keep]
        self.source = None if self.source is None else self.source[keep]
        return keep

    def _report(self, finished: _Finished, which: Tensor) -> None:
        for row in which.nonzero().squeeze(1).tolist():
            number = int(self.numbers[row])
            self.answers[number] = finished.of(row, self.ends, self.prompts[number].cut)

    @staticmethod
    def _rows(parents: Tensor, width: int, keep: Tensor | None) -> Tensor:
        """(rows,): the rows of the state the running answers go on from."""
        first = torch.arange(len(parents), device=parents.device)[:, None] * width
        rows = first + parents
        return (rows if keep is None else rows[keep]).reshape(-1)

    @staticmethod
    def _advanced(running: _Running, best: _Candidates, keep: Tensor | None) -> _Running:
        coverage = _chosen(running.coverage, best.parents)
        after = (best.scores, best.logprobs, _written(running, best), coverage)
        return _Running(*(field if keep is None else field[keep] for field in after))

    def _norm(self, length: int | Tensor) -> float | Tensor:
        """What a log probability is divided by."""
        counted = length if self.spec.length_formula == "power" else (5 + length) / 6
        return counted**self.spec.length_penalty

    @contextlib.contextmanager
    def _watching(self) -> Iterator[list[Tensor]]:
        """What the model's layers take from the source inside the block, where a coverage penalty needs it."""
        if not self.spec.coverage_penalty:
            yield []
            return
        with mode.capture_sources() as maps:
            yield maps

    def _attended(self, maps: list[Tensor], like: Tensor) -> Tensor:
        """(B, K, S): the attention to the source when the last token was read, mean over layers and heads."""
        if not self.spec.coverage_penalty:
            return like.new_empty(*like.shape, 0)
        if not maps:
            raise TextmillError(
                "a coverage penalty needs a model that pays attention to a source",
                where="coverage_penalty",
                advice="set it to 0",
            )
        prompts, width = like.shape
        last = [
            layer.float().mean(1).reshape(prompts, width, -1, layer.shape[-1])[:, :, -1] for layer in maps
        ]
        return torch.stack(last).mean(0)

    def _coverage(self, attended: Tensor) -> Tensor:
        """(B, K): weight · sum over the source of log(min(attention, 1)) (Wu et al. 2016, equation 14)."""
        logs = attended.clamp(min=torch.finfo(attended.dtype).tiny, max=1.0).log()
        if self.source is not None and self.source.dtype is torch.bool:
            logs = logs.masked_fill(~self.source[:, None], 0.0)
        return self.spec.coverage_penalty * logs.sum(-1)


def _chosen(each: Tensor, parents: Tensor) -> Tensor:
    """(B, n, …) of the running answers' (B, K, …)."""
    return each.gather(1, parents[..., None].expand(-1, -1, each.shape[2]))


def _written(running: _Running, chosen: _Candidates) -> Tensor:
    """(B, n, L + 1): the tokens of candidates."""
    return torch.cat([_chosen(running.ids, chosen.parents), chosen.tokens[..., None]], 2)


def _settled(parents: Tensor) -> Tensor:
    """(B, K): which candidate takes each place, when the first child of a parent takes the parent's place.

    parents: (B, K), places 0 … K - 1, of the candidates, best first.

    >>> _settled(torch.tensor([[2, 2, 0]]))
    tensor([[2, 1, 0]])
    """
    prompts, width = parents.shape
    same = parents[:, :, None] == parents[:, None, :]
    later = same.tril(-1).any(-1)  # a better candidate has the same parent
    mine = parents.masked_fill(later, width)
    taken = torch.zeros(prompts, width + 1, dtype=torch.bool, device=parents.device)
    taken.scatter_(1, mine, True)
    free = taken[:, :width].int().argsort(dim=1, stable=True)  # places nobody took, first
    others = free.gather(1, (later.cumsum(1) - 1).clamp(min=0))
    slots = torch.where(later, others, parents)
    return slots.argsort(1)


def _moved(state: State, rows: Tensor, before: int) -> State:
    """The state of these rows, of so many there were before. Nothing is copied when every row stays where it is."""
    if len(rows) != before:
        return state.reorder(rows)
    stays = bool((rows == torch.arange(before, device=rows.device)).all())
    return state if stays else state.rearrange(rows)
