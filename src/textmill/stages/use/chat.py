"""`textmill chat`: a conversation with a model, through its own chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base import machine, schema
from textmill.base.errors import TextmillError
from textmill.specs.recipe import GenerationSpec
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.chat import template as templates
from textmill.tokenization.chat.template import ChatTemplate

if TYPE_CHECKING:
    from textmill.decoding.stream import TextPiece
    from textmill.models.model import Generator
    from textmill.models.pretrained import Pretrained
    from textmill.tokenization.load import AnyTokenizer

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"


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
    messages: list[dict[str, str]] = field(default_factory=list)
    forgotten: int = 0

    def __post_init__(self) -> None:
        from textmill.decoding.decode import searches
        from textmill.decoding.prefix_cache import PrefixCache

        self.ends = self.template.ends(self.tokenizer)
        self._reader = self.model if searches(self.spec) else PrefixCache(self.model)

    def system(self, text: str) -> None:
        """Begin anew, with a system message. Raises TextmillError when the template takes none."""
        if not self.template.system:
            raise TextmillError(
                "this model's chat template takes no system message", advice="say it in your first message"
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
        from textmill.decoding.prompt import Prompt
        from textmill.decoding.stream import generate_text

        self.messages.append({"role": USER, "content": text})
        answer: list[str] = []
        begun = False
        try:
            prompt = Prompt(self._fitting())
            for piece in generate_text(
                self._reader, self.tokenizer, [prompt], self.spec, context=self.context, ends=self.ends
            ):
                begun = True
                answer.append(piece.text)
                yield piece
        finally:
            if begun:
                self.messages.append({"role": ASSISTANT, "content": "".join(answer)})
            else:
                self.messages.pop()

    def _fitting(self) -> list[int]:
        """The ids of the conversation, without its oldest turns where the context is full."""
        room = self.context - min(self.spec.tokens, self.context // 2)
        first = self.messages[:1] if self.messages[0]["role"] == SYSTEM else []
        later = self.messages[len(first) :]
        ids: list[int] = []
        # A turn is what a person says and what is answered, so that the first message kept is the person's.
        for start in range(0, len(later), 2):
            ids = self.template.ids(self.tokenizer, [*first, *later[start:]])
            if len(ids) <= room:
                self.forgotten = start
                return ids
        raise TextmillError(
            f"the message takes {len(ids)} tokens and there is room for {room}",
            advice="say it in fewer words, or ask for a shorter answer with --tokens",
        )


def begin(
    workspace: Workspace,
    target: str,
    *,
    changes: Mapping[str, Any],
    weights: str = "fp32",
    system: str | None = None,
    template: Path | None = None,
) -> Conversation:
    """A conversation with a model: a run, a model's directory, or a file that is one.

    changes: what overrides the model's own generation defaults. template: a Jinja file to use instead of the model's.
    Raises RecipeError when an option is out of range, TextmillError when there is no such model, or when it cannot
    hold a conversation.
    """
    from textmill.decoding.layout import prepare
    from textmill.interop.load import load
    from textmill.models.model import Generator, SourceReader

    place = Path(target) if Path(target).is_file() else locate_model(workspace, target)
    published = load(place)
    model = published.model
    if not isinstance(model, Generator) or isinstance(model, SourceReader):
        raise TextmillError(f"a model of kind {published.spec.kind!r} holds no conversations", where=place)
    machine.keep_memory()
    plain = schema.write(published.generation or GenerationSpec()) | dict(changes)
    conversation = Conversation(
        model=prepare(model, weights),
        tokenizer=published.tokenizer,
        template=_template(published, place, template),
        spec=schema.read(GenerationSpec, plain, "options"),
        context=published.spec.context,
    )
    if system is not None:
        conversation.system(system)
    return conversation


def _template(published: Pretrained, place: Path, given: Path | None) -> ChatTemplate:
    """The template a person gives, or the model's own, or that of models trained here."""
    names = published.tokenizer.names
    if given is not None:
        try:
            return ChatTemplate(given.read_text(encoding="utf-8"), names, where=given)
        except (OSError, UnicodeDecodeError) as error:
            raise TextmillError(f"cannot be read as text ({error})", where=given) from error
    if published.template is not None:
        return ChatTemplate(published.template, names, where=f"chat template of {place.name}")
    found = templates.default(published.tokenizer)
    if found is None:
        raise TextmillError(
            "has no chat template: nobody said how it was trained to read conversations",
            where=place,
            advice="give one with --template FILE, or use `textmill generate`",
        )
    return found
