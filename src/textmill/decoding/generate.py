"""From prompts to tokens, one piece at a time, whatever the architecture: only the Generator protocol is
used.

A row's tokens are a function of the model, its own prompt, the spec and the sample's number. Its
neighbours in the batch only touch the rounding of its logits (about 1e-7 relative: matrix products sum in
another order), so two tokens would have to tie that closely, or a draw fall that close to a border, to
come out otherwise.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from textmill.base.errors import NonFiniteError, TextmillError
from textmill.decoding.hypothesis import Finish
from textmill.decoding.prompt import Fitted, Prompt, batch_of, context_of, device_of, ending, fitted
from textmill.decoding.sampling import (
    History,
    Strategy,
    changed,
    constraints,
    draw,
    normalizer,
    seeded,
    strategies,
)
from textmill.specs.recipe import GenerationSpec

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token.

    `row` is the place of its prompt in the list given, `sample` the number of its sample. `logprob` is the
    natural logarithm of its probability under the model itself, before penalties, temperature and filters.
    `finish` is None until the row's last piece: `end` (the end-of-text token, which is this piece),
    `stop` (the caller heard a stop string) or `length` (the tokens asked for, or the model's context, are
    used up). `cut` is how many tokens at the start of the prompt were left out because the model's
    context is shorter, or at the end of its source.
    """

    row: int
    sample: int
    id: int
    logprob: float
    finish: Finish | None
    cut: int = 0


@dataclass(slots=True)
class _Row:
    """A row being generated."""

    row: int
    sample: int
    cut: int
    room: int  # tokens it may write
    context: int  # tokens it could write before the model's context is full
    generator: torch.Generator | None
    text: list[int]  # what it has read and written
    written: int = 0
    done: bool = False


Heard = Callable[[int, int, int], bool]  # (row, sample, id) -> whether the row is to stop here


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; it is left in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.inference_mode()
def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int] | Prompt],
    spec: GenerationSpec,
    *,
    ends: int | Collection[int],
    samples: int = 1,
    rows: int = 32,
    context: int | None = None,
    heard: Heard | None = None,
    speculation: Speculation | None = None,
) -> Iterator[Piece]:
    """Generate `samples` continuations of every prompt, yielding each token as it is made.

    Of the spec this reads what says how a token is drawn; decoding.answer also knows its searches.

    Args:
        model: any Generator (DESIGN §4); it is put in evaluation mode while this runs.
        prompts: token ids, or Prompts; empty ids start from the first of `ends`.
        spec: how to choose. Draws are seeded by (spec.seed, sample, prompt), never by a place in the batch.
        ends: the id, or the ids, that end a row.
        rows: most rows computed together; prompts beyond that follow when these are done.
        context: longest sequence the model reads; left out: `model.spec.context`. Of a longer prompt the
        end
            is kept (`Piece.cut` says so), with room for the tokens asked for in up to half of the context.
        heard: called with (row, sample, id) for each token before it is yielded; when it answers True the
        row
            finishes with `stop`. This is how stop strings work: a token alone does not know its text.
        speculation: reads drafted tokens ahead while a row is alone, which changes nothing but the time it
            takes. States that cannot be shortened (`truncate`) are read plainly.

    Raises TextmillError when the spec has stop strings and nobody listens, NonFiniteError when the model's
    logits are not finite.
    """
    if spec.stop and heard is None:
        raise TextmillError(
            "stop strings need text", advice="use decoding.stream.generate_text, or pass `heard`"
        )
    last = ending(ends)
    chain = strategies(spec, last)
    kept = fitted(
        prompts, tokens=spec.tokens, context=context_of(model, context), start=last[0] if last else None
    )
    rules = _Rules(spec, chain, last, heard, speculation)
    jobs = [(row, sample) for row in range(len(prompts)) for sample in range(samples)]
    with evaluating(model):
        for start in range(0, len(jobs), rows):
            yield from _together(model, rules, prompts, kept, jobs[start : start + rows])


@dataclass(frozen=True, slots=True)
class _Rules:
    """What holds for every row."""

    spec: GenerationSpec
    chain: tuple[Strategy, ...]
    ends: tuple[int, ...]
    heard: Heard | None
    speculation: Speculation | None

    def row(self, row: int, sample: int, prompt: Sequence[int] | Prompt, kept: Fitted) -> _Row:
        generator = None
        if self.spec.temperature > 0:
            generator = seeded(self.spec.seed, sample, _seed(prompt, kept))
        return _Row(row, sample, kept.cut, kept.room, kept.context, generator, list(kept.ids))

    def finish(self, one: _Row, token: int) -> Finish | None:
        if token in self.ends:
            return "end"
        if self.heard is not None and self.heard(one.row, one.sample, token):
            return "stop"
        return "length" if one.written >= one.room else None


