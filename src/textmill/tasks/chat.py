"""What an assistant says next in a conversation, and how likely a model finds what assistants did say.

A record is a chat (`text.chats`), or what a user says (`text`) and what is answered (`target`). Where predictions are
scored, nothing is written but calls of tools: the answers that are there are scored, token by token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import Row, by_length, padded
from textmill.data.loader import Scored
from textmill.decoding.prompt import Prompt
from textmill.metrics import guesses
from textmill.metrics.score import LOWER, Bootstrap, Figures, Score, share
from textmill.models.pretrained import Pretrained
from textmill.objectives.chat import CHAT as OBJECTIVE
from textmill.objectives.scoring import score_guesses
from textmill.tasks import writing
from textmill.tasks.prediction import Refused, Text
from textmill.tasks.task import Field, Options, Record, Task, text_of
from textmill.text import chats
from textmill.tokenization.chat.calls import HERMES, form_of, told_apart
from textmill.tokenization.chat.tools import Call, fits

_ASSISTANT, _USER = "assistant", "user"
_TOKENS = 4096  # read at once, padding included


@dataclass(frozen=True, slots=True)
class Asked:
    """prompt: what is to be answered, if anything; row: a conversation whose answers are scored, if any; calls: those
    that are right after the prompt; tools: those that are offered, as JSON has them."""

    prompt: Prompt | None
    row: Row | None = None
    calls: tuple[Call, ...] = ()
    tools: Any = None


@dataclass(frozen=True, slots=True)
class Called:
    """What was written where a conversation first calls a tool.

    valid   nothing but calls of tools that are offered, with arguments that they take (`tokenization.chat.tools.fits`)
    named   the right tools
    right   with the right arguments, too
    """

    valid: bool
    named: bool
    right: bool


@dataclass(frozen=True, slots=True)
class Said:
    """How likely the answers of a conversation are: nats and likeliest tokens of so many. called: None where no tool is
    called in it."""

    nats: float
    hits: int
    tokens: int
    called: Called | None = None

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"nats": round(self.nats, 4), "tokens": self.tokens}


def conversation(record: Record) -> tuple[list[dict[str, Any]], Any] | Refused:
    """The messages of a record, up to its last answer where it has one, and its tools."""
    if not chats.is_chat(record):
        text, target = text_of(record, "text"), record.get("target")
        if isinstance(text, Refused):
            return text
        answer = [] if target is None else [{"role": _ASSISTANT, "content": target}]
        return [{"role": _USER, "content": text}, *answer], None
    sections = chats.put_together(record, record)
    turns = [*sections.get(chats.MESSAGES, ()), *sections.get(chats.CHOSEN, ())]
    last = max((at for at, turn in enumerate(turns) if turn.role == _ASSISTANT), default=len(turns) - 1)
    return [chats.plain(turn) for turn in turns[: last + 1]], chats.tools_of(record)


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Asked | Refused]:
    """What is to be answered, or scored."""
    return [_asked(pretrained, record, options) for record in records]


def _asked(pretrained: Pretrained, record: Record, options: Options) -> Asked | Refused:
    found = conversation(record)
    if isinstance(found, Refused):
        return found
    messages, tools = found
    codec = pretrained.codec
    try:
        if options.scored:
            row = codec.chat(messages, tools=tools)
            if not row.windows:
                return _too_long(len(row), pretrained)
            prompt, calls = None, ()
            at = next((at for at, message in enumerate(messages) if message.get("tool_calls")), None)
            if at is not None:
                prompt = Prompt(codec.chat(messages[:at], answer=True, tools=tools).ids.tolist())
                made = (call.get("function", call) for call in messages[at]["tool_calls"])
                calls = tuple(Call(one["name"], one.get("arguments") or {}) for one in made)
            return Asked(prompt, row, calls, tools)
        said = messages[:-1] if messages[-1]["role"] == _ASSISTANT else messages
        row = codec.chat(said, answer=True, tools=tools)
    except TextmillError as error:
        if pretrained.chat is None:
            raise
        return Refused("the chat template does not take it", error.what)
    return Asked(Prompt(row.ids.tolist())) if row.windows else _too_long(len(row), pretrained)


def _too_long(length: int, pretrained: Pretrained) -> Refused:
    return Refused(
        "the conversation is longer than the model reads",
        f"{length:,} tokens, and it reads {pretrained.longest:,}",
    )


def predict(pretrained: Pretrained, asked: Sequence[Asked], options: Options) -> list[Any]:
    """What the assistant says, or how likely its answers are."""
    spec = options.generation or pretrained.generation
    prompts = [writing.Asked(one.prompt) for one in asked if one.prompt is not None]
    ends = (
        pretrained.tokenizer.ends if pretrained.chat is None else pretrained.chat.ends(pretrained.tokenizer)
    )
    spec = writing.settled(spec) if options.scored else spec
    written = iter(writing.write(pretrained, prompts, spec, options, ends=ends))
    if not options.scored:
        return list(written)
    rows = [one.row for one in asked if one.row is not None]
    form = HERMES
    if prompts and pretrained.chat is not None:
        form = form_of(pretrained.chat, pretrained.tokenizer).shown(pretrained.tokenizer)
    nats, hits, tokens = score_guesses(pretrained.model, _batches(pretrained, rows), len(rows))
    said: list[Any] = []
    for number, one in enumerate(asked):
        called = None
        if one.prompt is not None:
            answer = next(written)
            called = _called(one, told_apart(form, answer.text)[1] if isinstance(answer, Text) else [])
        said.append(Said(float(nats[number]), int(hits[number]), int(tokens[number]), called))
    return said


def _called(asked: Asked, made: Sequence[Call]) -> Called:
    return Called(
        valid=bool(made) and all(fits(call, asked.tools) for call in made),
        named=[call.name for call in made] == [call.name for call in asked.calls],
        right=tuple(made) == asked.calls,
    )


def _batches(pretrained: Pretrained, rows: Sequence[Row]) -> Iterator[Scored]:
    """Rows of like length together, as training reads them."""
    pad = pretrained.codec.special.pad
    for numbers in by_length([len(row) for row in rows], _TOKENS):
        some = [rows[number] for number in numbers]
        ids, real = padded([row.ids[:-1] for row in some], pad)
        said = [np.where(row.loss[1:], row.ids[1:], IGNORE) for row in some]
        targets = torch.from_numpy(padded(said, IGNORE)[0])
        batch = Batch(torch.from_numpy(ids), targets, mask=None if real is None else torch.from_numpy(real))
        owners = torch.from_numpy(numbers)[:, None].expand_as(targets)
        yield Scored(batch, torch.where(targets != IGNORE, owners, -1))


def gold(record: Record) -> str | None:
    """What the assistant says last."""
    found = conversation(record)
    if isinstance(found, Refused) or found[0][-1]["role"] != _ASSISTANT:
        return None
    return found[0][-1]["content"]


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """Nats and accuracy of the tokens that assistants say; of first calls of tools, the shares that `Called` tells.

    A conversation that was refused has no tokens; a call that was not made is a wrong one.
    """
    table = _table(predictions)
    read = table[:, 2] > 0
    nats, hits, tokens = table[read].T
    found = guesses.token_scores(nats, hits, tokens, bootstrap.of(read), target="assistant token")
    scores = dict(reversed(list(found.items())))
    made = [
        (at, said.called) for at, said in enumerate(predictions) if isinstance(said, Said) and said.called
    ]
    if made:
        of = bootstrap.of(np.array([at for at, _ in made]))
        scores["valid calls"] = guesses.proportion("valid-calls", [one.valid for _, one in made], of)
        scores["right tools"] = guesses.proportion("right-tools", [one.named for _, one in made], of)
        scores["right calls"] = guesses.proportion("right-calls", [one.right for _, one in made], of)
    return scores


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """The nats and tokens of each conversation."""
    return Figures("nats per assistant token", _table(predictions)[:, [0, 2]], share(0, 1), better=LOWER)


def _table(predictions: Sequence[Any]) -> np.ndarray:
    """(D, 3): nats, likeliest tokens and tokens of each; those of a refused one are none."""
    rows = [
        (said.nats, said.hits, said.tokens) if isinstance(said, Said) else (0, 0, 0) for said in predictions
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


CHAT = Task(
    name="chat",
    summary="what an assistant says next in a conversation",
    fields=(Field("text", "what the user says"),),
    objectives=dict.fromkeys(OBJECTIVE.spec.families, OBJECTIVE.kind),
    prepare=prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    asked={"scored": True},
    purpose="Answering in conversations of the kind it was trained on.",
)
