"""Conversations as a model was trained to read them: its chat template, and ids that nobody can forge.

Templates are Jinja, as transformers reads them. They come with models, so they are programs by strangers, and run
in a process of their own that can be ended (see worker.py).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from textmill.base.confined import Child, ChildEnded, ChildFailed, Limits
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.tokenization import json_read
from textmill.tokenization.chat.answers import Answer, agree, aligned
from textmill.tokenization.chat.protection import Protection, Written
from textmill.tokenization.protocol import AnyTokenizer

Message = Mapping[str, Any]
Turns = Literal["all", "last"]

# Of models trained here: who speaks, what was said, the end of the turn.
DEFAULT = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
_WORKER = Path(__file__).with_name("worker.py")
_LARGEST = 1 << 20  # characters of a template
_SECONDS, _MEMORY, _CHARACTERS = 5.0, 512 << 20, 8 << 20  # for one rendering
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_DEPTH = 16  # of nested values in a message
_PROBE = "Zq7"  # stands for what somebody says
_PROBE_ID = "Zq7aaaaaa"  # of a call: some take nine letters and digits, and nothing else
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": _PROBE,
        "description": "a",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}
_NONE: Mapping[str, Any] = {}
_USER = "user"
# Conversations in which a role can be seen: a template may refuse one that an assistant ends.
_TALKS = {
    _USER: ((_USER,),),
    "system": (("system", _USER),),
    "assistant": ((_USER, "assistant"), (_USER, "assistant", _USER)),
}


@dataclass(frozen=True, eq=False)
class Rendered:
    """A conversation as a template writes it: its text, its ids, and which of them assistants say."""

    written: Written
    answers: tuple[Answer, ...] = ()

    @property
    def text(self) -> str:
        """All of it, special tokens spelt out."""
        return self.written.text

    @property
    def ids(self) -> np.ndarray:
        """(n,) uint32."""
        return self.written.ids

    @property
    def offsets(self) -> np.ndarray:
        """(n, 2) int64: the characters [start, end) of the text that each id stands for."""
        return self.written.offsets


class ChatTemplate:
    """A chat template, ready to render. Safe to use from several threads; a process is started when first needed."""

    def __init__(
        self,
        source: str,
        names: Mapping[str, str] | None = None,
        *,
        where: object = "chat template",
        seconds: float = _SECONDS,
    ) -> None:
        """source: the Jinja text; names: bos_token, eos_token, … as `tokenizer.names` has them; seconds: most time
        one rendering may take. Raises DamagedError when the source is absurdly long."""
        if len(source) > _LARGEST:
            raise DamagedError(f"is {len(source)} characters long", where=where)
        self.source, self.names, self.where, self._seconds = source, dict(names or {}), where, seconds
        self._lock = threading.RLock()
        self._child: Child | None = None
        self._forms: dict[str, bool] = {}  # by role: whether a content is a list of parts

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **more: Any) -> str:
        """The text of a conversation, special tokens spelt out.

        messages: {"role", "content"}, oldest first; a content is a text, or parts {"type": "text", "text"}, and is
        given to the template as it takes it. more: further variables, such as tools. What people wrote is in the text
        as it is, so use `ids` for a model. Raises TextmillError when the template refuses the messages, fails, or takes
        more time, memory or text than a template may.
        """
        return self._rendered([self._fitting(message) for message in messages], add_generation_prompt, more)

    def _rendered(
        self, messages: Sequence[Message], add_generation_prompt: bool = True, more: Mapping[str, Any] = _NONE
    ) -> str:
        """The same of messages whose contents have the form the template takes."""
        return self._marked(messages, add_generation_prompt, more)[0]

    def _marked(
        self, messages: Sequence[Message], add_generation_prompt: bool = True, more: Mapping[str, Any] = _NONE
    ) -> tuple[str, list[tuple[int, int]]]:
        """The same, and what of it the template marks as generated."""
        variables = {
            "tools": None,
            "documents": None,
            **self.names,
            **more,
            "messages": list(messages),
            "add_generation_prompt": add_generation_prompt,
        }
        answer = self._ask(variables)
        return answer["text"], [(start, end) for start, end in answer["marks"]]

    def _fitting(self, message: Message) -> dict[str, Any]:
        """A message whose content has the form the template takes."""
        checked = _checked(message)
        content = checked.get("content")
        if content is None or not isinstance(content, (str, list, tuple)):
            return checked
        takes_parts = self._takes_parts(str(checked["role"]))
        if isinstance(content, str):
            return checked | {"content": _parts(content)} if takes_parts else checked
        return checked if takes_parts else checked | {"content": "".join(map(_text_of, content))}

    def _takes_parts(self, role: str) -> bool:
        """Whether a content of this role is a list of parts to the template. One that can do with a text gets that."""
        role = role if role in _TALKS else _USER
        if role not in self._forms:
            forms = [content for content in (_PROBE, _parts(_PROBE)) if self._shows(role, content)]
            self._forms[role] = bool(forms) and forms[0] != _PROBE
        return self._forms[role]

    def _shows(self, role: str, content: Any) -> bool:
        """Whether a content of a role can be seen in what the template makes of some conversation."""
        user = content if role == _USER else (_parts("a") if self._takes_parts(_USER) else "a")
        said = {_USER: user, role: content}
        for roles in _TALKS[role]:
            with contextlib.suppress(TextmillError):
                if _PROBE in self._rendered([{"role": who, "content": said[who]} for who in roles]):
                    return True
        return False

    @cached_property
    def readable(self) -> bool:
        """Whether what a user says is in what the template writes, whatever form it is given in."""
        return any(self._shows(_USER, content) for content in (_PROBE, _parts(_PROBE)))

    def ids(
        self,
        tokenizer: AnyTokenizer,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        **more: Any,
    ) -> list[int]:
        """The ids of a conversation: special tokens are those the template writes, never what people wrote."""
        _, whole, _, _ = self._written(tokenizer, messages, add_generation_prompt, more)
        return whole.ids.tolist()

    def _written(
        self,
        tokenizer: AnyTokenizer,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        more: Mapping[str, Any],
    ) -> tuple[Protection, Written, list[tuple[int, int]], Mapping[str, Any]]:
        """The messages and other variables protected, what becomes of them, and what of it is marked as generated."""
        protection = Protection(tokenizer, self.source, [self._fitting(message) for message in messages])
        more = protection.shielded(more)
        text, marks = self._marked(protection.messages, add_generation_prompt, more)
        places = [tuple(len(protection.unmarked(text[:at])) for at in mark) for mark in marks]
        return protection, protection.written(text), [(start, end) for start, end in places], more

    def read(
        self,
        tokenizer: AnyTokenizer,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        *,
        turns: Turns = "all",
        **more: Any,
    ) -> Rendered:
        """A conversation as the template writes it, its ids, and which of them assistants say: in all of their turns,
        or in the last one. That is not asked where an answer is wanted.

        Raises TextmillError where the template refuses the conversation, and Unaligned, with the turn, where nobody can
        tell what is said in one: the template writes it otherwise once more is said, or not behind its own prompt for
        an answer, or marks other tokens as generated.
        """
        protection, whole, marks, shown = self._written(tokenizer, messages, add_generation_prompt, more)
        if add_generation_prompt:
            return Rendered(whole)
        said = [
            number for number, message in enumerate(protection.messages) if message["role"] == "assistant"
        ]
        answers = []
        for number in said if turns == "all" else said[-1:]:
            asked, until = (
                protection.written(self._rendered(protection.messages[:stop], prompted, shown))
                for stop, prompted in ((number, True), (number + 1, False))
            )
            answers.append(aligned(number + 1, asked, until, whole, tokenizer, self.where))
        if marks:
            agree(answers, marks, whole, self.where)
        return Rendered(whole, tuple(answers))

    def ends(self, tokenizer: AnyTokenizer) -> tuple[int, ...]:
        """Ids that end an answer: the tokenizer's, and what the template writes after one, if it shows any."""
        turn = None
        for roles in _TALKS["assistant"]:
            talk = [{"role": who, "content": _PROBE if who == "assistant" else "a"} for who in roles]
            with contextlib.suppress(TextmillError):  # a template may refuse a talk that an assistant ends
                _, shown, after = self.render(talk, add_generation_prompt=False).rpartition(_PROBE)
                names = sorted(tokenizer.special, key=len, reverse=True)
                found = (tokenizer.special[name] for name in names if after.lstrip().startswith(name))
                turn = next(found, None) if shown else None
                break
        return tuple(dict.fromkeys((*tokenizer.ends, *([] if turn is None else [turn]))))

    @cached_property
    def system(self) -> bool:
        """Whether a conversation may begin with a system message."""
        return any(self._shows("system", content) for content in (_PROBE, _parts(_PROBE)))

    @cached_property
    def offers_tools(self) -> bool:
        """Whether it writes the tools that may be called."""
        return self._writes([{"role": _USER, "content": "a"}], tools=[_PROBE_TOOL])

    @cached_property
    def writes_calls(self) -> bool:
        """Whether it writes the calls of a message."""
        call = {"id": _PROBE_ID, "type": "function", "function": {"name": _PROBE, "arguments": {}}}
        return self._writes(
            [{"role": _USER, "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        )

    @cached_property
    def knows_tools(self) -> bool:
        """Whether it writes what a tool gave, as a tool's and not as anybody else's."""
        call = {"id": _PROBE_ID, "type": "function", "function": {"name": "f", "arguments": {}}}
        talk = [
            {"role": _USER, "content": "a"},
            {"role": "assistant", "content": "b", "tool_calls": [call]},
            {"role": "tool", "name": "f", "tool_call_id": _PROBE_ID, "content": _PROBE},
        ]
        return self._writes(talk)

    def _writes(self, messages: Sequence[Message], **more: Any) -> bool:
        """Whether the probe can be seen in what it makes of messages."""
        with contextlib.suppress(TextmillError):
            return _PROBE in self.render(messages, add_generation_prompt=False, **more)
        return False

    def close(self) -> None:
        """End the process, if there is one; the next rendering starts another."""
        with self._lock:
            if self._child is not None:
                self._child.close()

    def _ask(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the process answers; it is started where there is none, and ended when it fails."""
        with self._lock:
            if self._child is None or not self._child.alive:
                limits = Limits(
                    self._seconds, self._seconds, _MEMORY, file_bytes=0, answer_bytes=16 * _CHARACTERS
                )
                zone = {name: os.environ[name] for name in ("TZ",) if name in os.environ}  # of strftime_now
                setting = {"characters": _CHARACTERS}
                self._child = Child(_WORKER, setting, limits=limits, environment=zone)
                self._exchange({"source": self.source})
            return self._exchange({"variables": variables})

    def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._child is not None
        try:
            answer = self._child.ask(request)
        except ChildEnded as error:
            causes = {
                "time": f"takes more than {self._seconds:g} seconds",
                "output": "writes more than a prompt may hold",
                "exit": "takes more memory than a template may",
            }
            answer = {"kind": "limit", "error": causes[error.reason]}
        except ChildFailed as error:
            answer = {"kind": "limit", "error": f"ended its process ({error})"}
        except (TypeError, ValueError, RecursionError) as error:
            raise RecipeError(f"the messages are not plain data ({error})", where="messages") from error
        if "text" in answer:
            return answer
        if answer["kind"] != "refused":
            self.close()
        advice = {
            "refused": "change the messages",
            "limit": "the template is broken or hostile; use another",
        }.get(answer["kind"], "the template and the messages do not fit each other")
        verb = "refuses this conversation: " if answer["kind"] == "refused" else ""
        raise TextmillError(f"{verb}{answer['error']}", where=self.where, advice=advice)


def _checked(message: Message) -> dict[str, Any]:
    """A message as plain data. Raises RecipeError when it is none."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise RecipeError("a message needs a role and a content", where="messages")
    if not _ROLE.fullmatch(message["role"]):
        raise RecipeError(
            f"{message['role'][:40]!r} is not a role", where="messages", advice="user, assistant or system"
        )
    _shallow(message, 0)
    return {str(key): value for key, value in message.items()}


def _parts(text: str) -> list[dict[str, str]]:
    """A text as the content of a message in parts."""
    return [{"type": "text", "text": text}]


def _text_of(part: Any) -> str:
    """The text of a part of a content. Raises RecipeError for a part that is none."""
    text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else None
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise RecipeError(
            f"a content has a part that is not text ({kind})", where="messages", advice="give text only"
        )
    return text


def _shallow(value: Any, depth: int) -> None:
    if depth > _DEPTH:
        raise RecipeError("a message is nested too deeply", where="messages")
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for part in value:
        _shallow(part, depth + 1)


def read_template(directory: Path | str, names: Mapping[str, str] | None = None) -> ChatTemplate | None:
    """The chat template of a model directory: chat_template.jinja, or chat_template in tokenizer_config.json.

    None where there is none. Raises DamagedError.
    """
    directory = Path(directory)
    path = directory / "chat_template.jinja"
    if path.is_file():
        data = json_read.read_file(path, 4 * _LARGEST)
        return ChatTemplate(data.decode("utf-8", "replace"), names, where=path)
    for name in ("chat_template.json", json_read.SETTINGS):
        path = directory / name
        if path.is_file():
            config = json_read.plain_json(json_read.read_file(path), path)
            source = chosen(config.get("chat_template") if isinstance(config, dict) else None, path)
            if source is not None:
                return ChatTemplate(source, names, where=path)
    return None


def chosen(value: Any, where: object) -> str | None:
    """The template meant by a chat_template entry: a text, or a list of named ones with a default."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [{"name": name, "template": template} for name, template in value.items()]
    named: Iterable[Any] = value if isinstance(value, list) else ()
    sources = {part.get("name"): part.get("template") for part in named if isinstance(part, dict)}
    source = sources.get("default", next(iter(sources.values()), None))
    if not isinstance(source, str):
        raise DamagedError("chat_template is not text", where=where)
    return source


def default(tokenizer: AnyTokenizer) -> ChatTemplate | None:
    """The template of models trained here; None for a tokenizer without the tokens it writes."""
    needed = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    if not all(name in tokenizer.special for name in needed):
        return None
    return ChatTemplate(DEFAULT, tokenizer.names, where="the default chat template")
