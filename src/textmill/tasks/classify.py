"""Labels of whole texts: of one text or of two, one label or any number.

A text longer than the model reads is read in windows that overlap by half, and the log probabilities of a label are
averaged over them.

Shapes: D texts, C labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.data.codec import Row
from textmill.metrics import calibration, labels, ranking
from textmill.metrics.calibration import fit_temperature
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.objectives.classify import CLASSIFY as OBJECTIVE
from textmill.objectives.classify import labels_of
from textmill.objectives.loss import widened
from textmill.specs.head import ClassifyHead
from textmill.tasks import rows
from textmill.tasks.baselines import linear
from textmill.tasks.prediction import REFUSED, Label, Labels, Prediction, Refused
from textmill.tasks.reasons import reasons
from textmill.tasks.task import Baseline, Calibration, Field, Options, Record, Task, text_of

_LIKELIER_THAN_NOT = 0.5
ENOUGH = 100  # texts, words or questions that a temperature is fitted on, at least


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Row | Refused]:
    """The rows that texts, or pairs of them, become."""
    codec, paired = rows.codec_of(pretrained), _paired(pretrained)
    roles = ("text", "pair")
    found = [
        [text_of(record, role) for role in roles if role == "text" or paired or role in record]
        for record in records
    ]
    texts = iter(codec.encode([text for each in found for text in each if isinstance(text, str)]))
    reads: list[Row | Refused] = []
    for each in found:
        read = [next(texts) if isinstance(text, str) else text for text in each]
        refused = next((text for text in read if isinstance(text, Refused)), None)
        if refused is not None:
            reads.append(refused)
        elif not all(len(text) for text in read if not isinstance(text, Refused)):
            reads.append(Refused("no token is left"))
        else:
            reads.append(codec.source(read[0]) if len(read) == 1 else codec.pair(*read))  # type: ignore[arg-type]
    return reads


def _paired(pretrained: Pretrained) -> bool:
    return "pair" in pretrained.info.get("reads", ())


def logits(pretrained: Pretrained, reads: Sequence[Row]) -> np.ndarray:
    """(D, C) logits: the mean over windows, which is that of log probabilities but for a constant."""
    model, codec = pretrained.model, rows.codec_of(pretrained)
    found = rows.over_windows(pretrained, codec, reads, lambda batch: widened(model(batch)))
    return np.stack([np.mean(windows, axis=0, dtype=np.float64) for windows in found])


def predict(pretrained: Pretrained, reads: Sequence[Row], options: Options) -> list[Prediction]:
    """Labels with their probabilities."""
    if not reads:
        return []
    head = head_of(pretrained)
    scaled = logits(pretrained, reads) / rows.temperature(pretrained)
    said: list[Label] | list[Labels]
    if head.multiple:
        threshold = _LIKELIER_THAN_NOT if options.threshold is None else options.threshold
        said = [_labels(head.labels, p, threshold, options.top) for p in sigmoid(scaled)]
    else:
        said = [_label(head.labels, p, options.top) for p in softmax(scaled)]
    if not options.why:
        return [*said]
    why = reasons(pretrained, reads, scaled.argmax(1).tolist(), against=not head.multiple)
    return [replace(one, why=each) for one, each in zip(said, why, strict=True)]


def head_of(pretrained: Pretrained) -> ClassifyHead:
    """The head that gives labels. Raises TextmillError where there is none."""
    model = pretrained.model
    head = getattr(getattr(model, "head", None), "spec", None)
    if not isinstance(head, ClassifyHead):
        raise TextmillError(f"a {pretrained.spec.kind} model without a head for labels classifies nothing")
    return head


def softmax(logits: np.ndarray) -> np.ndarray:
    """(D, C) -> (D, C) probabilities of one label each."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """(D, C) -> (D, C) probabilities of each label by itself."""
    return np.exp(-np.logaddexp(0, -logits))


def _label(names: Sequence[str], p: np.ndarray, top: int) -> Label:
    order = np.argsort(-p, kind="stable")[: max(1, top)]
    best, *others = [(names[place], float(p[place])) for place in order.tolist()]
    return Label(*best, tuple(others))


def _labels(names: Sequence[str], p: np.ndarray, threshold: float, top: int) -> Labels:
    order = np.argsort(-p, kind="stable").tolist()
    said = [(names[place], float(p[place])) for place in order if p[place] > threshold]
    others = [(names[place], float(p[place])) for place in order if p[place] <= threshold]
    return Labels(tuple(said), tuple(others[: max(0, top - len(said))] if top > 1 else ()))


def gold(record: Record) -> str | None:
    """The label as it is written, or all of them, told apart by blanks or commas."""
    label = record.get("label")
    return None if label is None else label.strip()


def right(prediction: Any, gold: str, record: Record) -> bool:
    """The same label, or all the same labels."""
    return set(_said(prediction)) == set(labels_of(gold, isinstance(prediction, Labels)))


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """Accuracy, macro F1 and MCC of one label, with how far its probability can be trusted; AUROC where the
    probabilities of all labels are known. F1 and subset accuracy of several. A label nobody predicts, since the
    training data lack it, counts as missed."""
    names, truth, guess = _sides(predictions, records)
    if truth.ndim == 2:
        return labels.several_labels(truth, guess, bootstrap, how="a label is predicted from 0.5")
    scores = labels.one_label(truth, guess, len(names), bootstrap)
    if (auroc := _auroc(predictions, records, bootstrap)) is not None:
        scores["AUROC"] = auroc
    sure, right = _confidence(predictions), truth == guess
    return scores if sure is None else scores | calibration.calibrated(sure, right, bootstrap)


def _confidence(predictions: Sequence[Any]) -> np.ndarray | None:
    """(D,) probability of what was said, 0 of what was refused; None where nobody gives one: all are certain."""
    sure = np.array([said.p if isinstance(said, Label) else 0.0 for said in predictions])
    return None if np.isin(sure, (0.0, 1.0)).all() else sure


def _auroc(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> Score | None:
    """AUROC of two labels; of more the mean over labels of each against the rest."""
    tables = [
        dict([(said.label, said.p), *said.others]) if isinstance(said, Label) else {} for said in predictions
    ]
    truth = [gold(record) for record in records]
    names = sorted(max(tables, key=len, default={}))
    whole = len(names) > 1 and all(len(table) == len(names) for table in tables)
    asked = [name for name in names if 0 < sum(label == name for label in truth) < len(truth)]
    if not whole or not asked:
        return None
    if len(names) == 2:
        scores = [table[names[1]] for table in tables]
        hits = [label == names[1] for label in truth]
        how = f"of {names[1]}"
        return (
            ranking.told_apart(scores, hits, bootstrap, how=how)["AUROC"]
            if any(hits) and not all(hits)
            else None
        )
    number = {name: place for place, name in enumerate(names)}
    scores = np.array([[table[name] for name in names] for table in tables])
    return ranking.each_against_the_rest(scores, [number.get(label, -1) for label in truth], bootstrap)


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """What the headline is made of, text by text."""
    _, truth, guess = _sides(predictions, records)
    return labels.figures(truth, guess)


def details(predictions: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    """What is taken for what, and how well each label is told."""
    names, truth, guess = _sides(predictions, records)
    if truth.ndim == 1:
        counts = labels.counts_of_one(truth, guess, len(names))
        return {
            "confusion": labels.confusion(truth, guess, names),
            "by_label": labels.by_label(names, *counts),
        }
    counts = ((truth & guess).sum(0), (truth & ~guess).sum(0), (~truth & guess).sum(0))
    return {"by_label": labels.by_label(names, *counts)}


def _sides(predictions: Sequence[Any], records: Sequence[Record]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of labels, what is true and what was said: (D,) numbers of one label, or (D, C) bool of several."""
    several = any(isinstance(said, Labels) for said in predictions)
    sides = [
        [_said(said) for said in predictions],
        [labels_of(gold(record) or "", several) for record in records],
    ]
    names = sorted({name for side in sides for each in side for name in each})
    number = {name: place for place, name in enumerate(names)}
    if not several:
        guess, truth = (np.array([number[each[0]] for each in side], dtype=np.int64) for side in sides)
        return names, truth, guess
    held = np.zeros((2, len(records), len(names)), dtype=bool)
    for side, each in zip(held, sides, strict=True):
        for row, some in zip(side, each, strict=True):
            row[[number[name] for name in some]] = True
    return names, held[1], held[0]


