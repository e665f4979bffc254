"""Recipes from files and `--set`."""

from __future__ import annotations

import pytest

from textmill.base import schema
from textmill.base.errors import RecipeError
from textmill.specs import recipe_file

TEXT = """
name = "small"
[corpus]
sources = [{ kind = "files", paths = ["texts/*.txt"] }]
[model]
heads = 2
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(TEXT)
    return file


def test_paths_start_at_the_recipe(path, tmp_path):
    assert recipe_file.load(path).corpus.sources[0].paths == (str(tmp_path / "texts/*.txt"),)


def test_overrides_are_toml_values(path):
    loaded = recipe_file.load(
        path, ["model.heads=4", "training.optimizer={kind='muon', lr=0.1}", "name=other words"]
    )
    assert loaded.model.heads == 4
    assert loaded.training.optimizer.lr == 0.1
    assert loaded.name == "other words"


@pytest.mark.parametrize("override", ["model.heads", "=3", ".a=3"])
def test_malformed_overrides(path, override):
    with pytest.raises(RecipeError, match="not of the form"):
        recipe_file.load(path, [override])


def test_override_with_a_wrong_key_names_the_right_one(path):
    with pytest.raises(RecipeError, match="did you mean model.heads"):
        recipe_file.load(path, ["model.head=3"])


def test_dump_loads_as_the_same_recipe(path, tmp_path):
    first = recipe_file.load(path)
    again = tmp_path / "again.toml"
    again.write_text(recipe_file.dumps(first))
    assert recipe_file.load(again) == first


def test_next_sentences_need_a_pooler(path):
    more = [
        "model.kind=encoder",
        "objective.kind=masked",
        "objective.next_sentence=true",
        "model.pooler=false",
    ]
    with pytest.raises(RecipeError, match="set model.pooler = true"):
        recipe_file.load(path, more)


def test_preset_fills_what_is_left_out(path):
    loaded = recipe_file.load(path, ["model={preset='llama', size='3M', context=99}"])
    assert loaded.model.context == 99
    assert loaded.model.layers > 1


def test_unknown_preset_names_the_key(path):
    with pytest.raises(RecipeError, match="model.preset"):
        recipe_file.load(path, ["model={preset='lama'}"])


def test_difference_names_dotted_keys(path):
    one, two = recipe_file.load(path), recipe_file.load(path, ["model.heads=1", "model.kv_heads=1"])
    changes = recipe_file.difference(schema.write(one), schema.write(two))
    assert changes == [("model.heads", 2, 1), ("model.kv_heads", None, 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name = ", "not valid TOML"), (b"\xff\xfe", "not UTF-8"), (None, "no such recipe")],
)
def test_unreadable_files(tmp_path, content, message):
    file = tmp_path / "bad.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        recipe_file.load(file)


PAIRS = ["model.kind=encoder-decoder", "objective.kind=pairs"]
SQUAD = ["model.kind=encoder", "objective.kind=answer"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ([], ("text",)),
        (["objective.kind=causal", "objective.text=body"], ("body",)),
        (PAIRS, ("source", "target")),
        ([*PAIRS, "objective.source=text"], ("text", "target")),
        (SQUAD, ("passage", "question", "answer")),
        ([*PAIRS, "corpus.sources=[{kind='dataset', path='x'}]"], ("source", "target")),
        (
            [
                *PAIRS,
                "corpus.sources=[{kind='files', paths=[], text_fields=['source=en', 'note', 'target']}]",
            ],
            ("source=en", "note", "target"),
        ),
    ],
)
def test_sources_read_what_the_objective_does(path, changes, fields, tmp_path):
    loaded = recipe_file.load(path, changes)
    assert loaded.corpus.sources[0].text_fields == fields
    again = tmp_path / "again.toml"
    again.write_text(recipe_file.dumps(loaded))
    assert recipe_file.load(again) == loaded


@pytest.mark.parametrize("fields", [["source"], ["target", "source"], ["text=source", "target"]])
def test_sources_that_leave_out_what_the_objective_reads(path, fields):
    source = f"corpus.sources=[{{kind='files', paths=[], text_fields={fields}}}]"
    with pytest.raises(
        RecipeError, match=r"corpus.sources.text_fields: .*the objective reads source, target"
    ):
        recipe_file.load(path, [*PAIRS, source])


@pytest.mark.parametrize("role", ["'target'", "''", "'a=b'"])
def test_each_text_has_a_name_of_its_own(path, role):
    with pytest.raises(
        RecipeError, match="objective: cannot read .*, 'target': each text has a name of its own"
    ):
        recipe_file.load(path, [*PAIRS, f"objective.source={role}"])


def test_recipes_of_earlier_versions_may_say_what_nothing_read(path):
    plain = path.read_text()
    path.write_text(plain + '\n[task]\nname = "generation"\n')
    before = recipe_file.load(path)
    path.write_text(plain)
    assert recipe_file.load(path) == before
    path.write_text(plain + '\n[task]\nname = "translation"\n')
    with pytest.raises(RecipeError, match="task: must be text"):
        recipe_file.load(path)
