"""A quickstart of records: which column is the text is asked for with the line to run, and taken from --columns."""

from __future__ import annotations

import csv
import json
import shlex

import pytest

from helpers.commands import call, parameters
from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.stages import quickstart
from textmill.stages.workspace.workspace import Workspace

COLUMNS = ["id", "body", "author"]


def table(path, rows=80):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [COLUMNS, *([i, f"the mill turns water {i} into flour", "me"] for i in range(rows))]
        )
    return path


def records(path, rows=80):
    path.write_text(
        "".join(json.dumps({"id": i, "story": f"a story of {i} mills"}) + "\n" for i in range(rows))
    )
    return path


@pytest.mark.parametrize(
    ("make", "name", "column", "there"),
    [(table, "my letters.csv", "body", "id, body, author"), (records, "a.jsonl", "story", "id, story")],
)
def test_a_text_column_is_asked_for(make, name, column, there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    said = call(["quickstart", "--corpus", name, "--work", "work", "--json"])
    error = json.loads(said.out)["error"]
    assert error["where"] == name
    assert there in error["what"]
    line = error["advice"].partition(": ")[2]
    assert shlex.split(line) == ["textmill", "quickstart", "--corpus", name, "--columns", f"text={column}"]


@pytest.mark.parametrize("columns", [["text=body"], ["body"], ["text=body", "writer=author"]])
def test_the_column_that_is_named_is_the_text(columns, tmp_path):
    path = table(tmp_path / "letters.csv")
    recipe = quickstart._recipe("letters", quickstart._source_of([path], columns), share=0.1)
    assert recipe.corpus.sources[0].columns["text"] == "body"
    assert quickstart._name(4.0, [path], [], columns) != quickstart._name(4.0, [path], [], [])


def test_what_has_no_column_to_offer_is_said_as_it_is(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(Exception, match=r"empty\.csv|no document") as caught:
        quickstart.quickstart(
            Workspace(tmp_path / "work", Silent()), minutes=0.05, corpus=[tmp_path / "empty.csv"]
        )
    assert not isinstance(caught.value, RecipeError) or "--columns" not in str(caught.value)


def test_the_option_is_one_of_the_command():
    assert "columns" in [parameter.name for parameter in parameters("quickstart")]


def test_a_task_from_its_records_to_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "said.csv").open("w", newline="") as file:
        rows = [
            (f"what a {'lovely' if n % 2 else 'dull'} mill number {n}", ("good", "bad")[n % 2])
            for n in range(150)
        ]
        csv.writer(file).writerows([("text", "verdict"), *rows])
    line = shlex.split("quickstart --data said.csv --kind encoder --minutes 0.05 --work work --name said")
    shown = call(line)
    assert shown.code == 0, shown.err
    for words in ("task: classify", "label: verdict, 2 different values: bad, good"):
        assert words in shown.err
    for words in ("accuracy", "held-out records", "✓", "textmill predict said '"):
        assert words in shown.out
    again = json.loads(call([*line, "--json"]).out)
    assert len(again["examples"]) == 5
    for example in again["examples"]:
        assert set(example["reads"]) == {"text"}
        assert example["right"] == (example["said"]["label"] == example["gold"])
