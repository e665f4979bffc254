"""The recipes of recipes/tuning as a reader has them, with real models and a few real records, for a few steps.

Each is run to the end and published, where transformers (and peft) load it and compute its logits; verified; and in
another workspace killed after a checkpoint and resumed to the same bytes. TEXTMILL_WEIGHTS names the folder that holds
the models, each under the name that `textmill models get` gives it.
"""

from __future__ import annotations

import gzip
import os
import shutil
from itertools import islice
from pathlib import Path

import pytest

from textmill.base.console import Silent
from textmill.base.files import read_json
from textmill.stages import pipeline
from textmill.stages.preparation import starting
from textmill.stages.release.verify import verify
from textmill.stages.runs import session
from textmill.stages.runs.train import train
from textmill.stages.workspace.models_folder import ModelsFolder
from textmill.stages.workspace.workspace import Workspace
from textmill.training import checkpoint

RECIPES = Path(__file__).parents[3] / "recipes" / "tuning"
DATA = Path(__file__).parents[4] / "shared" / "data"
WEIGHTS = Path(os.environ.get("TEXTMILL_WEIGHTS", "nowhere"))
FEW = {
    "training.steps": "4",
    "training.batch": "2",
    "training.sequence": "48",
    "training.evaluate_every": "2",
    "training.evaluate_tokens": "200",
    "training.save.every": "2",
    "evaluation.tokens": "200",
    "evaluation.bootstrap": "20",
    "evaluation.samples": "[]",
}
# Recipes, the model each begins with (None: its own), and what of `FEW` it says otherwise; None: leaves out.
RUNS: dict[str, tuple[str | None, dict[str, str | None]]] = {
    "minilm-sst2": ("minilm-l6-v2", {}),
    "sst2-lora": ("minilm-l6-v2", {}),
    "instruct-lora-int8": ("smollm2-135m-instruct", {"training.sequence": "512"}),
    "preferences-dpo-lora": ("smollm2-135m-instruct", {"training.sequence": "512"}),
    "prompting-sst2": ("smollm2-135m-instruct", {name: None for name in FEW if "training" in name}),
    "gemma-classics": ("gemma3-270m", {}),
    "gpt-domain": (None, {"training.steps": None, "training.sequence": "64"}),
}
TRANSFORMERS = ("minilm-sst2", "sst2-lora", "instruct-lora-int8", "preferences-dpo-lora", "gemma-classics")


def lines(name: str, number: int) -> str:
    """The first lines of a file of ../shared/data."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return "".join(islice(stream, number))


def reader(folder: Path, name: str) -> Path:
    """What a reader has before them: the recipe, and beside it the data that it names."""
    text = (RECIPES / f"{name}.toml").read_text()
    data = folder / "data"
    if "sst2" in name:
        (data / "sst2").mkdir(parents=True)
        with gzip.open(data / "sst2/train.tsv.gz", "wt", encoding="utf-8") as stream:
            stream.write(lines("sst2/train.tsv.gz", 301))
    elif "gpt" in name or "gemma" in name:
        parts = {"classics": "chinese-classics/hongloumeng.txt.gz", "general": "wikitext2/valid.txt.gz"}
        for part, of in (parts | {"domain": "tinyshakespeare/input.txt.gz"}).items():
            (data / part).mkdir(parents=True)
            pieces = lines(of, 600).splitlines(keepends=True)
            for start in range(0, 600, 10):  # documents enough for every split
                (data / part / f"{start:03}.txt").write_text("".join(pieces[start : start + 10]))
        standard = '[{ kind = "python-stdlib" }]'  # which is read for minutes
        assert ("gpt" in name) == (standard in text)
        text = text.replace(standard, '[{ kind = "files", paths = ["data/general"] }]')
        text = text.replace("steps = 1000", "steps = 4").replace("steps = 200,", "steps = 3,")
    else:
        data.mkdir(parents=True)
        kind, of = ("instructions", "instruct-en/alpaca_2k.jsonl.gz")
        if "preferences" in name:
            kind, of = ("preferences", "preference/dpo_en_demo.jsonl.gz")
        shortest = sorted(lines(of, 2000).splitlines(keepends=True), key=len)[:80]  # they fit into a sequence
        (data / f"{kind}.jsonl").write_text("".join(shortest))
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def newest(workspace: Workspace) -> dict[str, object]:
    """The hashes of every run's newest checkpoint, by its name."""
    return {
        run.name: read_json(checkpoint.listed(run.checkpoints)[-1] / "MANIFEST.json")
        for run in workspace.runs()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_it_runs_is_resumed_published_loaded_and_verified(name, tmp_path, monkeypatch):
    start, own = RUNS[name]
    if start is not None and not (WEIGHTS / start).is_dir():
        pytest.skip(f"TEXTMILL_WEIGHTS names no folder with {start}")
    path = reader(tmp_path, name)
    overrides = [f"{key}={value}" for key, value in (FEW | own).items() if value is not None]
    models = ModelsFolder(WEIGHTS)
    workspace = Workspace(tmp_path / "work", Silent(), models)
    recipes = starting.load_recipes(path, overrides, workspace)  # each read once the one before is trained
    reports = [pipeline.run(recipe, workspace) for recipe in recipes]
    for report in reports:
        states = {check["name"]: check["state"] for check in report["parity"]["checks"]}
        assert "failed" not in states.values(), report["parity"]
        if name in TRANSFORMERS:
            assert states["transformers"] == "ok", report["parity"]
        assert verify(workspace, report["run"])["ok"]

    shutil.copytree(tmp_path / "work", tmp_path / "again")
    shutil.rmtree(tmp_path / "again/runs")  # what was prepared, and the start, are there
    other = Workspace(tmp_path / "again", Silent(), models)
    save, kills = session.Session.save, 0

    def killed(self):
        save(self)
        if self.progress.step == 2:
            raise SystemExit

    monkeypatch.setattr(session.Session, "save", killed)
    while True:
        try:
            for recipe in starting.load_recipes(path, overrides, other):
                train(recipe, other)
            break
        except SystemExit:
            kills += 1
    assert kills == (0 if name == "prompting-sst2" else len(reports))
    assert newest(other) == newest(workspace)
