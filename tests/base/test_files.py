"""Files are whole or not there, locks hold, and damage is noticed."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_device_is_written_to_and_no_folder_takes_the_name_of_a_file(tmp_path):
    files.write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    files.write_text(pipe, "through")
    reader.join(10)
    assert read == ["through"]
    assert pipe.is_fifo()
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for taken in (mine, pipe):
        with pytest.raises(TextmillError, match="where a folder is needed"), files.atomic_directory(taken):
            pass
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("path", ["/", "."])
def test_a_path_without_a_name_is_said(path):
    with pytest.raises(TextmillError, match="cannot be written"):
        files.write_text(Path(path), "text")
    with pytest.raises(TextmillError, match="cannot be written"), files.atomic_directory(Path(path)):
        pass


def test_where_no_folder_can_be_made_is_said():
    with pytest.raises(TextmillError, match="no folder can be made here"):
        files.write_text(Path("/proc/nowhere/file"), "text")


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


def fails(number):
    """A system call that fails from now on."""

    def call(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("call", ["fsync", "rename", "replace"])
def test_a_failing_disk_leaves_what_was_there(tmp_path, monkeypatch, call):
    path = tmp_path / "d"
    with files.atomic_directory(path) as partial:
        (partial / "x").write_text("old")
    files.write_text(tmp_path / "f", "old")
    monkeypatch.setattr(os, call, fails(errno.EIO))
    if call != "replace":
        with pytest.raises(TextmillError, match="the disk failed"), files.atomic_directory(path) as partial:
            (partial / "x").write_text("new")
    if call != "rename":
        with pytest.raises(TextmillError, match="the disk failed"):
            files.write_text(tmp_path / "f", "new")
    monkeypatch.undo()
    assert (path / "x").read_text() == "old"
    assert (tmp_path / "f").read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["d", "f"]


def test_what_gave_way_comes_back(tmp_path, monkeypatch):
    """The old directory has lost its name, and the new one cannot take it: by an error, or by a kill."""
    path = tmp_path / "d"
    with files.atomic_directory(path) as partial:
        (partial / "x").write_text("old")
    honest, made = os.rename, []

    def second_fails(source, target):
        made.append(target)
        if len(made) == 2:
            raise OSError(errno.EIO, "odd")
        honest(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(TextmillError), files.atomic_directory(path) as partial:
        (partial / "x").write_text("new")
    monkeypatch.undo()
    assert (path / "x").read_text() == "old"
    path.rename(tmp_path / f".partial-old-d-{dead()}")
    files.remove_partial(tmp_path)
    assert (path / "x").read_text() == "old"


def dead():
    """The id of a process that is no more."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_killed_writers_left_is_taken_away_and_what_living_ones_are_at_is_not(tmp_path):
    for name in (f".partial-d-{dead()}", f".partial-gone-d-{dead()}", f".partial-e-{os.getppid()}"):
        (tmp_path / name).mkdir()
    (tmp_path / f".partial-f-{dead()}").write_text("half")
    (tmp_path / ".partial-by-name").write_text("half, by a writer of whom nothing is known")
    with files.atomic_directory(tmp_path / "mine") as partial:
        files.remove_partial(tmp_path)
        assert partial.is_dir(), "what this process is at"
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {"mine", f".partial-e-{os.getppid()}"}


def test_a_killed_export_leaves_nothing_once_it_is_made_again(tmp_path):
    (tmp_path / f".partial-model.gguf-{dead()}").write_text("half")
    (tmp_path / f".partial-other.gguf-{dead()}").write_text("half of another")
    (tmp_path / ".partial-model.gguf").write_text("a name of a person's own")
    with files.atomic_file(tmp_path / "model.gguf", private=False) as handle:
        handle.write(b"whole")
    assert {entry.name.rpartition("-")[0] or entry.name for entry in tmp_path.iterdir()} == {
        "model.gguf",
        ".partial-other.gguf",
        ".partial",
    }


