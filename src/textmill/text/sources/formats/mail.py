"""Mail: single messages (.eml), mailboxes (.mbox: RFC 4155, and mboxrd's quoting) and saved pages (.mhtml).

Parsed by the email package of the standard library, with its older policy: the newer one parses headers into trees
in time that grows with the square of their length, and fails on those that are broken.

A message is one document, its text as the sender wrote it, or its HTML where there is no text; each attachment is
read as a file of its own, `mail.eml!report.docx`, within the same caps on nesting, size and number as an archive.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from email.feedparser import BytesFeedParser
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats import html
from textmill.text.sources.formats.encoding import decode, heading
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.media_types import named
from textmill.text.sources.formats.stream import BLOCK, Deadline, Fields, Input, SetAside, deeper, read_whole

_LONGEST_HEADER = 10_000  # characters of a header that is looked at
_SEPARATOR = re.compile(rb"From \S.*\d\d?:\d\d")  # an ordinary line may begin with "From " as well
_QUOTED = re.compile(rb">+From ")
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_SEALED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
Items = Iterator[Document | Rejected | Input]


def message(item: Input, fields: Fields) -> Items:
    """The document of an .eml file, and its attachments. Raises SetAside for what is no message."""
    deadline = Deadline(item.limits)
    parsed = _parsed(read_whole(item), deadline)
    text, attachments, sealed = _split(parsed, deadline)
    known = facts(
        _header(parsed, "Subject"),
        _author(parsed),
        _header(parsed, "Date"),
        _header(parsed, "Content-Language"),
    )
    if text.strip():
        yield collected(text, item.place, known)
    elif not attachments or sealed:
        yield Rejected(None, item.place, "read", "is encrypted" if sealed else "holds no text")
    taken: Counter[str] = Counter()
    for part in attachments:
        yield _attachment(item, part, taken)


def mailbox(item: Input, fields: Fields) -> Items:
    """The messages of an .mbox file, each as a file of its own at `place:message N`."""
    for number, data in enumerate(_messages(item), 1):
        item.budget.member()
        location = f"{item.place}:message {number}"
        if isinstance(data, SetAside):
            yield Rejected(None, location, "read", data.reason, data.detail)
        else:
            yield item.part(location, "message.eml", data, item.layers)


def saved_page(item: Input, fields: Fields) -> Items:
    """The one document of an .mhtml file (RFC 2557): its page, without the pictures and frames saved with it."""
    deadline = Deadline(item.limits)
    parsed = _parsed(read_whole(item), deadline)
    pages = [
        part for part in parsed.walk() if part.get_content_type() in ("text/html", "application/xhtml+xml")
    ]
    if not pages:
        raise SetAside("holds no text", "no part of it is a page")
    page = html.extract(_decoded(pages[0]), deadline)
    if not page.text:
        raise SetAside("holds no text")
    known = facts(_header(parsed, "Subject"), "", _header(parsed, "Date"))
    url = _header(parsed, "Snapshot-Content-Location") or _header(pages[0], "Content-Location")
    yield collected(page.text, item.place, {**known, **page.metadata, **({"url": url} if url else {})})


# --- one message --------------------------------------------------------------------------------------------------
def _parsed(data: bytes, deadline: Deadline) -> Message:
    parser = BytesFeedParser()
    try:
        for at in range(0, len(data), BLOCK):
            deadline.check()
            parser.feed(data[at : at + BLOCK])
        parsed = parser.close()
    except RecursionError as error:
        raise SetAside("is nested too deep", "parts of a message within one another") from error
    if not parsed.keys():
        raise SetAside("is damaged or not what its name says", "it has no headers")
    return parsed


def _split(parsed: Message, deadline: Deadline) -> tuple[str, list[Message], bool]:
    """(its text, its attachments, whether something in it is encrypted) of a message."""
    texts: list[str] = []
    attachments: list[Message] = []
    sealed = False
    waiting = [parsed]
    while waiting:
        deadline.check()
        part = waiting.pop()
        kind = part.get_content_type()
        children = part.get_payload()
        if kind in _SEALED:
            sealed = True
        elif kind == "multipart/alternative" and isinstance(children, list):
            waiting += _preferred([child for child in children if isinstance(child, Message)])
        elif kind.startswith("multipart/") and isinstance(children, list):
            waiting += [child for child in reversed(children) if isinstance(child, Message)]
        elif kind in ("text/plain", "text/html") and not _is_file(part):
            text = _decoded(part)
            texts.append(html.extract(text, deadline).text if kind == "text/html" else text)
        elif kind not in _SIGNATURES:
            attachments.append(part)
    return (
        "\n\n".join(text.replace("\r\n", "\n").strip("\n") for text in texts if text.strip()),
        attachments,
        sealed,
    )


def _preferred(parts: list[Message]) -> list[Message]:
    """Of several versions of the same, the plain text, or else the last, which senders think the best."""
    plain = [part for part in parts if part.get_content_type() == "text/plain" and _payload(part).strip()]
    return plain[:1] or parts[-1:]


def _is_file(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _payload(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _decoded(part: Message) -> str:
    ending = "html" if part.get_content_type() != "text/plain" else "txt"
    return decode(_payload(part), f"part.{ending}", str(part.get_param("charset", "") or ""))[0]


def _attachment(item: Input, part: Message, taken: Counter[str]) -> Input | Rejected:
    item.budget.member()
    kind = part.get_content_type()
    name = printable(named(_words(part.get_filename() or "")[:200], kind))
    name = name.replace("!", "_") or "part"
    taken[name] += 1
    location = f"{item.place}!{name}" if taken[name] == 1 else f"{item.place}!{taken[name]}-{name}"
    data = _payload(part)
    if kind.startswith("message/"):  # parsed already, down to its parts
        inside = part.get_payload()
        first = inside[0] if isinstance(inside, list) and inside else None
        data = first.as_bytes() if isinstance(first, Message) else b""
    try:
        return item.part(location, name, data, deeper(item), str(part.get_param("charset", "") or ""))
    except SetAside as error:
        return Rejected(None, location, "read", error.reason, error.detail)


def _header(parsed: Message, name: str) -> str:
    return _words(str(parsed.get(name, ""))[:_LONGEST_HEADER])


def _words(raw: str) -> str:
    """A header with its encoded words (RFC 2047) spelt out, and raw bytes as the text they are likeliest to be."""
    with contextlib.suppress(UnicodeEncodeError):  # already decoded
        raw = heading(raw.encode("ascii", "surrogateescape"))
    try:
        words = [
            (heading(part, charset or "") if isinstance(part, bytes) else part, charset and "utf-8")
            for part, charset in decode_header(raw)
        ]
        return str(make_header(words))
    except (ValueError, LookupError):
        return raw


def _author(parsed: Message) -> str:
    """The sender's name, or the address where there is none."""
    name, address = parseaddr(_header(parsed, "From"))
    return name or address


# --- mailboxes ----------------------------------------------------------------------------------------------------
def _messages(item: Input) -> Iterator[bytes | SetAside]:
    """The messages of a mailbox, one in memory at a time; one past `limits.file_bytes` is passed over."""
    limit = item.limits.file_bytes
    lines: list[bytes] = []
    size, blank, began = 0, True, False
    while line := item.stream.readline(BLOCK):
        if blank and line.startswith(b"From ") and _SEPARATOR.match(line):
            if began:
                yield _joined(lines, size, limit)
            lines, size, began = [], 0, True
        elif not began:
            if line.strip():
                raise SetAside("is damaged or not what its name says", "it does not begin as a mailbox does")
        else:
            size += len(line)
            if size <= limit:
                lines.append(line[1:] if _QUOTED.match(line) else line)
        blank = not line.strip(b"\r\n")
    if began:
        yield _joined(lines, size, limit)


def _joined(lines: list[bytes], size: int, limit: int) -> bytes | SetAside:
    return b"".join(lines) if size <= limit else SetAside("is larger than limits.file_bytes", f"{size} bytes")
