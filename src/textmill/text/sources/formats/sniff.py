"""What a file really is, told by how it begins, where its name says nothing or something else.

One table of positive rules: each form says how it begins, and nothing is guessed from what a file lacks. Rules look at
the very beginning only, so that a text *about* markup (a tutorial with pages, letters or subtitles as its examples)
stays a text. A name is believed where it fits; names of program code are believed always.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from textmill.text.sources.formats.advice import REASON, unread
from textmill.text.sources.formats.encoding import marked, wide
from textmill.text.sources.formats.stream import Input, SetAside

HEAD = 1 << 14  # bytes that are looked at
# Names that say nothing of a form: here what is no prose must be known, or is skipped.
_VAGUE = frozenset(
    ("", "txt", "text", "asc", "dat", "data", "bak", "old", "orig", "tmp", "log", "out", "download")
)
_MARKDOWN = frozenset(("md", "markdown", "mdown", "mkd", "rst"))  # an indented page is an example there
_PATCHES = frozenset(("patch", "diff"))  # git writes them as mail
# Programs write pages under these names, often without <html>.
_TABLES = frozenset(("xls", "xlsx", "xlt", "doc", "docx", "dot", "ppt", "rtf", "wps", "et", "shtml", "stm"))


def extension(name: str, head: bytes) -> str:
    """The file extension of what begins so, such as `html`; empty where its name fits, or nothing is known of it.

    Raises SetAside for what is no text, or is in a form that is not read, and is known by its beginning.
    """
    name = name.lower().rpartition(".")[2] if "." in name else ""
    found = _binary(head, name) or _written(_characters(head), name)
    return "" if name == found or name in _ALSO.get(found, ()) else found


def beginning(item: Input) -> bytes:
    """The first bytes of an input, which stay in its stream."""
    if item.stream.seekable():
        at = item.stream.tell()
        head = item.stream.read(HEAD)
        item.stream.seek(at)
        return head
    return item.stream.peek(HEAD)[:HEAD] if isinstance(item.stream, io.BufferedReader) else b""


def _characters(head: bytes) -> str:
    """The beginning as characters: what is looked for is ASCII in every encoding."""
    encoding = marked(head[:4])
    if (
        encoding is None and b"\0" not in head
    ):  # nearly every file: asking for wide characters takes milliseconds
        with contextlib.suppress(UnicodeDecodeError):
            return codecs.utf_8_decode(head, "strict", False)[0]
    encoding = encoding or wide(head) or "latin-1"
    return head.decode(encoding, "ignore").lstrip("\ufeff")


# --- what is no text ----------------------------------------------------------------------------------------------
# Extensions that name the same form: a file of one of these is believed.
_ALSO: dict[str, tuple[str, ...]] = {
    "html": ("htm", "xhtml", "xht"),
    "mhtml": ("mht", "eml"),
    "mbox": ("mbx", *_PATCHES),
    "eml": ("mht", "mhtml", *_PATCHES),
    "docx": ("docm", "dotx", "dotm"),
    "pptx": ("pptm", "ppsx", "ppsm", "potx", "potm"),
    "xlsx": ("xlsm", "xltx", "xltm", "xlsb"),
    "odt": ("ott", "odm"),
    "ods": ("ots",),
    "odp": ("otp",),
    "odg": ("otg",),
    "fodt": ("fods", "fodp", "fodg"),
    "ole": ("doc", "dot", "xls", "xlt", "ppt", "pps", "pot", "msg", "oft"),
    "xps": ("oxps",),
    "ass": ("ssa",),
    "warc": ("wet",),
    "rss": ("atom", "rdf"),
    "docbook": ("dbk",),
    "jats": ("nxml",),
    "ps": ("eps", "ai"),
}
_READ = ("pdf", "rtf", "parquet", "arrow", "warc", "ole", "tar")
# The media type that a package names in its first member (OCF §4.3, ODF 1.3 part 2 §3.3, KS X 6101).
_MEDIA_TYPES = {
    b"application/epub+zip": "epub",
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
    b"application/vnd.oasis.opendocument.presentation": "odp",
    b"application/vnd.oasis.opendocument.graphics": "odg",
    b"application/hwp+zip": "hwpx",
    b"application/vnd.adobe.indesign-idml-package": "idml",
}
# Members that packages of one form have.
_MEMBERS = (
    (b"[Content_Types].xml", b"word/", "docx"),
    (b"[Content_Types].xml", b"ppt/", "pptx"),
    (b"[Content_Types].xml", b"xl/", "xlsx"),
    (b"word/document.xml", b"", "docx"),
    (b"ppt/presentation.xml", b"", "pptx"),
    (b"xl/workbook.xml", b"", "xlsx"),
    (b"[Content_Types].xml", b"visio/", "vsdx"),
    (b"META-INF/container.xml", b"META-INF/", "epub"),
    (b"OFD.xml", b"", "ofd"),
    (b"designmap.xml", b"", "idml"),
    (b".fdseq", b"", "xps"),
)
# What files begin with, or have at a place -> their file extension (the formats' own documents, or PRONOM's).
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "pdf"),
    (0, b"{\\rtf", "rtf"),
    (0, b"PAR1", "parquet"),
    (0, b"ARROW1\0\0", "arrow"),
    (0, b"WARC/1.", "warc"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"%!PS-Adobe", "ps"),
    (0, b"AT&TFORM", "djvu"),
    (0, b"ITSF\x03\0\0\0", "chm"),
    (0, b"ITOLITLS", "lit"),
    (0, b"!BDN", "pst"),
    (0, b"\xffWPC", "wpd"),
    (0, b"HWP Document File", "hwp"),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "one"),
    (0, b"\x06\x06\xed\xf5\xd8\x1d\x46\xe5\xbd\x31\xef\xe7\xfe\x74\xb7\x1d", "indd"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"MSCF\0\0\0\0", "cab"),
    (2, b"-lh5-", "lzh"),
    (4, b"Standard Jet DB\0", "mdb"),
    (4, b"Standard ACE DB\0", "accdb"),
    (60, b"BOOKMOBI", "mobi"),
    (60, b"TEXtREAd", "pdb"),
    (0, b"bplist00", "webarchive"),
    (0, b"// <!-- <mdb:mork", "msf"),
    (257, b"ustar", "tar"),
)


def _binary(head: bytes, name: str) -> str:
    if head.startswith(b"PK\3\4"):
        return _package(head, name)
    form = next((form for at, mark, form in _MAGIC if head.startswith(mark, at)), "")
    # A name that says of itself what is not read knows better: WPS writes compound files, Kindle Mobipocket's.
    return "" if form not in _READ and unread(f"a.{name}") else form


def _package(head: bytes, name: str) -> str:
    """The form of a zip file: the names of its members stand in it as they are."""
    said = head[38:].partition(b"PK")[0] if head[30:38] == b"mimetype" else b""
    for media_type, form in _MEDIA_TYPES.items():
        if said.startswith(media_type):
            return form
    for first, second, form in _MEMBERS:
        if first in head and second in head:
            return form
    return "" if name else "zip"


# --- what is written in characters --------------------------------------------------------------------------------
def _written(text: str, name: str) -> str:
    if name in _MARKDOWN and text[:1] in (" ", "\t"):
        return ""
    for form, begins in _RULES:
        if begins(text, name):
            return form
    root = _root(text)
    if root in _VOCABULARIES:
        return _VOCABULARIES[root]
    if root in _UNREAD:
        raise SetAside(REASON, _UNREAD[root])
    if root == "svg":
        raise SetAside("is not text", "an SVG picture; save it as .pdf to have its words read")
    if name in _VAGUE:
        if root:
            raise SetAside(
                REASON,
                f"XML of an unknown kind, whose first element is {root[:60]}; save it as .html or .txt",
            )
        if _BASE64.match(text) or _UUENCODED.match(text):
            raise SetAside("is not text", "encoded bytes (base64 or uuencode); decode it")
    if _ARMOUR.match(text):
        raise SetAside("is not text", "a key, a certificate or an encrypted message")
    return ""


def _json_lines(text: str, name: str) -> bool:
    """Records in JSON, the first of which can be read whole, and where there are more lines, the second too."""
    lines = text.split("\n", 2)[: 2 if text.count("\n") > 1 or len(text) < HEAD else 1]
    return (
        name in _VAGUE
        and text[:1] == "{"
        and all(isinstance(_value(line), dict) for line in lines if line.strip())
    )


def _json_list(text: str, name: str) -> bool:
    """A list of records in JSON, the first of which can be read whole."""
    if name not in _VAGUE or not (begins := re.match(r"\[\s*(?=\{)", text)):
        return False
    with contextlib.suppress(ValueError, RecursionError):
        return isinstance(json.JSONDecoder(strict=False).raw_decode(text, begins.end())[0], dict)
    return False


def _value(line: str) -> object:
    """What a line of JSON holds; None for one that holds none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


