"""The web source, against a small site on this machine: manners, limits, refusals, and what a kill leaves."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from textmill.specs.corpus import LimitSpec, WebSource
from textmill.text.document import Document, Rejected
from textmill.text.sources import table
from textmill.text.sources.formats.stream import SetAside
from textmill.text.sources.web import fetch
from textmill.text.sources.web import source as web
from textmill.text.sources.web.visitor import Visitor

PROSE = "The mill turns water into flour. " * 20


class Site(http.server.ThreadingHTTPServer):
    """Pages by path: (status, headers, body) or a function of how often it was asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked, self.agents = {}, Counter(), set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def put(self, path, body, content_type="text/plain", status=200, **headers):
        body = body.encode() if isinstance(body, str) else body
        self.pages[path] = (status, {"Content-Type": content_type, **headers}, body)

    def redirect(self, path, target):
        self.pages[path] = (302, {"Location": target}, b"")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked[self.path] += 1
        self.server.agents.add(self.headers["User-Agent"])
        answer = self.server.pages.get(self.path, (404, {}, b"no"))
        if callable(answer):
            answer = answer(self.server.asked[self.path])
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = Site()
    yield server
    server.shutdown()
    server.server_close()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def source(*urls, **more):
    return WebSource(**{"urls": urls, "seconds_between": 0.0, "private_addresses": True} | more)


def walk(spec, base, **more):
    clock = Clock()
    return list(web.files(spec, base, Visitor(spec, clock=clock, sleep=clock.sleep, **more)))


def reasons(items):
    return [item.reason for item in items if isinstance(item, Rejected)]


def names(items, site):
    return [item[1].removeprefix(site.url) for item in items if not isinstance(item, Rejected)]


def test_pages_become_documents_and_are_never_fetched_again(site, tmp_path):
    site.put("/a.txt", PROSE)
    site.put("/data", json.dumps([{"text": "one"}, {"text": "two"}]), "application/json", ETag='"v1"')
    spec = source(f"{site.url}/a.txt", f"{site.url}/data#part", f"{site.url}/a.txt")
    first = list(table.read_documents(spec, LimitSpec(), tmp_path))
    assert [item.source for item in first] == [
        f"{site.url}/a.txt",
        f"{site.url}/data:item 1",
        f"{site.url}/data:item 2",
    ]
    assert [item.text for item in first] == [PROSE, "one", "two"]
    assert site.agents == {"textmill"}
    marks = table.fingerprint(spec, tmp_path)
    site.shutdown()
    site.server_close()
    assert list(table.read_documents(spec, LimitSpec(), tmp_path)) == first
    assert table.fingerprint(spec, tmp_path) == marks
    assert site.asked["/a.txt"] == site.asked["/data"] == site.asked["/robots.txt"] == 1
    lines = [json.loads(line) for line in (tmp_path / "web/manifest.jsonl").read_text().splitlines()]
    assert [line["etag"] for line in lines] == ["", '"v1"']
    assert set(lines[0]) >= {"url", "file", "sha256", "bytes", "content_type", "fetched"}


def test_robots_are_asked_and_obeyed(site, tmp_path):
    site.put("/robots.txt", "User-agent: *\nDisallow: /\n\nUser-agent: textmill\nDisallow: /private/*.txt$\n")
    for path in ("/a.txt", "/private/b.txt", "/private/b.txt?x"):
        site.put(path, PROSE)
    site.redirect("/in", "/private/b.txt")
    items = walk(
        source(*(site.url + p for p in ("/a.txt", "/private/b.txt", "/private/b.txt?x", "/in"))), tmp_path
    )
    assert names(items, site) == ["/a.txt", "/private/b.txt?x"]
    assert reasons(items) == ["is disallowed by robots.txt"] * 2
    assert not site.asked["/private/b.txt"]


