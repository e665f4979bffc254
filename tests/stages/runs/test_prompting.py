"""Prompting as a way of tuning: labels by a written prompt, by the same commands as any model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import Batch
from textmill.data.codec import Codec
from textmill.interop.huggingface.directory import write_directory
from textmill.interop.load import load
from textmill.models.build import build
from textmill.models.prompted import Prompted, shared_length
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import ClassifyHead
from textmill.specs.model import DecoderSpec
from textmill.specs.tuning import PromptingTuning
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.release.publish import publish_run
from textmill.stages.runs.check import check
from textmill.stages.runs.train import train
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace

HEAD = ClassifyHead(labels=("0", "1"))
WORDS = {"0": "bad bread", "1": "good"}
EXAMPLES = [("the mill is slow", 0), ("the flour is fine", 1), ("a storm took the wheel", 0)]
FORM = "Review: {text}\nIt is {label}"


@pytest.fixture(scope="module")
def start(tmp_path_factory, tokenizer):
    """The directory of a tiny language model."""
    folder = tmp_path_factory.mktemp("start") / "tiny"
    spec = DecoderSpec(d_model=32, layers=1, heads=2, d_ff=32, context=160)
    model = build(spec, tokenizer.vocabulary, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)  # so that it leans to something
    write_directory(folder, model, tokenizer, GenerationSpec(), {})
    return folder


def model_of(start, **more):
    base = load(start)
    tuning = PromptingTuning(form=FORM, words=WORDS, **more)
    return Prompted(base.model, HEAD, tuning, base.tokenizer, EXAMPLES).settle().eval(), base


def batch_of(tokenizer, texts) -> Batch:
    codec = Codec(tokenizer)
    return codec.batch([codec.source(text) for text in texts])


def by_hand(base, prompt: str, calibrate=()) -> np.ndarray:
    """Probabilities of both words after a prompt, of whole forward passes."""
    found = []
    for word in (" bad bread", " good"):
        before, after = (base.tokenizer.encode(part).astype(np.int64) for part in (prompt, word))
        ids = torch.from_numpy(np.concatenate([base.tokenizer.prefix, before, after]).astype(np.int64))[None]
        logs = base.model(Batch(ids, ids))[0].log_softmax(-1)
        places = range(ids.shape[1] - len(after), ids.shape[1])
        found.append(sum(logs[place - 1, ids[0, place]].item() for place in places))
    p = np.exp(np.array(found))
    return p / p.sum()


@torch.no_grad()
def test_words_are_scored_and_calibrated_as_published(start):
    model, base = model_of(start, examples=2, instruction="Say how it is.", calibrate=("N/A", ""))
    texts = ["wind", "the mill turns water into flour"]
    shown = "Say how it is.\n\nReview: the mill is slow\nIt is bad bread\n\nReview: the flour is fine\nIt is good\n\n"
    found = model(batch_of(base.tokenizer, texts)).softmax(-1).numpy()
    empty = np.mean([by_hand(base, f"{shown}Review: {text}\nIt is") for text in ("N/A", "")], axis=0)
    for text, got in zip(texts, found, strict=True):
        p = by_hand(base, f"{shown}Review: {text}\nIt is") / empty
        np.testing.assert_allclose(got, p / p.sum(), rtol=1e-4)
    plain, _ = model_of(start, examples=0, calibrate=())
    got = plain(batch_of(base.tokenizer, texts[:1])).softmax(-1).numpy()[0]
    np.testing.assert_allclose(got, by_hand(base, "Review: wind\nIt is"), rtol=1e-4)


@pytest.mark.parametrize("window", [None, 8])
def test_what_prompts_begin_with_is_read_once(tokenizer, window, monkeypatch):
    spec = DecoderSpec(d_model=32, layers=2, heads=2, d_ff=32, context=400, window=window)
    tuning = PromptingTuning(form=FORM, words=WORDS, examples=3)
    body = build(spec, tokenizer.vocabulary, seed=1)
    model = Prompted(body, HEAD, tuning, tokenizer, EXAMPLES).eval()
    texts = ["wind", "the river is slow", "rain", "flour and water and wind"]
    prompts = [model.prompt(text, EXAMPLES) for text in texts]
    alone = torch.cat([model.log_probs([prompt]) for prompt in prompts])
    read, begin = [], body.hidden_begin
    monkeypatch.setattr(
        body, "hidden_begin", lambda batch, room: (read.append(batch.inputs), begin(batch, room))[1]
    )
    torch.testing.assert_close(model.log_probs(prompts), alone, rtol=1e-5, atol=1e-5)
    [once] = read  # and only the rest of each prompt is read after it
    assert (
        once.shape[1] == shared_length(prompts) > len(tokenizer.encode("".join(text for text, _ in EXAMPLES)))
    )


@torch.no_grad()
def test_what_says_nothing_is_even_once_calibrated(start):
    for choose in ("random", "bm25", "embedding"):
        model, base = model_of(start, examples=2, choose=choose, calibrate=("N/A",))
        even = model(batch_of(base.tokenizer, ["N/A"])).softmax(-1)
        if choose != "bm25":  # which finds no example there
            torch.testing.assert_close(even, torch.full((1, 2), 0.5), rtol=1e-4, atol=1e-4)


def test_the_nearest_examples_stand_last(start):
    model, _ = model_of(start, examples=2, choose="bm25")
    assert [text for text, _ in model.chosen("the flour is fine")] == [
        "the mill is slow",
        "the flour is fine",
    ]
    model, _ = model_of(start, examples=1, choose="embedding")
    assert model.chosen("a storm took the wheel") == [EXAMPLES[2]]


def test_what_does_not_fit_is_left_out_from_the_front(start):
    model, base = model_of(start, examples=3)
    long = "flour " * 400
    ids = model.prompt(long, EXAMPLES)
    assert len(ids) <= 160 - max(map(len, model.words))
    assert base.tokenizer.decode(ids.tolist()).startswith("Review: flour flour")
    assert base.tokenizer.decode(model.prompt("wind", EXAMPLES).tolist()).startswith(
        "Review: the mill is slow"
    )


def test_words_and_forms_that_say_nothing_are_refused(start):
    with pytest.raises(RecipeError, match=r"\{text\} once"):
        PromptingTuning(form="{text} {label} and more")
    base = load(start)
    with pytest.raises(RecipeError, match="the same"):
        Prompted(base.model, HEAD, PromptingTuning(words={"0": "x", "1": "x"}), base.tokenizer, [])


@pytest.fixture(scope="module")
def run(start, tmp_path_factory):
    """(a run of a recipe with prompting, its workspace)."""
    folder = tmp_path_factory.mktemp("prompting")
    draw = np.random.default_rng(0)
    words = ["mill", "flour", "bread", "wind", "river"]
    rows = [{"text": " ".join(draw.choice(words, 6)), "label": str(number % 2)} for number in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(f"""
