"""Whatever a client sends that fits the description, or does not: no request makes the service fail.

The slow tests let schemathesis make up twenty thousand; the fast one sees that the description is one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers.serving import KEY, Program


def make_up(described, url, examples, take, seed=0):
    """Give `take` what schemathesis makes up for every route, so many examples each, right ones and wrong ones."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=url)
    for operation in schema.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seeded(seed)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.ok().as_strategy(generation_mode=mode))
            def made(case):
                take(case)

            try:
                made()
            except Exception as error:
                if type(error).__name__ in ("Unsatisfiable", "SkipTest"):
                    continue  # there is no wrong request of a route without fields
                raise


def for_mill(body):
    """A body that asks the model there is, for little."""
    return body | {"model": "mill"} | {name: 2 for name in LENGTHS if name in body}


LENGTHS = ("max_tokens", "max_output_tokens", "max_completion_tokens")


def try_out(running, examples, seed=0):
    """Ask every route what is made up for it, so many examples each; how many were sent."""
    sent = 0

    def ask(case):
        nonlocal sent
        if isinstance(case.body, dict) and "model" in case.body and sent % 4:
            case.body = for_mill(case.body)
        sent += 1
        response = case.call(headers={"authorization": f"Bearer {KEY}"}, timeout=60)
        assert response.status_code < 500, (case.path, case.body, response.text)
        if response.status_code >= 400:
            assert "error" in response.json(), (case.path, response.text)

    app = running.server.config.loaded_app.app.app.app
    make_up(app.openapi(), running.url, examples, ask, seed)
    return sent


ODD = [
    {},
    {"model": 1},
    {"model": "mill"},
    {"model": "mill", "surprise": {}},
    [],
    "a",
    None,
    1.5,
    {"model": "\ud800"},
]


def test_the_description_is_one_and_odd_bodies_are_refused(mill):
    app = mill.server.config.loaded_app.app.app.app
    for path, methods in app.openapi()["paths"].items():
        for method, route in methods.items():
            assert route["description"], path
            assert "422" not in route["responses"], path
            for body in ODD if method == "post" else ():
                data = json.dumps(body)
                status, _, told = mill.ask("POST", path, data, content_type="application/json")
                assert (status, "error" in told) == (400, True), (path, body, told)
    assert mill.idle()


@pytest.mark.slow
def test_some_requests_of_every_route(mill):
    assert try_out(mill, 2) >= 50
    assert mill.idle()


@pytest.mark.slow
def test_thousands_of_requests(mill):
    """TEXTMILL_EXAMPLES: of each route and kind; 350 are about 18,000 requests."""
    assert try_out(mill, int(os.environ.get("TEXTMILL_EXAMPLES", "350")), seed=1) > 100
    assert mill.idle()


@pytest.mark.slow
def test_the_program_opens_no_other_socket(writer, tmp_path):
    """Under strace: one socket listens, on the loopback, and none connects anywhere."""
    strace = Path("/usr/bin/strace")
    if not strace.exists():
        pytest.skip("strace is not here")
    trace = tmp_path / "trace"
    before = [strace, "-f", "-o", trace, "-e", "trace=socket,bind,connect,listen,sendto"]
    with Program(tmp_path, str(writer), before=before) as program:
        asked = [
            "curl", "-sf", f"{program.address}/v1/completions", "-H", f"Authorization: Bearer {program.key}",
            "-H", "Content-Type: application/json", "-d", json.dumps({"model": program.models[0]["id"], "prompt": "a"}),
        ]  # fmt: skip
        subprocess.run(asked, check=True, capture_output=True, timeout=60)
        program.end(int(re.match(r"\d+", trace.read_text())[0]))
    lines = trace.read_text().splitlines()
    inet = [line for line in lines if "AF_INET" in line]
    assert any("bind(" in line and 'inet_addr("127.0.0.1")' in line for line in inet)
    assert not [line for line in inet if "bind(" in line and "127.0.0.1" not in line]
    assert not [line for line in lines if "connect(" in line and "AF_UNIX" not in line]
    assert sum("listen(" in line and " = 0" in line for line in lines) == 1
