"""Whatever a client sends that fits the description, or does not: no request makes the service fail.

The slow tests let schemathesis make up twenty thousand; the fast one sees that the description is one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.serving import KEY


def try_out(running, examples, seed=0):
    """Ask every route what schemathesis makes up, so many examples each; how many were sent."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.generation import GenerationMode

    app = running.server.config.loaded_app.app.app.app
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.config.update(base_url=running.url)
    sent = 0
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
            def ask(case):
                nonlocal sent
                body = case.body
                if isinstance(body, dict) and "model" in body and sent % 4:
                    body["model"] = "mill"
                    body |= {name: 2 for name in ("max_tokens", "max_output_tokens") if name in body}
                sent += 1
                response = case.call(headers={"authorization": f"Bearer {KEY}"}, timeout=60)
                assert response.status_code < 500, (case.path, case.body, response.text)
                if response.status_code >= 400:
                    assert "error" in response.json(), (case.path, response.text)

            try:
                ask()
            except Exception as error:
                if type(error).__name__ in ("Unsatisfiable", "SkipTest"):
                    continue  # there is no wrong request of a route without fields
                raise
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
    command = [sys.executable, "-m", "textmill", "serve", str(writer), "--port", "0", "--json"]
    serving = subprocess.Popen(
        [strace, "-f", "-o", trace, "-e", "trace=socket,bind,connect,listen,sendto", *command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TEXTMILL_WORK": str(tmp_path / "work")},
    )
    told = ""
    while not told.endswith("\n}\n"):
        told += serving.stdout.readline()
    begun = json.loads(told)
    asked = [
        "curl", "-sf", f"{begun['address']}/v1/completions", "-H", f"Authorization: Bearer {begun['key']}",
        "-H", "Content-Type: application/json", "-d", json.dumps({"model": begun["models"][0]["id"], "prompt": "a"}),
    ]  # fmt: skip
    subprocess.run(asked, check=True, capture_output=True, timeout=60)
    child = int(re.match(r"\d+", trace.read_text())[0])
    os.kill(child, signal.SIGTERM)
    assert serving.wait(60) == 0
    lines = trace.read_text().splitlines()
    inet = [line for line in lines if "AF_INET" in line]
    assert any("bind(" in line and 'inet_addr("127.0.0.1")' in line for line in inet)
    assert not [line for line in inet if "bind(" in line and "127.0.0.1" not in line]
    assert not [line for line in lines if "connect(" in line and "AF_UNIX" not in line]
    assert sum("listen(" in line and " = 0" in line for line in lines) == 1
