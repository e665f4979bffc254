"""One SQLite file, through apsw: how it is opened, and what its errors mean to a person.

Every page of the file has a checksum (SQLite's cksumvfs, which apsw brings along), so that a flipped bit is found when
the page is read. What is deleted is overwritten with zeros (`secure_delete`), in the full-text index too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.base.errors import BusyError, DamagedError, RecipeError, TextmillError

if TYPE_CHECKING:
    import apsw

_WAIT = 30_000  # milliseconds for another process that writes
_CHECKSUM = 8  # bytes at the end of every page
_SUMMED = "cksmvfs"  # the name cksumvfs gives itself


@contextlib.contextmanager
def errors(path: Path) -> Iterator[None]:
    """Whatever SQLite raises, as what it means. Raises BusyError, DamagedError, TextmillError."""
    import apsw

    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise BusyError(
            "is being written by another process", where=path, advice="wait for it, or stop it first"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise DamagedError(f"is damaged ({error})", where=path, advice=_AGAIN) from error
    except apsw.IOError as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA:
            raise DamagedError(
                "is damaged: a page is not what was written", where=path, advice=_AGAIN
            ) from error
        raise TextmillError(f"cannot be read or written ({error})", where=path) from error
    except apsw.FullError as error:
        raise TextmillError(
            "the disk is full", where=path, advice="make room; what was stored before is unharmed"
        ) from error
    except (apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError, apsw.AuthError) as error:
        raise TextmillError(f"cannot be opened ({error})", where=path) from error


_AGAIN = "restore it from a copy, or remove it and add the documents again"


def connect(path: Path, *, create: bool = False) -> apsw.Connection:
    """The file, opened. Raises RecipeError where it is not there and is not to be made, or apsw is not installed."""
    try:
        import apsw
        import apsw.sqlite_extra
    except ImportError as error:
        raise RecipeError(
            "documents are kept by apsw, which is not installed", advice="pip install 'textmill[rag]'"
        ) from error
    path = Path(os.path.abspath(path))
    if not create and not path.exists():
        raise RecipeError("is not there", where=path, advice="`textmill docs add FOLDER` makes it")
    with errors(path):
        summed = apsw.sqlite_extra.has("cksumvfs")
        if summed and _SUMMED not in apsw.vfs_names():
            with contextlib.closing(apsw.Connection(":memory:")) as loader:
                apsw.sqlite_extra.load(loader, "cksumvfs")
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        if create and not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        new = path.stat().st_size == 0
        database = apsw.Connection(str(path), flags=flags, vfs=_SUMMED if summed else None)
        try:
            database.set_busy_timeout(_WAIT)
            if new and summed:
                database.reserve_bytes(reserve=_CHECKSUM)
            for setting in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = ON",
                "foreign_keys = ON",
                "temp_store = MEMORY",
            ):
                database.execute(f"PRAGMA {setting}").fetchall()
        except BaseException:
            database.close()
            raise
    return database
