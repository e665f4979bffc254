"""Verdicts on right and wrong code, of HumanEval's and MBPP's forms; the estimator of pass@k."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.metrics.pass_at_k import chance, pass_at
from textmill.metrics.score import Bootstrap
from textmill.tasks.code import values
from textmill.tasks.code.judged import Problem, Sandbox, humaneval, judged, mbpp

QUICK = Sandbox(seconds=20.0, required=False)  # what holds anywhere; test_hostile wants the kernel
ROW = {
    "task_id": "Own/0",
    "prompt": 'def half(n: int) -> float:\n    """Half of n, none of negative ones."""\n',
    "entry_point": "half",
    "test": "def check(candidate):\n    assert candidate(3) == 1.5\n    assert candidate(-1) is None\n",
}
RIGHT, WRONG = "    return n / 2 if n >= 0 else None\n", "    return n / 2\n"


def test_right_and_wrong_code():
    problem = humaneval(ROW)
    assert judged(problem, problem.prompt + RIGHT, QUICK).passed
    assert judged(problem, problem.prompt + WRONG, QUICK).outcome == "failed"
    assert judged(problem, problem.prompt + "    return 1 / 0\n", QUICK).detail.startswith(
        "ZeroDivisionError"
    )
    assert judged(problem, "", QUICK).outcome == "error"


def test_tests_may_use_what_the_prompt_defines_and_only_the_function_is_the_candidates():
    prompt = "def double(n):\n    return 2 * n\n\ndef quarter(n):\n    '''A quarter.'''\n"
    row = {
        "prompt": prompt,
        "entry_point": "quarter",
        "test": "def check(c):\n    assert c(double(8)) == 4\n",
    }
    cheat = "    return n / 4\n\ndef double(n):\n    return 16\n"
    assert judged(humaneval(row), prompt + cheat, QUICK).passed


def test_mbpp_finds_its_function_and_hands_the_candidates_own_objects_back():
    row = {
        "task_id": 1,
        "text": "Sum the parts of pairs.",
        "test_list": ["assert set(total([Pair(1, 2), Pair(3, 4)])) == {3, 7}", "assert total([]) == []"],
        "test_setup_code": "",
    }
    problem = mbpp(row)
    assert (problem.entry, problem.before) == ("total", "")
    assert "assert total([]) == []" in problem.prompt
    source = (
        "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
        "def total(pairs): return [p.a + p.b for p in pairs]\n"
    )
    assert judged(problem, source, QUICK).passed


def test_what_is_changed_in_place_is_changed_for_the_test_too():
    problem = Problem("p", "", "f", "x = [3, 1, 2]\nassert f(x) is None\nassert x == [1, 2, 3]")
    assert judged(problem, "def f(x): x.sort()", QUICK).passed
    assert not judged(problem, "def f(x): sorted(x)", QUICK).passed


def test_exceptions_arrive_as_what_they_are():
    test = "try:\n    f(0)\nexcept ValueError as e:\n    assert 'zero' in str(e)\nelse:\n    assert False"
    problem = Problem("p", "", "f", test)
    assert judged(problem, "class E(ValueError): pass\ndef f(n): raise E('zero')", QUICK).passed
    assert not judged(problem, "def f(n): raise KeyError('zero')", QUICK).passed


def test_a_row_that_lacks_a_field_is_named():
    with pytest.raises(TextmillError, match=r"problem Own/0: has no 'test'"):
        humaneval({name: text for name, text in ROW.items() if name != "test"})


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.sets(st.integers() | st.text(), max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(plain)
def test_plain_values_come_back_as_they_were(value):
    back = values.read(values.write(value, lambda _: 1 / 0), values.Reference)
    assert type(back) is type(value)
    assert repr(back) == repr(value) or back == value


def test_what_has_no_form_of_its_own_equals_nothing():
    back = values.read(values.write(object(), lambda _: 7), values.Reference)
    assert (back.number, back == 42, back == object()) == (7, False, False)
    assert values.read(values.write([int, math], lambda _: 0), values.Reference) == [int, math]
    assert list(values.read(values.write(iter([1, 2]), lambda _: 0), values.Reference)) == [1, 2]


@pytest.mark.parametrize(
    ("n", "c", "k"), [(5, 2, 1), (5, 2, 3), (10, 0, 4), (10, 10, 1), (6, 1, 6), (200, 13, 100)]
)
def test_pass_at_k_is_the_chance_of_a_draw(n, c, k):
    assert chance(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))
    if n <= 10:
        draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert chance(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_of_problems():
    score = pass_at([4, 4], [1, 4], 2, Bootstrap(20))
    assert score.value == pytest.approx((0.5 + 1) / 2)
    with pytest.raises(TextmillError, match="one has 1"):
        pass_at([4, 1], [0, 0], 2)
