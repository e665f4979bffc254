"""Files that are either whole or not there: atomic writes, seals, hashes.

The order of every write is: temporary name, write, fsync, rename, fsync of the directory. A reader that
meets a half-written file therefore met a bug, never a crash. What is half made stands beside what it will be, never
in a folder for temporary files, which may be small or on another disk; what a killed writer left there is taken away
by the next one.

What Textmill keeps for itself is its owner's alone (0600, folders 0700); what is made to be handed on, such as a
published model, has the modes its owner's umask gives (`private=False`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from textmill.base.disk import disk_errors
from textmill.base.errors import DamagedError, RecipeError, TextmillError

TEMPORARY = ".partial-"  # prefix of names that are not yet what they will be
_OLD, _DOOMED = (
    f"{TEMPORARY}old-",
    f"{TEMPORARY}gone-",
)  # what gives way to something new; what is being deleted
_LONGEST = 120  # characters of a name that its temporary name spells out
SEAL = "seal"  # the key whose value is the content id of all the others
_CHECK = "check"  # the same of one JSON line, shorter
_BLOCK = 1 << 20


def sync(path: Path) -> None:
    """Make the bytes of a file durable, or the names in a directory: a rename is only safe after this."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some mounts cannot do this to a directory
            raise
    finally:
        os.close(handle)


def make_directory(path: Path, *, private: bool = True) -> None:
    """Make a directory and what is missing above it; one that is there is left as it is."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        try:
            folder.mkdir(0o700 if private else 0o777)
        except FileExistsError:  # another process was quicker
            continue
        except FileNotFoundError as error:  # as under /proc, which takes none
            raise TextmillError(
                "no folder can be made here", where=folder, advice="choose another path"
            ) from error
    path.mkdir(exist_ok=True)  # raises where a file is in the way


def _temporary(path: Path, prefix: str = TEMPORARY) -> Path:
    """Where something is kept, beside `path`, until it takes that name: who makes it is the end of the name."""
    name = path.name
    if not name:  # `/` and `.`, whose name nothing can take
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if len(os.fsencode(name)) > _LONGEST:
        name = f"{name[: _LONGEST // 4]}~{content_id(name)[:16]}"
    return path.with_name(f"{prefix}{name}-{os.getpid()}")


def _real(path: Path) -> Path:
    """A path whose last name is no link: what stands behind a link is replaced, not the link."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _hold(descriptor: int) -> None:
    """Mark what is half made as somebody's, so that nobody takes it away; where there are no locks, the process' id in
    its name must do."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open_mode(private: bool) -> int:
    return 0o600 if private else 0o666


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "wb", *, private: bool = True) -> Iterator[IO[Any]]:
    """Open a file that appears under `path` only when the block ends well.

    Raises TextmillError when the disk is full or fails; whatever stood at `path` before is then untouched. A device or
    a pipe is written to: it is never replaced by a file.
    """
    encoding = None if "b" in mode else "utf-8"
    if _is_stream(path):
        with disk_errors(path), open(path, mode, encoding=encoding) as handle:
            yield handle
        return
    path = _real(path)
    with disk_errors(path):
        temporary = _temporary(path)
        make_directory(path.parent, private=private)
        remove_partial(path.parent, path.name)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _open_mode(private))
            with open(descriptor, mode, encoding=encoding) as handle:
                _hold(handle.fileno())
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
                os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_bytes(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a whole file atomically."""
    with atomic_file(path, private=private) as handle:
        handle.write(data)


def write_text(path: Path, text: str, *, private: bool = True) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode("utf-8"), private=private)


def write_texts(directory: Path, texts: Mapping[str, str]) -> None:
    """Write text files by name, each atomically; folders in a name are made."""
    for name, text in texts.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(directory / name, text)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value atomically, indented, keys in the order given.

    A path that is not UTF-8 is text with lone surrogates (PEP 383), which JSON can hold only as escapes.
    """
    write_bytes(path, _json(value, indent=2) + b"\n")


def _json(value: Any, indent: int | None = None) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent).encode("ascii")


def read_json(path: Path) -> Any:
    """Read one JSON value. Raises DamagedError when it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError("is missing", where=path) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedError(f"is not readable JSON ({error})", where=path) from error


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write one JSON object that says itself whether it is still what was written."""
    plain = json.loads(json.dumps(dict(record)))  # as it will be read: keys are text
    write_json(path, plain | {SEAL: value_id(plain)})


def read_sealed(path: Path) -> Any:
    """Read what `write_sealed` wrote, without its seal. Raises DamagedError when it is missing or has changed.

    What has no seal was written before there were any, and is believed.
    """
    record = read_json(path)
    if not isinstance(record, dict) or SEAL not in record:
        return record
    seal = record.pop(SEAL)
    if seal != value_id(record):
        raise DamagedError("was changed after it was written (its checksum differs)", where=path)
    return record


def check_free(path: Path) -> None:
    """Raises RecipeError when something stands at a path a person named: nothing they have made is ever replaced."""
    with disk_errors(path):
        if os.path.lexists(path):
            raise RecipeError("already exists", where=path, advice="choose another name, or move it away")


@contextlib.contextmanager
def atomic_directory(path: Path, *, private: bool = True) -> Iterator[Path]:
    """Yield a fresh directory that takes the name `path` only when the block ends well.

    Nobody else can look into it while it is made. If `path` is a directory when the block ends, it is replaced; should
    that fail half-way, it is there as it was. What is no directory is never replaced by one. The block must itself make
    durable what it writes outside the directory.
    """
    path = _real(path)
    with disk_errors(path):
        temporary = _temporary(path)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        make_directory(path.parent, private=private)
        remove_partial(path.parent, path.name)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(0o700)
        held = os.open(temporary, os.O_RDONLY)
        try:
            _hold(held)
            yield temporary
            for file in temporary.rglob("*"):
                _settle(file, private)
                sync(file)
            _settle(temporary, private)
            sync(temporary)
            _exchange(temporary, path)
            sync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        finally:
            os.close(held)


def _settle(path: Path, private: bool) -> None:
    """Give a file or folder the modes it is to have, whatever the library gave it that wrote it."""
    if path.is_symlink():
        return
    wanted = 0o700 if path.is_dir() else 0o600
    if not private:
        wanted = (0o777 if path.is_dir() else 0o666) & ~_umask()
    if path.stat().st_mode & 0o777 != wanted:
        path.chmod(wanted)


@contextlib.contextmanager
def private() -> Iterator[None]:
    """What a library writes within the block is its owner's alone. It holds for the whole process, so be short."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


