"""Nobody comes in without a key, and no page of a stranger with one."""

from __future__ import annotations

import json
import socket
import stat

import pytest

from helpers.serving import KEY
from textmill.base.errors import RecipeError
from textmill.serving import keys as keys_of
from textmill.serving.app import application
from textmill.serving.keys import SCOPES, Keys, Rate

CHAT = "/v1/chat/completions"
SAID = {"model": "mill", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
JSON = {"content-type": "application/json"}
TEXT = json.dumps(SAID)
FORM = {"content-type": "application/x-www-form-urlencoded"}
# What a page of a stranger, or a name that was made to point here, can have a browser send: (method, path, body,
# headers), with a key, as if the page had learned it.
HOSTILE = {
    "rebinding": ("GET", "/v1/models", None, {"host": "evil.example:{port}"}),
    "rebinding without a port": ("GET", "/v1/models", None, {"host": "evil.example"}),
    "rebinding that asks": ("POST", CHAT, TEXT, JSON | {"host": "evil.example:{port}"}),
    "rebinding to a name that begins with ours": (
        "GET",
        "/v1/models",
        None,
        {"host": "localhost.evil.example:{port}"},
    ),
    "rebinding to a name that ends in ours": ("GET", "/v1/models", None, {"host": "evil-localhost:{port}"}),
    "rebinding to health": ("GET", "/health", None, {"host": "evil.example:{port}"}),
    "another port": ("GET", "/v1/models", None, {"host": "127.0.0.1:1"}),
    "no port": ("GET", "/v1/models", None, {"host": "127.0.0.1"}),
    "all addresses": ("GET", "/v1/models", None, {"host": "0.0.0.0:{port}"}),
    "a user in the host": ("GET", "/v1/models", None, {"host": "localhost:{port}@evil.example"}),
    "no host": ("GET", "/v1/models", None, {"host": ""}),
    "foreign origin": ("POST", CHAT, TEXT, JSON | {"origin": "https://evil.example"}),
    "foreign origin that reads": ("GET", "/v1/models", None, {"origin": "https://evil.example"}),
    "foreign origin at health": ("GET", "/health", None, {"origin": "https://evil.example"}),
    "null origin": ("POST", CHAT, TEXT, JSON | {"origin": "null"}),
    "null origin that reads": ("GET", "/v1/models", None, {"origin": "null"}),
    "origin of another port": ("POST", CHAT, TEXT, JSON | {"origin": "http://localhost:1"}),
    "origin with https": ("POST", CHAT, TEXT, JSON | {"origin": "https://localhost:{port}"}),
    "origin that begins with ours": (
        "POST",
        CHAT,
        TEXT,
        JSON | {"origin": "http://localhost:{port}.evil.example"},
    ),
    "origin of a file": ("POST", CHAT, TEXT, JSON | {"origin": "file://"}),
    "origin of an extension": ("POST", CHAT, TEXT, JSON | {"origin": "chrome-extension://abc"}),
    "empty origin": ("POST", CHAT, TEXT, JSON | {"origin": ""}),
    "two origins": ("POST", CHAT, TEXT, JSON | {"origin": "http://localhost:{port} https://evil.example"}),
    "cross-site fetch without origin": ("GET", "/v1/models", None, {"sec-fetch-site": "cross-site"}),
    "same-site fetch": ("POST", CHAT, TEXT, JSON | {"sec-fetch-site": "same-site"}),
    "an image": (
        "GET",
        "/v1/models",
        None,
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image", "sec-fetch-mode": "no-cors"},
    ),
    "a frame": (
        "GET",
        "/docs",
        None,
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate"},
    ),
    "a script": ("GET", "/openapi.json", None, {"sec-fetch-site": "cross-site", "sec-fetch-dest": "script"}),
    "text/plain without preflight": ("POST", CHAT, TEXT, {"content-type": "text/plain"}),
    "JSON that hides as a parameter": ("POST", CHAT, TEXT, {"content-type": "text/plain; application/json"}),
    "no content type": ("POST", CHAT, TEXT, {}),
    "a form": ("POST", CHAT, "model=mill", FORM),
    "a form to LibreTranslate's route": ("POST", "/translate", f"q=hi&target=de&api_key={KEY}", FORM),
    "a form of files": (
        "POST",
        CHAT,
        "--a\r\n\r\n--a--",
        {"content-type": "multipart/form-data; boundary=a"},
    ),
    "another charset": ("POST", CHAT, TEXT, {"content-type": "application/json; charset=utf-7"}),
    "a compressed body": ("POST", CHAT, TEXT, JSON | {"content-encoding": "gzip"}),
    "a preflight": (
        "OPTIONS",
        CHAT,
        None,
        {"origin": "https://evil.example", "access-control-request-method": "POST"},
    ),
    "a preflight for a private network": (
        "OPTIONS",
        CHAT,
        None,
        {"access-control-request-private-network": "true"},
    ),
    "a WebSocket": (
        "GET",
        CHAT,
        None,
        {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        },
    ),
    "HTTP/2 by upgrade": ("GET", CHAT, None, {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"}),
    "another method": ("PATCH", CHAT, TEXT, JSON),
    "a trace": ("TRACE", "/v1/models", None, {}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_page_is_refused(mill, case):
    method, path, body, headers = HOSTILE[case]
    headers = {name: value.format(port=mill.port) for name, value in headers.items()}
    before = mill.service.engine.figures()["tokens_written"]
    status, answered, told = mill.ask(method, path, body, **headers)
    assert status in (400, 403, 405, 415)
    assert "access-control-allow-origin" not in answered
    assert "mill" not in json.dumps(told)
    assert mill.service.engine.figures()["tokens_written"] == before


def test_our_own_page_may_ask(mill):
    for origin in (f"http://127.0.0.1:{mill.port}", f"http://localhost:{mill.port}", None):
        status, _, told = mill.ask("POST", CHAT, SAID, origin=origin, sec_fetch_site="same-origin")
        assert status == 200, told


def routes_of(running):
    """Every method and path of a service."""
    paths = running.server.config.loaded_app.app.app.app.openapi()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


def test_every_route_but_health_wants_a_key(mill):
    routes = routes_of(mill)
    assert len(routes) > 25
    for method, path in routes:
        body = {} if method == "post" else None
        for key in (None, "Bearer tm-wrong", "Bearer ", "Basic dG06"):
            status, headers, told = mill.ask(method.upper(), path, body, authorization=key)
            if path == "/health":
                assert (status, told) == (200, {"status": "ok"})
                continue
            assert status == 401
            assert headers["www-authenticate"] == "Bearer"
            assert "error" in told
    assert mill.ask("GET", "/nowhere", authorization=None)[0] == 401  # not even what there is not is told
    assert mill.ask("GET", "/nowhere")[0] == 404
    assert mill.ask("GET", f"/v1/models?key={KEY}", authorization=None)[0] == 401  # never in an address
    assert mill.ask("GET", "/v1/models", authorization=None, x_api_key=KEY)[0] == 200


def test_only_loopback_listens(mill):
    assert mill.server.servers[0].sockets[0].getsockname()[0] == "127.0.0.1"
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(1)
        other.connect((_own_address(), mill.port))


def _own_address():
    """An address of this machine that is not its loopback; none: the test is about nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 9))  # sends nothing
        except OSError:
            pytest.skip("an address besides the loopback is not here")
        return probe.getsockname()[0]


def test_keys_of_a_file(begin, writer, tmp_path):
    path = tmp_path / "keys.json"
    key = keys_of.add(path, "editor", frozenset({"text"}), 3)
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    running = begin({"mill": str(writer)}, Keys(path=path))
    given = {"authorization": f"Bearer {key}"}
    assert running.ask("POST", CHAT, SAID, **given)[0] == 200
    status, _, told = running.ask("POST", "/v1/embeddings", {"model": "mill", "input": "a"}, **given)
    assert (status, told["error"]["code"]) == (403, "scope_missing")
    assert running.ask("GET", "/v1/models", **given)[0] == 200
    status, headers, told = running.ask("GET", "/v1/models", **given)
    assert (status, told["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(headers["retry-after"]) <= 20  # a third of a minute, less what has passed
    keys_of.remove(path, "editor")
    assert running.ask("GET", "/v1/models", **given)[0] == 401
    nobody = {"authorization": f"Bearer {keys_of.add(path, 'nobody', frozenset(), None)}"}
    free = {"/health", "/ready", "/v1/models", "/v1/models/{name}", "/openapi.json", "/docs"}
    for method, route in routes_of(running):
        status = running.ask(method.upper(), route, {} if method == "post" else None, **nobody)[0]
        assert (status == 403) == (route not in free), route
    assert all(KEY not in line and key not in line for line in running.log)


def test_a_file_of_keys_refuses_what_it_cannot_hold(tmp_path):
    path = tmp_path / "keys.json"
    keys_of.add(path, "one", frozenset(SCOPES), None)
    with pytest.raises(RecipeError, match="a key of this name"):
        keys_of.add(path, "one", frozenset(SCOPES), None)
    with pytest.raises(RecipeError, match="'nothing' is no scope"):
        keys_of.add(path, "two", frozenset({"nothing"}), None)
    with pytest.raises(RecipeError, match="no key of this name"):
        keys_of.remove(path, "two")


def test_a_rate_is_a_bucket_that_fills():
    now = 0.0
    rate = Rate(60, clock=lambda: now)
    assert [rate.take() for _ in range(60)] == [0.0] * 60
    assert rate.take() == pytest.approx(1.0)
    now = 0.5
    assert rate.take() == pytest.approx(0.5)
    now = 1.0
    assert rate.take() == 0.0


def test_the_log_holds_no_text(mill):
    mill.ask("POST", CHAT, SAID | {"messages": [{"role": "user", "content": "a secret word"}]})
    mill.ask("GET", "/v1/models/secret")
    mill.ask("GET", "/secret?secret=1")
    line = json.loads(mill.log[-3])
    assert (line["key"], line["route"], line["status"], line["model"]) == ("tests", CHAT, 200, "mill")
    assert line["written_tokens"] == 1
    assert not any("secret" in line for line in mill.log)


def test_one_application_serves_one_place(mill):
    assert application(mill.service, Keys(), 80).app.app.hosts >= {"localhost", "localhost:80", "[::1]"}