_BEFORE_PAGE = re.compile(r"(?:\s|<!--.*?-->|<\?.*?\?>|<%.*?%>)*", re.DOTALL)  # comments, XML, PHP and ASP
_PAGE = re.compile(
    r"<!doctype\s+html\b[^<>]*>(?:\s|<!--.*?-->)*<[a-z]|<(?:html|head|body|frameset)\b[^<>]*>\s*<[a-z!/?]",
    re.IGNORECASE | re.DOTALL,
)
_AFTER_PAGE = re.compile(r"</html\s*>(?:\s|<!--.*?-->|<\?.*?\?>)*", re.IGNORECASE | re.DOTALL)
_PIECE = re.compile(
    r"<(?:meta|style|title|link|table|div|p|h[1-6]|ul|ol|dl|center|font|section|article|span|blockquote)\b[^<>]*>",
    re.IGNORECASE,
)
_PIECE_END = re.compile(r"</[a-z][a-z0-9]*\s*>\s*\Z", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n\s*\n")


def is_page(text: str) -> bool:
    """Whether a text of no known name is a page in HTML."""
    return _page(text[:HEAD], "")


def _page(text: str, name: str) -> bool:
    """A page begins with its doctype or <html> and another tag, and nothing is said after its end."""
    at = _BEFORE_PAGE.match(text).end()  # type: ignore[union-attr]  (it matches everywhere)
    if _PAGE.match(text, at):
        ends = list(_AFTER_PAGE.finditer(text, at))
        return not ends or ends[-1].end() == len(text)
    if name in _TABLES:
        return _PIECE.match(text, at) is not None
    # Without <html>: each paragraph begins and ends with a tag of a page.
    paragraphs = _BLANK_LINE.split(text[at:].strip())
    whole = paragraphs[:-1] if len(text) >= HEAD and len(paragraphs) > 1 else paragraphs
    return name in _VAGUE and all(_PIECE.match(each.lstrip()) and _PIECE_END.search(each) for each in whole)


_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,70}):[ \t]*(.*)")
_SEPARATOR = re.compile(
    r"From .{0,300}?\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +"
    r"(?:\d{1,2} +)?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b(?= .{0,40}\d\d?:\d\d)(?= .{0,60}\b\d{4}\b)"
)


