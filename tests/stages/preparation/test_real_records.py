"""Real data sets are read by lines of a recipe alone: read = kept + skipped, and what is odd is skipped for that."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from textmill.base.console import Silent
from textmill.specs import recipe_file
from textmill.stages.preparation.prepare import prepare, summary
from textmill.stages.workspace.workspace import Workspace

DATA = Path(__file__).parents[4] / "shared" / "data"
ROWS = 200
ENCODER = {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 512}
PAIRS = {"kind": "encoder-decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64}
DECODER = {"kind": "decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64}
CLASSIFY, TAG, ANSWER, TRANSLATE, TEXT = (
    (ENCODER, {"kind": "classify"}),
    (ENCODER, {"kind": "tag"}),
    (ENCODER, {"kind": "answer"}),
    (PAIRS, {"kind": "pairs"}),
    (DECODER, {"kind": "causal"}),
)
HEADERLESS = {"header": False, "columns": {"text": 1, "label": 2}}
# Files, how they are read, for what. None of it is a program: each line is what a recipe says.
SETS = {
    "sst2": (["train.tsv.gz"], {"columns": {"text": "sentence"}}, CLASSIFY),
    "chnsenticorp": (["train.tsv.gz"], HEADERLESS, CLASSIFY),
    "tnews": (["train.tsv.gz"], HEADERLESS, CLASSIFY),
    "agnews": (["train.tsv.gz"], HEADERLESS, CLASSIFY),
    "thucnews10": (["train.tsv.gz"], HEADERLESS, CLASSIFY),
    "csl-category": (["train.tsv.gz"], HEADERLESS, CLASSIFY),
    "multi30k": (["train.en.txt.gz", "train.de.txt.gz"], {"format": "parallel"}, TRANSLATE),
    "tatoeba-en-zh": (
        ["train.tsv.gz"],
        {"header": False, "columns": {"source": 1, "target": 2, "by": 3}},
        TRANSLATE,
    ),
    "weibo-ner": (["train.conll.gz"], {"format": "conll"}, TAG),
    "wnut17": (["train.conll.gz"], {"format": "conll"}, TAG),
    "squad-mini": (["train.json.gz"], {"format": "squad"}, ANSWER),
    "xquad": (["zh.dev.json"], {"format": "squad"}, ANSWER),
    "cmrc2018": (["dev.json.gz"], {"format": "squad"}, ANSWER),
    "scitldr": (["train.jsonl.gz"], {"metadata_fields": ["paper_id"]}, TRANSLATE),
    "dialogsum": (["dev.jsonl.gz"], {"columns": {"source": "dialogue", "target": "summary"}}, TRANSLATE),
    "csl-title": (["dev.jsonl.gz"], {"columns": {"source": "abstract", "target": "title"}}, TRANSLATE),
    "instruct-en": (["alpaca_2k.jsonl.gz"], {"format": "chat"}, TEXT),
    "instruct-zh": (["alpaca_zh_5k.jsonl.gz"], {"format": "chat"}, TEXT),
    "preference/dpo_en_demo": (["dpo_en_demo.jsonl.gz"], {"format": "preference"}, TEXT),
    "preference/hh_harmless": (["hh_harmless.jsonl.gz"], {"format": "preference"}, TEXT),
    "tool-calls": (["glaive_toolcall_en_demo.jsonl.gz"], {"format": "chat"}, TEXT),
}
# What is odd in the first rows of these, by the README beside them: how many are skipped for it.
ODD = {
    "cmrc2018": {"has an answer that does not occur in the passage"},
    "preference/hh_harmless": {"has an empty chosen answer"},
}


def head(path: Path, target: Path) -> int:
    """The first rows of a file as a file of the same name; how many they are."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as stream:
        text = stream.read()
    if ".json" in path.suffixes:
        data, rows = json.loads(text), 0
        for number, article in enumerate(data["data"], 1):
            rows += sum(len(paragraph["qas"]) for paragraph in article["paragraphs"])
            if rows >= ROWS:
                data["data"] = data["data"][:number]
                break
        text = json.dumps(data, ensure_ascii=False)
    elif ".conll" in path.suffixes:
        blocks, block = [], []
        for line in text.split("\n"):
            if line.strip():
                block.append(line)
            elif block:
                blocks.append("\n".join(block))
                block = []
        blocks, rows = blocks[:ROWS], min(ROWS, len(blocks))
        text = "\n\n".join(blocks) + "\n"
    else:
        kept = text.split("\n")[: ROWS + text.startswith("sentence\t")]
        text, rows = "\n".join(kept) + "\n", ROWS
    with opener(target, "wt", encoding="utf-8", newline="") as stream:
        stream.write(text)
    return rows


@pytest.mark.parametrize("name", SETS)
def test_real_records_are_read_by_a_recipe_alone(name, tmp_path, monkeypatch):
    files, source, (model, objective) = SETS[name]
    folder = DATA / name.partition("/")[0]
    if not folder.is_dir():
        pytest.skip(f"{name} is not here")
    monkeypatch.chdir(tmp_path)
    [rows, *_] = [head(folder / file, tmp_path / file) for file in files]
    recipe = recipe_file.build(
        {
            "name": "real",
            "corpus": {
                "sources": [{"kind": "files", "paths": files, **source}],
                "split": {"validation": 0, "test": 0},
            },
            "tokenizer": {"kind": "bytes"},
            "model": model,
            "objective": objective,
        },
        base=tmp_path,
    )
    result = summary(prepare(recipe, Workspace(tmp_path / "work", Silent())))
    report = result["corpus"]
    counts = {key: report[key]["documents"] for key in ("read", "kept", "skipped")}
    assert counts["read"] == rows == counts["kept"] + counts["skipped"]
    read = {row["reason"]: row["documents"] for row in report["reasons"] if row["step"] == "read"}
    assert read.keys() == ODD.get(name, set()), report["reasons"]
    if result["records"] is not None:
        train = result["records"]["splits"]["train"]
        assert (
            train["read"]
            == counts["kept"]
            == train["records"] + sum(row["records"] for row in train["skipped"].values())
        )
        assert train["records"] > 0.9 * rows - sum(read.values())
    assert result["splits"]["train"]["tokens"] > rows
