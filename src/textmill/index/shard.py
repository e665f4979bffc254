"""One shard of the corpus index: its tokens, their suffix array, and where each document begins.

    shard-00000/  tokens.bin      (n,) uint16 or uint32, big-endian: an end-of-text, then the documents with theirs
                  suffixes.bin    (n,) uint32: the places of `tokens`, in the order of the suffixes that begin there
                  samples.bin     (ceil(n / 64),) uint64: the first eight bytes of every 64th of those suffixes
                  unigrams.npy    (V,) int64: how often each id occurs in the documents
                  offsets.npy     (D + 1,) int64: document d is tokens[offsets[d] : offsets[d + 1]]; offsets[0] is 1
                  documents.bin   (D, 16) bytes: the content id of each document
                  sources.bin, sources.npy   UTF-8 text, and (D + 1,) int64: where each document came from
                  manifest.json   counts, sizes and SHA-256 of each file; written last

Big-endian tokens sort as bytes as they sort as numbers, so a run of tokens is looked up as a string of bytes.
Since the shard begins with an end-of-text, the run (end, a, b) is found where a document begins with (a, b).
"""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import DamagedError
from textmill.base.files import read_json, sha256_file

FORMAT = 1
SAMPLE, KEY = 64, 8  # every 64th suffix is sampled, by its first eight bytes
FILES = (
    "tokens.bin",
    "suffixes.bin",
    "samples.bin",
    "unigrams.npy",
    "offsets.npy",
    "documents.bin",
    "sources.bin",
    "sources.npy",
)
AGAIN = "delete the folder and build the index again"
_GATHER = 1 << 10  # suffixes in a range that are all read; longer ranges are halved


