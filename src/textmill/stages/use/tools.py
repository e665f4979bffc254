"""Functions of a Python file that an assistant may call.

The file is run in this process, with all rights of whoever runs it, and so are its functions, with arguments that a
model made up. So it is one that a person names, and never one that is found.
"""

from __future__ import annotations

import inspect
import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from textmill.base.errors import TextmillError
from textmill.tokenization.chat.tools import Call

_TYPES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_LONGEST = 20_000  # characters of what a tool gives


class Toolbox:
    """The functions of a file whose names do not begin with `_`, as a chat template and a model are told of them.

    offered: name, description (the docstring) and parameters (from annotations) of each, as JSON has them
    """

    def __init__(self, path: Path) -> None:
        """Raises TextmillError when the file cannot be run, or defines no function."""
        self._functions = _functions(path)
        self.offered = [_described(name, function) for name, function in self._functions.items()]

    def call(self, call: Call) -> str:
        """What a function gives, as text: JSON, where it is none. What goes wrong is told to the model."""
        function = self._functions.get(call.name)
        if function is None:
            return f"error: there is no function {call.name}; there is {', '.join(self._functions)}"
        try:
            inspect.signature(function).bind(**call.arguments)
            result = function(**call.arguments)
            text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
        except Exception as error:  # whatever the person's own function raises
            text = f"error: {type(error).__name__}: {error}"
        return text[:_LONGEST]


def _functions(path: Path) -> Mapping[str, Callable[..., Any]]:
    try:
        space = runpy.run_path(str(path), run_name="tools")
    except OSError as error:
        raise TextmillError(f"cannot be read ({error.strerror})", where=path) from error
    except Exception as error:  # whatever the person's own program raises
        raise TextmillError(f"cannot be run ({type(error).__name__}: {error})", where=path) from error
    found = {
        name: value
        for name, value in space.items()
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == "tools"
    }
    if not found:
        raise TextmillError(
            "defines no function to call",
            where=path,
            advice="write def name(argument: str) -> str: with a docstring that says what it does",
        )
    return found


def _described(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    kinds: dict[str, Any] = {
        each: getattr(hints.get(each), "__origin__", hints.get(each)) for each in parameters
    }
    properties = {each: {"type": _TYPES.get(kind, "string")} for each, kind in kinds.items()}
    needed = [each for each, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": inspect.getdoc(function) or name,
            "parameters": {"type": "object", "properties": properties, "required": needed},
        },
    }
