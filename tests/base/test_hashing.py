from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textmill.base.hashing import GOLDEN, mixed, run_hashes


def test_mixing_is_that_of_splitmix64():
    """The first numbers of Vigna's reference implementation (splitmix64.c) from seed 0."""
    states = np.arange(1, 4, dtype=np.uint64) * np.uint64(GOLDEN)
    assert mixed(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert states[0] == GOLDEN  # what is given is left alone


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 17))
def test_run_hashes_tell_runs_apart(words, length):
    values = np.array(words, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    found = run_hashes(values, length).tolist()
    expected = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    assert len(found) == len(expected)
    assert len({*zip(found, expected, strict=True)}) == len(set(found)) == len(set(expected))
