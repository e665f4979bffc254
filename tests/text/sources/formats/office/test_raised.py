"""A power is told from the digits behind its base in every form of document: x² is not x2, and 1st stays 1st."""

from __future__ import annotations

from helpers.office import opendocument, paragraph, presentation, run, shape, word

SHOWN = "5 m² and H₂O on the 1st"


def test_word(read):
    above, below = '<w:vertAlign w:val="superscript"/>', '<w:vertAlign w:val="subscript"/>'
    by_style = '<w:style w:type="character" w:styleId="Up"><w:rPr>' + above + "</w:rPr></w:style>"
    body = paragraph(
        *(
            "5 m",
            run("2", '<w:rStyle w:val="Up"/>'),
            " and H",
            run("2", below),
            "O on the 1",
            run("st", above),
        )
    )
    assert read("a.docx", word(body, styles=by_style)) == SHOWN


def test_slides(read):
    def r(text, baseline=""):
        return f'<a:r><a:rPr baseline="{baseline}"/><a:t>{text}</a:t></a:r>'

    text = (
        r("5 m") + r("2", "30000") + r(" and H", "0") + r("2", "-25000") + r("O on the 1") + r("st", "30000")
    )
    assert read("a.pptx", presentation(shape(f"<a:p>{text}</a:p>"))) == SHOWN


def test_opendocument(read):
    styles = "".join(
        f'<style:style style:family="text" style:name="{name}">'
        f'<style:text-properties style:text-position="{position}"/></style:style>'
        for name, position in (("Up", "super 58%"), ("Down", "-33% 58%"), ("On", "0% 100%"))
    )

    def span(text, name):
        return f'<text:span text:style-name="{name}">{text}</text:span>'

    body = f"5 m{span('2', 'Up')} and {span('H', 'On')}{span('2', 'Down')}O on the 1{span('st', 'Up')}"
    assert read("a.odt", opendocument(f"<text:p>{body}</text:p>", styles=styles)) == SHOWN


def test_rtf(read):
    assert read("a.rtf", r"{\rtf1 5 m{\super 2} and H{\sub 2}O on the 1\super st\nosupersub}") == SHOWN
