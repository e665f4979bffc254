"""Files that are either whole or not there: atomic writes, hashes, locks.

The order of every write is: temporary name, write, fsync, rename, fsync of the directory. A reader that
meets a half-written file therefore met a bug, never a crash.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from textmill.base.errors import BusyError, DamagedError, TextmillError

TEMPORARY = ".partial-"  # prefix of names that are not yet what they will be
_BLOCK = 1 << 20


def sync(path: Path) -> None:
    """Make the bytes of a file durable, or the names in a directory: a rename is only safe after this."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk, a quota or a missing permission into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(existing_parent(where)).free
            raise TextmillError(
                f"the disk is full ({free / 1e6:.0f} MB free): nothing was written in place of what was there",
                where=where,
                advice="free some space, or choose another place with --work, and run the same command again",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise TextmillError(
                f"cannot be written ({error.strerror})", where=where, advice="check its permissions"
            ) from error
        raise


def existing_parent(path: Path) -> Path:
    """The nearest directory above `path` that exists."""
    path = Path(path).absolute()
    while not path.is_dir():
        path = path.parent
    return path


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears under `path` only when the block ends well.

    Raises TextmillError when the disk is full; whatever stood at `path` before is then untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    encoding = None if "b" in mode else "utf-8"
    with disk_errors(path):
        try:
            with open(temporary, mode, encoding=encoding) as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(path) as handle:
        handle.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value atomically, indented, keys in the order given.

    A path that is not UTF-8 is text with lone surrogates (PEP 383), which JSON can hold only as escapes.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON value. Raises DamagedError when it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError("is missing", where=path) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedError(f"is not readable JSON ({error})", where=path) from error


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a fresh directory that takes the name `path` only when the block ends well.

    The block must itself make durable what it writes by other means than this module. If `path` exists
    when the block ends, it is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    with disk_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                sync(file)
            sync(temporary)
            if path.exists():
                old = path.with_name(f"{TEMPORARY}old-{path.name}-{os.getpid()}")
                os.rename(path, old)
                os.rename(temporary, path)
                shutil.rmtree(old)
            else:
                os.rename(temporary, path)
            sync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def remove_partial(directory: Path, name: str = "") -> None:
    """Delete what earlier, killed writers left half-made in `directory`: of anything, or of `name` alone.

    Call it with the lock held.
    """
    for path in [
        *Path(directory).glob(f"{TEMPORARY}{name}*"),
        *Path(directory).glob(f"{TEMPORARY}old-{name}*"),
    ]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def content_id(data: bytes | str) -> str:
    """BLAKE2b-128 of bytes (or of UTF-8 text), as 32 hex digits: the id of documents and artifacts."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def value_id(value: Any) -> str:
    """The content id of plain data, whatever the order of its keys."""
    return content_id(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def append_jsonl(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON object as one line, in one write."""
    line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")
    with disk_errors(path), open(path, "ab", buffering=0) as handle:
        handle.write(line)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line cut off by a crash is passed over."""
    if not Path(path).exists():
        return
    with open(path, encoding="utf-8", errors="replace") as handle:
        for line in handle:
            try:
                yield json.loads(line)
            except ValueError:
                continue


@contextlib.contextmanager
def lock(directory: Path, purpose: str, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a directory for writing. The kernel drops the lock when the process dies, however it dies.

    When another process has it, `waiting` is told who and the lock is waited for; without `waiting`, BusyError is
    raised, naming the holder.
    """
    directory = Path(directory)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        handle = open(directory / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (closed below)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            if waiting is None:
                raise BusyError(
                    f"is being written by {holder}", where=directory, advice="wait for it, or stop it first"
                ) from error
            waiting(holder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        handle.write(f"{purpose}, process {os.getpid()} on {socket.gethostname()} since {since}")
        handle.flush()
        yield
        handle.truncate(0)
    finally:
        handle.close()
