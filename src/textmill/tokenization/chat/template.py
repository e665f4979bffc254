"""Conversations as a model was trained to read them: its chat template, and ids that nobody can forge.

Templates are Jinja, as transformers reads them. They come with models, so they are programs by strangers, and run
in a process of their own that can be ended (see chat_worker).
"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.tokenization import json_read
from textmill.tokenization.chat.protection import Protection
from textmill.tokenization.load import AnyTokenizer

Message = Mapping[str, Any]

# Of models trained here: who speaks, what was said, the end of the turn.
DEFAULT = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
_LARGEST = 1 << 20  # characters of a template
_SECONDS, _MEMORY, _CHARACTERS = 5.0, 512 << 20, 8 << 20  # for one rendering
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_DEPTH = 16  # of nested values in a message
_PROBE = "Zq7"  # stands for what an assistant says


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
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[str] | None = None

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **more: Any) -> str:
        """The text of a conversation, special tokens spelt out.

        messages: {"role", "content"}, oldest first. more: further variables, such as tools. What people wrote is in
        the text as it is, so use `ids` for a model. Raises TextmillError when the template refuses the messages,
        fails, or takes more time, memory or text than a template may.
        """
        variables = {
            "tools": None,
            "documents": None,
            **self.names,
            **more,
            "messages": [_checked(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        return self._ask(variables)

    def ids(
        self,
        tokenizer: AnyTokenizer,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        **more: Any,
    ) -> list[int]:
        """The ids of a conversation: special tokens are those the template writes, never what people wrote."""
        messages = [_checked(message) for message in messages]
        protection = Protection(tokenizer, self.source, messages)
        text = self.render(protection.messages, add_generation_prompt, **protection.shielded(more))
        return protection.ids(text)

    def ends(self, tokenizer: AnyTokenizer) -> tuple[int, ...]:
        """Ids that end an answer: the tokenizer's, and what the template writes after one."""
        talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _PROBE}]
        text = self.render(talk, add_generation_prompt=False)
        after = text.rpartition(_PROBE)[2].lstrip()
        names = sorted(tokenizer.special, key=len, reverse=True)
        turn = next((tokenizer.special[name] for name in names if after.startswith(name)), None)
        return tuple(dict.fromkeys((*tokenizer.ends, *([] if turn is None else [turn]))))

    @cached_property
    def system(self) -> bool:
        """Whether a conversation may begin with a system message."""
        with contextlib.suppress(TextmillError):
            talk = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "a"}]
            return _PROBE in self.render(talk)
        return False

    def close(self) -> None:
        """End the process, if there is one; the next rendering starts another."""
        with self._lock:
            self._end()

    def _ask(self, variables: Mapping[str, Any]) -> str:
        try:
            request = json.dumps({"variables": variables})
        except (TypeError, ValueError, RecursionError) as error:
            raise RecipeError(f"the messages are no plain data ({error})", where="messages") from error
        with self._lock:
            if self._worker is None:
                self._start()
            return self._exchange(request)

    def _start(self) -> None:
        """A process that has compiled the template. -P: nothing beside the worker's file is imported."""
        command = [sys.executable, "-P", str(Path(__file__).with_name("chat_worker.py"))]
        self._worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for an answer, not for this process
            text=True,
            encoding="utf-8",
        )
        weakref.finalize(self, _kill, self._worker)
        limits = {"seconds": self._seconds, "memory": _MEMORY, "characters": _CHARACTERS}
        self._exchange(json.dumps(limits), patience=30.0)  # Python itself may take its time to begin
        self._exchange(json.dumps({"source": self.source}))

    def _exchange(self, request: str, patience: float = 0.0) -> str:
        """One line to the process and one back; the process is ended when it fails. Raises TextmillError."""
        worker = self._worker
        assert worker is not None
        assert worker.stdin is not None
        try:
            worker.stdin.write(request + "\n")
            worker.stdin.flush()
            line = _line(worker, self._seconds + patience)
            answer = (
                json.loads(line)
                if line
                else {"kind": "limit", "error": "takes more memory than a template may"}
            )
        except TimeoutError:
            answer = {"kind": "limit", "error": f"takes more than {self._seconds:g} seconds"}
        except (OSError, ValueError):
            answer = {"kind": "limit", "error": "ended its process"}
        except BaseException:
            self._end()
            raise
        if "text" in answer:
            return answer["text"]
        if answer["kind"] != "refused":
            self._end()
        advice = {
            "refused": "change the messages",
            "limit": "the template is broken or hostile; give the model another",
        }.get(answer["kind"], "the template or the messages are not what the other expects")
        verb = "refuses this conversation: " if answer["kind"] == "refused" else ""
        raise TextmillError(f"{verb}{answer['error']}", where=self.where, advice=advice)

    def _end(self) -> None:
        if self._worker is not None:
            _kill(self._worker)
            self._worker = None


def _kill(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    for stream in (worker.stdin, worker.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    worker.wait()


def _line(worker: subprocess.Popen[str], seconds: float) -> str:
    """The next line of a process. Raises TimeoutError when it takes longer."""
    assert worker.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(worker.stdout, selectors.EVENT_READ)
        if not ready.select(seconds):
            raise TimeoutError
    return worker.stdout.readline()  # a line is written at once, when the rendering is over


def _checked(message: Message) -> dict[str, Any]:
    """A message as plain data. Raises RecipeError when it is none."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise RecipeError("a message needs a role and a content", where="messages")
    if not _ROLE.fullmatch(message["role"]):
        raise RecipeError(
            f"{message['role'][:40]!r} is no role", where="messages", advice="user, assistant or system"
        )
    _shallow(message, 0)
    return {str(key): value for key, value in message.items()}


def _shallow(value: Any, depth: int) -> None:
    if depth > _DEPTH:
        raise RecipeError("a message is nested too deeply", where="messages")
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for part in value:
        _shallow(part, depth + 1)


def read(directory: Path | str, names: Mapping[str, str] | None = None) -> ChatTemplate | None:
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
            found = json_read.plain_json(json_read.read_file(path), path)
            source = chosen(found.get("chat_template") if isinstance(found, dict) else None, path)
            if source is not None:
                return ChatTemplate(source, names, where=path)
    return None


def chosen(value: Any, where: object) -> str | None:
    """The template meant by a chat_template entry: a text, or a list of named ones with a default."""
    if value is None or isinstance(value, str):
        return value
    named: Iterable[Any] = value if isinstance(value, list) else ()
    sources = {part.get("name"): part.get("template") for part in named if isinstance(part, dict)}
    source = sources.get("default", next(iter(sources.values()), None))
    if not isinstance(source, str):
        raise DamagedError("chat_template is no text", where=where)
    return source


def default(tokenizer: AnyTokenizer) -> ChatTemplate | None:
    """The template of models trained here; None for a tokenizer without the tokens it writes."""
    needed = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    if not all(name in tokenizer.special for name in needed):
        return None
    return ChatTemplate(DEFAULT, tokenizer.names, where="the default chat template")
