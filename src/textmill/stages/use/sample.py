"""`textmill sample`: several answers to each prompt, scored by a reward; the best are a new data set.

    best of n            the answer of the highest reward (Stiennon et al. 2020, section 3.3)
    rejection sampling   with `least`: that one, where its reward reaches it; the other prompts are left out

The folder holds samples.jsonl, a row for each prompt, and lineage.json, which names the models as parents. A row tells
what made it: the model by the hash of its weights, the prompt, the seed and number of the draw, the reward. `chosen`
is the best answer and `rejected` the worst, where another is worse, as `format = "preference"` reads them, to train on
the difference; `messages` holds the best alone, as `format = "chat"` reads it.

Best of n moves the answers away from the model by at most log n - (n - 1) / n nats (Beirami et al. 2024).
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base import files
from textmill.base.console import Reporter
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.generation import GenerationOptions
from textmill.stages.use.generate import Answer
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace import lineage
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import Rejected
from textmill.text.sources.formats.records import said
from textmill.text.sources.rows import LINE, Row

ROWS = "samples.jsonl"
_VERSION = 1
_NEVER = -1e9  # the log-probability of what cannot be scored: an empty answer, say
Record = dict[str, str]
Score = Callable[[Record, list[str]], list[float]]


@dataclass(frozen=True)
class Reward:
    """What answers are scored by. said: what it is, as plain data; score: (record of a prompt, answers) -> rewards."""

    said: dict[str, Any]
    score: Score
    artifact: Artifact | None = None


def sample(
    workspace: Workspace,
    model: LanguageModel,
    records: Iterable[Record],
    reward: Reward,
    out: Path,
    *,
    samples: int = 8,
    least: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Answer the `prompt` of each record so many times, keep the best, and write them to the folder `out`.

    Raises RecipeError where something stands at `out`, or where all draws would be the same; TextmillError where a
    reward is no number.
    """
    files.check_free(out)
    given: GenerationOptions = options  # type: ignore[assignment]
    spec = model.settings(**given)
    if samples > 1 and (spec.temperature == 0 or spec.beams > 1):
        raise RecipeError(
            "has no chance in it, so all samples would be the same",
            where="--temperature",
            advice="give a temperature over 0, such as 1, and no beams",
        )
    made_by = {"model": model.weights_id, "seed": spec.seed, "of": samples}
    rows, best, firsts, read = [], [], [], 0
    for record in records:
        read += 1
        answers = model.answers(record["prompt"], samples=samples, **given)
        rewards = _checked(reward, record, answers)
        first, top, last = rewards[0], int(np.argmax(rewards)), int(np.argmin(rewards))
        firsts.append(first)
        best.append(rewards[top])
        if least is None or rewards[top] >= least:
            talk = [{"role": "user", "content": record["prompt"]}]
            talk.append({"role": "assistant", "content": answers[top].text})
            row = {
                **record,
                "messages": talk,
                "chosen": answers[top].text,
                "reward": rewards[top],
                "sample": top,
            }
            if answers[last].text != answers[top].text:
                row |= {"rejected": answers[last].text, "rejected_reward": rewards[last]}
            rows.append(row | made_by)
        workspace.reporter.progress("sampling", read, read, "prompts")
    if not read:
        raise TextmillError("no prompt to answer", advice="give prompts, or files of them")
    report = {
        "read": read,
        "kept": len(rows),
        "skipped": {"no sample reaches the least reward": read - len(rows)},
        "samples": samples,
        "reward": reward.said,
        "mean_reward_of_one": float(np.mean(firsts)),
        "mean_reward_of_best": float(np.mean(best)),
        "kl_at_most": math.log(samples) - (samples - 1) / samples,
        "out": str(out),
    }
    _write(
        out,
        rows,
        report,
        made_by | {"generation": dict(given), "least": least},
        [model.artifact, reward.artifact],
    )
    return report


def _checked(reward: Reward, record: Record, answers: Sequence[Answer]) -> list[float]:
    rewards = reward.score(record, [answer.text for answer in answers])
    if len(rewards) != len(answers) or not all(map(math.isfinite, rewards)):
        raise TextmillError(
            f"gives no number for each answer to {record['prompt'][:60]!r}", where=reward.said["by"]
        )
    return rewards


def _write(
    out: Path,
    rows: Sequence[dict[str, Any]],
    report: dict[str, Any],
    spec: dict[str, Any],
    above: Sequence[Any],
) -> None:
    decided = {"version": _VERSION, "reward": report["reward"], **spec}
    with files.atomic_directory(out, private=False) as partial:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        files.write_text(partial / ROWS, lines, private=False)
        files.write_json(
            partial / "report.json", {name: value for name, value in report.items() if name != "out"}
        )
        parents = [artifact for artifact in above if artifact is not None]
        lineage.write_lineage(
            partial, kind="samples", key=files.value_id(decided), spec=decided, parents=parents, home=out
        )


