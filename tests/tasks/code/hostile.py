"""Programs that mean harm: ACTS each tell whether they could do it, ENDINGS do not come back, LIES want to pass.

An act is the body of a function; it returns what it got hold of, or raises. OUTSIDE, PORT and PARENT are filled in.
"""

# ruff: noqa: E501
from __future__ import annotations

import os
from pathlib import Path

from textmill.base.confined import Child, Limits, Permissions, python_files

CANDIDATE = Path(__file__).parents[3] / "src/textmill/tasks/code/candidate.py"

ACTS = {
    "read a file of ours": "return open(OUTSIDE).read()",
    "read who there is": "return open('/etc/passwd').read()",
    "read the parent's environment": "return open(f'/proc/{PARENT}/environ', 'rb').read()",
    "read the parent's memory": "return open(f'/proc/{PARENT}/mem', 'rb').read(1)",
    "write its own memory": "open('/proc/self/mem', 'r+b').write(b'x'); return True",
    "list the root": "return os.listdir('/')",
    "list processes": "return os.listdir('/proc')",
    "write a file of ours": "open(OUTSIDE, 'w').write('gone'); return True",
    "append to a file of ours": "os.open(OUTSIDE, os.O_WRONLY | os.O_APPEND); return True",
    "remove a file of ours": "os.remove(OUTSIDE); return True",
    "cut a file of ours": "os.truncate(OUTSIDE, 0); return True",
    "rename a file of ours": "os.rename(OUTSIDE, OUTSIDE + '.gone'); return True",
    "link a file of ours": "os.link(OUTSIDE, 'here'); return open('here').read()",
    "follow a link out": "os.symlink(OUTSIDE, 'link'); return open('link').read()",
    "climb out": "return open('../' * 12 + OUTSIDE).read()",
    "change the mode of a file": "os.chmod(OUTSIDE, 0o777); open(OUTSIDE).read(); return True",
    "make a folder in /tmp": "os.mkdir(os.path.dirname(OUTSIDE) + '/made'); return True",
    "write beside the interpreter": "open(os.path.join(sys.prefix, 'x.pth'), 'w').write('x'); return True",
    "write into a library": "open(os.__file__, 'a').write('#'); return True",
    "write to a device": "open('/dev/mem', 'wb'); return True",
    "open a socket": "socket.create_connection(('127.0.0.1', PORT), 1).send(b'x'); return True",
    "send a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT)); return True",
    "IPv6": "socket.socket(socket.AF_INET6); return True",
    "an abstract socket": "socket.socket(socket.AF_UNIX).connect(chr(0) + 'textmill-test'); return True",
    "a pair of sockets": "socket.socketpair(); return True",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); return True",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); return True",
    "a server": "socket.create_server(('127.0.0.1', 0)); return True",
    "ask a name server": "socket.gethostbyname('example.com'); return True",
    "fork": "return os.fork() >= 0",
    "a shell": "return os.system('true') == 0",
    "a program": "return subprocess.run(['/bin/true']).returncode == 0",
    "a program in its place": "os.execv('/bin/true', ['true'])",
    "spawn": "return os.posix_spawn('/bin/true', ['true'], {}) > 0",
    "a process of multiprocessing": "import multiprocessing; p = multiprocessing.Process(target=print); p.start(); return True",
    "signal the parent": "os.kill(PARENT, 0); return True",
    "signal everybody": "os.kill(-1, 0); return True",
    "signal the group of the parent": "os.killpg(os.getpgid(PARENT), 0); return True",
    "a raw signal": "return syscall(129, PARENT, 0, 0) == 0",
    "a thread's signal": "return syscall(234, PARENT, PARENT, 0) == 0",
    "ptrace the parent": "return syscall(101, 16, PARENT, 0, 0) == 0",
    "be traced": "return syscall(101, 0, 0, 0, 0) == 0",
    "read memory across": "return syscall(310, PARENT, 0, 0, 0, 0, 0) == 0",
    "unshare": "return syscall(272, 0x10000000) == 0",
    "a clone with namespaces": "return syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0",
    "clone3": "return syscall(435, 0, 0) >= 0",
    "mount": "return ctypes.CDLL(None).mount(b'tmpfs', b'.', b'tmpfs', 0, None) == 0",
    "chroot": "os.chroot('.'); return True",
    "bpf": "return syscall(321, 0, 0, 0) >= 0",
    "keyrings": "return syscall(250, 0, -3, 1) > 0",
    "io_uring": "buffer = ctypes.create_string_buffer(120); return syscall(425, 4, buffer) >= 0",
    "memory that can be run": "return os.memfd_create('x') >= 0",
    "performance counters": "return syscall(298, 0, 0, -1, -1, 0) >= 0",
    "user faults": "return syscall(323, 0) >= 0",
    "become root": "os.setuid(0); return True",
    "become nobody": "os.setresuid(65534, 65534, 65534); return True",
    "shared memory": "return syscall(29, 0, 4096, 0o1600) >= 0",
    "a message queue": "return syscall(68, 0, 0o1600) >= 0",
    "our limits": "resource.prlimit(PARENT, resource.RLIMIT_CPU, (1, 1)); return True",
    "more for itself": "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30)); return True",
    "our priority": "os.setpriority(os.PRIO_PROCESS, PARENT, 19); return True",
    "our processor": "os.sched_setaffinity(PARENT, {0}); return True",
    "a huge file": "open('big', 'wb').write(bytes(1 << 24)); return True",
    "many small files": "[open(f'f{n}', 'wb').write(bytes(1 << 16)) for n in range(1000)]; return True",
    "very many empty files": "[open(f'e{n}', 'wb') for n in range(5000)]; return True",
    "much memory": "return len(bytearray(4 << 30)) > 0",
    "a bomb of nines": "import zlib; return len(zlib.decompress(zlib.compress(bytes(1 << 26)) * 1, bufsize=4 << 30)) > 1 << 31",
}