class Shard:
    """A shard opened for reading; its files are mapped, not loaded. Wrong bytes may give wrong counts, no worse.

    ids           (n,) big-endian uint16 or uint32, the leading end-of-text included
    suffixes      (n,) uint32
    unigrams      (V,) int64
    offsets       (D + 1,) int64
    document_ids  (D, 16) uint8
    """

    def __init__(self, directory: Path | str) -> None:
        """Raises DamagedError when a file is missing or is not as long as the manifest says."""
        self.directory = Path(directory)
        manifest = read_json(self.directory / "manifest.json")
        try:
            self._check_sizes(manifest)
            self.key: str = manifest["key"]
            self.end: int = manifest["end"]
            self.vocabulary: int = manifest["vocabulary"]
            self.documents: int = manifest["documents"]
            self.tokens: int = manifest["tokens"]  # of the documents, without the leading end-of-text
            dtype = np.dtype(manifest["dtype"])
        except (KeyError, TypeError) as error:
            where = self.directory / "manifest.json"
            raise DamagedError(f"is not the manifest of an index shard ({error!r})", where=where) from error
        self.manifest, self.width, self.size = manifest, dtype.itemsize, self.tokens + 1
        self._text = self._map("tokens.bin", self.size * dtype.itemsize)
        self._order = memoryview(self._map("suffixes.bin", self.size * 4)).cast("I")
        self._samples = memoryview(self._map("samples.bin", -(-self.size // SAMPLE) * KEY)).cast("Q")
        self.ids = np.frombuffer(self._text, dtype=dtype.newbyteorder(">"))
        self.suffixes = np.frombuffer(self._order, dtype=np.uint32)
        self.unigrams = self._load("unigrams.npy", self.vocabulary)
        self.offsets = self._load("offsets.npy", self.documents + 1)
        names = np.frombuffer(self._map("documents.bin", self.documents * 16), dtype=np.uint8)
        self.document_ids = names.reshape(self.documents, 16)
        self._sources = self._load("sources.npy", self.documents + 1)
        if self.offsets[0] != 1 or self.offsets[-1] != self.size:
            raise DamagedError("does not fit tokens.bin", where=self.directory / "offsets.npy", advice=AGAIN)

    def _check_sizes(self, manifest: dict[str, Any]) -> None:
        if manifest["format"] != FORMAT:
            message = f"is an index of format {manifest['format']}; this Textmill reads {FORMAT}"
            raise DamagedError(message, where=self.directory, advice=AGAIN)
        for name in FILES:
            path, expected = self.directory / name, manifest["files"][name]["bytes"]
            if not path.is_file():
                raise DamagedError("is missing", where=path, advice=AGAIN)
            if (size := path.stat().st_size) != expected:
                raise DamagedError(f"has {size} bytes, not {expected}", where=path, advice=AGAIN)

    def _map(self, name: str, size: int) -> mmap.mmap:
        path = self.directory / name
        with open(path, "rb") as handle:
            if path.stat().st_size != size or not size:
                raise DamagedError("does not have the length that its counts give", where=path, advice=AGAIN)
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)

    def _load(self, name: str, length: int) -> np.ndarray:
        path = self.directory / name
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise DamagedError(f"is not readable ({error})", where=path, advice=AGAIN) from error
        if values.shape != (length,) or values.dtype != np.int64:
            raise DamagedError("does not have the length that its counts give", where=path, advice=AGAIN)
        return values

    def verify(self) -> None:
        """Read every byte and compare hashes. Raises DamagedError naming the file that changed."""
        for name in FILES:
            if sha256_file(self.directory / name) != self.manifest["files"][name]["sha256"]:
                where = self.directory / name
                raise DamagedError(
                    "was changed after it was written (its SHA-256 differs)", where=where, advice=AGAIN
                )

    def find(self, pattern: bytes) -> tuple[int, int]:
        """The suffixes that begin with `pattern` are suffixes[low:high]; low is its place even where there are none.

        Two binary searches among the samples (numbers), then within the 64 suffixes left between two of them.
        """
        if not pattern:
            return 0, self.size
        text, width, length = self._text, self.width, len(pattern)
        least = int.from_bytes(pattern[:KEY].ljust(KEY, b"\0"), "big")
        most = int.from_bytes(pattern[:KEY].ljust(KEY, b"\xff"), "big")
        first = bisect_left(self._samples, least)
        last = bisect_right(self._samples, most, first)
        low = (first - 1) * SAMPLE + 1 if first else 0
        high = min(self.size, last * SAMPLE)

        def begins(position: int) -> bytes:
            return text[width * position : width * position + length]

        if length > KEY:  # samples[first] may still sort before the pattern, and samples[last - 1] after it
            low = bisect_left(self._order, pattern, low, high, key=begins)
            return low, bisect_right(self._order, pattern, low, high, key=begins)
        # A suffix cut short by the end of the shard is sampled as if zeros followed: KEY of them at most.
        low = bisect_left(self._order, pattern, low, min(high, first * SAMPLE + KEY), key=begins)
        floor = max(low, (last - 1) * SAMPLE + 1) if last else low
        return low, bisect_right(self._order, pattern, floor, high, key=begins)

    def common(self, pattern: bytes) -> int:
        """How many tokens of `pattern`, from its first, occur together somewhere in this shard."""
        low, high = self.find(pattern)
        if high > low:
            return len(pattern) // self.width
        neighbours = self._order[max(0, low - 1) : low + 1]
        return max((self._shared(pattern, position) for position in neighbours), default=0)

    def _shared(self, pattern: bytes, position: int) -> int:
        start = position * self.width
        here = self._text[start : start + len(pattern)].ljust(len(pattern), b"\0")
        differ = int.from_bytes(here, "big") ^ int.from_bytes(pattern, "big")
        equal = len(pattern) - (differ.bit_length() + 7) // 8  # bytes
        return min(equal // self.width, self.size - position)

    def following(self, pattern: bytes) -> tuple[np.ndarray, np.ndarray]:
        """What comes after `pattern`: ids in rising order (K,), and how often each does (K,) int64."""
        low, high = self.find(pattern)
        length = len(pattern) // self.width
        if (
            low < high and self._order[low] + length >= self.size
        ):  # the shard's last end-of-text: nothing follows
            low += 1
        starts = np.array([low, *self._changes(low, high, length)], dtype=np.int64)[: high - low]
        return self._after(starts, length), np.diff(starts, append=high)

    def _after(self, suffixes: np.ndarray, length: int) -> np.ndarray:
        """(n,) int64: the token `length` places on from the beginning of each of these suffixes."""
        return self.ids[self.suffixes[suffixes].astype(np.int64) + length].astype(np.int64)

    def _changes(self, low: int, high: int, length: int) -> np.ndarray:
        """Where in [low, high) the token after `length` tokens differs from that of the suffix before.

        It only ever rises there, so a range with the same token at both ends is passed over, others are halved.
        """
        if high - low <= _GATHER:
            return low + 1 + np.flatnonzero(np.diff(self._after(np.arange(low, high), length)))
        left, right = np.array([low]), np.array([high - 1])
        first, last = self._after(left, length), self._after(right, length)
        changes = []
        while len(left):
            close = right - left == 1
            changes.append(right[close & (first != last)])
            wide = ~close & (first != last)
            left, right, first, last = left[wide], right[wide], first[wide], last[wide]
            middle = (left + right) // 2
            here = self._after(middle, length)
            left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
            first, last = np.concatenate([first, here]), np.concatenate([here, last])
        return np.sort(np.concatenate(changes))

    def documents_at(self, positions: np.ndarray) -> np.ndarray:
        """The index of the document each position belongs to; -1 for the leading end-of-text."""
        return np.searchsorted(self.offsets, positions, side="right") - 1

    def source(self, document: int) -> str:
        """Where a document came from."""
        with open(self.directory / "sources.bin", "rb") as handle:
            handle.seek(int(self._sources[document]))
            return handle.read(int(self._sources[document + 1] - self._sources[document])).decode(
                "utf-8", "replace"
            )
