"""A conversation with a model, through its own chat template."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.generation import GenerationSpec
from textmill.stages.use.tools import Toolbox
from textmill.tokenization.chat.calls import CallForm, form_of, told_apart
from textmill.tokenization.chat.template import ChatTemplate
from textmill.tokenization.chat.tools import Call

if TYPE_CHECKING:
    from textmill.decoding.stream import TextPiece
    from textmill.models.model import Generator
    from textmill.models.pretrained import Pretrained
    from textmill.tokenization.protocol import AnyTokenizer

SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"
_ROUNDS = 8  # answers to one message: calls of tools, and what is said of what they gave


class Message(TypedDict):
    """What somebody said. role: system, user, assistant or tool. content: a text, or parts {"type": "text", "text": …}.
    tool_calls: the functions that an assistant calls, as JSON has them; name: the one that a tool's message is of."""

    role: str
    content: str | list[dict[str, str]]
    tool_calls: NotRequired[list[dict[str, Any]]]
    name: NotRequired[str]


@dataclass
class Conversation:
    """What was said so far, and who answers.

    `forgotten` is how many of the oldest messages the last answer was made without, since the model's context is
    shorter than the conversation; they stay in `messages`. tools: functions that the assistant may call; `called` is
    told of each call and what it gave.
    """

    model: Generator
    tokenizer: AnyTokenizer
    template: ChatTemplate
    spec: GenerationSpec
    context: int
    messages: list[Message] = field(default_factory=list)
    forgotten: int = 0
    tools: Toolbox | None = None
    called: Callable[[Call, str], None] = lambda call, result: None

    def __post_init__(self) -> None:
        from textmill.decoding.prefix_cache import PrefixCache

        if not self.template.readable:
            self.template.render(
                [{"role": USER, "content": "a"}]
            )  # which says what is wrong, where something is
            raise TextmillError(
                "leaves out the content of messages, as a text or as a list of parts",
                where=self.template.where,
                advice="give another template with --template FILE",
            )
        self.ends = self.template.ends(self.tokenizer)
        self._cache = PrefixCache(self.model)
        self._seeds = 0  # how often an answer was asked for again: each is drawn otherwise

    def system(self, text: str) -> None:
        """Begin anew, with a system message. Raises TextmillError when the template takes none."""
        if not self.template.system:
            raise TextmillError(
                "this model's chat template takes no system message", advice="put it into your first message"
            )
        self.messages = [{"role": SYSTEM, "content": text}]

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = [message for message in self.messages[:1] if message["role"] == SYSTEM]
        self.forgotten = 0

    def say(self, text: str) -> Iterator[TextPiece]:
        """Say something; the answer comes piece by piece. Left early, what has come is the answer.

        Raises TextmillError when the message alone is longer than the model reads, or the template refuses it; then
        nothing has been said.
        """
        self.messages.append({"role": USER, "content": text})
        yield from self._answer(else_gone=[self.messages[-1]])

    def retry(self) -> Iterator[TextPiece]:
        """The last message is answered anew, by another draw. Raises RecipeError where nobody has said anything."""
        self._back()
        self._seeds += 1
        yield from self._answer()

    def edit(self, text: str) -> Iterator[TextPiece]:
        """The last message is another one, and is answered. Raises RecipeError where nobody has said anything."""
        at = self._back()
        self.messages[at] = {"role": USER, "content": text}
        yield from self._answer()

    def change(self, name: str, value: Any) -> None:
        """From now on answers are written otherwise: a field of a GenerationSpec. Raises RecipeError for what there is
        not, or a value out of range."""
        self.spec = schema.read(GenerationSpec, schema.write(self.spec) | {name: value}, "options")

    def save(self, path: Path) -> None:
        """The conversation as a line of JSON, as `format = "chat"` reads it, behind those that the file holds."""
        tools = {} if self.tools is None else {"tools": self.tools.offered}
        line = json.dumps({"messages": self.messages, **tools}, ensure_ascii=False)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise TextmillError(f"cannot be written ({error.strerror})", where=path) from error

    def _back(self) -> int:
        """Take back what was answered to the last message of the user; where that is."""
        at = max((at for at, said in enumerate(self.messages) if said["role"] == USER), default=None)
        if at is None:
            raise RecipeError("nothing has been said yet", advice="say something first")
        del self.messages[at + 1 :]
        return at

    def _answer(self, else_gone: Sequence[Message] = ()) -> Iterator[TextPiece]:
        """An answer to the messages as they are, which becomes one of them; and where it calls tools, what they give,
        and an answer to that. Where there is none at all, `else_gone` were not said either."""
        for _ in range(_ROUNDS):
            said: list[str] = []
            begun = False
            try:
                for piece in self.reply():
                    begun = True
                    said.append(piece.text)
                    yield piece
            finally:
                before, calls = "".join(said), []
                if self.tools is not None:
                    before, calls = told_apart(self.form, before)
                if begun:
                    self.messages.append(_said(before, calls))
                else:
                    self.messages = [one for one in self.messages if one not in else_gone]
            if not calls or self.tools is None:
                return
            for call in calls:
                result = self.tools.call(call)
                self.messages.append({"role": TOOL, "name": call.name, "content": result})
                self.called(call, result)

    @cached_property
    def form(self) -> CallForm:
        """How the model writes calls, in a text without special tokens."""
        return form_of(self.template, self.tokenizer).shown(self.tokenizer)

    def reply(self) -> Iterator[TextPiece]:
        """An answer to the messages as they are, piece by piece; none is added. Raises as `say`."""
        from textmill.decoding.decode import searches
        from textmill.decoding.prompt import Prompt
        from textmill.decoding.stream import generate_text

        prompt = Prompt(self._fitting())
        reader = self.model if searches(self.spec) else self._cache
        spec = replace(self.spec, seed=self.spec.seed + self._seeds)
        return generate_text(reader, self.tokenizer, [prompt], spec, context=self.context, ends=self.ends)

    def _fitting(self) -> list[int]:
        """The ids of the conversation, without its oldest turns where the context is full."""
        from textmill.data.codec import Codec

        codec = Codec(self.tokenizer, template=self.template)
        room = self.context - min(self.spec.tokens, self.context // 2)
        first = self.messages[:1] if self.messages[0]["role"] == SYSTEM else []
        later = self.messages[len(first) :]
        tools = None if self.tools is None else self.tools.offered
        ids: list[int] = []
        # A turn begins with what a person says, so that the first message kept is the person's.
        for start in (at for at, message in enumerate(later) if message["role"] == USER):
            ids = codec.chat([*first, *later[start:]], answer=True, tools=tools).ids.tolist()
            if len(ids) <= room:
                self.forgotten = start
                return ids
        raise TextmillError(
            f"the message takes {len(ids)} tokens and there is room for {room}",
            advice=f"the model reads {self.context}: shorten it, or ask for fewer tokens in the answer",
        )


def _said(text: str, calls: Sequence[Call]) -> Message:
    """What an assistant said before it called anything, and the calls."""
    said: Message = {"role": ASSISTANT, "content": text}
    if calls:
        said["tool_calls"] = [call.plain() for call in calls]
    return said


def checked(messages: Sequence[Message]) -> list[Message]:
    """A copy of messages, the last of which wants an answer. Raises RecipeError when they are none."""
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        texts = [content] if isinstance(content, str) else content
        if not isinstance(role, str) or not isinstance(texts, list):
            raise RecipeError(
                "is not a message",
                where=f"messages[{number}]",
                advice="a message has a text as role and a text as content",
            )
        if not isinstance(content, str) and not all(map(_is_text, texts)):
            raise RecipeError(
                "has a part that is not text", where=f"messages[{number}]", advice="only text is read"
            )
    if not messages or messages[-1]["role"] != USER:
        raise RecipeError(
            "there is no question", where="messages", advice="the last message must be the user's"
        )
    return list(messages)


def said(message: Message) -> str:
    """What a message says, as one text."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def template_of(model: Pretrained, path: Path, file: Path | None = None) -> ChatTemplate:
    """The template in `file`, else the model's own, else that of models trained here. `path`: the model's.

    Raises TextmillError when there is none, or it cannot be read.
    """
    names = model.tokenizer.names
    if file is not None:
        try:
            return ChatTemplate(file.read_text(encoding="utf-8"), names, where=file)
        except (OSError, UnicodeDecodeError) as error:
            raise TextmillError(f"cannot be read as text ({error})", where=file) from error
    if model.template is not None:
        return ChatTemplate(model.template, names, where=f"chat template of {path.name}")
    usual = model.chat
    if usual is None:
        raise TextmillError(
            "has no chat template, so how it was trained to read conversations is not known",
            where=path,
            advice="give one with --template FILE, or use `textmill generate`",
        )
    return usual
