"""A service on a socket of this machine, and a client that sends whatever a test wants."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from textmill.serving.app import application
from textmill.serving.server import Server, listen

KEY = "tm-of-the-tests"


class Running:
    """A service under way: where it is, and what it has written into its log."""

    def __init__(self, service, keys, *, texts=False):
        socket = listen(0)
        self.service, self.log = service, []
        self.port = socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        app = application(service, keys, self.port, log=self.log.append, texts=texts)
        started = threading.Event()
        self.server = Server(app, service, started.set)
        self._thread = threading.Thread(target=self.server.run, args=([socket],))
        self._thread.start()
        assert started.wait(300)

    def ask(self, method, path, body=None, **headers):
        """A request as it is, with the key unless `authorization` says another: status, headers, and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        given = {"authorization": f"Bearer {KEY}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        data = body
        if body is not None and not isinstance(body, (bytes, str)):
            data = json.dumps(body)
            given.setdefault("content-type", "application/json")
        given = {name: value for name, value in given.items() if value is not None}
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        found = dict(answer.getheaders())
        plain = json.loads(text) if found.get("content-type") == "application/json" and text else text
        return answer.status, found, plain

    def idle(self, seconds=120):
        """Whether, in so many seconds at most, nobody is answered any more."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            figures = self.service.engine.figures()
            if not figures["rows"] and not figures["waiting"]:
                return True
            time.sleep(0.02)
        return False

    def stop(self):
        self.server.should_exit = True
        self._thread.join(900)
        assert not self._thread.is_alive()


class Program:
    """`textmill serve` in a process of its own, in a folder; ends with the block."""

    def __init__(self, folder, *options, before=()):
        """before: a program that runs it."""
        command = [*before, sys.executable, "-m", "textmill", "serve", *options, "--port", "0", "--json"]
        environment = os.environ | {"TEXTMILL_WORK": str(folder / "work"), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, "--log", os.devnull], stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
        )
        told = ""
        while not told.endswith("\n}\n"):
            line = self.process.stdout.readline()
            assert line, told
            told += line
        begun = json.loads(told)
        self.address, self.key, self.models = begun["address"], begun["key"], begun["models"]
        self._connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=600)

    def ask(self, method, path, body=None, headers=None):
        """(status, body) of the answer to a request; body: bytes, or what JSON holds."""
        plain = body is None or isinstance(body, bytes)
        data = body if plain else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if headers is None else dict(headers)
        try:
            self._connection.request(method, path, data, given | {"Authorization": f"Bearer {self.key}"})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()  # the next one opens another
            raise

    def held(self):
        """Bytes of memory that are its own."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status)[1])

    def end(self, process=None):
        """End it well. process: its number, where another one runs it."""
        if self.process.poll() is None:
            os.kill(process or self.process.pid, signal.SIGTERM)
        assert self.process.wait(120) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)
        self.process.stdout.close()
