"""Whether a model learns what people prefer: reward accuracy by folds, beside "the longer answer is better".

    python benchmarks/preferences.py RECIPE PAIRS.jsonl[.gz] --out FOLDER --set start.model=/path/of/the/start

RECIPE is one with `objective.kind = "prefer"`, such as recipes/tuning/preferences-dpo-lora.toml; its sources give way
to the pairs. These are shuffled by a seed, and dealt into folds; each fold is held out once, while the recipe is
trained on the others, so that every pair is judged by a model that has not seen it. Settings are to be chosen on other
pairs (`--first`). The interval of the pooled accuracy, and that of its difference from the rule, paired, are bootstraps
over pairs; the rule counts the tokens of whole answers, also where the recipe cuts them. KL and length are means over
the folds, of a few prompts each. What the start says of a pair is worked out once for all folds.

Killed anywhere, the same command goes on: a fold that was judged is kept, and one that trains is resumed. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import random
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from results import machine

from textmill.base.console import Reporter, print_json
from textmill.metrics.score import Bootstrap, percentiles
from textmill.objectives.drift import drift
from textmill.objectives.evaluation import EvaluationInput
from textmill.objectives.prefer import BOTH, rewards_of
from textmill.stages.preparation.prepare import prepare, trained_on
from textmill.stages.preparation.reference import Reference
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.runs.train import train
from textmill.stages.workspace.run_data import PARTS, RunData
from textmill.stages.workspace.weights import held
from textmill.stages.workspace.workspace import Workspace

DRIFT = 8  # prompts of a fold that are answered, to see how far the model has moved


class Folds:
    """Pairs dealt into folds, and a workspace in which a recipe is trained without each of them."""

    def __init__(self, recipe: Path, folder: Path, changes: list[str], folds: list[list[str]]) -> None:
        self.recipe, self.folder, self.changes, self.folds = recipe, folder.absolute(), changes, folds
        self.workspace = Workspace(self.folder / "work", Reporter())
        self._known: dict[bytes, np.ndarray] = {}

    def judged(self, number: int) -> dict:
        """What came of a fold, from its file where it is there."""
        kept = self.folder / f"fold-{number}.json"
        if not kept.exists():
            began = time.process_time()
            found = self._judge(number) | {"processor_seconds": round(time.process_time() - began)}
            kept.with_suffix(".part").write_text(json.dumps(found))
            kept.with_suffix(".part").rename(kept)
        return json.loads(kept.read_text())

    def _judge(self, number: int) -> dict:
        test, others = (
            self.folds[number],
            [one for at, some in enumerate(self.folds) if at != number for one in some],
        )
        self._compared(f"fold-{number}", train=others, test=test)
        run = train(self._load(f"fold-{number}", train=others, test=test), self.workspace)
        data = trained_on(run, self.workspace)
        with held(run) as weights:
            evaluation = EvaluationInput(weights.build(data), data, self.workspace.reporter)
        rewards, _, _ = rewards_of(data.recipe.objective, evaluation)  # type: ignore[arg-type]
        view = evaluation.loader.view
        prompts = [view.prompt(record, 0).tolist() for record in range(min(DRIFT, len(view.store)))]
        moved, before = drift(evaluation, prompts, data.reference_model())
        figures = {name: score.value for name, score in moved.items()}
        figures |= {f"{name}, its start's": score.value for name, score in before.items()}
        lengths = np.stack([view.store.lengths(name) for name in BOTH], axis=1)
        return {"rewards": rewards.tolist(), "tokens": lengths.tolist(), "figures": figures, "cut": view.cut}

    def _load(self, name: str, *more: str, **parts: list[str]):
        """The recipe over these pairs."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for part, lines in parts.items():
            (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        sources = ", ".join(
            f'{{kind="files", paths=["{folder / part}.jsonl"], format="preference", part="{part}"}}'
            for part in parts
        )
        changes = [f"name={name}", f"corpus.sources=[{sources}]", "corpus.split={}", *self.changes, *more]
        return load_recipe(self.recipe, changes, self.workspace)

    def _compared(self, name: str, **parts: list[str]) -> None:
        """What the start says of the pairs of a fold, put where training looks for it: taken from all of them."""
        if not self._known:
            every = prepare(
                self._load("every", train=[one for some in self.folds for one in some]), self.workspace
            )
            values = np.load(every.prepared.reference.path / "train.npy")  # type: ignore[union-attr]
            self._known = dict(zip(_keys(every, "train"), values, strict=True))
        # the same records for a loss that compares with nothing, so that they are there before the reference is
        records = prepare(self._load(name, 'objective.loss={kind="orpo"}', **parts), self.workspace)
        data = RunData(self._load(name, **parts), records.prepared)
        stage = Reference(data, self.workspace)

        def make(directory: Path) -> None:
            for part in PARTS:
                found = [self._known[key] for key in _keys(data, part)]
                np.save(directory / f"{part}.npy", np.array(found, dtype=np.float64).reshape(-1, 2))

        above = [one for one in (data.prepared.tokens, data.prepared.start) if one is not None]
        self.workspace.artifact(
            stage.kind, version=stage.version, spec=stage.decides(), parents=above, make=make, name=name
        )


def _keys(data: RunData, part: str) -> list[bytes]:
    """What tells the records of a part from others: the ids of their texts."""
    store = data.store(part)
    return [
        b"|".join(store.field(name, record).tobytes() for name in ("prompt", *BOTH))
        for record in range(len(store))
    ]


def main() -> None:
    """Deal, train, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="pairs passed over")
    parser.add_argument("--most", type=int, default=None, help="pairs used, of those there are")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    opened = gzip.open if given.pairs.suffix == ".gz" else open
    with opened(given.pairs, "rt", encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    random.Random(0).shuffle(lines)
    lines = lines[given.first :][: given.most]
    folds = Folds(given.recipe, given.out, given.set, [lines[at :: given.folds] for at in range(given.folds)])
    found = []
    for number in range(given.folds):
        found.append(folds.judged(number))
        print(json.dumps({"fold": number} | accuracy(found[-1:])), file=sys.stderr, flush=True)
    print_json(
        {"pairs_of": given.pairs.name, "folds": given.folds, "first": given.first, "settings": given.set}
        | accuracy(found)
        | {name: statistics.mean(one["figures"][name] for one in found) for name in found[0]["figures"]}
        | {
            "cut": sum(one["cut"] for one in found),
            "processor_seconds": sum(one["processor_seconds"] for one in found),
        }
        | {"machine": machine(), "date": datetime.date.today().isoformat()}
    )


def accuracy(found: list[dict]) -> dict:
    """Of the rewards and lengths of pairs, (N, 2) each, the better answer first."""
    sides = [
        np.concatenate([np.array(one[name], dtype=np.float64) for one in found])
        for name in ("rewards", "tokens")
    ]
    right, longer = (np.sign(side[:, 0] - side[:, 1]) / 2 + 0.5 for side in sides)
    columns = np.stack([right, longer, right - longer, np.ones(len(right))], axis=1)
    sums = Bootstrap().sums(columns)
    assert sums is not None
    names = ("reward accuracy", "the longer one", "difference")
    return {
        name: {"value": float(columns[:, at].mean()), "interval": percentiles(sums[:, at] / sums[:, 3])}
        for at, name in enumerate(names)
    } | {"pairs": len(right)}


if __name__ == "__main__":
    main()