def _seed(prompt: Sequence[int] | Prompt, kept: Fitted) -> list[int]:
    """The ids that take part in a row's seed: all it was given, source first."""
    given = prompt if isinstance(prompt, Prompt) else Prompt(prompt)
    return [*(given.source or ()), *(given.ids or kept.ids)]


def _together(
    model: Any,
    rules: _Rules,
    prompts: Sequence[Sequence[int] | Prompt],
    fits: list[Fitted],
    jobs: list[tuple[int, int]],
) -> Iterator[Piece]:
    """Generate for one batch of (row, sample) jobs. A prompt is read once, however many samples it has."""
    kept = {row: fits[row] for row, _ in jobs}
    live = [rules.row(row, sample, prompts[row], kept[row]) for row, sample in jobs]
    capacity = max(len(one.ids) for one in kept.values()) + max(one.room for one in live) - 1
    logits, state = model.begin(batch_of(list(kept.values()), device_of(model)), capacity)
    if len(jobs) > len(kept):
        place = {row: index for index, row in enumerate(kept)}
        copies = torch.tensor([place[row] for row, _ in jobs], device=logits.device)
        logits, state = logits[copies], state.reorder(copies)
    history = None
    if constraints(rules.spec, rules.ends):
        history = History.of([kept[one.row].ids for one in live], logits.device)
    while True:
        logits, state = _certain(model, rules, logits, state, history, live)
        tokens, ids, logprobs = _choose(logits, rules.chain, history, live)
        for one, token, logprob in zip(live, ids, logprobs, strict=True):
            one.written += 1
            one.text.append(token)
            if one.done:
                continue
            if not math.isfinite(logprob):
                raise NonFiniteError("the model's logits are not finite", advice="its weights are damaged")
            finish = rules.finish(one, token)
            one.done = finish is not None
            yield Piece(one.row, one.sample, token, logprob, finish, one.cut)
        if all(one.done for one in live):
            return
        if _crowded(live):
            keep = [index for index, one in enumerate(live) if not one.done]
            live = [live[index] for index in keep]
            index = torch.tensor(keep, device=tokens.device)
            tokens, state = tokens[index], state.reorder(index)
            history = None if history is None else history.reorder(index)
        if history is not None:
            history = history.add(tokens)
        if rules.speculation is not None and len(live) == 1:
            room = live[0].room - live[0].written - 1
            logits, state = rules.speculation.read(model, state, live[0], tokens[:, None], live[0].text, room)
        else:
            logits, state = model.step(tokens[:, None], state)
            logits = logits[:, -1]


def _certain(
    model: Any, rules: _Rules, logits: Tensor, state: Any, history: History | None, live: list[_Row]
) -> tuple[Tensor, Any]:
    """The logits to choose from; read again where reading ahead may have turned a greedy choice round."""
    ahead = rules.speculation
    if ahead is None or rules.spec.temperature > 0 or len(live) > 1:
        return logits, state
    if ahead.unsure(live[0], state, changed(logits, rules.chain, history)):
        return ahead.settle(model, state, live[0].text, logits)
    return logits, state


def _choose(
    logits: Tensor, chain: tuple[Strategy, ...], history: History | None, live: list[_Row]
) -> tuple[Tensor, list[int], list[float]]:
    """The next token of each row: as a tensor (B,), as numbers, and their log probabilities."""
    generators = [one.generator for one in live if one.generator is not None]
    tokens = draw(changed(logits, chain, history), generators or None)
    logits = logits.float()
    logprobs = (logits.gather(-1, tokens[:, None]) - normalizer(logits)).squeeze(-1)
    return tokens, tokens.tolist(), logprobs.tolist()


def _crowded(live: list[_Row]) -> bool:
    """Whether finished rows are to be taken out: half are, or one has filled the context and can go no
    further.

    Taking out copies the cache; doing it at each halving costs at most one whole copy in all.
    """
    done = [one for one in live if one.done]
    return 2 * len(done) >= len(live) or any(one.written >= one.context for one in done)
