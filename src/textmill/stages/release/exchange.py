"""`textmill import` and `textmill export`: other people's models in, ours out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base.errors import RecipeError, TextmillError
from textmill.stages.workspace import lineage
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.models import load_model
from textmill.stages.workspace.models_folder import model_in
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained

# What a model's directory on a hub holds that is of use here; never code, never pickles.
_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model", "*.spm")


def supported() -> dict[str, Any]:
    """What can be read and what can be written, as plain data."""
    from textmill.interop import formats

    return {
        "read": dict(formats.READ),
        "model_types": formats.model_types(),
        "write": {name: {"about": form.about, "needs": form.needs} for name, form in formats.FORMATS.items()},
    }


def bring_in(
    workspace: Workspace,
    source: str,
    target: Path | None = None,
    *,
    remote: bool = False,
    convert_pickle: bool = False,
) -> dict[str, Any]:
    """Read a model of others and write it as a standard directory, with the hashes of its files (lineage.json), which
    every use holds it against; what it is, and where it came from.

    source: a directory, a .gguf file or a model of the models folder, or with `remote` the name of a repository on the
    Hugging Face hub, the only case in which anything is fetched. target: where it is written; None: into the models
    folder, under the name of the source. convert_pickle: weights kept as a pickle are read first, apart from this
    process.

    Raises TextmillError where it cannot be read, or where `target` already exists.
    """
    from textmill.base.files import check_free, sha256_file, value_id
    from textmill.interop import load
    from textmill.interop.huggingface import directory

    target = target or workspace.models.path / _name(source)
    check_free(target)
    path = _fetched(workspace, source) if remote else _local(workspace, source)
    if convert_pickle:
        from textmill.interop.huggingface import pickles

        path = pickles.converted(path, workspace.root / "converted")
    model = load.load(path)
    origin = {"source": source, "remote": remote}
    if path.is_file():
        origin["sha256"] = sha256_file(path)
    written = directory.write(target, replace(model, info={**model.info, "origin": origin}))
    key = value_id({"stage": "import", **origin})
    lineage.write_lineage(target, kind="model", key=key, spec={"origin": origin}, parents=())
    left = {"missing": list(model.missing), "ignored": list(model.ignored)}
    left |= {"unfollowed": list(model.unfollowed), "notes": [*model.warnings, *written["notes"]]}
    return {"model": str(target), **_facts(model), "origin": origin, **left}


def _local(workspace: Workspace, source: str) -> Path:
    """What a path or the name of a model means. Raises TextmillError where it is neither."""
    path = Path(source).expanduser()
    if path.exists():
        return model_in(path) or path
    try:
        return locate_model(workspace, source)
    except TextmillError as error:
        raise TextmillError(
            "no such file or directory",
            where=source,
            advice="a name on the Hugging Face hub is fetched only with --remote",
        ) from error


def _name(source: str) -> str:
    """The name of an imported model: that of the file, the directory or, on a hub, the repository."""
    path = Path(source).expanduser().absolute()
    return path.stem if path.suffix.lower() == ".gguf" else path.name


def send_out(workspace: Workspace, target: str, form: str, path: Path) -> dict[str, Any]:
    """Write a model in another format. Raises RecipeError for an unknown one, TextmillError where it cannot hold
    this model or where something stands at `path` already."""
    from textmill.base.files import check_free
    from textmill.interop import formats

    if form not in formats.FORMATS:
        raise RecipeError(
            f"{form!r} is not a supported format",
            where="format",
            advice=f"there is {', '.join(formats.FORMATS)}",
        )
    check_free(path)
    model = load_model(workspace, locate_model(workspace, target))
    model = model if formats.FORMATS[form].adapters else model.merged()
    written = formats.FORMATS[form].write(model, path)
    notes = [*model.warnings, *(written.get("notes", []) if isinstance(written, dict) else [])]
    if form != "huggingface" and (settings := _settings(model)):
        notes = [
            *notes,
            f"this format stores no generation settings: pass them to the program that reads it {settings}",
        ]
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return {
        "path": str(path),
        "format": form,
        "bytes": sum(item.stat().st_size for item in files),
        "notes": notes,
        **_facts(model),
    }


def _settings(model: Pretrained) -> str:
    """How a model generates, where that is not what is usual here."""
    from textmill.base import schema
    from textmill.specs.generation import GenerationSpec

    usual = schema.write(GenerationSpec())
    own = schema.write(model.generation)
    return ", ".join(f"{name} = {value}" for name, value in own.items() if value != usual.get(name))


def _facts(model: Pretrained) -> dict[str, Any]:
    number = sum(parameter.numel() for parameter in model.model.parameters())
    return {"kind": model.spec.kind, "parameters": number, "vocabulary": model.tokenizer.vocabulary}


def _fetched(workspace: Workspace, name: str) -> Path:
    """A repository of the Hugging Face hub, in the cache huggingface_hub keeps under the workspace."""
    try:
        import huggingface_hub
    except ImportError:
        raise TextmillError(
            "fetching from a hub takes huggingface_hub",
            where="--remote",
            advice="pip install 'textmill[hub]'",
        ) from None
    workspace.reporter.note(f"fetching {name} from the Hugging Face hub")
    try:
        fetched = huggingface_hub.snapshot_download(
            name, cache_dir=workspace.root / "hub", allow_patterns=list(_WANTED)
        )
    except Exception as error:  # whatever the library raises: no network, no such name, no right to it
        raise TextmillError(f"could not be fetched ({type(error).__name__}: {error})", where=name) from error
    return Path(fetched)
