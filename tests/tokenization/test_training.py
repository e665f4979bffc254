from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization import training
from textmill.tokenization.tokenizer import SPECIAL, Tokenizer
from textmill.tokenization.training import train

KINDS = ("bpe", "unigram", "wordpiece", "characters", "bytes")
LEARNING = ("bpe", "unigram", "wordpiece", "characters")
CODE = Path(argparse.__file__).read_text("utf-8")
WORDS = ("the", "cat", "sat", "on", "the", "mat", "and", "then", "the", "other", "cat", "sat", "there", "too")
TEXT = " ".join(WORDS[(i * i + i // 7) % len(WORDS)] + "ing" * (i % 3) + str(i % 5) for i in range(3000))
CHINESE = "我们学习语言模型，语言模型学习我们的语言。天气很好，我们学习。" * 40

AGAIN = """
import sys, json
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.training import train
texts = json.loads(sys.stdin.read())
for kind in ("bpe", "unigram", "wordpiece", "characters", "bytes"):
    print(train(TokenizerSpec(kind=kind, vocabulary=900), texts).id)
"""


@pytest.mark.long
def test_the_same_texts_give_the_same_file():
    """In other processes, too, whose hash tables are in another order."""
    texts = [TEXT, CHINESE, CODE]
    here = [train(TokenizerSpec(kind=kind, vocabulary=900), iter(texts)).id for kind in KINDS]
    assert len(set(here)) == len(KINDS)
    for threads in ("1", "3"):
        found = subprocess.run(
            [sys.executable, "-c", AGAIN],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path), "RAYON_NUM_THREADS": threads, "PATH": ""},
        )
        assert found.stdout.split() == here


@pytest.mark.parametrize("kind", LEARNING)
def test_the_vocabulary_is_never_larger_and_full_when_there_is_enough(kind):
    text = [CODE, CHINESE, "".join(chr(c) for c in range(0x4E00, 0x5400))]
    for size in (530, 600, 1200):
        tokenizer = train(TokenizerSpec(kind=kind, vocabulary=size), text)
        assert tokenizer.vocabulary == size
        assert len(tokenizer.special) == len(SPECIAL)


@pytest.mark.parametrize("kind", LEARNING)
def test_too_little_text_gives_what_could_be_learnt(kind):
    tokenizer = train(TokenizerSpec(kind=kind, vocabulary=5000), ["aé aé"])
    assert tokenizer.vocabulary < 600
    assert tokenizer.decode(tokenizer.encode("aé aé zß")) == "aé aé zß"
    assert len(tokenizer.encode("aé aé")) < 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_too_small_is_refused(kind):
    with pytest.raises(RecipeError, match=r"tokenizer\.vocabulary: .* set it to"):
        train(TokenizerSpec(kind=kind, vocabulary=256 + len(SPECIAL) - 1), [TEXT])


@pytest.mark.parametrize("kind", LEARNING)
def test_no_text_is_said(kind):
    for texts in ([], ["", ""]):
        with pytest.raises(TextmillError, match="no text"):
            train(TokenizerSpec(kind=kind, vocabulary=1000), texts)


def test_bytes_learn_nothing():
    one, two = (train(TokenizerSpec(kind="bytes"), texts) for texts in ([], [TEXT]))
    assert one.id == two.id
    assert one.vocabulary == 256 + len(SPECIAL)
    assert one.encode("aé").tolist() == [0x61, 0xC3, 0xA9]


def test_characters_are_the_commonest():
    tokenizer = train(TokenizerSpec(kind="characters", vocabulary=256 + 2 + len(SPECIAL)), ["中中国国国我"])
    assert tokenizer.encode("国中a").tolist() == [256, 257, ord("a")]
    assert len(tokenizer.encode("我")) == 3
    assert tokenizer.decode(tokenizer.encode("我爱国")) == "我爱国"


def test_no_more_text_is_read_than_asked_for():
    read = []

    def texts():
        for number in range(100):
            read.append(number)
            yield "中文" * 10  # 60 bytes

    limited = train(TokenizerSpec(kind="bpe", vocabulary=400, train_bytes=100), texts())
    assert read == [0, 1]
    assert limited.id == train(TokenizerSpec(kind="bpe", vocabulary=400), ["中文" * 10, "中文" * 6 + "中"]).id


def test_words_become_tokens():
    for kind in ("bpe", "unigram", "wordpiece"):
        tokenizer = train(TokenizerSpec(kind=kind, vocabulary=900), [TEXT, CHINESE])
        pieces = {
            tokenizer.token_bytes(token).decode("utf-8", "replace") for token in range(tokenizer.vocabulary)
        }
        assert {" the", " cat", "语言模型"} <= pieces, kind
        assert len(tokenizer.encode(TEXT)) < len(TEXT) / 2
        assert len(tokenizer.encode(CHINESE)) < len(CHINESE) / 2


def test_cuts():
    """No token crosses a cut: digits in threes, Chinese apart from Latin, spaces before a word together."""
    tokenizer = train(
        TokenizerSpec(kind="bpe", vocabulary=2000), ["x = 1234567\n        return Python语言\n" * 500]
    )
    pieces = [tokenizer.token_bytes(token).decode() for token in tokenizer.encode("x = 1234567").tolist()]
    assert pieces == ["x", " =", " ", "123", "456", "7"]
    pieces = [
        tokenizer.token_bytes(token).decode()
        for token in tokenizer.encode("        return Python语言\n").tolist()
    ]
    assert pieces == [" " * 7, " return", " Python", "语言", "\n"]


def test_an_existing_file_is_used_as_it_is(tmp_path):
    first = train(TokenizerSpec(kind="bpe", vocabulary=500), [TEXT])
    first.save(tmp_path / "tokenizer.json")
    spec = TokenizerSpec(kind="bpe", vocabulary=300, path=str(tmp_path / "tokenizer.json"))
    assert train(spec, ["other text"]).data == first.data


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    return {kind: train(TokenizerSpec(kind=kind, vocabulary=1000), [TEXT, CHINESE]) for kind in KINDS}


def hostile(size: int) -> dict[str, str]:
    import random

    chance = random.Random(0)
    return {
        "letters": "a" * size,
        "blanks": " " * size,
        "line ends": "\n" * size,
        "marks": "_" * size,
        "digits": "1" * size,
        "one ideograph": "中" * size,
        "ideographs": "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(size)),
        "random letters": "".join(chance.choice("abcdefgh") for _ in range(size)),
        "random bytes": chance.randbytes(size).decode("utf-8", "replace"),
        "accents": "e" + "\u0301" * (size - 1),
        "specials": "<|endoftext|>" * (size // 13),
    }


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_end(trained, kind, within):
    """Quadratic time would take minutes here."""
    with within(30):
        for text in hostile(100_000).values():
            assert trained[kind].decode(trained[kind].encode(text)) == text


@pytest.mark.figures
@pytest.mark.parametrize("kind", KINDS)
def test_time_grows_with_the_length_and_no_faster(trained, kind):
    """Processor time of a million characters beside a hundred thousand; quadratic time would be 100 times.

    The `tokenizers` library keeps some 100 bytes for each character of a text, which outgrow the caches on
    the way from one to the other: it is allowed twice as much.
    """
    allowed = 30 if trained[kind].engine.name == "tokenizers" else 15
    trained[kind].encode("x")
    small, large = hostile(100_000), hostile(1_000_000)
    for name in small:
        seconds = []
        for text in (small[name], large[name]):
            times = []
            for _ in range(3):
                start = time.process_time()
                trained[kind].encode(text)
                times.append(time.process_time() - start)
            seconds.append(min(times))
        assert seconds[1] < allowed * seconds[0] + 0.05, (name, seconds)
        assert seconds[1] < 5, (name, seconds)


@pytest.mark.figures
def test_loading_is_light(trained, tmp_path):
    trained["bpe"].save(tmp_path / "tokenizer.json")
    code = (
        "import sys, time, numpy\n"
        "start = time.perf_counter()\n"
        "from textmill.tokenization.tokenizer import Tokenizer\n"
        "Tokenizer.load(sys.argv[1]).encode('x')\n"
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    seconds = []
    for _ in range(3):
        found = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout.split()
        seconds.append(float(found[0]))
        assert found[1:] == ["False", "False"]
    assert min(seconds) < 0.3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["word ", "\n", "磨坊", "x" * 999, " ", "\r\n"]), max_size=400).map("".join))
