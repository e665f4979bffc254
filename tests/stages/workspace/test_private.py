"""What is made from a person's text is theirs alone; what is made to be handed on has the modes they give."""

from __future__ import annotations

import os
import stat

import pytest


@pytest.fixture
def mask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(root):
    return {
        path.relative_to(root).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in sorted(root.rglob("*"))
    }


def test_a_whole_workspace(tmp_path, tiny_recipe, textmill, mask):
    textmill("run", tiny_recipe)
    textmill("index", "build", "tiny")
    textmill("forget", tmp_path / "texts/000.txt", "--yes")
    textmill("train", tiny_recipe, "--set", "training.steps=6", "--fork", "longer", check=False)
    textmill("export", "tiny", "gguf", tmp_path / "tiny.gguf")
    found = modes(tmp_path / "work")
    model = {name for name in found if name.startswith("runs/tiny/model")}
    assert len(model) > 5
    assert len(found) - len(model) > 50
    for name, mode in found.items():
        folder = (tmp_path / "work" / name).is_dir()
        wanted = (0o755 if folder else 0o644) if name in model else (0o700 if folder else 0o600)
        assert mode == wanted, f"{name}: {mode:o}"
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "tiny.gguf").stat().st_mode) == 0o644


def test_half_made_is_private_too(tmp_path, mask):
    from textmill.base import files

    with files.atomic_directory(tmp_path / "model", private=False) as partial:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o755
    with files.atomic_file(tmp_path / "corpus"):
        [half] = tmp_path.glob(".partial-*")
        assert stat.S_IMODE(half.stat().st_mode) == 0o600
