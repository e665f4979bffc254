"""A conversation with a model, through its own chat template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.generation import GenerationSpec
from textmill.tokenization.chat import template as templates
from textmill.tokenization.chat.template import ChatTemplate

if TYPE_CHECKING:
    from textmill.decoding.stream import TextPiece
    from textmill.models.model import Generator
    from textmill.models.pretrained import Pretrained
    from textmill.tokenization.protocol import AnyTokenizer

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"


class Message(TypedDict):
    """What somebody said. role: system, user or assistant. content: a text, or parts {"type": "text", "text": …}."""

    role: str
    content: str | list[dict[str, str]]


@dataclass
class Conversation:
    """What was said so far, and who answers.

    `forgotten` is how many of the oldest messages the last answer was made without, since the model's context is
    shorter than the conversation; they stay in `messages`.
    """

    model: Generator
    tokenizer: AnyTokenizer
    template: ChatTemplate
    spec: GenerationSpec
    context: int
    messages: list[Message] = field(default_factory=list)
    forgotten: int = 0

    def __post_init__(self) -> None:
        from textmill.decoding.decode import searches
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
        self._reader = self.model if searches(self.spec) else PrefixCache(self.model)

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
        answer: list[str] = []
        begun = False
        try:
            for piece in self.reply():
                begun = True
                answer.append(piece.text)
                yield piece
        finally:
            if begun:
                self.messages.append({"role": ASSISTANT, "content": "".join(answer)})
            else:
                self.messages.pop()

    def reply(self) -> Iterator[TextPiece]:
        """An answer to the messages as they are, piece by piece; none is added. Raises as `say`."""
        from textmill.decoding.prompt import Prompt
        from textmill.decoding.stream import generate_text

        prompt = Prompt(self._fitting())
        return generate_text(
            self._reader, self.tokenizer, [prompt], self.spec, context=self.context, ends=self.ends
        )

    def _fitting(self) -> list[int]:
        """The ids of the conversation, without its oldest turns where the context is full."""
        from textmill.data.codec import Codec

        codec = Codec(self.tokenizer, template=self.template)
        room = self.context - min(self.spec.tokens, self.context // 2)
        first = self.messages[:1] if self.messages[0]["role"] == SYSTEM else []
        later = self.messages[len(first) :]
        ids: list[int] = []
        # A turn is what a person says and what is answered, so that the first message kept is the person's.
        for start in range(0, len(later), 2):
            ids = codec.chat([*first, *later[start:]], answer=True).ids.tolist()
            if len(ids) <= room:
                self.forgotten = start
                return ids
        raise TextmillError(
            f"the message takes {len(ids)} tokens and there is room for {room}",
            advice=f"the model reads {self.context}: shorten it, or ask for fewer tokens in the answer",
        )


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
    usual = templates.default(model.tokenizer)
    if usual is None:
        raise TextmillError(
            "has no chat template, so how it was trained to read conversations is not known",
            where=path,
            advice="give one with --template FILE, or use `textmill generate`",
        )
    return usual