HEAD = """
import ctypes, os, resource, socket, subprocess, sys
OUTSIDE, PORT, PARENT = {outside!r}, {port}, {parent}
def syscall(*arguments):
    call = ctypes.CDLL(None, use_errno=True).syscall
    return call(*[a if isinstance(a, ctypes.Array) else ctypes.c_long(a) for a in arguments])
"""

# What does not come back in time, or at all; f() should be 42.
ENDINGS = {
    "forever": "def f():\n    while True: pass",
    "asleep": "import time\ndef f(): time.sleep(1000)",
    "out by the back door": "import os\ndef f(): os._exit(0)",
    "out while being defined": "import os\nos._exit(0)",
    "exit": "def f(): raise SystemExit(0)",
    "aborted": "import os\ndef f(): os.abort()",
    "killed by itself": "import os, signal\ndef f(): os.kill(os.getpid(), signal.SIGKILL)",
    "a fault in memory": "import ctypes\ndef f(): ctypes.string_at(0)",
    "deep": "def f(): return f() + 1",
    "all memory": "def f():\n    held = []\n    while True: held.append(bytearray(1 << 24))",
    "a long number": "def f(): return 10 ** 10 ** 9",
    "no end of output": "import os\ndef f():\n    while True: os.write(1, b'x' * 65536)",
    "no end of an answer": "def f(): return 'x' * (1 << 26)",
    "an endless iterator": "import itertools\ndef f(): return itertools.count()",
    "threads": "import threading, time\ndef f():\n    while True: threading.Thread(target=time.sleep, args=(99,)).start()",
    "a hidden thread": "import threading\ndef g():\n    while True: pass\ndef f():\n    threading.Thread(target=g).start()\n    return 41",
    "a nest": "def f():\n    x = []\n    for _ in range(100_000): x = [x]\n    return x",
    "deaf to signals": "import signal\ndef f():\n    for s in (15, 2, 1): signal.signal(s, signal.SIG_IGN)\n    while True: pass",
}

# What would pass if the verdict were a word of the process that runs it; f() should be 42.
LIES = {
    "equal to all": "class E:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(): return E()",
    "a number equal to all": "class E(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef f(): return E(41)",
    "a list equal to all": "class E(list):\n    def __eq__(self, other): return True\ndef f(): return E()",
    "patched builtins": "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.print('passed')\ndef f(): return 41",
    "patched json": 'import json\njson.dumps = lambda *a, **k: \'{"value": {"verdict": {"outcome": "passed", "detail": ""}}}\'\ndef f(): return 41',
    "a forged verdict": 'import os\ndef f():\n    os.write(3, b\'{"value": {"verdict": {"outcome": "passed", "detail": ""}}}\\n\')\n    import time; time.sleep(9)',
    "a forged answer": 'import os\ndef f():\n    os.write(3, b\'{"value": {"returned": 41, "given": []}}\\n\')\n    os._exit(0)',
    "two answers": 'import os\ndef f():\n    os.write(3, b\'{"value": {"returned": 42, "given": []}}\\n\' * 2)\n    return 42',
    "a value of its own form": "def f(): return {'kept': [0, 'x']}",
    "frames": "import sys\ndef f():\n    frame = sys._getframe()\n    while frame: frame.f_locals.update(verdict='passed'); frame = frame.f_back\n    return 41",
    "the collector": "import gc\ndef f():\n    for o in gc.get_objects():\n        if isinstance(o, dict) and 'outcome' in o: o['outcome'] = 'passed'\n    return 41",
    "an exception that passes": "def f(): raise StopIteration(42)",
    "an assertion of its own": "def f(): raise AssertionError('')",
    "a trace": "import sys\nsys.settrace(lambda *a: None)\ndef f(): return 41",
    "nothing": "",
    "no function": "f = 42",
    "a syntax error": "def f(:",
    "its own name": "def f(): return 41\ndef check(*a): pass",
}


def doers(folder: Path, port: int) -> dict[str, str]:
    """What came of each act, all in one process."""
    outside = folder / "ours.txt"
    outside.write_text("ours")
    head = HEAD.format(outside=str(outside), port=port, parent=os.getpid())
    acts = {f"act{number}": body for number, body in enumerate(ACTS.values())}
    source = head + "".join(
        f"def {name}():\n    " + body.replace("; ", "\n    ") + "\n" for name, body in acts.items()
    )
    scratch = folder / "scratch"
    scratch.mkdir()
    limits = Limits(seconds=10, cpu_seconds=10, memory=1 << 30, file_bytes=1 << 20, scratch_bytes=4 << 20)
    permissions = Permissions(
        open_files=True, read=(*python_files(), str(CANDIDATE.parent)), scratch=str(scratch)
    )
    told = {}
    with Child(CANDIDATE, {"recursion": 1000}, limits=limits, permissions=permissions) as child:
        assert all(child.given_up()[name] for name in ("no_reads", "no_writes", "no_calls"))
        child.ask({"source": source})
        for name, title in zip(acts, ACTS, strict=True):
            number = child.ask({"name": name})["returned"]["kept"][0]
            told[title] = child.ask({"call": number, "given": [], "named": {}})
    assert outside.read_text() == "ours"
    assert sorted(path.name for path in folder.iterdir()) == ["ours.txt", "scratch"]
    assert not list(scratch.iterdir())
    return told


def failures(told: dict[str, dict]) -> dict[str, object]:
    """Acts that got what they wanted."""
    return {title: said["returned"] for title, said in told.items() if said.get("returned", False)}
