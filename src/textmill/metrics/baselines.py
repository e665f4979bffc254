"""What a model should beat: a unigram model and two compressors, in bits per byte of the same test text.

Unigram: each token costs -log2((c + 1) / (N + V)) bits, where c is how often it occurs in the training
tokens, N how many there are and V the vocabulary (Laplace's rule). Same tokens, same end-of-text, no
context at all.

Compressors: the bits of the test text are those it adds to the training text, 8 · (C(train + test) -
C(train)), over the bytes of the test text (Cilibrasi & Vitányi 2005 use the same difference). The
compressor thus knows what the model was trained on, as far back as its window and `baseline_bytes` reach;
the signature says how far. Documents are joined by one NUL byte each, which is not counted as test text:
it is the compressors' end-of-text.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow

from textmill.base.console import tracked
from textmill.base.errors import TextmillError
from textmill.metrics.score import BOOTSTRAP, LOWER, Bootstrap, Score, percentiles

_CHUNK = 1 << 24
_XZ_PRESET = 6
_ZSTD_LEVEL = 20  # the lowest level with a window over 8 MiB


def unigram(
    train: np.ndarray,
    test: np.ndarray,
    offsets: np.ndarray,
    sizes: np.ndarray,
    vocabulary: int,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Score:
    """Bits per byte of test documents under the token frequencies of the training text.

    `train` and `test` are token ids (they may be memory maps); document d of the test text is
    `test[offsets[d]:offsets[d + 1]]` and has `sizes[d]` bytes. The interval is the bootstrap over
    documents of metrics/perplexity.py.
    """
    counts = np.zeros(vocabulary, dtype=np.int64)
    for start in range(0, len(train), _CHUNK):
        counts += np.bincount(np.asarray(train[start : start + _CHUNK]), minlength=vocabulary)
    costs = math.log2(len(train) + vocabulary) - np.log2(counts + 1.0)
    documents = len(offsets) - 1
    table = np.zeros((documents, 2))
    table[:, 1] = sizes
    for document in range(documents):
        table[document, 0] = costs[np.asarray(test[offsets[document] : offsets[document + 1]])].sum()
    bits, size = table.sum(0)
    _some(size)
    low = high = None
    if (sums := bootstrap.sums(table)) is not None:
        sums = sums[sums[:, 1] > 0]
        low, high = percentiles(sums[:, 0] / sums[:, 1])
    signature = f"unigram|log2((c+1)/(N+V))|N:{len(train)}|V:{vocabulary}|documents:{documents}"
    return Score(float(bits / size), low, high, "bits/byte", documents, signature, LOWER)


def tail(documents: Iterable[str], limit: int) -> bytes:
    """The last `limit` bytes of documents joined by NUL bytes, each document ending in one."""
    kept = bytearray()
    for document in documents:
        kept += document.encode("utf-8", "surrogatepass") + b"\0"
        if len(kept) > 2 * limit + _CHUNK:
            del kept[: len(kept) - limit]
    return bytes(kept[len(kept) - limit :]) if len(kept) > limit else bytes(kept)


def compressors(
    names: Iterable[str], train: Iterable[str], test: Iterable[str], *, limit: int = 1 << 24
) -> Mapping[str, Score]:
    """Bits per byte of test documents for each of `names` ("xz", "zstd"), conditioned on training text.

    At most the last `limit` bytes of the training documents condition them. They run side by side, since
    both let other threads work. Raises TextmillError when the test text is empty.
    """
    known = tail(train, limit)
    texts = [document.encode("utf-8", "surrogatepass") for document in test]
    size = sum(map(len, texts))
    _some(size)
    both = known + b"".join(text + b"\0" for text in texts)
    names = list(names)
    jobs = [(_COMPRESSORS[name], data) for name in names for data in (both, known)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        done = pool.map(lambda job: job[0][0](job[1]), jobs)
        lengths = list(tracked(done, "compressing", len(jobs), "texts", slow=True))
    scores = {}
    for index, name in enumerate(names):
        bits = 8 * (lengths[2 * index] - lengths[2 * index + 1])
        how = _COMPRESSORS[name][1](len(both))
        signature = f"{name}|{how}|conditioned:{len(known)} bytes|documents:{len(texts)}"
        scores[name] = Score(bits / size, None, None, "bits/byte", len(texts), signature, LOWER)
    return scores


def _xz_dictionary(size: int) -> int:
    """A window that reaches over all of `size` bytes: a power of two between 1 MiB and 1 GiB."""
    return min(max(1 << 20, 1 << (size - 1).bit_length() if size else 0), 1 << 30)


def _xz(data: bytes) -> int:
    """Length in bytes of the LZMA2 stream of `data`, container left out."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": _XZ_PRESET, "dict_size": _xz_dictionary(len(data))}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _zstd(data: bytes) -> int:
    """Length in bytes of the zstd frame of `data`."""
    codec = pyarrow.Codec("zstd", compression_level=_ZSTD_LEVEL)
    return len(codec.compress(data, asbytes=True)) if data else 0


def _zstd_window(size: int) -> int:
    """Window of level 20: 32 MiB, or the input when that is smaller (zstd's clevels.h)."""
    return min(1 << 25, max(1 << 10, 1 << (size - 1).bit_length() if size else 0))


_COMPRESSORS: dict[str, tuple[Callable[[bytes], int], Callable[[int], str]]] = {
    "xz": (_xz, lambda size: f"lzma2|preset:{_XZ_PRESET}|dict:{_xz_dictionary(size) >> 20}MiB"),
    "zstd": (_zstd, lambda size: f"level:{_ZSTD_LEVEL}|window:{_zstd_window(size) / 2**20:g}MiB"),
}


def _some(size: float) -> None:
    if not size:
        raise TextmillError("no test text to score", advice="give a split of the corpus that holds documents")
