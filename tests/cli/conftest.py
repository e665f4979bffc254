"""A place that commands are tried in."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from conftest import RECIPE, make_texts
from helpers.commands import call

QUESTIONS = {"context": "the mill turns water", "question": "what turns?", "answers": {"text": ["the mill"]}}


@pytest.fixture(scope="session")
def _place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    make_texts(folder / "texts", 40)
    (folder / "tiny.toml").write_text(RECIPE.format(texts=folder / "texts"))
    (folder / "notes.txt").write_text("the mill turns water into flour\n" * 9)
    (folder / "questions.json").write_text(json.dumps(QUESTIONS))
    (folder / "bytes.bin").write_bytes(bytes(range(128, 256)) * 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("TEXTMILL_WORK", raising=False)
        patch.setitem(sys.modules, "transformers", None)
        said = call(["run", "tiny.toml"])
        stored = call(["docs", "add", "notes.txt"])
    assert (said.code, stored.code) == (0, 0), said.err + stored.err
    shutil.copytree(folder / "work/runs/tiny/model", folder / "model")
    broken = folder / "work/runs/broken"
    broken.mkdir()
    (broken / "recipe.toml").write_text("name = [")
    return folder


@pytest.fixture
def place(_place, tmp_path_factory, monkeypatch):
    """The folder one is in: its workspace has a run `tiny`, which is published, and a broken one; there are its recipe
    tiny.toml, its model (model/), notes.txt, questions.json and bytes.bin. It is each test's own, so that what one
    leaves behind hides nothing from the next. Publishing asks no transformers, which takes seconds."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(_place, folder, dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TEXTMILL_WORK", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    yield folder
    shutil.rmtree(folder)
