"""Files of records: every line is either a document or skipped at its place."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.reading import read
from textmill.base.errors import RecipeError
from textmill.specs.corpus import FilesSource
from textmill.text.document import Document, Rejected, collected

endings = [
    "txt",
    "py",
    "json",
    "jsonl",
    "csv",
    "tsv",
    "parquet",
    "zip",
    "tar",
    "gz",
    "tar.gz",
    "txz",
    "bz2",
    "zst",
]
names = st.sampled_from(["a", *(f"a.{ending}" for ending in endings)])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=names, data=st.binary(max_size=600))
def test_random_bytes_of_any_name_never_crash(tmp_path, name, data):
    items = read(tmp_path, name, data)
    for item in items:
        assert isinstance(item, Document) or item.reason
        item.source.encode("utf-8")
    if not name.endswith(("l", "csv", "tsv", "json", "tar", "gz", "zip")):
        assert len(items) == 1


def test_other_scalar_columns_become_metadata(tmp_path):
    record = {
        "text": "x",
        "title": "T",
        "year": 1999,
        "open": True,
        "tags": ["a"],
        "none": None,
        "huge": "h" * 5000,
    }
    (item,) = read(tmp_path, "a.jsonl", json.dumps(record))
    assert item.metadata == {"title": "T", "year": "1999", "open": "true"}


def as_parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


ROWS = [{"id": 7, "en": "hello", "zh": "你好"}, {"id": 8, "en": "mill", "zh": "磨坊"}]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("a.json", json.dumps(ROWS)),
        ("a.csv", "id,en,zh\n7,hello,你好\n8,mill,磨坊\n"),
        ("b.csv", "id;en;zh\n7;hello;你好\n8;mill;磨坊\n"),
        ("a.tsv", "id\ten\tzh\n7\thello\t你好\n8\tmill\t磨坊\n"),
        ("a.parquet", as_parquet(ROWS)),
    ],
)
def test_records_of_several_texts(tmp_path, name, data):
    first, second = read(tmp_path, name, data, "source=en", "zh")
    assert first.texts == {"source": "hello", "zh": "你好"}
    assert list(second.texts.items()) == [("source", "mill"), ("zh", "磨坊")]
    assert first.metadata == {"id": "7"}
    assert first.id == collected(first.texts, "").id


@pytest.mark.parametrize("pack", [json.dumps, as_parquet], ids=["json", "parquet"])
def test_texts_inside_others_and_numbers(tmp_path, pack):
    rows = [{"context": "It is 42.", "question": "What?", "answers": {"text": ["42"], "start": [6]}, "n": 42}]
    name = "a.parquet" if pack is as_parquet else "a.json"
    fields = ("passage=context", "question", "answer=answers.text", "number=n")
    [made] = read(tmp_path, name, pack(rows), *fields)
    assert made.texts == {"passage": "It is 42.", "question": "What?", "answer": "42", "number": "42"}
    assert made.metadata == {}


def test_a_record_that_lacks_a_text_says_which_and_what_it_has(tmp_path):
    lines = [
        {"text": "a", "target": "b"},
        {"source": "c", "target": None},
        {"source": "d", "target": {"x": 1}},
    ]
    items = read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)), "source", "target")
    assert [(item.reason, item.detail) for item in items] == [
        (
            "has no field 'source'",
            'it has text, target; name the source in text_fields, such as "source=text"',
        ),
        ("field 'target' is not text", "null"),
        ("field 'target' is not text", "an object"),
    ]
    for name, data in (("a.csv", "text,target\na,b\n"), ("a.parquet", as_parquet(lines[:1]))):
        [item] = read(tmp_path, name, data, "source", "target")
        assert item.reason == "has no column 'source'"
        assert item.detail.startswith("it has text, target; name the source")


def test_what_is_no_record_has_one_text_of_the_first_role(tmp_path):
    [made] = read(tmp_path, "a.txt", "plain", "passage=context", "question")
    assert made == collected({"passage": "plain"}, "a.txt", made.metadata)


def test_the_column_of_the_only_text():
    short = FilesSource(paths=("a",), text_field="doc.text")
    assert short == FilesSource(paths=("a",), text_fields=("text=doc.text",))
    with pytest.raises(RecipeError, match="text_field: means the same as text_fields"):
        FilesSource(paths=("a",), text_fields=("text",), text_field="body")


@pytest.mark.parametrize("fields", [(), ("a", "b=c", "b"), ("=a",), ("a=",)])
def test_text_fields_that_mean_nothing(fields):
    with pytest.raises(RecipeError, match=r'text_fields: wants.*"role=column"'):
        FilesSource(paths=("a",), text_fields=fields)


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "tsv", "parquet", "txt"])
def test_a_picture_by_any_name_is_one_thing_set_skipped(tmp_path, ending):
    (item,) = read(tmp_path, f"a.{ending}", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    assert isinstance(item, Rejected)


def test_a_zero_byte_is_no_text(tmp_path):
    for name, data in (
        ("a.csv", b"text,label\ntw\0o,x\nthree,y\n"),
        ("a.tsv", b"text\tlabel\ntw\0o\tx\nthree\ty\n"),
        ("a.jsonl", b'{"text": "tw\\u0000o"}\n{"text": "three"}\n'),
        ("a.json", b'[{"text": "tw\\u0000o"}, {"text": "three"}]'),
    ):
        assert [item.text for item in read(tmp_path, name, data)] == ["two", "three"], name
