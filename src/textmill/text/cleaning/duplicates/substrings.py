"""Runs of words that already stood earlier in the corpus (Lee et al. 2022, section 4.1), cut out of the later places.

With `least = 4`, after a text `the mill by the river`, the text `see the mill by the river turn` holds two repeats,
`the mill by the` and `mill by the river`. The five words they cover are cut, and `see turn` is left.

A window is `least` words in a row within one text of a document, case and punctuation aside, but with their signs
(`text.signs`): nothing is cut that differs by a minus or a question mark from what stays. One that is equal to an
earlier window, and does not overlap it, is a repeat; every word of a repeat is cut. What was cut therefore still
stands somewhere before it. A text that is nothing but repeats stays where another text of its document is new: a
passage that many questions ask about belongs to each of them.

Finding them takes two passes, so that only what may be repeated is sorted. Every window has a minimum, the
lowest hash among the runs of half its length (its minimizer; Roberts et al. 2004): equal windows have equal
minima, and neighbours mostly share theirs, so there are some 12 words to a different one. Windows whose minimum
stands nowhere else are new. The others are sorted by a 64-bit hash, bucket by bucket, on disk.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import run_hashes
from textmill.specs.cleaning import SubstringsStep
from textmill.text.document import Document
from textmill.text.signs import signed_words
from textmill.text.step import Cut, Reject, Sketched, Verdict

_BUCKETS = 64
_BUFFERED = 1 << 20  # rows that wait in memory for their bucket
_MASK = {"remove": "", "mask": "[...] "}
_ROW = np.dtype([("hash", "<u8"), ("at", "<u8")])


class Substrings:
    """Cut runs of words that stand earlier in the corpus, or put a mask in their place."""

    name = "substrings"

    def __init__(self, spec: SubstringsStep) -> None:
        self._least, self._fill = spec.least, _MASK[spec.action]
        self._half = (spec.least + 1) // 2

    def sketch(self, documents: Sequence[Document]) -> list[bytes]:
        """Of each text that has words: 32 bits of the hash of each, and where each begins; of one that is shorter than
        a window only that it is there. Nothing of a document without a window."""
        words = signed_words([text for document in documents for text in document.texts.values()])
        values = (words.hash >> np.uint64(32)).astype("<u4")
        bounds = iter(zip(words.offsets[:-1].tolist(), words.offsets[1:].tolist(), strict=True))
        sketches = []
        for document in documents:
            texts, windows = [], False
            for (role, text), (start, end) in zip(document.texts.items(), bounds, strict=False):
                if end - start >= self._least:
                    texts.append(_Text.pack(role, len(text), values[start:end], words.start[start:end]))
                    windows = True
                elif end > start:
                    texts.append(_Text.pack(role, len(text), values[:0], words.start[:0]))
            sketches.append(b"".join(texts) if windows else b"")
        return sketches

    def decide(
        self, sketches: Callable[[], Iterable[Sketched]], scratch: Path
    ) -> Iterator[tuple[int, Verdict]]:
        """The cuts. Memory: some 100 MB, and 8 bytes for each different minimum that occurs twice.

        On disk: a byte a word, a byte a word for minima, 16 for each word in a window that may be a repeat.
        """
        if not self._repeated(sketches, scratch):
            return
        repeats = np.memmap(scratch / "repeats", np.bool_, "r")
        at = 0
        for item in sketches():
            cuts, new = {}, False
            for text in _texts(item.sketch):
                windows = repeats[at : at + max(0, text.count - self._least + 1)]
                at += text.count
                runs = self._covered(windows, text.count) if windows.any() else []
                if runs == [(0, text.count)]:
                    continue
                new = True
                if runs:
                    starts = np.append(text.starts, text.characters).tolist()
                    cuts[text.role] = tuple((starts[first], starts[last]) for first, last in runs)
            if item.sketch and not new:
                yield item.number, Reject("holds only text that stood in earlier documents")
            elif cuts:
                yield item.number, Cut(cuts, self._fill)

    def _covered(self, windows: NDArray[np.bool_], count: int) -> list[tuple[int, int]]:
        """Words [first, last) in some repeated window, runs that touch joined."""
        change = np.zeros(count + 1, np.int64)
        first = np.flatnonzero(windows)
        change[first] += 1
        change[first + self._least] -= 1
        edges = np.flatnonzero(np.diff(np.cumsum(change) > 0, prepend=False))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))

    def _repeated(self, sketches: Callable[[], Iterable[Sketched]], scratch: Path) -> bool:
        """Write `repeats`, a byte a word: 1 where a repeat begins. False where there can be none."""
        words = 0
        with _Buckets(scratch, "minima") as minima:
            for text in _windowed(sketches):
                minima.add(self._different(self._minima(text.words)), 0)
                words += text.count
        again = np.sort(np.concatenate([_twice(rows["hash"]) for rows in minima]))
        if not len(again):
            return False
        at = 0
        with _Buckets(scratch, "windows") as windows:
            for text in _windowed(sketches):
                values = text.words
                positions = _among(self._minima(values), again)
                windows.add(run_hashes(values, self._least)[positions], at + positions)
                at += text.count
        repeats = np.memmap(scratch / "repeats", np.bool_, "w+", shape=(words,))
        for rows in windows:
            repeats[self._later(rows)] = True
        repeats.flush()
        return True

    def _minima(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The minimum of each window: over the runs of half its length, by windows of twice the size each turn."""
        values, size, wanted = run_hashes(words, self._half), 1, self._least - self._half + 1
        while size < wanted:
            step = min(size, wanted - size)
            values = np.minimum(values[:-step], values[step:])
            size += step
        return values

    def _different(self, minima: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Minima as they occur, each once for a run of windows that share it.

        One run of half the length is in so many windows; when more share a minimum, it occurs twice there.
        """
        starts = _starts_of_runs(minima)
        sizes = np.diff(starts, append=len(minima))
        most = self._least - self._half + 1
        return np.repeat(minima[starts], np.where(sizes > most, 2, 1))

    def _later(self, rows: NDArray) -> NDArray[np.uint64]:
        """Where windows stand that are equal to an earlier one without overlapping the first."""
        order = np.lexsort((rows["at"], rows["hash"]))
        value, at = rows["hash"][order], rows["at"][order]
        starts = _starts_of_runs(value)
        first = np.repeat(at[starts], np.diff(starts, append=len(value)))
        return at[at - first >= self._least]


def _texts(sketch: bytes) -> Iterator[_Text]:
    """The texts of a document that have words; those too short for a window with none of them."""
    at = 0
    while at < len(sketch):
        text = _Text(sketch, at)
        at = text.end
        yield text


def _windowed(sketches: Callable[[], Iterable[Sketched]]) -> Iterator[_Text]:
    """The texts that have a window."""
    return (text for item in sketches() for text in _texts(item.sketch) if text.count)


class _Text:
    """What `sketch` said of a text: its role and length, its words, and where they begin."""

    _HEAD = struct.Struct("<HBIQ")  # bytes of the role, of a gap between words; words; characters

    def __init__(self, sketch: bytes, at: int) -> None:
        role, self._width, self.count, self.characters = self._HEAD.unpack_from(sketch, at)
        at += self._HEAD.size
        self._sketch, self._words = sketch, at + role
        self.role = sketch[at : at + role].decode("utf-8", "surrogatepass")
        self.end = self._words + (4 + self._width) * self.count

    @classmethod
    def pack(cls, role: str, characters: int, words: NDArray[np.uint32], starts: NDArray[np.int64]) -> bytes:
        """The sketch of one text."""
        gaps, name = np.diff(starts, prepend=0), role.encode("utf-8", "surrogatepass")
        width = 2 if gaps.max(initial=0) < 1 << 16 else 4
        head = cls._HEAD.pack(len(name), width, len(words), characters)
        return b"".join([head, name, words.tobytes(), gaps.astype(f"<u{width}").tobytes()])

    @property
    def words(self) -> NDArray[np.uint64]:
        """(count,): a hash of each word."""
        return np.frombuffer(self._sketch, "<u4", self.count, self._words).astype(np.uint64)

    @property
    def starts(self) -> NDArray[np.int64]:
        """(count,): the character each word begins with."""
        gaps = np.frombuffer(self._sketch, f"<u{self._width}", self.count, self._words + 4 * self.count)
        return np.cumsum(gaps, dtype=np.int64)


class _Buckets:
    """Rows of (hash, position) on disk, in as many files as keep each small enough to sort in memory."""

    def __init__(self, scratch: Path, name: str) -> None:
        self._paths = [scratch / f"{name}-{number}" for number in range(_BUCKETS)]
        self._waiting: list[NDArray] = []
        self._rows = 0

    def __enter__(self) -> _Buckets:
        with contextlib.ExitStack() as opened:
            self._files = [opened.enter_context(open(path, "wb")) for path in self._paths]
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._closing:
            self._flush()

    def add(self, hashes: NDArray[np.uint64], positions: NDArray[np.int64] | int) -> None:
        """More rows."""
        rows = np.empty(len(hashes), _ROW)
        rows["hash"], rows["at"] = hashes, positions
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= _BUFFERED:
            self._flush()

    def __iter__(self) -> Iterator[NDArray]:
        """Bucket by bucket, once all rows are added; a bucket that was read is gone."""
        for path in self._paths:
            yield np.fromfile(path, _ROW)
            path.unlink()

    def _flush(self) -> None:
        rows = np.concatenate([np.empty(0, _ROW), *self._waiting])
        bucket = (rows["hash"] % np.uint64(_BUCKETS)).astype(np.uint8)
        rows = rows[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=_BUCKETS))
        for file, part in zip(self._files, np.split(rows, ends[:-1]), strict=True):
            file.write(part.tobytes())
        self._waiting, self._rows = [], 0


def _starts_of_runs(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where a value differs from the one before it; the first always does."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]]))


def _twice(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Values that occur more than once, each once, rising."""
    values = np.sort(values)
    values = values[1:][values[1:] == values[:-1]]
    return values[_starts_of_runs(values)]


def _among(values: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where values stand that are among the rising `wanted`; neighbours are mostly equal, and looked up once."""
    starts = _starts_of_runs(values)
    different = values[starts]
    at = np.minimum(np.searchsorted(wanted, different), len(wanted) - 1)
    return np.flatnonzero(np.repeat(wanted[at] == different, np.diff(starts, append=len(values))))
