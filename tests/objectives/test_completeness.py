"""Every objective × every family it names, through every command, in one workspace.

An objective is complete when this file passes with it: whoever adds one needs no test of the commands of their
own, only a record below that has what it reads.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shlex
import sys
from typing import Any, get_args

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from textmill.base import schema
from textmill.base.console import Silent
from textmill.cli.main import app
from textmill.cli.show import stages as show
from textmill.data.buckets import idle
from textmill.interop.load import load
from textmill.objectives.evaluation import EvaluationInput
from textmill.objectives.table import OBJECTIVES
from textmill.specs.objective import ObjectiveSpec
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation import judged
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.prepare import prepare
from textmill.stages.release.publish import publish_run
from textmill.stages.release.verify import verify
from textmill.stages.runs.check import check
from textmill.stages.runs.train import train
from textmill.stages.tracing import index, sightings, trace
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace import lineage
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.task import record_of
from textmill.training import checkpoint

WORDS = ["mill", "flour", "bread", "wind", "river", "grain", "stone", "wheel", "sack", "field"]
NAMES = ["Delft", "York", "Ghent"]
TRANSFORMER = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 48}
RECURRENT = {"d_model": 16, "layers": 1, "context": 48}
FAMILIES = {
    "decoder": TRANSFORMER,
    "encoder": TRANSFORMER,
    "encoder-decoder": TRANSFORMER,
    "recurrent": RECURRENT,
    "recurrent-encoder-decoder": RECURRENT,
    "ngram": {"order": 3, "context": 48},
    "linear": {"words": [1, 2], "bits": 12},
}
ROLES = {
    "pairs": {"source": "text"},
    "answer": {"passage": "text"},
    "embed": {"passage": "text", "query": "target"},
    "extract": {"source": "text"},
    "prefer": {"prompt": "text", "chosen": "target", "rejected": "answer"},
}  # which of a record's texts is read first
FORMATS = {"chat": "chat"}  # of the file of records, where its objective reads no plain texts
PAIRS = [(spec().kind, family) for spec in get_args(ObjectiveSpec) for family in spec.families]

# Pairs that only the slow suite walks: what they share with others is most of them.
SLOW = {(kind, "recurrent-encoder-decoder") for kind in ("infilling", "spans", "continue")}
SLOW |= {(kind, "recurrent") for kind in ("chat", "prefer", "embed", "classify", "regress", "tag")}
SLOW |= {(kind, "decoder") for kind in ("embed", "regress", "classify")}


def record(number: int) -> dict[str, Any]:
    """One that serves every objective."""
    draw = random.Random(number)
    words, name = draw.choices(WORDS, k=draw.randint(6, 30)), draw.choice(NAMES)
    place = draw.randrange(len(words))
    words[place] = name
    said = {"user": " ".join(words[:6]), "assistant": f"at {name}"}
    return {
        "text": " ".join(words),
        "messages": [{"role": who, "content": text} for who, text in said.items()],
        "target": " ".join(words[:4]).upper(),
        "label": str(number % 3),
        "tags": " ".join("B-PLACE" if at == place else "O" for at in range(len(words))),
        "question": "where is it",
        "answer": name,
    }


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def stage(self, name: str, state: str, why: str = "") -> None:
        self.said.append(f"{name} {state} {why}")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    torch.set_num_threads(1)
    return Workspace(tmp_path_factory.mktemp("work"), Heard())


@pytest.fixture(scope="module")
def recipe_of(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_text("".join(json.dumps(record(number)) + "\n" for number in range(60)))
    source = {"kind": "files", "paths": [str(path)], "metadata_fields": ["label", "tags"]}

    def make(kind: str, family: str) -> Recipe:
        read = source | ({"format": FORMATS[kind]} if kind in FORMATS else {})
        plain = {
            "name": f"{kind}-{family}",
            "corpus": {"sources": [read], "steps": [], "split": {"validation": 0.1, "test": 0.2}},
            "tokenizer": {"vocabulary": 320, "sentinels": 24},
            "model": {"kind": family} | FAMILIES[family],
            "objective": {"kind": kind} | ROLES.get(kind, {}),
            "training": {"steps": 3, "batch": 8, "micro_batch": 8, "evaluate_every": 3, "save": {"every": 1}},
            "evaluation": {"bootstrap": 5, "baselines": ["unigram"], "samples": ["the mill"], "tokens": 200},
            "generation": {"tokens": 4},
        }
        return schema.read(Recipe, plain)

    return make


@pytest.fixture(
    scope="module",
    params=[pytest.param(pair, marks=pytest.mark.slow if pair in SLOW else ()) for pair in PAIRS],
    ids="-".join,
)
def recipe(request, recipe_of):
    """Of each objective and family in turn: all tests of one, then all of the next."""
    return recipe_of(*request.param)


@pytest.fixture(scope="module")
def published(recipe, workspace):
    """(run, what `publish` says) of it. Transformers is asked once, by `verify`."""
    run = train(recipe, workspace)
    evaluate_run(run, workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)
        return run, publish_run(run, workspace)


def test_the_table_holds_what_a_recipe_may_name():
    assert list(OBJECTIVES) == [spec().kind for spec in get_args(ObjectiveSpec)]
    assert {family for _, family in PAIRS} == set(FAMILIES)
    for family in FAMILIES:
        assert sum(family in spec.usual_for for spec in get_args(ObjectiveSpec)) == 1, family


def test_it_is_checked_before_it_is_trained(workspace, recipe):
    result = check(recipe, workspace)
    said = [finding["text"] for finding in result["findings"]]
    ends = [text for text in said if "end-of-text token" in text or "ends a turn" in text]
    assert len(ends) == OBJECTIVES[recipe.objective.kind].writes
    for row in result["mask"]:
        assert row["tokens"]
        assert any(token["loss"] for token in row["tokens"]) or row["label"] is not None, row
    show.check(result)


def test_a_killed_run_goes_on_to_the_same_weights(workspace, recipe, published, monkeypatch):
    whole, _ = published
    save, saves = checkpoint.save, []

    def dying(*arguments, **options):
        saves.append(arguments)
        if len(saves) == min(3, sum(1 for event in whole.events() if event["event"] == "saved")):
            raise Killed
        return save(*arguments, **options)

    killed = dataclasses.replace(recipe, name=f"{recipe.name}-killed")
    monkeypatch.setattr(checkpoint, "save", dying)
    with pytest.raises(Killed):
        train(killed, workspace)
    monkeypatch.setattr(checkpoint, "save", save)
    resumed = train(killed, workspace)
    one, other = (checkpoint.load(checkpoint.newest_whole(run.checkpoints).path) for run in (whole, resumed))
    assert one.model.keys() == other.model.keys()
    assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)


def test_a_run_says_what_it_measured_and_what_comes_next(workspace, recipe, published, capsys):
    run, result = published
    objective = OBJECTIVES[recipe.objective.kind]
    assert result["scores"]["objective"] == objective.kind
    assert result["scores"]["headline"] in result["scores"]["details"]
    assert result["parity"]["ok"]
    report = verify(workspace, run.name)
    assert report["ok"]
    assert report["proof"] == str(run.path.absolute() / "model.parity.json")
    assert not lineage.damage(lineage.read_lineage(run.model))  # a proof damages nothing it proves
    by_transformers = {check["name"]: check["state"] for check in report["checks"]}
    assert by_transformers["transformers"] == by_transformers.get("AutoTokenizer", "skipped")
    show.published(result)
    shown = capsys.readouterr().out
    if recipe.model.kind != "ngram":  # which is counted, and has no steps
        [*_, said] = (said for said in workspace.reporter.said if said.startswith("train done"))
        assert said.endswith(objective.loss_unit)
    for command in result["next"]:
        assert command in shown
        done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--work", str(workspace.root)])
        assert done.exit_code == 0, (command, done.output, done.exception)


def test_its_corpus_can_be_searched_and_a_text_traced(workspace, published):
    run, _ = published
    data = prepare(run.recipe(), workspace)
    built = index.build(workspace, run.name)
    assert built["tokens"] > 0
    document = next(data.documents("train"))
    opening = " ".join(next(iter(document.texts.values())).split()[:6])
    found = index.search(workspace, run.name, opening)
    assert document.id in {place["document"] for place in found["places"]}
    [traced] = trace.trace(workspace, run.name, opening + " and nothing else", shortest=3)["texts"]
    assert document.id in {row["document"] for span in traced["spans"] for row in span["found_in"]}


def test_a_published_model_is_used(workspace, recipe, published):
    """It writes, or says something of a batch whose targets it does not see."""
    run, _ = published
    objective, prompts = OBJECTIVES[recipe.objective.kind], ["the mill", "grain"]
    if objective.writes:
        answers = LanguageModel(workspace, run.name).generate(prompts, temperature=0.0)
        assert [answer.prompt for answer in answers] == prompts
        assert all(answer.tokens for answer in answers)
    assert (objective.head is None) == (objective.predict is None)
    if objective.predict is not None:
        model, data = load(run.model).model.eval(), prepare(run.recipe(), workspace)
        for scored in data.loader("test").evaluation(4):
            said, blind = (
                _plain(objective.predict(model, batch)) for batch in (scored.batch, idle(scored.batch))
            )
            assert all(len(side) == len(scored.batch) for side in said)
            for one, other in zip(said, blind, strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_published_model_predicts_what_its_run_was_judged_by(workspace, recipe, published):
    """To the byte, whatever the batches; and its task's scores of that are those of the report."""
    run, result = published
    objective = OBJECTIVES[recipe.objective.kind]
    if not objective.judged:
        return
    data = prepare(run.recipe(), workspace)
    inputs = EvaluationInput(load(run.model).model, data, workspace.reporter)
    chosen = judged.chosen(inputs)
    records = [record_of(document, recipe.objective) for document in inputs.documents(chosen)]
    predictor = LanguageModel(workspace, run.name).predictor(judged.OPTIONS)
    said = list(predictor.predict(records))
    scores = predictor.task.metrics(said, records, inputs.bootstrap.of(chosen))
    assert scores
    for name, score in scores.items():
        if name in result["scores"]["details"]:
            assert score.value == pytest.approx(result["scores"]["details"][name]["value"], abs=1e-4)
    again = list(predictor.predict(records[::-1]))[::-1]
    assert [_said(one) for one in again] == [_said(one) for one in said]
    assert [predictor.task.gold(one) is None for one in records] == [False] * len(records)


