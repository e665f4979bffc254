"""Log-likelihood ranking against transformers, and its accuracies against the formulas of lm-evaluation-harness."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.published import shaken
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.metrics import choices
from textmill.metrics.choices import Option
from textmill.metrics.score import Bootstrap
from textmill.models import build
from textmill.models.pretrained import Pretrained
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.tasks.choice import CHOICE, Choice, question
from textmill.tasks.likelihood import likelihoods
from textmill.tasks.prediction import Refused
from textmill.tasks.task import Options
from textmill.tokenization.training import train

WORDS = [
    "the",
    "mill",
    "turns",
    "water",
    "into",
    "flour",
    "and",
    "bread",
    "while",
    "wind",
    "moves",
    "over",
    "grain",
    "磨坊",
    "面粉",
]
WEIGHTS = Path(os.environ.get("TEXTMILL_WEIGHTS", "nowhere"))
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Pretrained, Path]:
    """A small model with weights far from zero, as a directory that transformers reads, too."""
    tokenizer = train(TokenizerSpec(vocabulary=300), [" ".join(WORDS)] * 5)
    spec = DecoderSpec(d_model=32, layers=2, heads=2, d_ff=64, context=64)
    model = shaken(build.build(spec, tokenizer.vocabulary, seed=3))
    path = tmp_path_factory.mktemp("published") / "model"
    directory.write_directory(path, model, tokenizer, GenerationSpec(), {})
    return load(path), path


def records(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows in every form."""
    draw = random.Random(seed)

    def some() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 7)))

    rows: list[dict[str, str]] = []
    for _ in range(count):
        rows.append({"query": some() + draw.choice(["", "\n", " "]), "gold": str(draw.randrange(3))})
        rows[-1] |= {"choices": some(), "choices 2": some(), "choices 3": some()}
        rows.append({"sentence_good": some(), "sentence_bad": some()})
        options = {"context_options": some(), "context_options 2": some()}
        rows.append(options | {"continuation": some(), "gold": "1"})
    return rows


