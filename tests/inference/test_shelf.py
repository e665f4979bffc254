"""Models that are let go when nobody asks for them, and read again when somebody does: the same bytes."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from inference.asking import ask
from textmill.base.errors import TextmillError
from textmill.inference.engine import Engine
from textmill.inference.requests import Limits
from textmill.inference.served import Given
from textmill.inference.shelf import Group
from textmill.models import adapters, build
from textmill.models.pretrained import Pretrained
from textmill.nn.low_rank import LowRankLinear
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, RecurrentSpec
from textmill.specs.tuning import LoRATuning

SHAPE = {"d_model": 32, "heads": 2, "d_ff": 64, "context": 256}
SPECS = {
    "tied": DecoderSpec(layers=2, **SHAPE),
    "untied": DecoderSpec(layers=2, tied=False, **SHAPE),
    "translator": EncoderDecoderSpec(layers=1, decoder_layers=1, **SHAPE),
    "recurrent": RecurrentSpec(d_model=32, layers=1, context=256),
}


class Kept:
    """Findings, as a workspace keeps them."""

    def __init__(self):
        self.found, self.sought = {}, 0

    def out(self, about, facts, find):
        if about not in self.found:
            self.sought += 1
            self.found[about] = (facts, find())
        assert self.found[about][0] == facts
        return self.found[about][1]


@pytest.fixture
def begin():
    """Engines that end with the test."""
    made = []

    def start(*groups, idle=None, **settings):
        made.append(Engine(list(map(Group, groups)), Limits(rows=4, idle_seconds=idle), **settings))
        return made[-1]

    yield start
    for one in made:
        one.close()


def reading(tokenizer, spec, seed=1):
    """Reads one model, a new one each time."""

    def read():
        model = build.build(spec, tokenizer.vocabulary, seed=seed).eval()
        return {
            "mill": Given(
                Pretrained(model, tokenizer, spec, GenerationSpec(), {}), adapters.weights_id(model)
            )
        }

    return read


def until(true):
    """Wait for it, a minute at most."""
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come")


@pytest.mark.parametrize("kind", SPECS)
def test_a_model_that_was_let_go_answers_the_same_when_it_was_read_again(begin, tokenizer, kind):
    read = reading(tokenizer, SPECS[kind])
    more = {"source": (5, 6, 7)} if kind == "translator" else {}
    kept = Kept()
    engine = begin(read, idle=0.2, known=kept.out)
    first, _ = ask(engine, [5, 6, 7] * 30, spec={"seed": 3}, logprobs=3, **more)
    done = first.wait()
    until(lambda: not engine.figures()["models_loaded"])
    assert not engine.served["mill"].there
    assert all(one.is_meta for one in engine.served["mill"].pretrained.model.parameters())
    until(lambda: not engine.figures()["prefix_bytes"])
    again, _ = ask(engine, [5, 6, 7] * 30, spec={"seed": 3}, logprobs=3, **more)
    assert again.wait() == done
    assert again.tokens == first.tokens
    until(lambda: not engine.figures()["models_loaded"])
    more_than_once, _ = ask(engine, [5, 6, 7] * 30, spec={"seed": 3}, logprobs=3, **more)
    assert more_than_once.wait() == done
    assert more_than_once.tokens == first.tokens
    figures = engine.figures()
    assert min(figures["reloads"], figures["unloads"]) >= 2
    assert kept.sought == 1, "what was found out about it once holds"
    whole = Engine({"mill": read()["mill"].pretrained}, Limits(rows=4))
    plain, _ = ask(whole, [5, 6, 7] * 30, spec={"seed": 3}, logprobs=3, **more)
    plain.wait()
    whole.close()
    assert plain.tokens == first.tokens


def test_who_is_written_for_keeps_his_model_and_who_comes_while_it_is_read_waits(begin, tokenizer):
    gate, read = threading.Event(), reading(tokenizer, SPECS["tied"])
    times = []

    def slowly():
        if times:
            assert gate.wait(60)
        times.append(1)
        return read()

    engine = begin(slowly, idle=0.1)
    there = []

    def slow(event):
        time.sleep(0.01)
        there.append(engine.served["mill"].there)

    ask(engine, [5], spec={"tokens": 40}, then=slow)[0].wait()
    assert all(there)
    until(lambda: not engine.figures()["models_loaded"])
    waiting = [ask(engine, [5, 6], spec={"tokens": 4})[0] for _ in range(3)]
    time.sleep(0.3)
    assert engine.figures()["waiting"] == 3
    assert not any(one.events for one in waiting)
    with pytest.raises(TextmillError, match="no 999"):  # what is wrong is said without it
        ask(engine, [5], bias={999: 1.0})
    gate.set()
    assert len({one.wait() for one in waiting}) == 1
    until(lambda: len(times) >= 2)
    assert len(times) <= 1 + engine.figures()["unloads"], "it was read once for all of them"


def test_what_cannot_be_read_again_fails_and_the_next_request_tries_once_more(begin, tokenizer):
    state = {"read": reading(tokenizer, SPECS["tied"])}

    def now():
        return state["read"]()

    engine = begin(now, idle=0.1)
    first, _ = ask(engine, [5])
    first.wait()
    until(lambda: not engine.figures()["models_loaded"])

    def missing():
        raise TextmillError("is missing", where="model.safetensors")

    kept = state["read"]
    for read, said in ((missing, "is missing"), (reading(tokenizer, SPECS["tied"], seed=2), "another model")):
        state["read"] = read
        heard, _ = ask(engine, [5])
        done = heard.wait()
        assert (done.reason, said in done.message) == ("failed", True)
        with pytest.raises(TextmillError, match=said):
            engine.ask("mill", lambda model: model).result()
    state["read"] = kept
    again, _ = ask(engine, [5])
    assert again.wait().reason != "failed"
    assert again.tokens == first.tokens


def test_a_task_reads_its_model_again_too(begin, model_of):
    pretrained = model_of("classify")
    engine = begin(lambda: {"mood": Given(pretrained, "of a test")}, idle=0.1)
    records = [{"text": "the mill"}, {"text": "bread"}]
    said = engine.run("mood", records).result()
    until(lambda: not engine.figures()["models_loaded"])
    assert engine.run("mood", records).result() == said
    assert engine.figures()["reloads"] >= 1


def test_weights_are_there_once_for_a_base_and_its_adapters(begin, tokenizer):
    spec, given = SPECS["tied"], {}

    def read():
        base = reading(tokenizer, spec)()["mill"]
        given["mill"] = base
        for name, dora in (("plain", False), ("dora", True)):
            tuning = LoRATuning(rank=2, dora=dora)
            model = adapters.adapt(base.pretrained.model, tuning, seed=4).eval()
            for tensor in adapters.tensors(model).values():
                tensor.data += 0.05
            pretrained = Pretrained(model, tokenizer, spec, GenerationSpec(), {})
            given[name] = Given(pretrained, adapters.adapter_id(model, base.weights))
        return dict(given)

    whole = Engine({name: one.pretrained for name, one in read().items()}, Limits(rows=4))
    right = {name: ask(whole, [5, 6], model=name)[0] for name in given}
    for one in right.values():
        one.wait()
    whole.close()
    engine = begin(read, idle=0.1)
    for name, one in right.items():
        heard, _ = ask(engine, [5, 6], model=name)
        heard.wait()
        assert heard.tokens == one.tokens
    layers = [
        module for module in given["mill"].pretrained.model.modules() if isinstance(module, torch.nn.Linear)
    ]
    assert layers
    assert not any("weight" in layer._parameters for layer in layers)
    needed = {
        name: sum("weight" in one.frozen._parameters for one in given[name].pretrained.model.modules()
                  if isinstance(one, LowRankLinear))
        for name in ("plain", "dora")
    }  # fmt: skip
    assert needed["plain"] == 0
    assert needed["dora"] > 0, "its magnitudes are worked out with them"
    until(lambda: not engine.figures()["models_loaded"])
    assert ask(engine, [5, 6], model="dora")[0].wait().reason != "failed"
    assert engine.figures()["reloads"] >= 1
