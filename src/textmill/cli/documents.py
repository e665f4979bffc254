"""Commands about a person's own documents: docs add, list, show, remove, search, ask, evaluate, check, compact."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textmill.base import machine
from textmill.base.errors import RecipeError
from textmill.cli import completion
from textmill.cli.app import App
from textmill.cli.options import Named, Outcome, declared, parameters, verb

if TYPE_CHECKING:
    from textmill.retrieval.places import Filter
    from textmill.stages.use.documents import Documents
    from textmill.stages.use.model import LanguageModel
    from textmill.stages.workspace.workspace import Workspace

docs = App(
    help="Your own documents: read into a store, searched, asked. Nothing of them leaves this machine."
)

StoreFile = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="TEXTMILL_STORE",
        metavar="FILE",
        help="Store of the documents; left out: documents.db in --work.",
        show_default=False,
    ),
]
Embedder = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        metavar="MODEL",
        help="Model whose vectors search by meaning, such as minilm-l6-v2.",
        show_default=False,
        autocompletion=completion.targets,
    ),
    Named(),
]
Answering = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model that answers: one of the task answer, or one that chats; left out: the sentence that fits best.",
        show_default=False,
        autocompletion=completion.targets,
    ),
    Named(),
]
Reading = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model of the task answer, by whose odds the best 20 are put in a new order.",
        show_default=False,
        autocompletion=completion.targets,
    ),
    Named(),
]
How = Annotated[
    str | None,
    typer.Option(
        metavar="hybrid|words|vectors",
        help="By words, by meaning, or by all that is known of a chunk, which is usual.",
        autocompletion=completion.among("hybrid", "words", "vectors"),
        show_default=False,
    ),
]
Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Files, folders or globs.", show_default=False)
]
_FILTERS: dict[str, Any] = {  # which documents a command is about
    "folder": Annotated[
        str | None, typer.Option(metavar="PATH", help="Only this file or folder.", show_default=False)
    ],
    "language": Annotated[
        str | None, typer.Option(metavar="CODE", help="Only this language: en, zh …", show_default=False)
    ],
    "since": Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only from this date on: 2024-05-01.", show_default=False),
    ],
    "until": Annotated[
        str | None, typer.Option(metavar="DATE", help="Only up to this date.", show_default=False)
    ],
    "where": Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only with this value in its metadata.", show_default=False),
    ],
}


def filtered(act: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command that has a parameter `chosen: Filter` the options that say which documents it is about."""

    def command(*first: object, **values: Any) -> Any:
        given = {name: values.pop(name) for name in _FILTERS}
        return act(*first, **values, chosen=_filter(**given))

    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _FILTERS.items()
    ]
    return declared(command, act, [*parameters(act, "chosen"), *options])


@docs.command()
@verb()
def add(workspace: Workspace, paths: Paths, store: StoreFile = None, embedder: Embedder = None) -> Outcome:
    """Read files into the store: those that are new or have changed. It may be stopped, and gone on with."""
    from textmill.cli.show import documents as show

    with _opened(workspace, store, embedder, create=True) as documents:
        return documents.add(*paths).plain(), show.added


@docs.command("list")
@verb(silent=True)
@filtered
def list_(
    workspace: Workspace,
    chosen: Filter,
    store: StoreFile = None,
) -> Outcome:
    """The files of the store: how much of each was read, and what was not."""
    from textmill.cli.show import documents as show

    with _opened(workspace, store) as documents:
        return {"files": [stored.plain() for stored in documents.files(chosen)]}, show.listing


@docs.command()
@verb(silent=True)
def show(
    workspace: Workspace,
    path: Annotated[str, typer.Argument(help="File of the store.", show_default=False)],
    store: StoreFile = None,
) -> Outcome:
    """A file as the store holds it: its chunks, with their places and pages."""
    from textmill.cli.show import documents as show

    with _opened(workspace, store) as documents:
        stored, places = documents.show(path)
        return {**stored.plain(), "places": [place.plain() for place in places]}, show.chunks


@docs.command()
@verb(silent=True)
def remove(
    workspace: Workspace,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Files or folders of the store.", show_default=False),
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Files that are no longer on the disk.")] = False,
    store: StoreFile = None,
) -> Outcome:
    """Remove files from the store and overwrite what it held of them. The files themselves are not touched."""
    from textmill.cli.show import documents as show

    if not paths and not gone:
        raise RecipeError("names nothing to remove", where="docs remove", advice="name files, or say --gone")
    with _opened(workspace, store) as documents:
        return {"removed": documents.remove(*(paths or []), gone=gone)}, show.removed


