"""Vectors, labels, translations, documents: one service of a tiny model for each, beside what Python says of them."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import openai
import pytest
import torch

from helpers import published
from helpers.serving import KEY
from textmill.base.console import Silent
from textmill.inference.requests import Unwanted
from textmill.interop.huggingface import directory as huggingface
from textmill.models.build import build
from textmill.models.heads import attach
from textmill.specs import recipe_file
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.model import EncoderDecoderSpec, EncoderSpec
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.stages.runs import train as training
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.task import Options
from textmill.tokenization.training import train

SMALL = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 24, "context": 64}
LABELS = ("no", "perhaps", "yes")
MODELS = {
    "vectors": (EncoderSpec(**SMALL), None),
    "labels": (EncoderSpec(**SMALL), ClassifyHead(labels=LABELS)),
    "pairs": (EncoderSpec(**SMALL), RegressHead()),
    "tags": (EncoderSpec(**SMALL), TagHead(labels=("O", "B-PER"))),
    "answers": (EncoderSpec(**SMALL), SpanHead()),
    "opus-en-de": (EncoderDecoderSpec(**SMALL, **published.MARIAN), None),
}
TEXTS = ["the mill by the river", "a tower"]


@pytest.fixture(scope="module")
def places(tmp_path_factory, writer):
    """The directory of each model."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train(TokenizerSpec(kind="bytes"), [])
    for name, (spec, head) in MODELS.items():
        torch.manual_seed(0)
        model = build(spec, tokenizer.vocabulary)
        model = published.shaken(model if head is None else attach(model, head))
        huggingface.write_directory(folder / name, model, tokenizer, GenerationSpec(tokens=8), {})
    return {name: str(folder / name) for name in MODELS} | {"mill": str(writer)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose files may be added."""
    made = tmp_path_factory.mktemp("notes")
    (made / "mill.txt").write_text("The mill stands by the river. Its miller is called Ottokar.\n")
    return made


@pytest.fixture(scope="module")
def several(begin, places, folder):
    return begin(places, folders=[folder])


@pytest.fixture(scope="module")
def python(places, tmp_path_factory):
    """The same models, in Python."""
    workspace = Workspace(tmp_path_factory.mktemp("python"), Silent())
    return lambda name: LanguageModel(workspace, places[name])


def test_embeddings(several, python):
    client = openai.OpenAI(base_url=f"{several.url}/v1", api_key=KEY, max_retries=0)
    right = python("vectors").embed(TEXTS).vectors
    made = client.embeddings.create(model="vectors", input=TEXTS)  # the client asks for base64, and reads it
    np.testing.assert_allclose([one.embedding for one in made.data], right, atol=1e-6)
    plain = client.embeddings.create(model="vectors", input=TEXTS[1], encoding_format="float")
    np.testing.assert_allclose(plain.data[0].embedding, right[1], atol=1e-6)
    assert made.usage.prompt_tokens == sum(map(len, TEXTS))  # this model reads bytes
    with pytest.raises(openai.BadRequestError, match="longer than the model reads"):
        client.embeddings.create(model="vectors", input="a" * 100)
    with pytest.raises(openai.BadRequestError, match="task generate"):
        client.embeddings.create(model="mill", input="a")
    with pytest.raises(openai.BadRequestError, match="dimensions can be 16 here"):
        client.embeddings.create(model="vectors", input="a", dimensions=8)


@pytest.mark.parametrize("model", ["vectors", "pairs"])
def test_rerank(several, python, model):
    body = {"model": model, "query": "where is the mill?", "documents": TEXTS, "return_documents": True}
    status, _, told = several.ask("POST", "/v1/rerank", body)
    assert status == 200, told
    if model == "vectors":
        query, *passages = python(model).embed([body["query"], *TEXTS]).vectors
        right = [float(query @ passage) for passage in passages]
    else:
        said = python(model).predict([{"text": body["query"], "pair": text} for text in TEXTS])
        right = [one.values[0] for one in said]
    scores = {one["index"]: one["relevance_score"] for one in told["results"]}
    assert [scores[0], scores[1]] == pytest.approx(right, abs=1e-5)
    assert told["results"][0]["relevance_score"] == max(scores.values())
    assert told["results"][0]["document"]["text"] == TEXTS[told["results"][0]["index"]]
    assert len(several.ask("POST", "/v1/rerank", body | {"top_n": 1})[2]["results"]) == 1


def test_tasks_say_what_python_says(several, python):
    def rows(task, model, **body):
        status, _, told = several.ask("POST", f"/v1/tasks/{task}", {"model": model} | body)
        assert (status, told.get("refused")) == (200, 0), told
        return [{name: one[name] for name in one if name != "index"} for one in told["data"]]

    labels = rows("classify", "labels", input=TEXTS, top=3)
    assert labels == [one.row() for one in python("labels").predict(TEXTS, top=3)]
    assert rows("tag", "tags", input=TEXTS) == [one.row() for one in python("tags").predict(TEXTS)]
    asked = {"question": "where is it?", "passage": TEXTS[0]}
    assert rows("answer", "answers", input=asked) == [one.row() for one in python("answers").predict(asked)]
    settings = {"max_tokens": 5, "temperature": 0}
    right = python("opus-en-de").predict(TEXTS, tokens=5, temperature=0)
    assert rows("translate", "opus-en-de", input=TEXTS, settings=settings) == [one.row() for one in right]
    begun = "def add(a, b):"
    [code] = rows("code", "mill", input=begun, settings=settings)
    assert code["text"] == python("mill").generate(begun, tokens=5, temperature=0)[0].text
    status, _, told = several.ask("POST", "/v1/tasks/tag", {"model": "labels", "input": "a"})
    assert (status, told["error"]["code"]) == (400, "wrong_task")


def test_libretranslate(several, python, tmp_path):
    body = {"q": TEXTS[0], "source": "en", "target": "de"}
    status, _, told = several.ask("POST", "/translate", body)
    assert (status, told) == (200, {"translatedText": python("opus-en-de").predict(TEXTS[0])[0].text})
    status, _, told = several.ask("POST", "/translate", body | {"api_key": KEY}, authorization=None)
    assert status == 200  # its clients write their key into the body
    status, _, told = several.ask("POST", "/translate", body | {"api_key": "no"}, authorization=None)
    assert (status, told) == (401, {"error": "This is no key of the service."})
    status, _, told = several.ask("POST", "/translate", body | {"target": "fr"})
    assert (status, "en to de" in told["error"]) == (400, True)
    assert several.ask("GET", "/languages")[2] == [{"code": "en", "name": "en", "targets": ["de"]}]
    assert len(several.ask("POST", "/translate", body | {"q": TEXTS})[2]["translatedText"]) == 2


def test_decisions_of_a_head_are_its_probabilities(several, python):
    [label] = python("labels").predict(TEXTS[:1], top=3)
    right = dict([(label.label, label.p), *label.others])
    client = openai.OpenAI(base_url=f"{several.url}/v1", api_key=KEY, max_retries=0)
    choices = [{"value": "no"}, {"value": "yes"}]
    questions = [
        {"type": "predicate", "instructions": "yes"},
        {"type": "choice", "instructions": "Is it?", "choices": choices},
        {"type": "score", "instructions": "Is it?", "levels": [{"label": name} for name in LABELS]},
    ]
    made = client.decisions.create(model="labels", input=TEXTS[0], questions=questions)
    predicate, choice, score = made.answers
    assert predicate.probability == pytest.approx(right["yes"])
    assert choice.probabilities[1].probability == pytest.approx(right["yes"] / (right["yes"] + right["no"]))
    assert score.score == pytest.approx(right["perhaps"] + 2 * right["yes"])
    with pytest.raises(openai.BadRequestError, match="not 'green'"):
        questions = [{"type": "predicate", "instructions": "green"}]
        client.decisions.create(model="labels", input="a", questions=questions)


def test_documents(several, folder, tmp_path):
    pytest.importorskip("apsw")
    assert several.ask("GET", "/v1/documents")[2] == {"files": []}
    status, _, told = several.ask("POST", "/v1/documents", {"paths": [str(folder)], "embedder": "vectors"})
    assert (status, told["new"], told["vectors"]) == (200, [str(folder / "mill.txt")], 1)
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "way-out").symlink_to(tmp_path)
    for path in (tmp_path / "secret.txt", folder / "way-out" / "secret.txt", f"{folder}/../{tmp_path.name}"):
        status, _, told = several.ask("POST", "/v1/documents", {"paths": [str(path)]})
        assert (status, told["error"]["code"]) == (403, "path_not_allowed")
    (folder / "way-out").unlink()
    found = several.ask("POST", "/v1/documents/search", {"query": "the miller", "embedder": "vectors"})[2]
    assert found["hits"][0]["path"] == str(folder / "mill.txt")
    body = {"model": "answers", "question": "who is the miller?", "least": 0.0}
    status, _, told = several.ask("POST", "/v1/documents/ask", body)
    assert (status, told["why"]) == (200, ""), told
    assert all(one["cited"] for one in told["sentences"]), told
    status, _, told = several.ask("POST", "/v1/documents/ask", body | {"model": "mill"})
    assert status == 200, told
    path = str(folder / "mill.txt")
    assert several.ask("DELETE", f"/v1/documents?path={path}")[2] == {"removed": [path]}
    assert several.ask("DELETE", f"/v1/documents?path={path}")[0] == 400
    assert several.ask("POST", "/v1/trace", {"model": "mill", "text": "the mill"})[0] == 400  # of no run


def test_trace(begin, tiny_recipe, texts, tmp_path):
    """A span is the longest that a document holds, and the documents are those that do."""
    workspace = Workspace(tmp_path / "work", Silent())
    recipe = recipe_file.load(tiny_recipe)
    training.train(replace(recipe, training=replace(recipe.training, steps=1)), workspace)
    running = begin({"miller": "tiny"}, workspace=workspace)
    held = (texts / "001.txt").read_text().splitlines()[1][:40]
    body = {"model": "miller", "text": f"Zzz! {held} Zzz!", "shortest": 4, "documents": 1000}
    status, _, told = running.ask("POST", "/v1/trace", body)
    assert status == 200, told
    span = max(told["spans"], key=lambda one: one["tokens"])
    assert body["text"][span["start"] : span["end"]] == span["text"]
    assert len(span["text"]) > 30
    named = {Path(one["source"]) for one in span["found_in"]}
    assert named == {path for path in texts.iterdir() if span["text"] in path.read_text()}
    assert texts / "001.txt" in named


def test_a_task_ends_when_its_client_has_gone(several):
    """Counted in passes of the model: those before the client leaves, and none after."""
    engine, passes = several.service.engine, []

    def gone():
        passes.append(len(passes))
        return len(passes) > 4

    records = [{"source": "the mill by the river"}] * 8
    options = Options(generation=GenerationSpec(tokens=60, stop=()))
    asked = engine.run("opus-en-de", records, options, gone=gone)
    with pytest.raises(Unwanted):
        asked.result(60)
    assert len(passes) == 5
    assert engine.figures()["tasks"] == 0
    passes.clear()
    assert len(engine.run("vectors", [{"text": "a"}] * 2, gone=gone).result(60)) == 2


def test_a_client_that_leaves_is_translated_for_no_more(several):
    """Of 1,024 texts that would take minutes, few are written; those that wait behind it are answered."""
    texts = ["the mill by the river and the tower"] * 1024
    settings = {"max_tokens": 64, "beams": 8}
    body = json.dumps({"model": "opus-en-de", "input": texts, "settings": settings}).encode()
    lines = {
        "Host": f"127.0.0.1:{several.port}",
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    def waited_for(wanted):
        until = time.monotonic() + 120
        while not wanted() and time.monotonic() < until:
            time.sleep(0.01)
        return wanted()

    with socket.create_connection(("127.0.0.1", several.port)) as connection:
        connection.sendall(f"POST /v1/tasks/translate HTTP/1.1\r\n{head}\r\n".encode() + body)
        assert waited_for(lambda: several.service.engine.figures()["tasks"])
    assert waited_for(lambda: not several.service.engine.figures()["tasks"])
    assert several.ask("POST", "/v1/embeddings", {"model": "vectors", "input": "a"})[0] == 200
    assert waited_for(lambda: any('"status": 499' in line for line in several.log))


def test_tokens(several, python):
    tokenizer = python("mill").tokenizer
    ids = several.ask("POST", "/tokenize", {"model": "mill", "content": "磨坊 a"})[2]["tokens"]
    assert ids == tokenizer.encode("磨坊 a").tolist()
    told = several.ask("POST", "/tokenize", {"model": "mill", "content": "磨", "with_pieces": True})[2]
    assert [one["bytes"] for one in told["tokens"]] == [[0xE7], [0xA3], [0xA8]]
    assert several.ask("POST", "/detokenize", {"model": "mill", "tokens": ids})[2]["content"] == "磨坊 a"
    assert several.ask("POST", "/detokenize", {"model": "mill", "tokens": [10**9]})[0] == 400
    assert (
        several.ask("POST", "/tokenize", {"content": "a"})[2]["error"]["code"] == "missing_value"
    )  # of several models
    assert several.ask("GET", "/tokenizer_info")[0] == 400
    talk = {"model": "mill", "messages": [{"role": "user", "content": "Hi <|end|>"}]}
    told = several.ask("POST", "/apply-template", talk)[2]
    assert told["prompt"] == "<|user|>Hi <|end|><|end|><|assistant|>"
    ends = [at for at, token in enumerate(told["tokens"]) if token == tokenizer.special["<|end|>"]]
    assert len(ends) == 1  # what a person writes is never a special token
