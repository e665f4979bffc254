"""From one input to its documents, through whatever it is wrapped in."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from textmill.base.corpus_spec import LimitSpec
from textmill.text.document import Document, Rejected, printable
from textmill.text.sources import archive, plain, records
from textmill.text.sources.stream import Budget, Exhausted, Input, SetAside

# What the readers of the standard library and pyarrow raise on damaged data. pyarrow's own errors are
# ValueError, OSError, KeyError, TypeError or NotImplementedError by inheritance.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def open_file(path: Path, place: str, text_field: str, limits: LimitSpec) -> Iterator[Document | Rejected]:
    """The documents of one file on disk; what cannot be read comes as Rejected, and nothing is raised."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise SetAside("is not a regular file")
        stream = open(path, "rb")  # noqa: SIM115 (closed below)
    except SetAside as error:
        yield Rejected(None, place, "read", error.reason)
        return
    except OSError as error:
        yield Rejected(None, place, "read", "cannot be opened", error.strerror or str(error))
        return
    with stream:
        item = Input(place, path.name, stream, Budget(status.st_size, limits), status.st_size)
        try:
            yield from _documents(item, text_field)
        except Exhausted as error:
            yield Rejected(None, place, "read", error.reason, error.detail)


def _documents(item: Input, text_field: str) -> Iterator[Document | Rejected]:
    """The documents of an input. Raises Exhausted only; the outermost file is then given up."""
    try:
        if (inner := archive.unpacked(item)) is not None:
            yield from _documents(inner, text_field)
        elif archive.is_archive(item.name):
            for member in archive.members(item):
                if isinstance(member, Rejected):
                    yield member
                else:
                    yield from _documents(member, text_field)
        elif (read := records.reader(item.name)) is not None:
            yield from read(item, text_field)
        else:
            yield from plain.documents(item)
    except Exhausted:
        raise
    except SetAside as error:
        yield Rejected(None, item.place, "read", error.reason, error.detail)
    except _DAMAGE as error:
        detail = printable(f"{type(error).__name__}: {error}")[:300]
        yield Rejected(None, item.place, "read", "is damaged or not what its name says", detail)
