"""Building the index: a suffix array for each shard of whole documents, made once for its content.

A shard is named by the hash of what it holds. One that is finished is never made again: not when the build was
killed after it, and not when the corpus has grown since, in which case only its end is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import atomic_directory, read_json, remove_partial, sha256_file, write_json
from textmill.index.shard import FILES, FORMAT, KEY, SAMPLE, Shard

# Bytes of tokens in a shard. Sorting takes six times as much memory: four bytes for each of them, and a copy.
SHARD_BYTES = 1 << 28
_BLOCK = 1 << 22  # suffixes handled at once on their way to the file
_LARGEST = (1 << 32) - 2  # tokens in a shard: places are uint32


class Tokens(Protocol):
    """What is indexed, such as a token store.

    ids (N,) unsigned; offsets (D + 1,) int64: document d is ids[offsets[d] : offsets[d + 1]], its end-of-text
    included; document_ids (D, 16) uint8.
    """

    ids: np.ndarray
    offsets: np.ndarray
    document_ids: np.ndarray
    vocabulary: int
    end: int


def build(
    directory: Path,
    tokens: Tokens,
    sources: Iterable[str],
    *,
    finished: Path,
    known: Iterable[Path] = (),
    shard_bytes: int = SHARD_BYTES,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Write an index into an existing directory, which whoever calls makes whole or absent; its manifest.

    sources: where each document came from, in the order of the documents.
    finished: where shards are kept from one attempt to the next; one writer at a time.
    known: indexes made earlier, whose shards are used again where they hold the same.
    tell: hears how many tokens are done, of how many.
    Raises TextmillError when there is nothing to index, DamagedError when the tokens and sources do not fit.
    """
    directory, total = Path(directory), int(tokens.offsets[-1])
    dtype = np.dtype("<u2" if tokens.vocabulary <= 1 << 16 else "<u4")
    if total == 0:
        raise TextmillError("holds no document", where="index", advice="index another split of the corpus")
    if int(tokens.ids[-1]) != tokens.end:
        raise DamagedError("does not end with end-of-text", where="tokens", advice="prepare the data again")
    finished.mkdir(parents=True, exist_ok=True)
    remove_partial(finished)
    older, names, rows = _shards_of(known), iter(sources), []
    for number, (first, last) in enumerate(_plan(tokens.offsets, shard_bytes // dtype.itemsize)):
        part = _Part(tokens, dtype, first, last, list(itertools.islice(names, last - first)))
        home = _home(part, finished, older)
        name = f"shard-{number:05d}"
        _link(home, directory / name)
        rows.append({"name": name, "key": part.key, "tokens": part.count, "documents": last - first})
        tell(int(tokens.offsets[last]), total)
    manifest = {
        "format": FORMAT,
        "vocabulary": tokens.vocabulary,
        "end": tokens.end,
        "dtype": dtype.name,
        "tokens": total,
        "documents": len(tokens.offsets) - 1,
        "shards": rows,
    }
    write_json(directory / "manifest.json", manifest)
    return manifest


def forget(directory: Path, finished: Path) -> None:
    """Drop from `finished` the shards that the index in `directory` now holds itself."""
    for row in read_json(directory / "manifest.json")["shards"]:
        shutil.rmtree(finished / row["key"], ignore_errors=True)


class _Part:
    """The documents of one shard, as read from the tokens."""

    def __init__(self, tokens: Tokens, dtype: np.dtype, first: int, last: int, sources: list[str]) -> None:
        if len(sources) != last - first:
            raise DamagedError("there are more documents than sources", where="index")
        start, stop = int(tokens.offsets[first]), int(tokens.offsets[last])
        self.dtype, self.vocabulary, self.end = dtype, tokens.vocabulary, tokens.end
        self.count, self.documents = stop - start, last - first
        self.ids = np.empty(self.count + 1, dtype=dtype.newbyteorder(">"))
        self.ids[0] = tokens.end
        self.ids[1:] = tokens.ids[start:stop]
        self.offsets = np.asarray(tokens.offsets[first : last + 1], dtype=np.int64) - start + 1
        self.names = np.ascontiguousarray(tokens.document_ids[first:last]).tobytes()
        encoded = [source.encode("utf-8", "replace") for source in sources]
        self.sources = b"".join(encoded)
        self.source_offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self.key = self._key()

    def _key(self) -> str:
        head = f"index shard {FORMAT} {self.dtype.name} {self.vocabulary} {self.end} {self.documents}"
        digest = hashlib.blake2b(head.encode(), digest_size=16)
        for piece in (self.ids.data, self.offsets.data, self.names, self.source_offsets.data, self.sources):
            digest.update(piece)
        return digest.hexdigest()

    def write(self, directory: Path) -> None:
        """Sort the suffixes and write the shard's files, the manifest last."""
        (directory / "tokens.bin").write_bytes(self.ids.data)
        with (
            open(directory / "suffixes.bin", "wb") as handle,
            open(directory / "samples.bin", "wb") as sampled,
        ):
            _sort(self.ids, handle, sampled)
        counts = np.bincount(self.ids[1:], minlength=self.vocabulary)
        if len(counts) > self.vocabulary:
            raise DamagedError(f"holds ids of {self.vocabulary} and more", where="tokens")
        np.save(directory / "unigrams.npy", counts.astype(np.int64))
        np.save(directory / "offsets.npy", self.offsets)
        (directory / "documents.bin").write_bytes(self.names)
        (directory / "sources.bin").write_bytes(self.sources)
        np.save(directory / "sources.npy", self.source_offsets)
        files = {
            name: {
                "bytes": (directory / name).stat().st_size,
                "sha256": sha256_file(directory / name),
            }
            for name in FILES
        }
        manifest = {
            "format": FORMAT,
            "key": self.key,
            "dtype": self.dtype.name,
            "vocabulary": self.vocabulary,
            "end": self.end,
            "tokens": self.count,
            "documents": self.documents,
            "files": files,
        }
        write_json(directory / "manifest.json", manifest)


def _sort(ids: np.ndarray, handle: BinaryIO, sampled: BinaryIO) -> None:
    """Write the positions of (n,) big-endian `ids` in the order of their suffixes, and the samples of that order.

    The bytes of the tokens are sorted (divsufsort, Mori 2005; Fischer & Kurpicz 2017), and the suffixes that begin
    inside a token are passed over.
    """
    pydivsufsort = _library()
    width = ids.itemsize
    suffixes = pydivsufsort.divsufsort(ids.view(np.uint8))
    padded = np.concatenate([ids.view(np.uint8), np.zeros(KEY, dtype=np.uint8)])
    written = 0
    for start in range(0, len(suffixes), _BLOCK):
        block = suffixes[start : start + _BLOCK]
        block = block[(block & (width - 1)) == 0]
        handle.write((block // width).astype("<u4").data)
        chosen = block[-written % SAMPLE :: SAMPLE].astype(np.int64)
        keys = padded[chosen[:, None] + np.arange(KEY)].view(">u8").ravel()
        sampled.write(keys.astype("<u8").data)
        written += len(block)


def _library() -> Any:
    try:
        import pydivsufsort
    except ImportError as error:
        raise TextmillError(
            "the suffix sort is not installed", where="pydivsufsort", advice="`pip install pydivsufsort`"
        ) from error
    return pydivsufsort


def _plan(offsets: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """(first, last) document of each shard: as many whole documents as fit `limit` tokens, and one at least."""
    first, documents, most = 0, len(offsets) - 1, min(limit, _LARGEST)
    while first < documents:
        fits = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        last = max(first + 1, fits)
        if offsets[last] - offsets[first] > _LARGEST:
            raise TextmillError(
                "a document has more than 4 G tokens", where="index", advice="split it up first"
            )
        yield first, last
        first = last


def _home(part: _Part, finished: Path, older: dict[str, Path]) -> Path:
    """The directory of a part's shard: one found whole, or one made now."""
    for path in (finished / part.key, older.get(part.key)):
        if path is not None and path.is_dir():
            with contextlib.suppress(DamagedError):
                Shard(path).verify()
                return path
    with atomic_directory(finished / part.key) as partial:
        part.write(partial)
    return finished / part.key


def _shards_of(known: Iterable[Path]) -> dict[str, Path]:
    shards = {}
    for directory in known:
        with contextlib.suppress(DamagedError, KeyError, TypeError):
            rows = read_json(directory / "manifest.json")["shards"]
            shards |= {row["key"]: directory / row["name"] for row in rows}
    return shards


def _link(home: Path, directory: Path) -> None:
    """The same shard under a second name: its bytes are shared where the file system can do that."""
    directory.mkdir()
    for name in (*FILES, "manifest.json"):
        try:
            os.link(home / name, directory / name)
        except OSError:
            shutil.copyfile(home / name, directory / name)
