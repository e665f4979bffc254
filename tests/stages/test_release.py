"""Publishing refuses what transformers would read otherwise, and proofs stand beside what they prove."""

from __future__ import annotations

import pytest

from textmill.base.console import Silent
from textmill.base.errors import TextmillError
from textmill.base.files import read_json
from textmill.interop.huggingface import directory
from textmill.models.build import build
from textmill.specs.model import EncoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.stages.release import exchange, verify
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.models_folder import ModelsFolder
from textmill.stages.workspace.workspace import Workspace


@pytest.fixture
def model(tmp_path, tokenizer):
    spec = EncoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=32)
    directory.write_directory(
        tmp_path / "model", build(spec, tokenizer.vocabulary), tokenizer, GenerationSpec(), {}
    )
    return tmp_path / "model"


def bytes_of(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_a_proof_stands_beside_a_model(model, tmp_path):
    before = bytes_of(model)
    report = verify.verify(Workspace(tmp_path / "work"), str(model))
    assert bytes_of(model) == before
    assert report["ok"]
    assert report["proof"] == str(tmp_path / "model.parity.json")
    assert read_json(tmp_path / "model.parity.json")["ok"] is True


def test_where_nothing_can_be_written_the_report_is_given_all_the_same(model, tmp_path, monkeypatch):
    def refuse(path, value):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(verify, "write_json", refuse)
    report = verify.verify(Workspace(tmp_path / "work"), str(model))
    assert (report["ok"], report["proof"]) == (True, None)


def test_a_file_has_its_proof_beside_it(tmp_path):
    (tmp_path / "m.gguf").touch()
    assert verify.proof_of(tmp_path / "m.gguf") == tmp_path / "m.parity.json"


@pytest.mark.slow
def test_a_directory_that_transformers_reads_otherwise_is_not_published(tmp_path, tiny_recipe, monkeypatch):
    pytest.importorskip("transformers")
    from textmill.specs import recipe_file
    from textmill.stages.release.publish import publish_run
    from textmill.stages.runs.train import train
    from textmill.tokenization import file_tokenizer

    changes = ["model.kind=encoder", "objective.kind=masked", "training.optimizer.kind=adamw"]
    recipe = recipe_file.load(tiny_recipe, changes)
    workspace = Workspace(tmp_path / "work")
    train(recipe, workspace)
    run = workspace.run("tiny")
    monkeypatch.setattr(file_tokenizer, "says", lambda around, reading: True)  # the frame stays unsaid
    with pytest.raises(TextmillError, match="AutoTokenizer"):
        publish_run(run, workspace)
    assert not run.model.exists()
    monkeypatch.undo()
    assert publish_run(run, workspace)["parity"]["ok"]
    assert (run.model / "parity.json").is_file()


def test_an_imported_model_is_known_by_its_name(model, tmp_path):
    workspace = Workspace(tmp_path / "work", Silent(), ModelsFolder(tmp_path / "models"))
    model.rename(tmp_path / "bert-of-others")
    brought = exchange.bring_in(workspace, str(tmp_path / "bert-of-others"))
    assert brought["model"] == str(tmp_path / "models/bert-of-others")
    assert locate_model(workspace, "bert-of-others") == tmp_path / "models/bert-of-others"
    again = exchange.bring_in(workspace, "bert-of-others", tmp_path / "copy")  # and a name is a source, too
    assert again["parameters"] == brought["parameters"]
    with pytest.raises(TextmillError, match="fetched only with --remote"):
        exchange.bring_in(workspace, "bert-of-mine")
