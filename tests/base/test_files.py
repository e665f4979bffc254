"""Files are whole or not there, locks hold, and damage is noticed."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from textmill.base import files, locks
from textmill.base.errors import BusyError, DamagedError, RecipeError, TextmillError
from textmill.stages.workspace import lineage


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as handle:
        handle.write(b"new, but only half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_directory_leaves_the_old_one(tmp_path):
    path = tmp_path / "d"
    with files.atomic_directory(path) as partial:
        (partial / "x").write_text("old")
    with pytest.raises(RuntimeError), files.atomic_directory(path) as partial:
        (partial / "x").write_text("new")
        raise RuntimeError
    assert (path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_directory_is_replaced_whole(tmp_path):
    path = tmp_path / "d"
    for name in ("one", "two"):
        with files.atomic_directory(path) as partial:
            (partial / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["two"]


def test_a_full_disk_is_an_error_for_people(tmp_path):
    with pytest.raises(TextmillError, match="disk is full"), files.disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_system_errors_pass(tmp_path):
    with pytest.raises(OSError, match="odd"), files.disk_errors(tmp_path):
        raise OSError(errno.ECHILD, "odd")


def _hold(path, held, free):
    with locks.lock(path, "a test"):
        held.set()
        free.wait(10)


def test_two_writers(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, free = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, free))
    other.start()
    assert held.wait(20)
    with pytest.raises(BusyError, match=f"process {other.pid}"), locks.lock(tmp_path, "another test"):
        pass
    other.kill()  # the kernel gives the lock of a killed process back
    other.join()
    with locks.lock(tmp_path, "another test"):
        pass


def test_jsonl_passes_over_a_line_cut_off(tmp_path):
    path = tmp_path / "m.jsonl"
    files.append_jsonl(path, {"a": 1})
    with open(path, "a") as handle:
        handle.write('{"a": 2')
    assert list(files.read_jsonl(path)) == [{"a": 1}]


def test_content_ids_ignore_the_order_of_keys():
    assert files.value_id({"a": 1, "b": [2]}) == files.value_id({"b": [2], "a": 1})
    assert len(files.content_id("text")) == 32


def make(directory, content, parents=(), kind="corpus"):
    with files.atomic_directory(directory) as partial:
        (partial / "data").write_text(content)
        lineage.write_lineage(
            partial, kind=kind, key="k" + content, spec={"c": content}, parents=parents, home=directory
        )
    return lineage.read_lineage(directory)


def test_lineage_walks_back_and_notices_change(tmp_path):
    corpus = make(tmp_path / "corpus" / "c", "words")
    model = make(tmp_path / "model" / "m", "weights", [corpus], "model")
    assert [(depth, item.kind) for depth, item in lineage.walk(model)] == [(0, "model"), (1, "corpus")]
    assert lineage.damage(corpus) == []
    (corpus.path / "data").write_text("other words")
    assert lineage.damage(corpus) == ["data"]
    make(tmp_path / "corpus" / "c", "new words")
    (_, _), (_, above) = lineage.walk(model)
    assert "changed since" in above["state"]
    os.rename(tmp_path / "corpus", tmp_path / "gone")
    (_, _), (_, above) = lineage.walk(model)
    assert above["state"] == "missing"


def test_lineage_moves_with_the_work_folder(tmp_path):
    corpus = make(tmp_path / "w" / "corpus" / "c", "words")
    make(tmp_path / "w" / "model" / "m", "weights", [corpus], "model")
    os.rename(tmp_path / "w", tmp_path / "elsewhere")
    chain = list(lineage.walk(lineage.read_lineage(tmp_path / "elsewhere" / "model" / "m")))
    assert len(chain) == 2
    assert chain[1][1].id == corpus.id


def test_find_wants_the_key_and_every_file(tmp_path):
    artifact = make(tmp_path / "c", "words")
    assert lineage.find(tmp_path / "c", artifact.key) is not None
    assert lineage.find(tmp_path / "c", "other") is None
    (tmp_path / "c" / "data").unlink()
    assert lineage.find(tmp_path / "c", artifact.key) is None


def test_unreadable_lineage(tmp_path):
    (tmp_path / lineage.NAME).write_text(json.dumps({"kind": "corpus"}))
    with pytest.raises(DamagedError, match="lacks"):
        lineage.read_lineage(tmp_path)
    with pytest.raises(TextmillError, match="not an artifact"):
        lineage.read_lineage(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_stands_there_is_never_replaced(tmp_path, make):
    files.check_free(tmp_path / "new")
    make(tmp_path / "new")
    with pytest.raises(RecipeError, match="is there already"):
        files.check_free(tmp_path / "new")


def test_json_holds_paths_that_are_not_utf8(tmp_path):
    value = {"path": "caf\udce9", "name": "磨坊"}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    files.write_json(tmp_path / "b.json", {"name": "磨坊"})
    assert "磨坊" in (tmp_path / "b.json").read_text(encoding="utf-8")
