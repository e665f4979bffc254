"""Word as its reader sees it: what is shown is there, once and in order; what is not shown is not there."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.office import CHART, DIAGRAM, WORD, level, listed, paragraph, rels, run, word, zipped
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats import xml_events

HIDDEN = "<w:vanish/>"


def style(name, inside="", kind="paragraph", based_on="", default=False):
    """A style with these run properties."""
    above = f'<w:basedOn w:val="{based_on}"/>' if based_on else ""
    first = ' w:default="1"' if default else ""
    return f'<w:style w:type="{kind}"{first} w:styleId="{name}">{above}{inside}</w:style>'


def hiding(value=""):
    """Run properties that hide."""
    return f"<w:rPr><w:vanish{f' w:val={chr(34)}{value}{chr(34)}' if value else ''}/></w:rPr>"


@pytest.fixture
def text(read):
    """The text of a Word file of this body."""
    return lambda body, **settings: read("a.docx", word(body, **settings))


# --- characters ---------------------------------------------------------------------------------------------------
def test_signs_of_symbol_fonts_are_characters(text):
    symbol = '<w:r><w:sym w:font="{}" w:char="{}"/></w:r>'
    body = (
        symbol.format("Wingdings", "F0FE")
        + run(" Consent; 5 ")
        + symbol.format("Symbol", "F06D")
        + run("g, ")
        + symbol.format("Segoe UI Symbol", "2265")
        + run("38, ")
        + run("ab", '<w:rFonts w:ascii="Symbol"/>')
        + run("\uf0b3", '<w:rFonts w:ascii="Symbol" w:hAnsi="Symbol"/>')
        + symbol.format("Nobody's Font", "F041")
    )
    assert text(paragraph(body)) == "☑ Consent; 5 μg, ≥38, αβ≥\ufffd"


def test_signs_between_words(text):
    marks = "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:ptab/><w:t>d</w:t><w:noBreakHyphen/>"
    marks += "<w:t>e</w:t>"
    assert text(paragraph(f"{marks}<w:softHyphen/><w:t>f</w:t></w:r>")) == "a\tb\nc\td-ef"
    assert text(paragraph(run("shouted", "<w:caps/>"))) == "shouted"


def test_ruby_stands_behind_its_base(text):
    ruby = f"<w:r><w:ruby><w:rubyPr/><w:rt>{run('かんじ')}</w:rt><w:rubyBase>{run('漢字')}</w:rubyBase></w:ruby></w:r>"
    assert text(paragraph(ruby, "を読む")) == "漢字(かんじ)を読む"


# --- what is hidden -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("direct", "of_run", "of_paragraph", "shown"),
    [
        ("", "Plain", "Normal", True),
        ("<w:vanish/>", "Plain", "Normal", False),
        ("", "Plain", "Hid", False),
        ("", "Plain", "BelowHid", False),
        ("", "CharHid", "Normal", False),
        ("", "CharHid", "Hid", True),  # toggled twice: part 1 §17.7.3
        ('<w:vanish w:val="0"/>', "CharHid", "Normal", True),
        ("", "Plain", "ShownAgain", True),
        ("<w:rPrChange><w:rPr><w:vanish/></w:rPr></w:rPrChange>", "Plain", "Normal", True),
    ],
)
def test_text_is_hidden_by_itself_or_by_its_styles(text, direct, of_run, of_paragraph, shown):
    styles = (
        style("Normal", default=True)
        + style("Hid", hiding())
        + style("BelowHid", based_on="Hid")
        + style("ShownAgain", hiding("0"), based_on="Hid")
        + style("CharHid", hiding(), kind="character")
        + style("Plain", kind="character")
    )
    body = paragraph("before") + paragraph(
        run("secret", f'<w:rStyle w:val="{of_run}"/>{direct}'), style=of_paragraph
    )
    assert ("secret" in text(body, styles=styles)) == shown


def test_a_hidden_paragraph_mark_joins_two_paragraphs(text):
    mark = "<w:rPr><w:vanish/><w:specVanish/></w:rPr>"
    assert text(paragraph("A heading. ", properties=mark) + paragraph("Its text.")) == "A heading. Its text."


def test_a_large_initial_belongs_to_its_word(text):
    frame = '<w:framePr w:dropCap="drop" w:lines="3"/>'
    assert text(paragraph("T", properties=frame) + paragraph("he mill.")) == "The mill."


def test_deleted_text_is_out_and_inserted_text_is_in(text):
    body = paragraph(
        "kept ",
        f"<w:del><w:r><w:delText>old</w:delText></w:r>{run('older')}</w:del>",
        f"<w:ins>{run('new')}</w:ins>",
        f"<w:moveFrom>{run('moved')}</w:moveFrom>",
        f"<w:moveTo>{run(' here')}</w:moveTo>",
    )
    assert text(body) == "kept new here"
    joined = paragraph("one ", properties="<w:rPr><w:del/></w:rPr>") + paragraph("paragraph now")
    assert text(joined) == "one paragraph now"


def test_deleted_and_hidden_rows(text):
    def row(properties, *cells):
        return f"<w:tr>{properties}{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in cells)}</w:tr>"

    table = (
        row("", "a", "b")
        + row("<w:trPr><w:del/></w:trPr>", "gone")
        + row("<w:trPr><w:hidden/></w:trPr>", "hid")
    )
    assert text(f"<w:tbl>{table}{row('', 'c', 'd')}</w:tbl>") == "a\tb\nc\td"


# --- lists --------------------------------------------------------------------------------------------------------
LEGAL = (
    '<w:abstractNum w:abstractNumId="0">'
    + level(0, "decimal", "%1.")
    + level(1, "lowerLetter", "(%2)")
    + level(2, "decimal", "%1.%2.%3", "<w:isLgl/>")
    + '</w:abstractNum><w:abstractNum w:abstractNumId="1">'
    + level(0, "upperRoman", "Article %1", '<w:suff w:val="space"/>')
    + level(1, "bullet", "\uf0a7")
    + "</w:abstractNum>"
    + '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>'
    + '<w:num w:numId="3"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/>'
    + "</w:lvlOverride></w:num>"
)


def test_numbers_are_those_a_reader_sees(text):
    body = "".join(
        listed(words, number, at)
        for words, number, at in (
            *(("Definitions", 1, 0), ("Rent", 1, 0), ("monthly", 1, 1), ("in advance", 1, 1), ("deep", 1, 2)),
            *(("Termination", 1, 0), ("again from a", 1, 1), ("One", 2, 0), ("dot", 2, 1), ("Two", 2, 0)),
            *(("anew from five", 3, 0), ("no list", 0, 0), ("goes on", 1, 0)),
        )
    )
    assert text(body, numbering=LEGAL).split("\n") == [
        *("1. Definitions", "2. Rent", "(a) monthly", "(b) in advance", "2.2.1 deep", "3. Termination"),
        *(
            "(a) again from a",
            "Article I One",
            "• dot",
            "Article II Two",
            "5. anew from five",
            "",
            "no list",
            "",
        ),
        "6. goes on",
    ]


def test_lists_by_style_and_what_was_a_list_once(text):
    numbering = (
        '<w:abstractNum w:abstractNumId="0">'
        + level(0, "decimal", "%1", '<w:pStyle w:val="H1"/>')
        + level(1, "decimal", "%1.%2", '<w:pStyle w:val="H2"/>')
        + '</w:abstractNum><w:num w:numId="7"><w:abstractNumId w:val="0"/></w:num>'
    )
    in_list = '<w:pPr><w:numPr><w:numId w:val="7"/></w:numPr><w:outlineLvl w:val="0"/></w:pPr>'
    styles = style("H1", in_list) + style("H2", in_list) + style("H3", based_on="H1")
    changed = "<w:pPrChange><w:pPr><w:numPr><w:numId w:val='7'/></w:numPr></w:pPr></w:pPrChange>"
    body = (
        paragraph("Mills", style="H1")
        + paragraph("Water", style="H2")
        + paragraph("text")
        + paragraph("Wind", style="H2")
        + paragraph("Bread", style="H1")
        + paragraph("no number", style="H1", properties='<w:numPr><w:numId w:val="0"/></w:numPr>')
        + paragraph("was one", properties=changed)
    )
    assert text(body, styles=styles, numbering=numbering) == (
        "1 Mills\n\n1.1 Water\n\ntext\n\n1.2 Wind\n\n2 Bread\n\nno number\n\nwas one"
    )


def test_lists_whose_levels_are_in_a_numbering_style(text):
    numbering = (
        '<w:abstractNum w:abstractNumId="0"><w:styleLink w:val="Outline"/>'
        + level(0, "upperLetter", "%1)")
        + '</w:abstractNum><w:abstractNum w:abstractNumId="1"><w:numStyleLink w:val="Outline"/></w:abstractNum>'
        + '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
        + '<w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>'
    )
    styles = style("Outline", "<w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr>", kind="numbering")
    assert text(listed("x", 2) + listed("y", 2), styles=styles, numbering=numbering) == "A) x\nB) y"


# A list of three levels in forms that count differently, and what a person would write.
FORMS = {
    "decimal": str,
    "lowerLetter": lambda n: "abcdefghijklmnopqrstuvwxyz"[n - 1],
    "upperRoman": lambda n: ROMAN[n],
}
ROMAN = dict(
    enumerate(("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV"))
)
ROMAN |= dict(enumerate(("XV", "XVI", "XVII", "XVIII", "XIX", "XX"), 15))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_list_is_numbered_as_by_hand(text, data):
    forms = [data.draw(st.sampled_from(sorted(FORMS))) for _ in range(3)]
    starts = [data.draw(st.integers(1, 5)) for _ in range(3)]
    levels = "".join(
        level(at, form, "".join(f"%{each + 1}." for each in range(at + 1)), start=start)
        for at, (form, start) in enumerate(zip(forms, starts, strict=True))
    )
    numbering = f'<w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>'
    numbering += '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
    steps = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=15))
    body, shown, counts = "", [], {}
    for number, at in enumerate(steps):
        body += listed(f"item {number}", 1, at)
        if data.draw(st.booleans()):
            body += listed(f"out {number}", 0, at)
        counts = {each: count for each, count in counts.items() if each <= at}
        counts[at] = counts[at] + 1 if at in counts else starts[at]
        label = "".join(f"{FORMS[forms[each]](counts.get(each, starts[each]))}." for each in range(at + 1))
        shown.append(f"{label} item {number}")
    lines = [
        line for line in text(body, numbering=numbering).split("\n") if line and not line.startswith("out ")
    ]
    assert lines == shown


# --- boxes, drawings, notes ---------------------------------------------------------------------------------------
def boxed(*texts):
    content = f"<w:txbxContent>{''.join(map(paragraph, texts))}</w:txbxContent>"
    return (
        f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx>{content}</wps:txbx></w:drawing>"
        f"</mc:Choice><mc:Fallback><w:pict><v:textbox>{content}</v:textbox></w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )


def test_a_box_is_read_once_and_apart(text):
    assert text(paragraph("One ", boxed("BOX", "TWO"), "sentence.") + paragraph("Next.")) == (
        "One sentence.\n\nBOX\n\nTWO\n\nNext."
    )
    hidden = "<w:r><w:pict><v:shape style='visibility: hidden'><v:textbox><w:txbxContent><w:p><w:r><w:t>no</w:t></w:r>"
    hidden += "</w:p></w:txbxContent></v:textbox></v:shape></w:pict></w:r>"
    assert text(paragraph("seen", hidden)) == "seen"
    art = '<w:r><w:pict><v:shape><v:textpath string="WORD ART"/></v:shape></w:pict></w:r>'
    assert text(paragraph("seen", art)) == "seen\n\nWORD ART"


def test_what_is_in_two_versions_is_read_from_the_first_that_has_words(text):
    chart = "<mc:AlternateContent><mc:Choice Requires='new'><new/></mc:Choice><mc:Fallback>{}</mc:Fallback>"
    chart += "</mc:AlternateContent>"
    assert text(paragraph("a ", f"<w:r>{chart.format('<w:t>b</w:t>')}</w:r>")) == "a b"
    assert text(chart.format(paragraph("a block"))) == "a block"


def test_charts_and_smartart_are_read_in_their_place(text):
    drawn = "<w:r><w:drawing><c:chart r:id='c'/></w:drawing>"
    drawn += "<w:drawing><dgm:relIds r:dm='d' r:lo='x'/></w:drawing></w:r>"
    body = paragraph("before", drawn) + paragraph("after")
    relations = {"c": "chart:charts/c.xml", "d": "diagramData:diagrams/d.xml"}
    parts = {"word/charts/c.xml": CHART, "word/diagrams/d.xml": DIAGRAM}
    assert text(body, relations=relations, parts=parts) == (
        "before\n\nSacks ground\n\tNorth mill\nMay\t4.3\nJune\t5\n\nFirst\nBelow the first\nSecond\n\nafter"
    )


def test_a_chart_that_cannot_be_read_is_told_at_its_place(opened):
    body = paragraph("words", "<w:r><w:drawing><c:chart r:id='c'/></w:drawing></w:r>")
    data = word(body, relations={"c": "chart:charts/c.xml"}, parts={"word/charts/c.xml": "<broken"})
    document, lost = opened("a.docx", data)
    assert document.text == "words"
    assert (lost.source, lost.reason) == ("a.docx!word/charts/c.xml", "is not valid XML")
    document, lost = opened("a.docx", word(body, relations={"c": "chart:charts/c.xml"}))
    assert lost.source == "a.docx!word/charts/c.xml"


def test_notes_come_last_without_those_of_deleted_text(text):
    def reference(number, kind="footnote"):
        return f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'

    def notes(kind, *texts):
        each = "".join(
            f'<w:{kind} w:id="{number}">{paragraph(words)}</w:{kind}>'
            for number, words in enumerate(texts, 1)
        )
        rule = f'<w:{kind} w:type="separator" w:id="-1">{paragraph("RULE")}</w:{kind}>'
        root = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        return f'<w:{kind}s xmlns:w="{root}">{rule}{each}</w:{kind}s>'

    body = paragraph("a", reference(1), f"<w:del>{reference(2)}</w:del>", "b", reference(1, "endnote"))
    relations = {"f": "footnotes:footnotes.xml", "e": "endnotes:endnotes.xml"}
    parts = {
        "word/footnotes.xml": notes("footnote", "first", "of what is deleted", "nobody asks"),
        "word/endnotes.xml": notes("endnote", "at the end"),
    }
    assert text(body, relations=relations, parts=parts) == "ab\n\nfirst\n\nnobody asks\n\nat the end"


# --- fields and forms ---------------------------------------------------------------------------------------------
def complex_field(instruction, result=None, form=""):
    """A field as its marks."""
    mark = '<w:r><w:fldChar w:fldCharType="{}">{}</w:fldChar></w:r>'
    inside = mark.format("begin", f"<w:ffData>{form}</w:ffData>" if form else "")
    inside += "".join(
        each if each.startswith("<") else f"<w:r><w:instrText>{each}</w:instrText></w:r>"
        for each in instruction
    )
    return inside + ("" if result is None else mark.format("separate", "") + result) + mark.format("end", "")


def test_fields_show_their_results(text):
    inner = complex_field([" MERGEFIELD sex "], run("f"))
    outer = complex_field([" IF ", inner, ' = "f" "Ms" "Mr" '], run("Ms"))
    assert text(paragraph("Dear ", outer, " Miller")) == "Dear Ms Miller"
    assert text(paragraph(complex_field([" SYMBOL 109 \\f Symbol "]), "g")) == "μg"
    assert (
        text(paragraph(complex_field([r" EQ \f(a;b) "]), " ", complex_field([r"EQ \r(3,x+1)"])))
        == "a/b ∛(x+1)"
    )
    assert text(paragraph(complex_field([r"EQ \* jc2 \o\ad(\s\up 9(かん),漢)"]))) == "漢(かん)"
    assert text(paragraph(complex_field([" TC hidden "]), "seen")) == "seen"
    assert text(paragraph('<w:fldSimple w:instr=" AUTHOR "><w:r><w:t>Ada</w:t></w:r></w:fldSimple>')) == "Ada"


def test_forms_hold_what_was_filled_in(text):
    box = complex_field(
        [" FORMCHECKBOX "], form='<w:checkBox><w:default w:val="0"/><w:checked/></w:checkBox>'
    )
    empty = complex_field([" FORMCHECKBOX "], form='<w:checkBox><w:default w:val="0"/></w:checkBox>')
    entries = '<w:listEntry w:val="wheat"/><w:listEntry w:val="rye"/>'
    chosen = complex_field([" FORMDROPDOWN "], form=f'<w:ddList><w:result w:val="1"/>{entries}</w:ddList>')
    name = complex_field([" FORMTEXT "], run("Ada"))
    assert text(paragraph(box, " yes ", empty, " no ", chosen, " ", name)) == "☒ yes ☐ no rye Ada"
    control = (
        f"<w:sdt><w:sdtPr><w:alias w:val='x'/></w:sdtPr><w:sdtContent>{run('chosen')}</w:sdtContent></w:sdt>"
    )
    assert text(paragraph(control)) == "chosen"


# --- documents within documents -----------------------------------------------------------------------------------
def test_a_chunk_of_another_form_stands_in_its_place(text, opened):
    body = paragraph("before") + '<w:altChunk r:id="x"/>' + paragraph("after")
    page = "<html><body><p>in HTML</p></body></html>"
    saved = f"MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n{page}"
    for name, data, words in (
        ("c.htm", page, "in HTML"),
        ("c.mht", saved, "in HTML"),
        ("c.txt", "in plain text", "in plain text"),
        ("c.docx", word(paragraph("in Word")), "in Word"),
        ("c.rtf", "{\\rtf1 in RTF}", "in RTF"),
    ):
        parts = {f"word/{name}": data}
        assert text(body, relations={"x": f"aFChunk:{name}"}, parts=parts) == f"before\n\n{words}\n\nafter", (
            name
        )
    document, lost = opened(
        "a.docx", word(body, relations={"x": "aFChunk:c.docx"}, parts={"word/c.docx": b"no zip"})
    )
    assert document.text == "before\n\nafter"
    assert (lost.source, lost.reason) == (
        "a.docx!word/c.docx",
        "is damaged, or not what its file extension says",
    )
    document, lost = opened("a.docx", word(body))
    assert isinstance(lost, Rejected)


def test_the_form_of_a_chunk_is_what_the_package_says(text):
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Override PartName="/word/chunk.dat" ContentType="text/html"/></Types>'
    )
    parts = {"word/chunk.dat": "<p>in <b>HTML</b></p>", "[Content_Types].xml": types}
    assert text('<w:altChunk r:id="x"/>', relations={"x": "aFChunk:chunk.dat"}, parts=parts) == "in HTML"


def test_embedded_files_are_files_of_their_own(opened):
    relations = {"p": "package:embeddings/one.docx", "o": "oleObject:embeddings/object.bin"}
    parts = {
        "word/embeddings/one.docx": word(paragraph("inside")),
        "word/embeddings/object.bin": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    }
    outer, inner, lost = opened("a.docx", word(paragraph("outside"), relations=relations, parts=parts))
    assert (outer.text, inner.text) == ("outside", "inside")
    assert inner.source == "a.docx!word/embeddings/one.docx"
    assert isinstance(lost, Rejected)
    assert lost.source == "a.docx!word/embeddings/object.bin"


def test_documents_within_documents_end(opened):
    data = word(paragraph("innermost"))
    for _ in range(8):
        data = word(
            paragraph("outer"),
            relations={"p": "package:embeddings/x.docx"},
            parts={"word/embeddings/x.docx": data},
        )
    items = opened("a.docx", data)
    assert [isinstance(item, Document) for item in items[-2:]] == [True, False]
    assert items[-1].reason == "is nested too deeply"


def test_a_paragraph_of_too_many_elements_is_refused(opened, monkeypatch):
    monkeypatch.setattr(xml_events, "_LARGEST_TREE", 1000)
    [item] = opened("a.docx", word("<w:p>" + "<w:r><w:b/></w:r>" * 600 + "</w:p>"))
    assert item.reason == "is nested too deeply"
    [item] = opened("b.docx", word(paragraph("x") * 600))
    assert isinstance(item, Document)
    deep = "<w:p>" + "<w:ins>" * 400 + run("x") + "</w:ins>" * 400 + "</w:p>"
    [item] = opened("c.docx", word(deep))
    assert item.reason == "is nested too deeply"


# Words in any arrangement of what changes how they are shown.
PIECES = st.lists(
    st.tuples(
        st.sampled_from(("plain", "hidden", "deleted", "inserted", "styled", "boxed", "linked", "changed")),
        st.text("ab", min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(paragraphs=st.lists(PIECES, min_size=1, max_size=4))
def test_any_runs_show_what_is_shown(opened, paragraphs):
    styles = style("Note", hiding(), kind="character")
    write = {
        "plain": run,
        "hidden": lambda w: run(w, HIDDEN),
        "deleted": lambda w: f"<w:del>{run(w)}</w:del>",
        "inserted": lambda w: f"<w:ins>{run(w)}</w:ins>",
        "styled": lambda w: run(w, '<w:rStyle w:val="Note"/>'),
        "boxed": lambda w: boxed(f"box {w}"),
        "linked": lambda w: f"<w:hyperlink>{run(w)}</w:hyperlink>",
        "changed": lambda w: run(w, f"<w:rPrChange><w:rPr>{HIDDEN}</w:rPr></w:rPrChange>"),
    }
    body = "".join(paragraph(*(write[kind](words) for kind, words in pieces)) for pieces in paragraphs)
    shown = []
    for pieces in paragraphs:
        shown.append("".join(w for kind, w in pieces if kind in ("plain", "inserted", "linked", "changed")))
        shown += [f"box {w}" for kind, w in pieces if kind == "boxed"]
    [item] = opened("a.docx", word(body, styles=styles))
    got = item.text.split("\n\n") if isinstance(item, Document) else []
    assert got == [each for each in shown if each]


def test_strict_files_and_absolute_names(read):
    """ISO/IEC 29500 Strict has other namespaces; parts may be named from the root."""
    main = "http://purl.oclc.org/ooxml/wordprocessingml/main"
    data = zipped(
        {
            "_rels/.rels": rels(a="officeDocument:/w/d.xml"),
            "w/d.xml": f'<w:document xmlns:w="{main}"><w:body><w:p><w:r><w:t>strict</w:t></w:r></w:p></w:body>'
            "</w:document>",
        }
    )
    assert read("a.docx", data) == "strict"


def test_a_formula_stands_in_its_sentence(read):
    def part(name, letter):
        return f"<m:{name}><m:r><m:t>{letter}</m:t></m:r></m:{name}>"

    fraction = f"<m:oMath><m:f>{part('num', 'a')}{part('den', 'b')}</m:f></m:oMath>"
    assert read("a.docx", word(paragraph("The rate is ", fraction, "."))) == "The rate is a/b."


def test_a_document_of_pictures_says_so(opened):
    [item] = opened("a.docx", word(paragraph(""), relations={"i": "image:media/scan.png"}))
    assert (item.reason, item.detail) == (
        "holds no text",
        "a picture; run text recognition (OCR) on it first",
    )


def test_damage_beside_the_text_loses_no_text(opened):
    relations = {"f": "footnotes:footnotes.xml"}
    data = word(
        paragraph("words"),
        relations=relations,
        parts={"word/footnotes.xml": "<broken", "docProps/core.xml": "<"},
    )
    document, lost = opened("a.docx", data)
    assert (document.text, document.metadata) == ("words", {})
    assert (lost.source, lost.reason) == ("a.docx!word/footnotes.xml", "is not valid XML")


def test_names_of_parts_as_odd_programs_write_them(read, opened):
    data = zipped(
        {"word\\document.xml": f"<w:document {WORD}><w:body>{paragraph('words')}</w:body></w:document>"}
    )
    assert read("a.docx", data) == "words"
    parts = {"word/embeddings/my file.docx": word(paragraph("inside"))}
    data = word(paragraph("outside"), relations={"p": "package:embeddings/my%20file.docx"}, parts=parts)
    assert [item.text for item in opened("b.docx", data)] == ["outside", "inside"]
