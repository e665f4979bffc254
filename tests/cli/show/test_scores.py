"""Evaluations on the screen: the headline by its name, whatever was measured."""

from __future__ import annotations

import pytest

from textmill.cli.show import scores, stages

ROW = {"name": "this model", "value": 0.5, "low": 0.25, "high": 0.75, "signature": "x", "n": 3, "unit": ""}
COMMON = {"model": "mill", "on": "the test part", "documents": 3, "targets": 12, "bytes": 1234}


@pytest.fixture
def wide(monkeypatch):
    for module in (stages, scores):
        monkeypatch.setattr(module._OUT, "_width", 200)


def test_a_tagger(capsys, wide):
    baseline = {"entity F1": ROW | {"value": 0.0}, "word accuracy": ROW | {"value": 0.9}}
    stages.scores(
        COMMON
        | {
            "headline": "entity F1",
            "table": [ROW, ROW | {"name": "always 'O'", "value": 0.0}],
            "scores": {"entity_F1": 0.5, "word_accuracy": 0.95},
            "details": {"entity F1": ROW, "word accuracy": ROW | {"value": 0.95}},
            "baselines": {"always 'O'": baseline},
            "confusion": {"B": {"B": 5, "O": 2}, "O": {"B": 7, "O": 90}},
            "examples": [{"question": "who?", "answer": "[red]Ada[/red]", "given": "Ada"}],
        }
    )
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["entity", "F1", "95", "%", "interval"] in lines
    assert ["this", "model", "0.500", "0.250", "to", "0.750"] in lines
    assert ["word", "accuracy", "0.950", "0.250", "to", "0.750", "0.900"] in lines
    assert ["3", "documents,", "12", "targets,", "1.23", "kB"] in lines
    assert lines.index(["O", "B", "7"]) < lines.index(["B", "O", "2"])
    assert "[red]Ada[/red]" in text, "nobody's text is markup"
    assert "bits per byte" not in text


def test_a_language_model(capsys, wide):
    stages.scores(
        COMMON
        | {
            "headline": "bits per byte",
            "table": [ROW],
            "scores": {"bits_per_byte": 0.5, "nats_per_token": 1.25, "perplexity": 3.49},
        }
    )
    text = capsys.readouterr().out
    assert "bits per byte" in text
    assert "1.2500 nats per token, perplexity 3.49, 3 documents, 12 tokens, 1.23 kB" in text


def test_runs_scored_alike_and_not(capsys, wide):
    run = {
        "name": "a",
        "state": "trained",
        "step": 1,
        "steps": 1,
        "loss": 1.0,
        "best_validation": None,
        "seconds": 1,
        "start": None,
        "forgotten": [],
    }
    bits = run | {"headline": "bits per byte", "score": 2.5}
    fresh = run | {"headline": None, "score": None}
    stages.runs([bits, fresh])
    text = capsys.readouterr().out
    assert "bits per byte" in text.splitlines()[0]
    assert "2.500" in text
    stages.runs([bits, run | {"headline": "BLEU", "score": 20.0}])
    text = capsys.readouterr().out
    assert "score" in text.splitlines()[0]
    assert "2.500 bits per byte" in text
    assert "20.000 BLEU" in text
