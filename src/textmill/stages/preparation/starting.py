"""`[start]`: a recipe that begins with a trained model takes from it what it leaves out, and contradicts none of it.

The model is copied into the workspace when a recipe that names it is read, as an artifact named by its content. The
recipe then says that content's hash, and its [model], [tokenizer] and [generation] are those of the model, so that
whoever reads the recipe of a run needs nothing but the workspace.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import sha256_file, value_id
from textmill.base.toml import value
from textmill.specs import recipe_file
from textmill.specs.model import TRAINED, DecoderSpec, ModelSpec, TransformerSpec
from textmill.specs.recipe import Recipe, StartSpec
from textmill.stages.preparation import tasks
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.workspace import lineage, locate, starts
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.chat.offered import OFFERED
from textmill.tokenization.protocol import AnyTokenizer

_VERSION = 1
_SUFFIXES = {".json", ".safetensors", ".model", ".spm", ".txt", ".jinja"}  # of the files a model is read from
_NAMES = ("license", "licence", "notice", "copying", "readme")  # and what must stay with it
_FREE = ("dropout", "token_dropout")  # fields of a model that no weight depends on
_LONGEST = 1024  # tokens of a sequence, where the recipe does not say and the model reads many more
# Fine-tuning moves weights that are good already: the rates of Devlin et al. 2019, appendix A.3.
_OPTIMIZER = {"kind": "adamw", "lr": 5e-5, "betas": [0.9, 0.999], "weight_decay": 0.01}


def load_recipe(
    path: Path,
    overrides: Iterable[str],
    workspace: Workspace,
    *,
    start: str | None = None,
    phase: str | None = None,
) -> Recipe:
    """A recipe file, with what its [start] says of it. start: a model to begin with in place of the one it names;
    phase: the name of one, where it has several.

    Raises RecipeError as `recipe_file.load`, and where the recipe contradicts its start.
    """
    if phase is None:
        overrides = _starting(overrides, start)
        return recipe_file.load(path, overrides, fill=partial(filled, workspace=workspace))
    every = recipe_file.phases(path, overrides) or []
    chosen = next((each for each in every if each.name == phase), None)
    if chosen is None:
        there = f"there is {', '.join(each.name for each in every)}" if every else "it has no phases"
        raise RecipeError(f"has no phase {phase!r}", where=path, advice=there)
    return _in_turn(every, path, workspace, start)(chosen)


def load_recipes(
    path: Path,
    overrides: Iterable[str],
    workspace: Workspace,
    *,
    start: str | None = None,
    phase: str | None = None,
) -> Iterator[Recipe]:
    """The phases of a recipe file one after the other, or the one that `phase` names, or the one recipe it is.

    Each is read when it is asked for, since it starts from the result of the one before. start: what the first one
    begins with. Raises as `load_recipe`.
    """
    every = recipe_file.phases(path, overrides) if phase is None else None
    if every is None:
        yield load_recipe(path, overrides, workspace, start=start, phase=phase)
        return
    yield from map(_in_turn(every, path, workspace, start), every)


def _in_turn(
    every: Sequence[recipe_file.Phase], path: Path, workspace: Workspace, start: str | None
) -> Callable[[recipe_file.Phase], Recipe]:
    """What reads a phase: under the name of the run that began with what the phase before has given, or under a new
    one. A run that began with other weights stays as it is."""

    @functools.cache
    def name(number: int) -> str:
        phase = every[number]
        own = phase.data["name"]
        return own if phase.before is None else _generation(own, name(number - 1), workspace)

    def read(phase: recipe_file.Phase) -> Recipe:
        number = every.index(phase)
        data = phase.data | {"name": name(number)}
        if phase.before is not None:
            data["start"] = data["start"] | {"model": name(number - 1)}
        return recipe_file.build(
            data,
            _starting((), None if number else start),
            where=phase.where,
            base=path.parent,
            fill=partial(filled, workspace=workspace),
        )

    return read


def _generation(name: str, before: str, workspace: Workspace) -> str:
    """NAME, NAME-2, NAME-3 …: the first run that began with the weights `before` has now, or that there is not yet."""
    for number in itertools.count(1):
        run = workspace.run(name if number == 1 else f"{name}-{number}")
        if not run.exists:
            break
        began = run.recipe().start
        if began is not None and began.hash == _source(before, workspace).hash:
            break
    if number > 1 and not run.exists:
        workspace.reporter.note(
            f"{before} has other weights than {name} began with: it is trained again as {run.name}"
        )
    return run.name


def _starting(overrides: Iterable[str], start: str | None) -> list[str]:
    """Overrides, with a model to start from among them; the hash of another that the recipe names goes with that."""
    if start is None:
        return list(overrides)
    named = str(Path(start).absolute()) if recipe_file.is_path(start) or Path(start).exists() else start
    return [*overrides, f"start.model={value(named)}", 'start.hash=""']


def filled(data: recipe_file.Plain, where: str, workspace: Workspace) -> recipe_file.Plain:
    """A plain recipe, paths absolute, with what its task and its start say of it, where it is silent itself.

    Raises RecipeError for a task or a start that cannot be.
    """
    if data.get("task") is not None:
        data = tasks.written(data, where)
    if "start" in data:
        data = _started(data, where, workspace)
    return data if data.get("task") is None else tasks.learnt(data, where)


def _started(data: recipe_file.Plain, where: str, workspace: Workspace) -> recipe_file.Plain:
    """A plain recipe with what its start says: content hash, model, tokenizer, generation.

    A run of its name that began with the model it names goes on with what it kept, whatever became of that model.
    """
    start = data["start"]
    named = start.get("model") if isinstance(start, Mapping) else None
    if not isinstance(named, str):
        schema.read(StartSpec, start, where, "start")  # which says what is wrong
        raise RecipeError("names no model", where="start.model")
    artifact = _of_run(data, named, workspace) or _read(start, named, where, workspace)
    pretrained = starts.described(artifact)
    for text in pretrained.warnings:
        workspace.reporter.warn(text)
    spec = pretrained.spec
    if spec.kind not in TRAINED or not isinstance(spec, ModelSpec):
        raise RecipeError(
            f"is a model of kind {spec.kind!r}, whose weights are not trained by steps",
            where=_at(where, "start.model"),
            advice=f"there is {', '.join(TRAINED)}",
        )
    model = _model(data.get("model", {}), spec, where)
    training = data.get("training", {})
    if isinstance(training, Mapping):
        optimizer = training.get("optimizer", {})
        if isinstance(optimizer, Mapping) and optimizer.get("kind", "adamw") == "adamw":
            training = {**training, "optimizer": {**_OPTIMIZER, **optimizer}}
        if spec.context > _LONGEST:
            training = {"sequence": _LONGEST, **training}
    objective, tokens = _as_vectors(data.get("objective"), artifact, where)
    if tokens is not None and isinstance(training, Mapping):
        training = {"sequence": min(tokens, spec.context), **training}
    generation, tokenizer = data.get("generation", {}), data.get("tokenizer", {})
    if isinstance(generation, Mapping):
        generation = {**schema.write(pretrained.generation), **generation}
    if isinstance(tokenizer, Mapping) and not {"kind", "path"} & tokenizer.keys():
        tokenizer = {**tokenizer, "kind": "start"}
    start = _with_tokens(start, data, pretrained.tokenizer, where)
    return {
        **data,
        **({} if objective is None else {"objective": objective}),
        "start": {**start, "hash": artifact.spec["hash"], "vocabulary": pretrained.model.vocabulary},
        "model": schema.write(model),
        "tokenizer": tokenizer,
        "training": training,
        "generation": generation,
    }


def _as_vectors(asked: Any, artifact: Artifact, where: str) -> tuple[Any, int | None]:
    """An objective that trains vectors, as the start's files say how it makes them; and how many tokens it reads then.

    Raises RecipeError where they put something before a text, or change its letters: that is not trained here.
    """
    from textmill.interop.huggingface import sentences
    from textmill.objectives.table import OBJECTIVES

    kind = asked.get("kind") if isinstance(asked, Mapping) else None
    if kind not in OBJECTIVES or OBJECTIVES[kind].vectors is None:
        return asked, None
    path = starts.model_path(artifact.path)
    own = sentences.settings(path) if path.is_dir() else None
    if own is None:
        return asked, None
    if own.before or own.lower:
        raise RecipeError(
            "makes vectors of texts with a prompt before them, or in small letters only, which is not trained",
            where=_at(where, "start.model"),
            advice="take default_prompt_name out of its config_sentence_transformers.json, and do_lower_case out of "
            "its sentence_bert_config.json",
        )
    return {"pooling": own.pooling, "normalise": own.normalised, **asked}, own.tokens


def _with_tokens(
    start: Mapping[str, Any], data: recipe_file.Plain, tokenizer: AnyTokenizer, where: str
) -> Mapping[str, Any]:
    """[start] with the special tokens of the chat template that [objective] gives the model, where it has not all.

    Raises RecipeError where an adapter is trained, which gives no token a row.
    """
    objective = data.get("objective")
    named = objective.get("template") if isinstance(objective, Mapping) else None
    offer = OFFERED.get(named) if isinstance(named, str) else None
    lacking = offer.lacking(tokenizer) if offer is not None else ()
    if not lacking:
        return start
    if data.get("tuning") is not None:
        raise RecipeError(
            f"{named!r} writes special tokens that the model has not ({', '.join(lacking)}), and the weights under an "
            "adapter stay as they are",
            where=_at(where, "objective.template"),
            advice='"plain" needs none; or leave out [tuning]',
        )
    added = start.get("add_special_tokens", ())
    added = list(added) if isinstance(added, (list, tuple)) else []
    return {**start, "add_special_tokens": list(dict.fromkeys([*added, *lacking]))}


def _model(asked: Any, spec: ModelSpec, where: str) -> ModelSpec:
    """The start's spec, with what a recipe may say otherwise. µP belongs to weights drawn from a seed: trained ones
    have their scale, and learn at the rate that the recipe says.

    Raises RecipeError, with both values, where the recipe describes another model.
    """
    own = schema.write(
        dataclasses.replace(spec, base_width=None) if isinstance(spec, TransformerSpec) else spec
    )
    if not isinstance(asked, Mapping):
        schema.read(DecoderSpec, asked, where, "model")
        return spec
    if asked.get("base_width") is not None:
        raise RecipeError(
            "scales weights that are drawn from the seed, and these are the start's",
            where=_at(where, "model.base_width"),
            advice="leave it out",
        )
    kind = asked.get("kind", own["kind"])
    if kind != own["kind"]:
        raise _contradicted([("kind", own["kind"], kind)], where)
    model = schema.read(type(spec), {**own, **asked}, where, "model")
    different = [
        row for row in recipe_file.difference(own, schema.write(model)) if row[0].split(".")[0] not in _FREE
    ]
    if different:
        raise _contradicted(different, where)
    return model


def _contradicted(different: list[tuple[str, Any, Any]], where: str) -> RecipeError:
    lines = "".join(
        f"\n  model.{key}: {said(was)} in the start, {said(now)} here" for key, was, now in different
    )
    return RecipeError(
        f"is not the model that the recipe starts from:{lines}\n",
        where=_at(where, "model"),
        advice="leave these keys out: the start's model fills them in (training.sequence says how much is read)",
    )


def said(item: Any) -> str:
    """A value of a recipe, for a person."""
    return "not set" if item is None else repr(item)


def _at(where: str, key: str) -> str:
    return f"{where}: {key}" if where else key


def _of_run(data: recipe_file.Plain, named: str, workspace: Workspace) -> Artifact | None:
    """What a run of this recipe's name began with, where the recipe names the same; says so if it has changed since."""
    name = data.get("name")
    if not isinstance(name, str) or not (run := workspace.run(name)).exists:
        return None
    before = run.recipe().start
    if before is None or before.hash is None or not _same_place(named, before.model):
        return None
    artifact = starts.kept(workspace, before.hash)
    if artifact is None:
        return None
    try:
        now = _source(named, workspace).hash
    except TextmillError:
        workspace.reporter.note(f"{Path(named).name} is gone: {name} goes on with the copy it keeps")
    else:
        if now != before.hash:
            workspace.reporter.note(
                f"{Path(named).name} has changed since {name} began: it goes on with the copy it keeps"
            )
    return artifact


