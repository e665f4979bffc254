"""What assistants say in conversations, as the model's own chat template writes them.

Whatever others say, and what the template writes around it, is read and never asked for. Which ids are in the loss is
told by aligning ids (tokenization/chat/answers.py); the id that ends a turn is among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from textmill.base.errors import TextmillError
from textmill.data.buckets import BucketLoader
from textmill.data.codec import Row
from textmill.data.conversations import ConversationView
from textmill.data.examples import ExampleStore, Record
from textmill.data.loader import Batching, Scored
from textmill.data.view import ViewLoader
from textmill.metrics import guesses
from textmill.metrics.score import Score, Sums
from textmill.objectives import show
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult
from textmill.objectives.loss import losses_of_tokens
from textmill.objectives.objective import WRITES, Objective, Purpose
from textmill.objectives.records import Reader, size
from textmill.objectives.scoring import score_guesses
from textmill.objectives.text_evaluation import guessed
from textmill.specs.objective import ChatObjective
from textmill.text import chats
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

Messages = Sequence[Mapping[str, Any]]
_ASSISTANT, _USER = "assistant", "user"
_START = "the model it began with"
_TARGET, _ACCURACY = "assistant token", "token accuracy"
_PROBE = tuple({"role": who, "content": f"word {who}"} for who in (_USER, _ASSISTANT) * 2)


class ChatReader(Reader):
    """text, loss, pieces: the ids of a conversation, as data/conversations.py has them. left: how many of its oldest
    messages were left out, since it is longer than a sequence and its last answer alone is trained on."""

    schema: ClassVar = {"text": "ids", "loss": "int8", "pieces": "int32", "left": "int32"}
    decided: ClassVar = ("turns", "too_long")

    def read(self, documents: list[Document]) -> Iterator[Record | str]:
        """A record for each conversation, in order, or the reason why not."""
        self._check()
        return map(self._record, documents)

    def _check(self) -> None:
        """Raises TextmillError where the template cannot be trained with at all, which it says of itself at once."""
        try:
            self._row(_PROBE, None)
        except TextmillError as error:
            if error.advice != "change the messages":  # which a template may ask for, of these words
                raise

    def _record(self, document: Document) -> Record | str:
        texts = {role: self.text(document, role) or "" for role in document.texts}
        sections = chats.put_together(texts, document.metadata)
        turns = [*sections.get(chats.MESSAGES, ()), *sections.get(chats.CHOSEN, ())]
        if not turns:
            return "holds no conversation"
        said = [number for number, turn in enumerate(turns) if turn.role == _ASSISTANT]
        if not said:
            return "holds no answer"
        turns = turns[: said[-1] + 1]  # what follows the last answer teaches nothing
        messages = [chats.plain(turn) for turn in turns]
        try:
            made = self._rows(messages, chats.tools_of(document.metadata))
        except TextmillError as error:
            return f"the chat template {error.what}"
        if isinstance(made, str):
            return made
        rows, left = made
        if not any(row.loss.any() for row in rows):
            return "no token of an answer is in the loss"
        written = sum(size(turn.content) + size(turn.reasoning) for turn in turns if turn.role == _ASSISTANT)
        return Record(
            {
                "text": np.concatenate([row.ids for row in rows]),
                "loss": np.concatenate([row.loss for row in rows]),
                "pieces": np.array([len(row) for row in rows]),
                "left": np.array([left]),
            },
            written,
        )

    def _row(self, messages: Messages, tools: Any) -> Row:
        return self.codec.chat(messages, turns=self.spec.turns, tools=tools)

    def _rows(self, messages: Messages, tools: Any) -> tuple[list[Row], int] | str:
        """The rows of a conversation, and how many messages stand in none of them; or why there is no row.

        One that is too long is cut between exchanges, each of which begins with what a user says; the system message
        stands before each piece.
        """
        whole = self._row(messages, tools)
        if whole.windows:
            return [whole], 0
        if self.spec.too_long == "skip":
            return "is longer than a sequence"
        system, exchanges = _exchanges(messages)

        def piece(start: int, stop: int) -> Row | None:
            said = [message for exchange in exchanges[start:stop] for message in exchange]
            row = self._row([*system, *said], tools)
            return row if row.windows else None

        if self.spec.turns == "last":
            for start in range(1, len(exchanges)):
                if (row := piece(start, len(exchanges))) is not None:
                    return [row], sum(map(len, exchanges[:start]))
            return "has an exchange longer than a sequence"
        rows, start = [], 0
        while start < len(exchanges):
            fitting, stop = piece(start, start + 1), start + 1
            if fitting is None:
                return "has an exchange longer than a sequence"
            while stop < len(exchanges) and (more := piece(start, stop + 1)) is not None:
                fitting, stop = more, stop + 1
            rows.append(fitting)
            start = stop
        return rows, 0


def _exchanges(messages: Messages) -> tuple[Messages, list[list[Mapping[str, Any]]]]:
    """The messages before anybody speaks, and the others from one message of a user to the next."""
    first = next(
        (at for at, message in enumerate(messages) if message["role"] in (_USER, _ASSISTANT)), len(messages)
    )
    exchanges: list[list[Mapping[str, Any]]] = []
    for message in messages[first:]:
        if message["role"] == _USER and (not exchanges or exchanges[-1][-1]["role"] != _USER):
            exchanges.append([])
        exchanges = exchanges or [[]]
        exchanges[-1].append(message)
    return messages[:first], exchanges


class ChatLoader(ViewLoader):
    """Rows of packed conversations; what is scored stands alone in its row, with others of its length."""

    def __init__(self, view: ConversationView, apart: ConversationView, how: Batching) -> None:
        super().__init__(view, how.batch, how.seed)
        self._alone = BucketLoader(apart, batch=how.batch, seed=how.seed)

    def evaluation(self, batch: int, *, tokens: int | None = None) -> Iterator[Scored]:
        """Every conversation once, `batch` at a time, in fixed order."""
        return self._alone.evaluation(batch, tokens=tokens)


def loader(spec: ChatObjective, store: ExampleStore, how: Batching) -> ChatLoader:
    """Conversations packed into rows and isolated in them, whatever `packing` says of running text."""
    views = [ConversationView(store, how.sequence, how.tokens.pad, packed=packed) for packed in (True, False)]
    return ChatLoader(views[0], views[1], how)


def notes(store: ExampleStore) -> list[str]:
    """What became of conversations that are longer than a sequence."""
    said = []
    pieces, left = store.lengths("pieces"), store.fields["left"][0]
    if (cut := int((pieces > 1).sum())) > 0:
        said.append(
            f"{cut:,} of {len(store):,} conversations are longer than a sequence: split between turns into "
            f"{int(pieces[pieces > 1].sum()):,} pieces"
        )
    if (cut := int((left > 0).sum())) > 0:
        said.append(
            f"{cut:,} of {len(store):,} conversations are longer than a sequence: their oldest "
            f"{int(left.sum()):,} messages were left out"
        )
    return said


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """Nats and accuracy of what assistants say where all before it is given; beside the model it began with, or one
    that only knows how often each token occurs."""
    loader, spec = evaluation.loader, evaluation.recipe.objective
    assert isinstance(spec, ChatObjective)
    how = f"turns:{spec.turns}|sequence:{evaluation.recipe.sequence}"
    base = evaluation.data.base()
    if base is None:
        found = guessed(evaluation, _ACCURACY, _TARGET, how)
        return replace(found, scores=_headed(found.scores))
    evaluation.reporter.note("scoring the model it began with on the same conversations")
    batches = (loader.evaluation(evaluation.rows, tokens=evaluation.spec.tokens) for _ in range(2))
    (nats, hits, targets), (before, guessed_before, _) = (
        score_guesses(model, rows, len(loader.store))
        for model, rows in zip((evaluation.model, base), batches, strict=True)
    )
    read = targets > 0
    bootstrap = evaluation.bootstrap.of(read)
    scores, start = (
        _headed(
            guesses.token_scores(spent[read], right[read], targets[read], bootstrap, target=_TARGET, how=how)
        )
        for spent, right in ((nats, hits), (before, guessed_before))
    )
    both = Sums.of(np.stack([nats[read], before[read]], axis=1), bootstrap)
    scores["nats saved"] = both.score(
        "nats-saved|1-nats/nats-of-the-start", lambda sums: 1 - sums[:, 0] / sums[:, 1], how=how
    )
    size_of_text = int(loader.store.bytes[read].sum())
    counts = int(read.sum()), int(targets.sum()), size_of_text
    return EvaluationResult(scores, {_START: start}, *counts, more={"paired": {_START: "nats saved"}})


def _headed(scores: Mapping[str, Score]) -> dict[str, Score]:
    """The nats first, and then the accuracy."""
    return dict(reversed(list(scores.items())))


def sample(spec: ChatObjective, document: Document, tokenizer: AnyTokenizer, tokens: int) -> tuple[str, str]:
    """What a user says first, and what was answered."""
    turns = [
        turn for section in chats.put_together(document.texts, document.metadata).values() for turn in section
    ]
    first = next((at for at, turn in enumerate(turns[:-1]) if turn.role == _USER), None)
    if first is None or turns[first + 1].role != _ASSISTANT:
        return "", ""
    return turns[first].content, turns[first + 1].content


CHAT = Objective(
    spec=ChatObjective,
    reader=ChatReader,
    loader=loader,
    losses=losses_of_tokens,
    loss_unit="nats per assistant token",
    show=show.of_tokens,
    measure=measure,
    writes=True,
    sample=sample,
    notes=notes,
    shown=show.Shown(rows=5, tokens=400, apart=True),
    next=("chat {run} --message 'Hello'",),
    purpose=Purpose(
        "text-generation",
        "conversation",
        "Answering in conversations of the kind it was trained on, through its chat template.",
        WRITES,
        "它按训练对话的方式作答，可能写出不实或带有偏见的内容，也可能逐字复述训练文本；使用前请人工核对。",
        loads=True,
    ),
)
