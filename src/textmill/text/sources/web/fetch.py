"""One careful HTTP request: to the address that was checked, within its limits of size, time and type.

The address a name resolves to is checked, and the connection goes to that very address, so a name that changes
its answer between the check and the connection gains nothing. Proxies of the environment are not asked, no
cookie is kept, no credential is sent. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from textmill.text.sources.formats.stream import SetAside

AGENT = "textmill"
TIMEOUT = 30.0  # seconds a connection may stay silent
LONGEST = 600.0  # seconds one body may take: a server that drips bytes is left
BLOCK = 1 << 16
_LONGEST_URL = 4096
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Unreachable(SetAside):
    """The other side did not answer, or asked to be left alone for now: another time may go better."""


@dataclass(frozen=True)
class Head:
    """What a server says before the body."""

    url: str
    status: int
    content_type: str  # lower case, without parameters
    charset: str
    location: str  # where a redirect leads, made absolute by whoever follows it
    etag: str
    modified: str
    retry_after: str

    @property
    def redirects(self) -> bool:
        return self.status in _REDIRECTS and bool(self.location)


@dataclass(frozen=True)
class Answer:
    """A head and the body still to be read."""

    head: Head
    blocks: Callable[[int], Iterator[bytes]]  # (most bytes) -> blocks; raises SetAside past them


def normalise(url: str) -> str:
    """The one spelling of an address: host lower case and in ASCII, everything escaped, no fragment.

    Raises SetAside for what is no plain http or https address, or holds credentials.
    """
    if len(url) > _LONGEST_URL or not url.isprintable() or " " in url.strip():
        raise SetAside("is not a usable address", "it is too long, or has spaces or control characters")
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
        if parts.scheme not in _PORTS:
            raise SetAside("is neither http nor https", parts.scheme[:20])
        if parts.username is not None or parts.password is not None:
            raise SetAside("holds a user name or password", "they would end up in the corpus")
        if not host or "%" in host or "\\" in parts.netloc:
            raise SetAside("is not a usable address", "it names no host")
        host = host if ":" in host else host.rstrip(".").encode("idna").decode("ascii").lower()
    except ValueError as error:  # UnicodeError too: labels that are too long or empty
        raise SetAside("is not a usable address", str(error)[:100]) from error
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        netloc = f"{netloc}:{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def origin(url: str) -> str:
    """Scheme, host and port: what one robots.txt speaks for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def host_of(url: str) -> str:
    """The host alone, lower case."""
    return urlsplit(url).hostname or ""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, and not to this machine or a private network.

    An IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) is judged by itself too.
    """
    ip = ipaddress.ip_address(address)
    inner: list[ipaddress.IPv4Address | None] = []
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.is_site_local:
            return False
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ()), nat64]
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
    outside = ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
    return outside and all(is_public(str(item)) for item in inner if item is not None)


def resolve(host: str, port: int, private: bool) -> list[str]:
    """The addresses of a host. Raises SetAside when one is not public, unless `private` allows it."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable("could not be fetched", f"{host}: {error}") from error
    addresses = list(dict.fromkeys(str(item[4][0]) for item in answers))
    if not private and (refused := [address for address in addresses if not is_public(address)]):
        raise SetAside("leads to a private address", f"{host} is {refused[0]}; private_addresses allows it")
    return addresses


Resolver = Callable[[str, int, bool], list[str]]


class _Plain(http.client.HTTPConnection):
    """A connection to addresses that are already known."""

    def __init__(self, host: str, port: int, addresses: list[str]) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        self._addresses = addresses

    def connect(self) -> None:
        problem: OSError | None = None
        for address in self._addresses:
            try:
                self.sock = socket.create_connection((address, self.port), TIMEOUT)
                return
            except OSError as error:
                problem = error
        raise problem or OSError("has no address")


class _Secure(_Plain):
    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


@contextlib.contextmanager
def request(url: str, *, private: bool, resolver: Resolver = resolve) -> Iterator[Answer]:
    """Ask for a normalised address, following nothing.

    private: whether addresses of this machine and private networks are allowed. Raises Unreachable where the
    network fails, also while the body is read, and SetAside where a rule forbids.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    addresses = resolver(host, port, private)
    connection = (_Secure if parts.scheme == "https" else _Plain)(host, port, addresses)
    target = urlunsplit(("", "", parts.path, parts.query, ""))
    headers = {
        "Host": parts.netloc,
        "User-Agent": AGENT,
        "Accept-Encoding": "gzip, identity",
        "Connection": "close",
    }
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        yield Answer(_head(url, response), lambda most: _blocks(response, most))
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("could not be fetched", f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        connection.close()


def _head(url: str, response: http.client.HTTPResponse) -> Head:
    message = response.headers

    def value(name: str) -> str:
        return "".join(c for c in str(message.get(name, "")) if c.isprintable())[:_LONGEST_URL]

    return Head(
        url,
        response.status,
        message.get_content_type().lower() if message.get("Content-Type") else "",
        (message.get_content_charset() or "").lower(),
        value("Location"),
        value("ETag"),
        value("Last-Modified"),
        value("Retry-After"),
    )


def _received(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("could not be fetched", f"{type(error).__name__}: {error}"[:200]) from error


def _unpacked(unpack: zlib._Decompress, data: bytes) -> bytes:
    try:
        return unpack.decompress(data, BLOCK)
    except zlib.error as error:
        raise Unreachable("could not be fetched", f"its compression is damaged: {error}") from error


def _blocks(response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """The body, unpacked where the server packed it for the way; never more than `most` bytes."""
    coding = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise SetAside("has a content encoding that was not asked for", coding[:20])
    too_large = SetAside("is larger than file_bytes", f"{most} bytes")
    declared = response.headers.get("Content-Length") or ""
    if declared.isdigit() and int(declared[:19]) > most:
        raise too_large
    unpack = zlib.decompressobj(31) if coding.endswith("gzip") else None
    began, total = time.monotonic(), 0
    while data := _received(response):
        while data:
            block = _unpacked(unpack, data) if unpack else data
            data = unpack.unconsumed_tail if unpack else b""
            total += len(block)
            if total > most:
                raise too_large
            yield block
        if time.monotonic() - began > LONGEST:
            raise Unreachable("could not be fetched", f"the body took more than {LONGEST:.0f} seconds")
    if response.length or (unpack is not None and not unpack.eof):
        raise Unreachable("could not be fetched", "the body ends before its end")
