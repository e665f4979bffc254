"""`textmill publish`: the standard directory, its card and its proof. A directory that fails is not called good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textmill.base import files, schema
from textmill.base.errors import TextmillError
from textmill.base.files import read_json, value_id
from textmill.specs.model import TRAINED, LinearSpec, NGramSpec, TrainedSpec, TransformerSpec
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation.evaluate import evaluate_weights
from textmill.stages.preparation.prepare import summary, trained_on
from textmill.stages.release.verify import TEXTS, proof_of
from textmill.stages.workspace import lineage, remembrance
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.stages.workspace.weights import Weights


def publish(workspace: Workspace, target: str) -> dict[str, Any]:
    """Publish a run by name or folder; see `publish_run`."""
    return publish_run(locate_run(workspace, target), workspace)


def publish_run(run: Run, workspace: Workspace) -> dict[str, Any]:
    """Write `runs/NAME/model/` whole, with its card and parity.json, and return where it is and what was found.

    Evaluates first if there is no report of these weights yet. Raises TextmillError, leaving any earlier model
    in place, when the new directory does not give the training path's logits.
    """
    from textmill.stages.workspace.weights import held

    remembrance.warn(run, workspace)
    with held(run) as weights:
        return _publish(run, weights, workspace)


def _publish(run: Run, weights: Weights, workspace: Workspace) -> dict[str, Any]:
    from textmill.audit import card
    from textmill.interop import parity
    from textmill.interop.huggingface import directory
    from textmill.interop.huggingface.peft import directory as peft

    data = trained_on(run, workspace)
    recipe = data.recipe
    report = evaluate_weights(run, weights, workspace)
    decided = {
        "version": 1,
        "weights": weights.id,
        "report": report["key"],
        "generation": schema.write(recipe.generation),
    }
    key = value_id(decided)
    commands = [f"textmill {command.format(run=run.name)}" for command in _next(data)]
    result = {"run": run.name, "model": str(run.model), "scores": report, "next": commands}
    if lineage.find(run.model, key, workspace.root):
        workspace.reporter.stage("publish", "up to date")
        return result | {"parity": read_json(run.model / "parity.json")}
    workspace.reporter.stage(
        "publish", "being made", "not published yet" if not run.model.exists() else "it has changed"
    )
    info = _info(run, data, report, weights.step, weights.id)
    above = lineage.read_lineage(run.path)
    with files.atomic_directory(run.model, private=False) as partial:
        model = weights.build(data)
        pretrained = data.pretrained(model, info)
        if pretrained.adapter is None:
            directory.write(partial, pretrained)
            standard, base = directory.is_published(read_json(partial / "config.json")), None
        else:
            standard = peft.write_pretrained(partial, pretrained)["architecture"] is not None
            base = pretrained.adapter.base
        proof = parity.verify(partial, TEXTS, trained=model, base=base)
        if not proof.ok:
            bad = ", ".join(check.name for check in proof.checks if check.state == "failed")
            raise TextmillError(
                f"does not give the same logits as the training path by: {bad}",
                where=run.model,
                advice="this is a bug in Textmill: the model was not published; please report it with its recipe",
            )
        for check in proof.checks:
            if check.name == "transformers" and check.state == "skipped" and standard:
                workspace.reporter.note(f"transformers: {check.why}")
        files.write_json(partial / "parity.json", proof.plain())
        card.write_card(partial, _card(run, data, report, proof.plain(), info, standard))
        lineage.write_lineage(partial, kind="model", key=key, spec=decided, parents=(above,), home=run.model)
    proof_of(run.model).unlink(missing_ok=True)  # of what was published before
    run.event("published", step=weights.step, weights=weights.id)
    workspace.reporter.stage("publish", "done", str(run.model))
    return result | {"parity": read_json(run.model / "parity.json")}


def _info(run: Run, data: RunData, report: dict[str, Any], step: int, weights: str) -> dict[str, Any]:
    """What textmill.json says of the model besides its spec. No path of this machine is in it."""
    from textmill.stages.workspace.facts import facts

    prepared = data.prepared
    return {
        "name": run.name,
        **facts(data),
        **({"calibration": _fitted(report["calibration"])} if "calibration" in report else {}),
        "step": step,
        "lineage": {
            "weights": weights,
            "tokens": prepared.tokens.id,
            "tokenizer": prepared.tokenizer.id,
            "corpus": prepared.corpus.id,
            **_start(run),
        },
    }


def _fitted(calibration: dict[str, Any]) -> dict[str, Any]:
    """Of a report's calibration, what predictions need."""
    return {
        name: calibration[name] for name in ("temperature", "threshold", "fitted_on") if name in calibration
    }


def _start(run: Run) -> dict[str, str]:
    """What the lineage says of what a fork began with."""
    start = run.start
    if start is None:
        return {}
    return {"began with": f"weights of {start.named} ({start.weights})"}


