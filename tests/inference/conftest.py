"""Small models of every task, with weights of chance: what is said of a record is computed, not learnt."""

from __future__ import annotations

import random

import pytest
import torch

from textmill.models import build
from textmill.models.heads import attach
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.model import EncoderDecoderSpec, EncoderSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.training import train

WORDS = [
    "mill",
    "flour",
    "bread",
    "wind",
    "river",
    "grain",
    "stone",
    "wheel",
    "sack",
    "field",
    "磨坊",
    "面粉",
    "Delft",
]
CONTEXT = 40
SHAPE = {"d_model": 16, "heads": 2, "d_ff": 32, "context": CONTEXT}
TAGS = ("B-PLACE", "I-PLACE", "O", "B-NAME", "I-NAME")
HEADS = {
    "classify": ClassifyHead(labels=("bad", "good", "so so"), pooling="mean"),
    "several": ClassifyHead(labels=("a", "b", "c"), multiple=True, pooling="mean"),
    "regress": RegressHead(pooling="mean"),
    "tag": TagHead(labels=TAGS),
    "tag crf": TagHead(labels=TAGS, crf=True),
    "answer": SpanHead(),
}


def texts(number: int, longest: int = 60) -> list[str]:
    draw = random.Random(number)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(number)]


@pytest.fixture(scope="session")
def tokenizer():
    torch.set_num_threads(1)
    return train(TokenizerSpec(vocabulary=300), texts(200))


@pytest.fixture(scope="session")
def model_of(tokenizer):
    """A function from the name of a head, or `translate`, to a model of it."""
    made = {}

    def make(name: str) -> Pretrained:
        if name not in made:
            if name == "translate":
                spec = EncoderDecoderSpec(layers=1, decoder_layers=1, **SHAPE)
                model, info = build.build(spec, tokenizer.vocabulary, seed=1), {"objective": "pairs"}
            else:
                spec = EncoderSpec(layers=1, **SHAPE)
                body = build.build(spec, tokenizer.vocabulary, seed=1)
                model, info = attach(body, HEADS[name], seed=2), {"words": "spaces"}
                draw = torch.Generator().manual_seed(3)
                for parameter in model.head.parameters():  # so that not all is said alike
                    parameter.data = torch.randn(parameter.shape, generator=draw)
            made[name] = Pretrained(model.eval(), tokenizer, spec, GenerationSpec(tokens=6), info)
        return made[name]

    return make


def records(name: str, number: int = 40) -> list[dict[str, str]]:
    """Records that a model of this name reads, some longer than it reads at once."""
    longest = 8 if name == "translate" else 60
    role = {"translate": "source", "answer": "passage"}.get(name, "text")
    made = [{role: text} for text in texts(number, longest)]
    return [{**one, "question": "where is it"} for one in made] if name == "answer" else made
