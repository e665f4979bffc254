"""`textmill mix`: several models of one tokenizer as one, weights fitted on validation, scored on the test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.base import files
from textmill.base.errors import RecipeError, TextmillError
from textmill.metrics import perplexity
from textmill.metrics.score import RESAMPLES, Bootstrap, Score, percentiles
from textmill.specs.model import NGramSpec
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.runs.counting import count_model
from textmill.stages.workspace import lineage
from textmill.stages.workspace.locate import locate_model, locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import PARTS, RunData
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.models.mixture import Mixture
    from textmill.models.model import Model
    from textmill.training.mixing import Evidence

FIT_TOKENS, TEST_TOKENS = 50_000, 200_000
_POSITIONS = 8192  # read at once
LINEAR, LEARNED = "linear mixture", "learned mixture"
OWN = "this model"  # the run that others are set beside


@dataclasses.dataclass(frozen=True)
class Mixed:
    """Mixtures of the same parts, and what all of them score: rows of plain figures, the parts' first."""

    linear: Mixture
    learned: Mixture
    rows: list[dict[str, Any]]
    details: dict[str, Any]


def mix(
    workspace: Workspace,
    targets: Sequence[str],
    *,
    out: Path | None = None,
    fit_tokens: int = FIT_TOKENS,
    test_tokens: int = TEST_TOKENS,
) -> dict[str, Any]:
    """Mix published models; the first is a run, on whose validation and test splits they are weighted and judged.

    Writes the better mixture (by the validation split) with report.json to `out`, or to mixtures/ in the workspace.
    Raises RecipeError when there are fewer than two or something stands at `out`, TextmillError when they do not share
    the tokenizer.
    """
    from textmill.interop.huggingface import directory, mixtures

    if len(targets) < 2:
        raise RecipeError("a mixture is made of two models or more", where="MODEL")
    if out is not None:
        files.check_free(out)
    run = locate_run(workspace, targets[0])
    data = trained_on(run, workspace)
    tokenizer, tokens = data.tokenizer, data.prepared.tokens.id
    paths = [locate_model(workspace, target) for target in targets]
    models = [directory.read_directory(path) for path in paths]
    for target, model in zip(targets, models, strict=True):
        if model.tokenizer.id != tokenizer.id:
            raise TextmillError(
                "has another tokenizer than the first model",
                where=target,
                advice="train it on the same recipe's corpus and tokenizer",
            )
        if model.info.get("lineage", {}).get("tokens", tokens) != tokens:
            workspace.reporter.warn(
                f"{target} was trained on other text: its training text may hold the test text used here"
            )
    names = [str(model.info.get("name", target)) for target, model in zip(targets, models, strict=True)]
    mixed = mix_models(
        dict(zip(_distinct(names), (model.model for model in models), strict=True)),
        data,
        workspace,
        fit_tokens=fit_tokens,
        test_tokens=test_tokens,
    )
    best = mixed.learned if mixed.details["better"] == LEARNED else mixed.linear
    ids = [mixtures.identity(path) for path in paths]
    home = out or workspace.root / "mixtures" / files.value_id([ids, tokens])[:16]
    report = {
        "models": [str(path) for path in paths],
        "on": f"the test split of {run.name}",
        "table": mixed.rows,
        **mixed.details,
        "mixture": str(home),
    }
    info = {"name": "+".join(names), "lineage": {"parts": ids, "tokens": tokens}}
    with files.atomic_directory(home, private=False) as partial:
        mixtures.write_mixture(partial, best, paths, tokenizer, models[0].generation, home=home, info=info)
        files.write_json(partial / "report.json", report)
        lineage.write_lineage(
            partial,
            kind="mixture",
            key=files.value_id([ids, tokens]),
            spec={"parts": ids, "tokens": tokens},
            parents=[lineage.read_lineage(path) for path in paths if (path / lineage.NAME).is_file()],
            home=home,
        )
    return report


def beside(
    run: Run,
    workspace: Workspace,
    *,
    fit_tokens: int = 20_000,
    test_tokens: int = 40_000,
    order: int = 5,
) -> list[dict[str, Any]]:
    """What an n-gram model, the ∞-gram and the best mixture of them with a run's own model score: rows of a table.

    Each row is a Score's plain fields and a `name`. The n-grams are counted on the tokens the run was trained on; the
    mixture is weighted on `fit_tokens` of its validation part. All are judged on the same `test_tokens` of the test
    part, the run's model (`OWN`) among them. Empty where a part is missing.
    """
    from textmill.models.ngram.model import NGram
    from textmill.stages.workspace.weights import best_weights

    data = trained_on(run, workspace)
    if not all(len(data.plain(part)) for part in PARTS):
        return []
    endless = count_model(NGramSpec(order=order, smoothing="infinity"), data, workspace)
    plain = NGram(NGramSpec(order=order), endless.vocabulary)
    kept = {name: table for name, table in endless.state_dict().items() if not name.startswith("stream.")}
    plain.load_state_dict(kept)
    parts: dict[str, Model] = {
        OWN: best_weights(run).build(data),
        f"{order}-gram, modified Kneser-Ney": plain.eval(),
        "∞-gram": endless,
    }
    mixed = mix_models(parts, data, workspace, fit_tokens=fit_tokens, test_tokens=test_tokens)
    chosen = mixed.details["better"]
    return [row for row in mixed.rows if row["name"] not in (LINEAR, LEARNED) or row["name"] == chosen]


