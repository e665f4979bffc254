"""Handlers of signals come and go."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from textmill.base.signals import handled


def test_a_handler_is_there_within_the_block_only():
    heard = []
    before = signal.getsignal(signal.SIGUSR2), signal.getsignal(signal.SIGUSR1)
    with (
        pytest.raises(ValueError),
        handled(lambda number, frame: heard.append(number), signal.SIGUSR1, signal.SIGUSR2),
    ):
        os.kill(os.getpid(), signal.SIGUSR2)
        raise ValueError
    assert heard == [signal.SIGUSR2]
    assert (signal.getsignal(signal.SIGUSR2), signal.getsignal(signal.SIGUSR1)) == before


def test_other_threads_leave_them_as_they_are():
    before, seen = signal.getsignal(signal.SIGUSR2), []

    def work():
        with handled(print, signal.SIGUSR2):
            seen.append(signal.getsignal(signal.SIGUSR2))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
