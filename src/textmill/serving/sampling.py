"""Fields of a body that say how an answer is written, as OpenAI's routes for text share them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from textmill.inference.requests import Constraint, Token
from textmill.serving.bodies import MOST, Body, Model, Number, Unheeded
from textmill.serving.refusals import Refusal
from textmill.serving.service import Model as Served

ALTERNATIVES = 20  # most of them to a token
_IMPOSSIBLE = -9999.0
_Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class Sampling(Body):
    """How an answer is written; what is left out is as it was published with the model."""

    model: Model
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    top_k: (
        Annotated[int, Field(ge=1, lt=1 << 31, description="not OpenAI's: keep the k likeliest tokens")]
        | None
    ) = None
    min_p: Annotated[Number, Field(ge=0, le=1, description="not OpenAI's")] | None = None
    repetition_penalty: Annotated[Number, Field(gt=0, le=100, description="not OpenAI's")] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=16)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST)] = 1
    logit_bias: Annotated[dict[str, Number], Field(max_length=1024)] | None = None
    stream: bool = False
    user: Unheeded
    metadata: Unheeded
    store: Unheeded
    service_tier: Unheeded
    safety_identifier: Unheeded
    prompt_cache_key: Unheeded
    prompt_cache_retention: Unheeded
    prompt_cache_options: Unheeded

    def changes(self, tokens: int | None) -> dict[str, Any]:
        """Fields of a GenerationSpec. tokens: most that are written."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        names = (
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
            "seed",
        )
        return {name: getattr(self, name) for name in names} | {"stop": stop, "tokens": tokens}

    def bias(self) -> dict[int, float]:
        """id -> what is added to its logit. Raises Refusal for a name that is no id."""
        try:
            return {int(name): value for name, value in (self.logit_bias or {}).items()}
        except ValueError as error:
            what = 'logit_bias names ids of tokens, such as {"50256": -100}.'
            raise Refusal(400, what, code="invalid_token", param="logit_bias") from error


def json_of(schema: Mapping[str, Any]) -> Constraint:
    """That an answer is JSON which a schema allows, in one line: where any white space may stand, small models write it
    without end."""
    one_line = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return Constraint("json_schema", json.dumps({"x-guidance": one_line} | dict(schema)))


class StreamOptions(Body):
    """What a stream tells besides."""

    include_usage: bool = False
    include_obfuscation: Unheeded  # hides lengths from who listens to the wire: there is none here


class JsonSchema(Body):
    """A schema an answer must follow. It is always followed, `strict` or not."""

    name: Annotated[str, Field(max_length=200)] = ""
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    description: Unheeded
    strict: Unheeded


class ResponseFormat(Body):
    """What an answer must be: any text, a JSON object, JSON that a schema allows."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def constraint(self) -> Constraint | None:
        """The same for the engine. Raises Refusal where the schema is missing."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return json_of({"type": "object"})
        if self.json_schema is None:
            raise Refusal(400, "json_schema is missing.", code="missing_value", param="response_format")
        return json_of(self.json_schema.schema_)


def told(logprob: float | None) -> float | None:
    """A log probability as JSON has it: of what is impossible, as OpenAI's clients know it."""
    return None if logprob is None else max(logprob, _IMPOSSIBLE)


def spelt(model: Served, token: int, data: bytes) -> str:
    """A token as text: special ones by their names, broken characters as U+FFFD."""
    if data:
        return data.decode("utf-8", "replace")
    return _names(model).get(token, "")


def _names(model: Served) -> Mapping[int, str]:
    return {number: name for name, number in model.tokenizer.special.items()}


def alternatives(model: Served, token: Token) -> list[tuple[int, bytes, str, float]]:
    """id, bytes, text and log probability of what might have stood in a token's place."""
    tokenizer = model.tokenizer
    found: Sequence[tuple[int, float]] = token.alternatives
    return [
        (one, data, spelt(model, one, data), max(logprob, _IMPOSSIBLE))
        for one, logprob in found
        for data in (tokenizer.token_bytes(one),)
    ]