name = "asked"
[corpus]
sources = [{{ kind = "files", paths = ["rows.jsonl"] }}]
steps = []
split = {{ validation = 0.1, test = 0.2 }}
[start]
model = "{start}"
[tuning]
kind = "prompting"
form = "Review: {{text}}\\nIt is {{label}}"
words = {{ "0" = "bad", "1" = "good" }}
examples = 2
[objective]
kind = "classify"
[evaluation]
bootstrap = 10
""")
    workspace = Workspace(folder / "work", Silent())
    recipe = load_recipe(folder / "recipe.toml", (), workspace)
    assert check(recipe, workspace)["steps"] == 1
    return train(recipe, workspace), workspace


def test_it_is_evaluated_published_and_loaded_over_its_base(run):
    made, workspace = run
    report = evaluate_run(made, workspace)
    assert report["headline"] == "accuracy"
    published = publish_run(made, workspace)
    assert published["parity"]["ok"]
    size = (made.model / "adapter_model.safetensors").stat().st_size
    assert size < 4096  # of examples and of two numbers: the base is not in it
    told = json.loads((made.model / "textmill.json").read_text())
    assert told["base"]["weights"]
    model = LanguageModel(workspace, made.name).pretrained
    assert isinstance(model.model, Prompted)
    assert len(model.model.examples) == 2
    with pytest.raises(TextmillError, match="no part of any weights"):
        model.merged()


def test_it_predicts_as_any_model(run):
    from textmill.inference.predictor import Predictor

    made, workspace = run
    predictor = Predictor(LanguageModel(workspace, made.name).pretrained)
    [one, other] = predictor.predict([{"text": "flour and bread"}, {"text": "wind"}])
    assert {one.label, other.label} <= {"0", "1"}
    assert 0 < one.p < 1
