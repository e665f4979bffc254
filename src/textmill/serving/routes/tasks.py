"""/v1/tasks/…, a route a task, and LibreTranslate's /translate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.serving.answering import Writing
from textmill.serving.asking import Wanted, of_prompt, requests
from textmill.serving.bodies import MOST, Body, Number, Text
from textmill.serving.bodies import Model as Name
from textmill.serving.predicting import check_task, predictions, said
from textmill.serving.refusals import Refusal
from textmill.serving.service import Model, Service, allowed, service_of
from textmill.specs.generation import GenerationSpec
from textmill.tasks.code.task import STOPS
from textmill.tasks.prediction import Refused
from textmill.tasks.task import Options

router = APIRouter(tags=["tasks"], dependencies=[allowed("tasks")])
_Texts = Annotated[list[Text], Field(min_length=1, max_length=1024)]


class Settings(Body):
    """How texts are written; what is left out is as it was published with the model."""

    max_tokens: Annotated[int, Field(ge=1, lt=1 << 20)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = None
    beams: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None


class TaskBody(Body):
    """Texts, and the model that says something of each."""

    model: Name
    input: Text | _Texts
    top: Annotated[int, Field(ge=1, le=16, description="answers to each text, best first")] = 1


class WritingBody(TaskBody):
    """Texts that others are made of."""

    settings: Settings | None = None


class ClassifyBody(TaskBody):
    """Texts that are labelled. pair: the second text of each, where the model reads two."""

    pair: Text | _Texts | None = None
    threshold: Annotated[Number, Field(ge=0, le=1)] | None = None


class Question(Body):
    """A question, and the text that is searched."""

    question: Text
    passage: Text


class AnswerBody(Body):
    """Questions that passages answer, or do not."""

    model: Name
    input: Question | Annotated[list[Question], Field(min_length=1, max_length=1024)]
    top: Annotated[int, Field(ge=1, le=16)] = 1


class CodeBody(Body):
    """Functions that are begun, and gone on with. They are not run here."""

    model: Name
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MOST)]
    settings: Settings | None = None


@router.post("/v1/tasks/translate")
async def translate(
    body: WritingBody, http: Request, service: Service = Depends(service_of)
) -> dict[str, Any]:
    """Translate texts."""
    return await _written(http, service, body, "translate")


@router.post("/v1/tasks/summarize")
async def summarize(
    body: WritingBody, http: Request, service: Service = Depends(service_of)
) -> dict[str, Any]:
    """Summarise texts."""
    return await _written(http, service, body, "summarize")


@router.post("/v1/tasks/code")
async def code(body: CodeBody, http: Request, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Go on with each function that is begun, to its end."""
    model = service.model(body.model)
    check_task(model, "code", "generate", "chat")
    texts = [body.input] if isinstance(body.input, str) else body.input
    read = await service.aside(lambda: [of_prompt(model, text) for text in texts])
    changes = (body.settings or Settings()).model_dump(exclude={"max_tokens"}, exclude_none=True)
    tokens = None if body.settings is None else body.settings.max_tokens
    wanted = Wanted(changes=changes | {"tokens": tokens, "stop": list(STOPS["prompt"])})
    writing = Writing(service, requests(model, read, wanted, http.state.key.name), http)
    answers = await (await writing.begin()).answers()
    data = [{"index": number, "text": answer.text} for number, answer in enumerate(answers)]
    return {"object": "list", "task": "code", "model": model.name, "data": data, "refused": 0}