def mix_models(
    parts: Mapping[str, Model],
    data: RunData,
    workspace: Workspace,
    *,
    fit_tokens: int = FIT_TOKENS,
    test_tokens: int = TEST_TOKENS,
    resamples: int = RESAMPLES,
) -> Mixed:
    """Weigh models on a sample of the validation split, and judge them and both mixtures on one of the test split."""
    from textmill.models.mixture import Mixture
    from textmill.training import mixing

    models = list(parts.values())
    base = Mixture(models).eval()
    held = _evidence(base, data, "validation", fit_tokens, workspace)
    gate = mixing.linear(held)
    linear = Mixture(models, gate).eval()
    learned = Mixture(models, mixing.learned(held, gate)).eval()
    validation = {
        name: float(held.nats(mixture).mean()) for name, mixture in ((LINEAR, linear), (LEARNED, learned))
    }
    judged = _evidence(base, data, "test", test_tokens, workspace)
    nats = {name: -judged.costs[:, column].double().numpy() for column, name in enumerate(parts)}
    nats |= {LINEAR: judged.nats(linear), LEARNED: judged.nats(learned)}
    rows, gains = _scores(nats, judged.documents, data, len(parts), resamples)
    shares = linear.bias.softmax(-1).tolist()
    return Mixed(
        linear,
        learned,
        rows,
        {
            "better": min(validation, key=lambda name: validation[name]),
            "weights": dict(zip(parts, shares, strict=True)),
            "validation_nats_per_token": validation,
            "gain": gains,
            "fitted_on_tokens": len(held.documents),
            "judged_on_tokens": len(judged.documents),
        },
    )


def _evidence(mixture: Mixture, data: RunData, part: str, tokens: int, workspace: Workspace) -> Evidence:
    from textmill.data.loader import evaluation_batches
    from textmill.training.mixing import gather

    data.not_empty(part)
    store = data.plain(part)
    sequence = mixture.spec.context
    total = min(store.tokens, tokens)
    batches = evaluation_batches(
        store, sequence, max(1, _POSITIONS // sequence), overlap=sequence // 2, tokens=tokens
    )
    return gather(
        mixture,
        batches,
        progress=lambda done: workspace.reporter.progress(f"scoring {part}", done, total, "tokens"),
    )


def _scores(
    nats: Mapping[str, np.ndarray], owners: np.ndarray, data: RunData, parts: int, resamples: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each model and mixture, and what each mixture gains over the best part, paired by document."""
    store = data.plain("test")
    if store.changed:
        raise TextmillError(
            "loses some of the test text, so bits per byte, by which mixtures are compared, would be meaningless",
            where=f"the tokenizer of {data.recipe.name}",
            advice="name runs whose tokenizer is lossless, such as `bpe`",
        )
    read, index, targets = np.unique(owners, return_inverse=True, return_counts=True)
    sizes = store.bytes[read] * (targets / np.diff(store.offsets)[read])  # of a cut document, its share
    by_document = {name: np.bincount(index, weights=cost) for name, cost in nats.items()}
    bootstrap = Bootstrap(resamples, units=data.units("test")).of(read)
    rows = []
    for name, costs in by_document.items():
        scores = perplexity.language_model(costs, targets, sizes, bootstrap)
        row = scores["bits per byte"].plain()
        rows.append({"name": name, **row, "perplexity": scores["perplexity"].value})
    best = min(list(by_document)[:parts], key=lambda name: by_document[name].sum())
    gains = {
        name: _gain(by_document[best], by_document[name], sizes, bootstrap).plain() | {"over": best}
        for name in (LINEAR, LEARNED)
    }
    return rows, gains


def _gain(before: np.ndarray, after: np.ndarray, sizes: np.ndarray, bootstrap: Bootstrap) -> Score:
    """Bits per byte saved, with the bootstrap over documents of the difference."""
    table = np.stack([(before - after) / np.log(2), sizes], 1)
    bits, size = table.sum(0)
    low = high = None
    if (sums := bootstrap.sums(table)) is not None:
        sums = sums[sums[:, 1] > 0]
        low, high = percentiles(sums[:, 0] / sums[:, 1])
    signature = f"gain|paired over documents|{bootstrap.words(len(table))}"
    return Score(float(bits / size), low, high, "bits/byte", len(table), signature)


def _distinct(names: Sequence[str]) -> list[str]:
    """The same names; one that comes again gets its number."""
    return [
        name if name not in names[:number] else f"{name} ({number + 1})" for number, name in enumerate(names)
    ]