def _card(run: Run, data: RunData, report: dict, proof: dict, info: dict, standard: bool) -> dict[str, Any]:
    """What the model card says, from what was measured and what was asked."""
    recipe, prepared, machine = data.recipe, summary(data), run.environment()
    corpus, records = prepared["corpus"], run.metrics()
    vocabulary = prepared["vocabulary"]
    sources = [
        {"place": f"files with extension {kind}", **entry}
        for kind, entry in sorted(corpus["extensions"].items(), key=lambda pair: -pair[1]["bytes"])[:8]
    ]
    generation = {
        key: value for key, value in schema.write(recipe.generation).items() if value not in ([], 0.0, 1.0)
    }
    return {
        "name": run.name,
        "objective": data.objective,
        "transformers": standard,
        "model": _architecture(recipe, vocabulary) | {"tokenizer": recipe.tokenizer.kind},
        "data": {
            "documents": corpus["kept"]["documents"],
            "bytes": corpus["kept"]["bytes"],
            "tokens": sum(part["tokens"] for part in prepared["splits"].values()),
            "sources": sources,
            "splits": {part: entry["documents"] for part, entry in prepared["splits"].items()},
            "skipped": {row["reason"]: row["documents"] for row in corpus["reasons"]},
        },
        "training": {
            "tokens trained on": max((row.get("tokens", 0) for row in records), default=0),
            **_method(recipe, info["step"]),
            "minutes": round(sum(row.get("seconds", 0.0) for row in records) / 60, 1),
            "machine": f"{machine['cpu']}, {machine['threads']} threads, {', '.join(machine['gpus']) or 'no GPU'}",
            "versions": f"textmill {machine['textmill']}, torch {machine['torch']}, Python {machine['python']}",
        },
        "evaluation": _evaluation(report),
        # Those of the recipe alone: others begin with held-out text, which is nobody else's to read.
        "samples": report["samples"] if recipe.evaluation.samples else [],
        "generation": generation,
        "parity": proof,
        "lineage": info["lineage"],
    }


def _evaluation(report: dict[str, Any]) -> dict[str, Any]:
    """What the card says of how good it is. Perplexity and nats are the same figure said otherwise."""
    language = "perplexity" in report["scores"]
    others = [
        {"name": name, **score} for name, score in report["details"].items() if name != report["headline"]
    ]
    return {key: report[key] for key in ("on", "table", "headline", "better")} | {
        "perplexity": report["scores"].get("perplexity"),
        "more": [] if language else others,
    }


def _next(data: RunData) -> list[str]:
    """Commands to try with a model: what is made at once has no states to embed texts by."""
    states = data.recipe.model.kind in TRAINED
    return [command for command in data.objective.next if states or not command.startswith("embed ")]


# What the card says of a kind of model: words for a person, and the field of the spec.
_FACTS: dict[str, dict[str, str]] = {
    "ngram": {"longest n-gram": "order", "smoothing": "smoothing"},
    "linear": {
        "word n-grams": "words",
        "character n-grams": "characters",
        "weighting": "weighting",
        "hash bits": "bits",
    },
    "recurrent": {"cell": "cell", "layers": "layers", "width": "width", "self-attention": "attention"},
    "recurrent-encoder-decoder": {
        "cell": "cell",
        "layers": "layers",
        "width": "width",
        "attention": "attention",
    },
}
_TRANSFORMER = {"layers": "layers", "width": "d_model", "heads": "heads"}


def _architecture(recipe: Recipe, vocabulary: int) -> dict[str, Any]:
    """What the card says of the model."""
    from textmill.models import cost

    model = recipe.model
    facts: dict[str, Any] = {"family": model.kind, "objective": recipe.objective.kind}
    if isinstance(model, TrainedSpec):
        facts["parameters"] = cost.parameters(model, vocabulary)
    names = _FACTS.get(model.kind, _TRANSFORMER)
    facts |= {words: getattr(model, field) for words, field in names.items()}
    if isinstance(model, TransformerSpec):
        facts["positions"] = model.position.kind
    if isinstance(model, NGramSpec) and model.cache:
        facts |= {"cache weight": model.cache, "cache, tokens": model.cache_window}
    return facts | {"context, tokens": model.context, "vocabulary": vocabulary}


def _method(recipe: Recipe, step: int) -> dict[str, Any]:
    """What the card says of how it was trained."""
    if isinstance(recipe.model, NGramSpec):
        return {"method": "counted in one pass"}
    if isinstance(recipe.model, LinearSpec):
        return {"method": "fitted at once (L-BFGS)"}
    if recipe.at_once:
        return {"method": "a written prompt with examples; nothing was trained"}
    training = recipe.training
    return {
        "updates": step,
        "sequences per update": training.batch,
        "tokens per sequence": recipe.sequence,
        "optimiser": training.optimizer.kind,
        "peak learning rate": training.optimizer.lr,
        "schedule": training.schedule.kind,
        "seed": recipe.seed,
    }
