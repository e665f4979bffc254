"""What a person sees after a stage."""

from __future__ import annotations

import pytest

from textmill.cli.show import stages

COUNTS = {"documents": 3, "bytes": 30, "tokens": 33}
PREPARED = {
    "splits": {"train": COUNTS},
    "corpus": {
        "read": {"documents": 7},
        "kept": {"documents": 3},
        "skipped": {"documents": 4},
        "personal_action": "redact",
        "personal": {"email": {"found": 2}},
        "reasons": [
            {
                "step": "read",
                "reason": "is not a valid row",
                "documents": 3,
                "samples": [{"source": "a.csv:line 3", "detail": "a quote [in] a\nfield"}, {"source": "b"}],
            },
            {"step": "length", "reason": "is too short", "documents": 1, "samples": [{"source": "c.txt"}]},
        ],
    },
    "records_skipped": {"answer is not in the passage": 2},
    "records_skipped_first": {"answer is not in the passage": "q.jsonl:line 9"},
    "rejected": "work/corpus/1/rejected.jsonl",
    "vocabulary": 300,
    "bytes_per_token": 1.0,
    "artifacts": {"corpus": "work/corpus/1"},
    "card": "card.html",
}


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.setattr(stages._OUT, "_width", 80)

    def call(result):
        stages.prepared(result)
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return call


def test_what_was_skipped_is_named_with_place_detail_and_file(shown):
    lines = shown(PREPARED)
    at = lines.index("3 read: is not a valid row")
    assert lines[at + 1] == "a.csv:line 3: a quote [in] a\\nfield"
    assert lines[at + 2 : at + 4] == ["1 length: is too short", "c.txt"]
    assert lines[at + 4] == "all of them, each with its source: work/corpus/1/rejected.jsonl"
    at = lines.index("records the objective cannot use (skipped)")
    assert lines[at + 1 : at + 3] == ["2 answer is not in the passage", "q.jsonl:line 9"]


def test_nothing_is_said_where_nothing_was_skipped(shown):
    lines = shown(PREPARED | {"corpus": PREPARED["corpus"] | {"reasons": []}, "records_skipped": {}})
    assert not any("rejected.jsonl" in line or "the objective cannot use" in line for line in lines)