def _same_place(named: str, before: str) -> bool:
    written = [str(getattr(each, "written", each)) for each in (named, before)]
    return named == before or written[0] == written[1]


def _read(start: Mapping[str, Any], named: str, where: str, workspace: Workspace) -> Artifact:
    """The artifact of the model a recipe names: found, or copied into the workspace."""
    pinned = start.get("hash") or None
    try:
        source = _source(named, workspace)
    except TextmillError as error:
        if isinstance(pinned, str) and (artifact := starts.kept(workspace, pinned)) is not None:
            return artifact
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(
            error.what, where=_at(where, f"start.model: {error.where}"), advice=error.advice
        ) from error
    if pinned is not None and pinned != source.hash:
        raise RecipeError(
            f"its content is {source.hash} now, and the recipe says {pinned}",
            where=_at(where, f"start.model: {named}"),
            advice="put the model back as it was, or leave out start.hash to begin with what is there",
        )
    if (artifact := starts.kept(workspace, source.hash)) is not None:
        return artifact
    return workspace.artifact(
        starts.KIND,
        version=_VERSION,
        spec={"hash": source.hash, **source.about},
        parents=source.parents,
        make=source.copy,
        name=named,
    )


@dataclass(frozen=True)
class _Source:
    """A model to begin with, where it is read."""

    hash: str
    parents: list[Artifact]
    about: dict[str, Any]  # of the run that made it, where one is known
    copy: Callable[[Path], None]


