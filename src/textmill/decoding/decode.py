"""One way to ask: whole answers to prompts, found the way a GenerationSpec says.

beams > 1          beam search
contrastive        contrastive search
mbr                draws, the one most like the others first
otherwise          draws, or at temperature 0 the likeliest token each time
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textmill.base.errors import RecipeError, TextmillError
from textmill.decoding import beam, contrastive, rerank
from textmill.decoding.generate import Piece, generate
from textmill.decoding.hypothesis import Hypothesis
from textmill.decoding.prompt import Prompt
from textmill.decoding.stop_strings import Decoder, TextStream, stops_at, whole
from textmill.models.model import Generator
from textmill.specs.generation import GenerationSpec

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation


def searches(spec: GenerationSpec) -> bool:
    """Whether answers are searched for, so that none of one is known before all of it is."""
    return spec.beams > 1 or spec.contrastive is not None or spec.mbr is not None


def answers(
    model: Generator,
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
    if not searches(spec):
        return _drawn(model, prompts, spec, samples, decoder, speculation, **common)
    if spec.beams > 1:
        best = beam.search(model, prompts, replace(spec, stop=()), samples=samples, **common)
    elif spec.contrastive is not None:
        if samples > 1:
            raise RecipeError("contrastive search gives one answer", where="samples")
        best = contrastive.search(model, prompts, spec, **common)
    else:
        draws = _drawn(model, prompts, spec, max(spec.candidates, samples), decoder, speculation, **common)
        return [] if decoder is None else [_ranked(row, spec, decoder)[:samples] for row in draws]
    if spec.stop and decoder is not None:
        return [[_stopped(answer, spec.stop, decoder) for answer in row] for row in best]
    return best


def _drawn(
    model: Generator,
    prompts: Sequence[Sequence[int] | Prompt],
    spec: GenerationSpec,
    samples: int,
    decoder: Callable[[], Decoder] | None,
    speculation: Speculation | None,
    **common,
) -> list[list[Hypothesis]]:
    """`samples` draws for each prompt, in the order of their samples."""
    draws = [[Hypothesis((), 0.0, 0.0)] * samples for _ in prompts]
    pieces: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    streams: dict[tuple[int, int], TextStream] = {}

    def heard(row: int, sample: int, token: int) -> bool:
        assert decoder is not None
        stream = streams.setdefault((row, sample), TextStream(decoder(), spec.stop))
        stream.push(token)
        return stream.stopped

    listening = heard if spec.stop else None
    for piece in generate(
        model, prompts, spec, samples=samples, heard=listening, speculation=speculation, **common
    ):
        written = pieces[piece.row, piece.sample]
        written.append(piece)
        if piece.finish is not None:
            ids, logprob = tuple(part.id for part in written), sum(part.logprob for part in written)
            draws[piece.row][piece.sample] = Hypothesis(ids, logprob, logprob, piece.finish, piece.cut)
    return draws


def _ranked(draws: list[Hypothesis], spec: GenerationSpec, make: Callable[[], Decoder]) -> list[Hypothesis]:
    """Draws by their expected utility, then by their probability."""
    assert spec.mbr is not None
    texts = [whole(make(), draw.ids, spec.stop) for draw in draws]
    scores = rerank.expected(texts, rerank.utility(spec.mbr, texts))
    scored = [replace(draw, score=score) for draw, score in zip(draws, scores, strict=True)]
    return sorted(scored, key=lambda draw: (-draw.score, -draw.logprob))


def _stopped(answer: Hypothesis, stop: Sequence[str], make: Callable[[], Decoder]) -> Hypothesis:
    """The answer up to the token that completes a stop string; its score stays that of the whole."""
    length = stops_at(make, answer.ids, stop)
    return answer if length is None else replace(answer, ids=answer.ids[:length], finish="stop")
