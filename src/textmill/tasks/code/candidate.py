"""The program a candidate runs in: it defines what a model wrote, calls it when asked, and says what came of it.

It knows nothing of tests. Whatever it says is a value: it may be wrong, never a verdict. See judged.py.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def begin(setting: Any) -> Callable[[Any], Any]:
    """setting: how deep calls may go."""
    sys.path.insert(0, str(Path(__file__).parent))  # nothing of Textmill is installed where this runs
    values: Any = importlib.import_module("values")
    sys.setrecursionlimit(int(setting["recursion"]))
    space: dict[str, Any] = {"__name__": "candidate"}
    objects: list[Any] = []

    def keep(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    def kept(number: int, kind: str) -> Any:
        return objects[number]

    def outcome(work: Callable[[], Any], given: list[Any]) -> dict[str, Any]:
        """What a call returns, or what it raises; and what became of lists, dictionaries and sets it was given."""
        try:
            said = {"returned": values.write(work(), keep)}
        except Exception as error:
            names = [
                kind.__name__
                for kind in type(error).__mro__
                if getattr(builtins, kind.__name__, None) is kind
            ]
            said = {"raised": names[0] if names else "Exception", "message": str(error)[:300]}
        return said | {"given": [values.write(each, keep) for each in given]}

    def answer(request: dict[str, Any]) -> Any:
        if "source" in request:
            exec(compile(request["source"], "candidate", "exec"), space)
            return [name for name in space if not name.startswith("__")]
        if "name" in request:
            return outcome(lambda: space[request["name"]], [])
        function = kept(request["call"], "")
        given = [values.read(each, kept) for each in request["given"]]
        named = {name: values.read(each, kept) for name, each in request["named"].items()}
        return outcome(lambda: function(*given, **named), given)

    return answer
