"""One objective, one file: no other module knows its kind or its spec."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import get_args

import pytest

import textmill
from textmill.objectives.table import OBJECTIVES
from textmill.specs.objective import ObjectiveSpec

SOURCE = Path(textmill.__file__).parent
HEADS = {
    "classify",
    "regress",
    "tag",
    "answer",
}  # kinds of heads too (specs/head.py): transformers has classes of each
# Rooms that know tasks, some of which (tasks/) have the name of an objective that they are trained by.
TASKS = ("tasks/", "inference/", "stages/", "cli/", "serving/")
# The same words in another meaning.
OTHERWISE = {
    "text/sources/formats/xml_pages.py": {"embed"},  # an element of HTML
    "base/moved.py": {"chat", "answer"},  # modules of before
    "cli/evaluate.py": {"spans"},  # a form of records
    "cli/show/index.py": {"spans"},  # of a trace
    "cli/show/quickstart.py": {"spans", "answer"},  # what was said of a row
    "retrieval/answers.py": {"answer"},  # what a question gets
    "stages/preparation/proposal.py": {
        "answer",
        "causal",
        "extract",
        "pairs",
        "prefer",
        "regress",
        "tag",
    },  # recipes of tasks
    "stages/preparation/guess.py": {"spans"},  # a form of records
    "stages/evaluation/page.py": {"spans"},  # what was said of a row
    "stages/judging/beside.py": {"spans"},
    "stages/tracing/answered.py": {"spans"},
    "stages/tracing/trace.py": {"spans"},
    "text/corpus/units.py": {"spans"},  # of personal data
    "tasks/prediction.py": {"spans"},  # what a row is given
    "text/sources/formats/forms.py": {"spans", "chat"},  # forms of records, by the name a field has there
    "text/sources/formats/spans.py": {"spans", "answer", "tag"},  # fields of what tools export
    "text/sources/formats/squad.py": {"answer"},
    "text/sources/formats/letters.py": {"pairs"},  # of letters
    "interop/alone.py": {"pairs"},  # of texts that are read together
    "interop/transformers_program.py": {"pairs"},
}


def own(path: str) -> set[str]:
    """The kinds whose values a file of the room makes."""
    if not path.startswith("objectives/") or path.endswith("table.py"):
        return set()
    module = importlib.import_module(f"textmill.{path.removesuffix('.py').replace('/', '.')}")
    return {kind for kind, one in OBJECTIVES.items() if any(one is value for value in vars(module).values())}


def read(path: Path) -> tuple[set[str], set[str]]:
    """(strings, names imported from the specs of objectives) of a module."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = {a.name for node in froms if node.module == "textmill.specs.objective" for a in node.names}
    return words, names


MODULES = [path.relative_to(SOURCE).as_posix() for path in sorted(SOURCE.rglob("*.py"))]


@pytest.mark.parametrize("path", [path for path in MODULES if not path.startswith("specs/")])
def test_a_kind_is_named_in_its_own_file_only(path):
    words, _ = read(SOURCE / path)
    allowed = OTHERWISE.get(path, set()) | (HEADS if path.startswith(("interop/", *TASKS)) else set())
    allowed |= {"chat", "embed"} if path.startswith(TASKS) else set()  # commands, tasks and forms of records
    assert words & set(OBJECTIVES) <= allowed | own(path)


@pytest.mark.parametrize("path", [p for p in MODULES if not p.startswith(("specs/", "objectives/"))])
def test_no_other_room_asks_of_which_kind_a_spec_is(path):
    _, names = read(SOURCE / path)
    assert not names & {spec.__name__ for spec in get_args(ObjectiveSpec)}


def test_the_room_s_files_know_no_spec_but_their_own():
    for kind, objective in OBJECTIVES.items():
        for path in MODULES:
            if path.startswith("objectives/") and kind not in own(path):
                assert objective.spec.__name__ not in read(SOURCE / path)[1], (kind, path)
