"""Web archives (WARC 1.0 and 1.1, ISO 28500), and the text extracted from them (.wet): one document a page.

FastWARC would be quicker at finding records, but unpacks them by itself, past the caps on what an archive may cost;
reading records takes some lines, and most of the time goes into the pages anyway.

Responses, resources and conversions hold pages; requests, metadata and the like are about them and are passed by.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from textmill.text.document import Rejected, printable
from textmill.text.sources.formats.facts import iso_date
from textmill.text.sources.formats.media_types import named
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, deeper

_HEADERS = 1 << 16  # bytes of the headers of a record or of a page
_PAGES = ("response", "resource", "conversion")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([-\w.:]+)", re.IGNORECASE)
_NO_PAGES = ("text/dns",)


def records(item: Input, fields: Fields) -> Iterator[Input | Rejected]:
    """The pages of a web archive, each as a file of its own at `place:record N`."""
    number = 0
    while headers := _record(item, number):
        number += 1
        location = f"{item.place}:record {number}"
        kind = headers.get("warc-type", "")
        length = int(headers["content-length"]) if headers.get("content-length", "").isdecimal() else -1
        if length < 0:
            raise SetAside("is damaged; the rest is not read", f"record {number} does not say its length")
        item.budget.member()
        if kind == "revisit":
            _pass(item, length)
            yield Rejected(
                None, location, "read", "is a revisit record of a page seen before", _address(headers)
            )
        elif kind not in _PAGES or headers.get("content-type") in _NO_PAGES:
            _pass(item, length)
        elif length > item.limits.file_bytes:
            _pass(item, length)
            yield Rejected(None, location, "read", "is larger than limits.file_bytes", f"{length} bytes")
        else:
            yield _read(item, location, headers, length)


def _read(item: Input, location: str, headers: Mapping[str, str], length: int) -> Input | Rejected:
    try:
        data = item.stream.read(length)
        if len(data) < length:
            raise SetAside("ends before its end", f"{len(data)} of {length} bytes")
        return _page(item, location, headers, data)
    except SetAside as error:
        return Rejected(None, location, "read", error.reason, error.detail)


def _page(item: Input, location: str, headers: Mapping[str, str], data: bytes) -> Input:
    """What a record holds. Raises SetAside where it is not a page."""
    content_type = headers.get("content-type", "")
    if content_type.startswith("application/http"):
        answer, data = _parts(data)
        status = answer.get("", "").split()[1:2]
        if status != ["200"]:
            raise SetAside("is not a page", f"HTTP status {status[0][:10] if status else 'missing'}")
        content_type = answer.get("content-type", "")
        data = _unpacked(item, answer, data)
    address = _address(headers)
    media_type = content_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(content_type)
    try:
        path = urlsplit(address).path
    except ValueError:
        path = ""
    known = {"url": address, "fetched": iso_date(headers.get("warc-date", ""))}
    return item.part(
        location,
        named(path, media_type or "text/html"),
        data,
        deeper(item),
        charset[1] if charset else "",
        **{name: value for name, value in known.items() if value},
    )


def _address(headers: Mapping[str, str]) -> str:
    return printable(headers.get("warc-target-uri", "").strip("<>")[:2000])


def _record(item: Input, number: int) -> dict[str, str]:
    """The headers of the next record, names in small letters; none at the end."""
    while (line := item.stream.readline(_HEADERS)) in (b"\r\n", b"\n"):
        pass
    if not line:
        return {}
    if not line.startswith(b"WARC/"):
        raise SetAside("is damaged; the rest is not read", f"what follows record {number} is not a record")
    lines, size = [], 0
    while (line := item.stream.readline(_HEADERS)).strip():
        size += len(line)
        if size > _HEADERS:
            raise SetAside("is damaged; the rest is not read", f"headers of more than {_HEADERS} bytes")
        lines.append(line)
    return {"": "", **_fields(b"".join(lines))}


def _fields(data: bytes) -> dict[str, str]:
    headers = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers


def _pass(item: Input, length: int) -> None:
    while length > 0 and (block := item.stream.read(min(BLOCK, length))):
        length -= len(block)


# --- HTTP as it was answered (RFC 9112) ---------------------------------------------------------------------------
def _parts(data: bytes) -> tuple[dict[str, str], bytes]:
    """The headers of an answer, with its status line under no name, and its body."""
    end = re.search(rb"\r?\n\r?\n", data[: _HEADERS * 2])
    head, body = (data[: end.start()], data[end.end() :]) if end else (data[:_HEADERS], b"")
    status, _, rest = head.partition(b"\n")
    return {**_fields(rest), "": status.decode("ascii", "replace")}, body


def _unpacked(item: Input, answer: Mapping[str, str], data: bytes) -> bytes:
    """The body without its transfer and content codings, which some archives keep."""
    if "chunked" in answer.get("transfer-encoding", "").lower():
        data = _without_chunks(data)
    coding = answer.get("content-encoding", "").lower()
    if coding in ("", "identity"):
        return data
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise SetAside("is compressed in a way that is not read", coding[:50])
    # Archives that unpacked the body may still say how it was packed.
    looks_packed = data[:2] == b"\x1f\x8b" or (coding == "deflate" and data[:1] == b"\x78")
    return _inflated(item, data) if looks_packed else data


def _without_chunks(data: bytes) -> bytes:
    pieces, at = [], 0
    while match := re.compile(rb"\s*([0-9a-fA-F]{1,8})[^\r\n]{0,100}\r?\n").match(data, at):
        size = int(match[1], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(data[match.end() : match.end() + size])
        at = match.end() + size
    return b"".join(pieces) if pieces else data  # the archive has already put them together


def _inflated(item: Input, data: bytes) -> bytes:
    unpack = zlib.decompressobj(wbits=47)  # gzip or zlib, by its header
    pieces, size = [], 0
    while data and not unpack.eof:
        piece = unpack.decompress(data, BLOCK)
        data = unpack.unconsumed_tail
        size += len(piece)
        item.budget.charge(len(piece))
        if size > item.limits.file_bytes:
            raise SetAside("is larger than limits.file_bytes", f"{item.limits.file_bytes} bytes")
        pieces.append(piece)
    return b"".join(pieces)