def _umask() -> int:
    """The umask of this process; there is no way to ask for it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _exchange(new: Path, path: Path) -> None:
    """`new` takes the name `path`; what had it goes, or is back when that fails."""
    if not path.exists():
        os.rename(new, path)
        return
    old = _temporary(path, _OLD)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(old, path)
        raise
    discard(old)


def discard(path: Path) -> None:
    """Delete a folder: it loses its name before its files, so that a crash leaves no half of it under that name."""
    doomed = (
        _temporary(path, _DOOMED)
        if not path.name.startswith(TEMPORARY)
        else path.with_name(_DOOMED + path.name.removeprefix(TEMPORARY))
    )
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_partial(directory: Path, name: str | None = None) -> None:
    """Delete what killed writers left half-made in `directory`: of anything, where the folder is Textmill's own, or of
    `name` alone.

    What a writer that still lives is at is left alone. What had given way to something new that never came is put back.
    """
    chosen = re.compile(
        f"({re.escape(TEMPORARY)})(old-|gone-)?({'.+' if name is None else re.escape(_spelt(name))})-([0-9]+)"
    )
    try:
        entries = [entry for entry in os.listdir(directory) if entry.startswith(TEMPORARY)]
    except OSError:
        return
    for entry in entries:
        match, path = chosen.fullmatch(entry), Path(directory) / entry
        if match is None:
            if name is not None or not _unlocked(path, unsure=True):
                continue
        elif not _abandoned(path, int(match[4]), beginning=name is not None):
            continue
        home = Path(directory) / match[3] if match else path
        if match and match[2] == "old-" and not home.exists():
            with contextlib.suppress(OSError):
                os.rename(path, home)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _spelt(name: str) -> str:
    """A name as temporary names spell it."""
    made = _temporary(Path(name)).name
    return made.removeprefix(TEMPORARY).rpartition("-")[0]


def _abandoned(path: Path, process: int, *, beginning: bool) -> bool:
    """Whether nobody is at something half made: its writer is no living process here, and holds no lock on it.

    beginning: this process is about to make it, so what is there under its own id another of that id has left.
    """
    if process == os.getpid():
        return beginning or _unlocked(path, unsure=False)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return _unlocked(path, unsure=True)
    except OSError:  # it lives, and is somebody else's
        return False
    return False


def _unlocked(path: Path, *, unsure: bool) -> bool:
    """Whether nobody holds a lock on a file or folder; `unsure` where there are no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return unsure
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A folder for what is only needed while the block lasts, on the disk of `beside`; where nothing can be written
    there, in the system's folder for temporary files."""
    home = _real(Path(beside).absolute())
    name = f"scratch-{home.name}"
    path = _temporary(home.with_name(name))
    try:
        remove_partial(path.parent, name)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(0o700)
    except OSError:
        with tempfile.TemporaryDirectory(prefix="textmill-") as folder:
            yield Path(folder)
        return
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


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


def append_jsonl(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON object as one line, in one write; the line says itself whether it is still what was written.

    What a crash left of a last line is taken away first.
    """
    plain = json.loads(json.dumps(dict(record)))
    line = _json(plain | {_CHECK: value_id(plain)[:8]}) + b"\n"
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "r+b", buffering=0) as handle:
            _whole_lines(handle)
            handle.write(line)


def _whole_lines(handle: IO[bytes]) -> None:
    """Cut off what follows the last newline."""
    size = end = handle.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        handle.seek(start)
        at = handle.read(end - start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        handle.truncate(end)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line cut off by a crash is passed over.

    Raises DamagedError at any other line that was changed after it was written.
    """
    if not Path(path).exists():
        return
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.isspace():
                continue
            record = _checked(line)
            if record is None and not line.endswith(b"\n") and _checked(line[:-1]) is None:
                return
            if record is None:
                raise DamagedError(
                    "was changed after it was written",
                    where=f"{path}: line {number}",
                    advice="restore that line from a copy, or delete it",
                )
            yield record


def _checked(line: bytes) -> Any:
    """The record of a line without its check; None where it was changed after it was written."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if isinstance(record, dict) and _CHECK in record:
        check = record.pop(_CHECK)
        return record if check == value_id(record)[:8] else None
    return record
