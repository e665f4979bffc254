"""Text from a model, piece by piece as it becomes certain, or whole where answers are searched for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from textmill.decoding.decode import answers, searches
from textmill.decoding.generate import generate
from textmill.decoding.hypothesis import Finish
from textmill.decoding.prompt import Prompt, of_text
from textmill.decoding.stop_strings import TextStream
from textmill.specs.recipe import GenerationSpec

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation
    from textmill.tokenization.load import AnyTokenizer


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
    model: nn.Module,
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
    decoding.answer.answers.
    """
    given = [one if isinstance(one, Prompt) else of_text(tokenizer, one) for one in prompts]
    last = tokenizer.ends if ends is None else tuple(ends)
    options = {"ends": last, "samples": samples, "rows": rows, "context": context}
    if searches(spec):
        yield from _searched(model, tokenizer, given, spec, options)
    else:
        yield from _streamed(model, tokenizer, given, spec, options | {"speculation": speculation})


def _streamed(
    model: nn.Module,
    tokenizer: AnyTokenizer,
    prompts: list[Prompt],
    spec: GenerationSpec,
    options: dict[str, Any],
) -> Iterator[TextPiece]:
    streams = {
        (row, sample): TextStream(tokenizer.stream(), spec.stop, before=prompt.ids)
        for row, prompt in enumerate(prompts)
        for sample in range(options["samples"])
    }
    sums = dict.fromkeys(streams, (0, 0.0))
    certain = ""

    def heard(row: int, sample: int, token: int) -> bool:
        nonlocal certain
        stream = streams[row, sample]
        certain = stream.push(token)
        return stream.stopped

    for piece in generate(model, prompts, spec, heard=heard, **options):
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


def _searched(
    model: nn.Module,
    tokenizer: AnyTokenizer,
    prompts: list[Prompt],
    spec: GenerationSpec,
    options: dict[str, Any],
) -> Iterator[TextPiece]:
    found = answers(model, prompts, spec, decoder=tokenizer.stream, **options)
    for row, best in enumerate(found):
        for sample, one in enumerate(best):
            stream = TextStream(tokenizer.stream(), spec.stop, before=prompts[row].ids)
            ids = one.ids[:-1] if one.finish == "end" else one.ids
            text = "".join(stream.push(token) for token in ids) + stream.finish()
            finish = "stop" if stream.stopped else one.finish
            yield TextPiece(row, sample, text, finish, len(one.ids), one.logprob, one.cut, one.score)


def complete(
    model: nn.Module,
    tokenizer: AnyTokenizer,
    prompts: Sequence[str | Prompt],
    spec: GenerationSpec,
    *,
    samples: int = 1,
) -> list[list[str]]:
    """The whole continuations: one list of `samples` texts for each prompt."""
    texts = [[""] * samples for _ in prompts]
    for piece in generate_text(model, tokenizer, prompts, spec, samples=samples):
        texts[piece.row][piece.sample] += piece.text
    return texts