def test_a_site_whose_robots_are_out_of_order_is_left_alone_for_now(site, tmp_path):
    site.put("/robots.txt", "oops", status=503)
    site.put("/a.txt", PROSE)
    assert reasons(walk(source(f"{site.url}/a.txt"), tmp_path)) == ["could not be fetched"]
    assert not site.asked["/a.txt"]
    assert not (tmp_path / "web/failed.jsonl").exists()


@pytest.mark.parametrize(("crawl_delay", "between", "pause"), [(None, 1.5, 1.5), (7, 1.5, 7), (1, 2, 2)])
def test_each_host_is_asked_at_its_pace(site, tmp_path, crawl_delay, between, pause):
    rule = f"Crawl-delay: {crawl_delay}\n" if crawl_delay else ""
    site.put("/robots.txt", f"User-agent: *\n{rule}Disallow: /no\n")
    for path in "abc":
        site.put(f"/{path}", PROSE)
    spec = source(*(f"{site.url}/{path}" for path in "abc"), seconds_between=between)
    clock = Clock()
    list(web.files(spec, tmp_path, Visitor(spec, clock=clock, sleep=clock.sleep)))
    assert clock.slept[1:] == pytest.approx([pause, pause])
    assert clock.slept[0] == pytest.approx(between)  # after robots.txt itself
    spec = source(f"{site.url}/a", urls=(f"{site.url}/d",))
    site.put("/robots.txt", "User-agent: *\nCrawl-delay: 9999\n")
    assert reasons(walk(spec, tmp_path)) == ["asks for too long a pause between requests"]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/x",
        "http://[::1]/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://localhost/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
    ],
)
def test_redirects_to_private_addresses_are_refused(site, tmp_path, target):
    """The first host is taken for public; where it leads to is looked at again."""
    port = int(site.url.rpartition(":")[2])

    def resolver(host, at, private):
        return ["127.0.0.1"] if (host, at) == ("public.example", port) else fetch.resolve(host, at, private)

    site.redirect("/go", target)
    spec = source(f"http://public.example:{port}/go", private_addresses=False)
    assert reasons(walk(spec, tmp_path, resolver=resolver)) == ["leads to a private address"]


def test_private_addresses_are_refused_unless_allowed(site, tmp_path):
    site.put("/a.txt", PROSE)
    spec = source(f"{site.url}/a.txt", private_addresses=False)
    assert reasons(walk(spec, tmp_path)) == ["leads to a private address"]
    assert not site.asked
    assert len(walk(source(f"{site.url}/a.txt"), tmp_path)) == 1
    assert site.asked["/a.txt"] == 1


def test_the_address_that_was_checked_is_the_one_connected_to(site, tmp_path, monkeypatch):
    """A name that answers differently the second time (DNS rebinding) is only asked once a request."""
    real, looked_up = fetch.socket.getaddrinfo, []

    def getaddrinfo(host, *rest, **more):
        looked_up.append(host)
        return real("127.0.0.1" if host == "rebind.example" else host, *rest, **more)

    monkeypatch.setattr(fetch.socket, "getaddrinfo", getaddrinfo)
    site.put("/a.txt", PROSE)
    port = site.url.rpartition(":")[2]
    assert len(walk(source(f"http://rebind.example:{port}/a.txt"), tmp_path)) == 1
    assert looked_up.count("rebind.example") == 2  # robots.txt and the page; connections go to the number


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_public_addresses(address, public):
    assert fetch.is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/",
        "http://user:secret@example.org/",
        "http://user@example.org/",
        "http://",
        "http://exa mple.org/",
        "http://example.org:99999/",
        "http://example.org/\r\nHost: other",
        "gopher://example.org",
        "example.org",
        "http://[::1",
        "http://" + "a" * 70 + ".org/",
        "http://example.org\\@127.0.0.1/",
        "http://[fe80::1%25eth0]/",
    ],
)
def test_unusable_addresses(url, tmp_path):
    with pytest.raises(SetAside):
        fetch.normalise(url)
    (item,) = walk(source(url), tmp_path)
    assert isinstance(item, Rejected)
    assert "secret" not in item.source
    assert "\n" not in item.source


