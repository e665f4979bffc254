"""What is kept of prompts, and what the test at load sees."""

from __future__ import annotations

import torch

from textmill.inference.prefixes import CHUNK, Prefixes, chain
from textmill.inference.served import alike
from textmill.models import build
from textmill.models.decoder import Decoder
from textmill.nn.cache import LayerCache
from textmill.specs.model import DecoderSpec


def chunk(rows: int = 1) -> list[LayerCache]:
    return [LayerCache(torch.zeros(1, rows, CHUNK, 4), torch.zeros(1, rows, CHUNK, 4))]


SIZE = 2 * CHUNK * 4 * 4  # bytes of one


def test_keys_are_of_all_that_stands_before_and_of_whose_they_are():
    ids = list(range(200))
    keys = list(chain("a", ids))
    assert len(keys) == 3
    assert list(chain("a", ids[:192])) == keys
    assert next(iter(chain("a", [*ids[:64], 9, *ids[65:]]))) == keys[0]
    assert not set(chain("a", [9, *ids[1:]])) & set(keys)
    assert not set(chain("b", ids)) & set(keys)


def test_what_was_used_longest_ago_gives_way():
    known = Prefixes(3 * SIZE)
    keys = list(chain("", range(64 * 4)))
    for key in keys[:3]:
        known.keep(key, chunk())
    assert known.bytes == 3 * SIZE
    assert len(known.longest(keys)) == 3
    known.keep(keys[3], chunk())
    assert known.bytes == 3 * SIZE
    assert len(known.longest(keys)) == 2, "a chunk outlives those behind it"
    assert (known.hits, known.misses) == (5, 3)
    known.keep(b"large", chunk(4))
    assert known.bytes == 3 * SIZE, "what is larger than all there is room for drives nothing out"


class Leaning(Decoder):
    """A decoder whose rows look at how many they are."""

    def step_apart(self, tokens, states):
        logits, states = super().step_apart(tokens, states)
        return logits + 1e-6 * (len(tokens) > 4), states


def test_the_test_at_load_sees_a_row_that_depends_on_the_others():
    spec = DecoderSpec(d_model=32, heads=2, d_ff=64, layers=1, context=64)
    model = build.build(spec, 300, seed=1).eval()
    leaning = Leaning(spec, 300).eval()
    leaning.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert not alike(leaning, 6)
        assert alike(leaning, 4) == alike(model, 4), "it leans from five rows on"
