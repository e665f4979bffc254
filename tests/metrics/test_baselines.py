"""Baselines against hand computation and against the compressors called directly."""

from __future__ import annotations

import lzma
import random
import zlib

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.metrics.baselines import compressors, tail, unigram


def words(count: int, seed: int) -> str:
    source = random.Random(seed)
    lexicon = [f"{source.choice('aeioubcd')}{number:x}" for number in range(300)]
    return " ".join(source.choice(lexicon) for _ in range(count))


def test_unigram_by_hand():
    # N = 4, V = 3: p(0) = 3/7, p(1) = 2/7 (twice and once seen, plus one), p(2) = 2/7.
    train, test = np.array([0, 0, 1, 2], dtype=np.uint16), np.array([0, 2, 2], dtype=np.uint16)
    score = unigram(train, test, np.array([0, 2, 3]), np.array([3, 2]), 3)
    bits = -np.log2(3 / 7) - 2 * np.log2(2 / 7)
    assert score.value == pytest.approx(bits / 5)
    assert score.low <= score.value <= score.high
    assert (score.unit, score.n) == ("bits/byte", 2)
    assert "N:4|V:3" in score.signature


def test_unigram_is_a_distribution_whatever_was_seen():
    """The cost of every id once, as probabilities, adds up to one."""
    train = np.array([5, 5, 5, 1])
    costs = [
        unigram(train, np.array([token]), np.array([0, 1]), np.array([1]), 7).value for token in range(7)
    ]
    assert sum(2.0**-cost for cost in costs) == pytest.approx(1)


def test_compressors_equal_the_difference_of_two_lengths():
    train, test = [words(3000, 1), words(2000, 2)], [words(400, 1), words(300, 3)]
    known = "".join(text + "\0" for text in train).encode()
    both = known + "".join(text + "\0" for text in test).encode()
    size = sum(len(text.encode()) for text in test)
    scores = compressors(["xz", "zstd"], train, test)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
    lengths = [len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters)) for data in (both, known)]
    assert scores["xz"].value == pytest.approx(8 * (lengths[0] - lengths[1]) / size)
    codec = pyarrow.Codec("zstd", compression_level=20)
    lengths = [len(codec.compress(data, asbytes=True)) for data in (both, known)]
    assert scores["zstd"].value == pytest.approx(8 * (lengths[0] - lengths[1]) / size)
    assert scores["xz"].signature == f"xz|lzma2|preset:6|dict:1MiB|conditioned:{len(known)} bytes|documents:2"
    assert scores["zstd"].low is None


@pytest.mark.long
def test_the_training_text_helps_and_reaches_back_far():
    """A text seen long before, over more than a megabyte of others, costs next to nothing; unseen, it does not."""
    source = random.Random(0)
    noise = "".join(chr(source.randrange(0x4E00, 0x9FA5)) for _ in range(400_000))  # 1.2 MB
    passage = words(800, 9)
    seen = compressors(["xz", "zstd"], [passage, noise], [passage])
    unseen = compressors(["xz", "zstd"], [noise], [passage])
    alone = 8 * len(zlib.compress(passage.encode(), 9)) / len(passage.encode())
    for name in ("xz", "zstd"):
        assert seen[name].value < 0.1
        assert 0.5 * alone < unseen[name].value < 1.5 * alone


def test_the_limit_keeps_the_newest_text():
    passage = words(500, 4)
    late = compressors(["xz"], [words(4000, 5), passage], [passage], limit=len(passage) + 1)
    early = compressors(["xz"], [passage, words(4000, 5)], [passage], limit=2000)
    assert late["xz"].value < 0.2 < early["xz"].value
    assert f"conditioned:{len(passage) + 1} bytes" in late["xz"].signature
    assert compressors(["zstd"], [passage], [passage], limit=0)["zstd"].value > 1


@given(st.lists(st.text(max_size=20), max_size=8), st.integers(0, 60))
def test_the_tail_is_the_end_of_everything(documents, limit):
    whole = "".join(text + "\0" for text in documents).encode("utf-8", "surrogatepass")
    assert tail(documents, limit) == whole[max(0, len(whole) - limit) :]


def test_nothing_to_score_is_refused():
    with pytest.raises(TextmillError, match="no test text"):
        compressors(["xz"], ["a"], [])
    with pytest.raises(TextmillError, match="no test text"):
        unigram(np.array([1]), np.array([], dtype=int), np.array([0]), np.array([]), 2)


@pytest.mark.slow
@pytest.mark.figures
def test_sixteen_megabytes_take_half_a_minute_of_two_cores():
    import sysconfig
    import time
    from pathlib import Path

    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    started = time.process_time()  # of all threads, so that a busy machine does not decide
    scores = compressors(["xz", "zstd"], texts[::2], texts[1::40])
    assert time.process_time() - started < 60
    assert all(0.5 < score.value < 3 for score in scores.values())
