"""Workbooks: what a sheet shows is its text, and what it does not is said at its place."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.reading import read
from textmill.text.document import Document


@pytest.fixture
def workbook(make):
    """A maker of workbooks: the XML of each sheet by name, and of what they share."""

    def call(sheets, strings="", formats=(), calculation="", properties="", states=()):
        listed = "".join(
            f'<sheet name="{name}" r:id="s{n}" state="{dict(states).get(name, "visible")}"/>'
            for n, name in enumerate(sheets)
        )
        codes = "".join(
            f'<numFmt numFmtId="{200 + n}" formatCode={quoteattr(code)}/>' for n, code in enumerate(formats)
        )
        cells = "".join(f'<xf numFmtId="{200 + n}"/>' for n in range(len(formats)))
        return make["zipped"](
            {
                "_rels/.rels": make["rels"](a="officeDocument:xl/workbook.xml"),
                "xl/workbook.xml": f'<workbook xmlns:r="http://x/relationships"><workbookPr {properties}/>'
                f"<sheets>{listed}</sheets><calcPr {calculation}/></workbook>",
                "xl/_rels/workbook.xml.rels": make["rels"](
                    **{f"s{n}": f"worksheet:{n}.xml" for n in range(len(sheets))},
                    t="sharedStrings:t.xml",
                    f="styles:f.xml",
                ),
                "xl/t.xml": f"<sst>{strings}</sst>",
                "xl/f.xml": f"<styleSheet><numFmts>{codes}</numFmts><cellXfs>{cells}</cellXfs></styleSheet>",
                **{f"xl/{n}.xml": f"<worksheet>{xml}</worksheet>" for n, xml in enumerate(sheets.values())},
            }
        )

    return call


def row(*cells, number=1, more=""):
    """A row of cells, each as it stands in XML, without its place."""
    placed = "".join(cell.replace("<c", f'<c r="{chr(65 + n)}{number}"', 1) for n, cell in enumerate(cells))
    return f'<row r="{number}" {more}>{placed}</row>'


def test_numbers_as_their_formats_show_them(tmp_path, workbook):
    formats = ("[h]:mm", "00000", "#,##0.00\\ [$€-407]", "0.0%", "d/m/yyyy", "@", "General", '"No. "@')
    cells = ("1.5", "1067", "1234.5", "0.125", "45000", "7", "0.1", "3")
    xml = row(*(f'<c s="{n}"><v>{value}</v></c>' for n, value in enumerate(cells)))
    xml += row(
        '<c s="7" t="str"><v>words</v></c>',
        '<c s="99"><v>1</v></c>',
        '<c t="d"><v>2023-03-15T00:00:00</v></c>',
    )
    [item] = read(tmp_path, "a.xlsx", workbook({"S": xml}, formats=formats))
    first, second = item.text.split("\n")
    assert first.split("\t") == ["36:00", "01067", "1,234.50 €", "12.5%", "2023-03-15", "7", "0.1", "No. 3"]
    assert second.split("\t") == ["No. words", "1", "2023-03-15"]


def test_numbers_without_a_format_keep_their_digits(tmp_path, workbook):
    values = {
        "0.30000000000000004": "0.3",
        "12345678901234567": "12345678901234567",
        "1E-3": "0.001",
        "-2.50": "-2.50",
    }
    [item] = read(tmp_path, "a.xlsx", workbook({"S": row(*(f"<c><v>{value}</v></c>" for value in values))}))
    assert item.text.split("\t") == list(values.values())


def test_days_are_counted_from_where_the_workbook_says(tmp_path, workbook):
    xml = row('<c s="0"><v>43538</v></c>')
    for said in ('date1904="1"', 'date1904="true"'):
        [item] = read(tmp_path, "a.xlsx", workbook({"S": xml}, formats=("yyyy-mm-dd",), properties=said))
        assert item.text == "2023-03-15"


@pytest.mark.parametrize(
    ("cell", "calculation", "shown"),
    [
        ("<c><f>1+1</f><v>2</v></c>", "", "2"),
        ("<c><f>1+1</f></c>", "", None),
        ("<c><f>1+1</f><v></v></c>", "", None),
        ('<c t="str"><f>A1</f></c>', "", None),
        ('<c t="str"><f>A1</f><v></v></c>', "", ""),
        ("<c><f>1+1</f><v>0</v></c>", "", "0"),
        ("<c><f>1+1</f><v>0</v></c>", 'fullCalcOnLoad="1"', None),
        ("<c><f>1+1</f><v>2</v></c>", 'fullCalcOnLoad="1"', "2"),
        ("<c><v>0</v></c>", 'fullCalcOnLoad="1"', "0"),
    ],
)
def test_formulas_that_were_never_calculated_are_said(tmp_path, workbook, cell, calculation, shown):
    xml = row('<c t="str"><v>left</v></c>', cell)
    items = read(tmp_path, "a.xlsx", workbook({"S": xml}, calculation=calculation))
    assert items[0].text == f"left\t{shown or ''}".rstrip()
    said = [(item.source, item.reason, item.detail.partition(";")[0]) for item in items[1:]]
    never = [("a.xlsx:sheet S", "has formulas that were never calculated", "1 cell: B1")]
    assert said == (never if shown is None else [])


def test_a_sheet_of_such_formulas_alone_is_one_thing_skipped(tmp_path, workbook):
    xml = "".join(row("<c><f>1</f></c>", number=n) for n in range(1, 8))
    [item] = read(tmp_path, "a.xlsx", workbook({"S": xml}))
    assert item.detail.startswith("7 cells: A1, A2, A3 and 4 more; ")


def test_what_is_hidden_is_left_out_and_said(tmp_path, workbook):
    seen, unseen = '<c t="str"><v>seen</v></c>', '<c t="str"><v>unseen</v></c>'
    columns = '<cols><col min="2" max="3" hidden="1"/></cols>'
    xml = (
        columns
        + row(seen, unseen, unseen, seen)
        + row(unseen, number=2, more='hidden="1"')
        + row(seen, number=3)
    )
    sheets = {"S": xml, "H": row(unseen), "V": row(unseen), "E": '<row hidden="1" r="1"/>' + row(seen)}
    states = (("H", "hidden"), ("V", "veryHidden"), ("E", "visible"))
    items = read(tmp_path, "a.xlsx", workbook(sheets, states=states))
    assert [item.text for item in items if isinstance(item, Document)] == ["seen\t\t\tseen\nseen", "seen"]
    assert [str(item) for item in items if not isinstance(item, Document)] == [
        "a.xlsx:sheet S: has hidden rows (1 row: 2)",
        "a.xlsx:sheet S: has hidden columns (2 cells: B1, C1)",
        "a.xlsx:sheet H: is a hidden sheet",
        "a.xlsx:sheet V: is a hidden sheet",
    ]


def test_strings_of_every_kind(tmp_path, workbook):
    strings = (
        "<si><t>plain</t></si><si><r><t>ri</t></r><r><t>ch</t></r></si>"
        "<si><t>東京</t><rPh><t>トウキョウ</t></rPh></si><si><t>a_x000D_\nb _x005F_x000D_</t></si>"
    )
    inline = '<c t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r><rPh><t>HOW</t></rPh></is></c>'
    xml = row(*(f'<c t="s"><v>{n}</v></c>' for n in range(4)), inline)
    xml += row(
        *(f'<c t="s"><v>{n}</v></c>' for n in ("9", "-1", "x", "")), '<c t="e"><v>#REF!</v></c>', number=2
    )
    items = read(tmp_path, "a.xlsx", workbook({"S": xml}, strings=strings))
    assert items[0].text == "plain\trich\t東京\ta b _x000D_\tinline"
    assert [str(item) for item in items[1:]] == [
        "a.xlsx:sheet S: refers to strings that are not there (4 cells: A2, B2, C2 and 1 more)"
    ]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.lists(st.text("ab 磨<&\"'", max_size=6) | st.integers(-(10**9), 10**9), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    )
)
def test_cells_that_are_written_are_read_in_their_places(tmp_path, workbook, rows):
    def cell(value):
        return (
            f"<c><v>{value}</v></c>" if isinstance(value, int) else f'<c t="str"><v>{escape(value)}</v></c>'
        )

    xml = "".join(row(*map(cell, cells), number=n) for n, cells in enumerate(rows, 1))
    [item] = read(tmp_path, "a.xlsx", workbook({"S": xml}))
    lines = ["\t".join(" ".join(str(value).split()) for value in cells).rstrip() for cells in rows]
    assert item.text if isinstance(item, Document) else "\n".join(filter(None, lines)) == ""
