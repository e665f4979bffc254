"""A name means one run or one model, however it is typed; what means two things is an error that names both."""

from __future__ import annotations

import json
import os

import pytest

from textmill.base.console import Silent
from textmill.base.errors import TextmillError
from textmill.stages.workspace import models_folder
from textmill.stages.workspace.locate import check_named, locate, locate_model, locate_run, names
from textmill.stages.workspace.models_folder import ModelsFolder
from textmill.stages.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent(), ModelsFolder(tmp_path / "models"))


def put_run(workspace, name, *, published=False):
    run = workspace.run(name)
    run.path.mkdir(parents=True)
    run.recipe_file.write_text(f'name = "{name}"\n')
    if published:
        put_model(run.model)
    return run


def put_model(path, name="config.json"):
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("{}")
    return path


def test_a_run_by_name_folder_or_model(workspace, monkeypatch, tmp_path):
    run = put_run(workspace, "poems", published=True)
    for target in ("poems", str(run.path), str(run.model), str(run.path / "recipe.toml")):
        found = locate(workspace, target)
        assert (found.run, found.model) == (run, run.model)
        assert locate_run(workspace, target).path.samefile(run.path)
        assert locate_model(workspace, target) == run.model
    monkeypatch.chdir(workspace.root / "runs")
    assert locate(workspace, "poems").model == run.model  # the name and the path mean the same


def test_a_model_by_name_or_path(workspace):
    folder = put_model(workspace.models.path / "bert")
    gguf = put_model(workspace.models.path / "chat", "Chat-Q4.gguf") / "Chat-Q4.gguf"
    (workspace.models.path / "single.gguf").write_text("")
    for target, model in (
        ("bert", folder),
        (str(folder), folder),
        ("chat", gguf),
        (str(gguf.parent), gguf),
        (str(gguf), gguf),
        ("single", workspace.models.path / "single.gguf"),
        ("single.gguf", workspace.models.path / "single.gguf"),
    ):
        found = locate(workspace, target)
        assert (found.run, found.model) == (None, model)
    assert names(workspace) == ["bert", "chat", "single.gguf"]


def test_a_model_in_several_files_is_its_first(workspace):
    for part in (1, 2):
        put_model(workspace.models.path / "big", f"big-0000{part}-of-00002.gguf")
    assert locate_model(workspace, "big").name == "big-00001-of-00002.gguf"


def test_several_models_in_one_folder_are_named(workspace):
    for name in ("q4.gguf", "q8.gguf"):
        folder = put_model(workspace.models.path / "both", name)
    with pytest.raises(TextmillError, match=r"holds several models: q4\.gguf, q8\.gguf"):
        locate(workspace, "both")
    assert locate(workspace, str(folder / "q8.gguf")).model == folder / "q8.gguf"


def test_a_name_of_two_things_names_both(workspace, monkeypatch, tmp_path):
    run = put_run(workspace, "poems")
    model = put_model(workspace.models.path / "poems")
    with pytest.raises(TextmillError) as error:
        locate(workspace, "poems")
    assert str(run.path) in error.value.what
    assert str(model) in error.value.what
    assert locate_run(workspace, "poems") == run  # only one of them is a run
    assert locate(workspace, str(run.path)).run == run
    put_model(tmp_path / "here" / "other")
    put_run(workspace, "other")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(TextmillError, match="is the name of"):
        locate(workspace, "other")
    assert locate(workspace, os.path.join(".", "other")).run is None


def test_a_folder_that_is_no_model_does_not_hide_a_run(workspace, monkeypatch, tmp_path):
    run = put_run(workspace, "poems")
    (tmp_path / "poems").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate(workspace, "poems").run == run
    check_named(workspace, "poems")


def test_nothing_of_this_name_says_the_nearest(workspace, monkeypatch):
    put_run(workspace, "poems")
    put_model(workspace.models.path / "bert")
    for target, advice in (
        ("poem", "did you mean poems?"),
        ("bret", "did you mean bert?"),
        ("minilm-l6-v2", "`textmill models get minilm-l6-v2` fetches it"),
        ("minilm", "did you mean minilm-l6-v2?"),
        ("xyzzy", "there are bert, poems"),
    ):
        with pytest.raises(TextmillError, match="no such run or model") as error:
            locate(workspace, target)
        assert advice in error.value.advice
    with pytest.raises(TextmillError, match="did you mean poems"):
        locate_run(workspace, "poem")
    with pytest.raises(TextmillError, match="a model that belongs to no run"):
        locate_run(workspace, "bert")
    monkeypatch.chdir(workspace.run("poems").path)
    with pytest.raises(TextmillError, match="no such run or model"):
        locate(workspace, "xyzzy")  # standing in a run does not make every name that run


def test_a_relative_path_starts_where_it_is_said(workspace, tmp_path):
    model = put_model(tmp_path / "recipes" / "base")
    assert locate(workspace, "base", base=tmp_path / "recipes").model == model


def test_what_is_half_made_is_no_run_and_no_model(workspace):
    put_run(workspace, "poems").path.rename(workspace.root / "runs" / ".partial-gone-poems-1")
    put_model(workspace.models.path / ".partial-bert-1")
    assert names(workspace) == []


def test_the_models_folder_is_the_persons(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTMILL_MODELS", str(tmp_path / "here"))
    assert models_folder.default_folder() == tmp_path / "here"
    monkeypatch.delenv("TEXTMILL_MODELS")
    monkeypatch.setattr(models_folder.sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "relative is ignored")
    assert models_folder.default_folder() == tmp_path / ".local/share/textmill/models"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert models_folder.default_folder() == tmp_path / "data/textmill/models"
    monkeypatch.setattr(models_folder.sys, "platform", "darwin")
    assert models_folder.default_folder() == tmp_path / "Library/Application Support/textmill/models"


def test_every_command_takes_a_model_of_the_folder(textmill, tmp_path):
    """What is in it is no model, and each says so of that directory: so each has found it by its name."""
    folder = tmp_path / "models" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "none"}))
    for command in (
        ["generate", "broken", "x"],
        ["chat", "broken", "-m", "x"],
        ["embed", "broken", "x"],
        ["evaluate", "broken", "--file", folder / "config.json"],
        ["verify", "broken"],
        ["export", "broken", "gguf", tmp_path / "x.gguf"],
        ["ngram", "export", "broken", tmp_path / "x.arpa"],
    ):
        result = textmill(*command, check=False, TEXTMILL_MODELS=str(tmp_path / "models"))
        assert result.returncode in (1, 2)
        assert str(folder) in result.stderr, (command, result.stderr)
        assert "Traceback" not in result.stderr