def test_one_spelling_of_an_address():
    assert fetch.normalise("HTTP://Example.ORG:80/a#x") == "http://example.org/a"
    assert fetch.normalise("https://bücher.example/ü?q=ä&x=%20") == (
        "https://xn--bcher-kva.example/%C3%BC?q=%C3%A4&x=%20"
    )
    for url in ("http://a.example/%7Ex?y#z", "https://例子.测试:8443/路径", "http://[2001:db8::1]:81"):
        once = fetch.normalise(url)
        assert fetch.normalise(once) == once


def test_redirects_are_followed_a_few_times(site, tmp_path):
    site.put("/end", PROSE)
    for number in range(6):
        site.redirect(f"/{number}", f"{number - 1}" if number else "/end")
    site.redirect("/round", "/round")
    items = walk(source(f"{site.url}/4", f"{site.url}/5", f"{site.url}/round"), tmp_path)
    assert names(items, site) == ["/4"]
    assert reasons(items) == ["is redirected too often"] * 2
    record = json.loads((tmp_path / "web/manifest.jsonl").read_text())
    assert record["from"] == f"{site.url}/end"


def test_types_sizes_and_answers_that_are_refused(site, tmp_path):
    site.put("/film", b"\0" * 10, "video/mp4")
    site.put("/none", PROSE, None)
    site.put("/large", b"x" * 5001)
    site.put("/lying", b"x" * 5001, **{"Content-Length": None})
    site.put("/bomb", gzip.compress(b"x" * 10_000_000), **{"Content-Encoding": "gzip"})
    site.put("/brotli", b"...", **{"Content-Encoding": "br"})
    site.put("/secret", "no", status=403)
    paths = ["/film", "/none", "/large", "/lying", "/bomb", "/brotli", "/secret", "/missing"]
    spec = source(*(site.url + path for path in paths), file_bytes=5000)
    expected = [
        "has a content type that content_types does not list",
        "has a content type that content_types does not list",
        "is larger than file_bytes",
        "is larger than file_bytes",
        "is larger than file_bytes",
        "has a content encoding that was not asked for",
        "is refused by the site",
        "is not found",
    ]
    assert reasons(walk(spec, tmp_path)) == expected
    asked = dict(site.asked)
    assert reasons(walk(spec, tmp_path)) == expected  # written down, not asked again
    assert dict(site.asked) == asked
    (tmp_path / "web/failed.jsonl").unlink()
    site.put("/film", PROSE)
    assert names(walk(spec, tmp_path), site) == ["/film"]
    other = source(f"{site.url}/large", file_bytes=6000)  # other rules: asked again
    assert names(walk(other, tmp_path), site) == ["/large"]


def test_a_body_that_breaks_off_is_no_page(site, tmp_path):
    site.put("/cut", b"x" * 50, **{"Content-Length": "100"})
    site.put("/packed", gzip.compress(os.urandom(3000))[:2000], **{"Content-Encoding": "gzip"})
    spec = source(f"{site.url}/cut", f"{site.url}/packed")
    assert reasons(walk(spec, tmp_path)) == ["could not be fetched"] * 2
    assert not list((tmp_path / "web").glob("127*"))


def test_a_busy_site_is_asked_again_later_and_a_silent_one_is_given_up(site, tmp_path):
    site.pages["/busy"] = lambda times: (
        (429, {"Retry-After": "30"}, b"") if times == 1 else (200, {"Content-Type": "text/plain"}, b"ok")
    )
    site.put("/down", "", status=503)
    spec = source(f"{site.url}/busy", f"{site.url}/down")
    clock = Clock()
    items = list(web.files(spec, tmp_path, Visitor(spec, clock=clock, sleep=clock.sleep)))
    assert names(items, site) == ["/busy"]
    assert 30 in [round(pause) for pause in clock.slept]
    assert reasons(items) == ["could not be fetched"]
    assert site.asked["/down"] == 3
    url, calls = site.url, []
    site.shutdown()
    site.server_close()

    def resolver(host, port, private):
        calls.append(host)
        return fetch.resolve(host, port, private)

    spec = source(*(f"{url}/{number}" for number in range(20)))
    assert reasons(walk(spec, tmp_path, resolver=resolver)) == ["could not be fetched"] * 20
    assert len(calls) == 3


