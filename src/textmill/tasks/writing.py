"""Texts that models write of prompts: what the tasks that write share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from textmill.base.errors import TextmillError
from textmill.decoding.decode import answers, searches
from textmill.decoding.prompt import Prompt, of_text
from textmill.decoding.stop_strings import whole
from textmill.decoding.stream import drawable
from textmill.models.model import Generator
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.tasks.prediction import Prediction, Refused, Text
from textmill.tasks.task import Options, Record, text_of

_TOGETHER = 32  # prompts


@dataclass(frozen=True)
class Asked:
    """A prompt, and how many of its tokens are more than the model reads: those are cut."""

    prompt: Prompt
    cut: int = 0


def prompts(
    pretrained: Pretrained, records: Sequence[Record], options: Options, role: str
) -> list[Asked | Refused]:
    """The prompts of texts; one longer than the model reads is refused, unless it may be cut."""
    if not pretrained.writes:
        raise TextmillError(f"a model of kind {pretrained.spec.kind!r} writes no text")
    asked: list[Asked | Refused] = []
    for record in records:
        text = text_of(record, role)
        if isinstance(text, Refused):
            asked.append(text)
            continue
        prompt = of_text(pretrained.tokenizer, text, start=pretrained.target_start)
        length = len(prompt.ids if prompt.source is None else prompt.source)
        over = max(0, length - pretrained.longest)
        if over and not options.truncate:
            reason = f"the {role} is longer than the model reads"
            asked.append(Refused(reason, f"{length:,} tokens, and it reads {pretrained.longest:,}"))
        else:
            asked.append(Asked(prompt, over))
    return asked


def write(
    pretrained: Pretrained,
    asked: Sequence[Asked],
    spec: GenerationSpec,
    options: Options,
    ends: Sequence[int] = (),
) -> list[Prediction]:
    """What is written of each prompt; those of like length are read together.

    More than one answer each are the best of as many beams, unless the spec finds answers in a way of its own.
    ends: ids that end an answer; none: the tokenizer's.
    """
    model, tokenizer, top = pretrained.model, pretrained.tokenizer, max(1, options.top)
    assert isinstance(model, Generator)
    if top > 1 and not (searches(spec) and spec.beams == 1):
        spec = replace(spec, beams=max(spec.beams, top), temperature=0.0)
    spec = drawable(spec, model, tokenizer)
    order = sorted(range(len(asked)), key=lambda number: _length(asked[number]))
    texts: list[Any] = [None] * len(asked)
    for start in range(0, len(order), _TOGETHER):
        numbers = order[start : start + _TOGETHER]
        some = [asked[number].prompt for number in numbers]
        found = answers(
            model, some, spec, ends=tuple(ends) or tokenizer.ends, samples=top, decoder=tokenizer.stream
        )
        for number, hypotheses in zip(numbers, found, strict=True):
            before = asked[number].prompt.ids
            best, *others = [
                (whole(tokenizer.stream(), one.ids, spec.stop, before), one.score) for one in hypotheses
            ]
            texts[number] = Text(*best, tuple(others), asked[number].cut)
    return texts


def _length(asked: Asked) -> int:
    return len(asked.prompt.ids if asked.prompt.source is None else asked.prompt.source)


def settled(spec: GenerationSpec) -> GenerationSpec:
    """How texts are written that are to be right: as the spec says, but without chance, unless it asks for the best of
    several draws."""
    return replace(spec, temperature=0.0) if spec.temperature and spec.mbr is None else spec


def described(spec: GenerationSpec) -> str:
    """How texts were written, for a signature."""
    if spec.beams > 1:
        way = f"beams:{spec.beams}|length:{spec.length_formula}^{spec.length_penalty:g}"
    elif spec.contrastive is not None:
        way = f"contrastive:{spec.contrastive:g}|top_k:{spec.top_k}"
    elif spec.mbr is not None:
        way = f"mbr:{spec.mbr} of {spec.candidates}|temperature:{spec.temperature:g}|seed:{spec.seed}"
    else:
        way = "greedy"
    return f"{way}|tokens:{spec.tokens}"


def how(pretrained: Pretrained, options: Options) -> str:
    """The same of what is settled."""
    return described(settled(options.generation or pretrained.generation))
