"""What a disk refuses, as errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from textmill.base.errors import TextmillError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_IMPOSSIBLE = (errno.EISDIR, errno.EINVAL, errno.ENOTSUP, errno.ELOOP, errno.EBUSY)
_FAILED = (
    errno.EIO,
    errno.ENXIO,
    errno.ENODEV,
    errno.ESTALE,
    errno.EREMOTEIO,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
)


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full or failing disk, a quota, a missing permission or too long a name into an error that says what to
    do."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in _FULL:
            free = shutil.disk_usage(existing_parent(where)).free
            raise TextmillError(
                f"the disk is full ({free / 1e6:.0f} MB free): the old file was kept",
                where=where,
                advice="free some space, or choose another folder with --work, and run the same command again",
            ) from error
        if error.errno in _FORBIDDEN:
            raise TextmillError(
                f"cannot be written ({said})", where=where, advice="check its permissions"
            ) from error
        if error.errno in _FAILED:
            raise TextmillError(
                f"the disk failed ({said}): the old file was kept",
                where=where,
                advice="check the disk or its connection, and run the same command again",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise TextmillError(
                "a file stands where a folder is needed", where=where, advice="choose another path"
            ) from error
        if error.errno in _IMPOSSIBLE:
            raise TextmillError(
                f"cannot be written ({said})", where=where, advice="choose another path"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise TextmillError("the name is too long", where=where, advice="choose a shorter one") from error
        raise


def existing_parent(path: Path) -> Path:
    """The nearest directory above `path` that exists."""
    path = Path(path).absolute()
    while not path.is_dir():
        path = path.parent
    return path
