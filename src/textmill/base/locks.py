"""Holding a directory for writing: one process at a time, the others wait or are told who is at it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from textmill.base.disk import disk_errors
from textmill.base.errors import BusyError, TextmillError
from textmill.base.files import make_directory

NAME = ".lock"
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_PAUSE = 0.1  # seconds between two looks at a lock another process has


@contextlib.contextmanager
def lock(directory: Path, purpose: str, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a directory for writing. The kernel drops the lock when the process dies, however it dies.

    When another process has it, `waiting` is told who and the lock is waited for; without `waiting`, BusyError is
    raised, naming the holder. Raises TextmillError where the file system has no locks.
    """
    directory = Path(directory)
    with disk_errors(directory):
        make_directory(directory)
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    with open(descriptor, "r+", encoding="utf-8") as handle:
        told = ""
        while not _taken(handle, directory):
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            if waiting is None:
                raise BusyError(
                    f"is being written by {holder}", where=directory, advice="wait for it, or stop it first"
                )
            if holder != told:
                waiting(holder)
                told = holder
            time.sleep(_PAUSE)
        handle.seek(0)
        handle.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        handle.write(f"{purpose}, process {os.getpid()} on {socket.gethostname()} since {since}")
        handle.flush()
        yield
        handle.seek(0)
        handle.truncate(0)


def _taken(handle: IO[str], directory: Path) -> bool:
    """Whether the lock is ours now. Raises TextmillError where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise TextmillError(
            f"this file system keeps no locks ({error.strerror}), so two commands could write over each other",
            where=directory,
            advice="keep the workspace on a disk of this machine (--work DIR), or mount this one with locks",
        ) from error
    return True


@contextlib.contextmanager
def shared(directory: Path) -> Iterator[bool]:
    """Keep a directory that is being read from being deleted by whoever asks `unread` first; whether it is there.

    Where the file system has no locks, nothing is held.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield _same(descriptor, directory)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def unread(directory: Path) -> Iterator[bool]:
    """Whether nobody reads a directory now; nobody begins to while the block lasts."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield _alone(descriptor)
    finally:
        os.close(descriptor)


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN  # without locks, nobody can say
    return True


def _same(descriptor: int, directory: Path) -> bool:
    """Whether a name still means what was opened by it."""
    try:
        now = os.stat(directory)
    except OSError:
        return False
    opened = os.fstat(descriptor)
    return (opened.st_dev, opened.st_ino) == (now.st_dev, now.st_ino)
