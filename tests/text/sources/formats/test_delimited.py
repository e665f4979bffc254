"""Separated values: every row is a document with the text that was written, or skipped at its own place."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.reading import kept, read, skipped, texts
from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats.dialect import Dialect, Header, told

quick = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
characters = st.characters(codec="utf-8", exclude_characters="\0\ufeff\r", exclude_categories=("Cc",))
cell = st.text(characters, min_size=1, max_size=12).filter(
    lambda text: text.strip() not in ("", "text", "id")
)
paragraphs = st.lists(cell, min_size=1, max_size=3).map("\n".join)


def written(rows, **dialect):
    out = io.StringIO(newline="")
    csv.writer(out, **dialect).writerows(rows)
    return out.getvalue()


# --- what a writer wrote ------------------------------------------------------------------------------------------
@quick
@given(
    rows=st.lists(st.tuples(cell, paragraphs), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from(["", "\ufeff", "sep"]),
)
def test_what_was_written_is_read_back_at_its_lines(tmp_path, rows, delimiter, quoting, end, mark):
    quoting = csv.QUOTE_ALL if end == "\r" else quoting  # the csv module forgets that LF is an end too, then
    data = written([("title", "text"), *rows], delimiter=delimiter, quoting=quoting, lineterminator=end)
    data = f"sep={delimiter}{end}{data}" if mark == "sep" else mark + data
    items = read(tmp_path, "a.csv", data)
    assert texts(items) == [text for _, text in rows]
    assert [item.metadata["title"] for item in items] == [title for title, _ in rows]
    line = 3 if mark == "sep" else 2
    for item, (_, text) in zip(items, rows, strict=True):
        assert item.source == f"a.csv:line {line}"
        line += 1 + text.count("\n")


@quick
@given(
    rows=st.lists(st.tuples(cell, paragraphs), min_size=3, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_tabs_between_fields_that_are_all_quoted(tmp_path, rows, quoting):
    data = written([("title", "text"), *rows], delimiter="\t", quoting=quoting)
    assert texts(read(tmp_path, "a.tsv", data)) == [text for _, text in rows]


@quick
@given(rows=st.lists(st.tuples(cell, cell), min_size=1, max_size=8))
def test_tabs_without_quoting_keep_every_quote(tmp_path, rows):
    # A header-like quote around every field of every row is the one thing that could not be told from quoting.
    data = "title\ttext\n" + "".join(f'{title}\t"{text.replace(chr(34), "")}\n' for title, text in rows)
    items = read(tmp_path, "a.tsv", data)
    assert texts(items) == ['"' + text.replace('"', "") for _, text in rows]


@quick
@given(rows=st.lists(st.tuples(cell, cell), min_size=1, max_size=6))
def test_backslashes_before_quotes_are_told_by_the_rows_they_make(tmp_path, rows):
    rows = [(title.replace("\\", "/"), text.replace("\\", "/")) for title, text in rows]
    data = written([("title", "text"), *rows], quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")
    items = read(tmp_path, "a.csv", data)
    assert len(items) == len(rows)
    assert set(texts(items)) <= {text for _, text in rows}
    many = written(
        [("id", "text"), *((n, f'He said "{n}, no".') for n in range(9))], doublequote=False, escapechar="\\"
    )
    assert texts(read(tmp_path, "a.csv", many)) == [f'He said "{n}, no".' for n in range(9)]


# --- faults -------------------------------------------------------------------------------------------------------
FAULTS = {  # one line each, in place of a row
    "an open quote": '9,"never closed',
    "an open quote with a comma": '"9,never closed',
    "words behind a quote": '"9"x,text',
    "too few": "9",
    "too many": "9,text,more",
}


@quick
@given(data=st.data())
def test_every_row_is_kept_or_skipped_whatever_its_neighbours_are(tmp_path, data):
    """An independent reader counts: one row a line for faults and plain rows, none broken by what stands beside it."""
    good = st.tuples(st.just("good"), st.integers(0, 99), st.text("abc xyz.", min_size=3).filter(str.strip))
    quoted = st.tuples(st.just("quoted"), st.integers(0, 99), st.just('a "b", c'))
    bad = st.tuples(st.sampled_from(list(FAULTS)))
    rows = data.draw(st.lists(st.one_of(good, good, quoted, bad), min_size=1, max_size=25))
    lines, expected = ["id,text"], {}
    for number, (kind, *fields) in enumerate(rows, 2):
        lines.append(FAULTS.get(kind) or written([fields], lineterminator=""))
        if kind not in FAULTS:
            expected[f"a.csv:line {number}"] = fields[1]
    items = read(tmp_path, "a.csv", "\n".join(lines))
    found = dict(kept(items))
    assert found.items() <= expected.items(), "nothing is kept that was not written"
    told = [line for item in items if isinstance(item, Rejected) for line in lines_of(item)]
    assert sorted([*told, *(int(place.rpartition(" ")[2]) for place in found)]) == [*range(2, len(rows) + 2)]
    if not any(kind.startswith("an open quote") for kind, *_ in rows):
        assert found == expected


def lines_of(item):
    """The lines that something skipped says it took."""
    first = int(item.source.rpartition("line ")[2])
    last = re.search(r"lines [\d,]+ to ([\d,]+)", item.detail)
    return range(first, int(last[1].replace(",", "")) + 1 if last else first + 1)


MULTILINE = (
    "holds no text",
    "has another number of fields than the header",
)  # what is wrong with a row that is one


@quick
@given(data=st.text('a,,"\n\n;\\', max_size=60), ending=st.sampled_from(["csv", "tsv"]))
@example(data='""', ending="csv")
def test_no_line_of_a_wild_file_is_lost(tmp_path, data, ending):
    """A line that holds something belongs to an item: its own, one whose text goes on into it, or one that says so."""
    delimiter = "," if ending == "csv" else "\t"
    data = data.replace(",", delimiter)
    items = read(tmp_path, f"a.{ending}", f"id{delimiter}text{delimiter}more\n{data}")
    begins = [int(item.source.rpartition("line ")[2]) for item in items]
    filled = {n for n, line in enumerate(data.split("\n"), 2) if line}
    assert begins == sorted(set(begins))
    assert set(begins) <= filled
    for line in filled - set(begins):
        before = items[sum(begin < line for begin in begins) - 1]
        if isinstance(before, Document):
            assert "\n" in "".join([before.text, *before.metadata.values()])
        else:
            assert "lines" in before.detail or before.reason in (
                "holds no text",
                "has another number of fields than the header",
            )


def test_an_open_quote_costs_its_line_and_no_row_after_it(tmp_path):
    data = 'id,text\n1,first\n2,"opens\n' + "".join(f"{n},row {n}\n" for n in range(3, 40))
    items = read(tmp_path, "a.csv", data)
    assert skipped(items) == [("a.csv:line 3", "is not a valid row")]
    assert texts(items) == ["first", *(f"row {n}" for n in range(3, 40))]
    again = read(tmp_path, "a.csv", data + '40,"two\nlines"\n41,"never\n42,last\n')
    assert [place for place, _ in skipped(again)] == ["a.csv:line 3", "a.csv:line 43"]
    assert texts(again)[-2:] == ["two\nlines", "last"]


def test_a_broken_row_over_several_lines_is_one_row(tmp_path):
    prose = '2,"He said "no" to it\nand, then, he left,\nwithout a word"\n'
    items = read(tmp_path, "a.csv", f"id,text\n1,one\n{prose}3,three\n")
    assert texts(items) == ["one", "three"]
    cut = read(tmp_path, "a.csv", 'id,text\n1,one\n2,"a long story\nthat goes on\nand on and is cut')
    assert texts(cut) == ["one"]
    [only] = [item for item in cut if isinstance(item, Rejected)]
    assert (only.source, only.reason) == ("a.csv:line 3", "is not a valid row")
    assert "lines 3 to 5" in only.detail


def test_quotes_that_keep_failing_cost_no_more_than_lines(tmp_path, within):
    data = "id,text\n" + 'x","y\n' * 60_000
    with within(20):
        items = read(tmp_path, "a.csv", data)
    assert len(items) == 60_000


def test_a_row_larger_than_a_record_may_be_is_passed_over_to_its_end(tmp_path):
    data = 'text\none\n"' + "long line\n" * 500 + '"\nthree\n'
    items = read(tmp_path, "a.csv", data, limits=LimitSpec(file_bytes=1000))
    assert texts(items) == ["one", "three"]
    [large] = [item for item in items if isinstance(item, Rejected)]
    assert (large.source, large.reason) == ("a.csv:line 3", "is larger than limits.file_bytes")
    assert "lines 3 to 503" in large.detail


def test_broken_rows_are_skipped_at_their_lines(tmp_path):
    data = 'text,n\n"two\nlines",1\nshort\ngood,2\nlong,3,4\n"a"b,5\n\ngood,6\n"never closed,7\n'
    items = read(tmp_path, "a.csv", data)
    assert kept(items) == [("a.csv:line 2", "two\nlines"), ("a.csv:line 5", "good"), ("a.csv:line 9", "good")]
    assert [place for place, _ in skipped(items)] == [f"a.csv:line {n}" for n in (4, 6, 7, 10)]


def test_stray_zero_bytes_cost_nothing(tmp_path):
    items = read(tmp_path, "a.csv", b"id,text\n1,one\n2,t\0wo\n3,three\n")
    assert texts(items) == ["one", "two", "three"]
    assert skipped(read(tmp_path, "b.csv", b"id,text\n" + bytes(4000))) == [("b.csv:line 2", "is not text")]
    items = read(tmp_path, "c.csv", b"id,text\r\n1,one\r\n\x1a")  # the end of a file in DOS
    assert (texts(items), skipped(items)) == (["one"], [])


# --- headers ------------------------------------------------------------------------------------------------------
def test_names_of_columns_are_told_apart():
    assert Header.of(["text", " text ", "", "text", ""]) == Header(
        ("text", "text.1", "column 3", "text.2", "column 5"), 4
    )
    assert Header.of(["text", "text.1", "text"]).names == ("text", "text.1", "text.2")


def test_a_delimiter_at_the_end_is_an_empty_field(tmp_path):
    assert texts(read(tmp_path, "a.csv", "id,text\n1,one,\n2,two,,\n3,three\n")) == ["one", "two", "three"]
    items = read(tmp_path, "a.csv", "id,text,\n1,one\n2,two,\n3,three,more\n")
    assert texts(items) == ["one", "two", "three"]
    assert items[2].metadata == {"id": "3", "column 3": "more"}


def test_repeated_and_missing_names(tmp_path):
    [item] = read(tmp_path, "a.csv", ",text,text\n0,one,two\n")
    assert (item.text, item.metadata) == ("one", {"column 1": "0", "text.1": "two"})
    assert texts(read(tmp_path, "a.csv", ",text,text\n0,one,two\n", "text=text.1")) == ["two"]


def test_files_that_were_joined(tmp_path):
    one, two = "\ufeffid,text\n1,one\n", "\ufefftext,id\ntwo,2\n"
    items = read(tmp_path, "a.csv", one + one + two)
    assert texts(items) == ["one", "one", "two"]
    assert [item.metadata["id"] for item in items if isinstance(item, Document)] == ["1", "1", "2"]
    assert skipped(items) == [("a.csv:line 3", "repeats the header"), ("a.csv:line 5", "repeats the header")]
    assert texts(read(tmp_path, "a.csv", one.rstrip() + one)) == ["one", "one"]
    assert skipped(read(tmp_path, "a.csv", "text\na\ntext\nb\n")) == [("a.csv:line 3", "repeats the header")]


def test_a_table_without_the_column_names_those_it_has(tmp_path):
    (item,) = read(tmp_path, "a.csv", "title,body\na,b\n")
    assert item.reason == "has no column 'text'"
    assert "title, body" in item.detail
    assert len(read(tmp_path, "a.csv", "title,body\na,b\n", "body")) == 1
    assert isinstance(read(tmp_path, "b.csv", "")[0], Rejected)
    assert isinstance(read(tmp_path, "b.csv", "\n\n")[0], Rejected)
    assert "title, body" in read(tmp_path, "a.csv", "title;body\na;b\n")[0].detail


# --- dialects -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("sep=;\nid;text\n1;a, b\n", "a, b"),
        ('"sep=|"\r\nid|text\r\n1|a; b\r\n', "a; b"),
        ("\ufeffsep=\t\nid\ttext\n1\ta, b\n", "a, b"),
        ("sep=#\nid#text\n1#a, b\n", "a, b"),
        ("\n\nid,text\n1,b\n", "b"),
        ('id, text\n1, "a, b"\n', "a, b"),
        ("text\nHello, my dear\n", "Hello, my dear"),
        ("id;text;n,m\n1;a;2,5\n", "a"),
        ("id\ttext\n1\ta, b\n", "a, b"),
    ],
)
def test_how_a_file_is_separated(tmp_path, data, text):
    assert texts(read(tmp_path, "a.csv", data)) == [text]


@pytest.mark.parametrize(
    ("rows", "quoted"),
    [
        ('1\t"Yes, he said.\n2\tNo."\n3\tThree', False),
        ('1\t"Yes."\n2\t"No."', False),
        ('1\t"Yes," he said.\n2\tShe said "no".', False),
        ('1\t"', False),
        ('1\t"He said ""no""."\n2\tplain', True),
        ('1\t"two\nlines"\n2\tplain', True),
        ('1\t"a\ttab"\n2\tplain', True),
        ('1\t"a, b"\n2\t"c, d"\n3\t"e, f"\n4\tplain', True),
        ('1\t"a, b"\n2\t"c, d"\n3\t"e, f"\n4\tplain, too', False),
        ('0\t"an ""a""."\n1\t"He said ""no""."\n2\t"an open one\n3\t"two\nlines"\n4\tplain', True),
    ],
)
def test_when_quotes_between_tabs_quote(rows, quoted):
    lines = ("id\ttext\n" + rows + "\n").splitlines(keepends=True)
    assert told(lines, True, "tsv", ["text"]) == Dialect("\t", quoted=quoted)


def test_a_quote_between_tabs_is_a_character(tmp_path):
    items = read(tmp_path, "a.tsv", 'id\ttext\n1\t"Yes, he said.\n2\tNo."\n3\tThree\n')
    assert kept(items) == [
        ("a.tsv:line 2", '"Yes, he said.'),
        ("a.tsv:line 3", 'No."'),
        ("a.tsv:line 4", "Three"),
    ]


def test_tables_in_the_encodings_of_spreadsheets(tmp_path):
    rows = "title;text\nRené;déjà vu\n"
    for encoding in ("cp1252", "utf-16", "utf-8-sig"):
        assert texts(read(tmp_path, "a.csv", rows.encode(encoding))) == ["déjà vu"]
    assert read(tmp_path, "a.tsv", "n\ttext\n1\ta, b\n")[0].text == "a, b"
    chinese = (
        "编号,text\n1,今天的天气很好，我们一起去公园散步。\n2,中国是一个历史悠久的国家，有很多名胜古迹。\n"
    )
    assert len(kept(read(tmp_path, "a.csv", chinese.encode("gb18030")))) == 2


def test_a_field_may_be_longer_than_the_csv_module_likes(tmp_path):
    assert len(read(tmp_path, "a.csv", "text\n" + "x" * 500_000 + "\n")[0].text) == 500_000