def _source(named: str, workspace: Workspace) -> _Source:
    """What a start names: a model as it lies there, or the best weights of a run, published or not.

    Raises TextmillError where there is nothing, or no model.
    """
    found = locate.locate(
        workspace, named, base=workspace.root / "runs"
    )  # a bare name is no path of where one stands
    if found.run is not None and not _is_model(named, found.run):
        return _run(found.run, workspace)
    assert found.model is not None
    if (found.model / "adapter_config.json").is_file():
        raise RecipeError(
            "is an adapter, which is not a model without its base",
            where=f"start.model: {named}",
            advice=f"name the run that trained it, or merge it first: textmill merge {named} --out NEW_DIRECTORY",
        )
    return _directory(locate.checked(workspace, found.model))


def _is_model(named: str, run: Run) -> bool:
    """Whether the model that a run has published is named, and not the run."""
    return recipe_file.is_path(named) and Path(named).resolve() == run.model.resolve()


def _directory(path: Path) -> _Source:
    """A directory or file of anybody's. What Textmill published says which run made it, what it fetched or imported
    where it is from."""
    files = [path] if path.is_file() else sorted(filter(_wanted, path.iterdir()))
    files += [] if path.is_file() else sorted(path.glob("*_Pooling/config.json"))
    base = path.parent if path.is_file() else path
    hashes = {file.relative_to(base).as_posix(): sha256_file(file) for file in files}

    def copy(directory: Path) -> None:
        for file in files:
            target = directory / file.relative_to(base)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)

    made = [lineage.read_lineage(base)] if (base / lineage.NAME).is_file() else []
    return _Source(value_id(hashes), made, {}, copy)


