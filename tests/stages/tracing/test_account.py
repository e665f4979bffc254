"""Who saw a document, forgetting it, and what two corpora differ in: on real runs of a tiny model."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time

import pytest

from textmill.base.console import Silent
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import content_id, read_jsonl
from textmill.specs import recipe_file
from textmill.stages import pipeline
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.runs.train import train
from textmill.stages.tracing import ancestry, descent, forget, holdings, sightings, trace
from textmill.stages.tracing import index as indexing
from textmill.stages.workspace import lineage
from textmill.stages.workspace.forget_list import forgotten, list_of
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a published run, a fork of it, and the folder of its texts."""
    folder = tmp_path_factory.mktemp("account")
    texts = folder / "texts"
    texts.mkdir()
    for number in range(60):
        words = " ".join(f"word{(number * 7 + k * k) % 91}" for k in range(30 + number))
        (texts / f"{number:03d}.txt").write_text(f"{number}\n{words}\n")
    (texts / "again.txt").write_text((texts / "007.txt").read_text().replace("\n", "\r\n"))
    (texts / "copy.txt").write_text((texts / "008.txt").read_text())
    path = folder / "tiny.toml"
    path.write_text(
        """
name = "tiny"
[corpus]
sources = [{ kind = "files", paths = ["texts"] }]
split = { validation = 0.1, test = 0.1 }
[tokenizer]
vocabulary = 300
[model]
d_model = 16
layers = 1
heads = 2
d_ff = 32
context = 32
[training]
steps = 60
batch = 3
evaluate_every = 30
evaluate_tokens = 200
save = { every = 20, keep = 9 }
[evaluation]
samples = ["word7 word"]
bootstrap = 10
baselines = []
[generation]
tokens = 12
"""
    )
    workspace = Workspace(folder / "work", Silent())
    asked = recipe_file.load(path)
    pipeline.run(asked, workspace)
    packed = dataclasses.replace(
        asked, name="packed", training=dataclasses.replace(asked.training, packing="best-fit", steps=40)
    )
    train(packed, workspace)
    return workspace, asked, texts, path


@pytest.fixture
def own(made, tmp_path):
    """A copy of it elsewhere, with its texts, that a test may change."""
    _, _, texts, path = made
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    path = tmp_path / path.name
    return Workspace(tmp_path / "work", Silent()), recipe_file.load(path), tmp_path / texts.name, path


def walked(workspace, name, document, steps):
    """Tokens of a document by step, counted from 1, by walking through all steps."""
    run = workspace.run(name)
    loader = trained_on(run, workspace).loader()
    found = {}
    for step in range(steps):
        tokens = dict(loader.documents(step)).get(document, 0)
        if tokens:
            found[step + 1] = tokens
    return found


@pytest.mark.parametrize("name", ["tiny", "packed"])
def test_checkpoints_saw_what_the_walk_says(made, name):
    workspace, *_ = made
    run = workspace.run(name)
    corpus = trained_on(run, workspace).corpus
    steps = run.recipe().training.steps
    for document in list(corpus.documents("train"))[::9]:
        [row] = sightings.sightings(workspace, document.id, run=name)["runs"]
        expected = walked(workspace, name, document.id, steps)
        [seen] = row["seen"]
        assert seen["steps"] == list(expected)
        assert seen["times"] == len(expected)
        assert {one["step"] for one in row["checkpoints"]} >= {20, 40, steps}
        for written in row["checkpoints"]:
            before = {step: tokens for step, tokens in expected.items() if step <= written["step"]}
            if not before:
                assert written["saw"] == []
                continue
            [saw] = written["saw"]
            assert saw["tokens"] == sum(before.values())
            assert saw["steps"] == len(before)
            assert (saw["first"], saw["last"]) == (min(before), max(before))
            assert saw["epochs"] == pytest.approx(saw["tokens"] / seen["tokens"], abs=1e-4)


