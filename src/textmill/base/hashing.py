"""64-bit hashes of whole arrays at once: the same in every process, on every machine and for every version."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd: SplitMix64's step, and a base of polynomials
_BASE = 0xD1342543DE82EF95  # odd, of good spectrum (Steele & Vigna 2022, table 3)


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each bit of a value spread over all 64: the finaliser of SplitMix64 (Steele, Lea & Flood 2014), a bijection."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def run_hashes(values: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """(n - length + 1,): the hash of each run of `length` of these (n,) hashes; empty when there is none.

    A polynomial modulo 2**64, put together from runs of half the length, and mixed at the end: of `a b c`, runs
    of 2 are `a B + b` and `b B + c`, and those of 4 are two of them, `(a B + b) B**2 + (c B + d)`.
    """
    if len(values) < length:
        return np.empty(0, np.uint64)
    hashes, size = values, 1
    for bit in f"{length:b}"[1:]:
        hashes = hashes[:-size] * np.uint64(pow(_BASE, size, 1 << 64)) + hashes[size:]
        size *= 2
        if bit == "1":
            hashes = hashes[:-1] * np.uint64(_BASE) + values[size:]
            size += 1
    return mixed(hashes)
