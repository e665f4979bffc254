"""/v1/decisions: is it so, which of these, how much of it; answered with probabilities, and without a word written.

A model with a head that labels answers by its head, calibrated as it was published: a choice is among its labels, a
predicate is one of them. A model that writes answers by how likely it finds each answer after the question (the
log-likelihood of all of its tokens, as `textmill evaluate` scores choices).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.decoding.prompt import Prompt
from textmill.inference.requests import Usage
from textmill.serving.answering import Writing, total
from textmill.serving.asking import Asked, Wanted, of_messages, of_prompt, requests
from textmill.serving.bodies import Body, Text, Unheeded
from textmill.serving.bodies import Model as Name
from textmill.serving.predicting import check_task, said
from textmill.serving.refusals import Refusal, too_long
from textmill.serving.responding import usage_of
from textmill.serving.service import Model, Service, allowed, service_of
from textmill.tasks.prediction import Label, Labels
from textmill.tasks.task import Options

router = APIRouter(tags=["tasks"], dependencies=[allowed("tasks")])
_ALL = 1 << 20  # labels that are told of
_MOST = 1024  # answers of all questions together
_YES, _NO = "yes", "no"


class Part(Body):
    """A part of what is asked about: text, or JSON, which is read as text."""

    type: Literal["input_text", "output_text", "input_json"]
    text: Text | None = None
    data: dict[str, Any] | list[dict[str, Any]] | None = None
    prompt_cache_breakpoint: Unheeded

    def plain(self) -> str:
        """The same as text. Raises Refusal where it holds neither, or the other."""
        given = self.data if self.type == "input_json" else self.text
        if given is None or (self.data is not None) == (self.text is not None):
            what = "A part has data where its type is input_json, and else a text."
            raise Refusal(400, what, code="missing_value", param="input")
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


_Parts = Text | Annotated[list[Part], Field(max_length=1024)]


class Said(Body):
    """Something that was said, called or given, in what is asked about."""

    type: Literal[
        "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"
    ] = "message"
    role: Literal["user", "developer", "system", "assistant"] | None = None
    content: _Parts | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    arguments: Text | None = None
    input: Text | None = None
    output: _Parts | None = None
    call_id: Unheeded
    id: Unheeded
    status: Unheeded
    namespace: Unheeded
    phase: Unheeded

    def plain(self) -> str:
        """The same as text: who, and what."""
        who = self.role or {"function_call": "call", "custom_tool_call": "call"}.get(self.type, "result")
        what = self.content if self.content is not None else self.output
        if what is None:
            what = f"{self.name or ''}({self.arguments or self.input or ''})"
        return f"{who}: {_text(what)}"


class Predicate(Body):
    """Whether a statement is true of the input."""

    type: Literal["predicate"]
    instructions: _Parts
    name: Annotated[str, Field(max_length=200)] | None = None


class Option(Body):
    """One of several answers."""

    value: Annotated[str, Field(min_length=1, max_length=4000)] | bool
    description: Annotated[str, Field(max_length=4000)] | None = None


class Choice(Body):
    """Which of these it is."""

    type: Literal["choice"]
    instructions: _Parts
    choices: Annotated[list[Option], Field(min_length=2, max_length=255)]
    name: Annotated[str, Field(max_length=200)] | None = None


class Level(Body):
    """A level of a scale."""

    label: Annotated[str, Field(min_length=1, max_length=4000)]
    description: Annotated[str, Field(max_length=4000)] | None = None


class Score(Body):
    """How much of it there is, on a scale whose levels are ordered, the lowest first: 0, 1, …"""

    type: Literal["score"]
    instructions: _Parts
    levels: Annotated[list[Level], Field(min_length=2, max_length=100)]
    name: Annotated[str, Field(max_length=200)] | None = None


class DecisionBody(Body):
    """What is asked about, and the questions."""

    model: Name
    input: Text | Annotated[list[Said], Field(min_length=1, max_length=4096)]
    questions: Annotated[
        list[Annotated[Predicate | Choice | Score, Field(discriminator="type")]],
        Field(min_length=1, max_length=400),
    ]
    prompt_cache_key: Unheeded
    prompt_cache_options: Unheeded
    safety_identifier: Unheeded


@router.post("/v1/decisions", response_class=JSONResponse)
async def decisions(body: DecisionBody, http: Request, service: Service = Depends(service_of)) -> Any:
    """Answer each question, with the probability of every answer there is."""
    model = service.model(body.model)
    text = body.input if isinstance(body.input, str) else "\n".join(item.plain() for item in body.input)
    for question in body.questions:
        names = _answers(question)
        if len(set(map(str, names))) < len(names):
            raise Refusal(
                400, "Two answers of a question are the same.", code="invalid_value", param="questions"
            )
    if sum(len(_answers(question)) for question in body.questions) > _MOST:
        what = f"The questions have more than {_MOST} answers together."
        raise Refusal(400, what, code="invalid_value", param="questions")
    if model.task.name == "classify":
        found, usage = await _by_head(http, model, text, body.questions)
    else:
        check_task(model, "generate", "chat", "code")
        found, usage = await _by_likelihood(service, model, http, text, body.questions)
    answers = [_answer(question, each) for question, each in zip(body.questions, found, strict=True)]
    told = {"answers": answers, "model": model.name, "usage": usage_of(usage)}
    return JSONResponse(told, headers=body.unheeded())


def _answers(question: Any) -> list[str | bool]:
    """The answers there are."""
    if isinstance(question, Predicate):
        return [_YES, _NO]
    if isinstance(question, Choice):
        return [option.value for option in question.choices]
    return [level.label for level in question.levels]


def _answer(question: Any, probabilities: Sequence[float]) -> dict[str, Any]:
    """An answer as clients read it. probabilities: of each answer there is."""
    plain: dict[str, Any] = {"type": question.type, "name": question.name}
    if isinstance(question, Predicate):
        return plain | {"probability": probabilities[0]}
    names = _answers(question)
    best = max(range(len(names)), key=lambda at: probabilities[at])
    if isinstance(question, Choice):
        told = [{"value": name, "probability": p} for name, p in zip(names, probabilities, strict=True)]
        return plain | {"choice": names[best], "confidence": probabilities[best], "probabilities": told}
    told = [
        {"value": at, "label": name, "probability": p}
        for at, (name, p) in enumerate(zip(names, probabilities, strict=True))
    ]
    mean = sum(at * p for at, p in enumerate(probabilities))
    return plain | {"score": mean, "confidence": probabilities[best], "probabilities": told}


def _text(parts: Any) -> str:
    return parts if isinstance(parts, str) else "".join(part.plain() for part in parts)


async def _by_head(
    http: Request, model: Model, text: str, questions: Sequence[Any]
) -> tuple[list[list[float]], Usage]:
    """The probabilities of each question's answers among the labels of a model's head, and what was read."""
    [one] = await said(http, model, [{"text": text}], Options(top=_ALL))
    if isinstance(one, Label):
        known = dict([(one.label, one.p), *one.others])
    else:
        assert isinstance(one, Labels)
        known = dict([*one.labels, *one.others])
    several = isinstance(one, Labels)
    found = []
    for number, question in enumerate(questions):
        if isinstance(question, Predicate):
            wanted = [_text(question.instructions).strip()]
        else:
            wanted = [str(name) for name in _answers(question)]
        if missing := [name for name in wanted if name not in known]:
            there = ", ".join(sorted(known)[:50])
            what = f"{model.name} was trained to say {there}, and not {missing[0]!r}."
            raise Refusal(400, what, code="invalid_value", param=f"questions[{number}]")
        p = [known[name] for name in wanted]
        total = sum(p)
        if isinstance(question, Predicate) or several:
            found.append(p)
        else:
            found.append([each / total if total > 0 else 1 / len(p) for each in p])
    return found, Usage(len(of_prompt(model, text)), 0, 0)


async def _by_likelihood(
    service: Service, model: Model, http: Request, text: str, questions: Sequence[Any]
) -> tuple[list[list[float]], Usage]:
    """The probabilities of each question's answers by how likely a model that writes finds them, and what was read."""
    read: list[Asked] = []
    begins: list[int] = []
    for question in questions:
        for before, whole in await service.aside(lambda one=question: _asked(model, text, one)):
            read.append(Asked(Prompt(whole)))
            begins.append(before)
            if len(whole) > model.pretrained.spec.context:
                raise too_long(len(whole), model.pretrained.spec.context, "input")
    wanted = Wanted(changes={"tokens": 0}, echo=True)
    asked = requests(model, read, wanted, http.state.key.name)
    answers = await (await Writing(service, asked, http).begin()).answers()
    scores = [
        sum(token.logprob or 0.0 for token in answer.read[begin:])
        for answer, begin in zip(answers, begins, strict=True)
    ]
    found, at = [], 0
    for question in questions:
        some = scores[at : at + len(_answers(question))]
        at += len(some)
        most = max(some)
        weights = [math.exp(score - most) for score in some]
        found.append([weight / sum(weights) for weight in weights])
    return found, total(answers)


def _asked(model: Model, text: str, question: Any) -> list[tuple[int, list[int]]]:
    """Of each answer: tokens of the question, and those of the question with the answer behind it."""
    told = f"{text}\n\n{_text(question.instructions)}"
    if isinstance(question, Predicate):
        told += "\nIs this true? Answer yes or no."
    else:
        items = question.choices if isinstance(question, Choice) else question.levels
        lines = [
            f"- {name}" + (f": {item.description}" if item.description else "")
            for name, item in zip(_answers(question), items, strict=True)
        ]
        told += "\nAnswer with one of:\n" + "\n".join(lines)
    names = [str(name).lower() if isinstance(name, bool) else name for name in _answers(question)]
    if model.template is not None:
        ids = list(of_messages(model, [{"role": "user", "content": told}]).prompt.ids)
        return [(len(ids), ids + model.tokenizer.encode_next(name).tolist()) for name in names]
    before = list(of_prompt(model, f"{told}\n\nAnswer:").prompt.ids)
    made = []
    for name in names:
        whole = list(of_prompt(model, f"{told}\n\nAnswer: {name}").prompt.ids)
        same = next(
            (at for at, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1]),
            len(before),
        )
        made.append((same, whole))
    return made
