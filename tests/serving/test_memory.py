"""What a service holds, measured from outside: a process of its own, asked by another one."""

from __future__ import annotations

import http.client
import json
import os
import random

import pytest

from helpers.serving import Program
from serving.test_description import for_mill, make_up

MOST = 1000  # bytes a request
PIECE = 64  # tokens of a prompt read at once


@pytest.mark.slow
def test_requests_leave_nothing_behind(writer, tmp_path):
    """TEXTMILL_REQUESTS: how many are measured, of the whole description, right and wrong; TEXTMILL_EXAMPLES: how many
    different ones are made up for each route."""
    number = int(os.environ.get("TEXTMILL_REQUESTS", "20000"))
    examples = int(os.environ.get("TEXTMILL_EXAMPLES", "40"))
    draw, made = random.Random(1), []

    def take(case):
        from requests import Request

        asked = Request(**case.as_transport_kwargs(base_url=case.operation.base_url)).prepare()
        body = asked.body.encode() if isinstance(asked.body, str) else asked.body
        left = {name: value for name, value in asked.headers.items() if name.lower() != "content-length"}
        made.append((asked.method, asked.path_url, left, body))

    with Program(tmp_path, f"mill={writer}", "--prefixes", "0.001") as program:

        def send(count):
            for place in range(count):
                method, path, headers, body = draw.choice(made)
                status, told = ask(program, method, path, another(body, place), headers)
                assert status < 500, (method, path, body, told)

        make_up(json.loads(program.ask("GET", "/openapi.json")[1]), program.address, examples, take, seed=1)
        # oneDNN makes a program for each number of rows that a matrix is multiplied with, and keeps it.
        for length in range(1, 2 * PIECE + 1):
            body = {"model": "mill", "prompt": [5] * length, "max_tokens": 2}
            assert ask(program, "POST", "/v1/completions", body, None)[0] == 200
        send(max(2000, number // 4))
        before = program.held()
        send(number)
        grown = (program.held() - before) / number
        assert grown < MOST, f"{grown:.0f} bytes a request"


def another(body, number):
    """A body like it: nothing that was made for one request is of use to the next."""
    try:
        asked = json.loads(body or b"")
    except ValueError:
        return body
    if not isinstance(asked, dict) or "model" not in asked or not number % 4:
        return body
    texts = ("prompt", "input", "text", "question")
    told = {name: f"{number} {asked[name]}" for name in texts if isinstance(asked.get(name), str)}
    return json.dumps(for_mill(asked) | told).encode()


def ask(program, method, path, body, headers):
    """Once more where the connection was ended: after a refusal of a body that was not read, say."""
    for _ in range(2):
        try:
            return program.ask(method, path, body, headers)
        except (http.client.HTTPException, OSError):
            continue
    raise AssertionError((method, path, body))
