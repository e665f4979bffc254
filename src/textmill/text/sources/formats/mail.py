"""Mail: single messages (.eml), mailboxes (.mbox: RFC 4155, and mboxrd's quoting) and saved pages (.mhtml).

Parsed by the email package of the standard library, with its older policy: the newer one parses headers into trees
in time that grows with the square of their length, and fails on those that are broken.

A message is one document, its text as the sender wrote it, or its HTML where there is no text; each attachment is
read as a file of its own, `mail.eml!report.docx`, within the same caps on nesting, size and number as an archive.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.feedparser import BytesFeedParser
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats import html
from textmill.text.sources.formats.encoding import decode, heading
from textmill.text.sources.formats.facts import facts
from textmill.text.sources.formats.mail_text import Enclosed, opened, payload, unenriched, unflowed
from textmill.text.sources.formats.media_types import named
from textmill.text.sources.formats.sniff import header_field, is_page, separator
from textmill.text.sources.formats.stream import BLOCK, Deadline, Fields, Input, SetAside, deeper, read_whole
from textmill.text.sources.formats.xml_pages import declares_xml, from_xhtml
from textmill.text.words import hashes

_LONGEST_HEADER = 10_000  # characters of a header that is looked at
_QUOTED = re.compile(rb">+From ")
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_SEALED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_UNLOCK = "save it without encryption in the mail program"
_BEFORE = b"\xef\xbb\xbf \t\r\n"  # what may stand before a header, and hides it from the parser
_BOUNDARY = re.compile(r"^--([^\s-][^\r\n\"]{0,100}?)[ \t]*\r?$\n[A-Za-z-]+:", re.MULTILINE)
Items = Iterator[Document | Rejected | Input]


def message(item: Input, fields: Fields) -> Items:
    """The document of an .eml file, and its attachments. Raises SetAside for what is no message."""
    yield from _message(item, read_whole(item))


def apple_message(item: Input, fields: Fields) -> Items:
    """The same of an .emlx file: how long the message is, the message, and what Apple Mail notes of it."""
    first, _, rest = read_whole(item).lstrip(_BEFORE).partition(b"\n")
    if not first.strip().isdigit():
        raise SetAside(
            "is damaged, or not what its file extension says",
            "it does not begin with the length of its message",
        )
    yield from _message(item, rest[: int(first)])


def _message(item: Input, data: bytes) -> Items:
    deadline = Deadline(item.limits)
    parsed = _parsed(data, deadline)
    body = _body(parsed, deadline)
    known = facts(
        _header(parsed, "Subject"),
        _author(parsed),
        _header(parsed, "Date"),
        _header(parsed, "Content-Language"),
    )
    if body.text.strip():
        yield collected(body.text, item.place, known)
    elif not (body.attachments or body.refused or body.enclosed):
        yield Rejected(None, item.place, "read", "holds no text")
    taken: Counter[str] = Counter()
    for name, reason, detail in body.refused:
        yield Rejected(
            None, _place(item, name, taken) if body.text.strip() else item.place, "read", reason, detail
        )
    for part in body.attachments:
        yield from _attachment(item, part, taken)
    for file in body.enclosed:
        item.budget.member()
        name = _file_name(file.name)
        location = _place(item, name, taken)
        if file.data is None:
            yield Rejected(None, location, "read", "is encrypted", _UNLOCK)
        else:
            yield _inside(item, location, name, file.data)


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
    source = _decoded(pages[0])
    page = html.extract(from_xhtml(source, deadline) if declares_xml(source) else source, deadline)
    if not page.text:
        raise SetAside("holds no text")
    known = facts(_header(parsed, "Subject"), "", _header(parsed, "Date"))
    url = _header(parsed, "Snapshot-Content-Location") or _header(pages[0], "Content-Location")
    yield collected(page.text, item.place, {**known, **page.metadata, **({"url": url} if url else {})})


# --- one message --------------------------------------------------------------------------------------------------
def _parsed(data: bytes, deadline: Deadline) -> Message:
    parsed = _fed(data.lstrip(_BEFORE), deadline)
    if not parsed.keys():
        raise SetAside("is damaged, or not what its file extension says", "it has no headers")
    kind, payload = parsed.get_content_type(), parsed.get_payload()
    if kind.startswith("multipart/") and isinstance(payload, str) and (first := _BOUNDARY.search(payload)):
        # What it says stands between its parts does not: the first line that could is believed.
        parsed.replace_header("Content-Type", f'{kind}; boundary="{first[1]}"')
        parsed = _fed(parsed.as_bytes(), deadline)
    return parsed


def _fed(data: bytes, deadline: Deadline) -> Message:
    parser = BytesFeedParser()
    try:
        for at in range(0, len(data), BLOCK):
            deadline.check()
            parser.feed(data[at : at + BLOCK])
        return parser.close()
    except RecursionError as error:
        raise SetAside("is nested too deeply", "nested parts of a message") from error


@dataclass
class _Body:
    """What a message says, and what came with it."""

    texts: list[str] = field(default_factory=list)
    attachments: list[Message] = field(default_factory=list)
    enclosed: list[Enclosed] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)  # (name, reason, detail)

    @property
    def text(self) -> str:
        return "\n\n".join(text.strip("\n") for text in self.texts if text.strip())


def _body(parsed: Message, deadline: Deadline) -> _Body:
    """The texts of a message in their order, its attachments, and what in it is under lock."""
    body = _Body()
    waiting = [parsed]
    while waiting:
        deadline.check()
        part = waiting.pop()
        kind = part.get_content_type()
        children = _children(part)
        if kind in _SEALED:
            signed = "signed" in str(part.get_param("smime-type", "")).lower()
            reason = "is signed in a format that is not read" if signed else "is encrypted"
            body.refused.append(("sealed part", reason, _UNLOCK))
        elif kind == "multipart/alternative" and children:
            chosen, others = _preferred(children, deadline)
            waiting += [*reversed(others), *reversed(chosen)]
        elif kind.startswith("multipart/") and children:
            waiting += reversed(children)
        elif kind in ("text/plain", "text/html", "text/enriched") and not _is_file(part):
            text, enclosed = opened(_shown(part, deadline))
            body.texts.append(text)
            body.enclosed += enclosed
        elif kind.startswith("multipart/"):
            if payload(part).strip():
                body.refused.append(
                    (
                        "parts",
                        "is damaged, or not what its file extension says",
                        "its parts cannot be separated",
                    )
                )
        elif kind not in _SIGNATURES:
            body.attachments.append(part)
    return body


def _children(part: Message) -> list[Message]:
    children = part.get_payload()
    return [child for child in children if isinstance(child, Message)] if isinstance(children, list) else []


def _shown(part: Message, deadline: Deadline) -> str:
    """The text of a part, as its reader sees it; some senders call a page plain text."""
    text = _decoded(part).replace("\r\n", "\n")
    if part.get_content_type() == "text/html" or is_page(text):
        return html.extract(from_xhtml(text, deadline) if declares_xml(text) else text, deadline).text
    if part.get_content_type() == "text/enriched":
        return unenriched(text)
    if str(part.get_param("format", "")).lower() == "flowed":
        return unflowed(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
    return text


def _preferred(parts: list[Message], deadline: Deadline) -> tuple[list[Message], list[Message]]:
    """Of several versions of the same, the one to read, and the files that only the others hold.

    Plain text, where it says what the page beside it says. A stub ("your program cannot show this message") does not:
    then the last is read, which senders think the best.
    """
    plain = next((p for p in parts if p.get_content_type() == "text/plain" and payload(p).strip()), None)
    page = next(
        (p for p in reversed(parts) if p.get_content_type() != "text/plain" and _page_of(p) is not None), None
    )
    stub = plain is None or (page is not None and not _says(plain, page, deadline))
    chosen = [(page or parts[-1]) if plain is None or stub else plain]
    files = [leaf for p in parts if p not in chosen for leaf in p.walk() if _is_attached(leaf)]
    return chosen, files


def _page_of(part: Message) -> Message | None:
    return next((p for p in part.walk() if p.get_content_type() == "text/html" and payload(p).strip()), None)


def _says(plain: Message, page: Message, deadline: Deadline) -> bool:
    """Whether a plain text says at least half of what a page says, by its words."""
    try:
        written = [_shown(plain, deadline), _shown(_page_of(page) or page, deadline)]
    except SetAside:
        deadline.check()
        return True
    words = hashes(written)
    middle = int(words.offsets[1])
    said, shown = set(words.hash[:middle].tolist()), set(words.hash[middle:].tolist())
    return 2 * len(said & shown) >= len(shown)


def _is_attached(part: Message) -> bool:
    """Whether a part is a file for the reader, not a picture of the page it came with."""
    if part.is_multipart() or part.get_content_type() in ("text/plain", "text/html", "text/calendar"):
        return part.get_content_disposition() == "attachment" and not part.is_multipart()
    picture = part.get_content_maintype() == "image" and "Content-ID" in part
    return _is_file(part) and not picture


def _is_file(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _decoded(part: Message) -> str:
    ending = "html" if part.get_content_type() != "text/plain" else "txt"
    return decode(payload(part), f"part.{ending}", str(part.get_param("charset", "") or ""))[0]


def _file_name(raw: str, kind: str = "") -> str:
    return printable(named(_words(raw)[:200], kind)).replace("!", "_") or "part"


def _place(item: Input, name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return f"{item.place}!{name}" if taken[name] == 1 else f"{item.place}!{taken[name]}-{name}"


def _attachment(item: Input, part: Message, taken: Counter[str]) -> Items:
    item.budget.member()
    kind = part.get_content_type()
    name = _file_name(part.get_filename() or "", kind)
    location = _place(item, name, taken)
    charset = str(part.get_param("charset", "") or "")
    if not kind.startswith("message/"):
        yield _inside(item, location, name, payload(part), charset)
        return
    inside = _children(
        part
    )  # parsed already, down to its parts; of a report on delivery, one for each address
    try:
        data = b"".join(map(_written, inside[:1] if kind == "message/rfc822" else inside))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        yield Rejected(
            None, location, "read", "is damaged, or not what its file extension says", str(error)[:200]
        )
        return
    yield _inside(item, location, name, data or payload(part), charset)


def _written(message: Message) -> bytes:
    """A message as bytes again; one that was encoded as a whole, which no rule allows, was taken for its own body."""
    body = message.get_payload()
    if message.keys() or not isinstance(body, str):
        return message.as_bytes()
    message["Content-Transfer-Encoding"] = "base64"
    return payload(message)


def _inside(item: Input, location: str, name: str, data: bytes, charset: str = "") -> Input | Rejected:
    try:
        return item.part(location, name, data, deeper(item), charset)
    except SetAside as error:
        return Rejected(None, location, "read", error.reason, error.detail)


def _header(parsed: Message, name: str) -> str:
    """A header as it was sent: asked by its name, one with raw bytes would have lost them."""
    sent = (str(value) for key, value in parsed.raw_items() if key.lower() == name.lower())
    return _words(next(sent, "")[:_LONGEST_HEADER])


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
class _Lines:
    """The lines of a mailbox, of which some may be looked at before they are taken."""

    def __init__(self, item: Input) -> None:
        self._stream = item.stream
        self._ahead: deque[bytes] = deque()

    def take(self) -> bytes:
        return self._ahead.popleft() if self._ahead else self._stream.readline(BLOCK)

    def give_back(self, lines: list[bytes]) -> None:
        self._ahead.extendleft(reversed(lines))

    def at_separator(self) -> bool:
        """Whether a message begins here: a line with a sender and a date, and a header behind it."""
        first, second = self.take(), self.take()
        self.give_back([line for line in (first, second) if line])
        return separator(first.decode("latin-1")) and header_field(second.decode("latin-1").removeprefix(">"))


def _messages(item: Input) -> Iterator[bytes | SetAside]:
    """The messages of a mailbox, one in memory at a time; one past `limits.file_bytes` is passed over."""
    limit = item.limits.file_bytes
    source = _Lines(item)
    while taken := source.take():
        if not (line := taken.lstrip(_BEFORE)):
            continue
        source.give_back([line])
        if not source.at_separator():
            raise SetAside(
                "is damaged, or not what its file extension says", "it does not begin like a mailbox"
            )
        yield from _from_here(source, limit)


def _from_here(source: _Lines, limit: int) -> Iterator[bytes | SetAside]:
    """The messages that follow one another from a separator on."""
    lines: list[bytes] = []
    size, began, header, length = 0, False, False, -1
    blank = True
    while line := source.take():
        if blank and not header and line.startswith(b"From ") and _separates(source, line):
            if began:
                yield _joined(lines, size, limit)
            lines, size, began, header, length = [], 0, True, True, -1
            blank = False
            continue
        size += len(line)
        if size <= limit:
            lines.append(line[1:] if _QUOTED.match(line) else line)
        blank = not line.strip(b"\r\n")
        if header and line.lower().startswith(b"content-length:") and line[15:].strip().isdigit():
            length = int(line[15:].strip())
        elif header and blank:
            header = False
            body = _counted(source, length) if 0 < length <= limit - size else []
            size += sum(map(len, body))
            lines += body
            blank = blank or bool(body)
    if began:
        yield _joined(lines, size, limit)


def _separates(source: _Lines, line: bytes) -> bool:
    source.give_back([line])
    found = source.at_separator()
    source.take()
    return found


def _counted(source: _Lines, length: int) -> list[bytes]:
    """The lines of so many bytes, where a message or the mailbox ends behind them; none where it does not."""
    lines: list[bytes] = []
    while length > 0 and (line := source.take()):
        lines.append(line)
        length -= len(line)
    blanks: list[bytes] = []
    while (line := source.take()) and not line.strip():
        blanks.append(line)
    if line:
        source.give_back([line])
    if length == 0 and (not line or source.at_separator()):
        return [*lines, *blanks]
    source.give_back([*lines, *blanks])
    return []


def _joined(lines: list[bytes], size: int, limit: int) -> bytes | SetAside:
    return b"".join(lines) if size <= limit else SetAside("is larger than limits.file_bytes", f"{size} bytes")
