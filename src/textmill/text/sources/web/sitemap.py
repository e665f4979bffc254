"""Sitemaps (sitemaps.org 0.9): the pages a site lists, as XML, as an index of other sitemaps, or as plain lines."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat

from textmill.text.sources.formats.stream import SetAside

MOST_BYTES = 50 << 20  # unpacked; the protocol's own cap
MOST_PAGES = 50_000  # in one file; the protocol's own cap
_BLOCK = 1 << 16
_LONGEST = 2048  # characters of an address, by the protocol


@dataclass(frozen=True)
class Listed:
    """What one sitemap names."""

    pages: tuple[str, ...]
    sitemaps: tuple[str, ...]


def parse(data: bytes) -> Listed:
    """The addresses in a sitemap, packed by gzip or not, in their order.

    Raises SetAside for what is no sitemap, is larger than the protocol allows, or declares entities.
    """
    text = _unpacked(data)
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
        return _lines(text)
    return _Reader().read(text)


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        if len(data) > MOST_BYTES:
            raise SetAside("is larger than a sitemap may be", f"{MOST_BYTES} bytes")
        return data
    unpack = zlib.decompressobj(31)
    try:
        text = unpack.decompress(data, MOST_BYTES + 1)
    except zlib.error as error:
        raise SetAside("is damaged, or not what its file extension says", str(error)) from error
    if len(text) > MOST_BYTES:
        raise SetAside("is larger than a sitemap may be", f"{MOST_BYTES} bytes")
    if not unpack.eof:
        raise SetAside("is damaged, or not what its file extension says", "it ends before its end")
    return text


def _lines(text: bytes) -> Listed:
    try:
        lines = [line.strip() for line in text.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise SetAside("is not a sitemap", str(error)) from error
    pages = [line for line in lines if line]
    if any(not page.startswith(("http://", "https://")) for page in pages):
        raise SetAside("is not a sitemap", "neither XML nor one address per line")
    return Listed(tuple(_capped(pages)), ())


def _capped(addresses: list[str]) -> list[str]:
    if len(addresses) > MOST_PAGES:
        raise SetAside("lists more than a sitemap may", f"{MOST_PAGES} addresses")
    return addresses


class _Reader:
    """The `loc` of every `url` and `sitemap` element. A document type is refused: entities live there."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text: list[str] = []
        self._found: dict[str, list[str]] = {"url": [], "sitemap": []}

    def read(self, text: bytes) -> Listed:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            for block in _blocks(text):
                parser.Parse(block, False)
            parser.Parse(b"", True)
        except (
            expat.ExpatError,
            ValueError,
            LookupError,
        ) as error:  # ValueError: an encoding it does not know
            raise SetAside("is not a sitemap", str(error)) from error
        return Listed(tuple(_capped(self._found["url"])), tuple(_capped(self._found["sitemap"])))

    def _doctype(self, *_: object) -> None:
        raise SetAside(
            "declares a document type, which no sitemap needs", "its entities could expand without limit"
        )

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._path.append(name.rpartition(" ")[2].lower())
        if len(self._path) == 1 and self._path[0] not in ("urlset", "sitemapindex"):
            raise SetAside("is not a sitemap", f"its root is {name[:40]}")
        if len(self._path) > 32:
            raise SetAside("is not a sitemap", "elements are nested too deeply")
        self._text = []

    def _characters(self, data: str) -> None:
        if self._path[-1] == "loc" and sum(map(len, self._text)) <= _LONGEST:
            self._text.append(data)

    def _end(self, _: str) -> None:
        self._path.pop()
        address = "".join(self._text).strip()
        self._text = []
        if address and len(address) <= _LONGEST and self._path and len(self._path) == 2:
            self._found.get(self._path[-1], []).append(address)


def _blocks(text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text), _BLOCK):
        yield text[start : start + _BLOCK]
