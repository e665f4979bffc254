"""Files of records: every line is either a document or set aside at its place."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text.document import Document, Rejected, collected
from textmill.text.sources.table import read_documents

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


def collect(folder, name, data, limits=None, field="text"):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(
        read_documents(FilesSource(paths=(name,), text_fields=(field,)), limits or LimitSpec(), folder)
    )


def kept(items):
    return [(item.source, item.text) for item in items if isinstance(item, Document)]


def aside(items):
    return [(item.source, item.reason) for item in items if isinstance(item, Rejected)]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=names, data=st.binary(max_size=600))
def test_random_bytes_of_any_name_never_crash(tmp_path, name, data):
    items = collect(tmp_path, name, data)
    for item in items:
        assert isinstance(item, Document) or item.reason
        item.source.encode("utf-8")
    if not name.endswith(("l", "csv", "tsv", "tar", "gz", "zip")):
        assert len(items) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(
        st.one_of(
            st.text(st.characters(codec="utf-8"), max_size=20).map(
                lambda t: ("good", json.dumps({"text": t}), t)
            ),
            st.sampled_from(
                [
                    '{"text": ',
                    "nonsense",
                    "[1, 2]",
                    '"a"',
                    '{"text": 1}',
                    '{"other": "x"}',
                    '{"text": null}',
                    "[" * 9999,
                ]
            ).map(lambda line: ("bad", line, "")),
            st.sampled_from(["", "  "]).map(lambda line: ("empty", line, "")),
        ),
        min_size=1,
        max_size=20,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_json_lines_are_accounted_for_one_by_one(tmp_path, lines, end, mark):
    items = collect(tmp_path, "a.jsonl", mark + end.join(line for _, line, _ in lines).encode())
    numbered = list(enumerate(lines, 1))
    assert kept(items) == [(f"a.jsonl:line {n}", text) for n, (kind, _, text) in numbered if kind == "good"]
    assert [source for source, _ in aside(items)] == [
        f"a.jsonl:line {n}" for n, (kind, _, _) in numbered if kind == "bad"
    ]


def test_a_line_that_is_not_utf8_costs_itself_only(tmp_path):
    items = collect(tmp_path, "a.jsonl", b'{"text": "one"}\n{"text": "caf\xe9"}\n{"text": "three"}\n')
    assert [text for _, text in kept(items)] == ["one", "three"]
    assert aside(items) == [("a.jsonl:line 2", "is not valid UTF-8")]


def test_json_lines_in_utf16(tmp_path):
    data = '{"text": "你好"}\n{"text": "é"}\n'.encode("utf-16")
    assert [text for _, text in kept(collect(tmp_path, "a.jsonl", data))] == ["你好", "é"]


def test_one_huge_line_is_passed_over_without_being_held(tmp_path):
    data = '{"text": "one"}\n{"text": "' + "x" * 900_000 + '"}\n{"text": "three"}'
    items = collect(tmp_path, "a.jsonl", data, LimitSpec(file_bytes=1000))
    assert [text for _, text in kept(items)] == ["one", "three"]
    assert aside(items) == [("a.jsonl:line 2", "is larger than limits.file_bytes")]


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
    (item,) = collect(tmp_path, "a.jsonl", json.dumps(record))
    assert item.metadata == {"title": "T", "year": "1999", "open": "true"}


def test_json_lists_objects_and_lines_by_the_wrong_name(tmp_path):
    assert kept(collect(tmp_path, "a.json", '[{"text": "one"},\n {"text": "two"}]')) == [
        ("a.json:item 1", "one"),
        ("a.json:item 2", "two"),
    ]
    assert kept(collect(tmp_path, "a.json", '{"text": "one"}')) == [("a.json", "one")]
    assert kept(collect(tmp_path, "a.json", '{"text": "one"}\n{"text": "two"}\n')) == [
        ("a.json:line 1", "one"),
        ("a.json:line 2", "two"),
    ]
    assert aside(collect(tmp_path, "a.json", '{"name": "package"}')) == [("a.json", "has no field 'text'")]
    assert aside(collect(tmp_path, "a.json", "[" * 100_000)) == [("a.json", "is not valid JSON")]
    assert aside(collect(tmp_path, "a.json", "9" * 10_000))[0][0] == "a.json"


def test_escaped_lone_surrogates_are_collected_for_the_repair_step(tmp_path):
    (item,) = collect(tmp_path, "a.jsonl", '{"text": "a\\ud800b", "title": "\\ud83d\\ude00\\udc00"}')
    assert item.text == "a\ud800b"
    assert item.metadata["title"] == "😀\\udc00"


cell = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cc",)), max_size=12
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.tuples(cell, st.lists(cell, min_size=1, max_size=3).map("\n".join)), min_size=1, max_size=8
    ),
    delimiter=st.sampled_from([",", ";", "|"]),
)
def test_csv_round_trips_with_places(tmp_path, rows, delimiter):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("title", "text"), *rows])
    data = out.getvalue()
    items = collect(tmp_path, "a.csv", data)
    assert [item.text for item in items] == [text for _, text in rows]
    assert [item.metadata["title"] for item in items] == [title for title, _ in rows]
    line = 2
    for item, (_, text) in zip(items, rows, strict=True):
        assert item.source == f"a.csv:line {line}"
        line += 1 + text.count("\n")


def test_broken_rows_are_set_aside_at_their_lines(tmp_path):
    data = 'text,n\n"two\nlines",1\nshort\ngood,2\nlong,3,4\n"a"b,5\n\ngood,6\n"never closed,7\n'
    items = collect(tmp_path, "a.csv", data)
    assert kept(items) == [("a.csv:line 2", "two\nlines"), ("a.csv:line 5", "good"), ("a.csv:line 9", "good")]
    assert [source for source, _ in aside(items)] == [
        "a.csv:line 4",
        "a.csv:line 6",
        "a.csv:line 7",
        "a.csv:line 10",
    ]


def test_tables_in_the_encodings_of_spreadsheets(tmp_path):
    rows = "title;text\nRené;déjà vu\n"
    for encoding in ("cp1252", "utf-16", "utf-8-sig"):
        assert [item.text for item in collect(tmp_path, "a.csv", rows.encode(encoding))] == ["déjà vu"]
    assert collect(tmp_path, "a.tsv", "n\ttext\n1\ta, b\n")[0].text == "a, b"
    chinese = (
        "编号,text\n1,今天的天气很好，我们一起去公园散步。\n2,中国是一个历史悠久的国家，有很多名胜古迹。\n"
    )
    assert len(kept(collect(tmp_path, "a.csv", chinese.encode("gb18030")))) == 2


def test_a_field_may_be_longer_than_the_csv_module_likes(tmp_path):
    assert len(collect(tmp_path, "a.csv", "text\n" + "x" * 500_000 + "\n")[0].text) == 500_000


def test_a_table_without_the_column_names_those_it_has(tmp_path):
    (item,) = collect(tmp_path, "a.csv", "title,body\na,b\n")
    assert item.reason == "has no column 'text'"
    assert "title, body" in item.detail
    assert len(collect(tmp_path, "a.csv", "title,body\na,b\n", field="body")) == 1
    assert isinstance(collect(tmp_path, "b.csv", "")[0], Rejected)


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
    items = collect(tmp_path, "a.parquet", out.getvalue())
    assert kept(items) == [("a.parquet:row 1", "one"), ("a.parquet:row 3", "three")]
    assert aside(items) == [("a.parquet:row 2", "field 'text' is not text")]
    assert items[0].metadata == {"year": "1", "day": "1970-01-01"}
    assert "text, year" in collect(tmp_path, "a.parquet", out.getvalue(), field="body")[0].detail
    assert aside(collect(tmp_path, "a.parquet", out.getvalue(), field="year"))[0][0] == "a.parquet"
    assert len(aside(collect(tmp_path, "b.parquet", out.getvalue()[:-20]))) == 1


def records(folder, name, data, *fields):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_documents(FilesSource(paths=(name,), text_fields=fields), LimitSpec(), folder))


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
    first, second = records(tmp_path, name, data, "source=en", "zh")
    assert first.texts == {"source": "hello", "zh": "你好"}
    assert list(second.texts.items()) == [("source", "mill"), ("zh", "磨坊")]
    assert first.metadata == {"id": "7"}
    assert first.id == collected(first.texts, "").id


@pytest.mark.parametrize("pack", [json.dumps, as_parquet], ids=["json", "parquet"])
def test_texts_inside_others_and_numbers(tmp_path, pack):
    rows = [{"context": "It is 42.", "question": "What?", "answers": {"text": ["42"], "start": [6]}, "n": 42}]
    name = "a.parquet" if pack is as_parquet else "a.json"
    fields = ("passage=context", "question", "answer=answers.text", "number=n")
    [made] = records(tmp_path, name, pack(rows), *fields)
    assert made.texts == {"passage": "It is 42.", "question": "What?", "answer": "42", "number": "42"}
    assert made.metadata == {}


def test_a_record_that_lacks_a_text_says_which_and_what_it_has(tmp_path):
    lines = [
        {"text": "a", "target": "b"},
        {"source": "c", "target": None},
        {"source": "d", "target": {"x": 1}},
    ]
    items = records(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)), "source", "target")
    assert [(item.reason, item.detail) for item in items] == [
        (
            "has no field 'source'",
            'it has text, target; name the source in text_fields, such as "source=text"',
        ),
        ("field 'target' is not text", "null"),
        ("field 'target' is not text", "an object"),
    ]
    for name, data in (("a.csv", "text,target\na,b\n"), ("a.parquet", as_parquet(lines[:1]))):
        [item] = records(tmp_path, name, data, "source", "target")
        assert item.reason == "has no column 'source'"
        assert item.detail.startswith("it has text, target; name the source")


def test_what_is_no_record_has_one_text_of_the_first_role(tmp_path):
    [made] = records(tmp_path, "a.txt", "plain", "passage=context", "question")
    assert made == collected({"passage": "plain"}, "a.txt", made.metadata)


@pytest.mark.parametrize("fields", [(), ("a", "b=c", "b"), ("=a",), ("a=",)])
def test_text_fields_that_mean_nothing(fields):
    with pytest.raises(RecipeError, match=r'text_fields: wants.*"role=column"'):
        FilesSource(paths=("a",), text_fields=fields)


def test_parquet_text_that_is_not_utf8(tmp_path):
    raw = pa.array([b"good", b"caf\xe9"]).view(pa.string())
    out = io.BytesIO()
    pq.write_table(pa.table({"text": raw}), out)
    items = collect(tmp_path, "a.parquet", out.getvalue())
    assert kept(items) == [("a.parquet:row 1", "good")]
    assert aside(items) == [("a.parquet:row 2", "is not valid UTF-8")]


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "tsv", "parquet", "txt"])
def test_a_picture_by_any_name_is_one_thing_set_aside(tmp_path, ending):
    (item,) = collect(tmp_path, f"a.{ending}", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    assert isinstance(item, Rejected)