def test_what_only_the_server_knows_about_the_encoding_is_kept(site, tmp_path):
    text = "磨坊把水变成面粉，风吹过麦田。" * 5
    site.put("/zh.txt", text.encode("gb18030"), "text/plain; charset=GB2312")
    page = f"<html><head><meta charset='utf-8'></head><body><p>{text}</p></body></html>"
    site.put("/ru", "Мельница у реки".encode("koi8-r"), "text/plain; charset=koi8-r")
    site.put("/zh", page.encode("big5", "replace"), "text/html; charset=big5")
    site.put("/odd", "plain", "text/plain; charset=zlib")
    spec = source(*(site.url + path for path in ("/zh.txt", "/ru", "/odd", "/zh")))
    found = [path for path, _ in walk(spec, tmp_path)]
    texts = [path.read_text("utf-8-sig") for path in found]
    assert texts[:3] == [text, "Мельница у реки", "plain"]
    assert "麦田" not in texts[3] or texts[3].startswith("<html>")
    documents = [next(iter(web.documents(spec, path, "p", LimitSpec()))) for path in found[:2]]
    assert [d.text for d in documents if isinstance(d, Document)] == texts[:2]


def test_files_are_named_by_what_they_hold(site, tmp_path):
    pages = {
        "/": ("text/html; charset=utf-8", ".html"),
        "/guide.php?x=1": ("text/html", ".html"),
        "/notes.md": ("text/plain", ".md"),
        "/../../etc/x.sh": ("text/plain", ".txt"),
        "/paper": ("application/pdf", ".pdf"),
        "/rows.jsonl": ("application/json", ".jsonl"),
        "/evil.pdf": ("text/plain", ".txt"),
    }
    for path, (content_type, _) in pages.items():
        site.put(path, "x", content_type)
    found = [path for path, _ in walk(source(*(site.url + path for path in pages)), tmp_path)]
    assert [path.suffix for path in found] == [ending for _, ending in pages.values()]
    assert {path.parent for path in found} == {tmp_path / "web"}
    assert len(set(found)) == len(pages)


def sitemap(*urls, root="urlset", each="url"):
    inner = "".join(f"<{each}><loc> {url} </loc><lastmod>2024-01-01</lastmod></{each}>" for url in urls)
    return (
        f'<?xml version="1.0"?><{root} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{inner}</{root}>'
    )


