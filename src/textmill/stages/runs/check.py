"""`textmill check`: what a recipe will cost and whether it trains what one thinks, before anything is spent.

Preparing is part of it, since the answer needs the data; what is prepared is what training will use.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from textmill.base.console import amount
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.prepare import notes, prepare
from textmill.stages.runs.train import fitting
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.tally import HELD

if TYPE_CHECKING:
    from textmill.objectives.show import ShownRow
    from textmill.training.device import Compute
    from textmill.training.memory import Fit
    from textmill.training.preflight import Timing

_TIMED = 4  # micro-batches of an update that is timed where one has many more
_EPOCHS = 4  # readings of the same text that teach about as much as new text
_MUCH_OVERLAP = 0.2  # share of the test split's runs of tokens from which a person is warned


def check(recipe: Recipe, workspace: Workspace, *, sweep: bool = False) -> dict[str, Any]:
    """Parameters, FLOPs, memory, time, the mask of the first rows, and findings; plain data.

    `sweep` adds a learning-rate range test. Raises RecipeError or TextmillError as training would.
    """
    return (_at_once if recipe.at_once else _trained)(recipe, workspace, sweep)


def _at_once(recipe: Recipe, workspace: Workspace, sweep: bool) -> dict[str, Any]:
    """What there is to check of a model that is not trained by steps: the data."""
    data = prepare(recipe, workspace)
    data.not_empty("train")
    text = "no parameters, compute or time to estimate: the text is counted once, in seconds"
    if recipe.model.kind == "linear":
        text = "no steps, compute or time to estimate: all texts are fitted at once, in seconds"
    if recipe.tuning is not None:
        text = "no parameters, compute or time to estimate: nothing is trained, examples are drawn"
    if sweep:
        text += "; there is no learning rate to sweep"
    return {
        "name": recipe.name,
        "steps": recipe.steps,
        "train_tokens": data.texts("train").tokens,
        "epochs": 1.0,
        "mask": _mask(data),
        "findings": [_finding("ok", text), *_data_findings(data)],
    }


def _trained(recipe: Recipe, workspace: Workspace, sweep: bool) -> dict[str, Any]:
    from textmill.models import cost
    from textmill.training import device, memory

    compute = device.choose(recipe.training)
    device.prepare(compute, recipe.training)
    data = prepare(recipe, workspace)
    fit = fitting(data, compute)
    flops = cost.flops_per_token(
        recipe.trained, data.vocabulary, recipe.sequence, frozen=recipe.tuning is not None
    )
    free = memory.free_bytes(compute.device)
    timing = None  # a step that does not fit would end this process, not say how long it takes
    if fit.need.total <= free:
        workspace.reporter.note("timing a few steps on a copy")
        timing = _timing(data, compute, fit)
    groups = recipe.objective.groups(recipe.training.batch)
    each_step = recipe.objective.batch_tokens or recipe.training.batch * data.longest
    steps = recipe.training.steps
    if recipe.training.minutes is not None and timing:
        steps = min(steps, max(1, round(60 * recipe.training.minutes / timing.seconds_per_step)))
    seconds = None if timing is None else timing.seconds_per_step * steps
    tokens = (
        each_step * steps if timing is None else timing.tokens_per_second * timing.seconds_per_step * steps
    )
    result = {
        "name": recipe.name,
        "parameters": cost.parameters(recipe.trained, data.vocabulary),
        "flops_per_token": flops,
        "flops": round(flops * tokens),
        "memory_bytes": fit.need.total,
        "memory_free": free,
        "memory": dataclasses.asdict(fit.need),
        "prepare_bytes": HELD * data.corpus.report["longest"],
        "steps": steps,
        "seconds_per_step": timing and timing.seconds_per_step,
        "seconds": seconds,
        "tokens_per_second": timing and timing.tokens_per_second,
        "micro_batch": fit.micro_batch * (recipe.training.batch // groups if groups else 1),
        "batch": recipe.training.batch,
        "batch_tokens": recipe.objective.batch_tokens,
        "train_tokens": data.texts("train").tokens,
        "epochs": steps / data.loader().steps_per_epoch,
        "mask": _mask(data),
    }
    result["findings"] = _findings(data, result)
    if sweep and timing:
        workspace.reporter.note("sweeping the learning rate on a copy")
        result["sweep"] = _sweep(data, compute, fit)
    return result


def seconds_per_step(data: RunData) -> float:
    """Seconds one update takes here, measured on a copy of the model."""
    from textmill.training import device

    compute = device.choose(data.recipe.training)
    device.prepare(compute, data.recipe.training)
    return _timing(data, compute, fitting(data, compute)).seconds_per_step


def _model_and_losses(data: RunData, fit: Fit) -> tuple[Any, Any]:
    recipe = data.recipe
    losses = data.objective.losses(recipe.objective, sequence=recipe.sequence, chunk=fit.loss_chunk)
    return data.model(), losses


def _recomputing(data: RunData, compute: Compute, fit: Fit) -> AbstractContextManager[None]:
    """Steps made inside compute as many blocks again as those of the run would."""
    from textmill.nn import mode
    from textmill.training import memory

    recipe = data.recipe
    number = memory.recomputed_blocks(
        recipe.trained,
        recipe.training,
        data.vocabulary,
        recipe.sequence,
        fit.micro_batch,
        loss_chunk=fit.loss_chunk,
        precision=compute.precision,
    )
    return mode.computing(recomputed_blocks=number)


def _timing(data: RunData, compute: Compute, fit: Fit) -> Timing:
    """The time of a run's steps. Of an update of very many micro-batches only two of a few are made."""
    from textmill.training.preflight import extrapolated

    training, micro = data.recipe.training, fit.micro_batch
    objective = data.recipe.objective
    uncut = objective.batch_tokens is not None or objective.groups(training.batch) is not None
    if uncut or training.batch <= 2 * _TIMED * micro:
        return _measured(data, compute, fit)
    rows = _TIMED // 2 * micro, _TIMED * micro
    short, long = (_measured(_with_batch(data, number), compute, fit) for number in rows)
    return extrapolated(short, long, rows, training.batch, training.steps)