def test_pieces_are_the_text_and_none_is_long(text):
    found = list(training.pieces(text * 3))
    assert "".join(found) == text * 3
    assert all(0 < len(piece) <= training.LONGEST_TEXT for piece in found)


def test_a_long_document_is_cut_between_words_and_gives_the_same_vocabulary():
    line = "the mill turns water into flour and flour into bread "
    long, lines = line * 5000, [line] * 5000
    assert all(piece.startswith((" ", "the")) for piece in training.pieces(long))
    spec = TokenizerSpec(vocabulary=300)
    learnt = [training.train(spec, texts) for texts in ([long], lines)]
    tokens = [{one.token_bytes(token) for token in range(one.vocabulary)} for one in learnt]
    assert len(tokens[0] & tokens[1]) >= 0.9 * len(tokens[0])
    assert training.train(spec, [long]).id == learnt[0].id


@pytest.mark.slow
def test_learning_from_one_long_document_takes_little_memory():
    program = (
        "import resource; from textmill.specs.recipe import TokenizerSpec\n"
        "from textmill.tokenization.training import train\n"
        "text = ' '.join(f'word{n % 5000}' for n in range(5_000_000))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "train(TokenizerSpec(vocabulary=4096), [text])\n"
        "print(len(text), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    size, used = map(int, run.stdout.split())
    assert size > 40_000_000
    assert used < 400  # MB
