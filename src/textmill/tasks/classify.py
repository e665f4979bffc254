"""Labels of whole texts: of one text or of two, one label or any number.

A text longer than the model reads is read in windows that overlap by half, and the log probabilities of a label are
averaged over them.

Shapes: D texts, C labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.data.codec import Row
from textmill.metrics import labels
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.objectives.classify import CLASSIFY as OBJECTIVE
from textmill.objectives.classify import labels_of
from textmill.objectives.loss import widened
from textmill.specs.head import ClassifyHead
from textmill.tasks import rows
from textmill.tasks.prediction import Label, Labels, Prediction, Refused
from textmill.tasks.task import Field, Options, Record, Rival, Task, text_of

_LIKELIER_THAN_NOT = 0.5
REFUSED = "(refused)"  # what stands for a label where a record was refused


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
    if head.multiple:
        threshold = _LIKELIER_THAN_NOT if options.threshold is None else options.threshold
        return [_labels(head.labels, p, threshold, options.top) for p in sigmoid(scaled)]
    return [_label(head.labels, p, options.top) for p in softmax(scaled)]


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


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """Accuracy, macro F1 and MCC of one label; F1 and subset accuracy of several. A label nobody predicts, since the
    training data lack it, counts as missed."""
    names, truth, guess = _sides(predictions, records)
    if truth.ndim == 1:
        return labels.one_label(truth, guess, len(names), bootstrap)
    return labels.several_labels(truth, guess, bootstrap, how="a label is predicted from 0.5")


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


def always(records: Sequence[Record]) -> Rival:
    """The commonest label of the training records, always."""
    several = any(len(labels_of(gold(record) or "", True)) > 1 for record in records)
    counts = Counter(name for record in records for name in labels_of(gold(record) or "", several))
    common = max(sorted(counts), key=counts.__getitem__)

    def predict(records: Sequence[Record]) -> list[Prediction]:
        said: Prediction = Labels(((common, 1.0),)) if several else Label(common, 1.0)
        return [said] * len(records)

    return Rival(f"always {common!r}", predict)


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
    metrics=metrics,
    figures=figures,
    details=details,
    baselines={"majority": always},
    purpose="Sorting texts: by topic, by opinion, by what a pair of them has to do with each other.",
)