def _with_batch(data: RunData, rows: int) -> RunData:
    """The same run, with so many rows in an update."""
    training = dataclasses.replace(data.recipe.training, batch=rows)
    return RunData(dataclasses.replace(data.recipe, training=training), data.prepared)


def _measured(data: RunData, compute: Compute, fit: Fit) -> Timing:
    from textmill.training import preflight

    model, losses = _model_and_losses(data, fit)
    with _recomputing(data, compute, fit):
        return preflight.measure(
            model,
            losses.training,
            data.loader(),
            data.recipe.training,
            compute,
            micro_batch=fit.micro_batch,
            count=losses.count,
        )


def _sweep(data: RunData, compute: Compute, fit: Fit) -> dict[str, Any]:
    from textmill.training import preflight

    model, losses = _model_and_losses(data, fit)
    with _recomputing(data, compute, fit):
        sweep = preflight.learning_rate_range(
            model,
            losses.training,
            data.loader(),
            data.recipe.training,
            compute,
            micro_batch=fit.micro_batch,
            count=losses.count,
        )
    curve = list(zip(sweep.rates, sweep.losses, strict=True))
    return {"curve": curve, "suggestion": sweep.suggestion, "highest": sweep.highest}


def _mask(data: RunData) -> list[dict[str, Any]]:
    """The first tokens of the first rows: what is read, and what is to be said of it."""
    from textmill.objectives.show import ShownToken

    tokenizer, shown = data.tokenizer, data.objective.shown
    names = {number: name for name, number in tokenizer.special.items()}
    labels = getattr(data.store("train"), "labels", None)

    def spelt(token: int) -> str:
        return names.get(token) or tokenizer.decode([token])

    def entry(token: ShownToken) -> dict[str, Any]:
        said: dict[str, Any] = {"text": spelt(token.id), "loss": token.bears_loss}
        if token.target is not None:
            said["target"] = labels[token.target] if labels else spelt(token.target)
        return said

    def label(row: ShownRow) -> Any:
        if row.label is None or labels is None:
            return row.label
        held = row.label if isinstance(row.label, tuple) else (row.label,)
        return [labels[int(number)] for number in held]

    return [
        {
            "tokens": [entry(token) for token in row.tokens[: shown.tokens]],
            "source": [spelt(token.id) for token in (row.source or ())[: shown.tokens]],
            "label": label(row),
        }
        for row in itertools.islice(_rows(data), shown.rows)
    ]


