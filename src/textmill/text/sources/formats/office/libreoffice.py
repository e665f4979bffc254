"""LibreOffice as a converter, for forms no library reads: where it is installed, and only if the recipe allows it.

It runs as a process of its own, in a profile of its own that is thrown away, without a screen, and is ended when the
time of one file is over. What it writes is read as any other file; what it was given is not changed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from textmill.text.document import Document, Rejected
from textmill.text.sources.formats.advice import REASON, unread
from textmill.text.sources.formats.stream import Fields, Input, SetAside, deeper, read_whole

_PROGRAMS = ("soffice", "libreoffice")
_VERSION_SECONDS = 30.0


def program() -> str | None:
    """LibreOffice's program on this machine; None where there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


@functools.lru_cache(maxsize=1)
def version() -> str:
    """What LibreOffice's program calls itself, or "missing": another version converts otherwise."""
    if (found := program()) is None:
        return "missing"
    try:
        said = subprocess.run(
            [found, "--version"], capture_output=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return said.stdout.decode("utf-8", "replace").strip() or "unknown"


def converted(form: str, to: str) -> Callable[[Input, Fields], Iterator[Document | Rejected | Input]]:
    """A reader that has LibreOffice convert a file of a form that is not read to one that is, and has that read."""
    usual = unread(f"a.{form}") or SetAside(REASON, f"save it as .{to}")

    def read(item: Input, fields: Fields) -> Iterator[Input]:
        refusal = unread(item.name) or usual  # programs of others write the same under names of their own
        if not item.limits.libreoffice:
            hint = "or set corpus.limits.libreoffice = true where LibreOffice is installed"
            raise SetAside(REASON, f"{refusal.detail}, {hint}")
        if (found := program()) is None:
            raise SetAside(REASON, f"{refusal.detail}, or install LibreOffice")
        deeper(item)
        data = _convert(found, read_whole(item), to, item.limits.file_seconds)
        item.budget.charge(len(data))
        yield item.part(item.place, f"converted.{to}", data, item.layers)

    return read


def _convert(found: str, data: bytes, to: str, seconds: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(data)
        command = [
            found,
            f"-env:UserInstallation={(Path(folder) / 'profile').as_uri()}",
            "--headless",
            "--norestore",
        ]
        result = Path(folder) / "out" / f"source.{to}"
        command += ["--convert-to", to, "--outdir", str(Path(folder) / "out"), str(source)]
        if _run(command, folder, seconds) != 0 or not result.is_file():
            raise SetAside(
                "is damaged, or not what its file extension says", "LibreOffice could not convert it"
            )
        return result.read_bytes()


def _run(command: list[str], folder: str, seconds: float) -> int:
    """The exit status of a program, which is ended with all it started when the time is over."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise SetAside(
            "takes longer than limits.file_seconds", f"{seconds:g} seconds in LibreOffice"
        ) from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
