"""The models that are served, and what they are asked with."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Request

from textmill.base import start
from textmill.base.errors import TextmillError
from textmill.inference.engine import Engine
from textmill.inference.requests import Limits
from textmill.inference.served import Given, Served
from textmill.inference.shelf import Group
from textmill.models.adapters import adapter_id
from textmill.serving.kept import Kept
from textmill.serving.keys import Key
from textmill.serving.patience import Patience
from textmill.serving.refusals import Refusal
from textmill.stages.use import embed as embeddings
from textmill.stages.workspace.found import found_in
from textmill.tokenization.chat.calls import HERMES, CallForm, form_of
from textmill.tokenization.chat.template import DEFAULT

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained
    from textmill.specs.model import MixtureSpec, ModelSpec
    from textmill.stages.use.embed import Embeddings
    from textmill.stages.workspace.run import Run
    from textmill.stages.workspace.workspace import Workspace
    from textmill.tasks.prediction import Prediction, Refused
    from textmill.tasks.task import Options, Record, Task
    from textmill.tokenization.chat.template import ChatTemplate
    from textmill.tokenization.protocol import AnyTokenizer

_CHARACTERS = 4  # about so many to a token


@dataclass(frozen=True)
class Model:
    """A model under its name. Whatever is asked of its weights, the engine is asked.

    path: its directory or file; run: that made it, where it is one of the workspace; since: second of the clock from
    which it is served.
    """

    name: str
    path: Path
    run: Run | None
    engine: Engine
    since: int

    @property
    def served(self) -> Served:
        """As the engine holds it now."""
        return self.engine.served[self.name]

    @property
    def pretrained(self) -> Pretrained:
        """What comes with the model; it may be without weights."""
        return self.served.pretrained

    @property
    def spec(self) -> ModelSpec | MixtureSpec:
        """Its architecture."""
        return self.pretrained.spec

    @property
    def tokenizer(self) -> AnyTokenizer:
        """Its tokenizer."""
        return self.pretrained.tokenizer

    @cached_property
    def task(self) -> Task:
        """What it is for."""
        from textmill.tasks.table import task_of

        return task_of(self.pretrained)

    @property
    def purpose(self) -> str:
        """What clients are told it is for: a model that writes, and came with a template of its own, chats."""
        own = self.template is not None and self.template.source != DEFAULT
        return "chat" if own and self.task.name == "generate" else self.task.name

    @cached_property
    def template(self) -> ChatTemplate | None:
        """How it reads conversations; None: nobody said."""
        return self.pretrained.chat

    @cached_property
    def calls(self) -> CallForm:
        """How it writes calls of functions: as its template does."""
        return HERMES if self.template is None else form_of(self.template, self.tokenizer)

    def begin(self) -> None:
        """Begin what the first conversation would wait for otherwise: the process that writes templates."""
        if self.purpose == "chat":
            with contextlib.suppress(TextmillError):
                assert self.template is not None
                self.template.render([{"role": "user", "content": "a"}])

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

    def embed(self, texts: Sequence[str], *, normalise: bool | None = None) -> Embeddings:
        """Texts as vectors, as `LanguageModel.embed`: for a thread that may wait."""
        how = embeddings.settings(self.path, normalise=normalise)
        return self.engine.ask(self.name, lambda model: embeddings.embed(model, list(texts), how)).result()

    def predictor(self, options: Options) -> Predicting:
        """What says of records what its task says."""
        return Predicting(self, options)

    def plain(self) -> dict[str, Any]:
        """As /v1/models lists it: OpenAI's fields, Anthropic's, and ours."""
        openai = {"id": self.name, "object": "model", "created": self.since, "owned_by": "textmill"}
        since = datetime.datetime.fromtimestamp(self.since, datetime.UTC).isoformat()
        anthropic = {"type": "model", "display_name": self.name, "created_at": since}
        return (
            openai
            | anthropic
            | {
                "task": self.purpose,
                "context_length": self.pretrained.longest,
                "deterministic": self.served.deterministic,
                "system_fingerprint": self.fingerprint,
            }
        )


@dataclass(frozen=True)
class Predicting:
    """A `Predictor` of a served model, for a thread that may wait."""

    model: Model
    options: Options
    gone: Callable[[], bool] = lambda: False  # whether nobody waits for it any more

    @property
    def task(self) -> Task:
        """The model's."""
        return self.model.task

    def predict(self, records: Iterable[Record]) -> Iterator[Prediction | Refused]:
        """What is said of each record, in their order."""
        asked = self.model.engine.run(self.model.name, list(records), self.options, gone=self.gone)
        return iter(asked.result())


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
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)

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
    kept = None if responses is None else Kept(responses.expanduser())
    groups = [_Group(workspace, {name: target}, {}) for name, target in targets.items()]
    groups[0] = _Group(workspace, groups[0].targets, adapters or {})
    known = found_in(workspace.root).out
    engine = Engine([Group(group.read) for group in groups], limits, weights=weights, known=known)
    since = int(time.time())
    models = {
        name: Model(name, *place, engine, since) for group in groups for name, place in group.places.items()
    }
    for model in models.values():
        start.ahead(model.begin)
    store = workspace.root / "documents.db" if store is None else store
    inside = tuple(Path(os.path.realpath(folder.expanduser())) for folder in folders)
    reading = Reading(_CHARACTERS * (limits or Limits()).waiting_tokens)
    return Service(models, engine, workspace, store, patience or Patience(), inside, kept, reading)


@dataclass
class _Group:
    """Models as they are read from where they are: one, and its adapters."""

    workspace: Workspace
    targets: Mapping[str, str]
    adapters: Mapping[str, str]
    places: dict[str, tuple[Path, Run | None]] = field(default_factory=dict)  # known once they were read

    def read(self) -> dict[str, Given]:
        """All of them, with the ids of their weights."""
        from textmill.stages.use.model import LanguageModel

        [(name, target)] = self.targets.items()
        base = LanguageModel(self.workspace, target)
        given = {name: Given(base.as_read, base.weights_id)}
        self.places[name] = base.path, base.run
        for name, target in self.adapters.items():
            beside = base.with_adapter(target)
            given[name] = Given(beside.as_read, adapter_id(beside.as_read.model, base.weights_id))
            self.places[name] = beside.path, beside.run
        return given


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