def reference(path: Path, before: list[int], context: str, continuation: str) -> float:
    """The log-likelihood of a continuation as transformers gives it, cut as lm-evaluation-harness cuts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = reference.__dict__.setdefault(path, AutoTokenizer.from_pretrained(path))
    model = reference.__dict__.setdefault(f"{path} model", AutoModelForCausalLM.from_pretrained(path).eval())
    ids = tokenizer.encode(context + continuation, add_special_tokens=False)
    read = before + ids
    start = len(before) + len(tokenizer.encode(context, add_special_tokens=False))
    with torch.inference_mode():
        log_p = model(torch.tensor([read[:-1]])).logits[0].log_softmax(-1)
    return float(sum(log_p[at - 1, read[at]] for at in range(start, len(read))))


def test_the_same_as_transformers(published):
    pretrained, path = published
    pairs = [pair for record in records(12) for pair in question(record).pairs]
    found = likelihoods(pretrained, pairs)
    for (context, continuation), one in zip(pairs, found, strict=True):
        before = [] if context else [pretrained.tokenizer.end]
        assert one.value == pytest.approx(reference(path, before, context, continuation), abs=2e-4)


def test_nothing_depends_on_the_batch(published, monkeypatch):
    pretrained, _ = published
    pairs = [pair for record in records(6) for pair in question(record).pairs]
    together = likelihoods(pretrained, pairs, greedy=True)
    monkeypatch.setattr("textmill.tasks.likelihood._POSITIONS", 1)
    for one, other in zip(likelihoods(pretrained, pairs, greedy=True), together, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-4)
        assert (one.tokens, one.greedy) == (other.tokens, other.greedy)


def test_greedy_is_what_the_model_finds_likeliest_at_every_token(published):
    pretrained, _ = published
    tokenizer, model = pretrained.tokenizer, pretrained.model
    read, pairs = "the mill turns", []
    for _ in range(6):  # what greedy decoding would write, as text
        ids = torch.from_numpy(tokenizer.encode(read).astype(np.int64))[None]
        likeliest = int(model(Batch(ids, ids))[0, -1].argmax())
        pairs.append((read, tokenizer.decode([likeliest])))
        read += pairs[-1][1] or " wind"
    pairs += [(context, " water") for context, _ in pairs]
    for (context, continuation), one in zip(pairs, likelihoods(pretrained, pairs, greedy=True), strict=True):
        whole = torch.from_numpy(tokenizer.encode(context + continuation).astype(np.int64))[None]
        start = whole.shape[1] - one.tokens
        said = model(Batch(whole, whole))[0, start - 1 : -1].argmax(-1)
        assert one.greedy == bool((said == whole[0, start:]).all())


def test_what_is_too_long_is_refused_and_counted_as_wrong(published):
    pretrained, _ = published
    rows = [{"sentence_good": "mill " * 80, "sentence_bad": "mill"}, records(1)[1], {"text": "no choice"}]
    asked = CHOICE.prepare(pretrained, rows, Options())
    assert str(asked[2]) == "has nothing to choose from"
    long, said = CHOICE.predict(pretrained, asked[:2], Options())
    assert isinstance(long, Refused)
    assert long.reason == "is longer than the model reads"
    scores = CHOICE.metrics([long, said], rows[:2], Bootstrap(10))
    assert scores["accuracy"].value == (isinstance(said, Choice) and said.index == 0) / 2


def test_every_way_of_ranking():
    def option(text: str, value: float, tokens: int, alone: float) -> Option:
        return Option(text, value, tokens, len(text), len(text.encode()), alone)

    questions = [
        [option("ab", -4.0, 2, -1.0), option("磨坊磨坊磨坊", -9.0, 6, -8.5)],
        [option("abcd", -4.0, 2, -2.0), option("ab", -4.0, 1, -1.0)],
    ]
    made = choices.choices(questions, [0, 1], Bootstrap(10))
    lls, lengths = np.array([[-4.0, -9.0], [-4.0, -4.0]]), np.array([[2, 6], [4, 2]])
    gold = np.array([0, 1])
    assert made["accuracy"].value == (lls.argmax(1) == gold).mean() == 0.5
    assert made["accuracy per character"].value == ((lls / lengths).argmax(1) == gold).mean() == 0.0
    assert made["accuracy per token"].value == 0.0  # -1.5 over -2; -2 over -4
    assert made["accuracy beyond the option"].value == 0.0  # -0.5 over -3; -2 over -3
    assert "ties:1" in made["accuracy"].signature


def test_forms_are_averaged_and_told_apart(published):
    pretrained, _ = published
    rows = [record for record in records(4) if "query" in record]
    forms = ("{query}", "mill: {query}\nflour:")
    said = CHOICE.predict(pretrained, CHOICE.prepare(pretrained, rows, Options(forms=forms)), Options())
    single = [
        CHOICE.predict(pretrained, CHOICE.prepare(pretrained, rows, Options(forms=(form,))), Options())
        for form in forms
    ]
    for both, *each in zip(said, *single, strict=True):
        values = np.array([[option.loglikelihood for option in one.options] for one in each])
        assert [option.loglikelihood for option in both.options] == pytest.approx(values.mean(0), abs=1e-4)
        assert both.index == values.mean(0).argmax()
    more = CHOICE.details(said, rows)
    assert more["by_form"] == [
        pytest.approx(CHOICE.metrics(one, rows, Bootstrap(5))["accuracy"].value) for one in single
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_published_weights_choose_as_transformers_does(name, tmp_path):
    """A tenth of the BLiMP sample: the same choice on at least 99.9 % of the pairs that are not as good as tied."""
    found = sorted((WEIGHTS / name).glob("*.gguf")) if (WEIGHTS / name).is_dir() else []
    if not found:
        pytest.skip(f"TEXTMILL_WEIGHTS names no folder with {name}")
    if not DATA.is_dir():
        pytest.skip("shared data is not here")
    pretrained = load(found[0])
    path = tmp_path / "model"
    directory.write_directory(path, pretrained.model, pretrained.tokenizer, pretrained.generation, {})
    with gzip.open(DATA / "blimp" / "blimp_sample.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][::10]
    said = CHOICE.predict(pretrained, CHOICE.prepare(pretrained, rows, Options()), Options())
    tokenizer = pretrained.tokenizer
    before = list(tokenizer.prefix or (tokenizer.start or tokenizer.end,))
    same, close = 0, 0
    for row, one in zip(rows, said, strict=True):
        good, bad = (reference(path, before, "", row[key]) for key in ("sentence_good", "sentence_bad"))
        same += one.index == (0 if good >= bad else 1)
        close += abs(good - bad) < 1e-3
    assert same + close >= 0.999 * len(rows)
