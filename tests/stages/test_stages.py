"""The stages together: nothing is done twice, a change remakes what depends on it, figures are what they say."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import shutil

import pytest
import torch
import torch.nn.functional as F

from helpers.published import shaken
from textmill.base.console import Reporter, Silent
from textmill.base.errors import NonFiniteError, RecipeError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.interop.huggingface import directory as huggingface
from textmill.models.build import build
from textmill.specs import recipe_file
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.stages import pipeline
from textmill.stages.evaluation import evaluate
from textmill.stages.preparation import prepare
from textmill.stages.runs import check, history, session, train
from textmill.stages.tracing import ancestry
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace import lineage
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.tokenizer import Tokenizer
from textmill.training import checkpoint, preflight


class Listener(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.notes, self.stages = [], []

    def note(self, text):
        self.notes.append(text)

    def _stage(self, name, state, why):
        self.stages.append((name, state, why))


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Listener())


@pytest.fixture
def tiny(tiny_recipe):
    return recipe_file.load(tiny_recipe)


def changed(base, **training):
    return dataclasses.replace(base, training=dataclasses.replace(base.training, **training))


def test_nothing_is_done_twice(tiny, workspace):
    first = pipeline.run(tiny, workspace)
    before = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*.safetensors")}
    again = Workspace(workspace.root, Listener())
    assert pipeline.run(tiny, again) == first
    assert {(name, state) for name, state, _ in again.reporter.stages} >= {
        (name, "up to date") for name in ("corpus", "tokenizer", "tokens", "evaluate", "publish")
    }
    assert {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*.safetensors")} == before


def test_a_change_remakes_what_depends_on_it_and_says_why(tiny, workspace):
    prepare.prepare(tiny, workspace)
    other = dataclasses.replace(tiny, tokenizer=dataclasses.replace(tiny.tokenizer, vocabulary=330))
    listener = Listener()
    prepare.prepare(other, Workspace(workspace.root, listener))
    assert listener.stages == [
        ("corpus", "up to date", ""),
        ("tokenizer", "being made", "vocabulary was 320, is 330"),
        ("tokens", "being made", "its inputs changed"),
    ]


def test_a_changed_file_remakes_the_corpus(tiny, workspace, texts):
    first = prepare.prepare(tiny, workspace).prepared.corpus
    (texts / "000.txt").write_text("something else")
    second = prepare.prepare(tiny, Workspace(workspace.root, Listener())).prepared.corpus
    assert second.id != first.id


def test_a_changed_recipe_shows_its_difference_and_may_fork(tiny, workspace):
    train.train(tiny, workspace)
    other = changed(tiny, steps=30)
    with pytest.raises(RecipeError, match=r"training\.steps: 24 -> 30") as caught:
        train.train(other, workspace)
    assert "--fork" in str(caught.value)
    forked = train.train(other, workspace, fork="longer")
    steps = [row["step"] for row in forked.metrics() if "loss" in row]
    assert steps == list(range(1, 31)), "its steps are its own"


def test_changed_sources_do_not_slip_into_a_run(tiny, workspace, texts):
    """A run goes on with the text it was begun with; `run`, which looks at the sources, says that they are others."""
    train.train(tiny, workspace)
    before = ancestry.batch_documents(workspace, "tiny", 3)
    (texts / "000.txt").write_text("something else")
    train.train(tiny, workspace)
    with pytest.raises(RecipeError, match="was begun with other text"):
        pipeline.run(tiny, workspace)
    assert ancestry.batch_documents(workspace, "tiny", 3) == before


def test_what_does_not_touch_the_weights_may_change(tiny, workspace):
    train.train(tiny, workspace)
    save = dataclasses.replace(tiny.training.save, keep=5)
    train.train(changed(tiny, save=save, nonfinite="skip"), workspace)


def test_bits_per_byte_by_hand(tiny, workspace):
    """The reported figure, recomputed document by document from the published model."""
    report = pipeline.run(tiny, workspace)["scores"]
    corpus = prepare.prepare(tiny, workspace).corpus
    published = huggingface.read_directory(workspace.run("tiny").model)
    nats, size, targets = 0.0, 0, 0
    for document in corpus.documents("test"):
        ids = [
            published.tokenizer.end,
            *published.tokenizer.encode(document.text).tolist(),
            published.tokenizer.end,
        ]
        size += len(document.text.encode())
        targets += len(ids) - 1
        nats += _document_nats(published.model, ids, published.spec.context)
    assert report["targets"] == targets
    assert report["bytes"] == size
    assert report["scores"]["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=0.02)
    low, high = report["table"][0]["low"], report["table"][0]["high"]
    assert low < report["scores"]["bits_per_byte"] < high
    assert [row["name"] for row in report["table"]] == ["this model", "unigram", "xz", "zstd"]


def _document_nats(model, ids, context):
    """Nats of a document's tokens, each read with at least half a context before it where there is one."""
    total, done = 0.0, 0
    with torch.inference_mode():
        while done < len(ids) - 1:
            start = max(0, done - context // 2)
            piece = torch.tensor([ids[start : start + context + 1]])
            batch = Batch(piece[:, :-1], torch.full_like(piece[:, 1:], IGNORE))
            losses = F.cross_entropy(model(batch)[0], piece[0, 1:], reduction="none")
            total += float(losses[done - start :].sum())
            done = start + piece.shape[1] - 1
    return total


def test_a_directory_that_fails_is_not_published(tiny, workspace, monkeypatch):
    pipeline.run(tiny, workspace)
    weights = workspace.run("tiny").model / "model.safetensors"
    before = weights.read_bytes()
    honest = huggingface.write_directory

    def careless(directory, model, *arguments, **options):
        """A writer that loses a little of one weight."""
        damaged = copy.deepcopy(model)
        with torch.no_grad():
            damaged.embedding.weight[0, 0] += 1e-3
        honest(directory, damaged, *arguments, **options)

    monkeypatch.setattr(huggingface, "write_directory", careless)
    new = dataclasses.replace(tiny, generation=dataclasses.replace(tiny.generation, tokens=13))
    with pytest.raises(TextmillError, match="does not give the same logits as the training path"):
        pipeline.run(new, workspace)
    assert weights.read_bytes() == before
    assert not list(workspace.root.rglob(".partial-*"))


def poisoned(monkeypatch, loader, step):
    """Make the loss of one step's batch not a number."""
    rows = {tuple(row.tolist()) for row in loader.batch(step).inputs}
    honest = session.Session._losses

    def losses(session):
        made = honest(session)

        def loss(model, batch):
            nats, targets = made.training(model, batch)
            bad = any(tuple(row.tolist()) in rows for row in batch.inputs) and model.training
            return (nats * float("nan") if bad else nats), targets

        return dataclasses.replace(made, training=loss)

    monkeypatch.setattr(session.Session, "_losses", losses)


def test_a_loss_that_is_not_finite_names_its_documents(tiny, workspace, monkeypatch):
    loader = prepare.prepare(tiny, workspace).loader()
    poisoned(monkeypatch, loader, 10)
    with pytest.raises(NonFiniteError) as caught:
        train.train(tiny, workspace)
    documents = [document for document, _ in loader.documents(10)]
    assert documents[0] in str(caught.value)
    assert "--step 11" in str(caught.value), "steps are counted from 1"
    event = next(event for event in workspace.run("tiny").events() if event["event"] == "not finite")
    assert event["documents"] == documents
    assert checkpoint.listed(workspace.run("tiny").checkpoints)[-1].name == "step-00000008", (
        "the weights before it are kept"
    )


@pytest.mark.slow
def test_a_loss_that_is_not_finite_may_be_passed_over(tiny, workspace, monkeypatch):
    loader = prepare.prepare(tiny, workspace).loader()
    poisoned(monkeypatch, loader, 10)
    run = train.train(changed(tiny, nonfinite="skip"), workspace)
    saved = checkpoint.load(checkpoint.newest_whole(run.checkpoints).path)
    assert saved.state["step"] == 24
    assert saved.state["skipped"] == [10]
    assert [row["step"] for row in run.metrics() if "loss" in row] == [s for s in range(1, 25) if s != 11]


def test_early_stopping(tiny, workspace):
    still = dataclasses.replace(
        tiny.training.optimizer, lr=0.0, rest=dataclasses.replace(tiny.training.optimizer.rest, lr=0.0)
    )
    run = train.train(
        changed(tiny, optimizer=still, average=None, patience=2, steps=600, evaluate_every=3), workspace
    )
    assert max(row["step"] for row in run.metrics()) == 9, (
        "the first look is the best, two more are waited for"
    )


def test_the_documents_of_a_step(tiny, workspace):
    run = train.train(tiny, workspace)
    result = ancestry.batch_documents(workspace, run.name, 5)
    loader = prepare.prepare(tiny, workspace).loader()
    assert [(row["document"], row["tokens"]) for row in result["documents"]] == loader.documents(4)
    assert all(row["source"].endswith(".txt") for row in result["documents"])
    assert sum(row["tokens"] for row in result["documents"]) == 4 * 32


@pytest.mark.slow
def test_lineage_notices_a_changed_byte(tiny, workspace):
    pipeline.run(tiny, workspace)
    result = ancestry.tree(workspace, "tiny", verify=True)
    assert result["ok"]
    assert [row["kind"] for row in result["artifacts"]][:4] == ["model", "run", "tokens", "corpus"]
    shard = next(workspace.root.glob("corpus/*/train-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert not ancestry.tree(workspace, "tiny", verify=True)["ok"]
    assert lineage.damage(lineage.read_lineage(shard.parent)) == [shard.name]


def test_evaluating_files(tiny, workspace, tmp_path):
    pipeline.run(tiny, workspace)
    file = tmp_path / "new.txt"
    file.write_text("the mill turns water into bread")
    result = evaluate.evaluate(workspace, "tiny", files=[file])
    assert result["documents"] == 1
    assert result["bytes"] == 31
    with pytest.raises(RecipeError):
        evaluate.evaluate(workspace, "tiny", files=[tmp_path / "nowhere.txt"])


def _with_prefix(tokenizer, prefix: str) -> Tokenizer:
    """The same tokenizer, of a model that wants one of its special tokens before every text."""
    document = json.loads(tokenizer.data)
    document["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": prefix, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {prefix: {"id": prefix, "ids": [tokenizer.special[prefix]], "tokens": [prefix]}},
    }
    return Tokenizer(json.dumps(document).encode())


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("prefix", [None, "<|user|>"])
def test_a_file_is_scored_behind_what_its_tokenizer_puts_before_a_text(
    workspace, tmp_path, tokenizer, prefix, end
):
    """By hand: in windows of 16 tokens each of which begins so, one every 8."""
    text, spec = (
        "the mill turns water into bread, and the mill stands",
        DecoderSpec(d_model=16, layers=2, heads=2),
    )
    model = shaken(build(spec, tokenizer.vocabulary))
    names = tokenizer if prefix is None else _with_prefix(tokenizer, prefix)
    first = tokenizer.end if prefix is None else tokenizer.special[prefix]
    huggingface.write_directory(tmp_path / "m", model, names, GenerationSpec(), {})
    file = tmp_path / "new.txt"
    file.write_text(text)
    found = evaluate.evaluate(workspace, str(tmp_path / "m"), files=[file], context=16, end=end)
    ids = [*tokenizer.encode(text).tolist(), tokenizer.end]
    nats = []
    for begin in range(0, max(1, len(ids) - 8), 8):
        asked = ids[begin : begin + 16]
        before = [first if prefix or not begin else ids[begin - 1], *asked[:-1]]
        with torch.no_grad():
            logits = model(Batch(torch.tensor([before]), torch.tensor([before])))[0]
        losses = F.cross_entropy(logits, torch.tensor(asked), reduction="none")
        nats += losses[8 if begin else 0 :].tolist()
    nats = nats if end else nats[:-1]
    assert len(ids) > 32
    assert found["targets"] == len(nats) == len(ids) - (not end)
    assert found["bytes"] == len(text)
    assert found["scores"]["nats_per_token"] == pytest.approx(sum(nats) / len(nats), abs=1e-5)
    signature = found["details"]["bits per byte"]["signature"]
    assert f"starts with:{prefix or '<|endoftext|>'}|" in signature
    assert f"end:{'scored' if end else 'not scored'}|" in signature


def test_scoring_a_short_text_asks_nothing_of_a_long_context(workspace, tmp_path, tokenizer, monkeypatch):
    spec = DecoderSpec(d_model=16, layers=1, heads=2, context=1 << 20, window=8)
    huggingface.write_directory(
        tmp_path / "m", build(spec, tokenizer.vocabulary), tokenizer, GenerationSpec(), {}
    )
    (tmp_path / "short.txt").write_text("the mill turns")
    assert evaluate.evaluate(workspace, str(tmp_path / "m"), files=[tmp_path / "short.txt"])["documents"] == 1
    (tmp_path / "long.txt").write_text("the mill turns " * 40_000)
    monkeypatch.setattr("textmill.training.memory.free_bytes", lambda device: 10**9)
    with pytest.raises(TextmillError, match="free") as caught:
        evaluate.evaluate(workspace, str(tmp_path / "m"), files=[tmp_path / "long.txt"])
    assert "--context " in caught.value.advice
    assert "about" in workspace.reporter.notes[-1]


def test_how_a_run_is_scored_belongs_to_its_recipe(tiny, workspace):
    with pytest.raises(RecipeError, match="applies to files"):
        evaluate.evaluate(workspace, "tiny", context=16)


def test_check_counts_and_predicts(tiny, workspace, texts):
    copied = sorted(texts.glob("*.txt"))[0].read_text()
    for index in range(
        40
    ):  # enough copies with another first line that some fall on either side of the split
        (texts / f"copy{index}.txt").write_text(f"copy {index}\n{copied * 3}")
    result = check.check(tiny, workspace)
    assert result["parameters"] > 0
    assert result["seconds"] == pytest.approx(result["seconds_per_step"] * 24)
    assert result["memory_bytes"] == sum(result["memory"].values())
    texts_of = {finding["text"] for finding in result["findings"]}
    assert any("end-of-text token is trained" in text for text in texts_of)
    overlap = next(finding for finding in result["findings"] if "runs of 13" in finding["text"])
    assert overlap["level"] == "warning"


def test_check_times_no_step_that_does_not_fit(tiny, workspace, monkeypatch):
    monkeypatch.setattr("textmill.training.memory.free_bytes", lambda device: 1_000_000)
    result = check.check(changed(tiny, micro_batch=tiny.training.batch), workspace)
    assert result["memory_bytes"] > 1_000_000
    assert result["seconds"] is result["seconds_per_step"] is None
    assert any("no step was timed" in finding["text"] for finding in result["findings"])


@pytest.mark.slow
def test_check_times_a_large_update_by_few_of_its_micro_batches(tiny, workspace, monkeypatch):
    rows = []
    measured = preflight.measure
    monkeypatch.setattr(
        preflight,
        "measure",
        lambda model, loss, loader, *a, **k: (
            rows.append(loader.size) or measured(model, loss, loader, *a, **k)
        ),
    )
    result = check.check(changed(tiny, batch=1000, micro_batch=2), workspace)
    assert rows == [4, 8]
    assert result["tokens_per_second"] * result["seconds_per_step"] == pytest.approx(
        1000 * tiny.sequence, rel=0.01
    )


@pytest.mark.slow
def test_a_run_that_is_not_published_can_be_tried_and_says_so(tiny, workspace):
    train.train(tiny, workspace)
    model = LanguageModel(workspace, "tiny")
    assert "is not published" in model.pretrained.warnings[0]
    tried = model.generate("the mill", tokens=12, seed=3)
    pipeline.run(tiny, workspace)
    published = LanguageModel(workspace, "tiny")
    assert published.pretrained.warnings == ()
    assert [one.text for one in tried] == [
        one.text for one in published.generate("the mill", tokens=12, seed=3)
    ]
    with pytest.raises(TextmillError, match="no such run"):
        LanguageModel(workspace, "tinny")


def test_a_checkpoint_of_a_run_in_training_can_be_tried(tiny, workspace):
    with pytest.raises(TextmillError, match="has no checkpoint yet"):
        workspace.run("tiny").begin(tiny, {})
        LanguageModel(workspace, "tiny", checkpoint="latest")
    shutil.rmtree(workspace.root / "runs")
    seen = {}

    class Trying(Silent):
        """Tries the newest checkpoint at every step, while the run goes on."""

        def training(self, status):
            if status.step in (9, 21):
                model = LanguageModel(Workspace(workspace.root, Silent()), "tiny", checkpoint="latest")
                seen[model.pretrained.warnings[0]] = model.generate("the mill", tokens=8)[0].text

    train.train(tiny, Workspace(workspace.root, Trying()))
    assert list(seen) == ["this is tiny after step 8 of 24", "this is tiny after step 20 of 24"]
    pipeline.run(tiny, workspace)  # what is published stands aside for the checkpoint that is asked for
    model = LanguageModel(workspace, "tiny", checkpoint="20")
    assert model.pretrained.warnings == ("this is tiny after step 20 of 24",)
    assert model.generate("the mill", tokens=8)[0].text == seen["this is tiny after step 20 of 24"]
    with pytest.raises(
        RecipeError, match=r"keeps no checkpoint '8'; give latest, best or one of these steps: .*24"
    ):
        LanguageModel(workspace, "tiny", checkpoint="8")
    with pytest.raises(RecipeError, match="belongs to no run"):
        copied = shutil.copytree(workspace.run("tiny").model, workspace.root / "copied")
        LanguageModel(workspace, str(copied), checkpoint="latest")


@pytest.mark.slow
def test_history_and_comparison(tiny, workspace):
    train.train(tiny, workspace)
    other = dataclasses.replace(changed(tiny, steps=12), name="other")
    train.train(other, workspace)
    rows = history.overview(workspace)
    assert [(row["name"], row["state"], row["step"]) for row in rows] == [
        ("other", "trained", 12),
        ("tiny", "trained", 24),
    ]
    differences = history.compare(workspace, "tiny", "other")["differences"]
    assert differences == [{"key": "training.steps", "first": 24, "second": 12}]
    assert history.svg(workspace, ["tiny", "other"]).count("<polyline") == 6
    with pytest.raises(TextmillError, match="did you mean tiny"):
        history.details(workspace, "tinny")


def test_published_files_hold_no_path_of_this_machine(tiny, workspace, tmp_path):
    pipeline.run(tiny, workspace)
    for path in workspace.run("tiny").model.iterdir():
        if path.suffix in (".json", ".md"):
            assert str(tmp_path) not in path.read_text(), path.name
    assert json.loads((workspace.run("tiny").model / "textmill.json").read_text())["info"]["lineage"][
        "corpus"
    ]
