"""Requests to the engine: what is heard of each, whoever else is answered."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest
import torch

from inference.asking import Heard, ask
from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.decoding.generate import generate
from textmill.decoding.stream import drawable
from textmill.inference.engine import Engine
from textmill.inference.requests import Constraint, Limits, Overloaded, Request, TooLong, UnknownModel
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
    made = Engine({"mill": decoder}, Limits(waiting_tokens=700))
    yield made
    made.close()


def test_an_answer_is_that_of_generation(engine, decoder, tokenizer):
    ids = tokenizer.encode("mill flour bread").tolist()
    for spec in ({"temperature": 0}, {"seed": 3}, {"seed": 4, "top_k": 5, "repetition_penalty": 1.2}):
        heard, _ = ask(engine, ids, spec=spec, logprobs=0)
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
    with pytest.raises(TextmillError, match="no 999"):
        ask(engine, [5], bias={999: 1.0})
    with pytest.raises(TextmillError, match="0 to 20"):
        ask(engine, [5], logprobs=21)


def test_a_prompt_is_told_token_by_token(engine, decoder, tokenizer):
    text = "mill flour bread " * 20
    ids = tokenizer.encode(text).tolist()
    assert len(ids) > 130
    heard, _ = ask(engine, ids, spec={"tokens": 0}, prompt_logprobs=True, logprobs=3)
    done = heard.wait()
    assert (done.reason, done.usage.written) == ("length", 0)
    assert "".join(token.text for token in heard.read) == text
    assert heard.read[0].logprob is None
    inputs = torch.tensor([ids])
    with torch.inference_mode():
        logp = decoder.model(Batch(inputs, inputs))[0].log_softmax(-1)
    expected = logp[:-1].gather(1, inputs[0, 1:, None])[:, 0].tolist()
    assert [token.logprob for token in heard.read[1:]] == pytest.approx(expected, abs=1e-4)
    for token, row in zip(heard.read[1:], logp, strict=False):
        best = row.topk(3)
        assert [id for id, _ in token.alternatives] == best.indices.tolist()
        assert [one for _, one in token.alternatives] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_a_bias_is_added_before_anything_else(engine):
    heard, _ = ask(engine, [5], spec={"tokens": 4, "temperature": 0}, bias={77: 1000.0})
    heard.wait()
    assert [token.id for token in heard.tokens] == [77] * 4


def test_a_prompt_that_was_read_is_not_read_again_and_gives_the_same_bytes(engine):
    ids = [5, 6, 7] * 60
    alone, first, _ = (ask(engine, ids, owner=owner, logprobs=5)[0] for owner in "aab")
    done = [one.wait() for one in (alone, first)]
    again, other = (ask(engine, ids, owner=owner, logprobs=5)[0] for owner in "ac")
    assert again.wait().usage.cached == 128
    assert other.wait().usage.cached == 0, "another's prefixes are not used"
    assert alone.tokens == first.tokens == again.tokens == other.tokens
    assert done[0].usage.cached == 0
    shorter, _ = ask(engine, ids[:100], owner="a")
    assert shorter.wait().usage.cached == 64


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}, "ok": {"type": "boolean"}},
    "required": ["n", "ok"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("constraint", "valid"),
    [
        (Constraint("json_schema", json.dumps(SCHEMA)), lambda text: set(json.loads(text)) == {"n", "ok"}),
        (Constraint("regex", "[ab]{3}-[0-9]{2}"), lambda text: re.fullmatch("[ab]{3}-[0-9]{2}", text)),
        (Constraint("grammar", 'start: "yes" | "no" " " "way"'), lambda text: text in ("yes", "no way")),
    ],
)
def test_a_finished_answer_is_what_it_must_be(engine, constraint, valid):
    pytest.importorskip("llguidance")
    finished = 0
    for seed in range(4):
        heard, _ = ask(
            engine, [5], constraint=constraint, spec={"tokens": 60, "seed": seed, "temperature": 1.5}
        )
        if heard.wait().reason != "length":
            finished += 1
            assert valid(heard.text), heard.text
    assert finished


def test_a_constraint_that_cannot_be_followed_says_so(engine):
    pytest.importorskip("llguidance")
    for constraint in (
        Constraint("regex", "(["),
        Constraint("json_schema", "{"),
        Constraint("json_schema", '{"type": 3}'),
        Constraint("grammar", "start: missing"),
    ):
        heard, _ = ask(engine, [5], constraint=constraint)
        done = heard.wait()
        assert done.reason == "failed"
        assert "cannot be followed" in done.message
    with pytest.raises(TextmillError, match="characters"):
        ask(engine, [5], constraint=Constraint("regex", "a" * 70_000))
    with pytest.raises(TextmillError, match="leave out stop strings"):
        ask(engine, [5], constraint=Constraint("regex", "a+"), spec={"stop": ("b",)})
    heard, _ = ask(engine, [6])
    assert heard.wait().reason in ("end", "length")


def test_a_cancelled_request_ends_and_the_next_is_answered(engine):
    started, asked, count = threading.Event(), [], 0

    def once(event):
        nonlocal count
        started.wait(60)
        count += 1
        if count == 3:
            asked[0].cancel()

    gone, ticket = ask(engine, [5], then=once, spec={"tokens": 200})
    asked.append(ticket)
    started.set()
    done = gone.wait()
    assert (done.reason, done.usage.written) == ("cancelled", 3), "it is heard before the next step"
    heard, _ = ask(engine, [6])
    heard.wait()
    assert engine.drain(60)


def test_a_cancelled_prompt_is_read_no_further_than_the_chunk(engine):
    hold = threading.Event()
    ask(engine, [7], then=lambda event: hold.wait(60), spec={"tokens": 8})  # a turn that lasts
    heard, ticket = ask(engine, [5] * 200, spec={"tokens": 1})
    before = engine.figures()["tokens_read"]
    ticket.cancel()
    hold.set()
    assert heard.wait().reason == "cancelled"
    assert engine.figures()["tokens_read"] - before <= 64 + 1


def test_answers_go_on_between_the_blocks_of_a_prompt_that_is_read(engine, decoder, monkeypatch):
    long = [5, 6, 8] * 66
    alone = [ask(engine, ids, spec={"tokens": tokens})[0] for ids, tokens in (([7], 40), (long, 3))]
    for heard in alone:
        heard.wait()
    monkeypatch.setattr("textmill.inference.engine._WAIT", 0.0)
    busy, late, before = Engine({"mill": decoder}, Limits()), [], []

    def then(event):
        if len(writing.events) == 2:
            late.append(
                ask(busy, long, spec={"tokens": 3}, then=lambda event: before.append(len(writing.events)))[0]
            )

    writing = Heard(then)
    spec = GenerationSpec(tokens=40)
    busy.submit(Request(model="mill", ids=(7,), spec=spec), writing)
    writing.wait()
    late[0].wait()
    busy.close()
    assert writing.tokens == alone[0].tokens
    assert late[0].tokens == alone[1].tokens
    assert before[0] - 2 >= 4 * SHAPE["layers"], "a step after each block of its four chunks"


def test_a_deadline_that_has_passed_ends_a_request(engine):
    heard, _ = ask(engine, [5], deadline=time.monotonic() - 1)
    assert heard.wait().reason == "cancelled"


def test_beyond_what_may_wait_it_is_refused(engine):
    hold = threading.Event()
    ask(engine, [7], then=lambda event: hold.wait(60))
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
