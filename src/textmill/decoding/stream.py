"""Text from a model, piece by piece as it becomes certain, or whole where answers are searched for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textmill.decoding.decode import answers, searches
from textmill.decoding.generate import generate
from textmill.decoding.hypothesis import Finish, Hypothesis
from textmill.decoding.prompt import Prompt, of_text
from textmill.decoding.stop_strings import TextStream
from textmill.models.model import Generator
from textmill.specs.generation import GenerationSpec

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation
    from textmill.tokenization.protocol import AnyTokenizer


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text that has become certain. `finish` and `cut` as in decoding.generate.Piece.

    `tokens` and `logprob` are the number of tokens the row has written so far, end-of-text included, and
    the sum of their log probabilities. `score` is what answers were ranked by, where they were.
    """

    row: int
    sample: int
    text: str
    finish: Finish | None
    tokens: int
    logprob: float
    cut: int = 0
    score: float | None = None


def generate_text(
    model: Generator,
    tokenizer: AnyTokenizer,
    prompts: Sequence[str | Prompt],
    spec: GenerationSpec,
    *,
    samples: int = 1,
    rows: int = 32,
    context: int | None = None,
    speculation: Speculation | None = None,
    ends: Collection[int] | None = None,
) -> Iterator[TextPiece]:
    """Answer each prompt `samples` times, the way the spec says, yielding text as soon as it is certain.

    A prompt is a text to go on from, or a Prompt. The texts of one (row, sample) put together are its answer, without
    the prompt, the end-of-text token and the stop string. Each (row, sample) ends with exactly one piece whose `finish`
    is not None; its text may be empty. Where answers are searched for (beams, contrastive, mbr), that is its only
    piece. `ends`: ids that end an answer; left out: the tokenizer's. Other arguments and errors as in
    decoding.decode.answers.
    """
    wrapped = [prompt if isinstance(prompt, Prompt) else of_text(tokenizer, prompt) for prompt in prompts]
    spec = drawable(spec, model, tokenizer)
    last = tokenizer.ends if ends is None else tuple(ends)
    streams = {
        (row, sample): TextStream(tokenizer.stream(), spec.stop, before=prompt.ids)
        for row, prompt in enumerate(wrapped)
        for sample in range(samples)
    }
    if searches(spec):
        best = answers(
            model,
            wrapped,
            spec,
            ends=last,
            samples=samples,
            rows=rows,
            context=context,
            decoder=tokenizer.stream,
        )
        yield from _whole(best, streams)
        return
    sums = dict.fromkeys(streams, (0, 0.0))
    certain = ""

    def heard(row: int, sample: int, token: int) -> bool:
        nonlocal certain
        stream = streams[row, sample]
        certain = stream.push(token)
        return stream.stopped

    for piece in generate(
        model,
        wrapped,
        spec,
        ends=last,
        samples=samples,
        rows=rows,
        context=context,
        heard=heard,
        speculation=speculation,
    ):
        key = (piece.row, piece.sample)
        count, logprob = sums[key]
        sums[key] = (count + 1, logprob + piece.logprob)
        text = "" if piece.finish == "end" else certain
        finish = piece.finish
        if finish is not None:
            text += streams[key].finish()
            if streams[key].stopped:  # the last, broken character completed a stop string
                finish = "stop"
        if text or finish is not None:
            yield TextPiece(*key, text, finish, *sums[key], piece.cut)


def drawable(spec: GenerationSpec, model: Generator, tokenizer: AnyTokenizer) -> GenerationSpec:
    """The spec, under which no row of the model is written that its tokenizer has no token for: published models are
    padded with such rows to a round number."""
    if model.vocabulary <= tokenizer.vocabulary:
        return spec
    beyond = range(tokenizer.vocabulary, model.vocabulary)
    return replace(spec, suppressed_tokens=(*spec.suppressed_tokens, *beyond))


def _whole(
    best: list[list[Hypothesis]], streams: Mapping[tuple[int, int], TextStream]
) -> Iterator[TextPiece]:
    """The text of answers that were searched for."""
    for row, hypotheses in enumerate(best):
        for sample, answer in enumerate(hypotheses):
            stream = streams[row, sample]
            ids = answer.ids[:-1] if answer.finish == "end" else answer.ids
            text = "".join(stream.push(token) for token in ids) + stream.finish()
            finish = "stop" if stream.stopped else answer.finish
            yield TextPiece(
                row, sample, text, finish, len(answer.ids), answer.logprob, answer.cut, answer.score
            )