def test_a_long_name_has_room_for_its_temporary_one(tmp_path):
    path = tmp_path / ("n" * 250)
    files.write_text(path, "text")
    assert path.read_text() == "text"
    with pytest.raises(TextmillError, match="too long"):
        files.write_text(tmp_path / ("n" * 300), "text")


def test_links_are_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "d").symlink_to(tmp_path / "real")
    (tmp_path / "f").symlink_to(tmp_path / "target.txt")
    with files.atomic_directory(tmp_path / "d") as partial:
        (partial / "x").write_text("new")
    files.write_text(tmp_path / "f", "new")
    assert (tmp_path / "d").is_symlink()
    assert (tmp_path / "real/x").read_text() == "new"
    assert (tmp_path / "f").is_symlink()
    assert (tmp_path / "target.txt").read_text() == "new"


def test_what_is_needed_for_a_while_stands_beside_its_target(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", fails(errno.ENOSPC))
    with files.scratch(tmp_path / "model") as folder:
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with files.scratch(tmp_path / "nowhere/model") as folder:
        assert folder.is_dir()


@given(st.data())
def test_a_changed_line_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("lines") / "m.jsonl"
    records = [{"step": number, "loss": number / 7, "why": "ü"} for number in range(3)]
    for record in records:
        files.append_jsonl(path, record)
    assert list(files.read_jsonl(path)) == records
    kept = bytearray(path.read_bytes())
    at, bit = data.draw(st.integers(0, len(kept) - 1)), data.draw(st.integers(0, 7))
    kept[at] ^= 1 << bit
    path.write_bytes(kept)
    try:
        read = list(files.read_jsonl(path))
    except DamagedError:
        return
    # Only what is no word of a record may have changed: a space, or the name of the check itself.
    assert [{key: row[key] for key in records[0]} for row in read] == records


@given(st.data())
def test_a_changed_seal_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("sealed") / "a.json"
    record = {"id": "abc", "files": {"x": "0" * 64}, "number": 1.5}
    files.write_sealed(path, record)
    assert files.read_sealed(path) == record
    kept = bytearray(path.read_bytes())
    kept[data.draw(st.integers(0, len(kept) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(kept)
    try:
        read = files.read_sealed(path)
    except DamagedError:
        return
    assert {key: read[key] for key in record} == record


def test_a_line_cut_off_does_not_join_the_next(tmp_path):
    path = tmp_path / "m.jsonl"
    files.append_jsonl(path, {"a": 1})
    with open(path, "a") as handle:
        handle.write('{"a": 2')
    files.append_jsonl(path, {"a": 3})
    assert list(files.read_jsonl(path)) == [{"a": 1}, {"a": 3}]


def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", fails(errno.EOPNOTSUPP))
    with pytest.raises(TextmillError, match="keeps no locks") as caught, locks.lock(tmp_path, "a test"):
        pass
    assert "--work" in str(caught.value)
    assert not isinstance(caught.value, BusyError)


def test_what_is_read_is_not_deleted(tmp_path):
    folder = tmp_path / "step-00000001"
    folder.mkdir()
    with locks.shared(folder) as there:
        assert there
        with locks.unread(folder) as alone:
            assert not alone
    with locks.unread(folder) as alone:
        assert alone
    with locks.shared(tmp_path / "gone") as there:
        assert not there


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_stands_there_is_never_replaced(tmp_path, make):
    files.check_free(tmp_path / "new")
    make(tmp_path / "new")
    with pytest.raises(RecipeError, match="already exists"):
        files.check_free(tmp_path / "new")


def test_json_holds_paths_that_are_not_utf8(tmp_path):
    value = {"path": "caf\udce9", "name": "磨坊"}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    files.write_json(tmp_path / "b.json", {"name": "磨坊"})
    assert "磨坊" in (tmp_path / "b.json").read_text(encoding="utf-8")
