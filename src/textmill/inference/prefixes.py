"""Prompts that begin alike are read once: keys and values of what was read, in chunks.

A prompt is read in chunks cut at multiples of 64 tokens from its beginning, alone and always in the same shapes, so
what a chunk leaves is a function, to the bit, of the model and of the ids up to its end. That is what it is kept by: a
chain of hashes. Least recently used chunks give way to new ones, by bytes; a chunk is of use only with all before it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from textmill.nn.cache import LayerCache

CHUNK = 64  # tokens


def chain(start: str, ids: Sequence[int]) -> Iterator[bytes]:
    """The keys of the whole chunks of ids, of which each holds all ids up to its end. start: whose they are."""
    key = hashlib.blake2b(start.encode(), digest_size=16).digest()
    for first in range(0, len(ids) - CHUNK + 1, CHUNK):
        chunk = " ".join(map(str, ids[first : first + CHUNK])).encode()
        key = hashlib.blake2b(key + chunk, digest_size=16).digest()
        yield key


class Prefixes:
    """Keys and values of chunks, layer by layer; so many bytes at most."""

    def __init__(self, most: int) -> None:
        self.most, self.bytes, self.hits, self.misses = most, 0, 0, 0
        self._chunks: OrderedDict[bytes, list[LayerCache]] = OrderedDict()

    def longest(self, keys: Sequence[bytes]) -> list[list[LayerCache]]:
        """What is kept of the chunks of these keys, as far as none is missing."""
        found = []
        for key in keys:
            if key not in self._chunks:
                break
            found.append(self._chunks[key])
        for key in reversed(
            keys[: len(found)]
        ):  # the first is used last, so that it outlives those it is before
            self._chunks.move_to_end(key)
        self.hits += len(found)
        self.misses += len(keys) - len(found)
        return found

    def keep(self, key: bytes, chunk: list[LayerCache]) -> None:
        """Keep a chunk, if there is room when others give way."""
        size = _bytes(chunk)
        if key in self._chunks or size > self.most:
            return
        while self.bytes + size > self.most:
            _, old = self._chunks.popitem(last=False)
            self.bytes -= _bytes(old)
        self._chunks[key] = chunk
        self.bytes += size

    def clear(self) -> None:
        """Keep nothing."""
        self._chunks.clear()
        self.bytes = 0


def _bytes(chunk: list[LayerCache]) -> int:
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in chunk)
