"""Merges recovered from scores: the same as by trying every cut of every piece."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.tokenization.merges import recovered


def by_hand(tokens, scores, usable, made):
    places = {token: place for place, token in enumerate(tokens) if usable[place] and token}
    found = []
    for token, place in places.items():
        if made[place]:
            for cut in range(1, len(token)):
                if token[:cut] in places and token[cut:] in places:
                    found.append((-scores[place], places[token[:cut]], places[token[cut:]]))
    return [(tokens[left], tokens[right]) for _, left, right in sorted(found)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(alphabet="ab磨\U0001f600", max_size=5),
            st.integers(-3, 3),
            st.booleans(),
            st.booleans(),
        ),
        unique_by=lambda item: item[0],
        max_size=60,
    )
)
def test_every_way_to_make_a_piece(items):
    tokens = [item[0] for item in items]
    scores = [float(item[1]) for item in items]
    usable = np.array([item[2] for item in items], dtype=bool)
    made = usable & np.array([item[3] for item in items], dtype=bool)
    assert recovered(tokens, scores, usable, made) == by_hand(tokens, scores, usable, made)


def test_many_pieces():
    rng = np.random.default_rng(3)
    letters = np.array(list("abcdefg"))
    tokens = list({"".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(8000)})
    scores = rng.normal(size=len(tokens)).tolist()
    usable = rng.random(len(tokens)) < 0.95
    made = usable & (rng.random(len(tokens)) < 0.9)
    found = recovered(tokens, scores, usable, made)
    assert found == by_hand(tokens, scores, usable, made)
    assert len(found) > 1000
