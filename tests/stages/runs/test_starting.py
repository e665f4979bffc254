"""`[start]`: a run begins with exactly the model its recipe names, and takes from it what the recipe leaves out."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from conftest import make_texts
from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.base.files import read_json
from textmill.data.batch import Batch
from textmill.interop import load
from textmill.interop.gguf.model import write_gguf
from textmill.interop.huggingface.directory import write_directory
from textmill.models import build, names
from textmill.models.heads import Headed
from textmill.specs import recipe_file
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import (
    DecoderSpec,
    EncoderDecoderSpec,
    EncoderSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
)
from textmill.specs.recipe import TokenizerSpec
from textmill.stages import pipeline
from textmill.stages.preparation import starting
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.runs.train import train
from textmill.stages.tracing import ancestry, descent, sightings
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization import training
from textmill.training import checkpoint

SHAPE = {"d_model": 16, "layers": 2, "context": 32}
FAMILIES = {
    "decoder": DecoderSpec(heads=2, d_ff=32, **SHAPE),
    "untied": DecoderSpec(heads=2, d_ff=32, tied=False, **SHAPE),
    "encoder": EncoderSpec(heads=2, d_ff=32, **SHAPE),
    "encoder-decoder": EncoderDecoderSpec(heads=2, d_ff=32, **SHAPE),
    "recurrent": RecurrentSpec(**SHAPE),
    "recurrent-encoder-decoder": RecurrentEncoderDecoderSpec(**SHAPE),
}
BASE = {
    "training": {"steps": 2, "batch": 2, "evaluate_every": 1, "evaluate_tokens": 100, "save": {"every": 1}}
}
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent())


def tokenizer(size=300):
    return training.train(TokenizerSpec(vocabulary=size), ["the mill turns water into flour and bread"] * 9)


def publish(folder, spec, head=None, seed=3, rows=None):
    """A small model of anybody's, with weights that are not those of a recipe's seed."""
    words = tokenizer()
    model = build.build(spec, rows or words.vocabulary, seed=seed, head=head).eval()
    write_directory(folder, model, words, GenerationSpec(tokens=7, temperature=0.3), {}, template=TEMPLATE)
    return folder


def recipe(tmp_path, workspace, start, **tables):
    texts = tmp_path / "texts"
    if not texts.exists():
        make_texts(texts, 40)
    corpus = {
        "sources": [{"kind": "files", "paths": [str(texts)]}],
        "split": {"validation": 0.15, "test": 0.15},
    }
    asked = start if isinstance(start, dict) else {"model": str(start)}
    data = {"name": "tuned", "corpus": corpus, "start": asked, **BASE, **tables}
    return recipe_file.build(
        data, fill=lambda plain, where: starting.filled(plain, where, workspace), base=tmp_path
    )


def reviews(tmp_path, *labels):
    path = tmp_path / "reviews.jsonl"
    rows = ({"text": f"the mill turns {i} {i % 7}", "label": labels[i % len(labels)]} for i in range(60))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [{"kind": "files", "paths": [str(path)]}]
    return {"corpus": {"sources": sources, "split": {"validation": 0.2, "test": 0.2}}}


def batch_for(model):
    ids = torch.arange(24).view(2, 12) + 60
    return Batch(inputs=ids, targets=ids, source=ids, source_mask=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_begins_with_the_model_to_the_bit(family, tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES[family])
    asked = recipe(tmp_path, workspace, start)
    data = prepare(asked, workspace)
    model, taken = data.begun()
    theirs = load.load(start)
    assert (taken.new, taken.left, taken.rows) == ((), (), ())
    batch = batch_for(model)
    assert torch.equal(model.eval()(batch), theirs.model(batch))
    assert data.tokenizer.id == theirs.tokenizer.id
    assert data.template == TEMPLATE
    assert (asked.generation.tokens, asked.generation.temperature) == (7, 0.3)
    assert asked.model == theirs.spec
    assert asked.training.optimizer.lr == 5e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tuned_run_is_resumed_to_the_bit(family, tmp_path, workspace, monkeypatch):
    from textmill.stages.runs import session

    start = publish(tmp_path / "start", FAMILIES[family])
    steps = {"training": BASE["training"] | {"steps": 3, "average": {"decay": 0.9}}}
    whole = train(recipe(tmp_path, workspace, start, name="whole", **steps), workspace)
    asked = recipe(tmp_path, workspace, start, **steps)
    save, saves = session.Session.save, []

    def killed(self):
        save(self)
        saves.append(self.progress.step)
        raise SystemExit

    monkeypatch.setattr(session.Session, "save", killed)
    with pytest.raises(SystemExit):
        train(asked, workspace)
    monkeypatch.undo()
    shutil.rmtree(start)  # which does not matter any more
    run = train(recipe(tmp_path, workspace, start, **steps), workspace)
    for name in ("model", "optimizer", "average"):
        files = [
            path.with_name(f"{name}.safetensors").read_bytes()
            for path in (checkpoint.newest_whole(each.checkpoints).path / "x" for each in (whole, run))
        ]
        assert files[0] == files[1]


def test_what_became_of_the_start_does_not_matter_to_the_run(tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES["decoder"])
    train(recipe(tmp_path, workspace, start), workspace)
    longer = {"training": BASE["training"] | {"steps": 4}}
    said = []
    workspace.reporter.note = said.append
    publish(start, FAMILIES["untied"], seed=9)
    with pytest.raises(RecipeError, match=r"training.steps: 2 -> 4"):
        train(recipe(tmp_path, workspace, start, **longer), workspace)
    assert any(
        "start has changed since tuned began: it goes on with the copy it keeps" in text for text in said
    )
    shutil.rmtree(start)
    data = trained_on(train(recipe(tmp_path, workspace, start), workspace), workspace)
    assert data.start.spec == FAMILIES["decoder"]
    assert any("start is gone: tuned goes on" in text for text in said)
    with pytest.raises(RecipeError, match="no such run or model"):  # a new run has nothing to begin with
        recipe(tmp_path, workspace, start, name="other")


def test_a_gguf_file_and_a_run_by_name(tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES["decoder"])
    path = tmp_path / "model.gguf"
    write_gguf(path, load.load(start))
    asked = recipe(tmp_path, workspace, path)
    model, _ = prepare(asked, workspace).begun()
    batch = batch_for(model)
    assert torch.equal(model.eval()(batch), load.load(path).model(batch))

    first = train(recipe(tmp_path, workspace, start, name="first"), workspace)
    data = prepare(recipe(tmp_path, workspace, "first"), workspace)
    model, _ = data.begun()
    best = checkpoint.load(best_weights(first).path)
    assert all(torch.equal(tensor, best.model[name]) for name, tensor in model.state_dict().items())


def test_a_contradiction_names_both_values(tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES["decoder"])
    agreed = recipe(tmp_path, workspace, start, model={"d_model": 16, "dropout": 0.2})
    assert agreed.model.dropout == 0.2
    with pytest.raises(RecipeError, match=r"model.d_model: 16 in the start, 64 here"):
        recipe(tmp_path, workspace, start, model={"d_model": 64})
    with pytest.raises(RecipeError, match=r"model.kind: 'decoder' in the start, 'encoder' here"):
        recipe(tmp_path, workspace, start, model={"kind": "encoder"})
    with pytest.raises(RecipeError, match=r"learns a new vocabulary"):
        recipe(tmp_path, workspace, start, tokenizer={"kind": "bpe"})
    with pytest.raises(RecipeError, match=r"and the recipe says 00"):
        recipe(tmp_path, workspace, {"model": str(start), "hash": "00"})


def test_mup_is_for_weights_of_a_seed(tmp_path, workspace):
    from textmill.models.initial import learning_rate_scale

    start = publish(tmp_path / "start", dataclasses.replace(FAMILIES["decoder"], base_width=4))
    asked = recipe(tmp_path, workspace, start)
    model, _ = prepare(asked, workspace).begun()
    assert set(learning_rate_scale(model).values()) == {1.0}
    batch = batch_for(model)
    assert torch.equal(model.eval()(batch), load.load(start).model(batch))
    with pytest.raises(RecipeError, match="base_width"):
        recipe(tmp_path, workspace, start, model={"base_width": 4})


@pytest.mark.parametrize(
    "family", ["decoder", *(pytest.param(name, marks=pytest.mark.slow) for name in ("encoder", "recurrent"))]
)
def test_a_head_is_attached_and_kept(family, tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES[family])
    tables = reviews(tmp_path, "bad", "good") | {"objective": {"kind": "classify"}}
    run = train(recipe(tmp_path, workspace, start, name="first", **tables), workspace)
    data = trained_on(run, workspace)
    first = data.model()
    assert isinstance(first, Headed)
    theirs = load.load(start).model.state_dict()
    body = first.body.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in body.items())

    kept = recipe(tmp_path, workspace, {"model": "first", "keep_head": True}, **tables)
    model = prepare(kept, workspace).model()
    saved = checkpoint.load(best_weights(run).path).model
    assert torch.equal(model.head.weight, saved["head.weight"])
    fresh = prepare(recipe(tmp_path, workspace, "first", **tables), workspace).model()
    assert not torch.equal(fresh.head.weight, saved["head.weight"])

    other = reviews(tmp_path, "bad", "good", "so so") | {"objective": {"kind": "classify"}}
    wrong = recipe(tmp_path, workspace, {"model": "first", "keep_head": True}, **other)
    with pytest.raises(
        RecipeError, match=r"labels: \('bad', 'good'\) in the start, \('bad', 'good', 'so so'\) here"
    ):
        prepare(wrong, workspace).model()


def test_lineage_follows_the_chain(tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES["decoder"])
    first = pipeline.run(recipe(tmp_path, workspace, start, name="first"), workspace)
    pipeline.run(recipe(tmp_path, workspace, "first", name="second"), workspace)
    third = shutil.copytree(first["model"], tmp_path / "copied")
    train(recipe(tmp_path, workspace, third, name="third"), workspace)

    tree = ancestry.tree(workspace, "second", verify=True)
    assert tree["ok"]
    rows = tree["artifacts"]
    assert [row["start"] for row in rows if row["kind"] == "run"][:2] == [
        "first after step 2",
        "start (made elsewhere)",
    ]
    assert any(row.get("trained_on") == "not known: made elsewhere" for row in rows)
    card = (workspace.run("second").model / "README.md").read_text()
    assert "weights of first after step 2" in card
    assert read_json(workspace.run("second").model / "textmill.json")["info"]["lineage"]["began with"]

    corpus = trained_on(workspace.run("first"), workspace).corpus
    document = next(iter(corpus.documents("train")))
    account = sightings.sightings(workspace, document.id, run="second")["runs"][0]
    assert account["forked"]["run"] == "first"
    assert account["forked"]["forked"]["unknown"] == "not known: made elsewhere"
    made = descent.descendants(workspace, [trained_on(workspace.run("first"), workspace).prepared.tokens.id])
    assert {item.artifact.path.name for item in made if item.artifact.kind == "run"} >= {"first", "second"}


def test_it_is_not_judged_on_what_its_start_was_trained_on(tmp_path, workspace):
    from textmill.base.errors import TextmillError

    start = publish(tmp_path / "start", FAMILIES["decoder"])
    train(recipe(tmp_path, workspace, start, name="first"), workspace)
    other = recipe(tmp_path, workspace, "first", name="second")
    split = dataclasses.replace(other.corpus.split, test=0.5)
    moved = dataclasses.replace(other, corpus=dataclasses.replace(other.corpus, split=split))
    with pytest.raises(TextmillError, match="that first was trained on"):
        train(moved, workspace)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("family", ["decoder", "untied", "encoder", "encoder-decoder", "recurrent"])
def test_what_is_frozen_has_no_state_and_does_not_move(family, kind, tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES[family])
    patterns = ["embedding", "layers.0" if family == "recurrent" else "blocks.0"]
    tables = BASE["training"] | {"freeze": patterns, "optimizer": {"kind": kind}}
    tables |= {"layer_decay": 0.5, "average": {"decay": 0.5}}
    run = train(recipe(tmp_path, workspace, start, training=tables), workspace)
    saved = checkpoint.load(checkpoint.newest_whole(run.checkpoints).path)
    theirs = load.load(start).model.state_dict()
    held = {name.rpartition("/")[0] for name in saved.optimizer}
    moved = {name for name, tensor in saved.model.items() if not torch.equal(tensor, theirs[name])}
    frozen = {name for name in theirs if any(names.matches(name, pattern) for pattern in patterns)}
    assert frozen
    assert not frozen & (held | moved | saved.average.keys())
    assert (
        held <= saved.average.keys() == theirs.keys() - frozen
    )  # a pooler that no loss reaches has no state
    assert moved
    model = best_weights(run).build(trained_on(run, workspace))
    assert all(torch.equal(model.state_dict()[name], theirs[name]) for name in frozen)


def test_the_rate_of_a_layer_is_that_of_its_height(tmp_path, workspace):
    """Of AdamW's first step a weight moves by about its rate, whatever its gradient is."""
    start = publish(tmp_path / "start", FAMILIES["untied"])
    tables = BASE["training"] | {
        "steps": 1,
        "layer_decay": 0.5,
        "schedule": {"kind": "constant", "warmup": 0.0},
    }
    tables["optimizer"] = {"lr": 1e-3, "weight_decay": 0.0}
    run = train(recipe(tmp_path, workspace, start, training=tables), workspace)
    saved = checkpoint.load(checkpoint.newest_whole(run.checkpoints).path).model
    theirs = load.load(start).model.state_dict()
    moved = {name: (saved[name] - theirs[name]).abs().max().item() for name in saved}
    assert moved["output.weight"] == pytest.approx(1e-3, rel=0.01)
    for layer, rate in ((1, 5e-4), (0, 2.5e-4)):
        assert moved[f"blocks.{layer}.feedforward.down.weight"] == pytest.approx(rate, rel=0.01)
    assert moved["embedding.weight"] == pytest.approx(1.25e-4, rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spare", [0, 5], ids=["exact", "padded"])
def test_added_tokens_begin_as_the_mean_of_their_pieces(family, spare, tmp_path, workspace):
    """And what the model said of the tokens it had, it says still. Rows that stood ready for more tokens are used."""
    old = tokenizer()
    start = publish(tmp_path / "start", FAMILIES[family], rows=old.vocabulary + spare)
    asked = {"model": str(start), "add_tokens": ["flourmill"], "add_special_tokens": ["<|note|>"]}
    data = prepare(recipe(tmp_path, workspace, asked), workspace)
    ordinary, special = old.vocabulary, old.vocabulary + 1
    assert data.tokenizer.encode("a flourmill!").tolist().count(ordinary) == 1
    assert special not in data.tokenizer.encode("<|note|>")
    assert data.tokenizer.special["<|note|>"] == special
    assert data.vocabulary == max(old.vocabulary + spare, old.vocabulary + 2)
    model, taken = data.begun()
    assert taken.rows == (ordinary, special)
    theirs = load.load(start).model
    pieces = {ordinary: old.encode("flourmill"), special: old.encode("<|note|>")}
    matrices = {name: tensor for name, tensor in model.state_dict().items() if len(tensor) == data.vocabulary}
    assert len(matrices) >= 1 + (family == "untied")
    for name, tensor in matrices.items():
        before = theirs.state_dict()[name]
        for token, ids in pieces.items():
            torch.testing.assert_close(tensor[token], before[ids.astype(int).tolist()].mean(0))
        assert torch.equal(tensor[:ordinary], before[:ordinary])
    batch = batch_for(model)
    torch.testing.assert_close(
        model.eval()(batch)[..., :ordinary], theirs(batch)[..., :ordinary], rtol=0, atol=1e-5
    )


def test_a_run_with_added_tokens_is_published_and_read(tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES["decoder"])
    asked = {"model": str(start), "add_tokens": ["flourmill"], "add_special_tokens": ["<|note|>"]}
    published = load.load(pipeline.run(recipe(tmp_path, workspace, asked), workspace)["model"])
    count = tokenizer().vocabulary + 2
    assert (published.model.vocabulary, published.tokenizer.vocabulary) == (count, count)
    assert published.tokenizer.added == {"flourmill": count - 2}
    assert published.template == TEMPLATE
    again = recipe(tmp_path, workspace, asked | {"model": "tuned"}, name="again")
    assert prepare(again, workspace).vocabulary == count  # it has them already


def test_another_vocabulary_is_refused_with_what_differs(tmp_path, workspace):
    start = publish(tmp_path / "start", FAMILIES["decoder"])
    other = training.train(TokenizerSpec(vocabulary=300), ["quite other words: sphinx, quartz, vow"] * 9)
    other.save(tmp_path / "other" / "tokenizer.json")
    asked = recipe(tmp_path, workspace, start, tokenizer={"path": str(tmp_path / "other" / "tokenizer.json")})
    with pytest.raises(
        RecipeError, match=r"is not the start's vocabulary.*\n  id 256: '.*' in the start, '.*' here"
    ):
        prepare(asked, workspace)
    tokenizer().save(tmp_path / "same" / "tokenizer.json")
    same = recipe(tmp_path, workspace, start, tokenizer={"path": str(tmp_path / "same" / "tokenizer.json")})
    assert prepare(same, workspace).tokenizer.id == tokenizer().id


WEIGHTS = Path(os.environ.get("TEXTMILL_WEIGHTS", "nowhere"))
PUBLISHED = ["minilm-l6-v2", "smollm2-135m-instruct", "gemma3-270m"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_are_begun_with_to_the_bit(name, tmp_path, workspace):
    if not (WEIGHTS / name).is_dir():
        pytest.skip(f"TEXTMILL_WEIGHTS names no folder with {name}")
    asked = recipe(tmp_path, workspace, WEIGHTS / name, training={"sequence": 32})
    data = prepare(asked, workspace)
    model, _ = data.begun()
    theirs = load.load(locate_model(workspace, str(WEIGHTS / name)))
    batch = batch_for(model)
    with torch.no_grad():
        assert torch.equal(model.eval().hidden(batch), theirs.model.hidden(batch))
    text = "The mill turns, 磨坊。 naïve"
    assert data.tokenizer.encode(text).tolist() == theirs.tokenizer.encode(text).tolist()
    assert data.template == theirs.template
    assert asked.generation == theirs.generation
