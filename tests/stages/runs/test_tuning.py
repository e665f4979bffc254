"""`[tuning]`: an adapter is trained beside the model of [start], kept apart from it, and used with it alone."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from textmill.base.console import Silent
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.base.files import read_json
from textmill.interop import load
from textmill.interop.huggingface.peft import directory as peft
from textmill.models import adapters, cost
from textmill.specs.head import ClassifyHead
from textmill.specs.model import DecoderSpec, EncoderSpec
from textmill.specs.position import LearnedPositions
from textmill.stages.evaluation.evaluate import evaluate_files
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.release import exchange
from textmill.stages.release.merge import merge
from textmill.stages.release.publish import publish_run
from textmill.stages.release.verify import verify
from textmill.stages.runs import session
from textmill.stages.runs.train import train
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint, memory

begins = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_starting.py"))))
SHAPE = {"d_model": 32, "layers": 2, "heads": 2, "d_ff": 64, "context": 64}
RATE = {"optimizer": {"kind": "adamw", "lr": 0.02}}
TUNINGS = {
    "lora": {"kind": "lora", "rank": 4, "dropout": 0.1},
    "dora": {"kind": "lora", "rank": 2, "dora": True, "targets": ["q_proj", "v_proj"]},
    "ends": {"kind": "lora", "rank": 2, "targets": ["lm_head", "embedding", "q"]},
    "int8": {"kind": "lora", "rank": 4, "base": "int8"},
    "prompt": {"kind": "prompt", "tokens": 4, "text": "the mill"},
    "prefix": {"kind": "prefix", "tokens": 4},
}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent())


def recipe(tmp_path, workspace, tuning, *, spec=None, name="tuned", steps=4, **tables):
    start = tmp_path / "start"
    if not start.exists():
        begins.publish(start, spec or DecoderSpec(**SHAPE))
    training = begins.BASE["training"] | RATE | {"steps": steps, "sequence": 16} | tables.pop("training", {})
    return begins.recipe(tmp_path, workspace, start, name=name, tuning=tuning, training=training, **tables)


def logits(model, ids=None):
    ids = torch.arange(60, 72)[None] if ids is None else ids
    with torch.no_grad():
        return model(begins.Batch(inputs=ids, targets=ids))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.slow if name in ("dora", "ends", "prefix", "int8", "prompt") else ()
        )
        for name in TUNINGS
    ],
)
def test_an_adapter_is_trained_resumed_and_used(name, tmp_path, workspace, monkeypatch):
    """Killed after a step, it goes on to the same bytes; its checkpoints hold the adapter alone; what is published is
    what was trained, and whatever reads models reads it."""
    asked = recipe(tmp_path, workspace, TUNINGS[name])
    whole = train(asked, workspace)
    other = Workspace(tmp_path / "other", Silent())
    again = recipe(tmp_path, other, TUNINGS[name])
    save, saved = session.Session.save, []

    def killed(self):
        save(self)
        saved.append(self.progress.step)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "save", killed)
    with pytest.raises(TextmillError):
        train(again, other)
    monkeypatch.setattr(session.Session, "save", save)
    resumed = train(again, other)
    newest = [checkpoint.listed(run.checkpoints)[-1] for run in (whole, resumed)]
    assert read_json(newest[0] / "MANIFEST.json") == read_json(newest[1] / "MANIFEST.json")
    held = load_file(newest[0] / "model.safetensors")
    assert all(any(part in key for part in ("additions", "prompt", "prefix")) for key in held)
    assert read_json(newest[0] / "state.json")["base"] == asked.start.hash

    weights, data = best_weights(whole), trained_on(whole, workspace)
    trained = weights.build(data)
    assert not torch.equal(logits(trained), logits(data.start.model))
    published = publish_run(whole, workspace)
    states = {check["name"]: check["state"] for check in published["parity"]["checks"]}
    assert states["trained weights"] == states["cached decoding"] == states["reload"] == "ok"
    assert states["transformers"] == ("ok" if name in ("lora", "dora", "ends", "int8") else "skipped")
    assert (whole.model / peft.CONFIG).is_file()
    assert not (whole.model / "model.safetensors").exists()
    used = LanguageModel(workspace, "tuned")
    assert torch.equal(logits(used.pretrained.model), logits(trained))
    assert used.generate("the mill", tokens=5, temperature=0.0)
    by_name = LanguageModel(workspace, str(tmp_path / "start")).with_adapter("tuned")
    assert torch.equal(logits(by_name.pretrained.model), logits(trained))
    assert verify(workspace, "tuned", weights=("int8",))["ok"]
    text = tmp_path / "some.txt"
    text.write_text("the mill turns water into flour")
    assert evaluate_files(workspace, "tuned", [text])["scores"]
    if name in ("prompt", "prefix"):
        with pytest.raises(TextmillError, match="cannot be merged"):
            merge(workspace, "tuned", tmp_path / "merged")
        return
    told = merge(workspace, "tuned", tmp_path / "merged", files=[text])
    assert 0 <= told["max_difference"] < 1e-4
    assert abs(told["mean_kl"]) < 1e-6  # rounding may take it below nothing
    merged = load.load(tmp_path / "merged").model
    torch.testing.assert_close(logits(merged), logits(trained), rtol=0, atol=1e-4)
    exchange.send_out(workspace, "tuned", "gguf", tmp_path / "merged.gguf")
    assert load.load(tmp_path / "merged.gguf").spec.layers == 2


@pytest.mark.slow
def test_merging_into_fewer_bits_is_refused_unless_it_is_allowed(tmp_path, workspace):
    publish_run(train(recipe(tmp_path, workspace, TUNINGS["lora"]), workspace), workspace)
    with pytest.raises(TextmillError, match=r"merged in bf16, its logits differ .* nothing was written"):
        merge(workspace, "tuned", tmp_path / "merged", dtype="bf16")
    assert not (tmp_path / "merged").exists()
    told = merge(workspace, "tuned", tmp_path / "merged", dtype="bf16", tolerance=1.0)
    assert told["max_difference"] > 1e-3
    assert read_json(tmp_path / "merged/config.json")["dtype"] == "bfloat16"


def test_a_merged_adapter_is_what_the_next_run_begins_with(tmp_path, workspace):
    run = train(recipe(tmp_path, workspace, TUNINGS["lora"]), workspace)
    trained = best_weights(run).build(trained_on(run, workspace))
    asked = begins.recipe(tmp_path, workspace, "tuned", name="second")
    model, taken = begins.prepare(asked, workspace).begun()
    assert (taken.new, taken.left) == ((), ())
    torch.testing.assert_close(logits(model.eval()), logits(trained), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_an_adapters_directory_is_no_start(tmp_path, workspace):
    run = train(recipe(tmp_path, workspace, TUNINGS["lora"]), workspace)
    publish_run(run, workspace)
    with pytest.raises(RecipeError, match="merge it first"):
        begins.recipe(tmp_path, workspace, tmp_path / "work/runs/tuned/model", name="second")


@pytest.mark.parametrize("tuning", [TUNINGS["lora"], TUNINGS["int8"]], ids=["fp32", "int8"])
def test_a_classifier_is_an_adapter_and_a_head(tmp_path, workspace, tuning):
    spec = EncoderSpec(**SHAPE, position=LearnedPositions())
    tables = begins.reviews(tmp_path, "good", "bad")
    asked = recipe(tmp_path, workspace, tuning, spec=spec, objective={"kind": "classify"}, **tables)
    run = train(asked, workspace)
    published = publish_run(run, workspace)
    assert published["parity"]["ok"]
    config = json.loads((run.model / peft.CONFIG).read_text())
    assert (config["task_type"], config["modules_to_save"]) == ("SEQ_CLS", ["classifier"])
    used = LanguageModel(workspace, "tuned").pretrained
    assert used.model.head.spec.labels == ("bad", "good")
    trained = best_weights(run).build(trained_on(run, workspace))
    assert torch.equal(logits(used.model), logits(trained))
    assert isinstance(used.model.head.spec, ClassifyHead)
    rows = [{"text": "a good mill"}, {"text": "bad flour"}]
    whole = list(LanguageModel(workspace, "tuned").predictor().predict(rows))
    beside = LanguageModel(workspace, str(tmp_path / "start")).with_adapter("tuned")
    assert {said.label for said in whole} <= {"bad", "good"}
    assert len(whole) == len(rows)
    assert list(beside.predictor().predict(rows)) == whole


@pytest.mark.slow
def test_a_head_that_transformers_has_not_is_published_under_our_names(tmp_path, workspace):
    """Pooled by the mean: the adapter is ours alone, and is proved without transformers."""
    spec = EncoderSpec(**SHAPE, position=LearnedPositions())
    tables = begins.reviews(tmp_path, "good", "bad") | {"objective": {"kind": "classify", "pooling": "mean"}}
    run = train(recipe(tmp_path, workspace, TUNINGS["lora"], spec=spec, **tables), workspace)
    states = {check["name"]: check for check in publish_run(run, workspace)["parity"]["checks"]}
    assert states["transformers"]["state"] == "skipped"
    assert read_json(run.model / peft.OURS)["architecture"] is None
    trained = best_weights(run).build(trained_on(run, workspace))
    assert torch.equal(logits(LanguageModel(workspace, "tuned").pretrained.model), logits(trained))


# ---- faults


@pytest.fixture
def published(tmp_path, workspace):
    run = train(recipe(tmp_path, workspace, TUNINGS["lora"]), workspace)
    publish_run(run, workspace)
    return run


def test_an_adapter_refuses_another_base(tmp_path, workspace, published):
    other = begins.publish(tmp_path / "another", DecoderSpec(**SHAPE), seed=9)
    with pytest.raises(TextmillError, match="was trained on other weights"):
        LanguageModel(workspace, str(other)).with_adapter("tuned")


@pytest.mark.slow
def test_an_adapter_that_is_not_published_says_how(tmp_path, workspace):
    train(recipe(tmp_path, workspace, TUNINGS["lora"]), workspace)
    with pytest.raises(TextmillError, match="has no published model yet") as raised:
        LanguageModel(workspace, str(tmp_path / "start")).with_adapter("tuned")
    assert raised.value.advice == "`textmill publish tuned` makes it"


@pytest.mark.slow
def test_a_model_is_no_adapter(tmp_path, workspace, published):
    with pytest.raises(TextmillError, match="is not a published adapter"):
        LanguageModel(workspace, "tuned").with_adapter(str(tmp_path / "start"))


@pytest.mark.slow
def test_a_base_that_changes_under_an_adapter_changes_nothing(tmp_path, workspace, published):
    """The workspace keeps the base as it was; without it, the change is found."""
    import shutil

    before = logits(LanguageModel(workspace, "tuned").pretrained.model)
    shutil.rmtree(tmp_path / "start")
    begins.publish(tmp_path / "start", DecoderSpec(**SHAPE), seed=9)
    assert torch.equal(logits(LanguageModel(workspace, "tuned").pretrained.model), before)
    elsewhere = Workspace(tmp_path / "elsewhere", Silent())
    shutil.copytree(published.model, tmp_path / "copied")
    (tmp_path / "copied" / "lineage.json").unlink()
    config = json.loads((tmp_path / "copied" / peft.OURS).read_text())
    config["base"]["name"] = str(tmp_path / "start")
    (tmp_path / "copied" / peft.OURS).write_text(json.dumps(config))
    with pytest.raises(TextmillError, match="was trained on other weights"):
        LanguageModel(elsewhere, str(tmp_path / "copied"))
    shutil.rmtree(tmp_path / "start")
    with pytest.raises(TextmillError, match="is an adapter, and its base .* is not here"):
        LanguageModel(elsewhere, str(tmp_path / "copied"))


def test_a_truncated_adapter_is_found(workspace, published):
    path = published.model / peft.WEIGHTS
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(DamagedError):
        LanguageModel(workspace, "tuned")


# ---- recipes


@pytest.mark.parametrize(
    ("tables", "match"),
    [
        ({"training": {"freeze": ["embedding"]}}, "training.freeze"),
        ({"training": {"layer_decay": 0.9}}, "training.layer_decay"),
        ({"training": {"parallel": "fsdp2"}}, "not sharded"),
    ],
)
def test_what_changes_the_base_is_refused(tmp_path, workspace, tables, match):
    with pytest.raises(RecipeError, match=match):
        recipe(tmp_path, workspace, TUNINGS["lora"], **tables)


def test_an_adapter_needs_a_start(tmp_path):
    from textmill.specs import recipe_file

    data = {"name": "x", "corpus": {"sources": [{"kind": "files", "paths": ["a"]}]}, "tuning": {"rank": 4}}
    with pytest.raises(RecipeError, match="no model for it to stand on"):
        recipe_file.build(data, base=tmp_path)


def test_memory_knows_that_the_base_is_frozen(tmp_path, workspace):
    spec = DecoderSpec(d_model=256, layers=4, heads=4, d_ff=1024, context=64)
    from textmill.specs.training import TrainingSpec
    from textmill.specs.tuning import LoRATuning

    plain, lora, int8 = (
        memory.predict(spec, TrainingSpec(batch=1), 5000, 32, 1, tuning=tuning)
        for tuning in (None, LoRATuning(), LoRATuning(base="int8"))
    )
    number = cost.adapter(spec, 5000, LoRATuning())
    assert lora.gradients == 4 * number
    assert lora.optimizer == 8 * number
    assert lora.parameters == plain.parameters + 4 * number
    assert int8.parameters - 4 * number < 0.27 * plain.parameters
    assert lora.total < plain.total / 2
    assert adapters.tensors  # what is counted is what `adapt` gives
