"""Zip, tar, gzip, bzip2, xz and zstd, read as streams, never written out, and never believed.

A member that points outside, a link, a device or a bomb is skipped and the members after it are still read.
"""

from __future__ import annotations

import bz2
import gzip
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from tarfile import HeaderError
from typing import BinaryIO, cast

from textmill.text.document import Rejected, printable
from textmill.text.sources.formats.encoding import of_names
from textmill.text.sources.formats.stream import (
    RATIO_FLOOR,
    Fields,
    Input,
    SetAside,
    Xz,
    deeper,
    metered,
    seekable,
)

_UTF8_NAMES = 1 << 11  # APPNOTE.TXT §4.4.4
_UNICODE_PATH = 0x7075
_REMEMBERED = 50  # names of a tar by which the next one's encoding is told
_LONG_HEADER = 1 << 20  # bytes; tar keeps long names and pax records in memory whole
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def _zstd(stream: BinaryIO) -> BinaryIO:
    import pyarrow as pa

    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))


# Ending -> (what opens it, the ending of what is inside).
_PACKED: dict[str, tuple[Callable[[BinaryIO], BinaryIO], str]] = {
    ".tgz": (lambda stream: cast(BinaryIO, gzip.GzipFile(fileobj=stream)), ".tar"),
    ".tbz": (lambda stream: cast(BinaryIO, bz2.BZ2File(stream)), ".tar"),
    ".tbz2": (lambda stream: cast(BinaryIO, bz2.BZ2File(stream)), ".tar"),
    ".txz": (lambda stream: cast(BinaryIO, Xz(stream)), ".tar"),
    ".gz": (lambda stream: cast(BinaryIO, gzip.GzipFile(fileobj=stream)), ""),
    ".bz2": (lambda stream: cast(BinaryIO, bz2.BZ2File(stream)), ""),
    ".xz": (lambda stream: cast(BinaryIO, Xz(stream)), ""),
    ".lzma": (lambda stream: cast(BinaryIO, Xz(stream)), ""),
    ".zst": (_zstd, ""),
}


def unpacked(item: Input, fields: Fields) -> Iterator[Input]:
    """The input without its outermost compression, whose bytes are charged as they are read."""
    stem, _, last = item.name.rpartition(".")
    opener, inner = _PACKED[f".{last.lower()}"]
    stream = metered(opener(item.stream), item.budget.charge)
    yield replace(item, name=stem + inner, stream=stream, size=None, layers=deeper(item), metered=True)


def is_packed(name: str) -> bool:
    """Whether a file of this name is one that is packed by itself."""
    return name[name.rfind(".") :].lower() in (".gz", ".bz2", ".xz", ".lzma", ".zst")


def _refusal(name: str) -> str:
    """Why a member of this name is refused; empty when it may be read."""
    path = name.replace("\\", "/")
    if "\0" in name or not path.strip("/"):
        return "has no usable name"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is an absolute path in an archive"
    if ".." in path.split("/"):
        return "points outside its archive"
    return ""


def zip_members(item: Input, fields: Fields) -> Iterator[Input | Rejected]:
    """The files inside a .zip, in the archive's order. Each must be read before the next is asked for."""
    deeper(item)
    with seekable(item) as stream, zipfile.ZipFile(stream) as archive:
        infos = archive.infolist()
        for info, name in zip(infos, _zip_names(infos), strict=True):
            item.budget.member()
            if info.is_dir() or _is_fork(name):
                continue
            location = f"{item.place}!{printable(name)}"
            mode = info.external_attr >> 16  # of the system that packed it, where that was Unix
            reason = _refusal(name)
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                reason = (
                    "is a link in an archive" if stat.S_ISLNK(mode) else "is a device or pipe in an archive"
                )
            if info.flag_bits & 1:
                reason = "is encrypted"
            if reason:
                yield Rejected(None, location, "read", reason)
                continue
            # zipfile reads no more than compress_size packed bytes, so a lie in it can only lower the cap.
            yield from _zip_member(item, archive, info, name, location)


