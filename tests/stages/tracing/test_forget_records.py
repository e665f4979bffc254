"""A file of records is forgotten as its corpus reads it: by columns, without a header, in a format of its own."""

from __future__ import annotations

import json

import pytest

from textmill.base.console import Silent
from textmill.specs import recipe_file
from textmill.stages.preparation.prepare import prepare
from textmill.stages.tracing import holdings
from textmill.stages.workspace.workspace import Workspace

CHAT = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("data", "source", "count"),
    [
        (
            "one mill\tgood\nanother\tbad\n",
            {"format": "table", "header": False, "columns": {"text": 1, "label": 2}},
            2,
        ),
        (json.dumps(CHAT) + "\n", {"format": "chat"}, 1),
        ("one O\nmill O\n\nand O\n", {"format": "conll"}, 2),
    ],
)
def test_what_a_file_holds_is_read_as_its_corpus_reads_it(tmp_path, monkeypatch, data, source, count):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.data").write_text(data)
    recipe = recipe_file.build(
        {
            "name": "records",
            "corpus": {
                "sources": [{"kind": "files", "paths": ["a.data"], **source}],
                "split": {"validation": 0, "test": 0},
                "steps": [],
            },
            "tokenizer": {"kind": "bytes"},
        },
        base=tmp_path,
    )
    prepared = prepare(recipe, Workspace(tmp_path / "work", Silent()))
    there = {document.id for document in prepared.corpus.documents("train")}
    assert len(there) == count
    (tmp_path / "elsewhere.data").write_text(data)
    found = holdings.in_file(str(tmp_path / "elsewhere.data"), [prepared.prepared.corpus])
    assert there <= {document.id for document in found}