@docs.command()
@verb(silent=True)
@filtered
def search(
    workspace: Workspace,
    query: Annotated[str, typer.Argument(help="What is looked for.", show_default=False)],
    chosen: Filter,
    top: Annotated[int, typer.Option(min=1, help="How many chunks, best first.")] = 5,
    how: How = None,
    target: Reading = None,
    embedder: Embedder = None,
    store: StoreFile = None,
) -> Outcome:
    """Find what stands in the documents, with the file and the page of each finding."""
    from textmill.cli.show import documents as show

    with _opened(workspace, store, embedder) as documents:
        model = _model(workspace, target)
        return documents.search(query, top, how=_how(how), chosen=chosen, model=model).plain(), show.found


@docs.command()
@verb()
@filtered
def ask(
    workspace: Workspace,
    question: Annotated[str, typer.Argument(help="The question.", show_default=False)],
    chosen: Filter,
    target: Answering = None,
    least: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Probability under which the documents do not say; left out: as `docs evaluate --fit` found it.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many chunks are read for the answer.")] = 20,
    embedder: Embedder = None,
    store: StoreFile = None,
) -> Outcome:
    """Answer a question from the documents, with file and page, or say that they do not say."""
    from textmill.cli.show import documents as show

    machine.keep_memory()
    with _opened(workspace, store, embedder) as documents:
        model = _model(workspace, target)
        return documents.ask(question, model, most=top, least=least, chosen=chosen).plain(), show.answered


@docs.command()
@verb()
def evaluate(
    workspace: Workspace,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Questions whose answers are known, in SQuAD's form."),
    ],
    target: Answering = None,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="Fit to them when the documents do not say, and keep that in the store."),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=2, help="Only so many questions, drawn by chance.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many chunks are read for each.")] = 20,
    how: How = None,
    embedder: Embedder = None,
    store: StoreFile = None,
) -> Outcome:
    """What the store makes of questions: what is found, how right the answers are, and whether it knows when the
    documents do not say. Of every other question the passage is taken away."""
    from textmill.cli.show import documents as show
    from textmill.stages.use import asking

    machine.keep_memory()
    with _opened(workspace, store, embedder) as documents:
        model = _model(workspace, target)
        return asking.evaluate(
            documents, files, model, most=top, limit=limit, how=_how(how), fit=fit
        ), show.evaluated


@docs.command()
@verb(silent=True)
def check(workspace: Workspace, store: StoreFile = None) -> Outcome:
    """Whether every page of the store is what was written, and all of it fits together."""
    from textmill.cli.show import documents as show

    with _opened(workspace, store) as documents:
        problems = documents.check()
        return {"ok": not problems, "problems": problems}, show.checked


@docs.command()
@verb(silent=True)
def compact(workspace: Workspace, store: StoreFile = None) -> Outcome:
    """Overwrite what was removed while another process was reading."""
    from textmill.cli.show import documents as show

    with _opened(workspace, store) as documents:
        documents.compact()
    return {"ok": True}, show.compacted


def _opened(
    workspace: Workspace, store: Path | None, embedder: str | None = None, *, create: bool = False
) -> Documents:
    from textmill.stages.use.documents import Documents

    model = _model(workspace, embedder)
    return Documents(store or workspace.root / "documents.db", embedder=model, create=create)


def _model(workspace: Workspace, target: str | None) -> LanguageModel | None:
    from textmill.stages.use.model import LanguageModel

    return None if target is None else LanguageModel(workspace, target)


def _how(given: str | None) -> Literal["hybrid", "words", "vectors"] | None:
    """Raises RecipeError for what is no way to search."""
    if given not in (None, "hybrid", "words", "vectors"):
        raise RecipeError(f"{given!r} is none of hybrid, words, vectors", where="--how")
    return given


def _filter(
    folder: str | None, language: str | None, since: str | None, until: str | None, where: list[str] | None
) -> Filter:
    """Raises RecipeError for a `where` that is not KEY=VALUE."""
    from textmill.retrieval.places import Filter

    metadata = {}
    for text in where or []:
        key, equals, value = text.partition("=")
        if not (equals and key):
            raise RecipeError(f"{text!r} is not KEY=VALUE", where="--where", advice="such as author=Mary")
        metadata[key] = value
    return Filter(folder, language, since, until, metadata)
