"""What a model says of records by its task: in the engine's second queue, beside what is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from textmill.base.errors import TextmillError
from textmill.serving.answering import refused
from textmill.serving.refusals import Refusal
from textmill.serving.service import Model, Service
from textmill.stages.use import embed
from textmill.tasks.prediction import Prediction, Refused
from textmill.tasks.task import Options, Record


def check_task(model: Model, *names: str) -> None:
    """Raises Refusal for a model that was made for something else."""
    if model.task.name not in names:
        what = f"{model.name} is a model of the task {model.task.name}, and this route wants {' or '.join(names)}."
        raise Refusal(400, what, code="wrong_task", param="model")


async def said(
    service: Service, model: Model, records: Sequence[Record], options: Options | None = None
) -> list[Any]:
    """What is said of each record. Raises Refusal where nothing can be said of one: none is left out."""
    made = await predictions(service, model, records, options)
    for number, one in enumerate(made):
        if isinstance(one, Refused):
            what = f"Nothing can be said of input {number}: {one}."
            too_long = "longer than the model reads" in one.reason
            raise Refusal(
                400, what, code="context_length_exceeded" if too_long else "invalid_value", param="input"
            )
    return made


async def predictions(
    service: Service, model: Model, records: Sequence[Record], options: Options | None = None
) -> list[Prediction | Refused]:
    """The same, with what nothing can be said of in its place."""
    try:
        with service.reading.taken(sum(len(text) for record in records for text in record.values())):
            return await asyncio.wrap_future(
                service.engine.run(model.name, list(records), options or Options())
            )
    except TextmillError as error:
        raise refused(error) from error


def sentences(model: Model) -> Options:
    """How a model's texts become vectors: as its directory says."""
    return Options(sentences=embed.settings(model.path))
