"""`textmill` and `python` without waiting for imports: each is a fork of one warm process that has made them.

    python warm.py serve SOCKET                 imports everything once and serves until its standard input closes
    python -IS warm.py ask SOCKET textmill ...  is the command `textmill ...`
    python -IS warm.py ask SOCKET python ...    is `python ...` with a script, `-c`, `-m` or `-`

A fork is given the asker's arguments, folder, environment and open streams, and ends as a process of its own:
exit code, signals, pipes and redirections are those of a user's. What it does not show: the time imports take,
what a variable read while importing does, and a hash seed of its own. Tests of those start fresh processes.
"""

import array
import json
import os
import signal
import socket
import sys

STREAMS = 3
# What verbs import only when they come to it: training, and its board.
LATE = ("torch._dynamo", "torch.utils.tensorboard")
# Packages that a command finds as if they were not installed: publishing asks a process that knows only transformers,
# which takes seconds to start, so that only tests of that have it (tests/interop/test_alone.py).
HIDDEN = "TEXTMILL_TESTS_HIDE"


def ask(path: str, arguments: list[str]) -> int:
    """Have a command run with this process's streams; its exit code. Signals are handed on."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        request = json.dumps([arguments, os.getcwd(), dict(os.environ)])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", range(STREAMS)))]
        server.sendmsg([b" "], rights)
        server.sendall(request.encode())
        server.shutdown(socket.SHUT_WR)
        replies = server.makefile("r")
        process = int(replies.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, _: os.kill(process, number))
        code = int(replies.readline())
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def serve(path: str) -> None:
    """Fork for every request; returns in each fork when it is to run, and in the server when nobody needs it."""
    import selectors

    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for source in (listener, waking, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if waking in ready:
                os.read(waking, 4096)
                end_finished(running)
            if listener in ready:
                asker, _ = listener.accept()
                child = os.fork()
                if child == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for held in (listener, *running.values()):
                        held.close()
                    become(asker)
                    return
                running[child] = asker
            if sys.stdin in ready:
                for child in running:
                    os.kill(child, signal.SIGKILL)
                os._exit(0)


def end_finished(running: dict[int, socket.socket]) -> None:
    """Tell the askers of commands that have ended their exit codes."""
    import contextlib

    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if not process:
            return
        with running.pop(process) as asker, contextlib.suppress(OSError):  # nobody waits any more
            asker.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(asker: socket.socket) -> None:
    """Take on what the asker said: this process is now its command, `sys.argv`."""
    import numpy as np
    import torch

    _, rights, _, _ = asker.recvmsg(1, socket.CMSG_SPACE(STREAMS * 4))
    files = array.array("i", rights[0][2])
    with asker.makefile("r") as said:
        sys.argv, folder, environment = json.load(said)
    asker.sendall(f"{os.getpid()}\n".encode())
    asker.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0)  # noqa: SIM115
    sys.stdout = open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace")  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if sys.argv[0] == "textmill":
        sys.modules.update(dict.fromkeys(os.environ.get(HIDDEN, "").split()))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    np.random.seed()


def run() -> int:
    """Run the command as an interpreter would, up to its exit code."""
    import traceback

    try:
        textmill() if sys.argv[0] == "textmill" else python()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def textmill() -> None:
    from textmill.cli.main import main

    main()


def python() -> None:
    """Run a module, a script, or a text of a program as `__main__`."""
    import runpy
    import types

    sys.argv.pop(0)
    if sys.argv[0] == "-m":
        sys.argv.pop(0)
        sys.path.insert(0, os.getcwd())
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return
    if sys.argv[0] in ("-c", "-"):
        text = sys.argv.pop(1) if sys.argv[0] == "-c" else sys.stdin.read()
        name, folder = "<string>", ""
    else:
        name, folder = sys.argv[0], os.path.dirname(os.path.realpath(sys.argv[0]))
        with open(name, encoding="utf-8") as file:
            text = file.read()
    sys.path.insert(0, folder)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if folder:
        main.__file__ = name
    exec(compile(text, name, "exec"), main.__dict__)


def import_everything() -> None:
    """All of Textmill but the programs in it, and what its verbs import late where it is installed."""
    import contextlib
    import importlib
    import pkgutil

    import textmill

    for module in pkgutil.walk_packages(textmill.__path__, "textmill."):
        if not module.name.endswith(("__main__", "worker")):
            importlib.import_module(module.name)
    for name in LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    role, place, *rest = sys.argv[1:]
    if role == "ask":
        if rest[0] == "python" and not (
            rest[1:] and (rest[1] in ("-c", "-m", "-") or rest[1].endswith(".py"))
        ):
            os.execv(sys.executable, [sys.executable, *rest[1:]])
        sys.exit(ask(place, rest))
    import atexit
    import gc
    import threading

    sys.path.pop(0)
    import_everything()
    gc.freeze()
    serve(place)
    code = run()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking torch apart would take as long as loading it