def _said(prediction) -> object:
    """Without how sure it is."""
    return json.loads(re.sub(r"(?<=\d\.\d)\d+", "", json.dumps(prediction.row())))


def _plain(said) -> list[np.ndarray]:
    return (
        [said.numpy()] if isinstance(said, torch.Tensor) else [side.numpy() for side in vars(said).values()]
    )


def test_every_run_of_the_workspace_knows_which_documents_it_saw(workspace, recipe_of):
    """Whatever stands in the workspace beside it: a store of records is none of tokens. There is a run of each
    objective, and of each family where all of this file runs in one process."""
    rows = []
    chosen = {kind: family for kind, family in reversed(PAIRS) if (kind, family) not in SLOW}
    assert chosen.keys() == OBJECTIVES.keys()
    for kind, family in chosen.items():
        run = train(recipe_of(kind, family), workspace)
        document = next(prepare(run.recipe(), workspace).documents("train"))
        saw_it = {row["run"]: row for row in sightings.sightings(workspace, document.id)["runs"]}
        rows.append(saw_it[run.name])
    for row in rows:
        [seen] = row["seen"]
        assert seen["splits"] == ["train"], row
        assert seen["tokens"] > 5
        for saw in row["checkpoints"][-1]["saw"]:
            assert 0 <= saw["tokens"] <= seen["tokens"] * len(seen["steps"]), row
            assert saw["epochs"] <= 1.1, row  # three steps
    assert sum(bool(row["seen"][0]["steps"]) for row in rows) > len(rows) / 3
