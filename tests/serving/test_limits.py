"""Slow, greedy and vanishing clients; overload; and the end of a service."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from helpers.serving import KEY
from textmill.inference.requests import Limits
from textmill.serving.patience import Patience
from textmill.serving.refusals import Refusal
from textmill.serving.service import Reading

CHAT = "/v1/chat/completions"
LONG = {
    "model": "mill",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 150,
    "temperature": 1.0,
}
LONG |= {"logit_bias": {str(token): -100 for token in range(256, 262)}}  # never ends by itself


@pytest.fixture(scope="module")
def hasty(begin, writer):
    """A service that waits for nobody, and lets few wait."""
    patience = Patience(
        body_bytes=20_000, body_seconds=0.5, header_seconds=0.5, write_seconds=0.5, drain_seconds=300
    )
    return begin({"mill": str(writer)}, patience=patience, limits=Limits(rows=2, waiting_tokens=400))


def head(running, length, **more):
    """The head of a request, as bytes."""
    lines = {
        "Host": f"127.0.0.1:{running.port}",
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Content-Length": str(length),
        **more,
    }
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {CHAT} HTTP/1.1\r\n{told}\r\n".encode()


def opened(running):
    return socket.create_connection(("127.0.0.1", running.port), timeout=300)


def all_of(connection):
    """What comes until the connection ends."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def until(true):
    """Wait for what must come to be so, two minutes at most."""
    for _ in range(12_000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it never came to be so")


def test_headers_that_do_not_come_end_the_connection(hasty):
    for said in (b"", b"POST /v1", head(hasty, 10)[:-2]):
        with opened(hasty) as connection:
            connection.sendall(said)
            assert all_of(connection) == b""


def test_a_body_that_does_not_come_is_told_so(hasty):
    keyless = head(hasty, 100).replace(CHAT.encode(), b"/translate").replace(b"Authorization", b"X-Other")
    for said in (head(hasty, 100), keyless):  # of the second the key may be in the body
        with opened(hasty) as connection:
            connection.sendall(said + b'{"model"')
            told = all_of(connection)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"did not come in time" in told


def test_a_body_that_is_too_long_is_not_read(hasty):
    status, _, told = hasty.ask("POST", CHAT, b" " * 20_001, content_type="application/json")
    assert (status, told["error"]["code"]) == (413, "body_too_large")
    with opened(hasty) as connection:  # one that does not say how long it is
        connection.sendall(head(hasty, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        connection.sendall(b"5001\r\n" + b" " * 0x5001 + b"\r\n")
        assert all_of(connection).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_goes_away_is_written_for_no_more(hasty):
    before = hasty.service.engine.figures()["tokens_written"]
    for stream in (True, False):
        body = json.dumps(LONG | {"stream": stream}).encode()
        with opened(hasty) as connection:
            connection.sendall(head(hasty, len(body)) + body)
            if stream:
                connection.recv(100)
            else:
                time.sleep(0.05)
    assert hasty.idle()
    assert hasty.service.engine.figures()["tokens_written"] - before < 2 * LONG["max_tokens"]


def test_overload_is_told_at_once_and_what_was_accepted_is_finished(hasty):
    answers = []

    def ask():
        answers.append((time.perf_counter(), hasty.ask("POST", CHAT, LONG)))

    asking = [threading.Thread(target=ask) for _ in range(12)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    taken = [told for _, (status, _, told) in answers if status == 200]
    refused = [(headers, told) for _, (status, headers, told) in answers if status == 429]
    assert len(taken) + len(refused) == 12
    assert taken
    assert refused
    whole = hasty.ask("POST", CHAT, LONG)[2]["choices"]
    assert all(told["choices"] == whole for told in taken)
    assert all(int(headers["retry-after"]) >= 1 for headers, _ in refused)
    assert {told["error"]["code"] for _, told in refused} == {"overloaded"}
    assert hasty.idle()


def test_a_refusal_waits_for_no_step_of_the_model_and_says_when_to_come_again(
    mill, begin, writer, monkeypatch
):
    """The model stands still while it is asked: whoever is refused hears it all the same."""
    right = mill.ask("POST", CHAT, LONG)[2]
    size = LONG["max_tokens"] + right["usage"]["prompt_tokens"]
    right = right["choices"]
    running = begin({"mill": str(writer)}, limits=Limits(waiting_tokens=3 * size))
    assert running.ask("POST", CHAT, LONG)[2]["choices"] == right
    [model] = (served.model for served in running.service.engine.served.values())
    gate, step = threading.Event(), type(model).step_apart

    def still(self, *arguments):
        assert gate.wait(300)
        return step(self, *arguments)

    monkeypatch.setattr(type(model), "step_apart", still)
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    bodies = [LONG, LONG | {"response_format": schema, "logit_bias": {}}]
    taken, refused = [], []

    def ask():
        taken.append(running.ask("POST", CHAT, LONG))

    asking = [threading.Thread(target=ask) for _ in range(4)]
    figures = running.service.engine.figures
    asking[0].start()
    until(lambda: figures()["rows"] == 1)  # it is being read, and stands still
    for one in asking[1:]:
        one.start()
    until(lambda: figures()["waiting"] == 3)
    spent = time.process_time()
    for number in range(20):
        refused.append(running.ask("POST", CHAT, bodies[number % 2]))
    spent = (time.process_time() - spent) / len(refused)
    assert [status for status, _, _ in refused] == [429] * 20
    assert not taken
    assert spent < 0.1, "seconds of the processor a refusal, the client's among them"
    gate.set()
    for one in asking:
        one.join()
    assert [told["choices"] for _, _, told in taken] == [right] * 4
    time.sleep(int(refused[-1][1]["retry-after"]))
    assert running.ask("POST", CHAT, LONG)[2]["choices"] == right


def test_what_is_read_by_task_is_bounded_too():
    reading = Reading(most=10)
    with reading.taken(100):  # alone, whatever its length
        reading.speed = 50.0
        with pytest.raises(Refusal) as refused, reading.taken(1):
            pass
        assert (refused.value.status_code, refused.value.headers) == (429, {"retry-after": "2"})
    with reading.taken(5), reading.taken(5):
        assert reading.now == 10
    assert reading.now == 0


def test_the_end_waits_for_what_was_accepted(begin, writer):
    running = begin({"mill": str(writer)}, patience=Patience(drain_seconds=300))
    body = json.dumps(LONG | {"stream": True}).encode()
    with opened(running) as connection:
        connection.sendall(head(running, len(body)) + body)
        connection.recv(10)
        running.stop()  # what SIGTERM does
        told = all_of(connection)
    assert told.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    with pytest.raises(OSError):
        opened(running)


def test_what_was_counted_is_told(mill):
    mill.ask("POST", CHAT, LONG | {"max_tokens": 2})
    status, headers, told = mill.ask("GET", "/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert f'textmill_requests_total{{route="{CHAT}",status="200"}}' in told
    assert "textmill_engine_tokens_written" in told


def test_the_page_of_the_routes_loads_nothing(mill):
    status, headers, told = mill.ask("GET", "/docs")
    assert (status, "default-src 'none'" in headers["content-security-policy"]) == (200, True)
    assert "/v1/chat/completions" in told
    assert not any(mark in told for mark in ("src=", "href=", "url(", "@import", "<script"))
    status, _, described = mill.ask("GET", "/openapi.json")
    assert (status, described["openapi"][:2]) == (200, "3.")
    assert mill.ask("GET", "/ready")[2] == {"status": "ready", "models": ["mill"]}


@pytest.mark.slow
def test_hundreds_of_clients_that_misbehave(begin, writer):
    """200 go away while they are written for and 50 while they are read, 200 write slowly and 200 read nothing: slots
    and caches come back, and who behaves is answered."""
    patience = Patience(header_seconds=3, body_seconds=3, write_seconds=3, drain_seconds=60)
    running = begin({"mill": str(writer)}, patience=patience, limits=Limits(waiting_tokens=1_000_000))
    right = running.ask("POST", CHAT, LONG)[2]["choices"]

    def leave(body, read):
        data = json.dumps(body).encode()
        with opened(running) as connection:
            connection.sendall(head(running, len(data)) + data)
            if read:
                connection.recv(10)

    def together(works):
        threads = [threading.Thread(target=work) for work in works]
        for at in range(0, len(threads), 50):
            for one in threads[at : at + 50]:
                one.start()
            for one in threads[at : at + 50]:
                one.join()

    together([lambda: leave(LONG | {"stream": True}, True)] * 200)
    long = LONG | {"messages": [{"role": "user", "content": "a" * 480}]}
    together([lambda: leave(long, False)] * 50)
    slow = [opened(running) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(head(running, 100)[: 20 + number] if number % 2 else head(running, 100) + b"{")
    assert running.ask("POST", CHAT, LONG)[2]["choices"] == right
    for connection in slow:
        told = all_of(connection)
        assert told == b"" or told.startswith(b"HTTP/1.1 408")
        connection.close()
    deaf = []
    data = json.dumps(LONG | {"stream": True, "n": 8, "logprobs": True, "top_logprobs": 20}).encode()
    for number in range(200):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", running.port))
        small = json.dumps(LONG | {"stream": True, "max_tokens": 5}).encode()
        asked = data if number % 40 == 0 else small
        connection.sendall(head(running, len(asked)) + asked)
        deaf.append(connection)
    assert running.idle(120)
    for connection in deaf:
        connection.close()
    assert running.ask("POST", CHAT, LONG)[2]["choices"] == right
    assert running.idle()
    figures = running.service.engine.figures()
    assert (figures["rows"], figures["waiting"], figures["cache_bytes"]) == (0, 0, 0)


@pytest.mark.slow
def test_a_burst_and_an_end_under_load_lose_no_accepted_request(begin, writer):
    """Fifty times what is answered at once: each request is answered whole, or told at once when to come again; the end
    of the service comes while they are answered."""
    patience = Patience(drain_seconds=900)
    running = begin({"mill": str(writer)}, limits=Limits(waiting_tokens=20_000), patience=patience)
    right = running.ask("POST", CHAT, LONG)[2]["choices"]
    heard = []

    def ask():
        try:
            status, _, told = running.ask("POST", CHAT, LONG)
        except OSError:  # it came when nothing was taken any more
            status, told = 0, None
        heard.append((status, told))

    asking = [threading.Thread(target=ask) for _ in range(400)]
    for one in asking:
        one.start()
    time.sleep(1)
    running.stop()
    for one in asking:
        one.join()
    assert not [line for line in running.log if '"error"' in line or '"status": 500' in line]
    assert len(heard) == len(asking)
    assert all(told["choices"] == right for status, told in heard if status == 200)
    statuses = {status for status, _ in heard}
    assert {200, 429} <= statuses <= {0, 200, 429, 503}
