"""PDF: what is filled in, typed on, attached or scanned is in the text, at its own place, or said; broken words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.formats.hyphens import BROKEN, unbroken
from textmill.text.sources.formats.table import open_file

pytest.importorskip("pypdfium2")
pytest.importorskip("spellchecker")

# A document's own objects stand from 10 on.
_FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def write(objects: dict[int, bytes], catalog: bytes = b"", pages: int = 1) -> bytes:
    """A PDF of these objects, its pages those from 10 on."""
    kids = b" ".join(b"%d 0 R" % (10 + n) for n in range(pages))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R" + catalog + b">>",
        2: b"<</Type/Pages/Kids[" + kids + b"]/Count %d>>" % pages,
        3: _FONT,
        **objects,
    }
    out, places = bytearray(b"%PDF-1.7\n"), {}
    for number, content in sorted(objects.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start, size = len(out), max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(
        b"%010d 00000 n \n" % places[n] if n in places else b"0000000000 00000 f \n" for n in range(1, size)
    )
    return bytes(out + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, start))


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(data), more, data)


def page(contents: int, notes: bytes = b"", things: bytes = b"") -> bytes:
    return (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>/XObject<<"
        + things
        + b">>>>"
        b"/Contents %d 0 R/Annots[" % contents + notes + b"]>>"
    )


def words(*lines: tuple[int, int, str]) -> bytes:
    """A content stream that shows (left, bottom, text)."""
    return stream(
        b"".join(b"BT /F 12 Tf %d %d Td (%s) Tj ET\n" % (x, y, text.encode()) for x, y, text in lines)
    )


@pytest.fixture
def read(tmp_path):
    """({place: text}, {place: (reason, detail)}) of a PDF."""

    def call(data):
        path = tmp_path / "a.pdf"
        path.write_bytes(data)
        items = list(open_file(path, "a.pdf", None, LimitSpec()))
        return (
            {item.source: item.text for item in items if isinstance(item, Document)},
            {item.source: (item.reason, item.detail) for item in items if isinstance(item, Rejected)},
        )

    return call


def field(left, bottom, right, top, more: str) -> bytes:
    return f"<</Type/Annot/Subtype/Widget/F 4/Rect[{left} {bottom} {right} {top}]{more}>>".encode()


def test_what_was_filled_in_stands_behind_its_name(read):
    fields = {
        20: field(110, 695, 250, 715, "/FT/Tx/T(name)/V(Roe, Jane)"),
        21: field(330, 695, 450, 715, "/FT/Tx/T(date)/V(2024-05-06)"),
        22: field(50, 600, 300, 650, "/FT/Tx/T(home)/Ff 4096/V(1 Mill Road\\nDover)"),
        23: field(110, 560, 122, 572, "/FT/Btn/T(yes)/V/Yes/AS/Yes/AP<</N<</Yes 30 0 R/Off 30 0 R>>>>"),
        24: field(180, 560, 192, 572, "/FT/Btn/T(no)/V/Off/AS/Off/AP<</N<</Yes 30 0 R/Off 30 0 R>>>>"),
        25: field(110, 520, 200, 540, "/FT/Ch/T(city)/Ff 131072/Opt[[(l)(London)][(p)(Paris)]]/V(p)"),
        26: field(110, 480, 200, 500, "/FT/Tx/T(pass)/Ff 8192/V(SECRET)"),
        27: field(110, 440, 200, 460, "/FT/Tx/T(gone)/F 2/V(HIDDEN)").replace(b"/F 4", b""),
        28: field(500, 20, 590, 40, "/FT/Tx/T(alone)/V(lonely)"),
    }
    numbers = b" ".join(b"%d 0 R" % number for number in fields)
    data = write(
        {
            10: page(11, numbers),
            11: words(
                (50, 700, "Name:"), (280, 700, "Date:"), (50, 655, "Address"), (50, 562, "Smoker:"), (130, 562, "yes"),
                (200, 562, "no"), (50, 525, "City"), (50, 485, "Password"), (50, 300, "The end."),
            ),
            30: stream(b"", b"/Type/XObject/Subtype/Form/BBox[0 0 1 1]"),
            **fields,
        },
        b"/AcroForm<</Fields[" + numbers + b"]>>",
    )  # fmt: skip
    texts, refused = read(data)
    assert texts["a.pdf"].splitlines() == [
        "Name: Roe, Jane Date: 2024-05-06",
        "Address",
        "1 Mill Road",
        "Dover",
        "Smoker: ☒ yes ☐ no",
        "City Paris",
        "Password",
        "The end.",
        "lonely",
    ]
    assert not refused


def test_typed_notes_comments_and_files(read):
    data = write(
        {
            10: page(11, b"20 0 R 21 0 R 22 0 R 23 0 R"),
            11: words((50, 700, "Signed:")),
            20: b"<</Type/Annot/Subtype/FreeText/Rect[110 695 250 715]/Contents(by hand)>>",
            21: b"<</Type/Annot/Subtype/Text/Rect[300 700 320 720]/Contents(a comment)>>",
            22: b"<</Type/Annot/Subtype/Link/Rect[50 700 90 720]/Contents(no comment)>>",
            23: b"<</Type/Annot/Subtype/FileAttachment/Rect[1 1 9 9]/FS 40 0 R>>",
            30: stream(b"<p>an attached page</p>", b"/Type/EmbeddedFile"),
            31: b"<</Type/Filespec/F(../../page.html)/UF(../../page.html)/EF<</F 30 0 R>>>>",
            32: stream(b"attached words", b"/Type/EmbeddedFile"),
            40: b"<</Type/Filespec/F(notes.txt)/UF(notes.txt)/EF<</F 32 0 R>>>>",
        },
        b"/Names<</EmbeddedFiles<</Names[(page.html)31 0 R]>>>>",
    )
    texts, refused = read(data)
    assert texts == {
        "a.pdf": "Signed: by hand",
        "a.pdf!page.html": "an attached page",
        "a.pdf!notes.txt": "attached words",
    }
    assert refused == {"a.pdf:page 1": ("has comments, which are not read", "1 comment")}


_PICTURE = stream(
    b"\0" * 3, b"/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceRGB/BitsPerComponent 8"
)


def test_every_page_that_is_a_picture_is_said(read):
    whole = b"q 600 0 0 800 0 0 cm /I Do Q "
    small = b"q 60 0 0 80 0 0 cm /I Do Q "
    data = write(
        {
            10: page(20),
            11: page(21, things=b"/I 30 0 R"),
            12: page(22),
            13: page(23, things=b"/I 30 0 R"),
            14: page(24, things=b"/I 30 0 R"),
            15: page(25),
            20: words((50, 700, "The cover.")),
            21: stream(whole),
            22: stream(b""),
            23: stream(whole + b"BT /F 9 Tf 50 20 Td (Page 4) Tj ET"),
            24: stream(small + b"BT /F 9 Tf 50 20 Td (A short page.) Tj ET"),
            25: stream(b"1 1 m 9 9 l S " * 30),
            30: _PICTURE,
        },
        pages=6,
    )
    texts, refused = read(data)
    assert texts["a.pdf"] == "The cover.\n\nPage 4\n\nA short page."
    advice = "run text recognition (OCR) on it"
    assert refused == {
        "a.pdf:page 2": ("holds no text", f"a picture; {advice}"),
        "a.pdf:page 4": ("holds no text", f"a picture with 5 characters on it, which are read; {advice}"),
        "a.pdf:page 6": ("holds no text", f"drawings, or letters as outlines; {advice}"),
    }


def test_a_form_that_only_other_programs_fill_is_said(read):
    form = b"/NeedsRendering true/AcroForm<</Fields[]/XFA[(datasets)20 0 R]>>"
    xfa = stream(b"<xfa:datasets xmlns:xfa='x'/>")
    data = write({10: page(11), 11: words((50, 700, "Please wait")), 20: xfa}, form)
    texts, refused = read(data)
    assert not texts
    assert refused["a.pdf"][0] == "is a form in XFA, which is not read"


# --- hyphens ------------------------------------------------------------------------------------------------------
ENGLISH = "The parties have agreed on this and that for the whole of the term of the contract and its years. "
GERMAN = (
    "Die Parteien haben sich über den Vertrag und die Bedingungen für die ganze Zeit der Laufzeit geeinigt. "
)


@pytest.mark.parametrize(
    ("language", "broken", "whole"),
    [
        (
            ENGLISH,
            "exam|ple agree|ment infor|mation con|tract de|velopment",
            "example agreement information contract development",
        ),
        (ENGLISH, "well|known non|disclosure self|employed", "well-\nknown non-\ndisclosure self-\nemployed"),
        (ENGLISH, "e|mail Smith|Jones X|ray", "e-mail Smith-Jones X-ray"),
        (
            ENGLISH,
            "state-of|the-art pre|and post-war mot|to act|or",
            "state-of-the-art pre- and post-war motto actor",
        ),
        (ENGLISH, "INFOR|MATION", "INFORMATION"),
        (f"{ENGLISH} a well-known fact", "well|known", "well-known"),
        (f"{ENGLISH} the Wellknown mill", "well|known", "wellknown"),
        (GERMAN, "Straßen|bahn Krankenhaus|gesellschaft", "Straßenbahn Krankenhausgesellschaft"),
        (GERMAN, "Nord|Süd E|Mail Haupt|und", "Nord-Süd E-Mail Haupt- und"),
        ("磨坊的水车在河边转动。", "abc|def", "abcdef"),
    ],
)
def test_broken_words(language, broken, whole):
    [text] = unbroken([f"{language} {broken.replace('|', BROKEN)}"])
    assert text == f"{language} {whole}"


def test_hyphens_that_are_drawn_otherwise():
    assert unbroken(["inf\xad\normation, so\xadft"]) == ["information, soft"]
    assert unbroken([f"{ENGLISH}exam‐\nple 2019‐\n2021"]) == [f"{ENGLISH}example 2019‐\n2021"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from((*ENGLISH.split(), "well-known", "e-mail", "2019-2021", "Smith-Jones")), min_size=1
    ),
    st.data(),
)
def test_no_letter_is_lost_wherever_lines_end(text, data):
    """Words broken anywhere, between any letters: only hyphens and line ends are ever changed."""
    broken = []
    for word in text:
        at = data.draw(st.integers(0, len(word)))
        inside = word[at - 1 : at].isalpha() and word[at : at + 1].isalpha()
        broken.append(f"{word[:at]}{BROKEN}{word[at:]}" if inside else word)
    [read] = unbroken([" ".join([ENGLISH, *broken])])
    assert BROKEN not in read
    assert "".join(filter(str.isalnum, read)) == "".join(filter(str.isalnum, " ".join([ENGLISH, *text])))
