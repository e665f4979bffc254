"""Errors as a person reads them."""

from __future__ import annotations

import pytest

from textmill.base.errors import TextmillError


@pytest.mark.parametrize(
    ("parts", "read"),
    [
        (("is wrong", "", ""), "is wrong"),
        (("is wrong", "a.toml", ""), "a.toml: is wrong"),
        (("is wrong", "a.toml", "mend it"), "a.toml: is wrong; mend it"),
        (
            ("these differ:\n  steps: 1 -> 2\n", "a", "put it back"),
            "a: these differ:\n  steps: 1 -> 2\nput it back",
        ),
    ],
)
def test_an_error_says_what_where_and_what_to_do(parts, read):
    what, where, advice = parts
    error = TextmillError(what, where=where, advice=advice)
    assert str(error) == read == error.said()
