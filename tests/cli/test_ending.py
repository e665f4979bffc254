"""A command ends well, or in a message, whatever its streams are."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest

from textmill.cli.main import main


class Refusing(io.RawIOBase):
    """A file that takes no byte, for this reason."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def writable(self):
        return True

    def write(self, data):
        raise OSError(self.number, os.strerror(self.number))


@pytest.fixture
def ended(monkeypatch, tmp_path, capfd):
    """Run `textmill doctor` with such a stdout; its exit code and what it says on stderr."""

    def ended(stdout, *flags):
        monkeypatch.setattr(sys, "argv", ["textmill", "doctor", "--work", str(tmp_path), *flags])
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as end:
            main()
        if isinstance(stdout, io.TextIOWrapper):
            with pytest.raises(OSError):
                stdout.flush()
        return end.value.code, capfd.readouterr().err

    return ended


def refusing(number: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(Refusing(number)), encoding="utf-8")


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EIO, "disk failed")])
def test_a_stdout_that_takes_nothing_is_said(ended, number, said, flags):
    code, err = ended(refusing(number), *flags)
    assert code == 1
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_reader_that_went_away_is_no_error(ended):
    assert ended(refusing(errno.EPIPE)) == (0, "")


def test_a_closed_stdout_is_no_error(ended):
    assert ended(None) == (0, "")
