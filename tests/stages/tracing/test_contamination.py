"""`textmill data contamination` finds the examples that were planted, and those only."""

from __future__ import annotations

import json

TEXT = "the miller counted every sack of corn that came down the river before the winter began in earnest"


def test_planted_examples_are_found(tmp_path, textmill):
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
    found = textmill("data", "contamination", "r.toml", "eval.jsonl", "--json")
    (row,) = json.loads(found.stdout)["sets"].values()
    assert (row["examples"], row["exact"], row["run"], row["near"], row["documents"]) == (2, 1, 0, 0, 1)
    assert row["samples"][0]["source"].endswith("leak.txt")
    shown = textmill("data", "contamination", "r.toml", "eval.jsonl")
    assert "found completely" in shown.stdout
    assert "leak.txt" in shown.stdout
    missing = textmill("data", "contamination", "r.toml", "nowhere.jsonl", check=False)
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr
