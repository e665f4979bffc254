"""A reader of web pages with manners: asks robots.txt first, waits its turn at each host, follows few redirects."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

from textmill.specs.corpus import WebSource
from textmill.text.sources.formats import charset
from textmill.text.sources.formats.stream import SetAside
from textmill.text.sources.web import fetch, robots
from textmill.text.sources.web.fetch import Answer, Head, Unreachable

REDIRECTS = 5
_TRIES = 3  # at an address that asks to come back later
_LONGEST_DELAY = 300.0  # seconds; a site that asks for more between two pages is not read
_GIVEN_UP = 3  # addresses of a host without an answer, one after the other
_LATER = frozenset({429, 500, 502, 503, 504})
_GONE = frozenset({404, 410})


@dataclass(frozen=True)
class Page:
    """What an address holds; `head.url` is where the redirects ended."""

    url: str
    head: Head
    body: bytes


class Visitor:
    """Visits addresses one after the other. The clock, the pause and the resolver may be replaced by tests."""

    def __init__(
        self,
        source: WebSource,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        resolver: fetch.Resolver = fetch.resolve,
    ) -> None:
        self._private, self._between = source.private_addresses, source.seconds_between
        self._clock, self._sleep, self._resolver = clock, sleep, resolver
        self._robots: dict[str, robots.Robots] = {}
        self._next: dict[str, float] = {}  # host -> the earliest moment of its next request
        self._silent: dict[str, int] = {}  # host -> addresses in a row it did not answer

    def visit(self, url: str, types: frozenset[str], most: int, *, unnamed: bool = False) -> Page:
        """The page at a normalised address.

        types: content types that are taken; `unnamed` also takes bytes the server has no name for. most: bytes.
        Raises SetAside for what a rule forbids or the site does not have, Unreachable where the network fails.
        """
        allowed = types | {"application/octet-stream", ""} if unnamed else types
        host = fetch.host_of(url)
        if self._silent.get(host, 0) >= _GIVEN_UP:
            raise Unreachable("could not be fetched", f"{host} did not answer {_GIVEN_UP} times in a row")
        try:
            page = self._follow(url, allowed, most)
        except Unreachable:
            self._silent[host] = self._silent.get(host, 0) + 1
            raise
        except SetAside:
            self._silent[host] = 0
            raise
        self._silent[host] = 0
        return page

    def _follow(self, url: str, types: frozenset[str], most: int) -> Page:
        here, tries, hops = url, 0, 0
        while True:
            self._ask_robots(here)
            with self._request(here) as answer:
                head = answer.head
                if not head.redirects and head.status not in _LATER:
                    return Page(url, head, _body(answer, types, most))
            if head.redirects:
                hops += 1
                if hops > REDIRECTS:
                    raise SetAside("is redirected too often", f"more than {REDIRECTS} times")
                here = _target(here, head.location)
                continue
            tries += 1
            if tries >= _TRIES:
                raise Unreachable("could not be fetched", f"status {head.status}, {tries} times")
            self._back_off(here, head, tries)

    def _ask_robots(self, url: str) -> None:
        """Raises SetAside when the site does not want this address read."""
        origin = fetch.origin(url)
        if origin not in self._robots:
            self._robots[origin] = self._fetch_robots(origin)
        rules = self._robots[origin]
        if not rules.allows(url):
            raise SetAside("is disallowed by robots.txt", f"{origin}/robots.txt")
        if rules.delay > _LONGEST_DELAY:
            raise SetAside(
                "asks for too long a pause between requests",
                f"{rules.delay:.0f} seconds, by {origin}/robots.txt",
            )

    def _fetch_robots(self, origin: str) -> robots.Robots:
        """RFC 9309 §2.3.1: refused or missing, all is open; out of order, all is closed, for now."""
        here = f"{origin}/robots.txt"
        for _ in range(REDIRECTS + 1):
            with self._request(here) as answer:
                if answer.head.redirects:
                    here = _target(here, answer.head.location)
                    continue
                if answer.head.status >= 500 or answer.head.status == 429:
                    raise Unreachable("could not be fetched", f"{here} answers {answer.head.status}")
                if answer.head.status != 200:
                    return robots.EVERYTHING
                return robots.parse(_first(answer, robots.MOST_BYTES).decode("utf-8", "replace"), fetch.AGENT)
        return robots.EVERYTHING

    def _request(self, url: str):
        """The request, once it is this host's turn."""
        host = fetch.host_of(url)
        if (pause := self._next.get(host, 0.0) - self._clock()) > 0:
            self._sleep(pause)
        rules = self._robots.get(fetch.origin(url), robots.EVERYTHING)
        self._next[host] = self._clock() + max(self._between, rules.delay)
        return fetch.request(url, private=self._private, resolver=self._resolver)

    def _back_off(self, url: str, head: Head, tries: int) -> None:
        delay = float(head.retry_after) if head.retry_after.isascii() and head.retry_after.isdigit() else 0.0
        if delay > _LONGEST_DELAY:
            raise Unreachable(
                "could not be fetched", f"status {head.status}, come back in {delay:.0f} seconds"
            )
        host = fetch.host_of(url)
        self._next[host] = max(self._next.get(host, 0.0), self._clock() + max(delay, 2.0**tries))


def _target(here: str, location: str) -> str:
    try:
        return fetch.normalise(urljoin(here, location))
    except ValueError as error:
        raise SetAside("is not a usable address", str(error)[:100]) from error


def _first(answer: Answer, most: int) -> bytes:
    """The beginning of a body, at least `most` bytes where there are as many."""
    data = bytearray()
    for block in answer.blocks(1 << 30):
        data += block
        if len(data) >= most:
            break
    return bytes(data[:most])


def _body(answer: Answer, types: frozenset[str], most: int) -> bytes:
    head = answer.head
    if head.status in _GONE:
        raise SetAside("is not found", f"status {head.status}")
    if head.status != 200:
        raise SetAside("is refused by the site", f"status {head.status}")
    if head.content_type not in types:
        raise SetAside(
            "has a content type that content_types does not list", head.content_type or "none given"
        )
    return _as_utf8(b"".join(answer.blocks(most)), head)


def _as_utf8(body: bytes, head: Head) -> bytes:
    """Text whose encoding only the server names, as UTF-8 with its mark, which outranks what a page says of itself.

    (WHATWG HTML §13.2.3.2: mark, then header, then the page.) Anything else stays as it came.
    """
    text = head.content_type.startswith("text/") or head.content_type.endswith(("xml", "json"))
    if not text or not head.charset or body.isascii():
        return body
    # A server's latin-1 is a habit more than a statement, and UTF-8 is told by itself.
    name = charset.named(head.charset)
    if name in ("", "utf-8", "cp1252"):
        return body
    try:
        return codecs.BOM_UTF8 + charset.decoded(body, name).removeprefix("\ufeff").encode("utf-8")
    except UnicodeError:
        return body
