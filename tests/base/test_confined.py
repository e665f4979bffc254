"""A confined child has what it was given and nothing else, and is gone when it should be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from textmill.base import confined
from textmill.base.confined import Child, ChildEnded, ChildFailed, Limits, Permissions

PROGRAM = """
import os, socket, sys, threading, time

def begin(setting):
    if setting == "fail":
        raise RuntimeError("no beginning")
    return lambda request: globals()[request["do"]](**{k: v for k, v in request.items() if k != "do"})

def double(of): return 2 * of
def fail(): raise ValueError("this was wrong")
def environment(): return dict(os.environ)
def descriptors(): return [number for number in range(1024) if os.path.exists(f"/proc/self/fd/{number}")]
def pid(): return [os.getpid(), os.getsid(0)]
def folder(): return os.getcwd()
def sleep(): time.sleep(60)
def spin():
    while True: pass
def memory(size): return len(bytearray(size))
def noise():
    print("this is no answer", flush=True)
    os.write(1, b"nor this\\n")
    return "quiet"
def flood():
    while True: os.write(ANSWERS, b"x" * 65536)
def two_lines(): os.write(ANSWERS, b'{"value": 1}\\n{"value": 2}\\n'); time.sleep(60)
def no_json(): os.write(ANSWERS, b"[[[[\\n"); time.sleep(60)
def write(path):
    with open(path, "w") as file: file.write("x" * 100_000)
    return True
def read(path): return open(path).read()
def connect(port):
    socket.create_connection(("127.0.0.1", port), 2)
    return True
def thread(): threading.Thread(target=time.sleep, args=(0.01,)).start(); return True
def deaf():
    os.write(ANSWERS, b'{"value": "deaf"}\\n')
    time.sleep(60)