def _rows(data: RunData) -> Iterator[ShownRow]:
    """The rows of the first steps of the first epoch, or the documents packed into them."""
    from textmill.objectives.show import apart

    loader, objective = data.loader(), data.objective
    for step in range(max(1, int(loader.steps_per_epoch))):
        batch = loader.batch(step)
        for row in (objective.show(batch, number) for number in range(len(batch))):
            yield from apart(row) if objective.shown.apart else [row]


def _findings(data: RunData, result: dict[str, Any]) -> list[dict[str, str]]:
    """What is as it should be, and what a person should look at before they spend the time."""
    findings, recipe = _data_findings(data), data.recipe
    if recipe.model.pooler and recipe.objective.next_sentence is False:
        text = "nothing trains the pooler: set objective.next_sentence = true, or model.pooler = false"
        findings.append(_finding("warning", text))
    if result["memory_bytes"] > result["memory_free"]:
        text = "more memory is needed than is free, so no step was timed: lower training.micro_batch, or leave it out"
        findings.append(_finding("warning", text))
    if 2 * result["prepare_bytes"] > result["memory_free"]:
        held = amount(result["prepare_bytes"], "B")
        text = (
            f"a process that prepares the longest document holds about {held} of memory: "
            "split it, or lower corpus.limits.file_bytes"
        )
        findings.append(_finding("warning", text))
    if result["epochs"] > 20:
        findings.append(
            _finding("warning", f"{result['epochs']:.0f} epochs over the same text: it will be memorised")
        )
    # More readings teach little (Muennighoff et al. 2023).
    read = result["train_tokens"] * min(result["epochs"], _EPOCHS)
    if read < result["parameters"] and data.recipe.start is None:  # a start has learned from text of its own
        capped = f" (of {result['epochs']:.0f} epochs, {_EPOCHS} count)" if result["epochs"] > _EPOCHS else ""
        text = (
            f"{amount(read)} tokens are read{capped} for {amount(result['parameters'])} parameters: "
            "train longer on more text, or a smaller model"
        )
        findings.append(_finding("warning", text))
    return findings


def _data_findings(data: RunData) -> list[dict[str, str]]:
    """The same of the data alone."""
    from textmill.data.overlap import WINDOW, overlap

    findings = _end_finding(data) if data.objective.writes else []
    findings += [_finding("warning", text) for text in notes(data)]
    shared = overlap(data.texts("train"), data.texts("test"))
    level = "warning" if shared.same or shared.share > _MUCH_OVERLAP else "ok"
    text = (
        f"{shared.same} of {shared.documents} test documents are in the training split word for word; "
        f"{shared.share:.1%} of their runs of {WINDOW} tokens are there too"
    )
    if level == "warning" and shared.worst:
        text += f", most in document {shared.worst[0][0]} ({shared.worst[0][1]:.0%})"
    findings.append(_finding(level, text))
    if not len(data.store("validation")):
        findings.append(
            _finding("warning", "there is no validation split: the last weights count as the best")
        )
    return findings


def _end_finding(data: RunData) -> list[dict[str, str]]:
    """Whether a model that writes learns to stop."""
    from textmill.objectives.show import end_is_trained

    step = end_is_trained(data.loader(), data.ends, min(data.recipe.training.steps, 200))
    turns = data.recipe.objective.converses
    if step is None:
        end = "the token that ends a turn" if turns else "the end-of-text token"
        return [_finding("warning", f"{end} is not a target in the first steps: the model may never stop")]
    end = "the token that ends a turn" if turns else "the end-of-text token"
    return [_finding("ok", f"{end} is trained, first in step {step + 1}")]


def _finding(level: str, text: str) -> dict[str, str]:
    return {"level": level, "text": text}