def _said(prediction: Any) -> list[str]:
    if isinstance(prediction, Labels):
        return [label for label, _ in prediction.labels]
    return [prediction.label if isinstance(prediction, Label) else REFUSED]


def calibrate(pretrained: Pretrained, reads: Sequence[Row], records: Sequence[Record]) -> Calibration | None:
    """By the labels that the model knows."""
    head = head_of(pretrained)
    number = {name: place for place, name in enumerate(head.labels)}
    held = [
        [number[name] for name in labels_of(gold(record) or "", head.multiple) if name in number]
        for record in records
    ]
    if head.multiple:
        truth = np.zeros((len(records), len(number)), dtype=bool)
        for row, some in zip(truth, held, strict=True):
            row[some] = True
        return calibrated(logits(pretrained, reads), truth)
    known = [place for place, some in enumerate(held) if some]
    found = logits(pretrained, [reads[place] for place in known]) if known else np.zeros((0, 1))
    return calibrated(found, np.array([held[place][0] for place in known], dtype=np.int64))


def calibrated(logits: np.ndarray, truth: np.ndarray) -> Calibration | None:
    """The temperature of logits; None where they are too few, or all right, which any model that is surer still is."""
    wrong = (logits.argmax(1) != truth) if truth.ndim == 1 else ((logits > 0) != truth).any(1)
    if len(truth) < ENOUGH or not wrong.any():
        return None
    fitted = fit_temperature(logits, truth)
    return Calibration(fitted.value, fitted.before, fitted.after, fitted.n)