ANSWERS = 3  # the first descriptor above the usual three
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def child(program):
    """Make children that are ended with the test."""
    made = []

    def make(setting=None, limits=Limits(seconds=20), permissions=Permissions(open_files=True), **options):
        made.append(Child(program, setting, limits=limits, permissions=permissions, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process is over (a zombie is) within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_it_answers_in_order_and_goes_on_after_a_failure(child):
    one = child()
    assert [one.ask({"do": "double", "of": of}) for of in (1, "ab", [None])] == [2, "abab", [None, None]]
    with pytest.raises(ChildFailed, match="^ValueError: this was wrong$"):
        one.ask({"do": "fail"})
    with pytest.raises(TypeError):
        one.ask({"do": object()})
    assert one.ask({"do": "noise"}) == "quiet"
    assert (
        len(one.ask({"do": "double", "of": "中\n" * 500_000})) == 2_000_000
    )  # more than pipes hold, either way


def test_a_program_that_cannot_begin(child):
    one = child("fail")
    with pytest.raises(ChildFailed, match="no beginning"):
        one.ask({"do": "pid"})
    with pytest.raises(ChildEnded):
        one.ask({"do": "pid"})


def test_nothing_is_inherited(child, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("HOME", str(tmp_path))
    with open(tmp_path / "open", "w") as file, socket.socket() as listening:
        os.set_inheritable(file.fileno(), True)
        os.set_inheritable(listening.fileno(), True)
        one = child(environment={"GIVEN": "1"})
        had = set(one.ask({"do": "environment"}))
        assert had <= {"GIVEN", *confined._NEEDED, "LC_CTYPE"}  # Python sets the last by itself (PEP 538)
        assert "GIVEN" in had
        assert one.ask({"do": "descriptors"}) == [0, 1, 2, 3]  # the last: its answers
    pid, session = one.ask({"do": "pid"})
    assert pid == session != os.getsid(0)
    assert one.ask({"do": "folder"}) == "/"


@pytest.mark.parametrize("do", ["sleep", "spin"])
def test_the_deadline_ends_it(child, do):
    one = child(limits=Limits(seconds=0.5))
    pid, _ = one.ask({"do": "pid"})
    with pytest.raises(ChildEnded) as caught:
        one.ask({"do": do})
    assert caught.value.reason == "time"
    assert caught.value.status == -signal.SIGKILL
    assert gone(pid)
    assert not one.alive


@pytest.mark.long
def test_processor_time_ends_it_where_nobody_waits(child):
    one = child(limits=Limits(cpu_seconds=0.1))
    with pytest.raises(ChildEnded) as caught:
        one.ask({"do": "spin"})
    assert (caught.value.reason, caught.value.status) == ("exit", -signal.SIGXCPU)


def test_memory_is_capped(child):
    one = child(limits=Limits(seconds=20, memory=300 << 20))
    assert one.ask({"do": "memory", "size": 1 << 20}) == 1 << 20
    with pytest.raises(ChildFailed, match="MemoryError"):
        one.ask({"do": "memory", "size": 1 << 30})
    assert one.ask({"do": "memory", "size": 1 << 20}) == 1 << 20


@pytest.mark.parametrize("do", ["flood", "two_lines", "no_json"])
def test_who_says_too_much_is_ended(child, do):
    one = child(limits=Limits(seconds=20, answer_bytes=1 << 20))
    pid, _ = one.ask({"do": "pid"})
    with pytest.raises(ChildEnded) as caught:
        one.ask({"do": do})
    assert caught.value.reason == "output"
    assert gone(pid)


def test_a_child_that_does_not_listen_meets_the_deadline(child):
    one = child(limits=Limits(seconds=1.0))
    assert one.ask({"do": "deaf"}) == "deaf"
    with pytest.raises(ChildEnded) as caught:
        one.ask({"do": "double", "of": "x" * (4 << 20)})  # more than the pipe holds
    assert caught.value.reason == "time"


def test_what_it_may_do_with_files(child, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "there").write_text("words")
    one = child(
        limits=Limits(seconds=20, file_bytes=200_000),
        permissions=Permissions(open_files=True, write=(str(tmp_path / "in"),)),
    )
    assert one.ask({"do": "read", "path": str(tmp_path / "there")}) == "words"
    assert one.ask({"do": "write", "path": str(tmp_path / "in" / "a")})
    assert (tmp_path / "in" / "a").stat().st_size == 100_000
    if one.given_up()["no_writes"]:
        with pytest.raises(ChildFailed, match="PermissionError"):
            one.ask({"do": "write", "path": str(tmp_path / "out")})
        with pytest.raises(ChildFailed, match="PermissionError"):
            child().ask({"do": "write", "path": str(tmp_path / "out")})
    with pytest.raises(ChildFailed, match="Too many open files"):
        child(permissions=Permissions()).ask({"do": "read", "path": str(tmp_path / "there")})
    with pytest.raises(ChildFailed, match="File too large"):
        child(
            limits=Limits(seconds=20, file_bytes=10),
            permissions=Permissions(open_files=True, write=(str(tmp_path / "in"),)),
        ).ask({"do": "write", "path": str(tmp_path / "in" / "b")})


def test_what_it_may_do_beside_files(child):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        without = child()
        if without.given_up()["no_network"]:
            with pytest.raises(ChildFailed, match="Error"):
                without.ask({"do": "connect", "port": port})
        everything = child(permissions=Permissions.all())
        assert everything.given_up() == {}
        assert everything.ask({"do": "connect", "port": port})
        assert everything.ask({"do": "thread"})


PARENT = """
import sys, threading, time
from pathlib import Path
from textmill.base.confined import Child, Limits, Permissions

children = []
def start():
    for permissions in (Permissions(open_files=True), Permissions.all()):
        children.append(Child(Path(sys.argv[1]), limits=Limits(), permissions=permissions))
        print(children[-1].ask({"do": "pid"})[0], flush=True)

thread = threading.Thread(target=start)  # children outlive the thread that asked for them
thread.start()
thread.join()
time.sleep(0.2)
for child in children:
    threading.Thread(target=child.ask, args=({"do": sys.argv[2]},)).start()
print([child.alive for child in children], flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("do", ["sleep", "spin"])
def test_it_dies_with_its_parent(program, do):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(program), do], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    assert json.loads(parent.stdout.readline().lower()) == [True, True]
    time.sleep(0.2)
    assert not any(gone(pid, 0.01) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert all(map(gone, pids))


def test_closing_it_wakes_who_waits(child):
    one, caught = child(), []

    def wait():
        try:
            one.ask({"do": "sleep"})
        except ChildEnded as error:
            caught.append(error.reason)

    one.given_up()
    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    one.close()
    waiting.join(10)
    assert caught == ["exit"]
    with pytest.raises(ChildEnded):
        one.ask({"do": "pid"})
