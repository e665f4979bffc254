"""`textmill data contamination` finds the examples that were planted, and those only."""

from __future__ import annotations

import json
import subprocess
import sys

TEXT = "the miller counted every sack of corn that came down the river before the winter began in earnest"


def run(folder, *arguments):
    command = [sys.executable, "-m", "textmill", *arguments, "--work", str(folder / "work")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_planted_examples_are_found(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"{number}.txt").write_text(
            f"Document {number} says nothing that matters here.\n" * 3
        )
    (tmp_path / "in" / "leak.txt").write_text(
        f"Somebody copied this: {TEXT}. And then went on with other things.\n"
    )
    examples = [
        TEXT,
        "a question that nobody ever wrote into any of the documents of this small corpus at all",
    ]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in examples))
    (tmp_path / "r.toml").write_text(
        'name = "r"\n[corpus]\nsources = [{ kind = "files", paths = ["in"] }]\n'
        'split = { validation = 0, test = 0 }\n[tokenizer]\nkind = "bytes"\n'
    )
    found = run(tmp_path, "data", "contamination", "r.toml", "eval.jsonl", "--json")
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)["sets"].values()
    assert (row["examples"], row["exact"], row["run"], row["near"], row["documents"]) == (2, 1, 0, 0, 1)
    assert row["samples"][0]["source"].endswith("leak.txt")
    shown = run(tmp_path, "data", "contamination", "r.toml", "eval.jsonl")
    assert "found whole" in shown.stdout
    assert "leak.txt" in shown.stdout
    missing = run(tmp_path, "data", "contamination", "r.toml", "nowhere.jsonl")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr
