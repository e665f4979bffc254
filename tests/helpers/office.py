"""Small office files, written by hand: Office Open XML, OpenDocument, Outlook's messages and TNEF from their parts."""

from __future__ import annotations

import io
import struct
import zipfile
from datetime import UTC, datetime
from xml.sax.saxutils import escape

TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
C = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
DGM = 'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
R = f'xmlns:r="{TYPES}"'
WORD = f'{W} {M} {A} {C} {DGM} {MC} {R} xmlns:v="urn:v" xmlns:wps="urn:wps"'
ODF = (
    " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{place}:1.0"'
        for name, place in {
            **{"office": "office", "text": "text", "table": "table", "style": "style", "draw": "drawing"},
            **{
                "fo": "xsl-fo-compatible",
                "presentation": "presentation",
                "meta": "meta",
                "manifest": "manifest",
            },
        }.items()
    )
    + ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def zipped(parts: dict[str, str | bytes]) -> bytes:
    """A zip file of these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def rels(**targets: str) -> str:
    """Relations: id=type:target."""
    each = "".join(
        f'<Relationship Id="{name}" Type="{TYPES}/{value.partition(":")[0]}" Target="{value.partition(":")[2]}"/>'
        for name, value in targets.items()
    )
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{each}</Relationships>'


# --- Word ---------------------------------------------------------------------------------------------------------
def run(text: str, properties: str = "") -> str:
    """A run of text."""
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{escape(text)}</w:t></w:r>'


def paragraph(*content: str, style: str = "", properties: str = "") -> str:
    """A paragraph; what is no markup is a run of text."""
    style = f'<w:pStyle w:val="{style}"/>' if style else ""
    inside = "".join(each if each.startswith("<") else run(each) for each in content if each)
    return f"<w:p><w:pPr>{style}{properties}</w:pPr>{inside}</w:p>"


def listed(text: str, number: int | str, level: int | None = 0) -> str:
    """A paragraph in a list."""
    level_of = "" if level is None else f'<w:ilvl w:val="{level}"/>'
    return paragraph(text, properties=f'<w:numPr>{level_of}<w:numId w:val="{number}"/></w:numPr>')


def level(at: int, form: str, text: str, more: str = "", start: int = 1) -> str:
    """A level of a list."""
    return (
        f'<w:lvl w:ilvl="{at}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/>{more}'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


def word(
    body: str,
    *,
    styles: str = "",
    numbering: str = "",
    relations: dict | None = None,
    parts: dict[str, str | bytes] | None = None,
) -> bytes:
    """A Word file."""
    related = {"s": "styles:styles.xml", "n": "numbering:numbering.xml", **(relations or {})}
    return zipped(
        {
            "_rels/.rels": rels(a="officeDocument:word/document.xml"),
            "word/document.xml": f"<w:document {WORD}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": rels(**related),
            "word/styles.xml": f"<w:styles {WORD}>{styles}</w:styles>",
            "word/numbering.xml": f"<w:numbering {WORD}>{numbering}</w:numbering>",
            **(parts or {}),
        }
    )


# --- PowerPoint ---------------------------------------------------------------------------------------------------
def shape(*texts: str, kind: str | None = None, properties: str = "", hidden: bool = False) -> str:
    """A shape with a paragraph for each text; `kind` is that of the placeholder it fills."""
    fills = "" if kind is None else f'<p:ph type="{kind}"/>' if kind else '<p:ph idx="1"/>'
    body = "".join(
        text if text.startswith("<") else f"<a:p>{properties}<a:r><a:t>{escape(text)}</a:t></a:r></a:p>"
        for text in texts
    )
    unseen = ' hidden="1"' if hidden else ""
    name = f'<p:cNvPr id="1" name="x"{unseen}/>'
    return f"<p:sp><p:nvSpPr>{name}<p:nvPr>{fills}</p:nvPr></p:nvSpPr><p:txBody>{body}</p:txBody></p:sp>"


def presentation(
    *slides: str,
    shown: tuple[bool, ...] = (),
    relations: dict | None = None,
    parts: dict[str, str | bytes] | None = None,
) -> bytes:
    """A PowerPoint file of slides with these shapes; `relations` are those of every slide."""
    hidden = {number: ' show="0"' for number, each in enumerate(shown) if not each}
    pages = {
        f"ppt/slides/slide{number}.xml": f"<p:sld {A} {P} {R} {C} {DGM} {MC} {M}{hidden.get(number, '')}><p:cSld>"
        f"<p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
        for number, shapes in enumerate(slides)
    }
    listed = "".join(f'<p:sldId id="{number}" r:id="s{number}"/>' for number in range(len(slides)))
    return zipped(
        {
            "_rels/.rels": rels(a="officeDocument:ppt/presentation.xml"),
            "ppt/presentation.xml": f"<p:presentation {P} {R}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": rels(
                **{f"s{number}": f"slide:slides/slide{number}.xml" for number in range(len(slides))}
            ),
            **pages,
            **{
                name.replace("slides/", "slides/_rels/") + ".rels": rels(**(relations or {}))
                for name in pages
            },
            **(parts or {}),
        }
    )


CHART = (
    f"<c:chartSpace {C} {A}><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Sacks ground</a:t></a:r></a:p></c:rich>"
    "</c:tx></c:title><c:plotArea><c:barChart>"
    "<c:ser><c:tx><c:strRef><c:strCache><c:pt idx='0'><c:v>North mill</c:v></c:pt>"
    "</c:strCache></c:strRef></c:tx><c:cat><c:strRef><c:strCache><c:pt idx='0'><c:v>May</c:v></c:pt><c:pt idx='1'>"
    "<c:v>June</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache><c:pt idx='0'>"
    "<c:v>4.2999999999999998</c:v></c:pt><c:pt idx='1'><c:v>5</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser>"
    "</c:barChart></c:plotArea></c:chart></c:chartSpace>"
)
DIAGRAM = (
    f"<dgm:dataModel {DGM} {A}><dgm:ptLst><dgm:pt modelId='0' type='doc'/>"
    + "".join(
        f"<dgm:pt modelId='{number}'><dgm:t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></dgm:t></dgm:pt>"
        for number, text in enumerate(("Below the first", "First", "Second"), 1)
    )
    + "</dgm:ptLst><dgm:cxnLst><dgm:cxn srcId='0' destId='3' srcOrd='1'/><dgm:cxn srcId='0' destId='2' srcOrd='0'/>"
    "<dgm:cxn srcId='2' destId='1' srcOrd='0'/></dgm:cxnLst></dgm:dataModel>"
)


# --- OpenDocument -------------------------------------------------------------------------------------------------
def opendocument(
    body: str,
    kind: str = "text",
    styles: str = "",
    meta: str = "",
    parts: dict[str, str | bytes] | None = None,
) -> bytes:
    """A packed OpenDocument file."""
    content = f"<office:automatic-styles>{styles}</office:automatic-styles>"
    content += f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "meta.xml": f"<office:document-meta {ODF}><office:meta>{meta}</office:meta></office:document-meta>",
            "content.xml": f"<office:document-content {ODF}>{content}</office:document-content>",
            **(parts or {}),
        }
    )


# --- Outlook ------------------------------------------------------------------------------------------------------
def message(
    subject: str,
    body: str = "",
    *,
    page: bytes = b"",
    packed: bytes = b"",
    sender: str = "",
    code_page: int = 0,
    attachments: dict[str, bytes | dict[str, bytes]] | None = None,
    depth: int = 0,
) -> dict[str, bytes]:
    """The streams of a .msg file; an attachment that is such streams is a message."""
    files: dict[str, bytes] = {}

    def text(number: int, value: str) -> None:
        if value:
            files[f"__substg1.0_{number:04X}001F"] = value.encode("utf-16-le")

    text(0x0037, subject)
    text(0x1000, body)
    text(0x0C1A, sender)
    if page:
        files["__substg1.0_10130102"] = page
    if packed:
        files["__substg1.0_10090102"] = packed
    ticks = (
        int((datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC) - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds())
        * 10**7
    )
    fixed = struct.pack("<HHIQ", 0x0040, 0x0039, 6, ticks)
    fixed += struct.pack("<HHIQ", 0x0003, 0x3FDE, 6, code_page) if code_page else b""
    files["__properties_version1.0"] = bytes(24 if depth else 32) + fixed
    for number, (name, data) in enumerate((attachments or {}).items()):
        folder = f"__attach_version1.0_#{number:08X}"
        files[f"{folder}/__properties_version1.0"] = bytes(8)
        files[f"{folder}/__substg1.0_3707001F"] = name.encode("utf-16-le")
        if isinstance(data, bytes):
            files[f"{folder}/__substg1.0_37010102"] = data
        else:
            files |= {f"{folder}/__substg1.0_3701000D/{inner}": value for inner, value in data.items()}
    return files


def tnef(subject: str, body: str, attachments: dict[str, bytes]) -> bytes:
    """A winmail.dat of Unicode properties."""

    def attribute(level: int, number: int, data: bytes) -> bytes:
        return struct.pack("<BII", level, number, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    def properties(**values: str) -> bytes:
        out = struct.pack("<I", len(values) + 1) + struct.pack("<HHI", 0x0003, 0x0E07, 1)
        for number, value in values.items():
            coded = value.encode("utf-16-le") + b"\0\0"
            out += (
                struct.pack("<HHII", 0x001F, int(number[1:], 16), 1, len(coded))
                + coded
                + bytes(-len(coded) % 4)
            )
        return out

    out = struct.pack("<IH", 0x223E9F78, 1) + attribute(1, 0x00069003, properties(x0037=subject, x1000=body))
    for name, data in attachments.items():
        out += attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x0006800F, data)
        out += attribute(2, 0x00069005, properties(x3707=name))
    return out
