"""A polite way to be stopped: the first signal asks, the work saves and leaves; a second one insists."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stop:
    """Whether somebody asked the work to stop, and how."""

    def __init__(self) -> None:
        self.asked: str = ""  # name of the signal; empty: nobody did

    def __bool__(self) -> bool:
        return bool(self.asked)


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Within the block SIGINT, SIGTERM and SIGUSR1 set the flag; a second SIGINT interrupts at once.

    Signals reach the main thread only; elsewhere (a server, a notebook's worker) the flag is never set.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: object) -> None:
        if stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
