"""Functions a model may call: the grammar its answer then follows, and what of an answer is a call.

A call is written in the model's own form (tokenization/chat/calls.py). The grammar lets the model say anything else
freely, or what a schema allows where one is wanted too, and inside of a call nothing but a function that was offered,
with arguments that its schema allows. What a model thinks before it answers (`<think>…</think>`) is told apart here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from textmill.inference.constraints import follows
from textmill.inference.requests import Constraint
from textmill.serving.service import Model
from textmill.tokenization.chat.calls import HERMES, HOLE, CallForm
from textmill.tokenization.chat.tools import Call

_THINK, _THOUGHT = "<think>", "</think>"


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

    def constraint(
        self,
        form: CallForm = HERMES,
        content: Constraint | None = None,
        special: Mapping[str, int] | None = None,
    ) -> Constraint:
        """What an answer must be: calls, or text, or, where `content` is wanted, what that allows.

        special: the tokens of the form that no text spells, by how they are spelt.
        """
        known = dict(special or {})
        if self.choice == "required":
            lines = ["start: calls"]
        elif content is not None:
            lines = ["start: calls | content", f"content: %json {content.text}"]
        else:
            lines = _with_text(form, known)
        allowed = [one for one in self.functions if self.name is None or one["name"] == self.name]
        more = form.between if self.parallel else None
        again = f" ({_terms(more, known)} call)*" if more is not None else ""
        rest = f"rest: {_terms(form.open[len(form.mark) :], known)} call{again} {_terms(form.close, known)}"
        lines += [
            f"calls: {_terms(form.mark, known)} rest",
            rest,
            f"call: {' | '.join(f'call_{number}' for number in range(len(allowed)))}",
        ]
        for number, function in enumerate(allowed):
            head = _terms(function["name"] + form.middle, known)
            lines.append(f"call_{number}: {head} arguments_{number}")
            lines.append(f"arguments_{number}: %json {_schema(function, form)}")
        return Constraint("grammar", "\n".join(lines))


def _with_text(form: CallForm, special: Mapping[str, int]) -> list[str]:
    """The beginning of a grammar of calls, or of text that is none and may stand before them."""
    if not form.mark:  # what begins as a call is one
        begun = r"\s*".join(map(_escaped, re.findall(r"\w+|[^\w\s]", form.open.partition(HOLE)[0])))
        return ["start: calls | TEXT", rf"TEXT: /(?s:.*)/ & ~/\s*{begun}(?s:.*)/"]
    unmarked = f"TEXT: /(?s:.*)/ & ~/(?s:.*){_escaped(form.mark)}(?s:.*)/"
    if any(name in form.mark for name in special):
        return ["start: TEXT | TEXT calls | calls", unmarked]
    return ["start: free rest | TEXT", unmarked, f"free[suffix={json.dumps(form.mark)}]: /(?s:.*)/"]


def _escaped(text: str) -> str:
    return re.escape(text).replace("/", r"\/")


def _terms(part: str, special: Mapping[str, int]) -> str:
    """A part of a form in the words of a grammar."""
    names = sorted(map(re.escape, special), key=len, reverse=True)
    terms: list[str] = []
    for piece in re.split(f"({'|'.join(names)})", part) if names else [part]:
        if piece in special:
            terms.append(f"<[{special[piece]}]>")
            continue
        for hole, some in groupby(piece, lambda character: character == HOLE):
            text = "".join(some)
            terms.append(f"/[A-Za-z0-9]{{{len(text)}}}/" if hole else json.dumps(text, ensure_ascii=False))
    return " ".join(terms)


def _schema(function: Mapping[str, Any], form: CallForm) -> str:
    """The JSON Schema of a function's arguments, written as templates write JSON: a model that was shown one form of it
    should not be made to write another."""
    parameters = dict(function.get("parameters") or {"additionalProperties": False})
    form_of_json: dict[str, Any] = {"whitespace_flexible": form.separators is None}
    if form.separators is not None:
        item, key = form.separators
        form_of_json |= {"item_separator": item, "key_separator": key}
    return json.dumps(parameters | {"type": "object", "x-guidance": form_of_json})


Kind = Literal["text", "reasoning"]
Piece = tuple[Kind, str] | Call


@dataclass
class Pieces:
    """An answer, as it comes, taken apart: what is said, what was thought before, which functions are called.

    form    of calls, where functions were offered
    thinks  whether the model may think first
    judge   says of a whole answer whether it is a call; None: whatever begins as one is. A form that is JSON and no
            more cannot be told from other JSON by its beginning
    thought how many pushes, of a token each, were thought
    """

    form: CallForm | None = None
    thinks: bool = False
    judge: Callable[[str], bool] | None = None
    thought: int = 0
    _held: str = ""
    _opened: str = ""  # of a call: what was written of it before what is held
    _state: Literal["begin", "thinking", "bare", "whole", "text", "open", "name", "after"] = "begin"
    _pushed: int = 0
    _skips: bool = False  # whether line ends are left out: behind a mark they say nothing
    _out: list[Piece] = field(default_factory=list)

    @classmethod
    def begun(cls, *arguments: Any) -> Pieces:
        """Of an answer whose prompt ends within a thought."""
        made = cls(*arguments)
        made._state, made._skips = "thinking", True
        return made

    def push(self, text: str) -> list[Piece]:
        """What has become certain with this text, of one token."""
        self._held += text
        self._pushed += 1
        thinking = self._state == "thinking"
        while self._step():
            thinking = thinking or self._state == "thinking"
        self.thought = self._pushed if thinking else self.thought
        out, self._out = self._out, []
        return out

    def finish(self) -> list[Piece]:
        """What is left when the answer has ended."""
        held = self._held.lstrip("\n") if self._skips else self._held
        self._held, self._skips = "", False
        if self._state == "after":  # a call whose end was not written
            return []
        if self._state == "whole" and self.form is not None:
            whole = self._opened + held
            if self.judge is None or self.judge(whole):
                return [*self.form.calls(whole)]
        held = self._opened + held if self._state in ("open", "name", "whole") else held
        return [("reasoning" if self._state == "thinking" else "text", held)] if held else []

    def _step(self) -> bool:
        """Go on by one; whether more may be done with what is there."""
        if self._skips:
            self._held = self._held.lstrip("\n")
            self._skips = not self._held
        return getattr(self, f"_in_{self._state}")()

    def _in_begin(self) -> bool:
        held, begun = self._held, self._held.lstrip()
        if not begun:
            return bool(held) and self.form is None and not self.thinks and self._go("text")
        if self.thinks and _THINK.startswith(begun[: len(_THINK)]):
            if len(begun) < len(_THINK):
                return False
            self._held, self._skips = begun[len(_THINK) :], True
            return self._go("thinking")
        return self._go("bare" if self.form is not None and not self.form.mark else "text")

    def _in_thinking(self) -> bool:
        if self._until(_THOUGHT, "reasoning"):
            self._skips, self.thinks = True, False
            return self._go("begin")
        return False

    def _in_bare(self) -> bool:
        assert self.form is not None
        self._opened, begun = "", self._held.lstrip()
        return self._past(begun, self.form.open, "name" if self.judge is None else "whole", otherwise="text")

    def _in_whole(self) -> bool:
        return False

    def _in_text(self) -> bool:
        if self.form is None or not self.form.mark:
            self._say("text", self._held)
            self._held = ""
            return False
        self._opened = self.form.mark
        return self._until(self.form.mark, "text") and self._go("open")

    def _in_open(self) -> bool:
        assert self.form is not None
        rest = self.form.open[len(self.form.mark) :]
        if self.form.goes_on(self._held, rest) is None:
            self._say("text", self._opened)
        return self._past(self._held, rest, "name", otherwise="text")

    def _in_name(self) -> bool:
        assert self.form is not None
        found = self.form.first(self._held)
        if found is None:
            return False
        call, end = found
        self._out.append(call)
        self._held, self._opened = self._held[end:], ""
        return self._go("after")

    def _in_after(self) -> bool:
        assert self.form is not None
        form, held = self.form, self._held
        if form.between is not None and form.goes_on(held, form.between) is not None:
            return self._past(held, form.between, "name", otherwise="text")
        self._skips = form.goes_on(held, form.close) == len(form.close)
        return self._past(held, form.close, "text", otherwise="text")

    def _past(self, text: str, part: str, then: str, *, otherwise: str) -> bool:
        """Go on behind a part of the form, once all of it is there; where it is something else, with what is held."""
        assert self.form is not None
        size = self.form.goes_on(text, part)
        if size is None:
            return self._go(otherwise)
        if size < len(part):
            return False
        self._held = text[size:]
        self._opened += text[:size]
        return self._go(then)

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


@dataclass(frozen=True)
class Speech:
    """How a model answers one request: what it may say, and how that is taken apart again.

    offer: the functions it may call; content: what it must be if it calls none.
    """

    model: Model
    offer: Offer | None = None
    content: Constraint | None = None

    @property
    def form(self) -> CallForm | None:
        """Of calls. Asks the template, which takes a while the first time."""
        return None if self.offer is None else self.model.calls

    def constraint(self) -> Constraint | None:
        """What an answer must be."""
        if self.offer is None or self.form is None:
            return self.content
        special = {name: token for token, name in self.form.special(self.model.tokenizer).items()}
        return self.offer.constraint(self.form, self.content, special)

    def spelt(self) -> dict[int, str]:
        """Special tokens that stand in the text of an answer, so that it can be taken apart."""
        special = self.model.tokenizer.special
        thinking = (_THINK, _THOUGHT) if self.model.thinks else ()
        marks = {special[name]: name for name in thinking if name in special}
        return marks if self.form is None else marks | self.form.special(self.model.tokenizer)

    def pieces(self) -> Pieces:
        """What takes an answer apart."""
        judge = None
        if self.form is not None and self.content is not None and not self.form.mark:
            judge = self._is_call
        make = Pieces.begun if self.model.begins_thinking else Pieces
        return make(self.form, self.model.thinks, judge)

    def _is_call(self, text: str) -> bool:
        assert self.offer is not None
        assert self.form is not None
        return follows(Offer(self.offer.functions, "required").constraint(self.form), text)


def arguments(call: Call) -> str:
    """The arguments of a call, as clients want them: JSON in a string."""
    return json.dumps(dict(call.arguments), ensure_ascii=False)


def taken_apart(pieces: Pieces, texts: Iterable[str]) -> tuple[str, str, Sequence[Call]]:
    """A whole answer, by the texts of its tokens: what is said, what was thought before, and the calls."""
    found = [piece for text in texts for piece in pieces.push(text)] + pieces.finish()
    said, thought = (
        "".join(one[1] for one in found if not isinstance(one, Call) and one[0] == kind)
        for kind in ("text", "reasoning")
    )
    return said, thought, [one for one in found if isinstance(one, Call)]
