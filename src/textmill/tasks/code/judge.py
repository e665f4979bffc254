"""The program that tests run in. Nothing a model wrote comes into its process: it asks for calls, and compares.

A test is Python that raises an exception when it fails. The names it uses and does not define are the candidate's: they
stand for what the other process keeps. A thread runs it, so that each call it makes is an answer of this program, and
the outcome of the call the next request. See judged.py.
"""

from __future__ import annotations

import builtins
import importlib
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def begin(setting: Any) -> Callable[[Any], Any]:
    """setting: nothing."""
    sys.path.insert(0, str(Path(__file__).parent))  # nothing of Textmill is installed where this runs
    values: Any = importlib.import_module("values")
    asked: queue.Queue[dict[str, Any]] = queue.Queue()
    said: queue.Queue[dict[str, Any]] = queue.Queue()

    class Kept(values.Reference):
        """Something of the candidate's that can be called."""

        def __call__(self, *given: Any, **named: Any) -> Any:
            call = {
                "call": self.number,
                "given": [values.write(each, number_of) for each in given],
                "named": {name: values.write(each, number_of) for name, each in named.items()},
            }
            return after(call, list(given))

    def number_of(value: Any) -> int:
        raise TypeError(f"the test hands over a {type(value).__name__}, which cannot leave its process")

    def after(request: dict[str, Any], given: list[Any]) -> Any:
        """What the candidate's process makes of a request."""
        asked.put(request)
        outcome = said.get()
        for mine, theirs in zip(given, outcome.get("given", ()), strict=False):
            _become(mine, values.read(theirs, Kept))
        if "returned" in outcome:
            return values.read(outcome["returned"], Kept)
        kind = getattr(builtins, str(outcome.get("raised")), Exception)
        raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else Exception)(
            outcome.get("message", "")
        )

    def run(request: dict[str, Any]) -> None:
        space: dict[str, Any] = {"__name__": "test"}
        try:
            exec(compile(request["before"], "before", "exec"), space)
            for name in request["names"]:
                if name == request["entry"] or name not in space:
                    space[name] = after({"name": name}, [])
            exec(compile(request["test"], "test", "exec"), space)
            verdict = {"outcome": "passed", "detail": ""}
        except AssertionError as error:
            verdict = {"outcome": "failed", "detail": str(error)[:300]}
        except BaseException as error:
            verdict = {"outcome": "error", "detail": f"{type(error).__name__}: {error}"[:300]}
        asked.put({"verdict": verdict})

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if "test" in request:
            threading.Thread(target=run, args=(request,), daemon=True).start()
        else:
            said.put(request)
        return asked.get()

    return answer


def _become(mine: Any, theirs: Any) -> None:
    """What the candidate changed in what it was given changes here, too."""
    if type(mine) is not type(theirs) or mine == theirs:
        return
    if isinstance(mine, list):
        mine[:] = theirs
    elif isinstance(mine, (dict, set)):
        mine.clear()
        mine.update(theirs)
