"""Real text in every encoding that can write it: none is read wrongly, and the common ones are read."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
DATA = ROOT.parent / "shared" / "data"
# What the writers of these languages used before Unicode: (language, encoding) -> share of pieces read, at least.
COMMON = {
    ("de", "cp1252"): 1.0,
    ("de", "mac-roman"): 0.9,
    ("fr", "cp1252"): 1.0,
    ("en", "cp1252"): 0.7,
    ("zh", "gb18030"): 1.0,
    ("zh", "gbk"): 1.0,
    ("zh-hant", "big5hkscs"): 0.9,
    ("zh", "utf-16-le"): 1.0,
}


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("benchmark_encodings", ROOT / "benchmarks" / "encodings.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
def test_no_real_text_is_read_wrongly_in_any_encoding(measure):
    counts: dict[tuple[str, str], Counter[str]] = {}
    for language, text in measure.texts(DATA):
        for _, piece in measure.pieces(text, 1):
            for encoding in measure.ENCODINGS.split():
                if result := measure.outcome(piece, encoding):
                    counts.setdefault((language, encoding), Counter())[result] += 1
    assert not [key for key, row in counts.items() if row["wrong"]]
    for key, least in COMMON.items():
        if row := counts.get(key):
            assert row["read"] >= least * row.total(), (key, row)
