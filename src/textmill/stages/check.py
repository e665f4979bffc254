"""`textmill check`: what a recipe will cost and whether it trains what one thinks, before anything is spent.

Preparing is part of it, since the answer needs the data; what is prepared is what training will use.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.base import count
from textmill.base.console import amount
from textmill.base.spec import Recipe
from textmill.stages.inputs import loader_of, part
from textmill.stages.prepare import Prepared, prepare
from textmill.stages.train import fitting
from textmill.stages.workspace import Workspace

if TYPE_CHECKING:
    from textmill.data.tokens import TokenStore
    from textmill.training.device import Compute
    from textmill.training.memory import Fit

_SHOWN_ROWS, _SHOWN_TOKENS = 2, 80
_OVERLAP_TOKENS = 13  # tokens in a row that count as overlap (Brown et al. 2020, appendix C)


def check(recipe: Recipe, space: Workspace, *, sweep: bool = False) -> dict[str, Any]:
    """Parameters, FLOPs, memory, time, the mask of the first rows, and findings; plain data.

    `sweep` adds a learning-rate range test. Raises RecipeError or TextmillError as training would.
    """
    from textmill.models import size
    from textmill.training import device, memory

    compute = device.choose(recipe.training)
    device.prepare(compute)
    prepared = prepare(recipe, space)
    fit = fitting(recipe, prepared, compute)
    space.reporter.note("timing a few steps on a copy")
    timing = _timing(recipe, prepared, compute, fit)
    train, loader = part(prepared, "train"), loader_of(recipe, prepared)
    flops = size.flops_per_token(recipe.model, train.vocabulary, recipe.sequence)
    tokens = recipe.training.steps * recipe.training.batch * recipe.sequence
    free = memory.free_bytes(compute.device)
    result = {
        "name": recipe.name,
        "parameters": count.parameters(recipe.model, train.vocabulary),
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
    device.prepare(compute)
    return _timing(recipe, prepared, compute, fitting(recipe, prepared, compute)).seconds_per_step


def _model_and_loss(recipe: Recipe, prepared: Prepared, fit: Fit) -> tuple[Any, Any]:
    from textmill.models import table
    from textmill.training.loss import causal

    model = table.build(recipe.model, prepared.open_tokenizer().vocabulary, seed=recipe.seed)
    model.gradient_checkpointing = recipe.training.gradient_checkpointing
    return model, functools.partial(causal, chunk=fit.loss_chunk)


def _timing(recipe: Recipe, prepared: Prepared, compute: Compute, fit: Fit) -> Any:
    from textmill.training import preflight

    model, loss = _model_and_loss(recipe, prepared, fit)
    loader = loader_of(recipe, prepared)
    return preflight.measure(model, loss, loader, recipe.training, compute, micro_batch=fit.micro_batch)


def _sweep(recipe: Recipe, prepared: Prepared, compute: Compute, fit: Fit) -> dict[str, Any]:
    from textmill.training import preflight

    model, loss = _model_and_loss(recipe, prepared, fit)
    loader = loader_of(recipe, prepared)
    found = preflight.learning_rate_range(
        model, loss, loader, recipe.training, compute, micro_batch=fit.micro_batch
    )
    curve = list(zip(found.rates, found.losses, strict=True))
    return {"curve": curve, "suggestion": found.suggestion, "highest": found.highest}


def _mask(recipe: Recipe, prepared: Prepared) -> list[list[dict[str, Any]]]:
    """The targets of the first rows of step 0, and whether each bears loss."""
    from textmill.data.batch import IGNORE

    tokenizer = prepared.open_tokenizer()
    batch = loader_of(recipe, prepared).batch(0)
    rows = []
    for inputs, targets in zip(
        batch.inputs[:_SHOWN_ROWS].tolist(), batch.targets[:_SHOWN_ROWS].tolist(), strict=True
    ):
        row = [{"text": tokenizer.decode(inputs[:1]), "loss": False}]
        for given, wanted in zip(inputs[1:], targets, strict=False):
            bears = wanted != IGNORE
            row.append({"text": tokenizer.decode([wanted if bears else given]), "loss": bears})
        rows.append(row[:_SHOWN_TOKENS])
    return rows


def _findings(recipe: Recipe, prepared: Prepared, result: dict[str, Any]) -> list[dict[str, str]]:
    """What is as it should be, and what a person should look at before they spend the time."""
    found = [_end_of_text(recipe, prepared)]
    documents, share = _overlap(part(prepared, "train"), part(prepared, "test"))
    level = "warning" if documents or share > 0.2 else "ok"
    found.append(
        _finding(
            level,
            f"{documents} test documents are in the training part word for word; {share:.1%} of the test tokens "
            f"lie in runs of {_OVERLAP_TOKENS} that it has too",
        )
    )
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
    if not len(part(prepared, "validation")):
        found.append(_finding("warning", "there is no validation part: the last weights count as the best"))
    return found


def _finding(level: str, text: str) -> dict[str, str]:
    return {"level": level, "text": text}


def _end_of_text(recipe: Recipe, prepared: Prepared) -> dict[str, str]:
    """Whether the end-of-text token is a target within the first epoch's batches."""
    loader, end = loader_of(recipe, prepared), part(prepared, "train").end
    for step in range(min(recipe.training.steps, 200)):
        count_of_ends = int((loader.batch(step).targets == end).sum())
        if count_of_ends:
            return _finding("ok", f"the end-of-text token is trained ({count_of_ends} times in step {step})")
    return _finding(
        "warning", "the end-of-text token is not trained in the first steps: the model may never stop"
    )


def _overlap(train: TokenStore, test: TokenStore) -> tuple[int, float]:
    """(test documents that are in the training part, share of test tokens inside a run that it has too)."""
    known = {train.document(index).tobytes() for index in range(len(train))}
    repeated = sum(test.document(index).tobytes() in known for index in range(len(test)))
    if test.tokens < _OVERLAP_TOKENS or train.tokens < _OVERLAP_TOKENS:
        return repeated, 0.0
    hits = np.isin(_windows(test), _windows(train))
    covered = np.zeros(test.tokens, dtype=np.int64)
    starts = np.flatnonzero(hits)
    np.add.at(covered, starts, 1)
    ends = starts + _OVERLAP_TOKENS
    np.add.at(covered, ends[ends < test.tokens], -1)
    return repeated, float((np.cumsum(covered) > 0).mean())


def _windows(store: TokenStore) -> np.ndarray:
    """A 64-bit hash of every run of `_OVERLAP_TOKENS` tokens (polynomial, modulo 2^64, mixed per token)."""
    length = store.tokens - _OVERLAP_TOKENS + 1
    ids = np.asarray(store.ids).astype(np.uint64)
    mixed = (ids + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    total = np.zeros(length, dtype=np.uint64)
    for place in range(_OVERLAP_TOKENS):
        total = total * np.uint64(0x100000001B3) + mixed[place : place + length]
    return total
