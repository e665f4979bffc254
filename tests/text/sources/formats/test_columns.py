"""Columns by name and by number, tables without a header, and files line by line beside each other."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.records import kept, read, skipped
from textmill.base.errors import RecipeError
from textmill.specs.corpus import CorpusSpec, FilesSource, RecordSpec

PAIR = ("source", "target")


def test_columns_by_name_and_by_number(tmp_path):
    data = "id,en,de,note\n1,mill,Mühle,a\n2,river,Fluss,b\n"
    by_name = {"source": "en", "target": "de", "kind": "note"}
    for columns in (by_name, {"source": 2, "target": 3, "kind": -1}):
        items = read(tmp_path, {"a.csv": data}, columns=columns, text_fields=PAIR)
        assert [(item.texts, item.metadata) for item in items] == [
            ({"source": "mill", "target": "Mühle"}, {"id": "1", "kind": "a"}),
            ({"source": "river", "target": "Fluss"}, {"id": "2", "kind": "b"}),
        ]
    item, _ = read(
        tmp_path,
        {"b.jsonl": '["mill", "Mühle"]\n["a", "b"]\n'},
        columns={"source": 1, "target": 2},
        text_fields=PAIR,
    )
    assert item.texts == {"source": "mill", "target": "Mühle"}


def test_tables_without_a_header(tmp_path):
    data = 'One, "two" and three; four\tpositive\nFive\tnegative\nSix\tseven\teight\nNine\n'
    items = read(tmp_path, {"a.tsv": data}, header=False, columns={"text": 1, "label": 2})
    assert [(item.texts, item.metadata) for item in kept(items)] == [
        ({"text": 'One, "two" and three; four', "label": "positive"}, {}),
        ({"text": "Five", "label": "negative"}, {}),
    ]
    assert skipped(items) == [
        ("a.tsv:line 3", "has another number of fields than the first row"),
        ("a.tsv:line 4", "has another number of fields than the first row"),
    ]
    items = read(
        tmp_path, {"a.tsv": data}, header=False, columns={"text": 1, "label": 2}, text_fields=["text"]
    )
    assert kept(items)[0].metadata == {"label": "positive"}
    [wrong] = read(tmp_path, {"b.csv": "a,b\n"}, header=False, columns={"text": 3})
    assert (wrong.reason, wrong.detail.partition(";")[0]) == (
        "has no column '3'",
        "it has column 1, column 2",
    )


def test_a_table_under_any_name(tmp_path):
    items = read(
        tmp_path,
        {"cmn.txt": "Hi.\t嗨。\tCC-BY\n"},
        format="table",
        header=False,
        columns={"source": 1, "target": 2},
    )
    assert [item.texts for item in items] == [{"source": "Hi.", "target": "嗨。"}]


def test_several_references(tmp_path):
    record = RecordSpec(several=("target",))
    data = json.dumps({"source": ["Long text.", "Of two sentences."], "target": ["Short.", "", "Brief."]})
    [item] = read(tmp_path, {"a.jsonl": data}, record, text_fields=PAIR)
    assert item.texts == {"source": "Long text. Of two sentences.", "target": "Short.", "target 2": "Brief."}
    columns = {"source": "a", "target": "b", "target 2": "c"}
    [item] = read(tmp_path, {"b.csv": "a,b,c\n1,2,3\n"}, record, columns=columns, text_fields=PAIR)
    assert item.texts == {"source": "1", "target": "2", "target 2": "3"}


def test_lists_of_words_and_their_tags(tmp_path):
    data = json.dumps({"tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"]})
    columns = {"text": "tokens", "tags": "ner_tags"}
    [item] = read(tmp_path, {"a.jsonl": data}, RecordSpec(tags="tags"), columns=columns, text_fields=["text"])
    assert (item.text, item.metadata["tags"]) == ("EU rejects", "B-ORG O")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"columns": {"text": 0}}, "columns.text: 0 is no column"),
        (
            {"columns": {"text": "a"}, "header": False},
            "columns.text: is a name, and these tables have no header",
        ),
        ({"format": "parallel"}, "paths: needs two aligned files or more"),
    ],
)
def test_columns_that_mean_nothing(source, message):
    with pytest.raises(RecipeError, match=message):
        FilesSource(paths=("a",), **source)


def test_a_recipe_says_which_columns_are_texts():
    source = FilesSource(paths=("a",), columns={"source": "en", "target": "de", "label": 3})
    [read] = CorpusSpec(sources=(source,)).read_as(PAIR).sources
    assert read.text_fields == PAIR
    assert read.columns == source.columns


@pytest.mark.parametrize(
    ("record", "form"),
    [
        ({"messages": []}, "chat"),
        ({"instruction": "a", "output": "b"}, "chat"),
        ({"chosen": "a", "rejected": "b"}, "preference"),
        ({"version": "1.1", "data": []}, "squad"),
        ({"context": "a", "answers": {"text": []}}, "squad"),
        ({"data": {"text": "a"}, "annotations": []}, "spans"),
        ({"body": "a"}, ""),
    ],
)
def test_a_record_without_its_text_says_which_format_it_looks_like(tmp_path, record, form):
    [item] = read(tmp_path, {"a.jsonl": json.dumps(record)})
    assert ("it looks like format" in item.detail) == bool(form)
    assert not form or item.detail.endswith(f'it looks like format = "{form}"')


# --- files beside each other --------------------------------------------------------------------------------------
def test_files_line_by_line_beside_each_other(tmp_path):
    files = {"train.en": "mill\nriver\n\n", "train.de.gz": gzip.compress("Mühle\r\nFluss\n\n".encode())}
    items = read(tmp_path, files, format="parallel", text_fields=PAIR)
    assert [item.texts for item in kept(items)] == [
        {"source": "mill", "target": "Mühle"}, {"source": "river", "target": "Fluss"},
    ]  # fmt: skip
    assert skipped(items) == [("train.en:line 3", "holds no text")]
    turned = read(tmp_path, files, format="parallel", text_fields=PAIR, columns={"source": 2, "target": 1})
    assert turned[0].texts == {"source": "Mühle", "target": "mill"}


def test_files_of_other_lengths_are_an_error_that_names_both_counts(tmp_path):
    with pytest.raises(RecipeError, match=r"a\.en has 2 lines, a\.de has 1 lines"):
        read(tmp_path, {"a.en": "one\ntwo\n", "a.de": "eins\n"}, format="parallel", text_fields=PAIR)


LINE = st.text(st.characters(categories=["L", "Zs", "P"]), max_size=10)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(LINE, LINE), min_size=1, max_size=10))
def test_lines_that_are_written_beside_each_other_are_read_so(tmp_path, pairs):
    files = {name: "".join(f"{pair[at]}\n" for pair in pairs) for at, name in enumerate(("a.en", "a.de"))}
    items = read(tmp_path, files, format="parallel", text_fields=PAIR)
    assert len(items) == len(pairs)
    assert [tuple(item.texts.values()) for item in kept(items)] == [
        pair for pair in pairs if any(map(str.strip, pair))
    ]