def test_the_published_model_is_among_them(made):
    workspace, *_ = made
    document = next(iter(trained_on(workspace.run("tiny"), workspace).corpus.documents("train")))
    [row] = sightings.sightings(workspace, document.id, run="tiny")["runs"]
    model = row["checkpoints"][-1]
    assert model["checkpoint"] == "model"
    same = next(one for one in row["checkpoints"] if one["step"] == model["step"])
    assert model["saw"] == same["saw"]


def test_a_document_of_the_test_part_was_never_read(made):
    workspace, *_ = made
    document = next(iter(trained_on(workspace.run("tiny"), workspace).corpus.documents("test")))
    for row in sightings.sightings(workspace, document.id)["runs"]:
        assert row["seen"][0]["splits"] == ["test"]
        assert row["seen"][0]["times"] == 0
        assert not any(one["saw"] for one in row["checkpoints"])


def test_a_step_that_was_passed_over_was_not_learnt_from(own):
    workspace, *_ = own
    run = workspace.run("tiny")
    document = next(iter(trained_on(run, workspace).corpus.documents("train")))
    [before] = sightings.sightings(workspace, document.id, run="tiny")["runs"]
    step = before["seen"][0]["steps"][0]
    saved = checkpoint.load(run.checkpoints / "step-00000060")
    checkpoint.save(
        run.checkpoints,
        60,
        model=saved.model,
        optimizer=saved.optimizer,
        state=saved.state | {"skipped": [step - 1]},
    )
    [after] = sightings.sightings(workspace, document.id, run="tiny")["runs"]
    last = {row["checkpoint"]: row["saw"] for row in after["checkpoints"]}["checkpoints/step-00000060"]
    assert last[0]["steps"] == before["seen"][0]["times"] - 1


@pytest.mark.slow
def test_a_fork_saw_what_the_run_before_it_saw(own):
    workspace, asked, *_ = own
    longer = dataclasses.replace(asked, training=dataclasses.replace(asked.training, steps=80))
    train(longer, workspace, fork="longer")
    document = next(iter(trained_on(workspace.run("tiny"), workspace).corpus.documents("train")))
    [row] = sightings.sightings(workspace, document.id, run="longer")["runs"]
    first = walked(workspace, "tiny", document.id, 60)
    assert row["forked"]["step"] == 60
    assert row["forked"]["saw"][0]["tokens"] == sum(first.values())
    own = walked(workspace, "longer", document.id, 80)
    assert row["seen"][0]["steps"] == list(own), "its steps are its own, from the first"


def test_names_a_person_may_use(made):
    workspace, _, texts, _ = made
    path = texts / "012.txt"
    name = content_id(path.read_text())
    for said in (name, name[:10], str(path), "012.txt", "texts/012.txt"):
        assert [one.document for one in holdings.find(workspace, said)] == [name], said
    everything = {one.document for one in holdings.find(workspace, str(texts))}
    assert len(everything) == 61  # 60 texts, and one with other line ends; the copy is the same document
    for said, message in (("12.txt", "in no corpus"), ("no such", "in no corpus"), ("ffffff0", "no corpus")):
        with pytest.raises(TextmillError, match=message):
            holdings.find(workspace, said)


def test_an_end_of_a_place_that_several_have_is_refused(own):
    workspace, asked, texts, _ = own
    other = texts.parent / "other" / "texts"
    other.mkdir(parents=True)
    (other / "012.txt").write_text("another text of the same name, with a few words in it\n")
    try:
        source = dataclasses.replace(asked.corpus.sources[0], paths=(str(other),))
        prepare(
            dataclasses.replace(
                asked, name="other", corpus=dataclasses.replace(asked.corpus, sources=(source,))
            ),
            workspace,
        )
        with pytest.raises(TextmillError, match="means 2 files"):
            holdings.find(workspace, "012.txt")
        assert len(holdings.find(workspace, str(texts / "012.txt"))) == 1
    finally:
        shutil.rmtree(texts.parent / "other")


