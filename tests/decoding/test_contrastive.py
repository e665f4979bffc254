"""Contrastive search against its published formula, computed by hand with loops; and whatever the batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.decoding import contrastive
from textmill.decoding.generate import generate
from textmill.decoding.prompt import Prompt
from textmill.models.build import build
from textmill.models.ngram.model import NGram
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, NGramSpec, RecurrentSpec
from textmill.specs.position import LearnedPositions
from textmill.specs.recipe import GenerationSpec

END, VOCABULARY = 0, 40
SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 32}
SPECS = {
    "decoder": DecoderSpec(**SMALL, kv_heads=2),
    "learned": DecoderSpec(**SMALL, position=LearnedPositions()),
    "recurrent": RecurrentSpec(d_model=32, layers=1, context=32),
    "encoder-decoder": EncoderDecoderSpec(**SMALL),
}
SPEC = GenerationSpec(tokens=8, contrastive=0.6, top_k=5)


def made(name: str):
    model = build(SPECS[name], VOCABULARY, seed=3)
    for parameter in model.parameters():
        parameter.data.mul_(3 if parameter.ndim == 2 else 1)
    return model.eval()


@pytest.fixture(params=SPECS)
def named(request):
    return request.param, made(request.param)


def asked(name: str, ids: list[int]):
    return Prompt(ids, source=[7, 8, 9, 3]) if name == "encoder-decoder" else ids


@torch.no_grad()
def by_hand(model, name: str, prompt: list[int], spec: GenerationSpec) -> tuple[list[int], float]:
    """Equation 5, token by token: everything read anew for each candidate."""
    source = torch.tensor([[7, 8, 9, 3]]) if name == "encoder-decoder" else None

    def read(ids):
        inputs = torch.tensor([ids])
        return model.hidden(Batch(inputs, torch.full_like(inputs, IGNORE), source=source))[0]

    ids, total = list(prompt), 0.0
    while len(ids) - len(prompt) < spec.tokens:
        probabilities = model.logits(read(ids)[-1]).softmax(-1)
        best, chosen = -10.0, -1
        for token in probabilities.topk(spec.top_k).indices.tolist():
            *before, fresh = read([*ids, token])
            worst = max(float(torch.cosine_similarity(fresh, one, dim=0)) for one in before)
            score = (1 - spec.contrastive) * float(probabilities[token]) - spec.contrastive * worst
            if score > best:
                best, chosen = score, token
        ids.append(chosen)
        total += best
        if chosen == END:
            break
    written = ids[len(prompt) :]
    return written, total / len(written)


PROMPTS = [[5, 6, 7], [9], [11, 3, 11, 3, 11, 3]]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_the_formula(named, alpha):
    name, model = named
    spec = dataclasses.replace(SPEC, contrastive=alpha)
    found = contrastive.search(model, [asked(name, ids) for ids in PROMPTS], spec, ends=END)
    for ids, (answer,) in zip(PROMPTS, found, strict=True):
        written, score = by_hand(model, name, ids, spec)
        assert list(answer.ids) == written
        assert answer.score == pytest.approx(score, abs=1e-4)


def test_without_the_penalty_it_is_greedy():
    model = made("decoder")
    greedy = GenerationSpec(tokens=8, temperature=0, no_repeat_ngram=2)
    spec = dataclasses.replace(greedy, contrastive=0.0, top_k=3)
    written: dict[int, list[int]] = {}
    logprobs = [0.0] * len(PROMPTS)
    for piece in generate(model, PROMPTS, greedy, ends=END):
        written.setdefault(piece.row, []).append(piece.id)
        logprobs[piece.row] += piece.logprob
    for row, (answer,) in enumerate(contrastive.search(model, PROMPTS, spec, ends=END)):
        assert list(answer.ids) == written[row]
        assert answer.logprob == pytest.approx(logprobs[row], abs=1e-4)


@pytest.mark.parametrize("name", ["decoder", "learned"])
def test_the_context_is_the_limit(name):
    model = made(name)
    spec = dataclasses.replace(SPEC, tokens=100)
    (full,), (long,) = contrastive.search(model, [[4] * 30, [5] * 60], spec, ends=())
    assert (len(full.ids), full.cut, full.finish) == (2, 0, "length")
    assert (len(long.ids), long.cut) == (16, 44)
    alone = contrastive.search(model, [[5] * 60], spec, ends=())[0][0]
    assert alone.ids == long.ids


def test_what_cannot_be_done_is_said(toy):
    with pytest.raises(TextmillError, match="hidden states"):
        contrastive.search(toy(9), [[1]], SPEC, ends=END)
    with pytest.raises(TextmillError, match="hidden states"):
        contrastive.search(NGram(NGramSpec(), 9), [[1]], SPEC, ends=END)
    with pytest.raises(RecipeError, match="needs contrastive"):
        contrastive.search(made("decoder"), [[1]], GenerationSpec(), ends=END)