def separator(line: str) -> bool:
    """Whether a line is what stands between the messages of a mailbox (RFC 4155): a sender and a date."""
    return line.startswith("From ") and _SEPARATOR.match(line) is not None


def header_field(line: str) -> bool:
    """Whether a line begins a field of a message's header (RFC 5322 §2.2)."""
    return _FIELD.match(line) is not None


def _header(text: str) -> dict[str, str]:
    """The fields of the header a text begins with, by their names in small letters; none for what is no header."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            return fields
        match = _FIELD.match(line)
        if line[0] in " \t" and name:
            fields[name] += f" {line.strip()}"
        elif match:
            name = match[1].lower()
            fields.setdefault(name, match[2])
        else:
            return {}
    return fields


_TRACES = (
    "message-id",
    "received",
    "return-path",
    "mime-version",
    "delivered-to",
    "x-mailer",
    "x-uid",
    "user-agent",
)


def _letter(text: str, name: str) -> bool:
    """A message is from somebody and has a date, and says something else that no person writes."""
    fields = _header(text)
    if "from" not in fields or not (_is_date(fields.get("date", "")) or "received" in fields):
        return False
    return any(trace in fields for trace in _TRACES) or "content-type" in fields


def _is_date(value: str) -> bool:
    try:
        return parsedate_to_datetime(value) is not None
    except (ValueError, TypeError, IndexError, OverflowError):
        return False


def _saved_page(text: str, name: str) -> bool:
    """A page with its pictures, as browsers and Word save it: like a letter, but from nobody to nobody."""
    fields = _header(text)
    related = fields.get("content-type", "").lower().startswith("multipart/related")
    saved = "snapshot-content-location" in fields or fields.get("from", "").lower().startswith("<saved by")
    return "mime-version" in fields and related and (saved or not {"from", "to", "received"} & set(fields))


def _mailbox(text: str, name: str) -> bool:
    lines = text.split("\n", 2)
    return separator(lines[0]) and len(lines) > 1 and header_field(lines[1].removeprefix(">"))


def _apple_mail(text: str, name: str) -> bool:
    first, _, rest = text.partition("\n")
    return (
        first.strip().isdecimal() and len(first) < 20 and len(_header(rest)) > 1 and "from" in _header(rest)
    )


_LETTERS_OF_ALL_KINDS = r"(?=[\s\S]*[A-Z])(?=[\s\S]*[a-z])(?=[\s\S]*[0-9])"
_BASE64 = re.compile(
    rf"{_LETTERS_OF_ALL_KINDS}(?:(?:[A-Za-z0-9+/]{{40,}}={{0,2}}\r?\n){{3,}}|[A-Za-z0-9+/]{{400,}}={{0,2}}\s*\Z)"
)
_ARMOUR = re.compile(
    r"\s*-----BEGIN (?:PGP (?:MESSAGE|SIGNATURE|[A-Z]+ KEY BLOCK)|"
    r"[A-Z0-9 ]*(?:KEY|CERTIFICATE|CRL|PKCS7|CMS)[A-Z ]*)-----"
)
_UUENCODED = re.compile(
    r"begin [0-7]{3,4} [^\n]+\r?\nM[\x20-\x60]{60}\r?\n|begin-base64 [0-7]{3,4} [^\n]+\r?\n\S{20}"
)
_SUBRIP = re.compile(r"\s*\d+[ \t]*\r?\n(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}[ \t]*-->[ \t]*\d")
_WEBVTT = re.compile(r"WEBVTT(?:[ \t][^\n]*)?\r?\n")
_SBV = re.compile(r"\s*\d+:\d{2}:\d{2}\.\d{3},\d+:\d{2}:\d{2}\.\d{3}[ \t]*\r?\n")
_MICRODVD = re.compile(r"(?:\{\d+\}\{\d*\}[^\n]*(?:\n|\Z)){2}")
_LYRICS = re.compile(
    r"(?:\[[a-z]+:[^\]\n]*\]\s*)*+(?:(?:\[\d+:\d{2}(?:[.:]\d{1,3})?\])++[^\n]*+(?:\n|\Z)){2}"
)
_SUBSTATION = re.compile(r"\s*\[Script Info\][ \t]*\r?\n", re.IGNORECASE)

# Two vocabularies have the same root: what a document declares, or has at its root, tells them apart.
_DOCBOOK = re.compile(r"(?:DTD DocBook|http://docbook\.org/ns/docbook|<bookinfo>|<articleinfo>)")
_JATS = re.compile(r"(?:DTD (?:JATS|Journal)|<article\b[^<>]*\s(?:article-type|dtd-version)=)")
_TOPICS = ("topic", "concept", "task", "reference", "dita", "map", "bookmap")
_DITA = re.compile(r"DTD DITA|//OASIS//ELEMENTS DITA|\sditaarch:")
_CALENDAR = re.compile(r"\s*BEGIN:VCALENDAR[ \t]*\r?\n", re.IGNORECASE)
_CONTACTS = re.compile(r"\s*BEGIN:VCARD[ \t]*\r?\n", re.IGNORECASE)

_RULES: tuple[tuple[str, Callable[[str, str], bool]], ...] = (
    ("docbook", lambda text, name: _root(text) in _WRITINGS and _DOCBOOK.search(text) is not None),
    ("dita", lambda text, name: _root(text) in _TOPICS and _DITA.search(text) is not None),
    ("jats", lambda text, name: _root(text) == "article" and _JATS.search(text) is not None),
    ("html", _page),
    ("mbox", _mailbox),
    ("jsonl", _json_lines),
    ("json", _json_list),
    ("ics", lambda text, name: _CALENDAR.match(text) is not None),
    ("vcf", lambda text, name: _CONTACTS.match(text) is not None),
    ("emlx", _apple_mail),
    ("mhtml", _saved_page),
    ("eml", _letter),
    ("srt", lambda text, name: _SUBRIP.match(text) is not None),
    ("vtt", lambda text, name: _WEBVTT.match(text) is not None and "-->" in text),
    ("ass", lambda text, name: _SUBSTATION.match(text) is not None),
    ("sbv", lambda text, name: _SBV.match(text) is not None),
    ("sub", lambda text, name: _MICRODVD.match(text) is not None),
    ("lrc", lambda text, name: _LYRICS.match(text) is not None),
)
_BEFORE_ROOT = re.compile(r"(?:\s|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^<>\[]*(?:\[.*?\]\s*)?>)*", re.DOTALL)
_ROOT = re.compile(r"<((?:[\w.-]+:)?[A-Za-z_][\w.-]*)(?:\s[^<>]*)?/?>")
# The first element of a form in XML -> its file extension: read, or what to do is said.
_VOCABULARIES = {
    "FictionBook": "fb2",
    "dtbook": "dtbook",
    "TEI": "tei",
    "TEI.2": "tei",
    "tt": "ttml",
    "rss": "rss",
    "feed": "rss",
    "rdf:RDF": "rss",
    "office:document": "fodt",
    "uof:UOF": "uof",
    "en-export": "enex",
}
# Forms in XML that are not read and share their extensions with others: what each is, and what to do.
_WRITINGS = ("article", "book", "chapter", "section", "preface", "appendix", "refentry")
_UNREAD = {
    "pkg:package": "a flat Word document; save it as .docx",
    "w:wordDocument": "a Word 2003 document in XML; save it as .docx",
    "Workbook": "an Excel 2003 workbook in XML; save it as .xlsx",
    "mediawiki": "an export of a wiki; export its pages as .html",
    "tmx": "a translation memory; export it as .csv",
    "xliff": "a file of translations; export it as .csv",
    "opml": "a list of feeds or an outline; export it as .txt",
    "plist": "a property list of Apple's; export what it holds as .csv or .txt",
    "kml": "a map; export its places as .csv",
    "gpx": "a track on a map; export its places as .csv",
    "mxfile": "a drawing of draw.io; export it as .pdf",
    "usx": "Scripture in XML; export it as .html or .txt",
    "osis": "Scripture in XML; export it as .html or .txt",
    "score-partwise": "sheet music; export it as .pdf",
    "score-timewise": "sheet music; export it as .pdf",
}


def _root(text: str) -> str:
    """The first element of a text in XML, as it is written; empty for what is none.

    That it is XML says its declaration, a document type or a namespace: a text may well begin with `<sigh>`.
    """
    before = _BEFORE_ROOT.match(text)
    match = _ROOT.match(text, before.end()) if before else None
    if not before or not match:
        return ""
    declared = "<?xml" in before[0] or "<!DOCTYPE" in before[0] or "xmlns" in match[0]
    return match[1] if declared and match[1].lower() != "html" else ""  # pages have a rule of their own
