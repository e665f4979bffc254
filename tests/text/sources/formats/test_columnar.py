"""Columns on disk: a column is read as what it means, however it is stored."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from helpers.reading import kept, read, skipped, texts
from textmill.text.document import Rejected


def parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def arrow_file(table):
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def arrow_stream(table):
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return out.getvalue()


def feather(table):
    out = io.BytesIO()
    pyarrow.feather.write_feather(table, out)
    return out.getvalue()


WAYS = {"a.parquet": parquet, "a.arrow": arrow_file, "b.arrow": arrow_stream, "a.feather": feather}
WORDS = ["one", "磨坊", "one", None, "five"]
KINDS = {
    "text": pa.array(WORDS),
    "long": pa.array(WORDS, pa.large_string()),
    "views": pa.array(WORDS, pa.string_view()),
    "dictionary": pa.array(WORDS).dictionary_encode(),
    "bytes": pa.array([word and word.encode() for word in WORDS], pa.binary()),
    "long bytes": pa.array([word and word.encode() for word in WORDS], pa.large_binary()),
    "views of bytes": pa.array([word and word.encode() for word in WORDS], pa.binary_view()),
    "dictionary of bytes": pa.array([word and word.encode() for word in WORDS]).dictionary_encode(),
    "JSON": pa.ExtensionArray.from_storage(pa.json_(), pa.array(WORDS)),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_text_is_text_however_it_is_stored(tmp_path, name, kind):
    table = pa.table({"text": KINDS[kind], "label": pa.array(list("abcab")).dictionary_encode()})
    items = read(tmp_path, name, WAYS[name](table))
    assert kept(items) == [(f"{name}:row {n}", word) for n, word in enumerate(WORDS, 1) if word]
    assert skipped(items) == [(f"{name}:row 4", "field 'text' is not text")]
    assert [item.metadata for item in items if not isinstance(item, Rejected)] == [
        {"label": c} for c in "abcb"
    ]


@pytest.mark.parametrize("name", WAYS)
def test_paths_of_keys_lead_into_structures(tmp_path, name):
    rows = [
        {"doc": {"text": "one", "more": {"raw": b"bytes"}}},
        {"doc": {"text": "two", "more": None}},
        {"doc": None},
    ]
    data = WAYS[name](pa.Table.from_pylist(rows))
    items = read(tmp_path, name, data, "text=doc.text")
    assert texts(items) == ["one", "two"]
    assert skipped(items) == [(f"{name}:row 3", "has no field 'doc.text'")]
    assert texts(read(tmp_path, name, data, "doc.more.raw", "doc.text")) == ["bytes"]


@pytest.mark.parametrize("name", WAYS)
def test_a_text_that_is_not_utf8_costs_its_row(tmp_path, name):
    raw = pa.array([b"good", b"caf\xe9", b"too"])
    inside = pa.StructArray.from_arrays([raw.view(pa.string())], ["raw"])
    for column in (raw, raw.dictionary_encode()):
        items = read(tmp_path, name, WAYS[name](pa.table({"text": column})))
        assert texts(items) == ["good", "too"]
        assert skipped(items) == [(f"{name}:row 2", "is not valid UTF-8")]
    if name == "a.parquet":  # the readers of Arrow check it themselves, of the whole file
        items = read(tmp_path, name, WAYS[name](pa.table({"a": inside})), "text=a.raw")
        assert texts(items) == ["good", "too"]


def test_runs_are_the_values_they_stand_for(tmp_path):
    runs = pa.compute.call_function("run_end_encode", [pa.array(["one", "one", "two"])])
    table = pa.table({"text": runs, "n": pa.array([1, 2, 3])})
    assert texts(read(tmp_path, "a.arrow", arrow_file(table))) == ["one", "one", "two"]


def test_lists_of_words_or_sentences_are_one_text_and_other_lists_are_none(tmp_path):
    table = pa.table({"text": [["a", "b"], ["c"]], "title": ["one", "two"], "number": [[1], [2, 3]]})
    assert texts(read(tmp_path, "a.parquet", parquet(table))) == ["a b", "c"]
    [whole] = read(tmp_path, "a.parquet", parquet(table), "text=number")
    assert whole.reason == "field 'number' is not text"
    assert whole.detail.endswith("2 rows")
    items = read(tmp_path, "a.parquet", parquet(table), "title", "text=number")
    assert [item.texts["text"] for item in items] == ["1", "2, 3"]


def test_parquet_rows(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["one", None, "three"]),
            "year": pa.array([1, 2, 3]),
            "day": pa.array([0, 1, 2], pa.date32()),
            "tags": pa.array([["a"], [], None]),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=2)
    items = read(tmp_path, "a.parquet", out.getvalue())
    assert kept(items) == [("a.parquet:row 1", "one"), ("a.parquet:row 3", "three")]
    assert skipped(items) == [("a.parquet:row 2", "field 'text' is not text")]
    assert items[0].metadata == {"year": "1", "day": "1970-01-01"}
    assert "text, year" in read(tmp_path, "a.parquet", out.getvalue(), "body")[0].detail
    assert skipped(read(tmp_path, "a.parquet", out.getvalue(), "year"))[0][0] == "a.parquet"
    assert len(skipped(read(tmp_path, "b.parquet", out.getvalue()[:-20]))) == 1


def test_parquet_text_that_is_not_utf8(tmp_path):
    raw = pa.array([b"good", b"caf\xe9"]).view(pa.string())
    out = io.BytesIO()
    pq.write_table(pa.table({"text": raw}), out)
    items = read(tmp_path, "a.parquet", out.getvalue())
    assert kept(items) == [("a.parquet:row 1", "good")]
    assert skipped(items) == [("a.parquet:row 2", "is not valid UTF-8")]
