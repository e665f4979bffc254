"""From what a client wants to requests of the engine: the one place where the one becomes the other.

Every route says what it wants as a `Wanted`, whatever its own words for that are. How an answer is written is what was
published with the model, changed by what the client says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.data.codec import Codec
from textmill.decoding.prompt import Prompt, of_text
from textmill.inference.requests import Constraint, Request
from textmill.serving.refusals import Refusal, too_long
from textmill.serving.service import Model
from textmill.specs.generation import GenerationSpec

_SEEDS = 1 << 63


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of a model, in no client's words.

    changes     fields of a GenerationSpec that take the place of the model's own; None says nothing
    n           answers to each prompt: samples 0, 1, …
    bias        id -> what is added to its logit
    logprobs    so many alternatives to each token; None: nobody asked
    echo        whether the tokens of the prompt are told, too
    constraint  what an answer must be
    spelt       special tokens that stand in its text
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    n: int = 1
    bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    echo: bool = False
    constraint: Constraint | None = None
    spelt: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What is answered: a prompt as the model reads it. ends: ids that end an answer to it; None: the tokenizer's."""

    prompt: Prompt
    ends: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.prompt.ids) + len(self.prompt.source or ())


def requests(model: Model, read: Sequence[Asked], wanted: Wanted, owner: str) -> list[Request]:
    """What the engine is asked: prompt by prompt, and of each answer by answer. owner: whose prefixes may be used.

    Raises Refusal for what cannot be done.
    """
    spec = _settings(model, wanted.changes)
    if wanted.constraint is not None and not wanted.changes.get("stop"):
        spec = replace(spec, stop=())  # the model's own: what must be something ends where that is complete
    for token in wanted.bias:
        _check_id(model, token, "logit_bias")
    return [
        Request(
            model=model.name,
            ids=tuple(one.prompt.ids),
            source=None if one.prompt.source is None else tuple(one.prompt.source),
            spec=spec,
            sample=sample,
            ends=one.ends,
            bias=wanted.bias,
            logprobs=wanted.logprobs,
            prompt_logprobs=wanted.echo,
            constraint=wanted.constraint,
            spelt=wanted.spelt,
            owner=owner,
        )
        for one in read
        for sample in range(wanted.n)
    ]


def _settings(model: Model, changes: Mapping[str, Any]) -> GenerationSpec:
    """How an answer is written. Raises Refusal for a value out of range, naming its field."""
    given = {name: value for name, value in changes.items() if value is not None}
    tokens = given.pop("tokens", None)  # which may be 0: then only what is read is told about
    if "seed" in given:
        given["seed"] %= _SEEDS  # clients have negative ones
    own = schema.write(replace(model.pretrained.generation, speculate="off"))
    try:
        spec = schema.read(GenerationSpec, own | given, "options")
    except TextmillError as error:
        field_of = error.where.rpartition(".")[2] or None
        raise Refusal(400, str(error), code="invalid_value", param=field_of) from error
    return spec if tokens is None else replace(spec, tokens=tokens)


def _check_id(model: Model, token: int, param: str) -> None:
    if not 0 <= token < model.tokenizer.vocabulary:
        what = f"{token} is no token of this model: it has {model.tokenizer.vocabulary}."
        raise Refusal(400, what, code="invalid_token", param=param)


def of_prompt(model: Model, prompt: str | Sequence[int]) -> Asked:
    """A text to go on from, or to answer where the model reads a source; or ids, which are read as they are."""
    pretrained = model.pretrained
    if isinstance(prompt, str):
        return _checked(
            model, Asked(of_text(model.tokenizer, prompt, start=pretrained.target_start)), "prompt"
        )
    for token in prompt:
        _check_id(model, token, "prompt")
    if pretrained.target_start is not None:
        return _checked(model, Asked(Prompt([pretrained.target_start], source=list(prompt))), "prompt")
    return _checked(model, Asked(Prompt(list(prompt))), "prompt")


def of_messages(
    model: Model, messages: Sequence[Mapping[str, Any]], tools: Any = None, *, begun: str | None = None
) -> Asked:
    """A conversation up to where the assistant speaks, as the model's chat template writes it.

    begun: what the answer begins with. Raises Refusal where there is no template, or it does not take the conversation.
    """
    template = model.template
    if template is None or model.pretrained.reads_source:
        what = "This model has no chat template, so nobody knows how it reads conversations: use /v1/completions."
        raise Refusal(400, what, code="no_chat_template", param="model")
    codec = Codec(model.tokenizer, template=template)
    try:
        ids = codec.chat(messages, answer=True, tools=tools).ids.tolist()
    except TextmillError as error:
        what = f"The model's chat template does not take this conversation: {error.what}."
        raise Refusal(400, what, code="invalid_messages", param="messages") from error
    ids += [] if begun is None else model.tokenizer.encode_next(begun).tolist()
    return _checked(model, Asked(Prompt(ids), template.ends(model.tokenizer)), "messages")


def _checked(model: Model, read: Asked, param: str) -> Asked:
    """The same. Raises Refusal where it is longer than the model reads: nothing is ever cut."""
    for ids, longest in (
        (read.prompt.ids, model.pretrained.spec.context),
        (read.prompt.source or (), model.pretrained.longest),
    ):
        if len(ids) > longest:
            raise too_long(len(ids), longest, param)
    return read
