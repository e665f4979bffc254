"""One way to ask: whole answers to prompts, found the way a GenerationSpec says.

beams > 1          beam search
contrastive        contrastive search
mbr                draws, the one most like the others first
otherwise          draws, or at temperature 0 the likeliest token each time
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import nn

from textmill.base.errors import RecipeError, TextmillError
from textmill.decoding import beam, contrastive, rerank
from textmill.decoding.generate import generate
from textmill.decoding.hypothesis import Hypothesis
from textmill.decoding.prompt import Prompt
from textmill.decoding.stop_strings import Decoder, TextStream, stops_at, whole
from textmill.specs.recipe import GenerationSpec

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation


def searches(spec: GenerationSpec) -> bool:
    """Whether answers are searched for, so that none of one is known before all of it is."""
    return spec.beams > 1 or spec.contrastive is not None or spec.mbr is not None


def answers(
    model: nn.Module,
    prompts: Sequence[Sequence[int] | Prompt],
    spec: GenerationSpec,
    *,
    ends: int | Collection[int],
    samples: int = 1,
    rows: int = 32,
    context: int | None = None,
    decoder: Callable[[], Decoder] | None = None,
    speculation: Speculation | None = None,
) -> list[list[Hypothesis]]:
    """`samples` answers to each prompt, best first where the way of finding them ranks them.

    Args:
        prompts, ends, context: as in decoding.generate.generate. rows: most prompts, or draws, computed together.
        decoder: makes what turns ids into text, such as `tokenizer.stream`. Stop strings and mbr need it.

    Raises RecipeError when the way gives fewer answers than are asked for, TextmillError when text is needed and there
    is no decoder, and what the ways themselves raise.
    """
    if decoder is None and (spec.stop or spec.mbr):
        raise TextmillError(
            f"{'stop strings need' if spec.stop else 'mbr needs'} text", advice="pass `decoder`"
        )
    common = {"ends": ends, "rows": rows, "context": context}
    if spec.beams > 1:
        found = beam.search(model, prompts, replace(spec, stop=()), samples=samples, **common)
    elif spec.contrastive is not None:
        if samples > 1:
            raise RecipeError("contrastive search gives one answer", where="samples")
        found = contrastive.search(model, prompts, spec, **common)
    else:
        number = max(spec.candidates, samples) if spec.mbr else samples
        found = _drawn(model, prompts, spec, number, decoder, speculation, **common)
        if spec.mbr is not None and decoder is not None:
            found = [_ranked(row, spec, decoder)[:samples] for row in found]
        return found
    if spec.stop and decoder is not None:
        return [[_stopped(one, spec.stop, decoder) for one in row] for row in found]
    return found


@dataclass(slots=True)
class _Draw:
    """A draw so far."""

    ids: list[int]
    logprob: float = 0.0


def _drawn(
    model: nn.Module,
    prompts: Sequence[Sequence[int] | Prompt],
    spec: GenerationSpec,
    number: int,
    decoder: Callable[[], Decoder] | None,
    speculation: Speculation | None,
    **common,
) -> list[list[Hypothesis]]:
    """`number` draws for each prompt, in the order of their samples."""
    found: list[list[Hypothesis]] = [[Hypothesis((), 0.0, 0.0)] * number for _ in prompts]
    draws: dict[tuple[int, int], _Draw] = {}
    streams: dict[tuple[int, int], TextStream] = {}

    def heard(row: int, sample: int, token: int) -> bool:
        assert decoder is not None
        stream = streams.setdefault((row, sample), TextStream(decoder(), spec.stop))
        stream.push(token)
        return stream.stopped

    listening = heard if spec.stop else None
    for piece in generate(
        model, prompts, spec, samples=number, heard=listening, speculation=speculation, **common
    ):
        draw = draws.setdefault((piece.row, piece.sample), _Draw([]))
        draw.ids.append(piece.id)
        draw.logprob += piece.logprob
        if piece.finish is not None:
            found[piece.row][piece.sample] = Hypothesis(
                tuple(draw.ids), draw.logprob, draw.logprob, piece.finish, piece.cut
            )
    return found


def _ranked(draws: list[Hypothesis], spec: GenerationSpec, make: Callable[[], Decoder]) -> list[Hypothesis]:
    """Draws by their expected utility, then by their probability."""
    assert spec.mbr is not None
    texts = [whole(make(), one.ids, spec.stop) for one in draws]
    scores = rerank.expected(texts, rerank.utility(spec.mbr, texts))
    found = [replace(one, score=score) for one, score in zip(draws, scores, strict=True)]
    return sorted(found, key=lambda one: (-one.score, -one.logprob))


def _stopped(answer: Hypothesis, stop: Sequence[str], make: Callable[[], Decoder]) -> Hypothesis:
    """The answer up to the token that completes a stop string; its score stays that of the whole."""
    place = stops_at(make, answer.ids, stop)
    return answer if place is None else replace(answer, ids=answer.ids[:place], finish="stop")
