"""Outlook: messages kept by themselves (.msg, [MS-OXMSG]) and what its senders wrap attachments in (TNEF, [MS-OXTNEF]).

Both hold properties of MAPI under the same numbers. They are written out as an ordinary message (RFC 5322), so that
what is true of mail holds here as well: which version is read, how attachments are named, what is inside them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from typing import Any

from textmill.text.document import Rejected
from textmill.text.sources.formats.office import rtf
from textmill.text.sources.formats.stream import LAYERS, Deadline, Fields, Input, SetAside, read_whole

TNEF = b"\x78\x9f\x3e\x22"
# Numbers of properties, [MS-OXPROPS] §2.
_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER, _ADDRESS, _SMTP, _SENT, _RECEIVED = 0x0C1A, 0x0C1F, 0x5D01, 0x0039, 0x0E06
_CODE_PAGE, _OTHER_CODE_PAGE = 0x3FDE, 0x3FFD
_DATA, _LONG_NAME, _NAME, _SHOWN_NAME, _MEDIA_TYPE = 0x3701, 0x3707, 0x3704, 0x3001, 0x370E
# Their types, [MS-OXCDATA] §2.11.1.
_WHOLE_NUMBER, _TIME, _BYTE_TEXT, _TEXT, _BYTES, _OBJECT = 0x0003, 0x0040, 0x001E, 0x001F, 0x0102, 0x000D
_SIZES = {0x0002: 2, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, 0x000B: 2, 0x0014: 8}
_SIZES |= {0x0040: 8, 0x0048: 16, 0x0001: 0}
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Message:
    """The properties of a message, by number: text, bytes, numbers; and its attachments."""

    properties: dict[int, Any] = field(default_factory=dict)
    attachments: list[_Message] = field(default_factory=list)
    inside: _Message | None = None  # of an attachment that is a message

    def code_page(self) -> str:
        number = self.properties.get(_CODE_PAGE) or self.properties.get(_OTHER_CODE_PAGE)
        return rtf.code_page(number) if isinstance(number, int) else ""

    def text(self, number: int) -> str:
        """A property as text, in the code page of the message where it is bytes."""
        value = self.properties.get(number, "")
        if isinstance(value, bytes):
            value = value.decode(self.code_page() or "cp1252", "replace")
        return value.replace("\0", "") if isinstance(value, str) else ""


def messages(item: Input, fields: Fields) -> Iterator[Input | Rejected]:
    """The message of a .msg file, as one of mail. Raises SetAside without the library that unpacks it."""
    try:
        import olefile
    except ImportError as error:
        raise SetAside(
            "needs the extra `office`", "pip install 'textmill[office]', or save it as .eml"
        ) from error
    data = read_whole(item)
    with olefile.OleFileIO(io.BytesIO(data)) as file:
        message = _stored(file, [], 0, Deadline(item.limits))
    yield _as_mail(item, message)


def wrapped(item: Input, fields: Fields) -> Iterator[Input | Rejected]:
    """The message in a winmail.dat, as one of mail."""
    data = read_whole(item)
    if not data.startswith(TNEF):
        raise SetAside(
            "is damaged, or not what its file extension says", "it does not begin like a TNEF file"
        )
    yield _as_mail(item, _unwrapped(data, 0, Deadline(item.limits)))


# --- as a message of mail -----------------------------------------------------------------------------------------
def _as_mail(item: Input, message: _Message) -> Input:
    data = _mail(message, Deadline(item.limits)).as_bytes()
    return item.part(item.place, "message.eml", data, item.layers)


def _mail(message: _Message, deadline: Deadline) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = _line(message.text(_SUBJECT))
    sender, address = _line(message.text(_SENDER)), _line(message.text(_SMTP) or message.text(_ADDRESS))
    if sender or address:
        mail["From"] = formataddr((sender, address if address.isascii() and "@" in address else ""), "utf-8")
    when = message.properties.get(_SENT) or message.properties.get(_RECEIVED)
    if isinstance(when, datetime):
        mail["Date"] = format_datetime(when)
    body, page = message.text(_BODY), message.text(_HTML)
    if not body.strip() and not page.strip() and isinstance(packed := message.properties.get(_RTF), bytes):
        body = rtf.text_of(unpacked(packed), deadline)
    if body.strip() or not page.strip():
        mail.set_content(body)
        if page.strip():
            mail.add_alternative(page, subtype="html")
    else:
        mail.set_content(page, subtype="html")
    for each in message.attachments:
        deadline.check()
        name = _line(each.text(_LONG_NAME) or each.text(_NAME) or each.text(_SHOWN_NAME)) or "attachment"
        data = each.properties.get(_DATA)
        if each.inside is not None:
            mail.add_attachment(_mail(each.inside, deadline), filename=name)
        elif isinstance(data, bytes):
            kind, _, subtype = (each.text(_MEDIA_TYPE) or "application/octet-stream").partition("/")
            known = (
                kind.isascii()
                and kind.isalpha()
                and kind not in ("multipart", "message")
                and subtype.isascii()
            )
            kind, subtype = (kind, subtype) if known and subtype else ("application", "octet-stream")
            mail.add_attachment(data, maintype=kind, subtype=_line(subtype), filename=name)
    return mail


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:1000]


# --- .msg: every property is a stream of a compound file ----------------------------------------------------------
def _stored(file: Any, path: list[str], depth: int, deadline: Deadline) -> _Message:
    message = _Message()
    attachments: dict[str, list[str]] = {}
    for entry in file.listdir(streams=True, storages=True):
        deadline.check()
        if entry[: len(path)] != path or len(entry) == len(path):
            continue
        name = entry[len(path)]
        if name.startswith("__attach_version1.0_"):
            attachments[name] = [*path, name]
        elif len(entry) == len(path) + 1 and name.startswith("__substg1.0_"):
            number, kind = _tag(name)
            if kind in (_BYTE_TEXT, _TEXT, _BYTES):
                message.properties[number] = _value(kind, file.openstream(entry).read())
        elif len(entry) == len(path) + 1 and name == "__properties_version1.0":
            header = 32 if not path else 8 if path[-1].startswith("__attach") else 24
            message.properties |= _fixed(file.openstream(entry).read()[header:])
    if depth < LAYERS:
        for _, below in sorted(attachments.items()):
            attached = _stored(file, below, depth + 1, deadline)
            inner = [*below, f"__substg1.0_{_DATA:04X}{_OBJECT:04X}"]
            if file.exists([*inner, "__properties_version1.0"]):
                attached.inside = _stored(file, inner, depth + 1, deadline)
            elif file.exists(inner) and file.get_type(inner) == 1:
                attached.properties[_DATA] = b""
            message.attachments.append(attached)
    return message


def _tag(name: str) -> tuple[int, int]:
    try:
        return int(name[12:16], 16), int(name[16:20], 16)
    except ValueError:
        return 0, 0


def _fixed(data: bytes) -> dict[int, Any]:
    """The properties that fit in eight bytes ([MS-OXMSG] §2.4.2.1)."""
    found: dict[int, Any] = {}
    for at in range(0, len(data) - 15, 16):
        kind, number = struct.unpack_from("<HH", data, at)
        if kind in (_WHOLE_NUMBER, _TIME):
            found[number] = _value(kind, data[at + 8 : at + 16])
    return found


def _value(kind: int, data: bytes) -> Any:
    if kind == _WHOLE_NUMBER:
        return struct.unpack_from("<i", data)[0]
    if kind == _TIME:
        ticks = struct.unpack_from("<Q", data)[0]
        return _EPOCH + timedelta(microseconds=ticks // 10) if 0 < ticks < 1 << 61 else None
    return data.decode("utf-16-le", "replace") if kind == _TEXT else data


# --- TNEF: attributes one after another, some of which hold properties --------------------------------------------
_PROPERTIES, _ATTACHED_PROPERTIES = 0x9003, 0x9005
_NEW_ATTACHMENT, _ATTACHED_DATA, _ATTACHED_NAME = 0x9002, 0x800F, 0x8010
_OLD_SUBJECT, _OLD_BODY, _OLD_CODE_PAGE = 0x8004, 0x800C, 0x9007


def _unwrapped(data: bytes, depth: int, deadline: Deadline) -> _Message:
    message = _Message()
    at = 6
    while at + 9 <= len(data):
        deadline.check()
        number, size = struct.unpack_from("<HxxI", data, at + 1)
        value = data[at + 9 : at + 9 + size]
        at += 11 + size
        last = message.attachments[-1] if message.attachments else _Message()
        if number == _NEW_ATTACHMENT:
            message.attachments.append(_Message())
        elif number == _ATTACHED_DATA:
            last.properties.setdefault(_DATA, value)
        elif number == _ATTACHED_NAME:
            last.properties.setdefault(_NAME, value)
        elif number == _ATTACHED_PROPERTIES:
            last.properties |= _listed(value, deadline)
            inside = last.properties.get(_DATA)
            if (
                isinstance(inside, bytes) and inside[16:20] == TNEF and depth < LAYERS
            ):  # after the id of its kind
                last.inside = _unwrapped(inside[16:], depth + 1, deadline)
        elif number == _PROPERTIES:
            message.properties |= _listed(value, deadline)
        elif number == _OLD_SUBJECT:
            message.properties.setdefault(_SUBJECT, value)
        elif number == _OLD_BODY:
            message.properties.setdefault(_BODY, value)
        elif number == _OLD_CODE_PAGE and len(value) >= 4:
            message.properties.setdefault(_OTHER_CODE_PAGE, struct.unpack_from("<i", value)[0])
    return message


def _listed(data: bytes, deadline: Deadline) -> dict[int, Any]:
    """A list of properties ([MS-OXTNEF] §2.1.3.4); what is cut off at its end is left out."""
    found: dict[int, Any] = {}
    at = 4
    try:
        for _ in range(struct.unpack_from("<I", data)[0]):
            deadline.check()
            kind, number = struct.unpack_from("<HH", data, at)
            at += 4
            if number >= 0x8000:  # it has a name instead of a number of its own
                named_by_text = struct.unpack_from("<I", data, at + 16)[0]
                size = struct.unpack_from("<I", data, at + 20)[0] if named_by_text else 0
                at += 24 + _padded(size)
            several, kind = kind & 0x1000, kind & ~0x1000
            variable = kind in (_BYTE_TEXT, _TEXT, _BYTES, _OBJECT)
            count = 1
            if variable or several:
                count = struct.unpack_from("<I", data, at)[0]
                at += 4
            for _ in range(min(count, len(data))):
                size = struct.unpack_from("<I", data, at)[0] if variable else _SIZES[kind]
                at += 4 if variable else 0
                value = data[at : at + size]
                at += _padded(size)
                if not several and (variable or kind in (_WHOLE_NUMBER, _TIME)):
                    found[number] = _value(kind, value)
    except (struct.error, KeyError):
        return found
    return found


def _padded(size: int) -> int:
    return size + -size % 4


# --- RTF as messages keep it --------------------------------------------------------------------------------------
_WINDOW = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor "
    rb"MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
_COMPRESSED, _STORED = b"LZFu", b"MELA"
_WINDOW_SIZE, _MOST_UNPACKED = 4096, 1 << 28


def unpacked(data: bytes) -> bytes:
    """RTF out of its compression ([MS-OXRTFCP]). Raises SetAside for what is none."""
    kind = data[8:12]
    if kind == _STORED:
        return data[16:]
    if kind != _COMPRESSED:
        raise SetAside(
            "is damaged, or not what its file extension says", "its text is in an unknown compression"
        )
    out = bytearray(_WINDOW)
    start, at = len(out), 16
    while at < len(data) and len(out) < _MOST_UNPACKED:
        flags = data[at]
        at += 1
        for bit in range(8):
            if not flags >> bit & 1:
                out += data[at : at + 1]
                at += 1
                continue
            pair = data[at : at + 2]
            at += 2
            if len(pair) < 2:
                break
            place, size = (pair[0] << 4) | (pair[1] >> 4), (pair[1] & 15) + 2
            back = (len(out) - place) % _WINDOW_SIZE
            if not back:
                return bytes(out[start:])
            for _ in range(size):
                out.append(out[-back] if back <= len(out) else 0x20)
    return bytes(out[start:])
