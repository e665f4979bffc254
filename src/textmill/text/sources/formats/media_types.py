"""Which file ending stands for a media type, where a part of a mail or a page of the web has no name of its own."""

from __future__ import annotations

_OFFICE = "application/vnd.openxmlformats-officedocument"
ENDINGS = {
    "text/html": ".html",
    "application/xhtml+xml": ".xhtml",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/vtt": ".vtt",
    "text/xml": ".xml",
    "application/xml": ".xml",
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/pdf": ".pdf",
    "application/epub+zip": ".epub",
    "application/zip": ".zip",
    "application/gzip": ".gz",
    "application/x-ipynb+json": ".ipynb",
    "application/x-subrip": ".srt",
    "application/mbox": ".mbox",
    "message/rfc822": ".eml",
    f"{_OFFICE}.wordprocessingml.document": ".docx",
    f"{_OFFICE}.presentationml.presentation": ".pptx",
    f"{_OFFICE}.spreadsheetml.sheet": ".xlsx",
}
# Said by servers and mail programs that do not know better: there, a name's own ending is believed.
VAGUE = ("", "text/plain", "application/octet-stream", "binary/octet-stream", "application/x-download")
_TEXT = ".txt"


def named(name: str, media_type: str) -> str:
    """A name whose ending says the format: its own, or one for the media type.

    A type that is not vague is believed before a name, as `page.php` of type `text/html`, unless it is unknown.
    """
    ending = ENDINGS.get(media_type, _TEXT if media_type.startswith("text/") else "")
    last = name.replace("\\", "/").rpartition("/")[2]
    has_ending = "." in last.strip(".")
    if has_ending and (media_type in VAGUE or not ending):
        return last
    return last if last.lower().endswith(ending or "\0") else f"{last or 'part'}{ending}"
