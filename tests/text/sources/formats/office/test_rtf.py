r"""RTF by its rules: code pages, \u, destinations, tables, lists, fields, notes, formulas."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.text.document import Rejected

FONTS = (
    r"{\fonttbl{\f0\fcharset0 Times;}{\f1\fcharset204 Cyr;}{\f2\fcharset134 SimSun;}{\f3\fcharset2 Symbol;}"
    r"{\f4\fcharset128 MS Mincho;}{\f5\fcharset2 Wingdings{\*\falt x};}{\f6\fcharset238 CE;}}"
)


@pytest.fixture
def text(read):
    """The text of RTF with this body."""
    return lambda body: read("a.rtf", rf"{{\rtf1\ansi\ansicpg1252\deff0{FONTS}{body}}}".encode("latin-1"))


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (r"a\par b\line c\tab d", "a\n\nb\nc\td"),
        (r"caf\'e9 \'93q\'94 \u8364?x \u-4051\'3f", "café “q” €x \uf02d"),
        (r"\f1 \'cf\'f0\'e8\f0  \'e9", "При é"),
        (r"\f2 \'c4\'a5\'b7\'bb\f0 .", "磨坊."),
        (r"\f4 \'95\'97\'8e\'d4", "風車"),
        (r"\loch\f0 a\dbch\af2 \'c4\'a5\loch\f0 \'e9", "a磨é"),
        (r"5 {\f3 m}g {\f5\u-3842?} {\f3\'b3}", "5 μg ☑ ≥"),
        (r"\uc2 \u30952\'c4\'a5!\uc0 \u22346 .\uc1 \u-10179?\u-8704?", "磨!坊.😀"),
        (r"a{\v hidden}b{\deleted gone}c\v x\v0 d\plain e", "abcde"),
        (
            r"a{\*\unknown b}{\stylesheet{\s0 Normal;}}{\header H}{\footer F}{\pict 00ff}{\*\annotation no}c",
            "ac",
        ),
        ("a{\\pict\\bin3 }{\\}b", "ab"),
        (r"a\~b\_c\-d\emdash e\{\}\\", "a\u00a0b-cd—e{}\\"),
        (r"{\field{\*\fldinst HYPERLINK x}{\fldrslt shown}}!", "shown!"),
        (r'{\field{\*\fldinst SYMBOL 109 \\f "Symbol"}}g', "μg"),
        (r"{\field{\*\fldinst EQ \\o\\ad(\\s\\up 9(a),b)}{\fldrslt}}", "b(a)"),
        (r"{\field{\*\fldinst IF {\field{\*\fldinst A}{\fldrslt no}} }{\fldrslt yes}}", "yes"),
        (
            r"one{\footnote \pard two} three{\footnote\ftnalt four}\par five",
            "one three\n\nfive\n\ntwo\n\nfour",
        ),
        (r"\pard\dropcapli2 T\par\pard he mill.\par", "The mill."),
        (r"{\upr{ansi}{\*\ud{unicode}}}", "unicode"),
        (r"{\listtext\pard 1.\tab}one\par{\listtext\f3 \'b7\tab}two\par three", "1. one\n• two\n\nthree"),
        (r"{\pntext\f0 a)\tab}{\*\pn\pnlvlbody}one\par", "a) one"),
        (r"\trowd\intbl a\cell b\cell\row\trowd\intbl c\par d\cell\cell\row\pard e", "a\tb\nc d\n\ne"),
        (
            r"\pard\intbl a\cell {\intbl\itap2 x\nestcell y\nestcell{\*\nesttableprops\trowd\nestrow}}\intbl z\cell\row"
            r"\pard e",
            "a\tx y z\n\ne",
        ),
        (
            r"before {\shp{\*\shpinst{\sp{\sn a}{\sv b}}{\shptxt\pard BOX\par}}{\shprslt BOX}}after\par",
            "before after\n\nBOX",
        ),
        (
            r"{\*\moMath{\mf{\mfPr{\mtype bar}}{\mnum{\mr a}}{\mden{\mr b}}}{\mr +}{\msSup{\me{\mr x}}{\msup{\mr 2}}}}",
            "a/b+x^2",
        ),
        (
            r"{\mmath{\*\moMath{\md{\mdPr{\mbegChr [}{\mendChr ]}}{\me{\mr\mscr0 y}}}}{\mmathPict{\pict 00}}}",
            "[y]",
        ),
    ],
)
def test_what_is_shown(text, body, shown):
    assert text(body) == shown


def test_code_pages_of_the_document(read):
    assert read("a.rtf", rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8}") == "При"
    assert read("a.rtf", rb"{\rtf1\mac \'8e}") == "é"
    assert read("a.rtf", rb"{\rtf1\pca \'82}") == "é"
    assert read("a.rtf", b"{\\rtf1\\ansi\\ansicpg936 \xc4\xa5\xb7\xbb}") == "磨坊"


def test_what_it_says_of_itself(opened):
    info = r"{\info{\title On mills}{\author Ada}{\creatim\yr2024\mo5\dy6\hr7\min8\sec9}}"
    [document] = opened("a.rtf", rf"{{\rtf1 {info} words}}")
    assert document.metadata == {"title": "On mills", "author": "Ada", "date": "2024-05-06T07:08:09"}


def test_what_is_no_rtf_and_what_holds_no_text(opened):
    [item] = opened("a.rtf", "plain words in a file of that name")
    assert item.reason == "is damaged, or not what its file extension says"
    [item] = opened("a.rtf", r"{\rtf1{\pict 00}}")
    assert item.reason == "holds no text"
    [item] = opened("a.rtf", b"{\\rtf1 " + b"{" * 6000)
    assert item.reason == "is nested too deeply"


def test_embedded_objects_are_told_or_read(opened):
    document, lost = opened(
        "a.rtf", r"{\rtf1 words{\object\objemb{\*\objclass X}{\*\objdata 0105}{\result shown}}}"
    )
    assert document.text == "wordsshown"
    assert lost == Rejected(
        None, "a.rtf!object1.ole", "read", "is not in a format that is read", "an embedded object"
    )


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    paragraphs=st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs", "Co")), min_size=1
        ),
        min_size=1,
        max_size=4,
    ),
    skip=st.integers(0, 3),
)
def test_any_text_comes_back(text, paragraphs, skip):
    """Every character as bytes of the code page where it has some, and as \\u otherwise."""

    def coded(character):
        if character in "\\{}":
            return f"\\{character}"
        try:
            return "".join(f"\\'{byte:02x}" for byte in character.encode("cp1252"))
        except UnicodeEncodeError:
            units = character.encode("utf-16-le")
            codes = [
                int.from_bytes(units[at : at + 2], "little", signed=True) for at in range(0, len(units), 2)
            ]
            return "".join(f"\\u{code}{'?' * skip}" + ("" if skip else " ") for code in codes)

    body = "\\par ".join("".join(map(coded, each)) for each in paragraphs)
    assert text(f"\\uc{skip} {body}") == "\n\n".join(paragraphs)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pieces=st.lists(
        st.sampled_from(
            (
                *(
                    "{",
                    "}",
                    "\\par ",
                    "\\cell ",
                    "\\row",
                    "\\intbl ",
                    "\\u20013 ",
                    "\\'",
                    "\\'e9",
                    "\\*",
                    "\\bin9 ",
                ),
                *(
                    "{\\field",
                    "{\\fldinst ",
                    "{\\fldrslt ",
                    "{\\*\\moMath",
                    "{\\mr ",
                    "\\pard",
                    "{\\footnote ",
                    "x",
                    "\\v",
                ),
                *(
                    "{\\shptxt ",
                    "{\\*\\shpinst",
                    "\\uc9",
                    "{\\upr",
                    "{\\*\\ud",
                    "{\\info",
                    "{\\fonttbl",
                    "\\f1",
                    "\\",
                ),
            )
        )
    )
)
def test_broken_files_are_accounted_for(opened, pieces):
    assert opened("a.rtf", "{\\rtf1 " + "".join(pieces))
