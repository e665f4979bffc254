"""Slides as an audience sees them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from helpers.office import CHART, DIAGRAM, paragraph, presentation, shape, word
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats.office.reading_order import Box, reading_order

FRAME = "<p:graphicFrame><a:graphic><a:graphicData>{}</a:graphicData></a:graphic></p:graphicFrame>"


def test_the_title_comes_first_and_what_every_page_repeats_is_out(read):
    slide = (
        shape("First point", "Second point", kind="")
        + shape("The title", kind="ctrTitle")
        + shape("3", kind="sldNum")
        + shape("Confidential", kind="ftr")
        + shape("2024-05-06", kind="dt")
        + shape("unseen", hidden=True)
    )
    assert read("a.pptx", presentation(slide)) == "The title\nFirst point\nSecond point"


def test_hidden_slides_are_left_out_by_name(opened):
    document, hidden = opened(
        "a.pptx", presentation(shape("one"), shape("two"), shape("three"), shown=(True, False, True))
    )
    assert document.text == "one\n\nthree"
    assert document.metadata["slides"] == "0 5 5"
    assert hidden == Rejected(None, "a.pptx:slide 2", "read", "is hidden", "a hidden slide")


def test_groups_tables_and_versions(read):
    def cell(text, more=""):
        return f"<a:tc{more}><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    row = "<a:tr>{}</a:tr>"
    table = row.format(cell("a") + cell("b")) + row.format(
        cell("wide", ' gridSpan="2"') + cell("covered", ' hMerge="1"')
    )
    group = f"<p:grpSp><p:nvGrpSpPr/>{shape('in a group')}<p:grpSp>{shape('deeper')}</p:grpSp></p:grpSp>"
    versions = f"<mc:AlternateContent><mc:Choice>{shape('once')}</mc:Choice><mc:Fallback>{shape('once')}</mc:Fallback>"
    frame = FRAME.format(f"<a:tbl>{table}</a:tbl>")
    slide = group + frame + versions + "</mc:AlternateContent>" + shape("last")
    assert read("a.pptx", presentation(slide)) == "in a group\ndeeper\na\tb\nwide\nonce\nlast"


def test_numbers_of_paragraphs(read):
    def numbered(text, kind="arabicPeriod", level=0, more=""):
        properties = f'<a:pPr lvl="{level}"><a:buAutoNum type="{kind}"{more}/></a:pPr>'
        return f"<a:p>{properties}<a:r><a:t>{text}</a:t></a:r></a:p>"

    plain = "<a:p><a:r><a:t>{}</a:t></a:r></a:p>"
    texts = (
        *(
            numbered("one"),
            numbered("a", "alphaLcParenBoth", 1),
            numbered("b", "alphaLcParenBoth", 1),
            numbered("two"),
        ),
        *(
            numbered("again", "alphaLcParenBoth", 1),
            plain.format("between"),
            numbered("from iv", "romanLcPeriod"),
        ),
        numbered("five", "romanLcPeriod", more=' startAt="5"'),
    )
    assert read("a.pptx", presentation(shape(*texts))) == (
        "1. one\n(a) a\n(b) b\n2. two\n(a) again\nbetween\ni. from iv\nii. five"
    )


def test_signs_fields_and_formulas(read):
    part = "<m:r><m:t>{}</m:t></m:r>"
    formula = (
        f"<m:oMath><m:f><m:num>{part.format('a')}</m:num><m:den>{part.format('b')}</m:den></m:f></m:oMath>"
    )
    text = (
        '<a:p><a:r><a:rPr><a:sym typeface="Wingdings"/></a:rPr><a:t>\uf0e0</a:t></a:r>'
        "<a:r><a:t> next</a:t></a:r><a:br/>"
        '<a:fld type="slidenum"><a:t>7</a:t></a:fld><a:fld type="other"><a:t>kept </a:t></a:fld>'
        f"<mc:AlternateContent><mc:Choice>{formula}</mc:Choice><mc:Fallback><a:r><a:t>X</a:t></a:r></mc:Fallback>"
        "</mc:AlternateContent></a:p>"
    )
    assert read("a.pptx", presentation(shape(text))) == "→ next\nkept a/b"


def test_charts_smartart_and_embedded_files(opened):
    frame = FRAME
    slide = (
        shape("Our process", kind="title")
        + frame.format('<dgm:relIds r:dm="d"/>')
        + frame.format('<c:chart r:id="c"/>')
    )
    relations = {
        "d": "diagramData:../diagrams/d.xml",
        "c": "chart:../charts/c.xml",
        "o": "package:../embeddings/o.docx",
    }
    parts = {
        "ppt/diagrams/d.xml": DIAGRAM,
        "ppt/charts/c.xml": CHART,
        "ppt/embeddings/o.docx": word(paragraph("inside")),
    }
    document, inside = opened("a.pptx", presentation(slide, relations=relations, parts=parts))
    assert document.text == (
        "Our process\nFirst\nBelow the first\nSecond\nSacks ground\n\tNorth mill\nMay\t4.3\nJune\t5"
    )
    assert (inside.source, inside.text) == ("a.pptx!ppt/embeddings/o.docx", "inside")
    document, lost = opened("b.pptx", presentation(slide, relations={"d": relations["d"]}, parts=parts))
    assert isinstance(document, Document)
    assert lost.reason == "is damaged, or not what its file extension says"
    broken = presentation(shape("one"), "<p:sp>", shape("three"))
    first, lost = opened("c.pptx", broken)
    assert (first.text, lost.source) == ("one\n\nthree", "c.pptx:slide 2")


def test_a_slide_that_is_a_picture_is_said(opened):
    picture = "<p:pic><p:nvPicPr/><p:blipFill/></p:pic>"
    document, lost = opened("a.pptx", presentation(shape("one"), picture, picture + shape("words"), ""))
    assert document.text == "one\n\nwords"
    assert (lost.source, lost.reason) == ("a.pptx:slide 2", "holds no text")


def placed(text, x, y, width=2, height=1):
    """A shape that says where it lies."""
    place = f'<p:spPr><a:xfrm><a:off x="{x}" y="{y}"/><a:ext cx="{width}" cy="{height}"/></a:xfrm></p:spPr><p:txBody>'
    return shape(text).replace("<p:txBody>", place)


def test_shapes_are_read_as_they_lie_on_the_page(read):
    two_columns = [placed("right below", 6, 3), placed("head", 0, 0, 9), placed("left below", 0, 3)]
    two_columns += [placed("right", 6, 2), placed("left", 0, 2)]
    assert read("a.pptx", presentation("".join(two_columns))).split("\n") == (
        ["head", "left", "left below", "right", "right below"]
    )
    grid = [placed("4", 3, 9), placed("1", 0, 0), placed("3", 0, 9), placed("2", 3, 0)]
    assert read("b.pptx", presentation("".join(grid))) == "1\n2\n3\n4"
    assert (
        read("c.pptx", presentation(placed("b", 0, 9) + shape("layout") + placed("a", 0, 0)))
        == "b\nlayout\na"
    )
    over = [placed("first", 0, 0, 5, 5), placed("on it", 1, 1)]
    assert read("d.pptx", presentation("".join(over))) == "first\non it"


@given(data=st.data())
def test_every_box_is_read_once(data):
    number = st.integers(0, 20)
    boxes = [
        Box(left, top, left + width, top + height)
        for left, top, width, height in data.draw(
            st.lists(st.tuples(number, number, number, number), max_size=8)
        )
    ]
    assert sorted(reading_order(boxes)) == list(range(len(boxes)))


@given(heights=st.lists(st.integers(1, 9), min_size=1, max_size=8), order=st.randoms())
def test_a_column_is_read_from_above(heights, order):
    boxes = [Box(0, sum(heights[:at]), 5, sum(heights[: at + 1])) for at in range(len(heights))]
    shuffled = list(range(len(boxes)))
    order.shuffle(shuffled)
    assert [shuffled[at] for at in reading_order([boxes[at] for at in shuffled])] == list(range(len(boxes)))