def prompts(rows: Iterable[Row | Rejected], reporter: Reporter) -> Iterator[Record]:
    """The records of rows: a line is a prompt, and of a row with columns `prompt`, or else its first text. What has
    none is skipped with its place."""
    for row in rows:
        if isinstance(row, Rejected):
            reporter.warn(f"{row.source}: skipped: {row.reason}")
            continue
        values = {name: text for name, value in row.values.items() if (text := said(value)) is not None}
        prompt = values.get("prompt") or values.get(LINE) or next(iter(values.values()), "")
        if not prompt.strip():
            reporter.warn(f"{row.place}: skipped: no prompt")
            continue
        yield {"prompt": prompt} | {name: text for name, text in values.items() if name != LINE}


def reward_of(workspace: Workspace, named: str, label: str | None = None) -> Reward:
    """The reward of a name: `file.py:function`, a task whose scores compare texts, or a model.

        function   (prompt, answer) -> number
        task       its headline score of the answer against what the record says is right
        model      of labels: the probability of `label`; of numbers: the first of them; any other that writes: the mean
                   log-probability of a token of the answer after the prompt

    Raises RecipeError for a label that is wanted or not known, TextmillError for a function that is not there.
    """
    from textmill.tasks.table import TASKS

    path, colon, name = named.rpartition(":")
    if colon and path.endswith(".py"):
        return _function(Path(path), name)
    if named in TASKS:
        return _task(named)
    return _model(workspace, named, label)


def _none(prompt: str, answer: str) -> float:
    """Stands for a function that is not there."""
    return 0.0


def _function(path: Path, name: str) -> Reward:
    """A function of a Python file, which a person names: it runs as their own program does."""
    if not path.is_file():
        raise TextmillError("no such file", where=path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TextmillError(f"cannot be loaded: {type(error).__name__}: {error}", where=path) from error
    function: Callable[[str, str], Any] = getattr(module, name, _none)
    if function is _none or not callable(function):
        raise TextmillError(f"has no function {name!r}", where=path)

    def score(record: Record, answers: list[str]) -> list[float]:
        try:
            return [float(function(record["prompt"], answer)) for answer in answers]
        except Exception as error:
            raise TextmillError(f"{name} failed: {type(error).__name__}: {error}", where=path) from error

    return Reward({"by": f"{path.name}:{name}", "sha256": files.sha256_file(path)}, score)


def _task(named: str) -> Reward:
    """How near an answer comes to what a record says is right."""
    from textmill.metrics.score import Bootstrap
    from textmill.tasks.prediction import Text
    from textmill.tasks.table import task_named

    task = task_named(named)

    def score(record: Record, answers: list[str]) -> list[float]:
        if task.gold(record) is None:
            raise TextmillError(
                f"does not say what is right, which {named} is scored by", where=record["prompt"][:60]
            )
        found = []
        for answer in answers:
            headline = next(iter(task.metrics([Text(answer)], [record], Bootstrap(1)).values()))
            found.append(headline.value if headline.better == "higher" else -headline.value)
        return found

    return Reward({"by": named}, score)


def _model(workspace: Workspace, named: str, label: str | None) -> Reward:
    """What a model says of answers."""
    from textmill.tasks.likelihood import Likelihood, likelihoods
    from textmill.tasks.prediction import Label, Number
    from textmill.tasks.task import Options

    judge = LanguageModel(workspace, named)
    about = {"by": named, "model": judge.weights_id} | ({"label": label} if label else {})
    predictor = judge.predictor(Options(top=1 << 20))
    roles = [field.role for field in predictor.task.reads(judge.pretrained)]
    if judge.pretrained.writes and getattr(judge.pretrained.model, "head", None) is None:

        def likely(record: Record, answers: list[str]) -> list[float]:
            found = likelihoods(judge.pretrained, [(record["prompt"], answer) for answer in answers])
            return [
                one.value / max(one.tokens, 1) if isinstance(one, Likelihood) else _NEVER for one in found
            ]

        return Reward(about, likely, judge.artifact)

    def score(record: Record, answers: list[str]) -> list[float]:
        asked = [
            {roles[0]: record["prompt"], roles[1]: answer} if len(roles) > 1 else {roles[0]: answer or " "}
            for answer in answers
        ]
        found = []
        for one in predictor.predict(asked):
            if isinstance(one, Number):
                found.append(float(one.values[0]))
            elif isinstance(one, Label):
                table = dict([(one.label, one.p), *one.others])
                if label not in table:
                    raise RecipeError(
                        f"{label!r} is no label of {named}" if label else f"{named} has several labels",
                        where="--label",
                        advice=f"give one of {', '.join(sorted(table))}",
                    )
                found.append(table[label])
            else:  # an empty answer, say: there is nothing to be said of it
                found.append(0.0)
        return found

    return Reward(about, score, judge.artifact)
