"""The recipe `textmill recipe new` writes, for every objective: its default steps and split suit each kind of data."""

from __future__ import annotations

import json
import math
from typing import get_args

import pytest

from helpers import record_files
from textmill.specs.objective import ObjectiveSpec

FAMILIES = {spec().kind: spec.families[0] for spec in get_args(ObjectiveSpec)}
SMALL = "d_model=32, layers=1, context=64"


FAST = ("causal", "chat", "tag")  # every one is walked in objectives/test_completeness.py


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in FAST else pytest.mark.slow) for kind in FAMILIES]
)
def test_a_new_recipe_serves_every_objective(kind, tmp_path, textmill):
    written = record_files.write(tmp_path / "data.jsonl", kind)
    textmill("recipe", "new", "mine.toml", "--corpus", "data.jsonl")
    settings = [f"model={{kind='{FAMILIES[kind]}', {SMALL}}}", f"objective.kind='{kind}'", "training.steps=2"]
    if kind == "spans":
        settings.append("tokenizer.sentinels=8")
    if kind == "chat":
        settings.append("corpus.sources=[{kind='files', paths=['data.jsonl'], format='chat'}]")
    asked = ["mine.toml", *(word for setting in settings for word in ("--set", setting))]
    prepared = json.loads(textmill("prepare", *asked, "--json").stdout)
    corpus = prepared["corpus"]
    assert corpus["kept"]["documents"] == corpus["read"]["documents"] == written, corpus["reasons"]
    assert all(part["documents"] for part in corpus["splits"].values()), corpus["splits"]
    textmill("check", *asked)
    textmill("train", *asked)
    report = json.loads(textmill("evaluate", "mine", "--json").stdout)
    assert report["objective"] == kind
    assert report["scores"]
    assert all(math.isfinite(score) for score in report["scores"].values()), report["scores"]
