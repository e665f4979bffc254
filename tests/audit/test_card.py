"""The model card: what is given is in it, what is not leaves no trace, and nothing breaks out of its place."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.audit.card import cell, fenced, render, size, write_card
from textmill.objectives.table import OBJECTIVES

FULL = {
    "name": "mill",
    "summary": "Writes like the standard library.",
    "license": "apache-2.0",
    "language": ["en"],
    "transformers": True,
    "model": {"kind": "decoder", "parameters": 1234567},
    "data": {
        "documents": 1234,
        "bytes": 5_600_000,
        "tokens": 1_400_000,
        "sources": ["python-stdlib", {"place": "notes.txt", "documents": 3, "bytes": 99}],
        "splits": {"train": 1000, "test": 34},
        "skipped": {"too short": 1},
    },
    "training": {"steps": 1000, "hardware": "2 cores"},
    "evaluation": {
        "on": "the test part",
        "table": [
            {"name": "this model", "value": 1.5, "low": 1.4, "high": 1.6, "signature": "bits-per-byte|x"},
            {"name": "xz", "value": 2.1, "low": None, "high": None, "signature": "xz|preset:6"},
        ],
        "perplexity": 12.3456,
    },
    "samples": [{"prompt": "def ", "text": "main():\n    pass"}],
    "generation": {"temperature": 0.8},
    "parity": {
        "ok": True,
        "checks": [
            {"name": "cached decoding", "state": "ok", "max_difference": 1e-6, "why": ""},
            {"name": "compiled", "state": "skipped", "max_difference": None, "why": "not asked for"},
        ],
    },
    "lineage": {"corpus": "0123abcd"},
    "use": "Finishing functions.",
    "limits": ["Python only."],
}


def headings(card: str) -> list[str]:
    return re.findall(r"^#+ .*$", re.sub(r"(?ms)^(`{3,}).*?^\1$", "", card), flags=re.M)


def front(card: str) -> dict:
    lines = card.split("---\n")[1].strip("\n").split("\n")
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}


def test_everything_given_is_in_the_card():
    card = render(FULL)
    for text in (
        "# mill",
        "Writes like the standard library.",
        "| parameters | 1,234,567 |",
        "1,234 documents, 5.6 MB of UTF-8, 1,400,000 tokens.",
        "- notes.txt: 3 documents, 99 bytes",
        "Skipped, with the reason: too short 1.",
        "| steps | 1,000 |",
        "| this model | 1.500 | 1.400 to 1.600 |",
        "| xz | 2.100 | – |",
        "- xz: `xz|preset:6`",
        "def main():\n    pass",
        "temperature 0.8.",
        "| cached decoding | ok | 1.0e-06 |",
        "| compiled | skipped (not asked for) | – |",
        "| corpus | `0123abcd` |",
        "Finishing functions.",
        "- Python only.",
        "每字节 1.500 比特",
        "textmill generate",
        "from transformers import pipeline",
    ):
        assert text in card


def test_the_front_is_what_hugging_face_reads():
    yaml = pytest.importorskip("yaml")
    card = render(FULL)
    data = yaml.safe_load(card.split("---\n")[1])
    assert data == front(card)
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-generation"
    metric = data["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["type"], metric["value"]) == ("bits_per_byte", 1.5)
    huggingface = pytest.importorskip("huggingface_hub")
    read = huggingface.ModelCard(card)
    assert read.data.license == "apache-2.0"
    assert read.data.eval_results[0].metric_value == 1.5


def test_the_card_of_a_tagger_is_not_that_of_a_language_model():
    scores = {
        "on": "the test part",
        "headline": "entity F1",
        "better": "higher",
        "table": FULL["evaluation"]["table"],
    }
    more = [{"name": "word accuracy", "value": 0.9, "low": 0.8, "high": 1.0, "signature": "word-accuracy|y"}]
    card = render(
        {
            **FULL,
            "objective": OBJECTIVES["tag"],
            "use": None,
            "samples": [],
            "evaluation": scores | {"more": more},
        }
    )
    for text in (
        "Scored on the test part. Entity F1; higher is better.",
        "| | entity F1 | 95 % interval |",
        "| word accuracy | 0.900 | 0.800 to 1.000 |",
        "- word accuracy: `word-accuracy|y`",
        "entity F1 为 1.500，数值越高越好",
        'pipeline("token-classification"',
    ):
        assert text in card
    for text in ("bits per byte", "Perplexity", "continu", "textmill generate", "续写"):
        assert text not in card.replace("not been taught", "")
    assert front(card)["pipeline_tag"] == "token-classification"
    metric = front(card)["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["type"], metric["name"]) == ("entity_f1", "entity F1")


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=list(OBJECTIVES))
def test_every_objective_has_a_purpose(objective):
    card = render({"name": "some", "objective": objective})
    assert headings(card) == ["# some", "## Intended use", "## Limits", "## How to load it"]
    assert "None" not in card


def test_a_bare_card_has_no_empty_headings():
    card = render({"name": "bare"})
    assert headings(card) == ["# bare", "## Intended use", "## Limits", "## How to load it"]
    assert "license" not in front(card)
    assert "transformers" not in card


@settings(max_examples=80, deadline=None)
@given(st.sets(st.sampled_from(sorted(set(FULL) - {"name"}))))
def test_no_heading_is_empty_whatever_is_left_out(left_out):
    card = render({key: value for key, value in FULL.items() if key not in left_out})
    body = card.split("---\n", 2)[2]
    for section in re.split(r"(?m)^#+ .*$", body)[1:]:
        assert section.strip()
    assert "None" not in card
    assert "\n\n\n" not in card


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_out_of_its_place(text):
    info = {
        **FULL,
        "name": text,
        "summary": text,
        "license": text or "x",
        "model": {text: text},
        "samples": [{"prompt": text, "text": "```\n# no heading"}],
    }
    card = render(info)
    assert front(card)["license"] == (text or "x")
    assert headings(card)[1:] == headings(render(FULL))[1:]
    table = card.split("## Model")[1].split("## Intended")[0]
    assert [line.count(" | ") for line in table.strip().split("\n")[2:]] == [1]


def test_words_for_values():
    assert cell(1234567) == "1,234,567"
    assert cell(True) == "yes"
    assert cell({"a": 1, "b": [2, 3]}) == "a 1, b 2, 3"
    assert cell("a|b\n<c>") == r"a\|b \<c\>"
    assert [size(n) for n in (0, 999, 1000, 5_600_000, 2.5e9, 3e12)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "5.6 MB",
        "2.5 GB",
        "3 TB",
    ]
    assert fenced("a```b") == "````text\na```b\n````"


def test_the_card_is_a_file(tmp_path):
    write_card(tmp_path, FULL)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == render(FULL)
