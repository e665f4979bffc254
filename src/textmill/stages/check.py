"""`textmill check`: what a recipe will cost and whether it trains what one thinks, before anything is spent.

Preparing is part of it, since the answer needs the data; what is prepared is what training will use.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from textmill.base import count
from textmill.base.console import amount
from textmill.base.spec import Recipe
from textmill.stages.inputs import loader_of, not_empty, part
from textmill.stages.prepare import Prepared, prepare
from textmill.stages.train import fitting
from textmill.stages.workspace import Workspace

if TYPE_CHECKING:
    from textmill.training.device import Compute
    from textmill.training.memory import Fit

_SHOWN_ROWS, _SHOWN_TOKENS = 2, 80
_MUCH_OVERLAP = 0.2  # share of the test part's runs of tokens from which a person is warned


def check(recipe: Recipe, space: Workspace, *, sweep: bool = False) -> dict[str, Any]:
    """Parameters, FLOPs, memory, time, the mask of the first rows, and findings; plain data.

    `sweep` adds a learning-rate range test. Raises RecipeError or TextmillError as training would.
    """
    return _CHECKS[recipe.model.kind](recipe, space, sweep)


def _counted(recipe: Recipe, space: Workspace, sweep: bool) -> dict[str, Any]:
    """What there is to check of a model that is counted: the data."""
    prepared = prepare(recipe, space)
    what = "no parameters, arithmetic or time are foretold: the text is counted once, in seconds"
    if sweep:
        what += "; there is no learning rate to sweep"
    return {
        "name": recipe.name,
        "steps": recipe.steps,
        "train_tokens": not_empty(part(prepared, "train")).tokens,
        "epochs": 1.0,
        "mask": _mask(recipe, prepared),
        "findings": [_finding("ok", what), *_data_findings(recipe, prepared)],
    }


def _trained(recipe: Recipe, space: Workspace, sweep: bool) -> dict[str, Any]:
    from textmill.models import size
    from textmill.training import device, memory

    compute = device.choose(recipe.training)
    device.prepare(compute, recipe.training)
    prepared = prepare(recipe, space)
    fit = fitting(recipe, prepared, compute)
    space.reporter.note("timing a few steps on a copy")
    timing = _timing(recipe, prepared, compute, fit)
    train, loader = part(prepared, "train"), loader_of(recipe, prepared)
    flops = size.flops_per_token(recipe.decoder, train.vocabulary, recipe.sequence)
    tokens = recipe.training.steps * recipe.training.batch * recipe.sequence
    free = memory.free_bytes(compute.device)
    result = {
        "name": recipe.name,
        "parameters": count.parameters(recipe.decoder, train.vocabulary),
        "flops_per_token": flops,
        "flops": flops * tokens,
        "memory_bytes": fit.need.total,
        "memory_free": free,
        "memory": dataclasses.asdict(fit.need),
        "steps": recipe.training.steps,
        "seconds_per_step": timing.seconds_per_step,
        "seconds": timing.seconds,
        "tokens_per_second": timing.tokens_per_second,
        "micro_batch": fit.micro_batch,
        "batch": recipe.training.batch,
        "train_tokens": train.tokens,
        "epochs": recipe.training.steps / loader.steps_per_epoch,
        "mask": _mask(recipe, prepared),
    }
    result["findings"] = _findings(recipe, prepared, result)
    if sweep:
        space.reporter.note("sweeping the learning rate on a copy")
        result["sweep"] = _sweep(recipe, prepared, compute, fit)
    return result


# What is checked of each kind of model.
_CHECKS = {"decoder": _trained, "ngram": _counted}


def vars_of(fit: Fit) -> dict[str, int]:
    """The parts of the predicted memory, in bytes."""
    need = fit.need
    return {
        "parameters": need.parameters,
        "gradients": need.gradients,
        "optimizer": need.optimizer,
        "average": need.average,
        "activations": need.activations,
    }


def seconds_per_step(recipe: Recipe, prepared: Prepared) -> float:
    """Seconds one update takes here, measured on a copy of the model."""
    from textmill.training import device

    compute = device.choose(recipe.training)
    device.prepare(compute, recipe.training)
    return _timing(recipe, prepared, compute, fitting(recipe, prepared, compute)).seconds_per_step


def _model_and_loss(recipe: Recipe, prepared: Prepared, compute: Compute, fit: Fit) -> tuple[Any, Any]:
    from textmill.models import table
    from textmill.training import memory
    from textmill.training.loss import causal

    vocabulary = prepared.open_tokenizer().vocabulary
    model: Any = table.build(recipe.model, vocabulary, seed=recipe.seed)
    model.recomputed_blocks = memory.recomputed_blocks(
        recipe.decoder,
        recipe.training,
        vocabulary,
        recipe.sequence,
        fit.micro_batch,
        loss_chunk=fit.loss_chunk,
        precision=compute.precision,
    )
    return model, functools.partial(causal, chunk=fit.loss_chunk)


def _timing(recipe: Recipe, prepared: Prepared, compute: Compute, fit: Fit) -> Any:
    from textmill.training import preflight

    model, loss = _model_and_loss(recipe, prepared, compute, fit)
    loader = loader_of(recipe, prepared)
    return preflight.measure(model, loss, loader, recipe.training, compute, micro_batch=fit.micro_batch)


def _sweep(recipe: Recipe, prepared: Prepared, compute: Compute, fit: Fit) -> dict[str, Any]:
    from textmill.training import preflight

    model, loss = _model_and_loss(recipe, prepared, compute, fit)
    loader = loader_of(recipe, prepared)
    found = preflight.learning_rate_range(
        model, loss, loader, recipe.training, compute, micro_batch=fit.micro_batch
    )
    curve = list(zip(found.rates, found.losses, strict=True))
    return {"curve": curve, "suggestion": found.suggestion, "highest": found.highest}


def _mask(recipe: Recipe, prepared: Prepared) -> list[list[dict[str, Any]]]:
    """The first tokens of the first rows of step 0, and whether each bears loss."""
    from textmill.training import inspection

    tokenizer = prepared.open_tokenizer()
    rows = inspection.shown(loader_of(recipe, prepared).batch(0), _SHOWN_ROWS)
    return [
        [{"text": tokenizer.decode([token.id]), "loss": token.bears_loss} for token in row[:_SHOWN_TOKENS]]
        for row in rows
    ]


def _findings(recipe: Recipe, prepared: Prepared, result: dict[str, Any]) -> list[dict[str, str]]:
    """What is as it should be, and what a person should look at before they spend the time."""
    found = _data_findings(recipe, prepared)
    if result["memory_bytes"] > result["memory_free"]:
        found.append(_finding("warning", "more memory is needed than is free"))
    if result["epochs"] > 20:
        found.append(
            _finding("warning", f"the text is read {result['epochs']:.0f} times: it will be memorised")
        )
    read = result["train_tokens"] * min(
        result["epochs"], 4
    )  # more readings teach little (Muennighoff et al. 2023)
    if read < result["parameters"]:
        text = f"{amount(read)} tokens are read for {amount(result['parameters'])} parameters: train longer, or smaller"
        found.append(_finding("warning", text))
    return found


def _data_findings(recipe: Recipe, prepared: Prepared) -> list[dict[str, str]]:
    """The same of the data alone."""
    from textmill.training import inspection

    train = part(prepared, "train")
    step = inspection.end_is_trained(loader_of(recipe, prepared), train.end, min(recipe.training.steps, 200))
    if step is None:
        found = [
            _finding(
                "warning", "the end-of-text token is no target in the first steps: the model may never stop"
            )
        ]
    else:
        found = [_finding("ok", f"the end-of-text token is trained, first in step {step}")]
    overlap = inspection.overlap(train, part(prepared, "test"))
    level = "warning" if overlap.same or overlap.share > _MUCH_OVERLAP else "ok"
    text = (
        f"{overlap.same} of {overlap.documents} test documents are in the training part word for word; "
        f"{overlap.share:.1%} of their runs of {inspection.WINDOW} tokens are there too"
    )
    if level == "warning" and overlap.worst:
        text += f", most in document {overlap.worst[0][0]} ({overlap.worst[0][1]:.0%})"
    found.append(_finding(level, text))
    if not len(part(prepared, "validation")):
        found.append(_finding("warning", "there is no validation part: the last weights count as the best"))
    return found


def _finding(level: str, text: str) -> dict[str, str]:
    return {"level": level, "text": text}
