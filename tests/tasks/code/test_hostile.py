"""Code that means harm does none, ends in time, and passes nothing it has not solved; as root and as nobody."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tasks.code.hostile import ENDINGS, LIES, doers, failures
from textmill.base import sandbox as kernel
from textmill.base.confined import Child
from textmill.tasks.code import judged as code
from textmill.tasks.code.judged import Problem, Sandbox, judged

pytestmark = pytest.mark.skipif(
    kernel.landlock_version() < 1 or platform.machine() != "x86_64",
    reason="no Landlock, or not the numbers used here",
)
FORTY_TWO = Problem("p", "", "f", "assert f() == 42")
ROOT = Path(__file__).parents[3]
QUICK = Sandbox(seconds=2.0, memory=512 << 20)


class Listener(threading.Thread):
    """Counts whatever comes to a port, by TCP or UDP, and to an abstract socket."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(f"\0textmill-test-{os.getpid()}")
        self.unix.listen()

    def came(self) -> int:
        number = 0
        for each in (self.tcp, self.udp, self.unix):
            each.settimeout(0.05)
            try:
                each.recvfrom(1) if each is self.udp else each.accept()
                number += 1
            except TimeoutError:
                pass
        return number


def test_no_act_reaches_anything(tmp_path):
    listener = Listener()
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    assert failures(doers(tmp_path, listener.port)) == {}
    assert listener.came() == 0
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)) == before


def test_an_ordinary_program_may_do_what_it_needs():
    """Imports, temporary files of its own, deep but finite recursion, time, random numbers, regular expressions."""
    source = (
        "import collections, datetime, hashlib, itertools, math, os, random, re, tempfile, time\n"
        "def f():\n"
        "    with tempfile.NamedTemporaryFile('w+') as file:\n"
        "        file.write('40'); file.flush(); number = int(open(file.name).read())\n"
        "    def deep(n): return 0 if n == 0 else 1 + deep(n - 1)\n"
        "    assert deep(900) == 900 and re.match('a+', 'aaa') and os.urandom(4) and time.time() > 0\n"
        "    hashlib.sha256(b'x'); datetime.datetime.now(); random.random()\n"
        "    return number + 2\n"
    )
    assert judged(FORTY_TWO, source, Sandbox(seconds=20.0)).outcome == "passed"


@pytest.mark.parametrize("title", ENDINGS)
def test_whatever_does_not_come_back_ends_in_time(title):
    assert not judged(FORTY_TWO, ENDINGS[title], QUICK).passed
    assert not others_of(os.getpid())


@pytest.mark.parametrize("title", LIES)
def test_no_lie_passes(title):
    assert not judged(FORTY_TWO, LIES[title], QUICK).passed


def others_of(parent: int) -> list[str]:
    """Command lines of candidates and judges that are still there."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                status = (folder / "status").read_text()
            except OSError:
                continue
            ours = f"PPid:\t{parent}\n" in status and "State:\tZ" not in status
            if ours and ("candidate.py" in line or "judge.py" in line):
                found.append(line)
    return found


AS_NOBODY = """
import ctypes, os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # may be looked at again, as a process that began as nobody
sys.path[:0] = {paths!r}
from pathlib import Path
from tasks.code import hostile
print(hostile.failures(hostile.doers(Path({folder!r}), {port})))
"""
MAY_NOBODY = (
    "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); open(sys.argv[1]); import base64"
)


def for_nobody() -> str | None:
    """A Python that nobody may run, if nobody may read the project; ours may stand in a home of root's."""
    for python in (sys.executable, "/usr/bin/python3"):
        if Path(python).exists():
            told = subprocess.run(
                [python, "-c", MAY_NOBODY, __file__], check=False, capture_output=True, cwd="/"
            )
            if told.returncode == 0:
                return python
    return None


def test_no_act_reaches_anything_as_nobody():
    if os.getuid() != 0:
        pytest.skip("these tests run as an ordinary user anyway")
    if (python := for_nobody()) is None:
        pytest.skip("nobody may read neither Python nor the project here")
    listener = Listener()
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        program = AS_NOBODY.format(
            paths=[str(ROOT / "src"), str(ROOT / "tests")], folder=folder, port=listener.port
        )
        done = subprocess.run(
            [python, "-c", program], check=False, capture_output=True, text=True, cwd="/", timeout=120
        )
    assert done.stdout.strip() == "{}", done.stderr[-2000:]
    assert listener.came() == 0


def test_where_the_kernel_cannot_confine_it_code_is_not_run(monkeypatch):
    begun = Child.given_up
    without = {"no_reads": False, "no_writes": True, "no_calls": False}
    monkeypatch.setattr(Child, "given_up", lambda self: {**begun(self), **without})
    with pytest.raises(code.TextmillError, match=r"no Landlock and no seccomp.*unsandboxed"):
        judged(FORTY_TWO, "def f(): return 42", QUICK)
    assert judged(FORTY_TWO, "def f(): return 42", Sandbox(required=False)).passed
