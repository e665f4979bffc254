"""A quick start: what is loaded meanwhile, and what is as before afterwards."""

from __future__ import annotations

import gc
import sys

import pytest

from textmill.base import start


def test_the_interpreter_is_as_before_once_all_is_loaded():
    before = gc.isenabled(), sys.getswitchinterval()
    with pytest.raises(ValueError), start.loading():
        assert not gc.isenabled()
        assert sys.getswitchinterval() < before[1]
        raise ValueError
    assert (gc.isenabled(), sys.getswitchinterval()) == before
    gc.unfreeze()


def test_what_is_done_ahead_is_there_or_raises():
    assert start.ahead(sum, [1, 2], start=3).result() == 6
    with pytest.raises(ZeroDivisionError):
        start.ahead(divmod, 1, 0).result()
