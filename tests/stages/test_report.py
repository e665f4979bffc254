"""The page of a run: everything is there, bounded, and what people wrote stays text."""

from __future__ import annotations

from pathlib import Path

import pytest

from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.base.language import speaking
from textmill.stages import report
from textmill.stages.runs import chart
from textmill.stages.workspace.workspace import Workspace

HOSTILE = "<script>alert('x')</script>\"&"


def gathered(text: str = "plain", steps: int = 50) -> dict:
    """What a page is made of, with this text wherever a person's words may be."""
    size = {"documents": 3, "bytes": 2000}
    score = {"value": 2.5, "low": 2.25, "high": 2.75}
    evaluated = {
        "on": text,
        "headline": "bits per byte",
        "table": [{"name": text, **score}, {"name": "unigram", "value": 4.125}],
        "details": {text: score},
        "samples": [{"prompt": text, "text": text, "truth": text}],
        "documents": 3,
        "targets": 1200,
        "bytes": 4000,
    }
    run = {
        "name": text,
        "state": text,
        "step": steps,
        "steps": steps,
        "best_validation": 1.5,
        "headline": "bits per byte",
        "score": 2.5,
        "seconds": 75.0,
        "start": f"{text} after step 7",
        "forgotten": [text],
        "curves": {
            "training": [(step, 5 - step / steps) for step in range(1, steps + 1)],
            "validation": [(steps // 2, 4.75), (steps, 4.5)],
        },
        "events": [{"time": "now", "event": "saved", "step": at} for at in range(99)]
        + [{"time": "now", "event": text, text: text}],
        "report": evaluated,
    }
    corpus = {
        **dict.fromkeys(("read", "kept", "skipped"), size),
        "splits": {text: size},
        "reasons": [{"step": text, "reason": text, "documents": 1, "bytes": 10}],
        "personal": {text: {"found": 4, "documents": 2}},
        "languages": {text: size},
    }
    return {
        "run": run,
        "unit": "nats per token",
        "rates": [(step, 0.01) for step in range(1, steps + 1)],
        "environment": {"cpu": text, "textmill": "1", "torch": "2", "gpus": [text]},
        "corpus": {"report": corpus, "path": "kept/corpus"},
        "lineage": [
            {
                "depth": 1,
                "kind": text,
                "id": "a" * 32,
                "path": "kept/corpus",
                "start": f"{text} after step 7",
            }
        ],
        "recipe": f"name = '{text}'",
    }


def test_everything_is_on_the_page():
    made = report.render(gathered(), Path("kept/runs/mine"))
    for words in (
        "2.500",
        "2.250 – 2.750",
        "unigram",
        "4.125",
        "nats per token",
        "1 min 15 s",
        "Learning rate",
        "aaaa",
    ):
        assert words in made
    assert "../../corpus" in made
    assert "saved" not in made
    assert made.count("<svg") == 3  # loss, learning rate, baselines


def test_what_people_wrote_stays_text(tmp_path):
    made = report.render(gathered(HOSTILE), tmp_path)
    assert "<script" not in made
    assert made.count("&lt;script&gt;") > 20


def test_what_is_missing_is_said(tmp_path):
    bare = gathered()
    bare["run"] |= {"report": None, "score": None, "best_validation": None, "start": None, "forgotten": []}
    bare["run"]["curves"] = {"training": [], "validation": []}
    made = report.render(bare | {"corpus": None, "lineage": [], "rates": []}, tmp_path)
    assert "not evaluated yet" in made
    assert "its corpus no longer exists" in made
    assert "<svg" not in made
    assert "None" not in made


def test_a_long_run_gives_a_small_page(tmp_path):
    short, long = (len(report.render(gathered(steps=steps), tmp_path)) for steps in (2_000, 60_000))
    assert long < 1.5 * short < 300_000


@pytest.mark.parametrize("peak", [3, 4321, 9_998])
def test_a_thinned_line_keeps_its_ends_and_peaks(peak):
    points = [(at, 100.0 if at == peak else float(at % 7)) for at in range(10_000)]
    thin = chart.thinned(points, 200)
    assert len(thin) <= 200
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert points[peak] in thin
    assert thin == sorted(thin)
    assert chart.thinned(points[:50], 200) == points[:50]


def test_in_chinese_a_page_says_so(tmp_path):
    with speaking("zh"):
        made = report.render(gathered(), tmp_path)
    assert 'lang="zh"' in made
    assert "纳特/词元" in made
    assert "nats per token" not in made


def test_a_file_that_is_there_is_never_replaced(tmp_path):
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(RecipeError, match="already exists"):
        report.write(Workspace(tmp_path / "work", Silent()), "run", tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "mine"
