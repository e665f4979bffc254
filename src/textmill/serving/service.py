"""The models that are served, and what they are asked with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Request

from textmill.base.errors import TextmillError
from textmill.inference.engine import Engine, Served
from textmill.inference.requests import Limits
from textmill.serving.kept import Kept
from textmill.serving.keys import Key
from textmill.serving.patience import Patience
from textmill.serving.refusals import Refusal
from textmill.tasks.table import task_of
from textmill.tasks.task import Task
from textmill.tokenization.chat.calls import HERMES, CallForm, form_of

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained
    from textmill.stages.use.model import LanguageModel
    from textmill.stages.workspace.workspace import Workspace
    from textmill.tokenization.chat.template import ChatTemplate
    from textmill.tokenization.protocol import AnyTokenizer

_CHARACTERS = 4  # about so many to a token


@dataclass(frozen=True)
class Model:
    """A model under its name: as the engine serves it, and as the rest of the house uses it."""

    name: str
    language_model: LanguageModel
    served: Served
    since: int

    @property
    def pretrained(self) -> Pretrained:
        """The model and what comes with it."""
        return self.served.pretrained

    @property
    def tokenizer(self) -> AnyTokenizer:
        """Its tokenizer."""
        return self.pretrained.tokenizer

    @cached_property
    def task(self) -> Task:
        """What it is for."""
        return task_of(self.pretrained)

    @cached_property
    def template(self) -> ChatTemplate | None:
        """How it reads conversations; None: nobody said."""
        return self.pretrained.chat

    @cached_property
    def calls(self) -> CallForm:
        """How it writes calls of functions: as its template does."""
        return HERMES if self.template is None else form_of(self.template, self.tokenizer)

    @property
    def thinks(self) -> bool:
        """Whether it may think before it answers."""
        return self.template is not None and "<think>" in self.template.source

    @cached_property
    def begins_thinking(self) -> bool:
        """Whether its prompt for an answer ends within a thought."""
        if self.template is None or not self.thinks:
            return False
        with contextlib.suppress(TextmillError):
            return self.template.render([{"role": "user", "content": "a"}]).rstrip().endswith("<think>")
        return False

    @cached_property
    def fingerprint(self) -> str:
        """What `system_fingerprint` says: which weights answer."""
        return f"fp_{self.served.fingerprint[:16]}"

    def plain(self) -> dict[str, Any]:
        """As /v1/models lists it: OpenAI's fields, and ours."""
        openai = {"id": self.name, "object": "model", "created": self.since, "owned_by": "textmill"}
        return openai | {
            "task": self.task.name,
            "context_length": self.pretrained.longest,
            "deterministic": self.served.deterministic,
            "system_fingerprint": self.fingerprint,
        }


@dataclass
class Reading:
    """Characters that are being read, or wait for it: so many at most, together, unless nothing else is."""

    most: int
    now: int = 0
    speed: float = 0.0  # characters a second, of what was read before

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Take so many, for as long as they are read. Raises Refusal where too much waits already."""
        if self.now and self.now + size > self.most:
            wait = self.now / self.speed if self.speed else 1.0
            what = "More is being asked than can be answered: ask again later."
            raise Refusal(429, what, code="overloaded", retry_after=wait)
        began, before = time.monotonic(), self.now
        self.now += size
        try:
            yield
        finally:
            self.now -= size
            if (seconds := time.monotonic() - began) > 0:
                self.speed = (before + size) / seconds


@dataclass
class Service:
    """All that routes ask: the models, the engine that answers, and the store of documents."""

    models: Mapping[str, Model]
    engine: Engine
    workspace: Workspace
    store: Path
    patience: Patience = field(default_factory=Patience)
    folders: tuple[Path, ...] = ()  # whose files may be added to the store
    kept: Kept | None = None  # responses, where they are
    reading: Reading = field(default_factory=lambda: Reading(400_000))
    draining: bool = False
    # Blocking work that is not the model's own: templates, tokenizers, the store.
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "service"))
    storing: threading.Lock = field(default_factory=threading.Lock)

    def model(self, name: str) -> Model:
        """The model of this name. Raises Refusal where none is served under it."""
        if name not in self.models:
            what = f"There is no model {name[:100]!r} here; there is {', '.join(self.models)}."
            raise Refusal(404, what, code="model_not_found", param="model")
        return self.models[name]

    async def aside(self, work: Callable[[], Any]) -> Any:
        """What blocking work gives, done beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def close(self) -> None:
        """Nothing is answered from here on."""
        self.engine.close()
        self.threads.shutdown(cancel_futures=True)


def load(
    workspace: Workspace,
    targets: Mapping[str, str],
    *,
    adapters: Mapping[str, str] | None = None,
    weights: str = "fp32",
    limits: Limits | None = None,
    store: Path | None = None,
    folders: Sequence[Path] = (),
    responses: Path | None = None,
    patience: Patience | None = None,
) -> Service:
    """Load models and begin to serve them. targets: where each name's model is; adapters: beside the first of them, in
    the same memory. store: file of the documents; folders: whose files may be added to it; responses: folder in which
    responses are kept, None: nowhere.

    Raises TextmillError where one is not there or not whole.
    """
    from textmill.stages.use.model import LanguageModel

    loaded = {name: LanguageModel(workspace, target, weights=weights) for name, target in targets.items()}
    first = next(iter(loaded.values()))
    loaded |= {name: first.with_adapter(target) for name, target in (adapters or {}).items()}
    engine = Engine({name: model.as_read for name, model in loaded.items()}, limits, weights=weights)
    since = int(time.time())
    models = {name: Model(name, model, engine.served[name], since) for name, model in loaded.items()}
    store = workspace.root / "documents.db" if store is None else store
    inside = tuple(Path(os.path.realpath(folder.expanduser())) for folder in folders)
    reading = Reading(_CHARACTERS * (limits or Limits()).waiting_tokens)
    kept = None if responses is None else Kept(responses.expanduser())
    return Service(models, engine, workspace, store, patience or Patience(), inside, kept, reading)


def service_of(request: Request) -> Service:
    """What a route asks: `service: Service = Depends(service_of)`."""
    return request.app.state.service


def allowed(scope: str) -> Any:
    """A dependency: the key of a request must have this scope. Raises Refusal otherwise."""

    def check(request: Request) -> None:
        key: Key = request.state.key
        if scope not in key.scopes:
            what = f"This key may not use this route: it lacks the scope {scope!r}."
            raise Refusal(403, what, code="scope_missing")

    return Depends(check)
