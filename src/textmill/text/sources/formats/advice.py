"""Forms of documents that are not read: what each is, and what a person can do to have its text read.

A name is believed only where the bytes agree that it is no plain text: notes kept as `ideas.key` are read as text.
"""

from __future__ import annotations

from textmill.text.sources.formats.stream import SetAside

REASON = "is not in a format that is read"
_WORD, _SHEET, _SLIDES, _PDF = "save it as .docx", "save it as .xlsx", "save it as .pptx", "save it as .pdf"
_EPUB, _PACK, _TABLE = "convert it to .epub", "pack it as .zip or .tar", "export its tables as .csv"
_LINK = "it is only a link to a document on the web; download that as"

# File extension -> (what it is, what to do).
FORMS: dict[str, tuple[str, str]] = {
    # word processors
    "doc": ("an old Word document", _WORD),
    "dot": ("an old Word template", _WORD),
    "wps": ("a WPS Writer or Works document", _WORD),
    "wpt": ("a WPS Writer template", _WORD),
    "wpd": ("a WordPerfect document", _WORD),
    "wri": ("a Windows Write document", _WORD),
    "lwp": ("a Word Pro document", _WORD),
    "sxw": ("an OpenOffice 1 document", _WORD),
    "odf": ("an OpenDocument formula", "paste it into a document"),
    "sdw": ("an old StarWriter document", _WORD),
    "abw": ("an AbiWord document", _WORD),
    "hwp": ("a Hangul document", f"{_WORD} or .pdf"),
    "hwpx": ("a Hangul document", f"{_WORD} or .pdf"),
    "hwt": ("a Hangul template", f"{_WORD} or .pdf"),
    "jtd": ("an Ichitaro document", _WORD),
    "jtdc": ("an Ichitaro document", _WORD),
    "uot": ("a document in the Uniform Office Format (标文通)", _WORD),
    "uof": ("a document in the Uniform Office Format (标文通)", _WORD),
    "pages": ("a Pages document", "export it as .docx"),
    "scriv": ("a Scrivener project", "compile it to .docx"),
    "gdoc": ("a Google Docs shortcut", f"{_LINK} .docx"),
    # spreadsheets
    "xls": ("an old Excel workbook", _SHEET),
    "xlt": ("an old Excel template", _SHEET),
    "xlsb": ("a binary Excel workbook", _SHEET),
    "et": ("a WPS spreadsheet", _SHEET),
    "ett": ("a WPS spreadsheet template", _SHEET),
    "uos": ("a spreadsheet in the Uniform Office Format (标文通)", _SHEET),
    "wk1": ("a Lotus 1-2-3 spreadsheet", _SHEET),
    "wk4": ("a Lotus 1-2-3 spreadsheet", _SHEET),
    "123": ("a Lotus 1-2-3 spreadsheet", _SHEET),
    "wks": ("a Works or Lotus spreadsheet", _SHEET),
    "sxc": ("an OpenOffice 1 spreadsheet", _SHEET),
    "sdc": ("an old StarCalc spreadsheet", _SHEET),
    "gnumeric": ("a Gnumeric spreadsheet", _SHEET),
    "numbers": ("a Numbers spreadsheet", "export it as .xlsx"),
    "gsheet": ("a Google Sheets shortcut", f"{_LINK} .xlsx"),
    # presentations
    "ppt": ("an old PowerPoint presentation", _SLIDES),
    "pps": ("an old PowerPoint show", _SLIDES),
    "pot": ("an old PowerPoint template", _SLIDES),
    "dps": ("a WPS presentation", _SLIDES),
    "dpt": ("a WPS presentation template", _SLIDES),
    "uop": ("a presentation in the Uniform Office Format (标文通)", _SLIDES),
    "sxi": ("an OpenOffice 1 presentation", _SLIDES),
    "sdd": ("an old StarImpress presentation", _SLIDES),
    "key": ("a Keynote presentation", "export it as .pptx"),
    "gslides": ("a Google Slides shortcut", f"{_LINK} .pptx"),
    # fixed pages, layout and drawings
    "ofd": ("a document in the Open Fixed-layout Format (版式文件)", _PDF),
    "xps": ("an XPS document", _PDF),
    "oxps": ("an XPS document", _PDF),
    "caj": ("a document of CNKI (中国知网)", f"{_PDF} with CAJViewer"),
    "kdh": ("a document of CNKI (中国知网)", f"{_PDF} with CAJViewer"),
    "nh": ("a document of CNKI (中国知网)", f"{_PDF} with CAJViewer"),
    "djvu": ("a DjVu document", "convert it to .pdf"),
    "djv": ("a DjVu document", "convert it to .pdf"),
    "ps": ("a PostScript file", "convert it to .pdf"),
    "eps": ("a PostScript picture", "convert it to .pdf"),
    "dvi": ("a DVI file", "convert it to .pdf"),
    "idml": ("an InDesign document", "export it as .pdf or .epub"),
    "indd": ("an InDesign document", "export it as .pdf or .epub"),
    "icml": ("an InCopy document", "export it as .docx or .txt"),
    "pub": ("a Publisher document", _PDF),
    "qxp": ("a QuarkXPress document", "export it as .pdf"),
    "sla": ("a Scribus document", "export it as .pdf"),
    "vsd": ("a Visio drawing", _PDF),
    "vsdx": ("a Visio drawing", _PDF),
    "vsdm": ("a Visio drawing", _PDF),
    "dwg": ("an AutoCAD drawing", _PDF),
    "ai": ("an Illustrator drawing", _PDF),
    # notes, projects, mind maps
    "one": ("a OneNote section", "export it as .docx or .pdf"),
    "onepkg": ("a OneNote notebook", "export it as .docx or .pdf"),
    "onetoc2": ("a OneNote notebook", "export it as .docx or .pdf"),
    "enex": ("an Evernote export", "export the notes as .html"),
    "mpp": ("a Project plan", "save it as .xlsx or .pdf"),
    "xmind": ("an XMind mind map", "export it as .docx or .md"),
    "mmap": ("a MindManager mind map", "export it as .docx"),
    "mm": ("a FreeMind mind map", "export it as .html or .txt"),
    # mail, calendars, contacts
    "msg": ("an Outlook message", "save it as .eml"),
    "oft": ("an Outlook template", "save it as .eml"),
    "pst": ("an Outlook mailbox", "export its messages as .eml or .mbox"),
    "ost": ("an Outlook mailbox", "export its messages as .eml or .mbox"),
    "olm": ("an Outlook for Mac mailbox", "export its messages as .eml or .mbox"),
    "dbx": ("an Outlook Express folder", "export its messages as .eml or .mbox"),
    "ics": ("a calendar", "export its entries as .csv"),
    "vcf": ("a list of contacts", "export it as .csv"),
    "msf": ("an index of Thunderbird", "read the mailbox beside it, which has no file extension"),
    "nsf": ("a Notes database", "export its messages as .eml"),
    # books
    "mobi": ("a Mobipocket book", _EPUB),
    "prc": ("a Mobipocket book", _EPUB),
    "azw": ("a Kindle book", _EPUB),
    "azw3": ("a Kindle book", _EPUB),
    "kfx": ("a Kindle book", _EPUB),
    "lit": ("a Microsoft Reader book", _EPUB),
    "lrf": ("a Sony Reader book", _EPUB),
    "pdb": ("a Palm database", _EPUB),
    "ibooks": ("an iBooks Author book", _EPUB),
    "webarchive": ("a page saved by Safari", "save it as .html"),
    "dita": ("a topic in DITA", "publish it as .html"),
    "ditamap": ("a map of topics in DITA", "publish it as .html"),
    "chm": ("a compiled help file", "convert it to .html"),
    "hlp": ("a Windows help file", "convert it to .html"),
    # databases
    "mdb": ("an Access database", _TABLE),
    "accdb": ("an Access database", _TABLE),
    "fp7": ("a FileMaker database", _TABLE),
    "fmp12": ("a FileMaker database", _TABLE),
    "dbf": ("a dBASE table", "export it as .csv"),
    "sav": ("an SPSS data file", "export it as .csv"),
    "dta": ("a Stata data file", "export it as .csv"),
    "sas7bdat": ("a SAS data file", "export it as .csv"),
    # archives
    "rar": ("a RAR archive", _PACK),
    "7z": ("a 7-Zip archive", _PACK),
    "cab": ("a cabinet archive", _PACK),
    "arj": ("an ARJ archive", _PACK),
    "lzh": ("an LHA archive", _PACK),
    "iso": ("a disk image", "copy its files into a folder"),
    "dmg": ("a disk image", "copy its files into a folder"),
}
# What a document begins with that is written in characters and no text all the same.
_MARKUP = (
    b"<",
    b"{",
    b"%!",
    *(b"BEGIN:V" + kind + end for kind in (b"CALENDAR", b"CARD") for end in (b"\r", b"\n")),
)
_MARKS = b"\xef\xbb\xbf \t\r\n"


def unread(name: str) -> SetAside | None:
    """Why a file of this name is not read, with what to do; None for a name that says nothing of the kind."""
    what, advice = FORMS.get(name.lower().rpartition(".")[2], ("", ""))
    return SetAside(REASON, f"{what}; {advice}") if what else None


def markup(head: bytes) -> bool:
    """Whether a file that begins so is written in markup or code, which no form above keeps prose in."""
    return head.lstrip(_MARKS).startswith(_MARKUP)
