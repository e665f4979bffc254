"""A child process that has nothing but what its caller gives it: for programs by strangers, and for work beside ours.

Requests and answers are JSON, one line each. A program is a Python file that defines `begin(setting)`, which imports
and loads what it needs and returns `answer(request) -> plain data`; `begin` runs before files, memory and processes
are limited, `answer` after, so what a stranger made belongs into requests:

    limits = Limits(seconds=5, memory=512 << 20)
    with Child(Path("double.py"), limits=limits) as child:  # def begin(setting): return lambda request: 2 * request
        child.ask(21)  # 42

A child has a session of its own (Ctrl-C is for us), no descriptor but three pipes, an environment the caller spells
out, and dies with its parent, however that dies. What it may do is in `Permissions`, and nothing by default; how much,
in `Limits`. The kernel sees to it where it can (sandbox.py); `Child.given_up` says of what. This file is also the
program the child starts as: it imports nothing of Textmill but sandbox.py beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import json
import math
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

_START_SECONDS = 120.0  # until `begin` is over: Python and its libraries may come from a slow disk
_NEEDED = ("LD_LIBRARY_PATH", "PYTHONPATH")  # by Python itself, to start and to find its packages
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What a child may use up; None: as much as there is."""

    seconds: float | None = None  # of the clock, for one request
    cpu_seconds: float | None = None  # of processor time, for one request
    memory: int | None = None  # bytes of address space
    file_bytes: int | None = None  # length of a file it writes
    answer_bytes: int = 64 << 20  # length of one answer
    scratch_bytes: int = 16 << 20  # in all files of its folder in memory


@dataclass(frozen=True)
class Permissions:
    """What a child may do. `begin` may read, and start threads and processes, whatever these say."""

    open_files: bool = False  # also sockets and pipes
    read: tuple[str, ...] | None = None  # the files and folders it may read and run; None: whatever we may
    write: tuple[str, ...] | None = ()  # the folders it may write in; None: wherever we may
    scratch: str | None = (
        None  # an empty folder, in place of which it has one in memory (Limits.scratch_bytes)
    )
    network: bool = False  # sockets of any kind
    threads: bool = False
    processes: bool = False  # threads too

    @classmethod
    def all(cls) -> Permissions:
        """Whatever we may ourselves."""
        return cls(open_files=True, write=None, network=True, processes=True)


def python_files() -> tuple[str, ...]:
    """What Python reads to import what is installed, for `Permissions.read`."""
    system = (
        "/usr",
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/dev/null",
        "/dev/urandom",
        "/dev/zero",
    )
    folders = (*system, sys.prefix, sys.base_prefix, *filter(os.path.isabs, sys.path))
    return tuple(dict.fromkeys(map(os.path.realpath, folders)))


class ChildFailed(Exception):
    """The program raised an exception, named in the message. It may be asked again, unless it raised at its start."""


class ChildEnded(Exception):
    """The process is gone: it took too much time, wrote too much, or ended by itself with `status` (-9: was killed)."""

    def __init__(self, reason: Literal["time", "output", "exit"], status: int) -> None:
        messages = {"time": "it took too long", "output": "it wrote more output than allowed"}
        super().__init__(messages.get(reason, f"its process ended with exit status {status}"))
        self.reason, self.status = reason, status


