"""Every planted fault is skipped at its exact place, and nothing else is."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from textmill.specs.corpus import CorpusSpec, FilesSource
from textmill.text.corpus import build
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import PARTS

_SPEC = importlib.util.spec_from_file_location("messy_folder", Path(__file__).with_name("messy_folder.py"))
messy_folder = importlib.util.module_from_spec(_SPEC)
__import__("sys").modules["messy_folder"] = messy_folder
_SPEC.loader.exec_module(messy_folder)


@pytest.mark.parametrize(
    ("records", "faults"), [(3000, 300), pytest.param(100_000, 1500, marks=pytest.mark.slow)]
)
def test_every_fault_is_set_aside_at_its_place(tmp_path, records, faults):
    messy, out = tmp_path / "messy", tmp_path / "out"
    messy.mkdir()
    out.mkdir()
    planted = messy_folder.make(messy, records=records, faults=faults, seed=records)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if path != out}
    report = build.build(
        out, CorpusSpec(sources=(FilesSource(paths=("messy",)),)), tmp_path, tmp_path / "parts"
    )
    aside = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    places = [item["source"] for item in aside]
    assert len(places) == len(set(places))
    assert set(places) == planted.faults
    assert all(item["reason"] for item in aside)
    repeated = {item["source"] for item in aside if item["step"] == "exact-duplicates"}
    assert repeated == planted.duplicates
    kept = [document for part in PARTS for document in Corpus(out).documents(part)]
    assert len(kept) == planted.sound == report["kept"]["documents"]
    assert report["read"]["documents"] == report["kept"]["documents"] + len(aside)
    # nothing was changed, and nothing written outside the output
    after = {path: path.lstat().st_mtime_ns for path in before}
    assert after == before
    assert set(os.listdir(tmp_path)) == {"messy", "out", "parts"}
