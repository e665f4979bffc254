"""The commands of the service: what they print, and what they refuse."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from helpers.commands import call


def test_keys_are_made_listed_and_taken_back(place):
    made = call(["keys", "add", "editor", "--scope", "text", "--rate", "60", "--keys", "new.json"])
    assert (made.code, made.out.startswith("tm-"), made.out.count("\n")) == (0, True, 1)
    assert "told this once" in made.err
    assert made.out.strip() not in (place / "new.json").read_text()
    found = json.loads(call(["keys", "list", "--keys", "new.json", "--json"]).out)["keys"]
    assert found == [{"name": "editor", "scopes": ["text"], "requests_per_minute": 60}]
    assert "editor" in call(["keys", "list", "--keys", "new.json"]).out
    assert call(["keys", "add", "editor", "--keys", "new.json"]).code == 2
    assert call(["keys", "remove", "editor", "--keys", "new.json"]).code == 0
    assert "no keys yet" in call(["keys", "list", "--keys", "new.json"]).out


def test_what_is_told_when_it_begins(place):
    said = call(["serve", "first=tiny", "--port", "0", "--idle", "0.1"])
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("Serving first at http://127.0.0.1:")
    assert lines[1].startswith("  key: tm-")
    call(["keys", "add", "one", "--keys", "new.json"])
    said = call(["serve", "tiny", "--port", "0", "--idle", "0.1", "--keys", "new.json", "--json"])
    told = json.loads(said.out)
    assert (told["key"], told["keys"], told["models"][0]["id"]) == (None, "new.json", "tiny")


def test_what_cannot_be_served_is_told_before_anything_is_loaded(place, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = call(["serve", "tiny", "--port", str(port)])
    assert (said.code, f"port {port}: is used by another program" in said.err) == (1, True)
    assert "is the name of two models" in call(["serve", "tiny", "tiny"]).err
    assert "is no file of keys" in call(["serve", "tiny", "--keys", "nowhere.json"]).err
    monkeypatch.setitem(sys.modules, "textmill.serving.service", None)  # as where the extra is missing
    assert "pip install 'textmill[serve]'" in call(["serve", "tiny"]).err


def test_every_scope_of_a_key_is_offered():
    scopes = pytest.importorskip("textmill.serving.keys").SCOPES
    said = call(["keys", "add", "--help"])
    assert [scope for scope in scopes if scope not in said.out] == []
