"""An n-gram model is a run like any other; several models make one mixture."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from textmill.base.console import Silent
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.interop.huggingface import directory
from textmill.models.mixture import Mixture
from textmill.specs import recipe_file
from textmill.specs.model import NGramSpec
from textmill.stages import pipeline
from textmill.stages.evaluation import evaluate
from textmill.stages.release import ngram, verify
from textmill.stages.runs import check, history, train
from textmill.stages.use import mix
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace import lineage
from textmill.stages.workspace.locate import locate_model, locate_run
from textmill.stages.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent())


@pytest.fixture
def tiny(tiny_recipe):
    """The tiny recipe without what only takes time here."""
    whole = recipe_file.load(tiny_recipe)
    quick = dataclasses.replace(whole.evaluation, baselines=("unigram",), samples=())
    return dataclasses.replace(whole, evaluation=quick)


def counted(base, name="counted", **fields):
    return dataclasses.replace(base, name=name, model=NGramSpec(**{"order": 3, "context": 64} | fields))


@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "infinity"])
def test_a_run_from_recipe_to_published_model(tiny, workspace, smoothing):
    asked = counted(tiny, smoothing=smoothing, cache=0.1, cache_window=20)
    result = pipeline.run(asked, workspace)
    assert result["parity"]["ok"]
    rows = {row["name"]: row["value"] for row in result["scores"]["table"]}
    assert rows["this model"] < rows["unigram"]
    [shown] = history.overview(workspace)
    assert (shown["state"], shown["step"], shown["steps"]) == ("published", 1, 1)
    assert shown["best_validation"] is not None
    about = json.loads((workspace.run("counted").model / "textmill.json").read_text())
    assert about["architecture"] is None
    assert about["model"]["smoothing"] == smoothing
    skipped = {
        row["name"]: row["why"]
        for row in verify.verify(workspace, "counted")["checks"]
        if row["state"] == "skipped"
    }
    assert "no such architecture" in skipped["transformers"] or "not installed" in skipped["transformers"]
    [answer] = LanguageModel(workspace, "counted").generate("the mill", tokens=8)
    assert answer.tokens > 0
    kinds = {item.kind for _, item in lineage.walk(lineage.read_lineage(workspace.run("counted").model))}
    assert kinds == {"model", "run", "tokens", "corpus", "tokenizer"}


def test_done_is_done(tiny, workspace):
    run = train.train(counted(tiny), workspace)
    before = {path: path.stat().st_mtime_ns for path in run.checkpoints.rglob("*.safetensors")}
    train.train(counted(tiny), workspace)
    assert {path: path.stat().st_mtime_ns for path in run.checkpoints.rglob("*.safetensors")} == before
    with pytest.raises(RecipeError, match=r"model\.order: 3 -> 2"):
        train.train(counted(tiny, order=2), workspace)
    shutil.rmtree(run.checkpoints)
    train.train(counted(tiny), workspace)
    again = {path: path.read_bytes() for path in run.checkpoints.rglob("*.safetensors")}
    assert set(again) == set(before)


def test_check_says_what_it_cannot_foretell(tiny, workspace, textmill, tiny_recipe):
    result = check.check(counted(tiny), workspace, sweep=True)
    assert result["steps"] == 1
    assert any("counted once" in finding["text"] for finding in result["findings"])
    shown = textmill("check", tiny_recipe, "--set", "model={kind='ngram'}", "--set", "name=other").stdout
    assert "counted once" in " ".join(shown.split())


@pytest.mark.slow
def test_files_are_scored_by_a_counted_model(tiny, workspace, tmp_path):
    pipeline.run(counted(tiny), workspace)
    (tmp_path / "new.txt").write_text("the mill turns wind into bread\n")
    result = evaluate.evaluate(workspace, "counted", files=[tmp_path / "new.txt"])
    assert result["scores"]["bits_per_byte"] > 0


@pytest.mark.slow
def test_mixtures(tiny, workspace, tmp_path):
    """Weights are fitted, the report adds up, the directory generates, and a part that changed is noticed."""
    short = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, steps=6))
    for asked in (short, counted(tiny), counted(tiny, "endless", smoothing="infinity")):
        pipeline.run(asked, workspace)
    report = mix.mix(workspace, ["tiny", "counted", "endless"], out=tmp_path / "mixed")
    assert locate_model(workspace, str(tmp_path / "mixed")) == tmp_path / "mixed"
    gate = (tmp_path / "mixed/model.safetensors").read_bytes()
    (tmp_path / "mixed/model.safetensors").write_bytes(gate[:-1] + bytes([gate[-1] ^ 1]))
    with pytest.raises(DamagedError, match="was changed after it was written"):
        locate_model(workspace, str(tmp_path / "mixed"))
    (tmp_path / "mixed/model.safetensors").write_bytes(gate)
    assert sum(report["weights"].values()) == pytest.approx(1, abs=1e-5)
    rows = {row["name"]: row["value"] for row in report["table"]}
    parts = [rows[name] for name in ("tiny", "counted", "endless")]
    assert rows["linear mixture"] < max(parts)
    for name in ("linear mixture", "learned mixture"):
        gain = report["gain"][name]
        assert gain["value"] == pytest.approx(min(parts) - rows[name], abs=1e-6)
        assert report["validation_nats_per_token"][name] > 0
    assert (
        report["validation_nats_per_token"]["learned mixture"]
        <= report["validation_nats_per_token"]["linear mixture"] + 1e-6
    )
    single = evaluate.evaluate_run(locate_run(workspace, "tiny"), workspace)["scores"]["bits_per_byte"]
    assert rows["tiny"] == pytest.approx(single, rel=0.05)  # the mixture reads shorter pieces, or longer ones

    published = directory.read_directory(tmp_path / "mixed")
    assert isinstance(published.model, Mixture)
    checks = {
        row["name"]: row["state"] for row in verify.verify(workspace, str(tmp_path / "mixed"))["checks"]
    }
    assert checks["cached decoding"] == checks["batch with padding"] == "ok"
    texts = [LanguageModel(workspace, str(tmp_path / "mixed")).generate("the", tokens=6) for _ in range(2)]
    assert texts[0] == texts[1]

    weights = workspace.run("counted").model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match="is not the model that was mixed"):
        directory.read_directory(tmp_path / "mixed")


@pytest.mark.slow
def test_mixing_wants_two_models_of_one_tokenizer(tiny, workspace):
    pipeline.run(counted(tiny), workspace)
    with pytest.raises(RecipeError, match="two models"):
        mix.mix(workspace, ["counted"])
    spec = dataclasses.replace(tiny.tokenizer, kind="bytes")
    pipeline.run(counted(dataclasses.replace(tiny, tokenizer=spec), "bytes"), workspace)
    with pytest.raises(TextmillError, match="another tokenizer"):
        mix.mix(workspace, ["counted", "bytes"])


@pytest.mark.slow
def test_beside_gives_rows_for_a_runs_table(tiny, workspace):
    run = train.train(tiny, workspace)
    rows = mix.beside(run, workspace, fit_tokens=1000, test_tokens=1000)
    assert [row["name"] for row in rows[:3]] == [mix.OWN, "5-gram, modified Kneser-Ney", "∞-gram"]
    assert len(rows) == 4
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_arpa_and_back(tiny, workspace, tmp_path, textmill):
    pipeline.run(counted(tiny), workspace)
    textmill("ngram", "export", "counted", tmp_path / "a.arpa")
    textmill("ngram", "import", tmp_path / "a.arpa", tmp_path / "model", "--like", "counted")
    models = [
        directory.read_directory(place).model
        for place in (workspace.run("counted").model, tmp_path / "model")
    ]
    tables = [model.state_dict() for model in models]
    assert all(
        torch.allclose(tables[0][name].double(), tables[1][name].double(), atol=1e-5) for name in tables[0]
    )
    with pytest.raises(TextmillError, match="already exists"):
        ngram.take_in(workspace, tmp_path / "a.arpa", "counted", tmp_path / "model")
