"""Commands of the service: serve, and keys add, list, remove."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textmill.base import machine, start
from textmill.base.console import print_json
from textmill.base.errors import RecipeError, TextmillError
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.documents import StoreFile
from textmill.cli.models import Weights, warn_of
from textmill.cli.options import Outcome, check_named, verb

if TYPE_CHECKING:
    from textmill.stages.workspace.workspace import Workspace

keys = App(help="Keys of the service: who may do what, and how often. Only their hashes are kept.")
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="File of keys (`textmill keys add`); left out: keys.json in --work, where it is there.",
        show_default=False,
    ),
]


Served = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="Models to serve: names or paths, or NAME=MODEL to serve one under another name.",
        show_default=False,
        autocompletion=completion.targets,
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: any that is free.")]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADAPTER",
        help="Adapter served beside the first model, in the same memory; may be given several times.",
        show_default=False,
        autocompletion=completion.targets,
    ),
]
Rows = Annotated[int, typer.Option(min=1, max=256, help="Answers written at once.")]
Caches = Annotated[float, typer.Option(min=0.01, max=4096.0, help="GB of caches of what is being written.")]
Prefixes = Annotated[float, typer.Option(min=0.0, max=4096.0, help="GB kept of prompts that were read.")]
Waiting = Annotated[
    int,
    typer.Option(
        min=1, max=1_000_000_000, help="Tokens that may wait; what is asked beyond is told to come again."
    ),
]
Folders = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder whose files clients may add to the documents; may be given several times.",
        show_default=False,
    ),
]
Responses = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep responses in this folder, so that clients can go on from them; left out: nothing is kept.",
        show_default=False,
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Access log; left out: standard error.", show_default=False),
]
LogTexts = Annotated[bool, typer.Option("--log-texts", help="Write into the log what clients send, too.")]
Drain = Annotated[
    float,
    typer.Option(min=1.0, max=3600.0, help="Seconds that accepted requests have once the service ends."),
]
Idle = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=604_800.0,
        help="End when nobody has asked anything for so many seconds.",
        show_default=False,
    ),
]
Unload = Annotated[
    float | None,
    typer.Option(
        "--unload-after",
        metavar="MINUTES",
        min=0.01,
        max=10_080.0,
        help="Unload a model after so long without a request; the next request loads it again.",
        show_default=False,
    ),
]


@verb(silent=True)
def serve(
    workspace: Workspace,
    targets: Served,
    port: Port = 8000,
    adapter: Adapters = None,
    weights: Weights = "fp32",
    rows: Rows = 16,
    cache: Caches = 2.0,
    prefixes: Prefixes = 0.5,
    waiting: Waiting = 100_000,
    keys: KeysFile = None,
    documents: Folders = None,
    store: StoreFile = None,
    store_responses: Responses = None,
    log: Log = None,
    log_texts: LogTexts = False,
    drain: Drain = 60.0,
    idle: Idle = None,
    unload: Unload = None,
    json: bool = False,
) -> Outcome:
    """Serve models on this machine, in the shapes of OpenAI's, Anthropic's and LibreTranslate's clients.

    Nobody comes in without a key, and from no other machine. Ctrl-C or SIGTERM ends it, once all accepted requests
    are answered.
    """
    named, beside = _named(targets), _named(adapter or ())
    if both := set(named) & set(beside):
        raise RecipeError("is the name of two models", where=min(both), advice="write NAME=MODEL")
    for target in (*named.values(), *beside.values()):
        check_named(workspace, target)
    if keys is not None and not keys.is_file():
        advice = "textmill keys add NAME --keys FILE makes one"
        raise RecipeError("is no file of keys", where=keys, advice=advice)
    machine.keep_few_products()
    start.library_ahead()
    with start.loading():
        try:
            from textmill.serving import keys as keyring
            from textmill.serving import server
            from textmill.serving.patience import Patience
            from textmill.serving.service import load
        except ImportError as error:
            advice = "pip install 'textmill[serve]'"
            raise TextmillError("needs the extra `serve`", where="serve", advice=advice) from error
        from textmill.inference.requests import Limits

        path = keys or workspace.root / "keys.json"
        token = None if keyring.read(path) else keyring.new_key()
        ring = keyring.Keys({} if token is None else {"session": token}, path)
        machine.keep_memory()
        socket = server.listen(port)
        at = socket.getsockname()[1]
        coming = start.ahead(
            load,
            workspace,
            named,
            adapters=beside,
            weights=weights,
            limits=Limits(
                rows=rows,
                cache_bytes=int(cache * 1e9),
                prefix_bytes=int(prefixes * 1e9),
                waiting_tokens=waiting,
                idle_seconds=None if unload is None else 60 * unload,
            ),
            store=store,
            folders=documents or (),
            responses=store_responses,
            patience=Patience(drain_seconds=drain),
        )
        from textmill.cli.show import serving as show
        from textmill.serving.app import application

        service = coming.result()
    for model in service.models.values():
        warn_of(model.pretrained)

    def begun() -> None:
        told = {"address": f"http://127.0.0.1:{at}", "key": token, "keys": None if token else str(path)}
        told |= {"models": [model.plain() for model in service.models.values()]}
        print_json(told) if json else show.begun(told)
        sys.stdout.flush()

    out = sys.stderr if log is None else _opened(log)
    app = application(service, ring, at, log=lambda line: print(line, file=out, flush=True), texts=log_texts)
    try:
        server.Server(app, service, begun, idle=idle).run([socket])
    finally:
        service.close()
        if log is not None:
            out.close()
    return None


def _named(targets: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Models by the names they are served under: what stands before `=`, else their own."""
    found: dict[str, str] = {}
    for target in targets:
        name, equals, rest = target.partition("=")
        if not equals or "/" in name:
            name, rest = _own_name(target), target
        if not name or name in found:
            raise RecipeError("is the name of two models", where=name, advice="write NAME=MODEL")
        found[name] = rest
    return found


