"""How much memory a document that is one long line costs: what the data card and `check` say is enough."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from textmill.text.corpus.tally import HELD

RECIPE = """
name = "line"
corpus = {{ sources = [{{ kind = "files", paths = ["{name}.txt"] }}], split = {{ validation = 0, test = 0 }} }}
tokenizer = {{ kind = "bytes" }}
model = {{ d_model = 16, layers = 1, heads = 1, d_ff = 16, context = 32 }}
training = {{ steps = 1, batch = 1 }}
"""
PEAK = """
import resource, sys
from textmill.cli.main import main
sys.argv = ["textmill", "prepare", sys.argv[1], "--quiet"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


@pytest.mark.slow
def test_an_unbroken_line_costs_no_more_than_is_said(tmp_path):
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(3000)]
    peaks = {}
    for name, size in (("small", 400_000), ("large", 6_400_000)):
        text = " ".join(draw.choices(words, k=size // 4))[:size]
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(name=name))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, f"{name}.toml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[name] = 1024 * int(done.stdout.split()[-1])
    assert peaks["large"] - peaks["small"] <= 1.1 * HELD * 6_000_000
