"""The tests themselves keep a plan: they stand where their source stands, and compare no clock in the fast suite."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from helpers import suite

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "textmill"
# Folders that mirror no room: checks of many rooms at once, and what tests share.
ACROSS = {"faults", "helpers", "parity"}
FILES = sorted(TESTS.rglob("*.py"))
CLOCKS = {"perf_counter", "monotonic", "time"}


def test_the_tests_mirror_the_rooms():
    folders = {path.parent.relative_to(TESTS) for path in FILES if path.parent != TESTS}
    rooms = {path.parent.relative_to(SOURCE) for path in SOURCE.rglob("*.py")}
    assert {str(folder) for folder in folders - rooms if folder.parts[0] not in ACROSS} == set()


def reads_a_clock(node: ast.AST) -> bool:
    return any(
        isinstance(inner, ast.Call) and ast.unparse(inner.func).rpartition(".")[2] in CLOCKS
        for inner in ast.walk(node)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_clock_is_compared_beside_other_tests(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if any("mark.figures" in ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)):
        return
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and not any(
            "mark.figures" in ast.unparse(decorator) for decorator in function.decorator_list
        ):
            for node in ast.walk(function):
                assert not (isinstance(node, ast.Assert) and reads_a_clock(node)), (
                    f"{path}:{node.lineno}: mark it `figures`, or count processor time with `within`"
                )


def test_skips_are_counted():
    few, many = {"TEXTMILL_KERAS names no Python with Keras": 1}, {"is not here": 99}
    assert suite.beyond_budget(few) == []
    assert "99 skipped" in suite.beyond_budget(few | many)[0]
    assert "in no budget: it rains" in suite.beyond_budget({"it rains": 1})[0]
