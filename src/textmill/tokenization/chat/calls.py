"""How a template writes the calls of a message: found by writing some, and reading what stands around them.

    open name middle arguments (between name middle arguments)* close

Hermes and Qwen     open `<tool_call>⏎{"name": "`   middle `", "arguments": `   close `}⏎</tool_call>`
Llama               open `{"name": "`               middle `", "parameters": `  close `}`
Mistral             open `[TOOL_CALLS]`             middle `[ARGS]`             close nothing

No model is known by its name here. A template without a place for calls is given them as text (see tools.py), so its
form is Hermes'.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from textmill.base.errors import TextmillError
from textmill.tokenization.chat.template import ChatTemplate
from textmill.tokenization.chat.tools import Call, calls_in, spelt_out
from textmill.tokenization.protocol import AnyTokenizer

HOLE = "\ufdd1"  # stands for a letter or digit of a call's id
_MARK = re.compile(r"[^\s{\"]*")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_DECODER = json.JSONDecoder()
# What is written to see the form: two calls whose parts occur nowhere else.
_NAMES, _IDS, _SAID = ("Zq7a", "Zq7b"), ("Zq8aaaaaa", "Zq8bbbbbb"), "Zq9"
_GIVEN = {"Zq7k": "Zq7v", "Zq7l": 1}
_ARGUMENTS = re.compile(r'\{(\s*)"Zq7k"(\s*:\s*)"Zq7v"(\s*,\s*)"Zq7l"(?:\2)1(\s*)\}')
_USER, _ASSISTANT = "user", "assistant"


@dataclass(frozen=True)
class CallForm:
    """The form of calls, as above.

    between     None: a message has one call
    separators  between items and behind keys of the arguments; None: any white space may stand there
    """

    open: str
    middle: str
    between: str | None
    close: str
    separators: tuple[str, str] | None = (", ", ": ")

    @property
    def mark(self) -> str:
        """What nothing but a call begins with: the tag or token that opens it; empty where it is JSON and no more."""
        found = _MARK.match(self.open)
        mark = found[0].partition(HOLE)[0] if found else ""
        return mark if len(mark) > 1 and any(map(str.isalpha, mark)) else ""

    @property
    def parts(self) -> tuple[str, ...]:
        """All that is always the same."""
        return self.open, self.middle, self.between or "", self.close

    def special(self, tokenizer: AnyTokenizer) -> dict[int, str]:
        """The special tokens in it, which no text shows: id -> how it is spelt here."""
        known = tokenizer.special
        return {known[name]: name for name in known if name and any(name in part for part in self.parts)}

    def shown(self, tokenizer: AnyTokenizer) -> CallForm:
        """The same in a text that special tokens have vanished from."""
        made = self
        for name in sorted(self.special(tokenizer).values(), key=len, reverse=True):
            between = None if made.between is None else made.between.replace(name, "")
            parts = (made.open.replace(name, ""), made.middle.replace(name, ""), made.close.replace(name, ""))
            made = replace(made, open=parts[0], middle=parts[1], between=between, close=parts[2])
        return made

    def first(self, text: str) -> tuple[Call, int] | None:
        """The call of a text that begins behind `open` or `between`, and where its arguments end; None where there is
        none, or not yet.

        >>> HERMES.first('add", "arguments": {"a": 1}}')
        (Call(name='add', arguments={'a': 1}), 27)
        """
        name = _NAME.match(text)
        while name is not None and not _begins(text, self.middle, name.end()):
            name = _NAME.match(text, 0, name.end() - 1)  # where what follows a name might be part of one
        if name is None:
            return None
        try:
            given, end = _DECODER.raw_decode(text, name.end() + len(self.middle))
        except (ValueError, RecursionError):
            return None
        return (Call(name[0], given), end) if isinstance(given, dict) else None

    def goes_on(self, text: str, part: str) -> int | None:
        """How many characters of a text are this part of the form, at its beginning: all of the part's, or as many as
        there are where more may come; None where it is something else."""
        size = min(len(text), len(part))
        return size if _begins(text, part[:size], 0) else None

    def calls(self, text: str) -> list[Call]:
        """All calls of a whole answer, in their order."""
        return [*self._calls(text)]

    def _calls(self, text: str) -> Iterator[Call]:
        at = _find(text, self.open)
        while at is not None:
            found = self.first(text[at + len(self.open) :])
            if found is None:
                return
            yield found[0]
            text = text[at + len(self.open) + found[1] :]
            while self.between and _begins(text, self.between, 0):
                if (found := self.first(text[len(self.between) :])) is None:
                    return
                yield found[0]
                text = text[len(self.between) + found[1] :]
            at = _find(text, self.open) if self.mark else None


HERMES = CallForm(
    '<tool_call>\n{"name": "',
    '", "arguments": ',
    '}\n</tool_call>\n<tool_call>\n{"name": "',
    "}\n</tool_call>",
)


def told_apart(form: CallForm, text: str) -> tuple[str, list[Call]]:
    """What an answer says before it calls, and the calls: in this form, or else in one of those that models share.

    >>> told_apart(HERMES, 'Let me see. <tool_call>{"name": "add", "arguments": {}}</tool_call>')
    ('Let me see.', [Call(name='add', arguments={})])
    """
    if calls := form.calls(text):
        return text[: _find(text, form.open)].rstrip(), calls
    if calls := calls_in(text):
        return "" if text.lstrip()[:1] in ("{", "[") else text.partition("<tool_call>")[0].rstrip(), calls
    return text, []


def _begins(text: str, part: str, at: int) -> bool:
    """Whether a part of a form stands at this place of a text."""
    if HOLE not in part:
        return text.startswith(part, at)
    there = text[at : at + len(part)]
    return len(there) == len(part) and all(
        one.isascii() and one.isalnum() if wanted == HOLE else one == wanted
        for one, wanted in zip(there, part, strict=True)
    )


def _find(text: str, part: str) -> int | None:
    """Where a part of a form stands first; one that is nothing stands at the beginning."""
    fixed = part.partition(HOLE)[0]
    at = text.find(fixed)
    while at >= 0 and not _begins(text, part, at):
        at = text.find(fixed, at + 1)
    return None if at < 0 else at


def form_of(template: ChatTemplate, tokenizer: AnyTokenizer) -> CallForm:
    """How a template writes calls. Where that cannot be told (it refuses them, or writes arguments as no JSON), it is
    Hermes' form."""
    for tools in ([_tool(name) for name in _NAMES], None):  # some write them where they are in the way
        with contextlib.suppress(TextmillError):
            one = _written(template, tokenizer, tools, 1)
            found = None if one is None else _around(one)
            if found is None:
                continue
            with contextlib.suppress(TextmillError):  # some refuse two calls
                two = _written(template, tokenizer, tools, 2)
                found = found if two is None else replace(found, between=_between(found, two))
            return found
    return HERMES


