"""Streamed text is the whole text, cut where it should be, whatever the pieces."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from textmill.base.errors import TextmillError
from textmill.decoding.generate import generate
from textmill.decoding.stop_strings import TextStream
from textmill.decoding.stream import generate_text
from textmill.models.model import Generator
from textmill.nn.state import State
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.tokenization.tokenizer import StreamDecoder

END = 256
GREEDY = GenerationSpec(tokens=100, temperature=0)
LETTERS = st.text(alphabet="ab<é中🙂", max_size=30)


def cut(text: str, stops: tuple[str, ...]) -> str:
    """The whole text up to the stop string that is complete first; the longest where several are."""
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if done:
            return text[: end - max(map(len, done))]
    return text


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


class Utf8:
    """Whole characters out of bytes that come in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, data: bytes) -> str:
        return self._decoder.decode(data)

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


@settings(max_examples=300, deadline=None)
@given(
    LETTERS,
    st.lists(st.text(alphabet="ab<é中", max_size=4), max_size=3),
    st.lists(st.integers(0, 99), max_size=9),
)
def test_the_stream_is_the_whole_text_cut(text, stops, places):
    stream = TextStream(Utf8(), tuple(stops))
    out = "".join(stream.push(piece) for piece in pieces(text.encode(), places)) + stream.finish()
    assert out == cut(text, tuple(stops))
    assert stream.stopped == (cut(text, tuple(stops)) != text)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=20),
    st.lists(st.sampled_from(["\ufffd", "a", "\x00b"]), max_size=2),
    st.lists(st.integers(0, 99), max_size=9),
)
def test_bytes_that_are_no_text_come_out_as_in_one_piece(data, stops, places):
    stream = TextStream(Utf8(), tuple(stops))
    out = "".join(stream.push(piece) for piece in pieces(data, places)) + stream.finish()
    assert out == cut(data.decode("utf-8", "replace"), tuple(stops))


@settings(max_examples=200, deadline=None)
@given(LETTERS, st.lists(st.text(alphabet="ab<", min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_has_come_out_is_never_taken_back_and_never_held_too_long(text, stops):
    stream = TextStream(Utf8(), tuple(stops))
    out = ""
    for place, character in enumerate(text):
        out += stream.push(character.encode())
        if stream.stopped:
            break
        seen = text[: place + 1]
        held = seen[len(out) :]
        assert seen.startswith(out)
        assert not held or any(stop.startswith(held) for stop in stops)


class Bytes:
    """A tokenizer of one id a byte; 256 ends a text, 257 stands for three bytes that cross characters."""

    vocabulary, end, ends, prefix, suffix = END + 2, END, (END,), (), (END,)
    odd = "é!".encode()[1:] + "中".encode()[:1]

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32)

    def encode_many(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def token_bytes(self, token: int) -> bytes:
        return {256: b"", 257: self.odd}.get(token, bytes([token % 256]))

    def stream(self) -> StreamDecoder:
        return StreamDecoder(self)


class Script(Generator):
    """A model that writes a fixed text, one id after the other, whatever the prompt."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__()
        self.ids = [*ids, END]
        self.nothing = nn.Parameter(torch.zeros(1))
        self.spec, self.vocabulary = DecoderSpec(context=64), 258

    def _logits(self, rows: int, place: int) -> torch.Tensor:
        logits = torch.zeros(rows, 258)
        logits[:, self.ids[min(place, len(self.ids) - 1)]] = 9.0
        return logits

    def begin(self, batch, capacity):
        return self._logits(len(batch), 0), _Place(1)

    def step(self, tokens, state):
        return self._logits(len(tokens), state.place)[:, None], _Place(state.place + 1)


class _Place(State):
    def __init__(self, place: int) -> None:
        self.place = place

    def reorder(self, rows):
        return self


def spoken(text: str) -> Script:
    return Script(list(text.encode()))


def run(model, spec=GREEDY, prompts=("x",)):
    return list(generate_text(model, Bytes(), list(prompts), spec))


def test_characters_come_out_whole_and_the_end_says_so():
    out = run(spoken("né中!"))
    assert [piece.text for piece in out] == ["n", "é", "中", "!", ""]
    assert [piece.finish for piece in out] == [None] * 4 + ["end"]
    assert out[-1].tokens == len("né中!".encode()) + 1
    assert out[-1].logprob < 0


def test_a_stop_string_over_several_tokens_never_shows():
    spec = GenerationSpec(tokens=100, temperature=0, stop=("中文", "\n\n"))
    out = run(spoken("a\nb中c中文d"), spec)
    assert "".join(piece.text for piece in out) == "a\nb中c"
    assert out[-1].finish == "stop"
    assert all(piece.finish is None for piece in out[:-1])


def test_a_token_that_crosses_characters():
    out = run(Script([*"é".encode()[:1], 257, *"中".encode()[1:]]))
    assert "".join(piece.text for piece in out) == "é!中"


def test_text_held_back_comes_out_when_nothing_follows():
    spec = GenerationSpec(tokens=3, temperature=0, stop=("abcd",))
    out = run(spoken("abcx"), spec)
    assert "".join(piece.text for piece in out) == "abc"
    assert out[-1].finish == "length"
    broken = run(Script(list("é".encode()[:1])))
    assert "".join(piece.text for piece in broken) == "\ufffd"


def test_a_broken_character_that_completes_a_stop_string_stops():
    out = run(Script([97, 0xC3]), GenerationSpec(tokens=9, temperature=0, stop=("\ufffd",)))
    assert ("".join(piece.text for piece in out), out[-1].finish) == ("a", "stop")


def test_there_is_a_text_for_each_sample():
    texts = [[""] * 2 for _ in range(3)]
    for piece in generate_text(spoken("ok"), Bytes(), ["a", "", "b"], GREEDY, samples=2):
        texts[piece.row][piece.sample] += piece.text
    assert texts == [["ok"] * 2] * 3


def test_stop_strings_without_text_are_refused():
    with pytest.raises(TextmillError, match="stop strings need text"):
        list(generate(spoken("a"), [[1]], GenerationSpec(stop=("a",)), ends=END, context=8))
