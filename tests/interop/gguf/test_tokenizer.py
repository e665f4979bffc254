"""Tokenizers inside GGUF files: the same ids as from the tokenizer.json they mean, out and in again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.gguf.tokenizer import assumed, read_tokenizer, template, write_tokenizer
from textmill.tokenization import json_read, load
from textmill.tokenization.engines import LETTER_OF_BYTE
from textmill.tokenization.json_build import PRE

PIECES = ["▁", *"abcdefghijklmnopqrstuvwxyz磨坊", "th", "▁th", "▁the", "in", "▁m", "ill", "il", "▁mill", "er"]
TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES, "<tool>", "<pad>"]
TYPES = [2, 3, 3, *[6] * 256, *[1] * len(PIECES), 4, 3]
SCORES = [0.0] * 259 + [-float(number) for number in range(len(PIECES) + 2)]
TEXTS = ["the mill thinner", " the  mill", "磨坊 é\n<s> </s>", "there", "", "a<tool>b <pad>", "\U0001f600x"]


def sentencepiece(**more):
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.scores": np.array(SCORES, np.float32),
        "tokenizer.ggml.token_type": np.array(TYPES, np.int32),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": len(TOKENS) - 1,
    } | {f"tokenizer.ggml.{name}": value for name, value in more.items()}


def as_numpy(metadata):
    """Written metadata as they are read."""
    return {
        key: np.array(value) if isinstance(value, list) and not isinstance(value[0], str) else value
        for key, value in metadata.items()
    }


@pytest.mark.parametrize("blank", [True, False])
def test_sentencepiece_is_its_document(blank):
    """Made from lists, the library's tokenizer is the one it makes of the tokenizer.json that is saved."""
    found = read_tokenizer(sentencepiece(add_space_prefix=blank), "a.gguf")
    document = json_read.reference(found.data, "saved")
    assert json.loads(document.to_str()) == json.loads(found.reference.to_str())
    for special in (True, False):
        document.encode_special_tokens = found.reference.encode_special_tokens = special
        for text in TEXTS:
            assert found.reference.encode(text).ids == document.encode(text).ids
    assert (found.prefix, found.suffix, found.ends) == ((1,), (), (2,))
    assert (found.end, found.pad, found.start) == (2, len(TOKENS) - 1, 1)
    assert found.decode(found.encode("the mill 磨坊 é")) == "the mill 磨坊 é"


@pytest.mark.parametrize("blank", [True, False])
def test_sentencepiece_out_and_in_again(blank, tmp_path):
    one = read_tokenizer(sentencepiece(add_space_prefix=blank), "a.gguf")
    written = write_tokenizer(one, len(TOKENS) + 5, None)
    assert written.note == ""
    assert written.metadata["tokenizer.ggml.add_space_prefix"] is blank
    again = read_tokenizer(as_numpy(written.metadata), "b.gguf")
    one.save(tmp_path)  # and by way of a directory
    for other in (again, load.load(tmp_path)):
        assert (other.prefix, other.ends, other.pad) == (one.prefix, one.ends, one.pad)
        for text in TEXTS:
            assert other.encode(text).tolist() == one.encode(text).tolist()


def test_what_goes_around_a_text():
    read = read_tokenizer
    assert read(sentencepiece(add_bos_token=False), "").prefix == ()
    assert read(sentencepiece(add_eos_token=True), "").suffix == (2,)
    assert read(sentencepiece(eot_token_id=5), "").ends == (2, 5)


def byte_level(pre, **more):
    merges = ["t h", "th e", "Ġ the", "i l", "il l", "m ill", "Ġ m"]
    letters = list(LETTER_OF_BYTE)
    tokens = [*letters, *(merge.replace(" ", "") for merge in merges), "<|im_end|>", "<|endoftext|>"]
    types = [1] * (len(tokens) - 2) + [3, 3]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
    } | more


@pytest.mark.parametrize("pre", PRE)
def test_byte_level_out_and_in_again(pre):
    one = read_tokenizer(byte_level(pre), "a.gguf")
    text = "the mill's 12345 <|endoftext|>\n\n 磨坊 \U0001f600"
    assert one.decode(one.encode(text)) == text
    assert set(one.ends) == {263, 264}  # an end of a turn ends an answer too
    written = write_tokenizer(one, 265, "{{ x }}")
    assert written.note == ""
    again = read_tokenizer(as_numpy(written.metadata), "b.gguf")
    assert again.encode(text).tolist() == one.encode(text).tolist()
    assert (again.end, again.ends) == (one.end, one.ends)
    assert template(written.metadata) == "{{ x }}"


WRONG = {
    "scores of other tokens": (sentencepiece(scores=np.zeros(3, np.float32)), "one number per token"),
    "no scores": ({**sentencepiece(), "tokenizer.ggml.scores": None}, "scores"),
    "a token twice": (sentencepiece(tokens=[*TOKENS[:-1], "<s>"]), "twice"),
    "an id beyond the end": (sentencepiece(bos_token_id=10**6), "not an id"),
    "an id that is a text": (sentencepiece(bos_token_id="one"), "not an id"),
    "tokens that are numbers": (sentencepiece(tokens=[1, 2]), "tokens"),
    "no merges": ({**byte_level("gpt-2"), "tokenizer.ggml.merges": None}, "merges"),
    "a merge of one": (byte_level("gpt-2", **{"tokenizer.ggml.merges": ["th"]}), "merge"),
    "a merge that makes nothing": (byte_level("gpt-2", **{"tokenizer.ggml.merges": ["z z"]}), "merge"),
    "an unknown way to cut": (byte_level("zebra"), "zebra"),
    "no kind": ({**sentencepiece(), "tokenizer.ggml.model": None}, "not read here"),
}


@pytest.mark.parametrize("case", WRONG)
def test_lists_that_are_no_tokenizer(case):
    metadata, message = WRONG[case]
    with pytest.raises(TextmillError, match=message) as caught:
        read_tokenizer({key: value for key, value in metadata.items() if value is not None}, "a.gguf")
    assert "a.gguf" in str(caught.value)


def test_more_tokens_than_the_model_knows():
    one = read_tokenizer(byte_level("gpt-2"), "a.gguf")
    with pytest.raises(TextmillError, match="the model knows 100"):
        write_tokenizer(one, 100, None)


def test_damaged_is_damaged():
    with pytest.raises(DamagedError):
        read_tokenizer(sentencepiece(tokens=[*TOKENS[:-1], "<s>"]), "a.gguf")


def test_a_file_that_does_not_say_how_text_is_cut_says_so_itself():
    silent = {key: value for key, value in byte_level("qwen2").items() if not key.endswith(".pre")}
    assert read_tokenizer(silent, "").encode("the mill").tolist() == (
        read_tokenizer(byte_level("gpt-2"), "").encode("the mill").tolist()
    )
    assert "tokenizer.ggml.pre" in assumed(silent, "llama")
    assert assumed(silent, "gpt2") is None  # there has been one way only
    assert assumed(byte_level("qwen2"), "llama") is None
    assert assumed(sentencepiece(), "llama") is None