def _written(template: ChatTemplate, tokenizer: AnyTokenizer, tools: Any, number: int) -> str | None:
    """What the assistant writes in a message of so many calls, without what ends its turn; None where that cannot be
    told apart from what stands before. Raises TextmillError where the template refuses the conversation."""
    asked: list[Mapping[str, Any]] = [{"role": _USER, "content": "a"}]
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": _GIVEN}}
        for id, name in zip(_IDS[:number], _NAMES, strict=False)
    ]

    def rendered(*answer: Mapping[str, Any], prompted: bool = False) -> str:
        messages, offered = spelt_out(template, [*asked, *answer], tools)
        return template.render(messages, prompted, **({"tools": offered} if offered else {}))

    whole = rendered({"role": _ASSISTANT, "content": "", "tool_calls": calls})
    before, _, end = rendered({"role": _ASSISTANT, "content": _SAID}).rpartition(_SAID)
    for start in (rendered(prompted=True), before):
        if whole.startswith(start) and start:
            return _without_end(whole[len(start) :], end, tokenizer).lstrip()
    return None


def _without_end(said: str, end: str, tokenizer: AnyTokenizer) -> str:
    """What was said without the end of its turn: that of other answers, or a special token of its own."""
    if end.strip() and said.endswith(end):
        return said[: -len(end)]
    said = said.rstrip()
    names = sorted(tokenizer.special, key=len, reverse=True)
    return said.removesuffix(next((name for name in names if name and said.endswith(name)), ""))


def _tool(name: str) -> dict[str, Any]:
    given = {"Zq7k": {"type": "string"}, "Zq7l": {"type": "integer"}}
    parameters = {"type": "object", "properties": given, "required": []}
    return {"type": "function", "function": {"name": name, "description": "a", "parameters": parameters}}


def _around(said: str) -> CallForm | None:
    """The form of one call."""
    at, given = len(said.partition(_NAMES[0])[0]), _ARGUMENTS.search(said)
    if given is None or given.start() < at or len(said.split(_NAMES[0])) != 2:
        return None
    inside, key, item, last = given.groups()
    open, middle, close = map(
        _with_holes, (said[:at], said[at + len(_NAMES[0]) : given.start()], said[given.end() :])
    )
    separators = None if inside or last else (item, key)
    return CallForm(open, middle, None, close, separators) if open and middle else None


def _between(form: CallForm, said: str) -> str | None:
    """What stands between two calls; None where the second is not written as the first."""
    first, second = (len(said.partition(name)[0]) for name in _NAMES)
    given: Sequence[re.Match[str]] = [*_ARGUMENTS.finditer(said)]
    if second < first or len(given) != 2 or not given[0].end() <= second <= given[1].start():
        return None
    same = (
        _with_holes(said[:first]) == form.open
        and _with_holes(said[second + len(_NAMES[1]) : given[1].start()]) == form.middle
        and _with_holes(said[given[1].end() :]) == form.close
    )
    return _with_holes(said[given[0].end() : second]) if same else None


def _with_holes(part: str) -> str:
    for id in _IDS:
        part = part.replace(id, HOLE * len(id))
    return part
