"""Strict reading of specs: what is right survives the round trip, what is wrong is named with its place."""

from __future__ import annotations

import contextlib
import dataclasses
import tomllib
import typing
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base import renamed, schema, toml
from textmill.base.console import Reporter, listening
from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs import recipe as spec
from textmill.specs import recipe_file
from textmill.specs.model import DecoderSpec
from textmill.specs.training import AdamWSpec

MINIMAL = {"name": "a", "corpus": {"sources": [{"kind": "python-stdlib"}]}}


def read(**changes):
    return schema.read(spec.Recipe, MINIMAL | changes, "x.toml")


def test_defaults_round_trip():
    first = read()
    assert schema.read(spec.Recipe, schema.write(first)) == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"n_head": 4}}, "x.toml: model.n_head: unknown key; did you mean model.heads?"),
        ({"model": {"heads": "4"}}, "x.toml: model.heads: must be a whole number, not the text '4'"),
        ({"model": {"heads": True}}, "x.toml: model.heads: must be a whole number, not true"),
        ({"model": {"heads": 4.5}}, "x.toml: model.heads: must be a whole number, not the number 4.5"),
        ({"model": {"dropout": 1.0}}, "x.toml: model.dropout: 1.0 is out of range: it must be >= 0 and < 1"),
        ({"model": {"position": {"kind": "alibbi"}}}, "did you mean 'alibi'?"),
        ({"model": {"activation": "swiglo"}}, "did you mean 'swiglu'?"),
        ({"model": {"d_model": 10}}, "x.toml: model.d_model: 10 cannot be divided among 4 heads"),
        (
            {"training": {"sequence": 4096}},
            "x.toml: training.sequence: 4096 tokens are more than the model reads",
        ),
        ({"corpus": {}}, "x.toml: corpus.sources: is missing"),
        ({"corpus": {"sources": [{"kind": "files"}]}}, "x.toml: corpus.sources[0].paths: is missing"),
        ({"corpus": {"sources": "here"}}, "x.toml: corpus.sources: must be a list, not the text 'here'"),
        ({"training": 3}, "x.toml: training: must be a table, not the number 3"),
        (
            {"corpus": {"sources": [{"paths": ["a"]}]}},
            "corpus.sources[0].kind: is missing; choose one of",
        ),
        ({"training": {"optimizer": {"kind": "adamw", "betas": [0.9]}}}, "must hold 2 values, not 1"),
        ({"name": "a/b"}, "cannot be the name of a folder"),
        (
            {"corpus": MINIMAL["corpus"] | {"split": {"validation": 0.6, "test": 0.6}}},
            "leave nothing to train on",
        ),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(RecipeError) as caught:
        read(**changes)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_units_are_in_the_message():
    with pytest.raises(RecipeError, match="tokens"):
        read(model={"context": 0})


def test_nan_is_out_of_every_range():
    with pytest.raises(RecipeError):
        read(model={"dropout": float("nan")})


@dataclass(frozen=True, kw_only=True)
class Small:
    kind: Literal["small"] = "small"
    text: Annotated[str, About("words")] = ""
    number: Annotated[float, About("a number")] = 0.0
    count: Annotated[int | None, About("how many", "things", ge=-5)] = None
    flags: Annotated[tuple[bool, ...], About("flags")] = ()
    pair: Annotated[tuple[float, float], About("two")] = (0.0, 1.0)
    inner: Annotated[DecoderSpec | None, About("a model")] = None


smalls = st.builds(
    Small,
    text=st.text(),
    number=st.floats(allow_nan=False),
    count=st.none() | st.integers(min_value=-5),
    flags=st.lists(st.booleans()).map(tuple),
    pair=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    inner=st.none() | st.builds(DecoderSpec, dropout=st.floats(0, 0.9)),
)


