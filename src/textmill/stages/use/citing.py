"""Citations held against their files: what is cited stands there now, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textmill.base.errors import DamagedError
from textmill.retrieval.answers import Answered, Cited
from textmill.retrieval.places import Place
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources import table

_AGAIN = "`textmill docs add` reads it again, `docs remove --gone` forgets it"


def check(answer: Answered) -> None:
    """Raises DamagedError where a file that an answer names is no longer what was read, or does not hold the words at
    the place that is cited."""
    cited = [one for sentence in answer.sentences for one in sentence.cited]
    cited += [one for one, _ in answer.others]
    for path in dict.fromkeys(one.place.path for one in cited):
        _check_file(path, [one for one in cited if one.place.path == path])


def _check_file(path: str, cited: Sequence[Cited]) -> None:
    waiting = list(cited)
    for one in waiting:
        _unchanged(one.place)
    for document in table.documents(source_of(path), Path(path), path, LimitSpec()):
        if not isinstance(document, Rejected):
            waiting = [one for one in waiting if not _holds(document, one)]
        if not waiting:
            return
    raise DamagedError(
        f"is cited, and does not hold {waiting[0].text!r} at character {waiting[0].start:,}",
        where=waiting[0].place.source,
        advice=_AGAIN,
    )


def _holds(document: Document, cited: Cited) -> bool:
    there = document.source == cited.place.source
    return there and document.whole[cited.start : cited.end] == cited.text


def _unchanged(place: Place) -> None:
    path = Path(place.path)
    if not path.exists():
        raise DamagedError("is cited, and is no longer there", where=path, advice=_AGAIN)
    if table.content_of(path) != place.hash.partition(" ")[0]:
        raise DamagedError("is cited, and has changed since it was read", where=path, advice=_AGAIN)


def source_of(*paths: str) -> FilesSource:
    """Files as documents are read from them: of records, their column `text`."""
    return FilesSource(paths=paths, text_fields=("text",))
