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
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from textmill.base.errors import NonFiniteError, TextmillError
from textmill.decoding.hypothesis import Finish
from textmill.decoding.prompt import Prompt, batch_of, device_of, ending, fitted
from textmill.decoding.sampling import (
    changed,
    constraints,
    draw,
    normalizer,
    read_by,
    seeded,
    strategies,
)
from textmill.models.model import Generator
from textmill.nn.shared import evaluating
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import longest_source

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
    generator: torch.Generator | None  # None: nothing is drawn
    text: list[int]  # what it has read and written
    written: int = 0
    done: bool = False


Heard = Callable[[int, int, int], bool]  # (row, sample, id) -> whether the row is to stop here


@torch.inference_mode()
def generate(  # noqa: PLR0915 (from prompt to token, top to bottom)
    model: Generator,
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

    Of the spec this reads what says how a token is drawn; decoding.decode also knows its searches.

    Args:
        model: it is read in evaluation mode, and left as it is.
        prompts: token ids, or Prompts; empty ids start from the first of `ends`.
        spec: how to choose. Draws are seeded by (spec.seed, sample, prompt), never by a place in the batch.
        ends: the id, or the ids, that end a row.
        rows: most rows computed together; prompts beyond that follow when these are done.
        context: longest sequence the model reads; left out: `model.spec.context`. Of a longer prompt the end
            is kept (`Piece.cut` says so), with room for the tokens asked for in up to half of the context.
        heard: called with (row, sample, id) for each token before it is yielded; when it answers True the row
            finishes with `stop`. This is how stop strings work: a token alone does not know its text.
        speculation: reads drafted tokens ahead while a row is alone, which changes nothing but the time it
            takes. States that cannot be shortened (`nn.state.Rewindable`) are read plainly.

    Raises TextmillError when the spec has stop strings and nobody listens, NonFiniteError when the model's
    logits are not finite.
    """
    if spec.stop and heard is None:
        raise TextmillError(
            "stop strings need text", advice="use decoding.stream.generate_text, or pass `heard`"
        )
    last = ending(ends)
    chain, remembers = strategies(spec, last), bool(constraints(spec, last))
    kept = fitted(
        prompts,
        tokens=spec.tokens,
        context=context or model.spec.context,
        ends=last,
        sources=context or longest_source(model.spec),
    )
    model = evaluating(model)
    jobs = [(row, sample) for row in range(len(prompts)) for sample in range(samples)]
    for start in range(0, len(jobs), rows):
        together = jobs[start : start + rows]

        # 1. Each prompt is read once, however many samples it has: logits (P, V) after its last token.
        read = {row: kept[row] for row, _ in together}
        longest, room = max(len(fit.ids) for fit in read.values()), max(fit.room for fit in read.values())
        logits, state = model.begin(batch_of(list(read.values()), device_of(model)), longest + room - 1)

        # 2. From here on there is a row for each sample: logits (B, V).
        live = []
        for row, sample in together:
            prompt, fit = prompts[row], kept[row]
            generator = None
            if spec.temperature > 0:
                generator = seeded(spec.seed, sample, _seed_ids(prompt, fit.ids))
            live.append(_Row(row, sample, fit.cut, fit.room, fit.context, generator, list(fit.ids)))
        if len(together) > len(read):
            order = list(read)
            copies = torch.tensor([order.index(row) for row, _ in together], device=logits.device)
            logits, state = logits[copies], state.reorder(copies)
        history = read_by([kept[row.row] for row in live], logits.device) if remembers else None

        while True:
            # 3. Where reading ahead may have turned a greedy choice round, the text is read again.
            ahead = speculation if len(live) == 1 else None
            greedy = ahead is not None and not spec.temperature
            if greedy and ahead.unsure(live[0], changed(logits, chain, history)):
                logits, state = ahead.settle(model, state, live[0].text, logits)

            # 4. Penalties, bans and filters, (B, V); then one token of each row, (B,), and what the model gives it.
            generators = [row.generator for row in live if row.generator is not None]
            tokens = draw(changed(logits, chain, history), generators or None)
            logits = logits.float()
            logprobs = (logits.gather(-1, tokens[:, None]) - normalizer(logits)).squeeze(-1)

            # 5. Rows that are done wait for the others, and nobody hears of what they write.
            for row, token, logprob in zip(live, tokens.tolist(), logprobs.tolist(), strict=True):
                row.written += 1
                row.text.append(token)
                if row.done:
                    continue
                if not math.isfinite(logprob):
                    raise NonFiniteError(
                        "the model's logits are not finite", advice="its weights are damaged"
                    )
                finish: Finish | None = "length" if row.written >= row.room else None
                if token in last:
                    finish = "end"
                elif heard is not None and heard(row.row, row.sample, token):
                    finish = "stop"
                row.done = finish is not None
                yield Piece(row.row, row.sample, token, logprob, finish, row.cut)

            # 6. They are taken out when half of all are done, or one has filled its context and can go no further.
            #    That copies the cache; doing it at each halving costs at most one whole copy in all.
            done = [row for row in live if row.done]
            if len(done) == len(live):
                break
            if 2 * len(done) >= len(live) or any(row.written >= row.context for row in done):
                indices = [index for index, row in enumerate(live) if not row.done]
                live = [live[index] for index in indices]
                going = torch.tensor(indices, device=tokens.device)
                tokens, state = tokens[going], state.reorder(going)
                history = None if history is None else history.reorder(going)

            # 7. The tokens are read: logits (B, V) after them.
            history = None if history is None else history.add(tokens)
            if speculation is not None and len(live) == 1:
                room = live[0].room - live[0].written - 1
                logits, state = speculation.next_logits(
                    model, state, live[0], tokens[:, None], live[0].text, room
                )
            else:
                logits, state = model.step(tokens[:, None], state)
                logits = logits[:, -1]


def _seed_ids(prompt: Sequence[int] | Prompt, ids: Sequence[int]) -> list[int]:
    """The ids that take part in a row's seed: all it was given, source first; `ids` where it was given none."""
    wrapped = prompt if isinstance(prompt, Prompt) else Prompt(prompt)
    return [*(wrapped.source or ()), *(wrapped.ids or ids)]