class Child:
    """A confined process. Safe to use from several threads: they are answered one after the other."""

    def __init__(
        self,
        program: Path,
        setting: Any = None,
        *,
        limits: Limits,
        permissions: Permissions = Permissions(),
        environment: Mapping[str, str] | None = None,
        cwd: Path = Path("/"),
        show_errors: bool = False,
    ) -> None:
        """program: a file with `begin`; setting: what it is called with, plain data; environment: all variables the
        child has, besides where Python finds its packages; show_errors: its stderr is ours, not nowhere.

        Returns at once. Raises OSError when no process can be started."""
        self._limits = limits
        self._lock = threading.RLock()

        def start() -> subprocess.Popen[bytes]:
            needed = {name: os.environ[name] for name in _NEEDED if name in os.environ}
            return subprocess.Popen(
                # -P: nothing beside this file, or in the folder we are in, is taken for a library.
                [sys.executable, "-P", "-X", "utf8", __file__, str(program)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if show_errors else subprocess.DEVNULL,
                env=needed | dict(environment or {}),
                cwd=cwd,
                start_new_session=True,
            )

        self._process = _starter(os.getpid()).submit(start).result()
        self._kill = weakref.finalize(self, _kill, self._process)
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)
        self._given_up: Mapping[str, bool] | None = None
        self._first: Any = {
            "parent": os.getpid(),
            "limits": asdict(limits),
            "permissions": asdict(permissions),
            "setting": setting,
        }

    @property
    def alive(self) -> bool:
        """Whether it has not been ended, for all that is known here."""
        return self._kill.alive

    def given_up(self) -> Mapping[str, bool]:
        """Of what the child may not do, whether the kernel sees to it: `no_network`, `no_writes`, `no_reads`,
        `no_calls` (system calls that reach beyond it); and whether it has its `scratch`. Each if asked for.

        Waits until the program has begun. Raises as `ask`."""
        with self._lock:
            if self._given_up is None:
                self._given_up = self._exchange(self._first, _START_SECONDS)
            return self._given_up

    def ask(self, request: Any) -> Any:
        """What the program answers to plain data.

        Raises ChildFailed and ChildEnded, and TypeError, ValueError or RecursionError for what is no plain data.
        """
        with self._lock:
            self.given_up()
            return self._exchange(request, self._limits.seconds)

    def close(self) -> None:
        """End the process; who waits for its answer in another thread gets ChildEnded."""
        self._kill()
        with self._lock:
            for pipe in self._pipes():
                pipe.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """What we write to, and what we read from."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _exchange(self, request: Any, seconds: float | None) -> Any:
        line = json.dumps(request).encode() + b"\n"
        try:
            answer = json.loads(self._line(line, seconds))
            value, failed = answer.get("value"), answer.get("failed")
        except ChildEnded:
            raise
        except (ValueError, AttributeError, RecursionError):  # no line of ours
            raise self._ended("output") from None
        except BaseException:  # nobody waits for the answer any more
            self.close()
            raise
        if failed is not None:
            raise ChildFailed(failed)
        return value

    def _line(self, unsent: bytes, seconds: float | None) -> bytes:
        """Send a line and read the next one of the child, within so many seconds."""
        if not self.alive:
            raise self._ended("exit")
        writer, reader = self._pipes()
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        answer = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(reader, selectors.EVENT_READ)
            ready.register(writer, selectors.EVENT_WRITE)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in ready.select(None if seconds is None else left):
                    if key.fileobj is writer:
                        with contextlib.suppress(BrokenPipeError):
                            unsent = unsent[os.write(writer.fileno(), unsent) :]
                            if unsent:
                                continue
                        ready.unregister(writer)
                        continue
                    block = os.read(reader.fileno(), _BLOCK)
                    answer += block
                    if not block:
                        raise self._ended("exit")
                    if b"\n" in block and answer.index(b"\n") == len(answer) - 1 and not unsent:
                        return bytes(answer)
                    if b"\n" in block or len(answer) > self._limits.answer_bytes:
                        raise self._ended("output")
        raise self._ended("time")

    def _ended(self, reason: Literal["time", "output", "exit"]) -> ChildEnded:
        if reason == "exit":  # by itself: its own exit status is about to come
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        self.close()
        return ChildEnded(reason, self._process.returncode)


@functools.cache
def _starter(_process: int) -> ThreadPoolExecutor:
    """The thread that starts all children of a process: the kernel ends a child with the thread that started it."""
    return ThreadPoolExecutor(1, "confined")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- the child ----------------------------------------------------------------------------------------------------
_PARENT_DEATH_SIGNAL = 1  # of prctl(2)
_SCRATCH_FILES = 1000


def _sandbox() -> Any:
    """sandbox.py, which stands beside this file."""
    spec = importlib.util.spec_from_file_location("sandbox", Path(__file__).with_name("sandbox.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _die_with(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        if ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) == 0:
            if os.getppid() != parent:  # it was gone before
                os._exit(1)
            return

    def watch() -> None:  # not Linux
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _restrict(limits: Limits, permissions: Permissions) -> None:
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, None if permissions.open_files else 3),
        (resource.RLIMIT_NPROC, None if permissions.threads or permissions.processes else 0),
    ):
        if limit is not None:
            with contextlib.suppress(ValueError, OSError):  # not on every system
                resource.setrlimit(kind, (limit, limit))


def _before(sandbox: Any, limits: Limits, permissions: Permissions) -> dict[str, bool]:
    """Give up what can be given up before the program begins, and some of it only before there are threads."""
    given_up, write, scratch = {}, permissions.write, permissions.scratch
    apart = not permissions.network or scratch is not None
    apart = apart and sandbox.new_namespaces(network=not permissions.network, mounts=scratch is not None)
    if not permissions.network:
        given_up["no_network"] = apart
    if scratch is not None:
        folder = Path(scratch)
        given_up["scratch"] = apart and sandbox.new_folder(folder, limits.scratch_bytes, _SCRATCH_FILES)
        if given_up["scratch"]:
            os.chdir(folder)
            write = None if write is None else (*write, scratch)
    if write is not None:
        given_up["no_writes"] = sandbox.restrict_files(write)
    return given_up


def _after(
    sandbox: Any, given_up: dict[str, bool], limits: Limits, permissions: Permissions
) -> dict[str, bool]:
    """Give up the rest, once the program has what it begins with."""
    _restrict(limits, permissions)
    if permissions.read is not None:
        scratch = (permissions.scratch,) if given_up.get("scratch") else ()
        write = (*(permissions.write or ()), *scratch)
        given_up["no_reads"] = sandbox.restrict_files(write, permissions.read, reach_out=permissions.network)
    if not (permissions.network and permissions.processes):
        sandbox.drop_capabilities()
        given_up["no_calls"] = sandbox.restrict_calls(
            sockets=permissions.network, processes=permissions.processes
        )
    return given_up


def _allow(cpu_seconds: float | None) -> None:
    """Processor time for one more request; the process dies of more, should nobody be there to end it."""
    if cpu_seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(used.ru_utime + used.ru_stime + cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _begin(program: str, setting: Any) -> Callable[[Any], Any]:
    spec = importlib.util.spec_from_file_location("program", program)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["program"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.begin(setting)


def _reply(work: Callable[[Any], Any], argument: Any) -> str:
    """What `work` gives, or what it raised, as a line for the parent."""
    try:
        return json.dumps({"value": work(argument)}) + "\n"
    except Exception as error:
        return json.dumps({"failed": f"{type(error).__name__}: {error}"[:1500]}) + "\n"


def main(program: str) -> None:
    """Read what the parent's first line allows, confine this process, and answer its requests until there are none."""
    first = json.loads(sys.stdin.readline())
    limits, permissions = Limits(**first["limits"]), Permissions(**first["permissions"])
    sandbox = _sandbox()
    given_up = _before(sandbox, limits, permissions)
    _die_with(first["parent"])  # after what may make the kernel forget it
    answerer: list[Callable[[Any], Any]] = []

    def begin(setting: Any) -> Mapping[str, bool]:
        answerer.append(_begin(program, setting))
        return _after(sandbox, given_up, limits, permissions)

    def answer(line: str) -> Any:
        _allow(limits.cpu_seconds)
        return answerer[0](json.loads(line))

    # A library that prints must not be taken for an answer: what it writes goes to stderr.
    with os.fdopen(os.dup(1), "w", encoding="ascii") as answers:
        os.dup2(2, 1)
        print(_reply(begin, first["setting"]), end="", file=answers, flush=True)
        for line in sys.stdin if answerer else ():
            print(_reply(answer, line), end="", file=answers, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
