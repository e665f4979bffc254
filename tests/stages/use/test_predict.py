"""`textmill predict`: the same rows out with the prediction beside them, in every form, whole after an interruption."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.commands import call
from inference.conftest import model_of, texts, tokenizer  # noqa: F401
from textmill.interop.huggingface import directory
from textmill.stages.use import outputs


@pytest.fixture(scope="module")
def place(model_of, tmp_path_factory):  # noqa: F811
    """A folder with published models, and rows in every form."""
    folder = tmp_path_factory.mktemp("predict")
    for name in ("classify", "tag", "answer", "translate"):
        directory.write(folder / name, model_of(name))
    rows = [
        {"id": number, "review": text, "stars": number % 5 + 0.5, "long": "x" * 1500}
        for number, text in enumerate(texts(50))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    with open(folder / "rows.csv", "w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows([{**row, "review": row["review"].replace(" ", '\n"', 1)} for row in rows])
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    (folder / "lines.txt").write_text("\n".join(texts(5)) + "\n\n")
    return folder


@pytest.fixture
def run(place, monkeypatch):
    monkeypatch.chdir(place)

    def run(*arguments, code=0, **options):
        said = call([*map(str, arguments), "--work", "work"], **options)
        assert said.code == code, said.err
        return said

    return run


def rows_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_rows_come_out_as_they_went_in(run, place):
    given = rows_of((place / "rows.jsonl").read_text())
    found = rows_of(run("predict", "classify", "rows.jsonl", "--columns", "text=review", "--top", 2).out)
    assert [{**row, "prediction": None} for row in given] == [{**row, "prediction": None} for row in found]
    for row in found:
        assert set(row["prediction"]) == {"label", "p", "others"}
        assert row["prediction"]["p"] >= row["prediction"]["others"][0]["p"]


def test_every_form_says_the_same(run, place, tmp_path):
    from_lines = rows_of(run("predict", "classify", "rows.jsonl", "--columns", "text=review").out)
    from_parquet = rows_of(run("predict", "classify", "rows.parquet", "--columns", "text=review").out)
    assert from_lines == from_parquet
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        run(
            "classify",
            "classify",
            "rows.jsonl",
            "--columns",
            "text=review",
            "--out",
            tmp_path / f"out.{ending}",
        )
    said = [row["prediction"]["label"] for row in from_lines]
    for ending, separator in (("csv", ","), ("tsv", "\t")):
        with open(tmp_path / f"out.{ending}", newline="") as stream:
            table = list(csv.DictReader(stream, delimiter=separator))
        assert [row["prediction_label"] for row in table] == said
        assert [row["review"] for row in table] == [row["review"] for row in from_lines]
    assert rows_of((tmp_path / "out.jsonl").read_text()) == from_lines
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == from_lines
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")], "nothing is left over"


def test_texts_and_lines(run, place):
    [one, other] = rows_of(run("tag", "tag", "mill Delft", "flour").out)
    assert [one["text"], other["text"]] == ["mill Delft", "flour"]
    said = run("predict", "classify", "lines.txt")
    assert len(rows_of(said.out)) == 5
    assert "lines.txt:line 6: skipped: the text is empty" in said.err
    assert "read 6 rows: predicted 5, skipped 1" in said.err


def test_a_table_without_a_header_and_columns_by_number(run, place, tmp_path):
    (tmp_path / "bare.tsv").write_text("".join(f"{text}\t{number}\n" for number, text in enumerate(texts(4))))
    found = rows_of(
        run("classify", "classify", tmp_path / "bare.tsv", "--no-header", "--columns", "text=1").out
    )
    assert [(row["column 1"], row["column 2"]) for row in found] == [
        (text, str(n)) for n, text in enumerate(texts(4))
    ]
    named = rows_of(run("classify", "classify", "rows.csv", "--columns", "text=2").out)
    assert [row["prediction"] for row in named] == [
        row["prediction"]
        for row in rows_of(run("classify", "classify", "rows.csv", "--columns", "text=review").out)
    ]


def test_stdin(run, place):
    lines = rows_of(run("predict", "classify", "-", given="mill\nflour\n").out)
    assert [row["text"] for row in lines] == ["mill", "flour"]
    records = rows_of(run("predict", "classify", given='{"text": "mill", "n": 1}\n{"text": "flour"}\n').out)
    assert [row.get("n") for row in records] == [1, None]


def test_what_cannot_be_read_is_skipped_with_its_line_and_counted(run, place, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"text": "mill"}\nno json\n{"other": 1}\n{"text": ""}\n{"text": null}\n{"text": "flour"}\n'
    )
    said = run("predict", "classify", path)
    assert [row["text"] for row in rows_of(said.out)] == ["mill", "flour"]
    for line, why in (
        (2, "is not valid JSON"),
        (3, "has no text"),
        (4, "the text is empty"),
        (5, "has no text (column 'text' is empty)"),
    ):
        assert f"bad.jsonl:line {line}: skipped: {why}" in said.err
    assert "read 6 rows: predicted 2, skipped 4" in said.err
    assert "--columns" not in said.err
    plain = json.loads(run("predict", "classify", path, "--json").out)
    assert (plain["read"], plain["predicted"], plain["skipped"]) == (6, 2, 4)
    assert len(plain["predictions"]) == 2


def test_a_table_whose_text_has_another_name_is_told_how_to_name_it(run, place, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,mill\n")
    said = run("predict", "classify", path, code=1)
    assert "no column 'text' among a, b" in said.err
    assert "name its columns: --columns text=…" in said.err


def test_the_same_text_for_every_row(run, place):
    asked = ("answer", "answer", "mill turns grain", "wind turns mill", "--with", "question=what turns")
    for row, text in zip(rows_of(run(*asked).out), ("mill turns grain", "wind turns mill"), strict=True):
        said = row["prediction"]
        assert text[said["start"] : said["end"]] == said["answer"]
    assert "has no question" in run("answer", "answer", "mill", code=1).err


def test_a_line_is_the_text_that_was_not_given_for_every_row(run, place):
    [asked] = rows_of(
        run("predict", "answer", "Where is it?", "--with", "passage=It is here, by the river.").out
    )
    assert {**asked, "prediction": None} == {"question": "Where is it?", "prediction": None}


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("source", ["rows.jsonl", pytest.param("rows.csv", marks=pytest.mark.slow)])
def test_a_stopped_output_is_gone_on_with(run, place, tmp_path, monkeypatch, ending, source):
    asked = ("predict", "classify", source, "--columns", "text=review")
    run(*asked, "--out", tmp_path / f"whole.{ending}")
    out, write, done = tmp_path / f"out.{ending}", outputs.Output.write, []

    def dying(self, row, name):
        done.append(row)
        if len(done) > 20:
            raise KeyboardInterrupt
        write(self, row, name)

    monkeypatch.setattr(outputs.Output, "write", dying)
    run(*asked, "--out", out, code=130)
    monkeypatch.setattr(outputs.Output, "write", write)
    rows = outputs.Place.of(out).rows
    with open(rows, "r+b") as stream:  # the last row was cut in its middle
        stream.truncate(rows.stat().st_size - 5)
    assert "--resume goes on" in run(*asked, "--out", out, code=1).err
    other = run(*asked, "--out", out, "--resume", "--top", 2, code=1)
    assert "was begun with another options" in other.err
    said = run(*asked, "--out", out, "--resume")
    assert "predicted 50, skipped 0; 19 were there before" in said.err
    if ending == "parquet":
        assert pq.read_table(out) == pq.read_table(tmp_path / "whole.parquet")
    else:
        assert out.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert "is whole" in run(*asked, "--out", out, "--resume", code=1).err


def test_another_input_is_not_gone_on_with(run, place, tmp_path, monkeypatch):
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"text": "mill"}\n{"text": "flour"}\n')
    write = outputs.Output.write
    monkeypatch.setattr(
        outputs.Output, "write", lambda self, row, name: (write(self, row, name), 1 / (row["text"] == "mill"))
    )
    call(["predict", "classify", str(path), "--out", str(out), "--work", "work"])
    monkeypatch.setattr(outputs.Output, "write", write)
    path.write_text('{"text": "wind"}\n{"text": "flour"}\n')
    assert (
        "is not the row that was written"
        in run("predict", "classify", path, "--out", out, "--resume", code=1).err
    )


def test_mistakes_say_what_to_do(run, place, tmp_path):
    assert "no such file" in run("predict", "classify", "rowz.csv", code=1).err
    assert "says no form of rows" in run("predict", "classify", "mill", "--out", "x.docx", code=2).err
    assert "another task, classify" in run("translate", "classify", "mill", code=1).err
    assert (
        "is no text that classify reads"
        in run("classify", "classify", "a", "--with", "queston=b", code=2).err
    )
    path = tmp_path / "said.jsonl"
    path.write_text('{"text": "mill", "prediction": "x"}\n')
    assert "--as NAME" in run("predict", "classify", path, code=1).err
    [row] = rows_of(run("predict", "classify", path, "--as", "new").out)
    assert row["prediction"] == "x"
    assert "label" in row["new"]


def test_a_table_s_cells():
    row = {"a": None, "b": 1.5, "c": [1], "p": {"label": "x", "others": [{"label": "y"}]}}
    assert outputs.flat(row, "p") == {
        "a": "", "b": "1.5", "c": "[1]", "p_label": "x", "p_others": '[{"label": "y"}]'
    }  # fmt: skip
    assert next(csv.reader(io.StringIO("".join(outputs.cell('a"b\n'))))) is not None


def test_a_text_that_is_no_utf8_is_skipped(run):
    said = run("predict", "classify", "\udcff\udcfe", "mill")
    assert [row["text"] for row in rows_of(said.out)] == ["mill"]
    assert "text 1: skipped: is not valid UTF-8" in said.err
