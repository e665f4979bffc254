"""Every field of a GenerationSpec is an option, and what a person gives, and only that, reaches the stage."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from textmill.base import schema
from textmill.base.errors import RecipeError
from textmill.cli import generation
from textmill.specs.recipe import GenerationSpec


def told(*arguments: str, left_out: tuple[str, ...] = ()) -> tuple[int, list, str]:
    """Exit code, what the command was told, and what was printed."""
    heard: list = []

    @generation.options(*left_out)
    def verb(name: str, times: int = 1, *, changes: dict) -> None:
        """A command."""
        heard.append((name, times, changes))

    app = typer.Typer()
    app.command()(verb)
    result = CliRunner().invoke(app, list(arguments))
    code = result.exception.exit_code if isinstance(result.exception, RecipeError) else result.exit_code
    return code, heard, result.output


def test_only_what_is_given_changes():
    assert told("a") == (0, [("a", 1, {})], "")
    code, heard, _ = told("a", "--times", "3", "-n", "5", "-t", "0.5", "--stop", "x", "--stop", "y")
    assert code == 0
    assert heard == [("a", 3, {"tokens": 5, "temperature": 0.5, "stop": ["x", "y"]})]


def test_every_field_is_an_option_that_a_spec_can_be_read_from():
    given = {
        "beams": "4",
        "length_penalty": "0.6",
        "length_formula": "gnmt",
        "coverage_penalty": "0.2",
        "early_stopping": "never",
        "no_repeat_ngram": "3",
        "min_tokens": "2",
        "suppressed_tokens": "7",
        "forced_first_token": "9",
        "top_k": "5",
        "speculate": "prompt",
    }
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    _, ((_, _, changes),), _ = told("a", *words)
    spec = schema.read(GenerationSpec, schema.write(GenerationSpec()) | changes)
    assert spec == GenerationSpec(
        beams=4,
        length_penalty=0.6,
        length_formula="gnmt",
        coverage_penalty=0.2,
        early_stopping="never",
        no_repeat_ngram=3,
        min_tokens=2,
        suppressed_tokens=(7,),
        forced_first_token=9,
        top_k=5,
        speculate="prompt",
    )
    _, _, text = told("--help")
    for name in schema.fields(GenerationSpec):
        assert f"--{name.replace('_', '-')}"[:20] in text


def test_a_wrong_kind_of_value_is_wrong_use():
    assert told("a", "--beams", "many")[0] == 2
    assert told("a", "--speculate", "off", left_out=("speculate",))[0] == 2


def test_lists_of_lists_are_written_with_commas():
    # One is by its name of before.
    code, heard, _ = told(
        "x", "--suppressed-sequences", "17,4,9", "--forbidden-runs", "3,5", "--forced-last-tokens", "2"
    )
    assert code == 0
    assert heard[0][2] == {"suppressed_sequences": [[17, 4, 9], [3, 5]], "forced_last_tokens": [2]}
    code, heard, _ = told("x", "--suppressed-sequences", "17;4")
    assert code == 2
    assert not heard
