"""Functions a model may call: the grammar its answer then follows, and what of an answer is a call.

A call is written as Hermes and Qwen made common: JSON, {"name": …, "arguments": {…}}, between <tool_call> and
</tool_call>. The grammar lets the model say anything else freely, and inside of a call nothing but a function that was
offered, with arguments that its schema allows. What a model thinks before it answers (`<think>…</think>`) is told apart
here, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from textmill.inference.requests import Constraint
from textmill.tokenization.chat.tools import Call, calls_in

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_THINK, _THOUGHT = "<think>", "</think>"
# As templates write JSON: a model that was shown one form of it should not be made to write another.
_AS_TEMPLATES = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


@dataclass(frozen=True)
class Offer:
    """Functions that may be called. choice: whether they may be, must be (any, or the one of this name)."""

    functions: tuple[Mapping[str, Any], ...]  # name, description, parameters (a JSON Schema)
    choice: Literal["auto", "required"] = "auto"
    name: str | None = None
    parallel: bool = True

    def plain(self) -> list[dict[str, Any]]:
        """As a chat template is told of them."""
        return [{"type": "function", "function": dict(function)} for function in self.functions]

    def constraint(self) -> Constraint:
        """What an answer must be."""
        allowed = [one for one in self.functions if self.name is None or one["name"] == self.name]
        calls = f'"{_OPEN}" call' if self.choice == "required" else "free call"
        more = f' ("\\n{_OPEN}" call)*' if self.parallel else ""
        lines = [
            f"start: {calls}{more}" + ("" if self.choice == "required" else " | TEXT"),
            f'call: "\\n" ({" | ".join(f"call_{number}" for number in range(len(allowed)))}) "\\n{_CLOSE}"',
            *(f"call_{number}: %json {_schema(function)}" for number, function in enumerate(allowed)),
        ]
        if self.choice != "required":
            lines.append(f"TEXT: /(?s:.*)/ & ~/(?s:.*){_OPEN}(?s:.*)/")
            lines.append(f'free[suffix="{_OPEN}"]: /(?s:.*)/')
        return Constraint("grammar", "\n".join(lines))


def _schema(function: Mapping[str, Any]) -> str:
    """The JSON Schema of a call of a function."""
    parameters = dict(function.get("parameters") or {"type": "object", "additionalProperties": False})
    definitions = {name: parameters.pop(name) for name in ("$defs", "definitions") if name in parameters}
    schema = {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": parameters},
        "required": ["name", "arguments"],
        "additionalProperties": False,
        "x-guidance": _AS_TEMPLATES,
    }
    return json.dumps(schema | definitions)


Kind = Literal["text", "reasoning"]
Piece = tuple[Kind, str] | Call


@dataclass
class Pieces:
    """An answer, as it comes, taken apart: what is said, what was thought before, which functions are called.

    calls: whether functions were offered. thinks: whether the model may think first.
    """

    calls: bool = False
    thinks: bool = False
    _held: str = ""
    _state: Literal["begin", "thinking", "text", "call", "json"] = "begin"
    _skips: bool = False  # whether line ends are left out: behind a mark they say nothing
    _out: list[Piece] = field(default_factory=list)

    def push(self, text: str) -> list[Piece]:
        """What has become certain with this text."""
        self._held += text
        while self._step():
            pass
        out, self._out = self._out, []
        return out

    def finish(self) -> list[Piece]:
        """What is left when the answer has ended."""
        held, self._held = self._held.lstrip("\n") if self._skips else self._held, ""
        if self._state in ("call", "json"):
            found = calls_in(_OPEN + held if self._state == "call" else held)
            if found:
                return [*found]
            held = _OPEN + held if self._state == "call" else held
        return [("reasoning" if self._state == "thinking" else "text", held)] if held else []

    def _step(self) -> bool:
        """Go on by one; whether more may be done with what is there."""
        if self._skips:
            self._held = self._held.lstrip("\n")
            self._skips = not self._held
        held = self._held
        if self._state == "begin":
            begun = held.lstrip()
            if not begun:
                return self._go("text") if not (self.calls or self.thinks) and held else False
            if self.thinks and _THINK.startswith(begun[: len(_THINK)]):
                if len(begun) < len(_THINK):
                    return False
                self._held, self._skips = begun[len(_THINK) :], True
                return self._go("thinking")
            return self._go("json" if self.calls and begun[0] in "{[" else "text")
        if self._state == "thinking":
            if self._until(_THOUGHT, "reasoning"):
                self._skips, self.thinks = True, False
                return self._go("begin")
            return False
        if self._state == "text":
            if not self.calls:
                self._say("text", held)
                self._held = ""
                return False
            return self._until(_OPEN, "text") and self._go("call")
        if self._state == "call" and _CLOSE in held:
            written, _, self._held = held.partition(_CLOSE)
            found = calls_in(_OPEN + written + _CLOSE)
            self._out += found
            if not found:
                self._say("text", _OPEN + written + _CLOSE)
            self._skips = True
            return self._go("text")
        return False

    def _go(self, state: Any) -> bool:
        self._state = state
        return True

    def _until(self, mark: str, kind: Kind) -> bool:
        """Say what stands before a mark; whether the mark is there. What may be its beginning is held back."""
        before, found, after = self._held.partition(mark)
        if found:
            self._say(kind, before)
            self._held = after
            return True
        keep = next((size for size in range(len(mark) - 1, 0, -1) if before.endswith(mark[:size])), 0)
        self._say(kind, before[: len(before) - keep])
        self._held = before[len(before) - keep :]
        return False

    def _say(self, kind: Kind, text: str) -> None:
        if text:
            self._out.append((kind, text))


def arguments(call: Call) -> str:
    """The arguments of a call, as clients want them: JSON in a string."""
    return json.dumps(dict(call.arguments), ensure_ascii=False)


def taken_apart(pieces: Pieces, text: str) -> tuple[str, str, Sequence[Call]]:
    """A whole answer: what is said, what was thought before, and the calls."""
    found = [*pieces.push(text), *pieces.finish()]
    said, thought = (
        "".join(one[1] for one in found if not isinstance(one, Call) and one[0] == kind)
        for kind in ("text", "reasoning")
    )
    return said, thought, [one for one in found if isinstance(one, Call)]