def _zip_names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """The names of members: UTF-8 where a flag or an extra field says so, else told by all others together."""
    known = {
        at: info.filename if info.flag_bits & _UTF8_NAMES else _unicode_path(info)
        for at, info in enumerate(infos)
        if info.flag_bits & _UTF8_NAMES or info.filename.isascii() or _unicode_path(info)
    }
    known |= {at: infos[at].filename for at, name in known.items() if not name}
    others = {at: info.filename.encode("cp437") for at, info in enumerate(infos) if at not in known}
    encoding = of_names(others.values()) or "cp437"  # as zipfile has taken them: APPNOTE.TXT, appendix D
    return [known[at] if at in known else others[at].decode(encoding, "replace") for at in range(len(infos))]


def _unicode_path(info: zipfile.ZipInfo) -> str:
    """The name in the Unicode Path extra field (APPNOTE.TXT §4.6.9), if it belongs to the name in the header."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            checksum = int.from_bytes(field[1:5], "little")
            if checksum == zlib.crc32(info.orig_filename.encode("cp437", "replace")):
                return field[5:].decode("utf-8", "replace")
    return ""


def _is_fork(name: str) -> bool:
    """Whether a member is what macOS packs beside every file, to keep its resource fork and attributes."""
    parts = name.replace("\\", "/").split("/")
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _zip_member(
    item: Input, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, location: str
) -> Iterator[Input | Rejected]:
    try:
        stream = zip_stream(item, archive, info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        yield Rejected(None, location, "read", "cannot be unpacked", printable(str(error)))
        return
    with stream:
        yield Input(location, name, stream, item.budget, None, item.layers + 1, metered=True)


def zip_stream(item: Input, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    """The unpacked bytes of a member, charged to the budget and held to the ratio. Raises what zipfile raises."""
    cap = max(RATIO_FLOOR, item.limits.ratio * min(info.compress_size, item.size or item.budget.packed))
    taken = 0

    def charge(count: int) -> None:
        nonlocal taken
        taken += count
        if taken > cap:  # asked first: the archive does not answer for what a member is refused for
            item.budget.forgiven += taken
            item.budget.unpacked += count
            raise SetAside(
                "unpacks to more than limits.ratio times its size", f"{info.compress_size} bytes packed"
            )
        item.budget.charge(count)

    return metered(cast(BinaryIO, archive.open(info)), charge)


class _Member(tarfile.TarInfo):
    """A tar header that refuses what would fill the memory, and does not take damage for the end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _EXTENDED and info.size > _LONG_HEADER):
            raise SetAside("has a damaged or hostile tar header", f"a header of {info.size} bytes")
        return info

    @classmethod
    def fromtarfile(cls, tarfile):
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ not in ("InvalidHeaderError", "TruncatedHeaderError"):
                raise  # the ends of an archive are errors to tarfile as well
            raise SetAside("has a damaged tar header; the rest is not read", str(error)) from error


def tar_members(item: Input, fields: Fields) -> Iterator[Input | Rejected]:
    """The files inside a .tar, in the archive's order. Each must be read before the next is asked for."""
    deeper(item)
    stream = item.stream if item.metered else metered(item.stream, item.budget.charge)
    with tarfile.open(fileobj=stream, mode="r|", bufsize=512 * 512, tarinfo=_Member) as archive:
        raw: list[bytes] = []
        while (info := archive.next()) is not None:
            archive.__dict__["members"].clear()  # tarfile remembers every header it met
            item.budget.member()
            raw = [*raw[-_REMEMBERED:], info.name.encode("utf-8", "surrogateescape")]
            name = info.name
            if not name.isascii() and (encoding := of_names(raw)):
                name = raw[-1].decode(encoding, "surrogateescape")
            if info.isdir() or _is_fork(name):
                continue
            location = f"{item.place}!{printable(name)}"
            reason = _refusal(name)
            if info.issym() or info.islnk():
                reason = "is a link in an archive"
            elif not info.isreg():
                reason = "is a device or pipe in an archive"
            elif info.issparse():
                reason = "is a sparse file in an archive"
            if reason:
                yield Rejected(None, location, "read", reason)
                continue
            # Wrapped, since it claims to be able to seek, which in a stream it cannot. Its bytes are charged below.
            member = metered(cast(BinaryIO, archive.extractfile(info)), lambda _: None)
            yield Input(location, name, member, item.budget, info.size, item.layers + 1, metered=True)
