"""Work that goes on is told, by whoever does it, to whoever listens."""

from __future__ import annotations

import itertools

import pytest

from helpers.listener import Listener
from textmill.base import console


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second each time it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(ticks)))


def test_slow_work_is_told_from_its_beginning_to_its_end(clock):
    listener = Listener()
    with console.listening(listener):
        assert list(console.tracked("abc", "reading", 3, "letters", slow=True)) == ["a", "b", "c"]
    assert listener.said[0] == "reading: 0 of 3 letters"
    assert listener.said[-1] == "reading: 3 of 3 letters"


def test_quick_work_is_not_worth_a_line(monkeypatch):
    monkeypatch.setattr(console.time, "monotonic", lambda: 7.0)
    listener = Listener()
    with console.listening(listener):
        assert list(console.tracked(range(9), "reading")) == list(range(9))
    assert listener.said == []


def test_nobody_needs_to_listen(clock):
    assert list(console.tracked(iter("ab"), "reading", slow=True)) == ["a", "b"]
    listener = Listener()
    with console.listening(listener):
        pass
    assert list(console.tracked("ab", "reading", slow=True)) == ["a", "b"]
    assert listener.said == []


def test_work_that_fails_is_not_told_as_done(clock):
    def broken():
        yield 1
        raise ValueError

    listener = Listener()
    with console.listening(listener), pytest.raises(ValueError):
        list(console.tracked(broken(), "reading", 2, slow=True))
    assert "reading: 2 of 2" not in listener.said


def test_what_was_noted_once_is_known(capsys):
    reporter, silent = console.Reporter(), console.Silent()
    for told in (reporter, silent):
        told.note_once("personal data: none")
    assert capsys.readouterr().err.splitlines() == ["personal data: none"]
    assert (reporter.noted, silent.noted) == ({"personal data: none"}, set())
