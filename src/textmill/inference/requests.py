"""What is asked of the engine and what it says, as plain data: between whoever serves and the models, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from textmill.base.errors import TextmillError
from textmill.specs.generation import GenerationSpec

Reason = Literal["end", "stop", "length", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must be: a JSON value that a schema allows, a text that a regular expression matches whole, or one
    of a context-free grammar in Lark's notation."""

    kind: Literal["json_schema", "regex", "grammar"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """One answer that is wanted.

    model            name under which it is served
    ids              what is read: the prompt, or, beside a source, the target so far; without any, the first of `ends`
    source           what a model that reads a source reads
    spec             how it is written; `tokens` may be 0, where only what is read is asked about
    sample           number of the answer, of several to one prompt: it takes part in the seed
    ends             ids that end it; None: the tokenizer's
    bias             id -> what is added to its logit before anything else
    logprobs         so many alternatives to each token, likeliest first; None: none, nor how likely it was itself
    prompt_logprobs  whether the tokens of the prompt are told, with how likely each was
    constraint       what the answer must be
    spelt            special tokens that stand in the text of the answer, id -> as what; the others vanish from it
    owner            whose prefixes it may use, and leaves: no other owner's
    deadline         second of `time.monotonic` after which it is ended
    """

    model: str
    ids: tuple[int, ...]
    spec: GenerationSpec
    source: tuple[int, ...] | None = None
    sample: int = 0
    ends: tuple[int, ...] | None = None
    bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    prompt_logprobs: bool = False
    constraint: Constraint | None = None
    spelt: Mapping[int, str] = field(default_factory=dict)
    owner: str = ""
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One token, written or read.

    text     what became final with it; the texts of all tokens together are the answer, without end and stop strings
    bytes    what the token itself stands for
    logprob  natural log of its probability under the model itself; None of the first token of a prompt, and where it
             is not asked for
    alternatives  the likeliest ids in its place, (id, logprob) each
    """

    id: int
    text: str
    bytes: bytes
    logprob: float | None
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """The tokens of a prompt, all at once, before the first that is written; only where they were asked for."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompt (and source), how many of those were known already, and tokens written, the end included."""

    prompt: int
    cached: int
    written: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last that is heard of a request.

    reason   `end`: its last token is one of `ends`, and belongs to no text; `stop`: a stop string, or what a constraint
             asks for, is complete; `length`: the tokens asked for, or the context, are used up; `cancelled`, `failed`:
             `message` says why
    """

    reason: Reason
    usage: Usage
    message: str = ""


Event = Token | Read | Finished


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an engine may use.

    rows            answers written at once, of all models
    cache_bytes     of keys and values of what is being written, taken when a request is admitted
    prefix_bytes    of keys and values kept of prompts that were read; 0: none are
    waiting_tokens  to be read and written for those who wait, together: what is asked beyond is refused
    alternatives    most of them to a token
    idle_seconds    without a request after which a model's weights are let go, where it can be read again; None: never
    """

    rows: int = 16
    cache_bytes: int = 2 << 30
    prefix_bytes: int = 512 << 20
    waiting_tokens: int = 100_000
    alternatives: int = 20
    idle_seconds: float | None = None


class UnknownModel(TextmillError):
    """No model is served under this name."""

    def __init__(self, name: str, served: tuple[str, ...]) -> None:
        self.name = name
        super().__init__("no such model is served", where=name, advice=f"there is {', '.join(served)}")


class TooLong(TextmillError):
    """More tokens than the model reads: never cut."""

    def __init__(self, length: int, longest: int) -> None:
        self.length, self.longest = length, longest
        super().__init__(
            f"the prompt takes {length} tokens and the model reads {longest}", advice="shorten it"
        )


class Unwanted(Exception):
    """Nobody waits any more for what was asked."""


class Overloaded(TextmillError):
    """Too much waits already. retry_after: seconds after which there should be room again."""

    kind = "overloaded"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(
            "more is being asked than can be answered", advice=f"ask again in {retry_after:.0f} seconds"
        )
