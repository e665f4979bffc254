"""The standard library of the running Python: real code and prose, on every machine, without a network."""

from __future__ import annotations

import ast
import fnmatch
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from textmill.base.errors import TextmillError
from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec, StdlibSource
from textmill.text.document import Document, Rejected, collected
from textmill.text.sources import local
from textmill.text.sources.formats.stream import Fields
from textmill.text.sources.formats.table import open_file

NAME = "python-stdlib"
TOPICS = "pydoc_data/topics.py"  # the language reference, as a dictionary of prose
ENDINGS = (".py", ".txt", ".rst")
_TESTS = ("test", "tests", "idle_test")
_EXCLUDED = (
    # not the library
    "site-packages",
    "dist-packages",
    "lib-dynload",
    "config-*",
    "sitecustomize.py",
    "usercustomize.py",
    "_bundled",
    # written by a program: this machine's paths, tables of code points, deliberately broken code
    "_sysconfigdata*",
    "cp[0-9]*.py",
    "iso8859_*.py",
    "mac_*.py",
    "koi8_*.py",
    "lib2to3/tests/data",
    "badsyntax*",
    "bad_coding*",
    "*.egg-info",
)


def root() -> Path:
    """Where the library of this Python lies. Raises TextmillError when it came without its sources."""
    path = Path(sysconfig.get_path("stdlib"))
    if not (path / "os.py").is_file():
        raise TextmillError(
            "this Python has no sources of its standard library", where=path, advice="use another"
        )
    return path


def files(source: StdlibSource, base: Path) -> Iterator[tuple[Path, str]]:
    """(path, location) of every file, sorted; `base` is not used. Raises TextmillError when there are no sources."""
    exclude = _EXCLUDED if source.tests else _EXCLUDED + _TESTS
    folder = root()
    walk = local.files(FilesSource(paths=(str(folder),), exclude=exclude), folder)
    for item in walk:
        if isinstance(item, Rejected):
            continue
        path, _ = item
        below = path.relative_to(folder).as_posix()
        prose = path.suffix != ".py" and not any(fnmatch.fnmatchcase(part, "test*") for part in path.parts)
        if path.suffix in ENDINGS and (path.suffix == ".py" or prose) and not path.is_symlink():
            yield path, f"{NAME}:{below}"


def documents(
    source: StdlibSource, path: Path, location: str, limits: LimitSpec, record: RecordSpec | None = None
) -> Iterator[Document | Rejected]:
    """One document a file, and one a topic of `pydoc`."""
    version = ".".join(platform.python_version_tuple()[:2])
    topics = location.endswith(f":{TOPICS}")
    for item in _topics(path, location) if topics else open_file(path, location, Fields(), limits):
        if isinstance(item, Document):
            more = {"library": f"Python {version}", "licence": "PSF-2.0"}
            yield replace(item, metadata={**item.metadata, **more})
        else:
            yield item


def _topics(path: Path, location: str) -> Iterator[Document | Rejected]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        topics = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
        pages = sorted((str(name), str(text)) for name, text in dict(topics).items())
    except (OSError, ValueError, SyntaxError, StopIteration, TypeError) as error:
        yield Rejected(None, location, "read", "holds no topics", os.fspath(path) + f": {error}")
        return
    for name, text in pages:
        yield collected(text, f"{location}:topic {name}", {"title": name})
