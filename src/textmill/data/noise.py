"""What is masked from a model: random choices that depend on a key and a place alone.

Random numbers come from a counter-based generator of our own (SplitMix64's finaliser over key and counter), so
that they are the same on every machine, for every version of every library, and can be asked for any row.

B rows, T positions; a row's key is (B,) uint64.
"""

from __future__ import annotations

import math

import numpy as np

from textmill.base.hashing import GOLDEN, mixed

_STEP = np.uint64(GOLDEN)
_ONE = 2.0**-53


def row_keys(keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(B,) uint64: a key for each row of an epoch whose own key is (B,) `keys`."""
    with np.errstate(over="ignore"):
        return mixed(mixed(keys.astype(np.uint64)) + _STEP * (rows.astype(np.uint64) + np.uint64(1)))


def uniform(keys: np.ndarray, count: int, purpose: int) -> np.ndarray:
    """(B, count) float64 in [0, 1) for each key; each purpose has numbers of its own."""
    with np.errstate(over="ignore"):
        base = mixed(keys.astype(np.uint64) ^ mixed(np.array([purpose], dtype=np.uint64) + _STEP))
        counters = np.arange(1, count + 1, dtype=np.uint64) * _STEP
        return (mixed(base[:, None] + counters) >> np.uint64(11)).astype(np.float64) * _ONE


def tokens_chosen(free: np.ndarray, share: float, keys: np.ndarray) -> np.ndarray:
    """(B, T) bool: `share` of the `free` (B, T) tokens of each row, all equally likely.

    Where the share is no whole number of tokens, it is rounded up as often as makes it right on average.
    """
    wanted = _wanted(free, share, keys)
    draws = np.where(free, uniform(keys, free.shape[1], 1), 2.0)
    order = np.argsort(draws, axis=1, kind="stable")
    chosen = np.zeros_like(free)
    np.put_along_axis(chosen, order, np.arange(free.shape[1]) < wanted[:, None], axis=1)
    return chosen & free


def words_chosen(free: np.ndarray, starts: np.ndarray, share: float, keys: np.ndarray) -> np.ndarray:
    """The same for whole words: all tokens of a word are chosen or none. starts: (B, T) bool, a word begins here.

    Words are taken in random order; the one that would go over the share is taken with the probability that
    keeps the mean right.
    """
    rows, length = free.shape
    wanted = _wanted(free, share, keys)
    word = np.cumsum(starts, axis=1) - starts[:, :1]  # of each token, counted from 0
    flat = (word + np.arange(rows)[:, None] * length).ravel()
    sizes = np.bincount(flat, free.ravel(), rows * length).reshape(rows, length)
    order = np.argsort(np.where(sizes > 0, uniform(keys, length, 1), 2.0), axis=1, kind="stable")
    sizes = np.take_along_axis(sizes, order, axis=1)
    left = wanted[:, None] - (np.cumsum(sizes, axis=1) - sizes)
    lucky = uniform(keys, length, 2) * sizes < left  # always so, where the word fits
    taken = np.zeros(free.shape, dtype=bool)
    np.put_along_axis(taken, order, (sizes > 0) & (left > 0) & lucky, axis=1)
    return np.take_along_axis(taken, word, axis=1) & free


def _wanted(free: np.ndarray, share: float, keys: np.ndarray) -> np.ndarray:
    return np.floor(share * free.sum(axis=1) + uniform(keys, 1, 0)[:, 0])


def hidden_count(length: int, share: float, mean: float) -> tuple[int, int]:
    """(tokens masked, runs they make up) of a text of `length` tokens, as T5 counts them: at least one of each
    where there are two tokens or more, and never all tokens."""
    tokens = min(max(round(length * share), 1), length - 1)
    if tokens < 1:
        return 0, 0
    return tokens, min(max(round(tokens / mean), 1), tokens, length - tokens + 1)


def runs_hidden(length: int, share: float, mean: float, key: np.ndarray) -> np.ndarray:
    """(length,) bool: runs of tokens whose lengths, and the gaps between them, are a random partition (Raffel et
    al. 2020, section 3.1.4). Runs never touch; a text may begin or end with one, which it does somewhat less often
    than its other tokens are masked (T5's own code never masks the first token and always the last). key: (1,)
    uint64."""
    tokens, runs = hidden_count(length, share, mean)
    if not runs:
        return np.zeros(length, dtype=bool)
    return _laid_out(_parts(tokens, runs, uniform(key, tokens, 1)[0]), length, key)


def poisson_hidden(length: int, share: float, mean: float, key: np.ndarray) -> tuple[np.ndarray, int]:
    """((length,) bool, how often nothing is masked): run lengths from a Poisson distribution until `share` of the
    tokens is masked (Lewis et al. 2020, section 2.2); runs of no token are only counted.

    The last run is cut to fit, runs never touch, and there are no more empty ones than tokens that went, so that
    the text never gets longer. key: (1,) uint64.
    """
    tokens = min(math.floor(length * share + uniform(key, 1, 0)[0, 0]), length)
    if tokens < 1:
        return np.zeros(length, dtype=bool), 0
    chances = _poisson(mean)
    lengths: list[int] = []
    empty, drawn, purpose = 0, 0, 16
    while drawn < tokens:  # as many numbers at once as will nearly always do
        draws = uniform(key, int(1.5 * tokens / mean) + 16, purpose)[0]
        for size in np.searchsorted(chances, draws, side="right").tolist():
            if drawn >= tokens:
                break
            empty += size == 0
            drawn += size
            if size:
                lengths.append(size)
        purpose += 1
    lengths[-1] -= drawn - tokens
    most = length - tokens + 1
    if len(lengths) > most:
        lengths = [*lengths[: most - 1], sum(lengths[most - 1 :])]
    hidden = _laid_out(np.array(lengths), length, key)
    return hidden, min(empty, tokens - len(lengths))


def _poisson(mean: float) -> np.ndarray:
    """P(X <= k), k = 0, 1, … until nothing is left of it."""
    terms, total, k = [math.exp(-mean)], 0.0, 0
    while total + terms[-1] < 1 - 1e-12 and k < 10 * mean + 50:
        total += terms[-1]
        k += 1
        terms.append(terms[-1] * mean / k)
    return np.cumsum(terms)


def _laid_out(lengths: np.ndarray, length: int, key: np.ndarray) -> np.ndarray:
    """(length,) bool: runs of these lengths with random gaps; the first and the last gap may be empty."""
    room = length - int(lengths.sum())
    gaps = _parts(room + 2, len(lengths) + 1, uniform(key, room + 2, 2)[0])
    gaps[0] -= 1
    gaps[-1] -= 1
    steps = np.empty(2 * len(lengths) + 1, dtype=np.int64)
    steps[0::2], steps[1::2] = gaps, lengths
    return np.repeat(np.arange(len(steps)) % 2 == 1, steps)


def _parts(total: int, parts: int, draws: np.ndarray) -> np.ndarray:
    """(parts,) whole numbers of at least 1 that add up to `total`, every way equally likely. draws: (>= total - 1,)."""
    cuts = np.sort(np.argsort(draws[: total - 1], kind="stable")[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