def _own_name(target: str) -> str:
    """The last part of a path, without the ending of a file; of a published run's `model/`, the run's."""
    path = Path(target)
    if path.name == "model" and path.parent.name:
        return path.parent.name
    return path.name.removesuffix(".gguf") or target


def _opened(path: Path) -> Any:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise TextmillError(f"cannot be written ({error.strerror})", where=path) from error


Scope = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SCOPE",
        help="What the key may do: text, vectors, tasks, documents, trace, metrics; left out: all of it.",
        show_default=False,
        autocompletion=completion.among("text", "vectors", "tasks", "documents", "trace", "metrics"),
    ),
]


@keys.command()
@verb(silent=True)
def add(
    workspace: Workspace,
    who: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Who the key is for, as the log calls them.", show_default=False),
    ],
    scope: Scope = None,
    rate: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Most requests a minute; left out: any.", show_default=False),
    ] = None,
    keys: KeysFile = None,
) -> Outcome:
    """Make a key. It is printed this once, alone on standard output: only its hash is kept."""
    from textmill.cli.show import serving as show
    from textmill.serving import keys as keyring

    path = keys or workspace.root / "keys.json"
    chosen = frozenset(scope or keyring.SCOPES)
    key = keyring.add(path, who, chosen, rate)
    told = {"name": who, "key": key, "scopes": sorted(chosen), "requests_per_minute": rate, "file": str(path)}
    return told, show.made


@keys.command("list")
@verb(silent=True)
def list_(workspace: Workspace, keys: KeysFile = None) -> Outcome:
    """The keys there are: who has one, what it may do, how often."""
    from textmill.cli.show import serving as show
    from textmill.serving import keys as keyring

    found = [key.plain() for key in keyring.read(keys or workspace.root / "keys.json")]
    return {"keys": [{name: one[name] for name in one if name != "hash"} for one in found]}, show.listed


@keys.command()
@verb(silent=True)
def remove(
    workspace: Workspace,
    who: Annotated[str, typer.Argument(metavar="NAME", help="Whose key.", show_default=False)],
    keys: KeysFile = None,
) -> Outcome:
    """Take a key back. A service that is running refuses it from the next request on."""
    from textmill.cli.show import serving as show
    from textmill.serving import keys as keyring

    keyring.remove(keys or workspace.root / "keys.json", who)
    return {"removed": who}, show.removed
