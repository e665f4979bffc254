"""Old names of modules give the modules that took their place."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from textmill.base.moved import MOVED, home

OLD = [f"textmill.{room}.{module}" for room, modules in MOVED.items() for module in modules]
SOURCE = Path(__file__).parents[2] / "src/textmill"


@pytest.mark.parametrize("name", OLD)
def test_the_place_of_an_old_name_exists_and_the_old_name_is_free(name):
    place = Path(*name.split(".")[1:])
    assert not (SOURCE / place).with_suffix(".py").exists()
    assert not (SOURCE / place).is_dir()
    assert (SOURCE / Path(*home(name).split(".")[1:])).with_suffix(".py").exists()


def test_an_old_name_is_the_module_of_today():
    sys.modules.pop("textmill.text.chat", None)
    with pytest.warns(
        DeprecationWarning, match=r"textmill\.text\.chat is textmill\.tokenization\.chat\.template now"
    ):
        old = importlib.import_module("textmill.text.chat")
    today = importlib.import_module("textmill.tokenization.chat.template")
    assert old is today
    assert today.__spec__.name == today.__name__ == "textmill.tokenization.chat.template"


def test_no_other_name_is_known():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'textmill\.text\.nothing'"):
        importlib.import_module("textmill.text.nothing")
    assert home("elsewhere.text.chat") is None
    assert home("textmill.text") is None


def test_nothing_in_the_house_uses_an_old_name():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [name for name in OLD if f"from {name} import" in text or f"import {name}\n" in text], path
