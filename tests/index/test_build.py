"""Shards are made once for what they hold, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from textmill.base.errors import DamagedError
from textmill.base.files import sha256_file
from textmill.index import build as building
from textmill.index.search import Index


@pytest.fixture
def sorts(monkeypatch):
    """Counts how many shards are sorted."""
    made = []
    real = building._sort
    monkeypatch.setattr(building, "_sort", lambda *arguments: made.append(1) or real(*arguments))
    return made


def documents(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 8, size=20).tolist() for _ in range(count)]


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()
    }


def test_the_suffixes_are_sorted(corpus_of, fresh):
    for vocabulary in (8, 70000):
        index = corpus_of(documents(9), vocabulary).index(fresh(), 100)
        assert len(index.shards) == 3
        for shard in index.shards:
            suffixes = [tuple(shard.ids[place:].tolist()) for place in shard.suffixes]
            assert suffixes == sorted(suffixes)
            assert sorted(shard.suffixes.tolist()) == list(range(shard.size))


def test_a_document_longer_than_a_shard_has_one_of_its_own(corpus_of, fresh):
    index = corpus_of([[1] * 5, [2] * 50, [3] * 5, [4] * 5]).index(fresh(), 12)
    assert [shard.documents for shard in index.shards] == [1, 1, 2]


def test_finished_shards_are_not_made_again(corpus_of, fresh, sorts, tmp_path):
    corpus, kept = corpus_of(documents(10)), tmp_path / "kept"
    told = []

    def stop(done, total):
        told.append((done, total))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.index(fresh(), 50, finished=kept, tell=stop)
    assert (told, len(sorts)) == ([(42, 210), (84, 210)], 2)
    folder = fresh()
    corpus.index(folder, 50, finished=kept)
    assert len(sorts) == 5
    alone = fresh()
    corpus.index(alone, 50, finished=tmp_path / "other")
    assert hashes(folder) == hashes(alone)
    building.forget(folder, kept)
    assert list(kept.iterdir()) == []
    Index(folder).verify()


def test_a_grown_corpus_makes_its_end_only(corpus_of, fresh, sorts):
    before, folder = documents(10), fresh()
    corpus_of(before).index(folder, 50, finished=fresh())
    assert len(sorts) == 5
    after = corpus_of([*before, *documents(3, seed=1)])
    index = after.index(fresh(), 50, finished=fresh(), known=[folder, folder / "gone"])
    assert len(sorts) == 7
    run = after.documents[11][:4]
    assert index.count(run) == len(after.places(run))


def test_a_damaged_shard_is_not_used_again(corpus_of, fresh, sorts):
    corpus, folder = corpus_of(documents(4)), fresh()
    corpus.index(folder, finished=fresh())
    path = folder / "shard-00000" / "suffixes.bin"
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    corpus.index(fresh(), finished=fresh(), known=[folder]).verify()
    assert len(sorts) == 2


def test_where_links_are_refused_shards_are_copied(corpus_of, fresh, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    corpus_of(documents(4)).index(fresh(), 50).verify()


def test_ids_beyond_the_vocabulary_and_missing_ends_are_damage(corpus_of, fresh):
    with pytest.raises(DamagedError, match="ids of 8 and more"):
        corpus_of([[1, 9]], vocabulary=8).index(fresh())
    corpus = corpus_of([[1, 2]])
    corpus.ids[-1] = 3
    with pytest.raises(DamagedError, match="end-of-text"):
        corpus.index(fresh())
    corpus = corpus_of([[1, 2], [3]])
    corpus.sources = corpus.sources[:1]
    with pytest.raises(DamagedError, match="sources"):
        corpus.index(fresh())


KILLED = """
import sys, os, signal
import numpy as np
from pathlib import Path
from textmill.base import files
from textmill.index import build as building

class Tokens: pass
tokens = Tokens()
tokens.vocabulary, tokens.end = 8, 0
tokens.ids = np.load(sys.argv[1]); tokens.offsets = np.load(sys.argv[2])
tokens.document_ids = np.zeros((len(tokens.offsets) - 1, 16), dtype=np.uint8)
left = int(sys.argv[4])
def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for name in ("fsync", "rename", "link"):
    setattr(os, name, counted(getattr(os, name)))
building._sort = counted(building._sort)
folder = Path(sys.argv[3])
with files.atomic_directory(folder / "index") as partial:
    building.build(partial, tokens, ["s"] * len(tokens.document_ids), finished=folder / "kept", shard_bytes=100)
"""


@pytest.mark.parametrize("after", [0, 3, 15, 31, 62, 75, 90])
def test_killed_at_any_write_it_ends_in_the_same_files(corpus_of, tmp_path, after):
    corpus = corpus_of(documents(10))
    np.save(tmp_path / "ids.npy", corpus.ids)
    np.save(tmp_path / "offsets.npy", corpus.offsets)

    def run(folder, left):
        folder.mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-c",
            KILLED,
            tmp_path / "ids.npy",
            tmp_path / "offsets.npy",
            folder,
            str(left),
        ]
        return subprocess.run(command, check=False).returncode

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert run(killed, after) == -signal.SIGKILL
    assert not (killed / "index").exists()
    kept = {path.name for path in (killed / "kept").glob("[!.]*")}
    assert run(killed, 1 << 30) == 0
    assert run(whole, 1 << 30) == 0
    assert hashes(killed / "index") == hashes(whole / "index")
    keys = {row["key"] for row in json.loads((whole / "index" / "manifest.json").read_text())["shards"]}
    assert kept <= keys


@pytest.mark.slow
def test_twenty_kills_at_random_moments(corpus_of, tmp_path):
    corpus = corpus_of([[1 + (n * k) % 7 for k in range(4000)] for n in range(300)])
    np.save(tmp_path / "ids.npy", corpus.ids)
    np.save(tmp_path / "offsets.npy", corpus.offsets)
    code = KILLED.replace("shard_bytes=100", "shard_bytes=100_000")

    def start(folder):
        folder.mkdir(exist_ok=True)
        files = (tmp_path / "ids.npy", tmp_path / "offsets.npy", folder, str(1 << 30))
        return subprocess.Popen([sys.executable, "-c", code, *files])

    assert start(tmp_path / "whole").wait() == 0
    whole, draw, kills = hashes(tmp_path / "whole" / "index"), random.Random(20), 0
    while kills < 20:
        process = start(tmp_path / "killed")
        try:
            process.wait(timeout=draw.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert hashes(tmp_path / "killed" / "index") == whole
        shutil.rmtree(tmp_path / "killed")  # from the beginning, so that there is something to kill
    assert start(tmp_path / "killed").wait() == 0
    assert hashes(tmp_path / "killed" / "index") == whole


def test_shards_are_planned_whatever_the_memory():
    """More memory than a shard can take makes none that is too large."""
    offsets = np.array([0, 1 << 31, 1 << 32, 5 << 30], dtype=np.int64)
    for limit in (1 << 33, 10**30):
        assert list(building._plan(offsets, limit)) == [(0, 1), (1, 3)]
