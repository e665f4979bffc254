"""Preferences of conversations over a start: what is learned, what it is compared with, and where that is kept."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.interop.huggingface.directory import write_directory
from textmill.models.build import build
from textmill.objectives.prefer import log_probs, one_by_one
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.preference import KTOLoss, ORPOLoss
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.prepare import prepare, still_there
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.runs.train import train
from textmill.stages.workspace import lineage
from textmill.stages.workspace.workspace import Workspace

TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
RECIPE = """
name = "tuned"
[corpus]
sources = [{{ kind = "files", paths = ["rows.jsonl"], format = "preference" }}]
steps = []
split = {{ validation = 0.1, test = 0.2 }}
[start]
model = "{}"
[tuning]
kind = "lora"
rank = 2
[objective]
kind = "prefer"
[training]
steps = 2
batch = 4
sequence = 96
[evaluation]
bootstrap = 10
[generation]
tokens = 4
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory, tokenizer):
    """A folder with a tiny model of a chat template, pairs of several forms, and a recipe."""
    folder = tmp_path_factory.mktemp("prefer")
    small = build(
        DecoderSpec(d_model=16, layers=1, heads=2, d_ff=16, context=128), tokenizer.vocabulary, seed=4
    )
    write_directory(folder / "start", small, tokenizer, GenerationSpec(), {}, template=TEMPLATE)
    rows = []
    for number in range(36):
        asked, good, bad = f"case {number}", "so it is done", f"nobody knows {number}"
        if number % 3 == 0:
            rows.append({"prompt": asked, "chosen": good, "rejected": bad})
        elif number % 3 == 1:
            before = [("user", "hello"), ("assistant", "yes"), ("user", asked)]
            talk = [{"role": who, "content": text} for who, text in before]
            ends = ([{"role": "assistant", "content": text}] for text in (good, bad))
            rows.append(dict(zip(("prompt", "chosen", "rejected"), (talk, *ends), strict=True)))
        else:
            dialogue = f"\n\nHuman: {asked}\n\nAssistant: "
            rows.append({"chosen": dialogue + good, "rejected": dialogue + bad})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tuned.toml").write_text(RECIPE.format(folder / "start"))
    return folder


@pytest.fixture(scope="module")
def workspace(home):
    return Workspace(home / "work", Silent())


@pytest.fixture(scope="module")
def recipe(home, workspace):
    return load_recipe(home / "tuned.toml", (), workspace)


@pytest.fixture(scope="module")
def data(recipe, workspace):
    return prepare(recipe, workspace)


def test_answers_are_learned_and_prompts_are_not(data):
    """Every form of a pair is written by the template; what is learned is the last answer with what ends its turn."""
    batch, seen = data.loader().batch(0), set()
    texts = one_by_one(batch)
    for row in range(len(texts)):
        real = texts.inputs[row][texts.mask[row]].tolist()
        wanted = [target for target in texts.targets[row].tolist() if target >= 0]
        read, said = data.tokenizer.decode(real), data.tokenizer.decode(wanted)
        assert said.endswith("</s>")
        assert read.startswith("<user>")
        assert (read + data.tokenizer.decode(wanted[-1:])).endswith("<assistant>" + said)
        seen.add(said.startswith("so it is"))
    assert seen == {True, False}


def test_the_reference_is_the_adapter_switched_off_and_is_kept(data, recipe, workspace):
    batch = data.loader().batch(0)
    with torch.no_grad():
        fresh, _ = log_probs(data.model().eval(), one_by_one(batch))  # LoRA adds nothing yet
        base, _ = log_probs(data.reference_model(), one_by_one(batch))
    np.testing.assert_allclose(fresh.view(-1, 2), batch.reference, rtol=1e-6)
    np.testing.assert_allclose(base.view(-1, 2), batch.reference, rtol=1e-6)
    assert {parent["kind"] for parent in data.prepared.reference.parents} == {"tokens", "start"}
    nearer = dataclasses.replace(recipe.objective, loss=dataclasses.replace(recipe.objective.loss, beta=0.5))
    again = prepare(dataclasses.replace(recipe, objective=nearer), workspace)
    assert again.prepared.reference.id == data.prepared.reference.id  # of no beta
    single = dataclasses.replace(recipe.objective, loss=KTOLoss())
    other = prepare(dataclasses.replace(recipe, objective=single), workspace)
    assert other.prepared.reference.id != data.prepared.reference.id
    assert len(other.loader().view) == 2 * len(data.loader().view)  # each pair is two answers
    odds = dataclasses.replace(recipe.objective, loss=ORPOLoss())
    assert prepare(dataclasses.replace(recipe, objective=odds), workspace).prepared.reference is None


def test_a_run_remembers_what_it_was_compared_with(recipe, workspace, data):
    run = train(recipe, workspace)
    kinds = {parent["kind"] for parent in lineage.read_lineage(run.path).parents}
    assert kinds >= {"tokens", "reference", "start"}
    report = evaluate_run(run, workspace)
    assert report["headline"] == "reward accuracy"
    assert set(report["baselines"]) == {"the longer one", "what its start finds likelier", "its start"}
    assert {"KL_from_the_start", "tokens_per_answer", "reward_margin"} <= report["scores"].keys()
    longer = report["baselines"]["the longer one"]["reward accuracy"]["value"]
    assert longer == 0.0  # "nobody knows 7" takes more tokens than "so it is done"


def test_what_a_run_from_a_run_was_trained_on_is_found(home, workspace, tiny_recipe):
    """Its lineage names the run it began with, whose tokenizer it has, before what it was compared with."""
    train(load_recipe(tiny_recipe, ("training.steps=2", "model.context=96"), workspace), workspace)
    changed = ("name=second", "start.model=tiny", "objective.template=plain")
    second = train(load_recipe(home / "tuned.toml", changed, workspace), workspace)
    found = still_there(second, workspace)
    assert found is not None
    assert found.prepared.reference.id == lineage.read_lineage(second.path).spec["reference"]


def test_thumbs_are_for_kto(home, workspace, recipe):
    rows = [{"prompt": f"case {n}", "completion": f"so {n}", "label": n % 2 == 0} for n in range(30)]
    (home / "thumbs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = ['corpus.sources=[{kind="files", paths=["thumbs.jsonl"], format="preference"}]', "name=thumbs"]
    path = home / "tuned.toml"
    with pytest.raises(RecipeError, match="compares two answers, and 2. records hold one"):
        prepare(load_recipe(path, changed, workspace), workspace)
    kto = load_recipe(path, [*changed, 'objective.loss={kind="kto"}', "training.micro_batch=1"], workspace)
    run = train(kto, workspace)
    report = evaluate_run(run, workspace)
    assert report["learned_from"] == "single answers"
    good = prepare(kto, workspace).loader().batch(0).labels
    assert set(good.tolist()) <= {0, 1}
