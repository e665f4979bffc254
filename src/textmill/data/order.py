"""The order of training: a keyed permutation that can be asked about any place, with nothing to store.

An alternating (unbalanced) Feistel network over the smallest power of two that holds the range, walked along
its cycles until it lands inside the range (Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains",
sections 3 and 4). It is a bijection by construction, whatever the round function; it is for shuffling, not secrecy.
"""

from __future__ import annotations

import hashlib

import numpy as np

from textmill.base.hashing import mixed

_ROUNDS = 12  # tiny ranges need the many; at 12 every place of every value is equally likely, as tested


def key(*parts: int | str) -> int:
    """A 64-bit key out of a seed, an epoch, a purpose: any change gives an unrelated order."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def permute(index: int, size: int, key: int) -> int:
    """Where `index` goes in the permutation of range(size) that `key` names. Raises IndexError outside it."""
    return int(permute_many(np.array([index]), size, key)[0])


def permute_many(indices: np.ndarray, size: int, key: int) -> np.ndarray:
    """`permute` of each of (n,) integers, as (n,) int64."""
    return _walk(indices, size, key, 1)


def _walk(indices: np.ndarray, size: int, key: int, turn: int) -> np.ndarray:
    """The network over each index, again for as long as it lands outside: backwards where turn is -1."""
    indices = np.asarray(indices)
    if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= size):
        raise IndexError(f"an index is outside range({size})")
    bits = max(size - 1, 0).bit_length()
    stretched = hashlib.shake_128(key.to_bytes(8, "little")).digest(8 * _ROUNDS)
    rounds = np.frombuffer(stretched, dtype="<u8")
    values = _feistel(indices.astype(np.uint64), bits, rounds, turn)
    outside = np.flatnonzero(values >= size)
    while outside.size:
        values[outside] = _feistel(values[outside], bits, rounds, turn)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def invert_many(values: np.ndarray, size: int, key: int) -> np.ndarray:
    """The indices that `permute_many` sends to `values`: (n,) integers to (n,) int64.

    Raises IndexError for a value outside range(size).
    """
    return _walk(values, size, key, -1)


def _feistel(values: np.ndarray, bits: int, rounds: np.ndarray, turn: int) -> np.ndarray:
    """One pass over range(2 ** bits): each half is changed by a mix of the other, in turn; turn -1: undone."""
    low_bits = np.uint64(bits // 2)
    low_mask = np.uint64((1 << (bits // 2)) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    low, high = values & low_mask, values >> low_bits
    for index in range(len(rounds))[::turn]:
        part = rounds[index]
        if index % 2:
            low = low ^ (mixed(high + part) & low_mask)
        else:
            high = high ^ (mixed(low + part) & high_mask)
    return (high << low_bits) | low