def confidence(predictions: Sequence[Any], records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Of each label that was said."""
    sure, right = [], []
    for said, record in zip(predictions, records, strict=True):
        pairs = (
            said.labels
            if isinstance(said, Labels)
            else ((said.label, said.p),)
            if isinstance(said, Label)
            else ()
        )
        true = labels_of(gold(record) or "", isinstance(said, Labels))
        sure += [p for _, p in pairs]
        right += [name in true for name, _ in pairs]
    return np.array(sure), np.array(right, dtype=bool)


def always(records: Sequence[Record]) -> Baseline:
    """The commonest label of the training records, always."""
    several = any(len(labels_of(gold(record) or "", True)) > 1 for record in records)
    counts = Counter(name for record in records for name in labels_of(gold(record) or "", several))
    common = max(sorted(counts), key=counts.__getitem__)

    def predict(records: Sequence[Record]) -> list[Prediction]:
        said: Prediction = Labels(((common, 1.0),)) if several else Label(common, 1.0)
        return [said] * len(records)

    return Baseline(f"always {common!r}", predict)


CLASSIFY = Task(
    name="classify",
    summary="labels for whole texts",
    fields=(
        Field("text", "the text to label"),
        Field("pair", "a second text, where what is said is said of two", needed=False),
    ),
    objectives=dict.fromkeys(OBJECTIVE.spec.families, OBJECTIVE.kind),
    prepare=prepare,
    predict=predict,
    gold=gold,
    right=right,
    metrics=metrics,
    figures=figures,
    details=details,
    baselines={"majority": always, "linear": linear.labels},
    calibrate=calibrate,
    confidence=confidence,
    asked={"top": 1 << 20},
    purpose="Sorting texts: by topic, by opinion, by what a pair of them has to do with each other.",
)