def test_sitemaps_indexes_and_plain_lists(site, tmp_path):
    for path in "abcdef":
        site.put(f"/{path}", path * 30)
    u = site.url
    site.put(
        "/index.xml",
        sitemap(f"{u}/one.xml.gz", f"{u}/two.txt", root="sitemapindex", each="sitemap"),
        "text/xml",
    )
    site.put("/one.xml.gz", gzip.compress(sitemap(f"{u}/c", f"{u}/a").encode()), "application/x-gzip")
    site.put("/two.txt", f"{u}/b\n{u}/a\nhttp://elsewhere.example/x\n{u}/d\n")
    spec = source(f"{u}/f", sitemaps=(f"{u}/index.xml",))
    items = walk(spec, tmp_path)
    assert names(items, site) == ["/f", "/c", "/a", "/b", "/d"]
    assert reasons(items) == ["is on another host than the sitemap that lists it"]
    asked = dict(site.asked)
    assert walk(spec, tmp_path) == items
    assert dict(site.asked) == asked
    capped = walk(source(f"{u}/f", sitemaps=(f"{u}/index.xml",), pages=2), tmp_path)
    assert names(capped, site) == ["/f", "/c"]
    assert reasons(capped) == ["and the rest is over the limit `pages`"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB + "]><urlset><url><loc>&j;</loc></url></urlset>",
        '<!DOCTYPE urlset [<!ENTITY x SYSTEM "file:///etc/passwd">]><urlset><url><loc>&x;</loc></url></urlset>',
        "<html><body>no</body></html>",
        "<urlset><url><loc>http://x/",
        "not a list\n",
        "<urlset>" + "<a>" * 1000,
        b"\x1f\x8b broken",
        gzip.compress(b" " * (60 << 20)),
        "<?xml version='1.0' encoding='utf-7'?><urlset/>",
        "",
    ],
    ids=["bomb", "entity", "html", "cut", "prose", "deep", "gzip", "large", "encoding", "empty"],
)
def test_hostile_sitemaps_are_set_aside(site, tmp_path, body):
    site.put("/sitemap.xml", body, "application/xml")
    items = walk(source(sitemaps=(f"{site.url}/sitemap.xml",)), tmp_path)
    assert not names(items, site)
    assert len(reasons(items)) == (0 if body == "" else 1)


def test_a_sitemap_that_names_itself_ends(site, tmp_path):
    url = f"{site.url}/sitemap.xml"
    site.put("/sitemap.xml", sitemap(url, url, root="sitemapindex", each="sitemap"), "text/xml")
    assert walk(source(sitemaps=(url,)), tmp_path) == []
    assert site.asked["/sitemap.xml"] == 1


def test_environment_proxies_are_not_asked(site, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    site.put("/a", PROSE)
    assert len(walk(source(f"{site.url}/a"), tmp_path)) == 1


KILLED = """
import sys
from pathlib import Path
from textmill.specs.corpus import WebSource
from textmill.text.sources.web import source as web
urls = tuple(sys.argv[2:])
for item in web.files(WebSource(urls=urls, seconds_between=0, private_addresses=True), Path(sys.argv[1])):
    print(item, flush=True)
"""


def test_a_killed_fetch_goes_on_where_it_was(site, tmp_path):
    hold = threading.Event()

    def slow(times):
        if times == 1:
            hold.wait(20)
        return 200, {"Content-Type": "text/plain"}, b"late"

    site.put("/a", PROSE)
    site.pages["/b"] = slow
    site.put("/c", PROSE)
    urls = [f"{site.url}/{path}" for path in "abc"]
    paths = [str(Path(web.__file__).parents[4])]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), *urls], env=os.environ | {"PYTHONPATH": paths[0]}
    )
    deadline = time.monotonic() + 30
    while not site.asked["/b"] and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hold.set()
    (tmp_path / "web/.partial-left-over-4194305").write_text("half")
    with open(tmp_path / "web/manifest.jsonl", "a", encoding="utf-8") as manifest:
        manifest.write('{"url": "half a li')
    items = walk(source(*urls), tmp_path)
    assert names(items, site) == ["/a", "/b", "/c"]
    assert (site.asked["/a"], site.asked["/b"], site.asked["/c"]) == (1, 2, 1)
    assert not list((tmp_path / "web").glob(".partial-*"))
    assert walk(source(*urls), tmp_path) == items
    assert (site.asked["/b"], site.asked["/c"]) == (2, 1), "a line after a broken one is still read"


def test_a_file_that_was_cut_or_deleted_is_fetched_again(site, tmp_path):
    site.put("/a", PROSE)
    spec = source(f"{site.url}/a")
    ((path, _),) = walk(spec, tmp_path)
    path.write_text("cut")
    ((again, _),) = walk(spec, tmp_path)
    assert again == path
    assert path.read_text() == PROSE
    path.unlink()
    walk(spec, tmp_path)
    assert site.asked["/a"] == 3
