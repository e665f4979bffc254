"""What the index promises of speed and memory, on a generated corpus; benchmarks/index.py measures it beside a peer."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from helpers.clock import median_seconds
from textmill.index.build import build
from textmill.index.search import Index

pytestmark = pytest.mark.figures

MILLIONS = 8


class Tokens:
    """Zipf-like ids in documents of 1000 tokens, mapped from a file."""

    def __init__(self, path):
        self.vocabulary, self.end = 16384, 0
        if not path.exists():
            draws = np.random.default_rng(0).random(MILLIONS * 1_000_000)
            ids = (self.vocabulary**draws).astype("<u2")
            ids[999::1000] = 0
            ids.tofile(path)
        self.ids = np.memmap(path, dtype="<u2", mode="r")
        self.offsets = np.arange(0, len(self.ids) + 1, 1000, dtype=np.int64)
        self.document_ids = np.zeros((len(self.offsets) - 1, 16), dtype=np.uint8)
        self.sources = ["generated"] * len(self.document_ids)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return Tokens(tmp_path_factory.mktemp("tokens") / "tokens.bin")


def test_three_million_tokens_a_second_are_sorted_and_a_count_takes_under_50_microseconds(
    tokens, tmp_path, monkeypatch
):
    import pydivsufsort

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    spent, sort = [], pydivsufsort.divsufsort

    def timed(data):
        start = time.process_time()
        result = sort(data)
        spent.append(time.process_time() - start)
        return result

    monkeypatch.setattr(pydivsufsort, "divsufsort", timed)
    (tmp_path / "index").mkdir()
    build(tmp_path / "index", tokens, tokens.sources, finished=tmp_path / "finished", shard_bytes=1 << 23)
    assert MILLIONS / sum(spent) > 3
    index = Index(tmp_path / "index")
    assert len(index.shards) == 2
    rng = random.Random(0)
    starts = ((rng.randrange(len(tokens.ids) - 10), 2 + number % 8) for number in range(3000))
    runs = [tokens.ids[start : start + length].tolist() for start, length in starts]
    assert median_seconds(index.count, runs) < 50e-6


PEAK = """
import importlib.util, resource, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parents[1]))
spec = importlib.util.spec_from_file_location("figures", sys.argv[1])
figures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(figures)
import pydivsufsort
tokens, folder = figures.Tokens(Path(sys.argv[2])), Path(sys.argv[3])
folder.mkdir()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
figures.build(folder, tokens, tokens.sources, finished=folder / "finished", shard_bytes=int(sys.argv[4]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_is_bounded_by_the_size_of_a_shard(tokens, tmp_path):
    def peak(shard_bytes):
        command = [sys.executable, "-c", PEAK, __file__, tokens.ids.filename, tmp_path / str(shard_bytes)]
        result = subprocess.run([*command, str(shard_bytes)], capture_output=True, text=True, check=True)
        return int(result.stdout)

    corpus, small = tokens.ids.nbytes, 1 << 20
    assert peak(small) < 6 * small + corpus + (
        30 << 20
    )  # mapped tokens count as memory, though they may be dropped
    assert peak(1 << 30) < 7 * corpus + (60 << 20)