def test_a_forgotten_document_stays_out(own):
    workspace, asked, *_ = own
    before = trained_on(workspace.run("tiny"), workspace)
    document = next(iter(before.corpus.documents("train")))
    result = forget.forget(workspace, [document.id])
    assert [row["document"] for row in result["documents"]] == [document.id]
    assert result["documents"][0]["new"]
    assert {row["kind"] for row in result["made_from"]} >= {"corpus", "tokenizer", "tokens", "run", "model"}
    assert {row["run"] for row in result["made_from"] if row["kind"] == "run"} == {"tiny", "packed"}
    assert all(row["trained_on"] for row in result["made_from"])
    assert (workspace.root / "runs" / "tiny" / "model" / "config.json").is_file()  # nothing was removed
    after = prepare(asked, workspace)
    assert after.prepared.corpus.id != before.prepared.corpus.id
    everything = (
        after.prepared.corpus.path / name for name in ("rejected.jsonl", "report.json", "card.html")
    )
    assert document.text[10:60] not in "".join(path.read_text() for path in everything if path.is_file())
    corpus = after.corpus
    texts = [one for part in ("train", "validation", "test") for one in corpus.documents(part)]
    assert document.id not in {one.id for one in texts}
    assert document.text not in {one.text for one in texts}
    aside = [
        row for row in read_jsonl(after.prepared.corpus.path / "rejected.jsonl") if row["step"] == "forget"
    ]
    assert [(row["id"], row["reason"]) for row in aside] == [(document.id, "forgotten on request")]
    assert corpus.report["read"]["documents"] == before.corpus.report["read"]["documents"]
    found = ancestry.difference(workspace, str(before.prepared.corpus.path), str(after.prepared.corpus.path))
    assert [row["document"] for row in found["removed"]] == [document.id]
    assert found["removed"][0]["forgotten"]
    assert found["added"] == []
    assert [row["key"] for row in found["decided"]] == ["forgotten"]
    assert [
        row
        for row in ancestry.tree(workspace, str(after.prepared.corpus.path))["artifacts"]
        if row.get("forgotten")
    ]
    assert prepare(asked, workspace).prepared.corpus.id == after.prepared.corpus.id
    assert not forget.forget(workspace, [document.id])["documents"][0]["new"]


def test_what_repeats_it_does_not_take_its_place(own):
    workspace, asked, texts, _ = own
    result = forget.forget(workspace, [str(texts / "again.txt")])
    assert len(result["documents"]) == 2
    corpus = prepare(asked, workspace).corpus
    everything = [one for part in ("train", "validation", "test") for one in corpus.documents(part)]
    assert not any(one.text.startswith("7\n") for one in everything)


def test_other_corpora_are_not_out_of_date_by_it(own):
    workspace, asked, texts, _ = own
    other = texts.parent / "elsewhere.txt"
    other.write_text("a few words that stand nowhere else\n" * 40)
    source = dataclasses.replace(asked.corpus.sources[0], paths=(str(other),))
    mine = dataclasses.replace(
        asked, name="mine", corpus=dataclasses.replace(asked.corpus, sources=(source,))
    )
    before = prepare(mine, workspace)
    listed = forget.forget(workspace, ["012.txt"])["made_from"]
    assert before.prepared.corpus.id not in {row["id"] for row in listed}
    after = prepare(mine, workspace)
    assert (after.prepared.corpus.id, after.prepared.tokens.path) == (
        before.prepared.corpus.id,
        before.prepared.tokens.path,
    )


def test_mistakes_put_nothing_on_the_list(own):
    workspace, *_ = own
    with pytest.raises(TextmillError, match="in no corpus"):
        forget.forget(workspace, ["012.txt", "no such document"])
    assert not list_of(workspace).exists()
    list_of(workspace).write_text('{"document": "12"}\n')
    with pytest.raises(DamagedError, match="line 1"):
        forgotten(workspace)


def test_a_file_no_corpus_holds_yet_can_be_forgotten(own, tmp_path):
    workspace, *_ = own
    (tmp_path / "secret.txt").write_text("words to come\n")
    result = forget.forget(workspace, [str(tmp_path / "secret.txt"), "0" * 32])
    assert forgotten(workspace).ids == {content_id("words to come\n"), "0" * 32}
    assert result["made_from"] == []