@pytest.mark.long
@given(smalls)
def test_toml_round_trip(item):
    """Whatever a spec holds, the TOML written from it reads back as the same spec."""
    assert schema.read(Small, tomllib.loads(toml.dumps(item))) == item
    assert schema.read(Small, tomllib.loads(toml.dumps(item, comments=False))) == item


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["name", "model", "corpus", "training", "seed", "x"]), json_values))
def test_any_data_gives_a_recipe_or_a_recipe_error(data):
    """Nothing a file can hold makes the reader fail in any other way."""
    with contextlib.suppress(RecipeError):
        schema.read(spec.Recipe, MINIMAL | data)


def test_every_field_is_documented():
    """Every key of a recipe says what it means; the schema for editors carries it."""

    def visit(part, path):
        for name, entry in part.get("properties", {}).items():
            assert entry.get("description") or name == "kind", f"{path}.{name} is not documented"
            for below in [
                entry,
                entry.get("items", {}),
                *entry.get("anyOf", []),
                *entry.get("items", {}).get("anyOf", []),
            ]:
                visit(below, f"{path}.{name}")

    visit(recipe_file.json_schema(), "recipe")


def test_schema_accepts_what_the_reader_accepts():
    entry = recipe_file.json_schema()["properties"]["model"]["anyOf"][0]["properties"]["dropout"]
    assert entry["minimum"] == 0
    assert entry["exclusiveMaximum"] == 1
    assert entry["default"] == 0.0


def test_a_field_declared_again_means_what_its_base_says():
    @dataclass(frozen=True, kw_only=True)
    class Base:
        width: Annotated[int, About("how wide", "metres", ge=1)] = 3
        depth: Annotated[int, About("how deep", ge=1)] = 4

    @dataclass(frozen=True, kw_only=True)
    class Wide(Base):
        width: int = 30
        depth: Annotated[int, About("how far down", ge=2)] = 5

    fields = schema.fields(Wide)
    assert fields["width"] == schema.Field("width", int, About("how wide", "metres", ge=1), 30)
    assert fields["depth"].about == About("how far down", ge=2)
    with pytest.raises(RecipeError, match="it must be >= 1 metres"):
        schema.read(Wide, {"width": 0})


def test_every_field_of_a_recipe_says_what_it_means():
    def silent(kind, seen):
        for part in typing.get_args(kind) or (kind,):
            if isinstance(part, type) and dataclasses.is_dataclass(part) and part not in seen:
                seen.add(part)
                for name, field in schema.fields(part).items():
                    if name != "kind" and not field.about.text:
                        yield f"{part.__name__}.{name}"
                    yield from silent(field.type, seen)
            elif typing.get_args(part):
                yield from silent(part, seen)

    assert list(silent(spec.Recipe, set())) == []


def test_a_table_without_a_kind_is_of_the_usual_one():
    """`--set training.optimizer.lr=3e-4` on a recipe that says nothing of the optimiser."""
    recipe = read(training={"optimizer": {"lr": 3e-4}, "schedule": {"decay": 0.1}})
    assert recipe.training.optimizer == AdamWSpec(lr=3e-4)
    with pytest.raises(RecipeError, match=r"training\.optimizer\.momentum: unknown key"):
        read(training={"optimizer": {"momentum": 0.9}})


def test_keys_of_before_are_read_and_said_once(capsys):
    with listening(Reporter()):
        for _ in range(2):
            found = read(evaluation={"part": "validation"}, generation={"forbidden": [3], "first": 7})
    assert found.evaluation.split == "validation"
    assert (found.generation.suppressed_tokens, found.generation.forced_first_token) == ((3,), 7)
    assert capsys.readouterr().err.splitlines() == [
        "evaluation.part is evaluation.split now; the old name is still read",
        "generation.forbidden is generation.suppressed_tokens now; the old name is still read",
        "generation.first is generation.forced_first_token now; the old name is still read",
    ]
    with pytest.raises(RecipeError, match=r"evaluation\.part: is the old name of split, which is given, too"):
        read(evaluation={"part": "validation", "split": "test"})


def test_files_of_before_are_read_under_the_names_of_today():
    assert renamed.current({"set_aside": {"parts": 1}, "kept": 2}) == {"skipped": {"parts": 1}, "kept": 2}
