"""Labels from few examples: the loss by hand, a head that is scikit-learn's, and a run that goes through and on."""

from __future__ import annotations

import dataclasses
import json
import random

import numpy as np
import pytest
import torch

from textmill.base import schema
from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE
from textmill.models.heads import Headed
from textmill.objectives import contrast
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.prepare import prepare
from textmill.stages.release.publish import publish_run
from textmill.stages.runs.train import train
from textmill.stages.workspace.weights import weights_of
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint

GOOD, BAD = ["lovely", "warm", "clean", "kind"], ["cold", "rude", "dirty", "loud"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    torch.set_num_threads(1)
    return Workspace(tmp_path_factory.mktemp("work"), Silent())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path, draw = tmp_path_factory.mktemp("records") / "few.jsonl", random.Random(0)
    rows = [
        (" ".join(draw.choices(GOOD if n % 2 else BAD, k=draw.randint(3, 6))), str(n % 2)) for n in range(60)
    ]
    path.write_text(
        "".join(
            json.dumps({"text": f"{text} {n}", "label": label}) + "\n" for n, (text, label) in enumerate(rows)
        )
    )
    plain = {
        "name": "few",
        "corpus": {
            "sources": [{"kind": "files", "paths": [str(path)], "metadata_fields": ["label"]}],
            "steps": [],
            "split": {"validation": 0.1, "test": 0.2},
        },
        "tokenizer": {"vocabulary": 300},
        "model": {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 48},
        "objective": {"kind": "classify", "contrastive": 0.1},
        "training": {
            "steps": 12,
            "batch": 12,
            "evaluate_every": 6,
            "save": {"every": 4},
            "optimizer": {"kind": "adamw", "lr": 0.01},
        },
        "evaluation": {"bootstrap": 5},
    }
    return schema.read(Recipe, plain)


@pytest.fixture(scope="module")
def run(workspace, recipe):
    return train(recipe, workspace)


def test_the_loss_is_that_of_khosla_et_al(workspace, recipe):
    data = prepare(recipe, workspace)
    model, batch = data.model().eval(), data.loader().batch(0)
    targets = batch.targets.clone()
    targets[0, 3] = IGNORE
    batch = dataclasses.replace(batch, targets=targets)
    total, number = contrast.loss(model, batch, temperature=0.1)
    assert isinstance(model, Headed)
    mask = torch.ones_like(batch.inputs, dtype=torch.bool) if batch.mask is None else batch.mask
    flat = dataclasses.replace(batch, inputs=batch.inputs[0], mask=mask[0], targets=batch.targets[0])
    vectors = torch.nn.functional.normalize(model.hidden(flat), dim=-1).detach()
    labels, expected = flat.targets.tolist(), 0.0
    there = [place for place, label in enumerate(labels) if label != IGNORE]
    for one in there:
        scores = {other: float(vectors[one] @ vectors[other]) / 0.1 for other in there if other != one}
        bottom = np.log(sum(np.exp(score) for score in scores.values()))
        alike = [score for other, score in scores.items() if labels[other] == labels[one]]
        expected += sum(bottom - score for score in alike) / max(1, len(alike))
    assert total.item() == pytest.approx(expected, rel=1e-4)
    assert int(number) == len(there) > 8  # with what the last group of an epoch leaves empty


def test_the_head_is_the_logistic_regression_of_the_vectors(workspace, recipe, run):
    linear_model = pytest.importorskip("sklearn.linear_model")
    data = prepare(recipe, workspace)
    model = weights_of(run, "latest").build(data)
    view = data.loader().view.apart
    batch = view.make(np.arange(len(view)), np.zeros(len(view), dtype=np.uint64)).batch
    states = model.hidden(batch).detach().numpy()
    length = np.sqrt((states**2).sum(1).mean())
    theirs = linear_model.LogisticRegression(C=1.0, tol=1e-8).fit(states / length, batch.targets.numpy())
    logits = model(batch).detach().numpy()
    np.testing.assert_allclose(
        logits[:, 1] - logits[:, 0], theirs.decision_function(states / length), atol=5e-3
    )


def test_it_learns_resumes_and_is_published(workspace, recipe, run, monkeypatch):
    save, saves = checkpoint.save, []

    class Killed(BaseException):
        pass

    def dying(*arguments, **options):
        saves.append(arguments)
        if len(saves) == 2:
            raise Killed
        return save(*arguments, **options)

    killed = dataclasses.replace(recipe, name="few-killed")
    monkeypatch.setattr(checkpoint, "save", dying)
    with pytest.raises(Killed):
        train(killed, workspace)
    monkeypatch.setattr(checkpoint, "save", save)
    resumed = train(killed, workspace)
    one, other = (checkpoint.load(checkpoint.newest_whole(each.checkpoints).path) for each in (run, resumed))
    assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)
    result = publish_run(run, workspace)
    assert result["parity"]["ok"]
    assert result["scores"]["scores"]["accuracy"] > 0.8


def test_what_cannot_be_drawn_together_is_refused(recipe):
    plain = schema.write(recipe)
    for key, value in (("multiple", True), ("pair", "other"), ("pooling", "first")):
        with pytest.raises(RecipeError, match=key):
            schema.read(Recipe, plain | {"objective": plain["objective"] | {key: value}})