@router.post("/v1/tasks/tag")
async def tag(body: TaskBody, http: Request, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Find names and other spans in texts."""
    return await _labelled(http, service, body, "tag")


@router.post("/v1/tasks/classify")
async def classify(
    body: ClassifyBody, http: Request, service: Service = Depends(service_of)
) -> dict[str, Any]:
    """Label texts, with probabilities; or measure them, where the model does that."""
    return await _labelled(http, service, body, "classify", "regress")


@router.post("/v1/tasks/answer")
async def answer(body: AnswerBody, http: Request, service: Service = Depends(service_of)) -> dict[str, Any]:
    """Answer questions from passages, or say that they do not say."""
    model = service.model(body.model)
    check_task(model, "answer")
    questions = body.input if isinstance(body.input, list) else [body.input]
    records = [{"question": one.question, "passage": one.passage} for one in questions]
    return await _rows(http, model, records, Options(top=body.top))


async def _written(http: Request, service: Service, body: WritingBody, task: str) -> dict[str, Any]:
    model = service.model(body.model)
    check_task(model, task)
    options = Options(top=body.top, generation=_generation(model, body.settings))
    texts = [body.input] if isinstance(body.input, str) else body.input
    return await _rows(http, model, [{"source": text} for text in texts], options)


async def _labelled(http: Request, service: Service, body: TaskBody, *tasks: str) -> dict[str, Any]:
    model = service.model(body.model)
    check_task(model, *tasks)
    records = [{"text": text} for text in ([body.input] if isinstance(body.input, str) else body.input)]
    options = Options(top=body.top)
    if isinstance(body, ClassifyBody):
        options = Options(top=body.top, threshold=body.threshold)
        if body.pair is not None:
            pairs = [body.pair] if isinstance(body.pair, str) else body.pair
            if len(pairs) != len(records):
                raise Refusal(
                    400, "input and pair are of different lengths.", code="invalid_value", param="pair"
                )
            records = [record | {"pair": pair} for record, pair in zip(records, pairs, strict=True)]
    return await _rows(http, model, records, options)


async def _rows(
    http: Request, model: Model, records: list[dict[str, str]], options: Options
) -> dict[str, Any]:
    """What is said of each record, as a row of plain data; `refused` where nothing can be said."""
    made: list[Any] = await predictions(http, model, records, options)
    data = [{"index": number} | one.row() for number, one in enumerate(made)]
    refused = sum(isinstance(one, Refused) for one in made)
    return {"object": "list", "task": model.task.name, "model": model.name, "data": data, "refused": refused}


def _generation(model: Model, given: Settings | None) -> GenerationSpec | None:
    """How texts are written. Raises Refusal for what does not go together."""
    if given is None:
        return None
    changes = given.model_dump(exclude_none=True)
    if "max_tokens" in changes:
        changes["tokens"] = changes.pop("max_tokens")
    try:
        return schema.read(GenerationSpec, schema.write(model.pretrained.generation) | changes, "settings")
    except TextmillError as error:
        raise Refusal(400, str(error), code="invalid_value", param="settings") from error


# --- LibreTranslate -----------------------------------------------------------------------------------------------
class TranslateBody(Body):
    """Texts, and from which language into which. A model translates from one language into one."""

    q: Text | _Texts
    source: Annotated[str, Field(max_length=20)] = "auto"
    target: Annotated[str, Field(max_length=20)]
    format: Literal["text"] = "text"
    alternatives: Annotated[int, Field(ge=0, le=15)] = 0
    api_key: Annotated[str, Field(max_length=200)] | None = None


@router.get("/languages")
def languages(service: Service = Depends(service_of)) -> list[dict[str, Any]]:
    """From which languages into which the served models translate."""
    found: dict[str, list[str]] = {}
    for _, source, target in _translators(service):
        found.setdefault(source, []).append(target)
    return [{"code": source, "name": source, "targets": targets} for source, targets in found.items()]


@router.post("/translate")
async def libretranslate(
    body: TranslateBody, http: Request, service: Service = Depends(service_of)
) -> JSONResponse:
    """Translate, as LibreTranslate's clients ask for it: by the first served model of this pair of languages."""
    fitting = [
        model
        for model, source, target in _translators(service)
        if body.source in (source, "auto") and body.target == target
    ]
    if not fitting:
        there = ", ".join(f"{source} to {target}" for _, source, target in _translators(service)) or "none"
        what = f"No served model translates {body.source} to {body.target}; there is: {there}."
        raise Refusal(400, f"{what} A translator is served as NAME-{body.source}-{body.target}.")
    http.state.note["model"] = fitting[0].name
    texts = [body.q] if isinstance(body.q, str) else body.q
    made = await said(
        http, fitting[0], [{"source": text} for text in texts], Options(top=body.alternatives + 1)
    )
    whole = not isinstance(body.q, str)
    told: dict[str, Any] = {"translatedText": [one.text for one in made] if whole else made[0].text}
    if body.alternatives:
        others = [[text for text, _ in one.others] for one in made]
        told["alternatives"] = others if whole else others[0]
    return JSONResponse(told)


def _translators(service: Service) -> list[tuple[Model, str, str]]:
    """Served models that translate, with their languages: as their names end, `…-en-de`."""
    found = []
    for model in service.models.values():
        names = model.name.rsplit("-", 2)
        if model.task.name == "translate" and len(names) == 3:
            found.append((model, names[1], names[2]))
    return found
