"""The index of a run, and what it is asked: built once, kept with its lineage, true to the text."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time

import pytest

from textmill.base.console import Reporter
from textmill.base.errors import RecipeError, TextmillError
from textmill.cli.show import index as show
from textmill.index.search import Index
from textmill.specs import recipe_file
from textmill.stages.preparation.prepare import prepare
from textmill.stages.tracing import ancestry, trace
from textmill.stages.tracing import index as stage
from textmill.stages.workspace import lineage
from textmill.stages.workspace.workspace import Workspace


class Listener(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.heard, self.notes = [], []

    def note(self, text):
        self.notes.append(text)

    def _stage(self, name, state, why):
        self.heard.append((name, state))

    def progress(self, label, done, total=None, unit=""):
        pass


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Listener())


@pytest.fixture
def parted(tiny_recipe, workspace):
    """A recipe prepared, and the texts of its training part."""
    data = prepare(recipe_file.load(tiny_recipe), workspace)
    return str(tiny_recipe), list(data.corpus.documents("train"))


def test_counts_are_those_of_the_text(parted, workspace):
    target, documents = parted
    texts = ["the mill", "turns water into", "river", "磨坊", "no such words here", " grain"]
    found = stage.count(workspace, target, texts)
    for row in found["counts"]:
        assert row["count"] == sum(document.text.count(row["text"]) for document in documents), row
    assert found["counts"][0]["count"] > 0
    assert found["tokens"] == stage.open_index(workspace, target).index.tokens


def test_a_text_may_end_inside_a_token(parted, workspace):
    target, documents = parted
    opened = stage.open_index(workspace, target)
    longest = max(range(opened.index.vocabulary), key=lambda token: len(opened.tokenizer.token_bytes(token)))
    word = opened.tokenizer.token_bytes(longest).decode()
    assert len(word) > 4
    for text in (word[:-1], f"the{word[:-2]}", word):
        counted = stage.count(workspace, target, [text])["counts"][0]["count"]
        assert counted == sum(document.text.count(text) for document in documents)
        rows = stage.search(workspace, target, text, limit=1000)["places"]
        assert [row["text"] for row in rows] == [text] * counted


def test_search_shows_places_and_what_is_around(parted, workspace):
    target, documents = parted
    result = stage.search(workspace, target, "water into", limit=3)
    assert len(result["places"]) == 3 <= result["count"]
    assert result["documents"] <= len({document.id for document in documents})
    by_id = {document.id: document for document in documents}
    for row in result["places"]:
        document = by_id[row["document"]]
        assert row["source"] == document.source
        assert row["before"] + row["text"] + row["after"] in document.text
    assert stage.search(workspace, target, "no such words here")["places"] == []


def test_it_is_built_once_and_again_only_when_the_text_has_changed(parted, workspace, texts):
    target, _ = parted
    first = stage.build(workspace, target)
    assert first["shards"] == 1
    assert stage.build(workspace, target, memory=1000) == first  # memory decides no answer
    again = Workspace(workspace.root, Listener())
    stage.count(again, target, ["mill"])
    assert ("index", "up to date") in again.reporter.heard
    assert list((workspace.root / "index" / ".shards").glob("[!.]*")) == []
    (texts / "new.txt").write_text("an unheard-of sentence about turbines\n")
    other = Workspace(workspace.root, Listener())
    assert stage.build(other, target)["id"] != first["id"]
    assert ("index", "being made") in other.reporter.heard


@pytest.mark.slow
def test_a_run_is_indexed_without_its_sources(tiny_recipe, workspace, texts):
    from textmill.stages import pipeline

    asked = recipe_file.load(tiny_recipe)
    pipeline.run(asked, workspace)
    for path in texts.iterdir():
        path.unlink()
    built = stage.build(workspace, "tiny")
    artifact = lineage.read_lineage(workspace.root / built["index"])
    assert [parent["kind"] for parent in artifact.parents] == ["tokens"]
    chain = ancestry.tree(workspace, built["index"], verify=True)
    assert chain["ok"]
    assert [row["kind"] for row in chain["artifacts"]] == ["index", "tokens", "corpus", "tokenizer", "corpus"]
    samples = trace.trace(workspace, "tiny")["texts"]
    assert [sample["text"].startswith("the mill") for sample in samples] == [True]
    assert not any("prepared again" in note for note in workspace.reporter.notes)


def test_what_a_run_was_trained_on_may_be_made_again(tiny_recipe, workspace):
    from textmill.stages.runs import train

    asked = recipe_file.load(tiny_recipe)
    train.train(dataclasses.replace(asked, training=dataclasses.replace(asked.training, steps=1)), workspace)
    before = stage.build(workspace, "tiny")
    for kind in ("tokens", "index"):
        shutil.rmtree(workspace.root / kind)
    assert stage.build(workspace, "tiny") == before
    assert any("prepared again" in note for note in workspace.reporter.notes)


def test_a_traced_text_names_its_documents(parted, workspace):
    target, documents = parted
    document = next(d for d in documents if not d.text.isascii())
    other = next(d for d in documents if d.text.isascii())
    copied, words = document.text[3:18], " ".join(other.text.split()[3:15])
    text = f"Quoting: {copied} — and then: {words} zzz"
    [result] = trace.trace(workspace, target, text)["texts"]
    assert result["text"] == text
    found = {row["text"]: row for row in result["spans"]}
    for part, owner in ((copied, document), (words, other)):
        span = max(found.values(), key=lambda row: len(_common(row["text"], part)))
        assert len(_common(span["text"], part)) >= len(part) - 4
        assert text[span["start"] : span["end"]] == span["text"]
        assert owner.id in [row["document"] for row in span["found_in"]]
        assert span["count"] >= 1
    assert 0 < result["covered"] <= result["tokens"]


def _common(text, part):
    return max((part[:n] for n in range(len(part) + 1) if part[:n].strip() in text), key=len)


@pytest.mark.figures
def test_trace_is_quick(parted, workspace):
    target, documents = parted
    trace.trace(workspace, target, "warm")
    begin = time.perf_counter()
    trace.trace(Workspace(workspace.root, Listener()), target, documents[0].text * 5)
    assert time.perf_counter() - begin < 0.5


def test_what_is_common_is_shown_as_common(parted, workspace, capsys):
    target, documents = parted
    number = sum(document.text.count("the mill") for document in documents)
    result = trace.trace(workspace, target, "the mill")
    [row] = result["texts"]
    assert (row["spans"], row["covered"]) == ([], 0)
    assert [(span["text"], span["count"]) for span in row["common"]][:1] == [("the mill", number)]
    show.traces(result)
    said = capsys.readouterr().out
    assert "searched for" in said
    assert "common" in said
    assert f"{number} times" in said
    show.traces(trace.trace(workspace, target, "xylophone quartet zanzibar", shortest=2))
    assert "searched for spans of 2 tokens and more: none" in capsys.readouterr().out


def test_spans_begin_and_end_without_colours(capsys):
    span = {
        "start": 2,
        "end": 5,
        "text": "cde",
        "tokens": 3,
        "bits": 9.0,
        "count": 1,
        "documents": 1,
        "found_in": [],
    }
    row = {"text": "abcdefg", "tokens": 7, "covered": 3, "seconds": 0.0, "spans": [span], "common": []}
    show.traces({"shortest": 3, "texts": [row]})
    assert "ab[1]cde[/1]fg" in capsys.readouterr().out


def test_odd_texts_can_be_traced(parted, workspace):
    target, _ = parted
    for text in ("", "\ud800", "\x00", "😀" * 40, "磨"):
        [result] = trace.trace(workspace, target, text)["texts"]
        assert result["spans"] == []


def test_mistakes_are_said(parted, workspace, texts):
    target, _ = parted
    for call, kind, message in (
        (lambda: stage.build(workspace, target, part="exam"), RecipeError, "not a split of a corpus"),
        (lambda: stage.build(workspace, "nothing"), TextmillError, "no such run"),
        (lambda: stage.build(workspace, "nothing.toml"), RecipeError, "no such recipe"),
        (lambda: stage.count(workspace, target, [""]), TextmillError, "empty text"),
        (lambda: trace.trace(workspace, target), TextmillError, "no text to trace"),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_a_damaged_index_is_made_again(parted, workspace):
    target, _ = parted
    opened = stage.open_index(workspace, target)
    path = opened.artifact.path / "shard-00000" / "suffixes.bin"
    data = path.read_bytes()
    before = stage.count(workspace, target, ["mill"])["counts"][0]["count"]
    assert before > 0
    for damage in (lambda: path.write_bytes(data[: len(data) // 2]), path.unlink):
        damage()
        assert stage.count(workspace, target, ["mill"])["counts"][0]["count"] == before
        assert path.read_bytes() == data
        Index(opened.artifact.path).verify()


@pytest.mark.slow
def test_from_the_command_line(tiny_recipe, textmill):
    built = json.loads(textmill("index", "build", tiny_recipe, "--json").stdout)
    assert built["tokens"] > 0
    result = textmill("index", "count", tiny_recipe, "mill", "river", "-q")
    assert "mill" in result.stdout
    assert json.loads(textmill("index", "count", tiny_recipe, "mill", "--json", "-q").stdout)["counts"]
    shown = textmill("index", "search", tiny_recipe, "water into", "--limit", 2, "-q").stdout
    assert shown.count(".txt") == 2
    place = json.loads(textmill("index", "search", tiny_recipe, "water into", "--json", "-q").stdout)[
        "places"
    ][0]
    text = place["before"] + place["text"] + place["after"]
    shown = textmill("trace", tiny_recipe, text, "-q").stdout
    assert "[1]" in shown
    assert place["document"] in shown
    assert json.loads(textmill("trace", tiny_recipe, text, "--json", "-q").stdout)["texts"][0]["spans"]
    refused = textmill("trace", "nothing", "text", check=False)
    assert (refused.returncode, "no such run" in refused.stderr) == (1, True)