def _wanted(path: Path) -> bool:
    if not path.is_file() or path.name == lineage.NAME:
        return False
    return path.suffix.lower() in _SUFFIXES or path.name.lower().startswith(_NAMES)


def _run(run: Run, workspace: Workspace) -> _Source:
    """The best weights of a run, published or not."""
    from textmill.interop.huggingface import directory
    from textmill.stages.workspace.weights import held

    data = trained_on(run, workspace)
    with held(run) as weights:
        chosen = weights
    if not any(event["event"] == "finished" for event in run.events()):
        workspace.reporter.warn(
            f"{run.name} is not finished: it is its best checkpoint so far, of step {chosen.step:,}"
        )

    def copy(target: Path) -> None:
        with held(run) as weights:
            if weights.id != chosen.id:
                raise TextmillError("is being trained: its best weights have just changed", where=run.path)
            info = {"name": run.name, "objective": data.objective.kind, "step": weights.step}
            # An adapter is merged: what begins here trains weights of one model, or an adapter of its own.
            directory.write(target, data.pretrained(weights.build(data), info).merged())

    about = {"run": run.name, "step": chosen.step, "weights": chosen.id}
    content = value_id({"weights": chosen.id, "tokenizer": data.prepared.tokenizer.id})
    return _Source(content, [lineage.read_lineage(run.path)], about, copy)
