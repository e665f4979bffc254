"""Requests to the engine: what is heard of each, whoever else is answered."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.decoding.generate import generate
from textmill.decoding.stream import drawable
from textmill.inference.engine import Engine
from textmill.inference.requests import (
    Finished,
    Limits,
    Overloaded,
    Request,
    Token,
    TooLong,
    UnknownModel,
)
from textmill.models import build
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec

SHAPE = {"d_model": 32, "heads": 2, "d_ff": 64, "layers": 2, "context": 256}


@pytest.fixture(scope="module")
def decoder(tokenizer):
    spec = DecoderSpec(**SHAPE)
    return Pretrained(
        build.build(spec, tokenizer.vocabulary, seed=1).eval(), tokenizer, spec, GenerationSpec(), {}
    )


@pytest.fixture
def engine(decoder):
    made = Engine({"mill": decoder}, Limits(waiting_tokens=2000))
    yield made
    made.close()


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events, self.over = [], threading.Event()

    def __call__(self, event) -> None:
        assert not self.over.is_set(), "nothing follows the end"
        self.events.append(event)
        if isinstance(event, Finished):
            self.over.set()

    def wait(self) -> Finished:
        assert self.over.wait(60)
        return self.events[-1]

    @property
    def tokens(self) -> list[Token]:
        return [event for event in self.events if isinstance(event, Token)]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


def ask(engine, ids, listener=None, **more):
    heard = Heard() if listener is None else listener
    spec = GenerationSpec(**{"tokens": 12, **more.pop("spec", {})})
    ticket = engine.submit(Request(model="mill", ids=tuple(ids), spec=spec, **more), heard)
    return heard, ticket


def test_an_answer_is_that_of_generation(engine, decoder, tokenizer):
    ids = tokenizer.encode("mill flour bread").tolist()
    for spec in ({"temperature": 0}, {"seed": 3}, {"seed": 4, "top_k": 5, "repetition_penalty": 1.2}):
        heard, _ = ask(engine, ids, spec=spec)
        done = heard.wait()
        whole = drawable(GenerationSpec(**{"tokens": 12, **spec}), decoder.model, tokenizer)
        pieces = list(generate(decoder.model, [ids], whole, ends=tokenizer.ends))
        assert [token.id for token in heard.tokens] == [piece.id for piece in pieces]
        assert [token.logprob for token in heard.tokens] == pytest.approx(
            [piece.logprob for piece in pieces], abs=1e-4
        )
        assert done.reason == pieces[-1].finish
        assert (done.usage.prompt, done.usage.written) == (len(ids), len(pieces))
        written = [token.id for token in heard.tokens if token.id not in tokenizer.ends]
        assert heard.text == tokenizer.decode(written)
        assert all(token.bytes == tokenizer.token_bytes(token.id) for token in heard.tokens)


def test_a_stop_string_ends_an_answer_and_is_no_part_of_it(engine, tokenizer):
    ids = tokenizer.encode("mill").tolist()
    whole, _ = ask(engine, ids, spec={"seed": 5, "tokens": 30})
    whole.wait()
    stop = whole.text[10:13]
    heard, _ = ask(engine, ids, spec={"seed": 5, "tokens": 30, "stop": (stop,)})
    assert heard.wait().reason == "stop"
    assert heard.text == whole.text[: whole.text.index(stop)]


def test_what_cannot_be_done_is_said_at_once(engine, tokenizer):
    with pytest.raises(UnknownModel, match="mill"):
        engine.submit(Request(model="none", ids=(1,), spec=GenerationSpec()), Heard())
    with pytest.raises(TooLong) as caught:
        ask(engine, [5] * 300)
    assert (caught.value.length, caught.value.longest) == (300, 256)
    with pytest.raises(TextmillError, match="no source"):
        ask(engine, [5], source=(4, 5))
    with pytest.raises(TextmillError, match="searched for"):
        ask(engine, [5], spec={"beams": 3})


def test_a_cancelled_request_ends_and_the_next_is_answered(engine):
    gone, asked = Heard(), []

    def once(event):
        gone(event)
        if len(gone.events) == 3:
            asked[0].cancel()

    started = threading.Event()
    ask(engine, [7], lambda event: started.wait(60))
    asked.append(ask(engine, [5], once, spec={"tokens": 200})[1])
    started.set()
    assert gone.wait().reason == "cancelled"
    assert len(gone.tokens) <= 4
    heard, _ = ask(engine, [6])
    heard.wait()
    assert engine.drain(60)


def test_a_deadline_that_has_passed_ends_a_request(engine):
    heard, _ = ask(engine, [5], deadline=time.monotonic() - 1)
    assert heard.wait().reason == "cancelled"


def test_beyond_what_may_wait_it_is_refused(engine):
    hold = threading.Event()
    ask(engine, [7], lambda event: hold.wait(60))
    taken, refused = [], None
    for _ in range(40):
        try:
            taken.append(ask(engine, [5], spec={"tokens": 100})[0])
        except Overloaded as error:
            refused = error
            break
    assert refused is not None
    assert refused.retry_after > 0
    hold.set()
    assert all(heard.wait().reason in ("end", "length") for heard in taken), "what was taken is answered"
    assert engine.drain(60)
    figures = engine.figures()
    assert figures["rows"] == figures["waiting"] == figures["waiting_tokens"] == figures["cache_bytes"] == 0


def test_tasks_are_done_beside(model_of):
    engine = Engine({"mood": model_of("classify")})
    said = engine.run("mood", [{"text": "mill flour"}, {"text": ""}]).result(60)
    assert said[0].label in ("bad", "good", "so so")
    assert said[1].reason == "the text is empty"
    with pytest.raises(TextmillError, match="writes no text"):
        engine.submit(Request(model="mood", ids=(1,), spec=GenerationSpec()), Heard())
    engine.close()
    assert not torch.is_inference_mode_enabled()
