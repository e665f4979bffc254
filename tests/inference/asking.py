"""What tests of the engine ask, and how they listen."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from textmill.inference.requests import Event, Finished, Read, Request, Token
from textmill.specs.generation import GenerationSpec


@dataclass
class Heard:
    """A listener that keeps what it hears; `then` is called with each."""

    then: object = None
    events: list[Event] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        assert not self.over.is_set(), "nothing follows the end"
        self.events.append(event)
        if isinstance(event, Finished):
            self.over.set()
        elif callable(self.then):
            self.then(event)

    def wait(self) -> Finished:
        assert self.over.wait(120)
        return self.events[-1]

    @property
    def tokens(self) -> list[Token]:
        return [event for event in self.events if isinstance(event, Token)]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def read(self) -> tuple[Token, ...]:
        [read] = [event for event in self.events if isinstance(event, Read)]
        return read.tokens


def ask(engine, ids, *, model="mill", then=None, spec=None, **more):
    """(what is heard of a request, its ticket)."""
    heard = Heard(then)
    spec = GenerationSpec(**{"tokens": 12, **(spec or {})})
    return heard, engine.submit(Request(model=model, ids=tuple(ids), spec=spec, **more), heard)
