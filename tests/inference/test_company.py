"""The same request gives the same bytes alone and in any company, whatever joins, leaves and was read before."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

import pytest
import torch

from inference.asking import ask
from textmill.inference.engine import Engine
from textmill.inference.requests import Limits
from textmill.models import adapters, build
from textmill.models.mixture import Mixture
from textmill.models.ngram.fit import fit
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import (
    DecoderSpec,
    EncoderDecoderSpec,
    NGramSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
)
from textmill.specs.position import LearnedPositions
from textmill.specs.tuning import LoRATuning, PrefixTuning, PromptTuning

CONTEXT = 160
DECODER = DecoderSpec(
    d_model=32, heads=4, kv_heads=2, d_ff=64, layers=2, context=CONTEXT, qk_norm=True, window=40
)
SPECS = {
    "decoder": DECODER,
    "gpt": DecoderSpec(
        d_model=32,
        heads=2,
        d_ff=96,
        layers=1,
        context=CONTEXT,
        position=LearnedPositions(),
        norm="layernorm",
        activation="gelu_tanh",
        bias="all",
    ),
    "translator": EncoderDecoderSpec(
        d_model=32, heads=2, d_ff=64, layers=1, decoder_layers=1, context=CONTEXT
    ),
    "recurrent": RecurrentSpec(d_model=16, hidden=24, layers=1, context=CONTEXT),
    "attentive": RecurrentEncoderDecoderSpec(d_model=16, hidden=24, layers=1, context=CONTEXT),
}
ADAPTED = ("adapter", "other adapter", "translator's")
SETTINGS = (
    {"temperature": 0},
    {"temperature": 1.2, "top_k": 40},
    {"top_p": 0.7, "repetition_penalty": 1.3},
    {"min_p": 0.05, "presence_penalty": 0.5, "no_repeat_ngram": 3},
    {"temperature": 0.6, "stop": ("mill", "ou")},
)


@pytest.fixture(scope="module")
def models(tokenizer):
    vocabulary = tokenizer.vocabulary
    found = {name: build.build(spec, vocabulary, seed=1).eval() for name, spec in SPECS.items()}
    draw = torch.Generator().manual_seed(2)
    ids = torch.randint(0, vocabulary, (3000,), generator=draw).numpy()
    ids[0] = ids[-1] = tokenizer.end
    found["n-gram"] = fit(NGramSpec(order=3, context=CONTEXT), ids, vocabulary, tokenizer.end)
    found["mixture"] = Mixture([found["decoder"], found["n-gram"]])
    found["adapter"] = adapters.adapt(
        found["decoder"], LoRATuning(rank=2, targets=("q", "up", "output")), seed=3
    )
    other = LoRATuning(rank=3, targets=("embedding", "v", "feedforward.down"), dora=False)
    found["other adapter"] = adapters.adapt(found["decoder"], other, seed=5)
    found["translator's"] = adapters.adapt(found["translator"], LoRATuning(rank=2, dora=True), seed=6)
    for name in ADAPTED:
        for _, low in adapters.additions_of(found[name]):
            low.b.data.normal_(generator=draw)
    found["soft prompt"] = adapters.adapt(found["decoder"], PromptTuning(tokens=5), seed=4)
    found["prefix"] = adapters.adapt(found["decoder"], PrefixTuning(tokens=3), seed=7)
    return {
        name: Pretrained(model.eval(), tokenizer, model.spec, GenerationSpec(), {})
        for name, model in found.items()
    }


@dataclass(frozen=True)
class Asked:
    """A request by its settings, so that it can be made again."""

    model: str
    ids: tuple[int, ...]
    more: dict

    def ask(self, engine):
        return ask(engine, self.ids, model=self.model, **self.more)


def some(draw: random.Random, models, number: int) -> list[Asked]:
    """Requests of mixed settings; many begin like others, so that what was read is used."""
    begun = [[draw.randrange(9, 300) for _ in range(130)] for _ in range(3)]
    made = []
    for _ in range(number):
        model = draw.choice([*models, *["decoder"] * 4])  # one that has often read the same
        length = draw.choice([1, 5, 40, 64, 90, 130])
        ids = tuple(draw.choice(begun)[:length])
        more = {
            "spec": {**draw.choice(SETTINGS), "seed": draw.randrange(5), "tokens": draw.choice([1, 6, 18])},
            "owner": draw.choice("ab"),
            "logprobs": draw.choice([None, 4]),
        }
        if models[model].reads_source:
            more["source"], ids = ids, ids[:1]
        if draw.random() < 0.2:
            more["bias"] = {draw.randrange(300): draw.uniform(-5, 5)}
        made.append(Asked(model, ids, more))
    return made


def check(models, weights: str, number: int, seed: int) -> None:
    draw = random.Random(seed)
    asked = some(draw, models, number)

    # 1. Alone: an engine that has room for one at a time, and knows nothing of what was read before.
    quiet = Engine(models, Limits(rows=1, prefix_bytes=0), weights=weights)
    alone = []
    for one in asked:
        heard, _ = one.ask(quiet)
        done = heard.wait()
        assert done.reason in ("end", "stop", "length"), done
        alone.append(heard)
    quiet.close()

    # 2. In company, in any order, beside others that come, are cancelled after some tokens, and go.
    engine = Engine(models, Limits(rows=7, prefix_bytes=200_000), weights=weights)
    assert all(served.deterministic for served in engine.served.values())
    order = list(range(number))
    draw.shuffle(order)
    found, others, slots = {}, [], threading.Semaphore(12)

    def leaving(after: int):
        tickets, count = [], [0]

        def then(event) -> None:
            count[0] += 1
            if count[0] >= after and tickets:
                tickets[0].cancel()

        return then, tickets

    for place in order:
        if draw.random() < 0.4:
            then, tickets = leaving(draw.randrange(1, 8))
            [other] = some(draw, models, 1)
            heard, ticket = ask(engine, other.ids, model=other.model, then=then, **other.more)
            tickets.append(ticket)
            others.append(heard)
            if draw.random() < 0.3:
                ticket.cancel()
        slots.acquire(timeout=5)
        heard, _ = asked[place].ask(engine)
        found[place] = heard
        threading.Thread(target=lambda heard=heard: (heard.wait(), slots.release())).start()
    for heard in (*found.values(), *others):
        heard.wait()

    # 3. Not a byte differs, and nothing is left.
    for place, heard in found.items():
        assert heard.tokens == alone[place].tokens, asked[place]
        assert heard.events[-1].reason == alone[place].events[-1].reason
    figures = engine.figures()
    assert figures["prefix_hits"] > 0
    assert [figures[name] for name in ("rows", "waiting", "waiting_tokens", "cache_bytes")] == [0] * 4
    assert engine.drain(10)
    engine.close()


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_a_request_gives_the_same_bytes_in_any_company(models, weights):
    torch.set_num_threads(1)
    check(models, weights, 30, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_a_thousand_requests_give_the_same_bytes_in_any_company(models, weights):
    check(models, weights, 500, seed=2)


def test_models_are_left_as_they_are(models):
    before = {name: adapters.weights_id(one.model) for name, one in models.items()}
    engine = Engine(models, Limits(rows=3))
    heard, _ = ask(engine, [7] * 70, model="decoder")
    heard.wait()
    engine.close()
    assert {name: adapters.weights_id(one.model) for name, one in models.items()} == before
    assert engine.served["adapter"].fingerprint != engine.served["decoder"].fingerprint
    base, adapted = (engine.served[name].model.blocks[0] for name in ("decoder", "adapter"))
    assert adapted.attention.qkv.base is base.attention.qkv, "one laid out base for all"
    assert adapted.feedforward.down is base.feedforward.down


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_rows_over_one_base_make_one_product_of_it(models, weights):
    over = ("decoder", "adapter", "other adapter", "soft prompt", "prefix")
    asked = {"ids": range(9, 30), "spec": {"tokens": 20, "seed": 3}, "logprobs": 3}
    alone = {}
    for name in over:
        engine = Engine({name: models[name]}, Limits(rows=1, prefix_bytes=0), weights=weights)
        heard, _ = ask(engine, model=name, **asked)
        heard.wait()
        engine.close()
        alone[name] = heard.tokens
    assert len({tuple(tokens) for tokens in alone.values()}) == len(over), "each says something else"

    engine = Engine(models, Limits(rows=8), weights=weights)
    company = engine.served["decoder"].company
    assert company.names == over
    assert engine.served["translator's"].company.names == ("translator", "translator's")
    assert engine.served["gpt"].company.names == ("gpt",)
    together = []
    layer = engine.served["decoder"].model.blocks[0].feedforward.up
    plain = getattr(layer, "base", layer)
    plain.register_forward_hook(lambda module, given, made: together.append(len(given[0])))
    hold = threading.Event()
    first, _ = ask(engine, [7], model="gpt", then=lambda event: hold.wait(60), spec={"tokens": 8})
    heard = {name: ask(engine, model=name, **asked)[0] for name in (*over, *over[::-1])}
    hold.set()
    for name, one in heard.items():
        one.wait()
        assert one.tokens == alone[name], name
    first.wait()
    engine.close()
    assert max(together) >= 5, "a step of all five models"
