"""Records of several texts from a file to a store: what is cleaned, kept, found again and forgotten."""

from __future__ import annotations

import json
import unicodedata

import pytest

from textmill.base import schema
from textmill.base.console import Silent
from textmill.base.errors import TextmillError
from textmill.data.examples import ExampleStore
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.prepare import prepare, summary
from textmill.stages.tracing import contamination, forget, holdings
from textmill.stages.workspace.run_data import PARTS
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import collected

ENCODER = {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64}
BOTH = ENCODER | {"kind": "encoder-decoder"}
NAMES = ["Zoë", "Ágnes", "Jürgen", "François"]


def records():
    """Four questions about each of ten passages, the answers written in another Unicode form than the passages."""
    for passage in range(10):
        said = ". ".join(f"{name} lives at mill {passage * 4 + n}" for n, name in enumerate(NAMES)) + "."
        for name in NAMES:
            yield {
                "passage": unicodedata.normalize("NFC", said),
                "question": f"Who lives at mill {passage * 4 + NAMES.index(name)}?",
                "answer": unicodedata.normalize("NFD", name),
                "level": "easy",
            }


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function from an objective to what it is prepared to, from one file of records."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records()))
    workspace = Workspace(tmp_path / "work", Silent())

    def make(objective, model=ENCODER, **corpus):
        recipe = {
            "name": objective["kind"],
            "corpus": {"sources": [{"kind": "files", "paths": [str(path)]}], **corpus},
            "tokenizer": {"vocabulary": 300},
            "model": model,
            "objective": objective,
        }
        return workspace, prepare(schema.read(Recipe, recipe), workspace), path

    return make


def test_forty_questions_about_ten_passages_are_forty_records(made):
    _, data, _ = made({"kind": "answer"})
    corpus = data.corpus
    assert corpus.report["kept"]["documents"] == corpus.report["read"]["documents"] == 40
    assert summary(data)["records_skipped"] == {}
    stores = [ExampleStore(data.prepared.tokens.path / part) for part in PARTS]
    assert (
        sum(map(len, stores)) == len({id for s in stores for id in map(s.document_id, range(len(s)))}) == 40
    )
    first = corpus.get(collected({k: v for k, v in next(records()).items() if k != "level"}, "").id)
    assert first.texts["answer"] == unicodedata.normalize("NFC", NAMES[0])
    assert first.metadata == {"level": "easy"}
    assert list(corpus.report["texts"]) == ["answer", "passage", "question"]


def test_the_recipe_says_which_texts_are_read(made):
    pairs = {"kind": "pairs", "source": "question", "target": "answer"}
    _, data, _ = made(pairs, BOTH)
    store = ExampleStore(data.prepared.tokens.path / "train")
    assert store.fields.keys() == {"source", "target"}
    tokenizer = data.tokenizer
    assert tokenizer.decode(store.field("source", 0)).startswith("Who lives at mill")
    assert data.prepared.corpus.spec["sources"][0]["text_fields"] == ["question", "answer"]
    with pytest.raises(TextmillError, match="each has no field 'source'"):
        made({"kind": "pairs", "target": "answer"}, BOTH)


def test_a_tokenizer_learns_from_every_text(made):
    pairs = {"kind": "pairs", "source": "question", "target": "answer"}
    _, data, _ = made(pairs, BOTH, steps=[{"kind": "unicode"}])
    tokenizer = data.tokenizer
    assert len(tokenizer.encode("François")) < 8, "of answers"
    assert len(tokenizer.encode("Who lives")) < 8, "of questions"


def test_records_are_found_by_their_file_and_forgotten(made):
    workspace, _, path = made({"kind": "answer"})
    asked = next(records())
    one = path.with_name("one.jsonl")
    one.write_text(json.dumps(asked))
    [holding] = holdings.find(workspace, str(one))
    assert holding.source == f"{path}:line 1"
    [gone] = forget.forget(workspace, [str(one)])["documents"]
    assert gone["document"] == holding.document
    again = made({"kind": "answer"})[1].corpus
    assert again.report["kept"]["documents"] == 39
    [reason] = [row for row in again.report["reasons"] if row["step"] == "forget"]
    assert reason["samples"] == [{"source": f"{path}:line 1", "excerpt": ""}]


def test_an_evaluation_question_is_found_in_a_corpus(made, tmp_path):
    workspace, _, path = made({"kind": "answer"}, split={"validation": 0, "test": 0})
    (tmp_path / "recipe.toml").write_text(
        f"""
name = "answer"
model = {{ kind = "encoder", d_model = 16, layers = 1, heads = 2, d_ff = 32, context = 64 }}
objective = {{ kind = "answer" }}
tokenizer = {{ vocabulary = 300 }}
[corpus]
sources = [{{ kind = "files", paths = ["{path}"] }}]
split = {{ validation = 0, test = 0 }}
"""
    )
    asked = [
        {
            "passage": "Another, with none of their words.",
            "question": "Who lives at mill 5?",
            "answer": answer,
        }
        for answer in (NAMES[1], NAMES[2])
    ]
    exam = tmp_path / "exam.jsonl"
    exam.write_text("".join(json.dumps(record) + "\n" for record in asked))
    [row] = contamination.overlap(workspace, str(tmp_path / "recipe.toml"), [exam])["sets"].values()
    assert (row["examples"], row["exact"], row["documents"]) == (2, 1, 1)
    [sample, _] = row["samples"]
    assert (sample["example"], sample["source"]) == (f"{exam}:line 1", f"{path}:line 6")
