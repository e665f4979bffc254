"""The same sources give the same corpus, whichever of the optional extras are installed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from email.message import EmailMessage

import pytest

# Every package of an extra that something could import on the way to a corpus.
EXTRAS = (
    *(
        "fastwarc",
        "ftfy",
        "huggingface_hub",
        "lxml",
        "nltk",
        "opencc",
        "py3langid",
        "pypdfium2",
        "ray",
        "rensa",
    ),
    *("rjieba", "sentencepiece", "sklearn", "spacy", "trafilatura", "transformers"),
)
BUILD = """
import sys
from pathlib import Path
for name in sys.argv[2:]:
    sys.modules[name] = None  # as if it were not installed
from textmill.base.files import sha256_file
from textmill.specs.cleaning import *
from textmill.specs.corpus import CorpusSpec, FilesSource
from textmill.text.corpus import build
steps = (
    *CorpusSpec(sources=()).steps, BoilerplateStep(), GopherStep(), NearDuplicatesStep(), SubstringsStep(least=20),
    PersonalDataStep(action="redact"),
)
out = Path(sys.argv[1])
out.mkdir()
spec = CorpusSpec(sources=(FilesSource(paths=("in",)),), steps=steps)
report = build.build(out, spec, Path.cwd(), out.with_name(out.name + "-parts"), run=build.here)
print(sha256_file(out / "manifest.json"), report["read"]["documents"], report["kept"]["documents"])
"""
WORDS = [
    f"{one}{two}"
    for one in ("mill", "the", "with", "have", "bread")
    for two in ("", "er", "ing", "s", "ed", "y")
]


@pytest.fixture
def folder(tmp_path):
    """Pages, mail, records, text in two languages: broken ones among them."""
    place, draw = tmp_path / "in", random.Random(1)
    place.mkdir()
    for number in range(12):
        said = " ".join(draw.choices(WORDS, k=120)) + f" and {number} carts came. 磨坊主记下了小麦。"
        page = f"<html lang=en><title>p{number}</title><nav>menu</nav><p>{said}<ul><li>one<li>two<table><tr><td>a<td>b"
        (place / f"{number}.html").write_text(page + ("</table>" if number % 2 else "<div><p>never closed"))
        (place / f"{number}.txt").write_text(f"{said}\nwrite to me{number}@example.org\n", encoding="utf-8")
        (place / f"{number}.jsonl").write_text(json.dumps({"text": said.upper()}) + "\n{broken\n")
        mail = EmailMessage()
        mail["Subject"] = f"carts {number}"
        mail.set_content("plain")
        mail.add_alternative(f"<p>{said} <b>by mail</b>", subtype="html")
        (place / f"{number}.eml").write_bytes(mail.as_bytes())
    return tmp_path


def test_a_corpus_does_not_depend_on_the_extras(folder):
    def made(name, *missing):
        done = subprocess.run(
            [sys.executable, "-c", BUILD, name, *missing],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    everything, nothing = made("with"), made("without", *EXTRAS)
    assert everything == nothing
    assert int(everything[2]) >= 12
