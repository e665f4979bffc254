"""A recipe's task fills the objective, and how texts are written, where the recipe is silent."""

from __future__ import annotations

import pytest

from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.table import TASKS, task_trained_by


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        path = tmp_path / "mine.toml"
        path.write_text(
            'name = "mine"\n' + text + '\n[[corpus.sources]]\nkind = "files"\npaths = ["a.jsonl"]\n'
        )
        return load_recipe(path, (), Workspace(tmp_path / "work", Silent()))

    return read


def test_it_fills_what_is_silent(read):
    recipe = read('task = "summarize"\n[model]\nkind = "encoder-decoder"\n[generation]\nbeams = 2')
    assert recipe.objective.kind == "pairs"
    assert recipe.generation.beams == 2, "what the recipe says itself"
    assert recipe.generation.no_repeat_ngram == TASKS["summarize"].generation["no_repeat_ngram"]
    assert task_trained_by(recipe) is TASKS["summarize"]
    plain = read('[model]\nkind = "encoder-decoder"\n[objective]\nkind = "pairs"')
    assert task_trained_by(plain) is TASKS["translate"], "the usual one of the objective"
    assert plain.generation.beams == 1


@pytest.mark.parametrize(
    ("task", "family"), [(name, family) for name, task in TASKS.items() for family in task.objectives]
)
def test_every_task_finds_its_objective(read, task, family):
    kind = TASKS[task].objectives[family]
    found = read(f'task = "{task}"\n[model]\nkind = "{family}"')
    assert found.objective.kind == kind
    assert task_trained_by(found) is TASKS[task]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('task = "translat"', "is no task"),
        ('task = "translate"\n[model]\nkind = "encoder"', "no model of kind 'encoder' learns to translate"),
        (
            'task = "classify"\n[model]\nkind = "encoder"\n[objective]\nkind = "tag"',
            "is not how a model learns to classify",
        ),
    ],
)
def test_what_cannot_be_is_said(read, text, said):
    with pytest.raises(RecipeError, match=said):
        read(text)
