"""OpenDocument as its reader sees it, packed and flat: texts, sheets, presentations."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.office import ODF, opendocument, zipped
from textmill.text.document import Rejected

HIDDEN = '<style:style style:family="{}" style:name="Hid"><style:text-properties text:display="none"/></style:style>'


def p(*inside, style="", kind="p"):
    return f'<text:{kind} text:style-name="{style}">{"".join(inside)}</text:{kind}>'


def items(*each, name="", more=""):
    listed = "".join(f"<text:list-item>{item}</text:list-item>" for item in each)
    return f'<text:list text:style-name="{name}"{more}>{listed}</text:list>'


def list_style(name, *levels):
    return f'<text:list-style style:name="{name}">{"".join(levels)}</text:list-style>'


def number_level(at, form="1", prefix="", suffix=".", more=""):
    return (
        f'<text:list-level-style-number text:level="{at}" style:num-format="{form}" style:num-prefix="{prefix}"'
        f' style:num-suffix="{suffix}"{more}/>'
    )


@pytest.fixture
def text(read):
    """The text of a packed document of this body."""
    return lambda body, **settings: read("a.odt", opendocument(body, **settings))


def test_white_space_and_signs(text):
    body = p("  a \n\t b<text:s text:c='3'/>c<text:tab/>d<text:line-break/>e<text:span> f</text:span> ")
    assert text(body) == "a b   c\td\ne f"
    ruby = (
        "<text:ruby><text:ruby-base>漢字</text:ruby-base><text:ruby-text>かんじ</text:ruby-text></text:ruby>"
    )
    assert text(p(ruby, "を")) == "漢字(かんじ)を"


def test_what_is_deleted_hidden_or_said_beside_is_out(text):
    styles = HIDDEN.format("text") + HIDDEN.format("paragraph")
    styles += '<style:style style:family="text" style:name="Below" style:parent-style-name="Hid"/>'
    body = (
        f"<text:tracked-changes><text:changed-region><text:deletion>{p('DELETED')}</text:deletion></text:changed-region>"
        "</text:tracked-changes>"
        + p(
            "shown<text:span text:style-name='Hid'>NO</text:span><text:span text:style-name='Below'>NO</text:span>!"
        )
        + p("NO", style="Hid")
        + p("NO<text:hidden-paragraph text:is-hidden='true'/>")
        + p("a<office:annotation><dc:creator>x</dc:creator><text:p>NO</text:p></office:annotation>b")
        + f"<text:section text:display='none'>{p('NO')}<text:section>{p('NO')}</text:section></text:section>"
        + p("end")
    )
    assert text(body, styles=styles) == "shown!\n\nab\n\nend"


def test_lists_are_numbered_as_shown(text):
    styles = list_style(
        "L",
        number_level(1),
        number_level(2, "a", "(", ")"),
        number_level(3, "i", more=' text:display-levels="3"'),
    )
    bullet = '<text:list-level-style-bullet text:level="1" text:bullet-char="-"/>'
    styles += list_style("B", bullet)
    body = (
        items(p("one") + items(p("x"), p("y") + items(p("deep"))), p("two") + p("still two"), name="L")
        + p("between")
        + items(p("anew"), name="L")
        + items(p("goes on"), name="L", more=' text:continue-numbering="true"')
        + items(p("dot"), name="B")
    )
    assert text(body, styles=styles).split("\n") == [
        *("1. one", "(a) x", "(b) y", "1.b.i. deep", "2. two", "", "still two", "", "between", ""),
        *("1. anew", "2. goes on", "• dot"),
    ]


def test_a_list_goes_on_after_another(text):
    """As LibreOffice writes lists within lists: each level a list of its own, in items that only hold it."""
    styles = list_style("A", number_level(1)) + list_style("B", number_level(1), number_level(2, "a"))
    blank = '<text:list-level-style-bullet text:level="1" text:bullet-char=" "/>'
    body = (
        items(p("one"), name="A", more=' xml:id="x"')
        + items(items(p("alpha")), name="B", more=' xml:id="y"')
        + items(items(p("beta")), name="B", more=' text:continue-list="y" xml:id="z"')
        + items(p("two"), name="A", more=' text:continue-list="x"')
        + items(p("no bullet"), name="C")
    )
    assert (
        text(body, styles=styles + list_style("C", blank)) == "1. one\na. alpha\nb. beta\n2. two\n\nno bullet"
    )


def test_headings_have_the_numbers_of_the_outline(text):
    outline = '<text:outline-style style:name="O">{}</text:outline-style>'
    levels = number_level(1, suffix="").replace("list-level-style-number", "outline-level-style")
    levels += number_level(2, suffix="", more=' text:display-levels="2"').replace(
        "list-level-style-number", "outline-level-style"
    )
    heading = '<text:h text:outline-level="{}">{}</text:h>'
    body = (
        heading.format(1, "Mills")
        + heading.format(2, "Water")
        + heading.format(2, "Wind")
        + heading.format(1, "Bread")
    )
    assert text(body, styles=outline.format(levels)) == "1 Mills\n\n1.1 Water\n\n1.2 Wind\n\n2 Bread"


def test_tables_notes_and_boxes(text):
    def row(*cells):
        each = "".join(f"<table:table-cell>{cell}</table:table-cell>" for cell in cells)
        return f"<table:table-row>{each}</table:table-row>"

    inner = f"<table:table>{row(p('x'), p('y'))}</table:table>"
    head = f"<table:table-header-rows>{row(p('a'), p('b'))}</table:table-header-rows>"
    table = f"<table:table>{head}{row(p('c'), inner)}</table:table>"
    note = f"<text:note-citation>1</text:note-citation><text:note-body>{p('A note.')}</text:note-body>"
    note = f"<text:note>{note}</text:note>"
    box = f"<draw:frame><draw:text-box>{p('BOX')}</draw:text-box></draw:frame>"
    body = p("begins ", box, "here", note) + table + p("end")
    assert text(body) == "begins here\n\nBOX\n\na\tb\nc\tx y\n\nend\n\nA note."


def test_formulas_charts_and_files_within(opened, text):
    math = '<math xmlns="http://www.w3.org/1998/Math/MathML"><mfrac><mi>a</mi><mi>b</mi></mfrac></math>'
    chart = f"<office:document-content {ODF}><office:body><office:chart><table:table><table:table-row>"
    chart += f"<table:table-cell>{p('May')}</table:table-cell></table:table-row></table:table></office:chart>"
    chart += "</office:body>"
    frame = "<draw:frame><draw:object xlink:href='./{0}'/><draw:image/></draw:frame>"
    parts = {"Object 1/content.xml": math, "Object 2/content.xml": chart + "</office:document-content>"}
    body = p("rate ", frame.format("Object 1"), "!") + p("chart:", frame.format("Object 2"))
    assert text(body, parts=parts) == "rate a/b!\n\nchart:\n\nMay"
    ole = p("x<draw:frame><draw:object-ole xlink:href='./{0}'/></draw:frame>")
    document, lost = opened("a.odt", opendocument(ole.format("Object 3")))
    assert (document.text, lost.source) == ("x", "a.odt!Object 3")


def test_a_flat_file_and_a_packed_one_say_the_same(read):
    body = p("one") + items(p("two"))
    flat = f"<?xml version='1.0'?><office:document {ODF}><office:body><office:text>{body}</office:text></office:body>"
    assert read("a.fodt", flat + "</office:document>") == read("a.odt", opendocument(body)) == "one\n\n• two"


def test_facts_and_locks(opened):
    meta = "<dc:title>On mills</dc:title><meta:initial-creator>Ada</meta:initial-creator>"
    meta += "<meta:creation-date>2024-05-06T07:08:09</meta:creation-date><dc:language>en-GB</dc:language>"
    [document] = opened("a.odt", opendocument(p("x"), meta=meta))
    assert document.metadata == {
        "title": "On mills",
        "author": "Ada",
        "date": "2024-05-06T07:08:09",
        "language": "en",
    }
    lock = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
    lock = f"<manifest:manifest {ODF}>{lock}</manifest:manifest>"
    [item] = opened("b.odt", opendocument(p("x"), parts={"META-INF/manifest.xml": lock}))
    assert (item.reason, item.detail) == ("is encrypted", "it has a password")
    [item] = opened("c.odt", zipped({"content.xml": "<a/>"}))
    assert item.reason == "holds no text"


def test_sheets_are_documents_and_repeats_are_counted_out(opened):
    def cell(text, more=""):
        return f"<table:table-cell{more}>{p(text) if text else ''}</table:table-cell>"

    repeated = ' table:number-columns-repeated="{}"'
    rows = (
        f"<table:table-row>{cell('a')}{cell('', repeated.format(2))}{cell('b', repeated.format(2))}</table:table-row>"
        f"<table:table-row table:number-rows-repeated='3'>{cell('same')}</table:table-row>"
        f"<table:table-row table:number-rows-repeated='1048570'>{cell('', repeated.format(16384))}</table:table-row>"
    )
    body = f"<table:table table:name='Prices/1'>{rows}</table:table><table:table table:name='Empty'/>"
    sheet, empty = opened("a.ods", opendocument(body, kind="spreadsheet"))
    assert (sheet.source, sheet.metadata) == ("a.ods:sheet Prices_1", {"sheet": "Prices_1"})
    assert sheet.text == "a\t\t\tb\tb\nsame\nsame\nsame"
    assert empty == Rejected(None, "a.ods:sheet Empty", "read", "holds no text")


def test_what_a_sheet_does_not_show_is_said(opened):
    def row(*cells, more=""):
        return f"<table:table-row{more}>{''.join(cells)}</table:table-row>"

    def cell(text, more=""):
        return f"<table:table-cell{more}>{p(text) if text else ''}</table:table-cell>"

    styles = (
        '<style:style style:family="table" style:name="ta2"><style:table-properties table:display="false"/>'
    )
    hidden = ' table:visibility="collapse"'
    column = "<table:table-column{}/>"
    inside = column.format("") + column.format(hidden) + row(cell("a"), cell("NO"), cell("c"))
    inside += row(cell("NO"), more=hidden) + row(cell("", ' table:formula="of:=1+1"'))
    inside += row(cell("3", ' table:formula="of:=1+2" office:value-type="float"'))
    body = f'<table:table table:name="S">{inside}</table:table>'
    body += f'<table:table table:name="T" table:style-name="ta2">{row(cell("NO"))}</table:table>'
    sheet, *left_out = opened(
        "a.ods", opendocument(body, kind="spreadsheet", styles=f"{styles}</style:style>")
    )
    assert sheet.text == "a\t\tc\n3"
    assert [(each.reason, each.detail.partition(";")[0]) for each in left_out] == [
        ("has formulas that were never calculated", "1 cell: A3"),
        ("has hidden rows", "1 row: 2"),
        ("has hidden columns", "1 cell: B1"),
        ("is a hidden sheet", ""),
    ]


def test_a_row_that_stands_for_millions_is_charged(opened):
    rows = "<table:table-row table:number-rows-repeated='9999999'>"
    rows += "<table:table-cell table:number-columns-repeated='9999'>"
    rows = f"<table:table table:name='x'>{rows}{p('bomb')}</table:table-cell></table:table-row></table:table>"
    [item] = opened("a.ods", opendocument(rows, kind="spreadsheet"))
    assert item.reason.startswith("unpacks to more than limits.ratio")


def test_presentations(opened):
    def page(*shapes, style="", notes=""):
        said = f"<draw:frame><draw:text-box>{p(notes)}</draw:text-box></draw:frame>" if notes else ""
        inside = f"{''.join(shapes)}<presentation:notes>{said}</presentation:notes>"
        return f'<draw:page draw:style-name="{style}">{inside}</draw:page>'

    def frame(text, kind=""):
        return (
            f'<draw:frame presentation:class="{kind}"><draw:text-box>{p(text)}</draw:text-box></draw:frame>'
        )

    hidden = '<style:style style:family="drawing-page" style:name="dp2"><style:drawing-page-properties'
    hidden += ' presentation:visibility="hidden"/></style:style>'
    group = f"<draw:g><draw:custom-shape>{p('in a shape')}</draw:custom-shape></draw:g>"
    body = (
        page(
            frame("point", "outline"),
            frame("Title", "title"),
            frame("7", "page-number"),
            group,
            notes="to say",
        )
        + page(frame("secret"), style="dp2")
        + page(frame("last"))
    )
    entries = opened("a.odp", opendocument(body, kind="presentation", styles=hidden))
    document, lost = sorted(entries, key=lambda entry: entry.source)
    assert document.text == "Title\npoint\nin a shape\nto say\n\nlast"
    assert document.metadata["slides"] == f"0 {len(document.text) - 4} {len(document.text) - 4}"
    assert (lost.source, lost.reason) == ("a.odp:slide 2", "is hidden")


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    words=st.lists(
        st.tuples(
            st.sampled_from(("text", "span", "s", "tab", "note")), st.text("ab ", min_size=1, max_size=4)
        ),
        max_size=8,
    )
)
def test_any_paragraph_is_read_by_the_rules_of_white_space(opened, words):
    write = {
        "text": lambda w: w,
        "span": lambda w: f"<text:span>{w}</text:span>",
        "s": lambda w: f"<text:s text:c='{len(w)}'/>",
        "tab": lambda w: "<text:tab/>",
        "note": lambda w: f"<text:note><text:note-citation>{w}</text:note-citation></text:note>",
    }
    # Independently: mark exact signs, collapse the rest, put them back.
    marks = {"s": lambda w: "\1" * len(w), "tab": lambda w: "\2", "note": lambda w: ""}
    marked = "".join(marks.get(kind, lambda w: w)(w) for kind, w in words)
    collapsed = ""
    for sign in marked:
        if sign != " " or (collapsed and collapsed[-1] != " "):
            collapsed += sign
    shown = collapsed.replace("\1", " ").replace("\2", "\t").rstrip()
    body = p(*(write[kind](w) for kind, w in words)) + p("end")
    items_read = opened("a.odt", opendocument(body))
    assert items_read[0].text == (f"{shown}\n\nend" if shown.strip() else "end")
