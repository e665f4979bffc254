"""A quick start of a command that loads a model: hundreds of modules are imported first, and then weights are read.

    start.library_ahead()        # first of all
    with start.loading():
        from … import …
        model = start.ahead(read, target)       # in a thread, while more is imported
        from … import …
        model = model.result()

Imports take one core, since all of them want the interpreter's lock; what is done to weights, and the loading of
libraries, does not, and takes the others.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_TURN = 5e-5  # seconds until a thread gives the interpreter's lock to one that waits for it; usually 5e-3


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Modules and models are loaded in this block, which stay: nobody looks for what of them could be let go.

    The collector of garbage would go through all of it time and again, an eighth of a start. What is there at the end
    it never goes through again. A thread that works on weights hands the interpreter's lock back thousands of times,
    and would wait for it each time as long as such a piece of work takes, or longer.
    """
    collected, turn = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(turn)
        if collected:
            gc.freeze()
            gc.enable()


def ahead(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> Future[T]:
    """What `work` gives, or raises, once a thread has done it. It holds nobody up who leaves without it."""
    coming: Future[T] = Future()
    around = contextvars.copy_context()

    def act() -> None:
        try:
            coming.set_result(around.run(work, *given, **named))
        except BaseException as error:
            coming.set_exception(error)

    threading.Thread(target=act, name="ahead", daemon=True).start()
    return coming


def library_ahead() -> None:
    """Begin to load PyTorch's library in a thread, so that `import torch` finds it there: a tenth of that import. Where
    it cannot be, nothing is different but that."""
    if "torch" not in sys.modules and sys.platform == "linux":
        ahead(_load_library)


def _load_library() -> None:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return
    path = Path(found.origin).parent / "lib" / "libtorch_cpu.so"
    if path.is_file():
        # ctypes itself holds the interpreter's lock while it loads a library, and not while it calls a function.
        load = ctypes.CDLL(None).dlopen
        load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        load(os.fsencode(path), os.RTLD_LAZY)