def test_what_came_from_a_corpus(own):
    workspace, asked, *_ = own
    longer = dataclasses.replace(asked, training=dataclasses.replace(asked.training, steps=62))
    indexing.build(workspace, "tiny")
    train(longer, workspace, fork="longer")
    corpus = trained_on(workspace.run("tiny"), workspace).prepared.corpus
    kinds = [one.artifact.kind for one in descent.descendants(workspace, [corpus.id])]
    assert kinds == ["corpus", "tokenizer", "tokens", "index", "run", "run", "run", "model"]
    assert descent.descendants(workspace, ["0" * 32]) == []


def test_sources_are_checked_again(own, tmp_path):
    workspace, _, texts, _ = own
    moved = texts / "012.txt"
    before = moved.read_text()
    try:
        moved.write_text("changed since\n")
        (texts / "000.txt").rename(texts / "new.txt")
        tree = ancestry.tree(workspace, "tiny", verify=True)
    finally:
        moved.write_text(before)
        (texts / "new.txt").rename(texts / "000.txt")
    assert tree["ok"]
    kinds = [row["kind"] for row in tree["artifacts"]]
    assert kinds == ["model", "run", "tokens", "corpus", "tokenizer", "corpus"]
    row = next(row for row in tree["artifacts"] if row["kind"] == "corpus")
    assert row["inputs"] == 62
    assert row["sources"]["same"] == 60
    assert [len(row["sources"][key]) for key in ("changed", "gone", "new")] == [1, 1, 1]
    assert ancestry.tree(workspace, "tiny", verify=True)["artifacts"][3]["sources"]["same"] == 62


def test_samples_come_with_their_trace(made):
    workspace, *_ = made
    run = workspace.run("tiny")
    samples = run.report()["samples"]
    corpus = trained_on(run, workspace).corpus
    document = max(corpus.documents("train"), key=lambda one: len(one.text))
    copied = {"prompt": "word", "text": document.text[20:120]}
    rows = trace.of_samples(run, workspace, [*samples, copied], documents=99)
    assert [row["text"] for row in rows] == [sample["text"] for sample in [*samples, copied]]
    assert len(rows[-1]["spans"]) <= 3
    assert any(document.id == held["document"] for span in rows[-1]["spans"] for held in span["found_in"])
    for row in rows:
        for span in row["spans"]:
            assert row["text"][span["start"] : span["end"]] == span["text"]


@pytest.mark.figures
def test_sightings_are_quick(made):
    workspace, *_ = made
    document = next(iter(trained_on(workspace.run("tiny"), workspace).corpus.documents("train")))
    begun = time.perf_counter()
    sightings.sightings(workspace, document.id)
    assert time.perf_counter() - begun < 0.5


@pytest.mark.slow
def test_from_the_command_line(own, textmill):
    workspace, *_ = own
    environment = {"TEXTMILL_WORK": str(workspace.root)}
    result = json.loads(textmill("trace", "--document", "012.txt", "--json", **environment).stdout)
    assert {row["run"] for row in result["runs"]} == {"tiny", "packed"}
    shown = textmill("trace", "--document", "012.txt", "--run", "tiny", **environment).stdout
    assert "checkpoint" in shown
    shown = textmill("forget", "012.txt", "--yes", **environment).stdout
    assert "rm -r" in shown
    again = json.loads(textmill("forget", "012.txt", "--json", "--yes", **environment).stdout)
    assert not again["documents"][0]["new"]
    refused = textmill("forget", "nothing", "--yes", check=False, **environment)
    assert (refused.returncode, "in no corpus" in refused.stderr) == (1, True)
    refused = textmill("trace", check=False, **environment)
    assert refused.returncode == 2
    assert "unchanged: 62 source files" in textmill("lineage", "tiny", "--verify", **environment).stdout
    assert lineage.read_lineage(workspace.run("tiny").path).kind == "run"
