"""A polite way to be stopped: the first signal asks, the work saves and leaves; a second one insists.

What is said, is said from within the signal's handler, by the system's own write: a step may take long, and whatever
else writes to the terminal may be in the middle of a line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from textmill.base.language import say
from textmill.base.signals import handled

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_BOUNCE = 0.5  # seconds within which a second signal is still the first: a key pressed twice, a terminal that repeats


class Stop:
    """Whether somebody asked the work to stop, and how."""

    def __init__(self) -> None:
        self.asked: str = ""  # name of the signal; empty: nobody did
        self.at = 0.0  # when, of a clock that only goes forward

    def __bool__(self) -> bool:
        return bool(self.asked)


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Within the block SIGINT, SIGTERM and SIGUSR1 set the flag; a second SIGINT interrupts at once. In any
    thread but the main one the flag is never set."""
    stop = Stop()
    # Now: a handler of signals looks nothing up.
    said = say(
        "stopping after this step, and saving; Ctrl-C once more stops at once and loses what is not saved"
    )

    def ask(number: int, _frame: object) -> None:
        now = time.monotonic()
        if stop and number == signal.SIGINT and now - stop.at > _BOUNCE:
            raise KeyboardInterrupt
        if not stop:
            stop.asked, stop.at = signal.Signals(number).name, now
            with contextlib.suppress(OSError):
                os.write(2, f"\n{stop.asked}: {said}\n".encode())

    with handled(ask, *SIGNALS):
        yield stop
