"""Whether a model learns what people prefer: reward accuracy by five folds, beside "the longer answer is better".

    python benchmarks/preferences.py RECIPE PAIRS.jsonl[.gz] --out FOLDER --set start.model=/path/of/the/start

RECIPE is one with `objective.kind = "prefer"`, such as recipes/tuning/preferences-dpo-lora.toml; its sources give way
to the pairs. These are dealt into folds by a seed; each fold is held out once, while the recipe is trained on the
others, so that every pair is judged by a model that has not seen it. The interval of the pooled accuracy, and that of
its difference from the rule, paired, are bootstraps over pairs. KL and length are means over the folds. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import random
import statistics
from pathlib import Path

import numpy as np

from textmill.base.console import Reporter, print_json
from textmill.metrics.score import Bootstrap, percentiles
from textmill.objectives.evaluation import EvaluationInput
from textmill.objectives.prefer import rewards_of
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.runs.train import train
from textmill.stages.workspace.weights import held
from textmill.stages.workspace.workspace import Workspace


def main() -> None:
    """Deal, train, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--most", type=int, default=None, help="pairs used, of those there are")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    opened = gzip.open if given.pairs.suffix == ".gz" else open
    with opened(given.pairs, "rt", encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    random.Random(0).shuffle(lines)
    folds = [lines[: given.most][number :: given.folds] for number in range(given.folds)]
    workspace = Workspace(given.out / "work", Reporter())
    rewards, tokens, scores = [], [], []
    for number, fold in enumerate(folds):
        folder = given.out / f"fold-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.jsonl").write_text("".join(fold), encoding="utf-8")
        others = (line for other, some in enumerate(folds) if other != number for line in some)
        (folder / "train.jsonl").write_text("".join(others), encoding="utf-8")
        sources = ", ".join(
            f'{{kind="files", paths=["{(folder / part).absolute()}.jsonl"], format="preference", part="{part}"}}'
            for part in ("train", "test")
        )
        changes = [f"name=fold-{number}", f"corpus.sources=[{sources}]", "corpus.split={}", *given.set]
        run = train(load_recipe(given.recipe, changes, workspace), workspace)
        scores.append(evaluate_run(run, workspace)["scores"])
        data = trained_on(run, workspace)
        with held(run) as weights:
            evaluation = EvaluationInput(weights.build(data), data, workspace.reporter)
        found, _, lengths = rewards_of(data.recipe.objective, evaluation)  # type: ignore[arg-type]
        rewards.append(found)
        tokens.append(lengths)
    print_json(judged(np.concatenate(rewards), np.concatenate(tokens)) | means(scores))


def judged(rewards: np.ndarray, tokens: np.ndarray) -> dict:
    """Of (N, 2) rewards and lengths, the better answer first."""
    right, longer = (np.sign(side[:, 0] - side[:, 1]) / 2 + 0.5 for side in (rewards, tokens))
    columns = np.stack([right, longer, right - longer, np.ones(len(right))], axis=1)
    sums = Bootstrap().sums(columns)
    assert sums is not None
    names = ("reward accuracy", "the longer one", "difference")
    return {
        name: {"value": float(columns[:, at].mean()), "interval": percentiles(sums[:, at] / sums[:, 3])}
        for at, name in enumerate(names)
    } | {"pairs": len(right)}


def means(scores: list[dict]) -> dict:
    """The mean over folds of every figure that all have."""
    return {name: statistics.mean(each[name] for each in scores) for name in scores[0]}


if __name__ == "__main__":
    main()
