"""A service on a socket of this machine, and a client that sends whatever a test wants."""

from __future__ import annotations

import http.client
import json
import threading
import time

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
