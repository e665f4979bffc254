"""From prompts to tokens, one piece at a time, whatever the architecture: only the Generator protocol is
used.

A row's tokens are a function of the model, its own prompt, the spec and the sample's number. Its
neighbours in the batch only touch the rounding of its logits (about 1e-7 relative: matrix products sum in
another order), so two tokens would have to tie that closely, or a draw fall that close to a border, to
come out otherwise.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from textmill.base.errors import NonFiniteError, TextmillError
from textmill.base.spec import GenerationSpec
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.sampling import History, Strategy, draw, penalises, seeded, strategies

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation

Finish = Literal["end", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token.

    `row` is the place of its prompt in the list given, `sample` the number of its sample. `logprob` is the
    natural logarithm of its probability under the model itself, before penalties, temperature and filters.
    `finish` is None until the row's last piece: `end` (the end-of-text token, which is this piece),
    `stop` (the caller heard a stop string) or `length` (the tokens asked for, or the model's context, are
    used up). `cut` is how many tokens at the start of the prompt were left out because the model's
    context is shorter.
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


@torch.inference_mode()
def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    spec: GenerationSpec,
    *,
    end: int,
    samples: int = 1,
    rows: int = 32,
    context: int | None = None,
    heard: Heard | None = None,
    speculation: Speculation | None = None,
) -> Iterator[Piece]:
    """Generate `samples` continuations of every prompt, yielding each token as it is made.

    Args:
        model: any Generator (DESIGN §4); it is put in evaluation mode while this runs.
        prompts: token ids; an empty prompt starts from the end-of-text token.
        spec: how to choose. Draws are seeded by (spec.seed, sample, prompt), never by a place in the batch.
        end: the end-of-text id, which ends a row.
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
    reads: Any = model  # nn.Module declares none of the Generator protocol
    rules = _Rules(spec, strategies(spec), end, context or reads.spec.context, heard, speculation)
    jobs = [(row, sample) for row in range(len(prompts)) for sample in range(samples)]
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(jobs), rows):
            chosen = jobs[start : start + rows]
            read = {row: list(prompts[row]) or [end] for row, _ in chosen}
            yield from _together(model, rules, read, chosen)
    finally:
        model.train(was_training)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What holds for every row."""

    spec: GenerationSpec
    chain: tuple[Strategy, ...]
    end: int
    context: int
    heard: Heard | None
    speculation: Speculation | None

    def row(self, row: int, sample: int, prompt: list[int], kept: list[int]) -> _Row:
        left = self.context - len(kept) + 1  # the last token written is never read
        generator = seeded(self.spec.seed, sample, prompt) if self.spec.temperature > 0 else None
        cut, room = len(prompt) - len(kept), min(self.spec.tokens, left)
        return _Row(row, sample, cut, room, left, generator, list(kept))

    def finish(self, one: _Row, token: int) -> Finish | None:
        if token == self.end:
            return "end"
        if self.heard is not None and self.heard(one.row, one.sample, token):
            return "stop"
        return "length" if one.written >= one.room else None


def _together(
    model: Any, rules: _Rules, prompts: dict[int, list[int]], jobs: list[tuple[int, int]]
) -> Iterator[Piece]:
    """Generate for one batch of (row, sample) jobs. A prompt is read once, however many samples it has."""
    kept = {row: _fit(prompt, rules.spec.tokens, rules.context) for row, prompt in prompts.items()}
    live = [rules.row(row, sample, prompts[row], kept[row]) for row, sample in jobs]
    capacity = max(map(len, kept.values())) + max(one.room for one in live) - 1
    logits, state = model.begin(_batch(list(kept.values()), _device(model)), capacity)
    if len(jobs) > len(kept):
        place = {row: index for index, row in enumerate(kept)}
        copies = torch.tensor([place[row] for row, _ in jobs], device=logits.device)
        logits, state = logits[copies], state.reorder(copies)
    history = None
    if penalises(rules.spec):
        history = History.of([kept[one.row] for one in live], logits.shape[-1], logits.device)
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
            history.add(tokens)
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
    if ahead.unsure(live[0], state, _changed(logits, rules.chain, history)):
        return ahead.settle(model, state, live[0].text, logits)
    return logits, state


def _choose(
    logits: Tensor, chain: tuple[Strategy, ...], history: History | None, live: list[_Row]
) -> tuple[Tensor, list[int], list[float]]:
    """The next token of each row: as a tensor (B,), as numbers, and their log probabilities."""
    logits = logits.float()
    changed = _changed(logits, chain, history)
    generators = [one.generator for one in live if one.generator is not None]
    tokens = draw(changed, generators or None)
    logprobs = logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)
    return tokens, tokens.tolist(), logprobs.tolist()


def _changed(logits: Tensor, chain: tuple[Strategy, ...], history: History | None) -> Tensor:
    """Logits (B, V) after penalties and filters."""
    changed = logits.float()
    for strategy in chain:
        changed = strategy(changed, history)
    return changed


def _crowded(live: list[_Row]) -> bool:
    """Whether finished rows are to be taken out: half are, or one has filled the context and can go no
    further.

    Taking out copies the cache; doing it at each halving costs at most one whole copy in all.
    """
    done = [one for one in live if one.done]
    return 2 * len(done) >= len(live) or any(one.written >= one.context for one in done)


def _fit(prompt: list[int], tokens: int, context: int) -> list[int]:
    """The end of a prompt that is longer than the context, with room for the answer in up to half of it."""
    if len(prompt) <= context:
        return prompt
    return prompt[-max(context - tokens + 1, (context + 1) // 2) :]


def _batch(prompts: list[list[int]], device: torch.device) -> Batch:
    """Prompts as one batch, padding in front, so that every row's last token stands in the last column."""
    width = max(map(len, prompts))
    inputs = torch.zeros(len(prompts), width, dtype=torch.int64)  # any id serves as padding
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        inputs[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = True
    batch = Batch(inputs, torch.full_like(inputs, IGNORE), None if bool(mask.all()) else mask)
    return batch.to(device)


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
