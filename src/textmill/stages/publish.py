"""`textmill publish`: the standard directory, its card and its proof. A directory that fails is not called good."""

from __future__ import annotations

from typing import Any

from textmill.base import files, lineage, schema
from textmill.base.errors import TextmillError
from textmill.base.files import read_json, value_id, write_text
from textmill.base.run import Run
from textmill.base.spec import Recipe
from textmill.stages.evaluate import evaluate_run
from textmill.stages.locate import locate_run
from textmill.stages.prepare import Prepared, prepare, summary
from textmill.stages.verify import TEXTS
from textmill.stages.workspace import Workspace


def publish(space: Workspace, target: str) -> dict[str, Any]:
    """Publish a run by name or folder; see `publish_run`."""
    return publish_run(locate_run(space, target), space)


def publish_run(run: Run, space: Workspace) -> dict[str, Any]:
    """Write `runs/NAME/model/` whole, with its card and parity.json, and return where it is and what was found.

    Evaluates first if there is no report of these weights yet. Raises TextmillError, leaving any earlier model
    in place, when the new directory does not give the training path's logits.
    """
    from textmill.interop import huggingface, parity
    from textmill.stages.weights import best_weights

    recipe = run.recipe()
    prepared = prepare(recipe, space)
    report = evaluate_run(run, space)
    weights = best_weights(run)
    decided = {"version": 1, "weights": weights.id, "report": report["key"], "generation": schema.write(recipe.generation)}
    key = value_id(decided)
    result = {"run": run.name, "model": str(run.model), "scores": report}
    if lineage.find(run.model, key):
        space.reporter.stage("publish", "up to date")
        return result | {"parity": read_json(run.model / "parity.json")}
    space.reporter.stage("publish", "being made", "not published yet" if not run.model.exists() else "it has changed")
    info = _info(run, recipe, prepared, weights.step, weights.id)
    above = lineage.read(run.path)
    with files.atomic_directory(run.model) as partial:
        model = weights.build(recipe, prepared)
        huggingface.write(partial, model, prepared.open_tokenizer(), generation=recipe.generation, info=info)
        proof = parity.verify(partial, TEXTS)
        if not proof.ok:
            bad = ", ".join(way.name for way in proof.ways if way.status == "failed")
            raise TextmillError(
                f"does not give the training path's logits by: {bad}",
                where=run.model,
                advice="this is a fault of Textmill: the model was not published; please report it with its recipe",
            )
        write_text(partial / "README.md", _card(run, recipe, prepared, report, proof.plain(), info))
        lineage.write(partial, kind="model", key=key, spec=decided, parents=(above,), home=run.model)
    run.event("published", step=weights.step, weights=weights.id)
    space.reporter.stage("publish", "done", str(run.model))
    return result | {"parity": proof.plain()}


def _info(run: Run, recipe: Recipe, prepared: Prepared, step: int, weights: str) -> dict[str, Any]:
    """What textmill.json says of the model besides its spec. No path of this machine is in it."""
    return {
        "name": run.name,
        "task": recipe.task.name,
        "step": step,
        "lineage": {
            "weights": weights,
            "tokens": prepared.tokens.id,
            "tokenizer": prepared.tokenizer.id,
            "corpus": prepared.corpus.id,
        },
    }


def _card(run: Run, recipe: Recipe, prepared: Prepared, report: dict, proof: dict, info: dict) -> str:
    from textmill.audit import card

    return card.render(
        {
            "name": run.name,
            "info": info,
            "recipe": schema.write(recipe),
            "environment": read_json(run.path / "environment.json"),
            "data": summary(prepared),
            "report": report,
            "parity": proof,
            "metrics": run.metrics(),
        }
    )
