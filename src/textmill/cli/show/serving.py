"""A service that has begun, and its keys, for a person."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from textmill.base.language import fill, say
from textmill.cli.show.output import OUT, columns


def begun(told: Mapping[str, Any]) -> None:
    """Where the service is, what it serves, and the key, once."""
    address = told["address"]
    names = ", ".join(model["id"] for model in told["models"])
    print(say(f"Serving {names} at {address}, on this machine alone"))
    if told["key"] is None:
        print(say(f"  the keys of {told['keys']} open it"))
    else:
        print("  " + fill("key: {}", told["key"]))
        print(say("  (for this session, told this once; `textmill keys add NAME` makes one that stays)"))
    print(say(f"  for OpenAI's clients:    base URL {address}/v1"))
    print(say(f"  for Anthropic's clients: base URL {address}"))
    for model in told["models"]:
        if not model["deterministic"]:
            print(say(f"  {model['id']}: on this processor an answer may differ with what else is asked"))
    print(say("  Ctrl-C ends it"), flush=True)


def made(told: Mapping[str, Any]) -> None:
    """A new key: alone on standard output, so that a script can take it."""
    print(told["key"])
    print(say(f"(told this once; its hash is kept in {told['file']})"), file=sys.stderr)


def listed(told: Mapping[str, Any]) -> None:
    """The keys of a file."""
    if not told["keys"]:
        print(say("there are no keys yet: `textmill keys add NAME` makes one"))
        return
    table = columns("name", "scopes", "requests a minute", right=(2,))
    for one in told["keys"]:
        table.add_row(one["name"], ", ".join(one["scopes"]), str(one["requests_per_minute"] or "∞"))
    OUT.print(table)


def removed(told: Mapping[str, Any]) -> None:
    """A key that is none any more."""
    print(say(f"the key of {told['removed']} opens nothing any more"))
