"""JSON values: each is a document, or skipped at its own place, however they follow one another."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.reading import kept, read, skipped, texts
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text.document import Rejected
from textmill.text.sources.table import read_documents

filled = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).filter(
    str.strip
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(
        st.one_of(
            filled.map(lambda text: ("good", json.dumps({"text": text}), text)),
            st.sampled_from(
                [
                    '{"text": ',
                    '{"text": "x"',
                    "nonsense",
                    "[1, 2]",
                    "5 apples",
                    '{"text": "  "}',
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
    lines = [("good", '{"text": "so that it is no list"}', "so that it is no list"), *lines]
    items = read(tmp_path, "a.jsonl", mark + end.join(line for _, line, _ in lines).encode())
    numbered = list(enumerate(lines, 1))
    assert kept(items) == [(f"a.jsonl:line {n}", text) for n, (kind, _, text) in numbered if kind == "good"]
    assert [source for source, _ in skipped(items)] == [
        f"a.jsonl:line {n}" for n, (kind, _, _) in numbered if kind == "bad"
    ]


def test_a_line_that_is_not_utf8_costs_itself_only(tmp_path):
    items = read(tmp_path, "a.jsonl", b'{"text": "one"}\n{"text": "caf\xe9"}\n{"text": "three"}\n')
    assert texts(items) == ["one", "three"]
    assert skipped(items) == [("a.jsonl:line 2", "is not valid UTF-8")]


def test_json_lines_in_utf16(tmp_path):
    data = '{"text": "你好"}\n{"text": "é"}\n'.encode("utf-16")
    assert [text for _, text in kept(read(tmp_path, "a.jsonl", data))] == ["你好", "é"]


def test_one_huge_line_is_passed_over_without_being_held(tmp_path):
    data = '{"text": "one"}\n{"text": "' + "x" * 900_000 + '"}\n{"text": "three"}'
    items = read(tmp_path, "a.jsonl", data, limits=LimitSpec(file_bytes=1000))
    assert texts(items) == ["one", "three"]
    assert skipped(items) == [("a.jsonl:line 2", "is larger than limits.file_bytes")]


def test_json_lists_objects_and_lines_by_the_wrong_name(tmp_path):
    assert kept(read(tmp_path, "a.json", '[{"text": "one"},\n {"text": "two"}]')) == [
        ("a.json:item 1", "one"),
        ("a.json:item 2", "two"),
    ]
    assert kept(read(tmp_path, "a.json", '{"text": "one"}')) == [("a.json", "one")]
    assert kept(read(tmp_path, "a.json", '{"text": "one"}\n{"text": "two"}\n')) == [
        ("a.json:line 1", "one"),
        ("a.json:line 2", "two"),
    ]
    assert skipped(read(tmp_path, "a.json", '{"name": "package"}')) == [("a.json", "has no field 'text'")]
    assert skipped(read(tmp_path, "a.json", "[" * 100_000)) == [("a.json:item 1", "is not valid JSON")]
    assert skipped(read(tmp_path, "a.json", "9" * 10_000))[0][0] == "a.json"


def test_halves_of_characters_become_replacement_characters(tmp_path):
    (item,) = read(
        tmp_path, "a.jsonl", '{"text": "a\\ud800b \\ud83d\\ude00", "title": "\\ud83d\\ude00\\udc00"}'
    )
    assert item.text == "a\ufffdb 😀"
    assert item.metadata["title"] == "😀\\udc00"


def test_objects_over_several_lines_are_read_or_one_fault(tmp_path):
    rows = [{"text": f"row {n}", "meta": {"tags": ["a", "b"], "none": None}} for n in range(3)]
    for indent in (0, 1, 4, "\t"):
        whole = "\n".join(json.dumps(row, indent=indent) for row in rows)
        height = whole.count("\n") // 3 + 1
        items = read(tmp_path, "a.jsonl", whole)
        assert kept(items) == [(f"a.jsonl:line {1 + n * height}", f"row {n}") for n in range(3)]
        broken = whole.replace('"row 1"', "row 1")
        assert texts(read(tmp_path, "a.jsonl", broken)) == ["row 0", "row 2"]
        [fault] = [item for item in read(tmp_path, "a.jsonl", broken) if isinstance(item, Rejected)]
        assert (fault.source, fault.reason) == (f"a.jsonl:line {1 + height}", "is not valid JSON")
        assert fault.detail.endswith(f"lines {1 + height} to {2 * height}")
    cut = read(
        tmp_path, "a.jsonl", '{"text": "one"}\n{\n  "text": "cut",\n{"text": "three"}\n{\n  "text": "end"'
    )
    assert kept(cut) == [("a.jsonl:line 1", "one"), ("a.jsonl:line 4", "three")]
    assert [place for place, _ in skipped(cut)] == ["a.jsonl:line 2", "a.jsonl:line 5"]


def test_strings_with_line_ends_in_them_are_read_or_one_fault(tmp_path):
    written = """{"text":"one\ntwo\n\nthree", "n": 1}
{"text":"say \\"hi\\"\nthere"}
{"text":"never\nclosed
{"text":"next"}
{"text":"closed
too late}
"n": 2}
{"text":"last"}
\x1a"""
    items = read(tmp_path, "a.jsonl", written)
    assert texts(items) == ["one\ntwo\n\nthree", 'say "hi"\nthere', "next", "last"]
    faults = [(item.source, item.detail.rpartition("; ")[2]) for item in items if isinstance(item, Rejected)]
    assert faults == [("a.jsonl:line 7", "lines 7 to 8"), ("a.jsonl:line 10", "lines 10 to 12")]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(filled, st.sampled_from([None, 0, 2])), min_size=1, max_size=8),
    between=st.sampled_from(["\n", "", " ", "\r", "\n\n", "\n\x1e", "\ufeff", "\n\ufeff", ",\n"]),
    name=st.sampled_from(["a.json", "a.jsonl", "a.ndjson"]),
)
def test_values_one_after_another_however_they_are_separated(tmp_path, rows, between, name):
    written = between.join(json.dumps({"text": text, "n": ["x"]}, indent=indent) for text, indent in rows)
    items = read(tmp_path, name, ("\x1e" if "\x1e" in between else "") + written)
    assert texts(items) == [text for text, _ in rows]
    assert len(items) == len(rows)
    assert len({item.source for item in items}) == len(rows)


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_list_by_either_name(tmp_path, name, indent):
    rows = [{"text": f"row {n}"} for n in range(4)]
    whole = json.dumps(rows, indent=indent)
    assert kept(read(tmp_path, name, whole)) == [(f"{name}:item {n + 1}", f"row {n}") for n in range(4)]
    if indent is not None or name == "a.json":  # lists of one line each are lines that are no records
        items = read(tmp_path, name, "\ufeff" + whole + "\n" + whole)
        assert texts(items) == [f"row {n}" for n in (0, 1, 2, 3, 0, 1, 2, 3)]


def test_a_list_that_is_cut_keeps_what_it_has(tmp_path):
    items = read(tmp_path, "a.json", '[{"text": "one"}, {"text": "two"}, {"text": "thr')
    assert texts(items) == ["one", "two"]
    [fault] = [item for item in items if isinstance(item, Rejected)]
    assert (fault.source, fault.reason) == ("a.json:item 3", "is not valid JSON")
    assert fault.detail.endswith("the 13 characters from here on are not read")


def test_numbers_and_controls_that_are_unusual(tmp_path):
    lines = [
        '{"text": "nan", "score": NaN, "x": Infinity, "y": 1e999}',
        '{"text": "first", "text": "the last of equal keys"}',
        '{"text": "long", "n": ' + "9" * 5000 + "}",
        '{"text": "a\ttab and a \0 unescaped"}',
        '{"text": "sep\u2028inside"}',
    ]
    items = read(tmp_path, "a.jsonl", "\n".join(lines))
    assert texts(items) == [
        "nan",
        "the last of equal keys",
        "long",
        "a\ttab and a  unescaped",
        "sep\u2028inside",
    ]
    assert items[0].metadata == {"score": "nan", "x": "inf", "y": "inf"}
    assert read(tmp_path, "a.jsonl", lines[2], "text", "n")[0].texts["n"] == "9" * 5000


def test_faults_that_go_on_cost_no_more_than_lines(tmp_path, within):
    with within(20):
        assert len(read(tmp_path, "a.jsonl", '{"text": "x",\n' * 20_000)) == 20_000
        assert len(read(tmp_path, "b.jsonl", "{" + '"a":[\n' * 20_000)) == 1
        assert len(read(tmp_path, "c.jsonl", '{"text": "x"}' * 20_000)) == 20_000


def test_a_list_for_the_only_text_is_a_mistake_unless_its_column_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": ["a", "b"]}\n{"text": "c"}\n')
    plain, named = FilesSource(paths=("a.jsonl",)), FilesSource(paths=("a.jsonl",), columns={"text": "text"})
    found = list(read_documents(plain, LimitSpec(), tmp_path))
    assert (texts(found), skipped(found)) == (["c"], [("a.jsonl:line 1", "field 'text' is not text")])
    assert texts(list(read_documents(named, LimitSpec(), tmp_path))) == ["a b", "c"]
