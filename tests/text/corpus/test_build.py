"""Preparing in parallel: the same corpus whoever makes its units, and however often they are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from textmill.base import schema
from textmill.base.errors import TextmillError
from textmill.base.files import sha256_file, write_json
from textmill.specs.cleaning import ExactDuplicatesStep, LengthStep, RepairStep, WhitespaceStep
from textmill.specs.corpus import CorpusSpec, FilesSource
from textmill.text.corpus import build as engine
from textmill.text.corpus import units
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.forgotten import Forgotten
from textmill.text.corpus.split import PARTS

# Corpus steps in the middle and at the end, so that there is a phase of each kind.
STEPS = (RepairStep(), ExactDuplicatesStep(), WhitespaceStep(), LengthStep(least=4), ExactDuplicatesStep())


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A folder of files with duplicates, some only after cleaning, and things that cannot be read."""
    draw = random.Random(1)
    (tmp_path / "in").mkdir()
    for number in range(24):
        lines = [f"line {draw.randrange(40)} of the mill   " * draw.randrange(1, 4) for _ in range(8)]
        rows = [json.dumps({"text": line if draw.random() < 0.9 else "x"}) for line in lines]
        (tmp_path / "in" / f"{number:02}.jsonl").write_text("\n".join([*rows, "{broken"]) + "\n")
    monkeypatch.setattr(units, "_UNIT_FILES", 2)
    return tmp_path


def build(base, name, **options):
    out = base / name
    out.mkdir()
    spec = CorpusSpec(sources=(FilesSource(paths=("in",)),), steps=STEPS)
    report = engine.build(out, spec, base, base / f"{name}-parts", **options)
    return report, sha256_file(out / "manifest.json")


@pytest.mark.slow
@pytest.mark.long
def test_any_number_of_processes_gives_the_same_corpus(base):
    alone, first = build(base, "alone", run=engine.here)
    assert alone["read"]["documents"] == 24 * 9
    reasons = {(row["step"], row["reason"]): row["documents"] for row in alone["reasons"]}
    assert reasons["read", "is not valid JSON"] == 24
    assert len([step for step, _ in reasons if step == "exact-duplicates"]) == 1
    assert build(base, "two", run=engine.processes(2))[1] == first
    assert build(base, "three", run=engine.processes(3))[1] == first
    texts = [document.text for part in PARTS for document in Corpus(base / "alone").documents(part)]
    assert len(texts) == len(set(texts)) == alone["kept"]["documents"]


def test_units_do_not_depend_on_who_asks(base):
    spec = CorpusSpec(sources=(FilesSource(paths=("in",)),), steps=STEPS)
    plan = units.cut(spec, base)
    assert len(plan.units) == 12
    (base / "parts").mkdir()
    units.save(plan, base / "parts")
    again = units.load(base / "parts")
    assert (again.units, again.spec, again.base) == (plan.units, spec, base)
    assert [bool(phase.sketch) for phase in plan.phases] == [True, True, False]


def test_finished_units_are_not_made_again(base):
    spec = CorpusSpec(sources=(FilesSource(paths=("in",)),), steps=STEPS)
    made = []

    def stopping(parts, jobs):
        for job in engine.here(parts, jobs):
            made.append(job)
            if len(made) == 5:
                raise KeyboardInterrupt
            yield job

    with pytest.raises(KeyboardInterrupt):
        (base / "out").mkdir()
        engine.build(base / "out", spec, base, base / "again-parts", run=stopping)

    def counting(parts, jobs):
        made.extend(jobs)
        return engine.here(parts, jobs)

    _, resumed = build(base, "again", run=counting)
    assert len(made) == len(set(made)) == 24  # two phases of twelve units; the last writes the corpus
    assert resumed == build(base, "whole", run=engine.here)[1]


def test_forgotten_documents_leave_nothing_behind(base):
    _, whole = build(base, "whole", run=engine.here)
    gone = next(iter(Corpus(base / "whole").documents("train")))
    report, without = build(base, "without", run=engine.here, forgotten=Forgotten(ids=frozenset([gone.id])))
    assert without != whole
    assert gone.id not in {d.id for part in PARTS for d in Corpus(base / "without").documents(part)}
    (row,) = [row for row in report["reasons"] if row["step"] == "forget"]
    assert row["documents"] >= 1
    assert all("excerpt" not in sample or not sample["excerpt"] for sample in row["samples"])


def test_a_process_that_dies_is_told_of(base, monkeypatch):
    monkeypatch.setattr(engine.sys, "executable", "false")
    with pytest.raises(TextmillError, match="ended unexpectedly"):
        build(base, "dead", run=engine.processes(2))


KILLED = """
import sys
from pathlib import Path
from textmill.base import schema
from textmill.specs.corpus import CorpusSpec
from textmill.base.files import read_json
from textmill.text.corpus import build as engine
from textmill.text.corpus import units
units._UNIT_FILES = 2
base = Path(sys.argv[1])
(base / "killed").mkdir(exist_ok=True)
spec = schema.read(CorpusSpec, read_json(base / "spec.json"))
engine.build(base / "killed", spec, base, base / "killed-parts", run=engine.processes(2))
"""


@pytest.mark.long
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(base, kills):
    _, undisturbed = build(base, "undisturbed", run=engine.here)
    spec = CorpusSpec(sources=(FilesSource(paths=("in",)),), steps=STEPS)
    write_json(base / "spec.json", schema.write(spec))
    draw, finished = random.Random(kills), 0
    while kills or not finished:
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(base)], start_new_session=True)
        try:
            process.wait(timeout=draw.uniform(0.4, 1.6) if kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills -= 1
            continue
        assert process.returncode == 0
        assert sha256_file(base / "killed" / "manifest.json") == undisturbed
        finished += 1
        engine.clear(base / "killed-parts")  # from the beginning, so that there is something to kill


@pytest.mark.slow
def test_a_local_ray_of_two_workers_gives_the_same_hashes(base):
    pytest.importorskip("ray")
    from textmill.text.corpus import ray_runner

    assert build(base, "ray", run=ray_runner.ray(2))[1] == build(base, "here", run=engine.here)[1]
