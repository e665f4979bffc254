"""The stretch of a passage that answers a question, or that it does not say.

A passage longer than the model reads is read in windows that overlap by half. Of every stretch of up to 30 tokens it
is known how much likelier it is than "not here" (Devlin et al. 2019, section 4.3); one that stands in several windows
is worth the most it is in any. Windows were trained apart, so these odds compare over them, and logits do not.

Shapes: N tokens of a passage, L = 30.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from textmill.data.codec import Row
from textmill.metrics import answers
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.heads import LONGEST_SPAN
from textmill.models.pretrained import Pretrained
from textmill.objectives.loss import widened
from textmill.objectives.span import SPAN as OBJECTIVE
from textmill.tasks import classify, rows
from textmill.tasks.baselines import choosing
from textmill.tasks.prediction import REFUSED, Answer, Prediction, Refused
from textmill.tasks.task import EXAMPLES, Baseline, Calibration, Field, Options, Record, Task, text_of
from textmill.text.document import several

_LIKELIEST = 50  # stretches a temperature is fitted by
_NEVER = -1e4  # a logit


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Row | Refused]:
    """Question and passage in one row, or in the windows of one."""
    codec = rows.codec_of(pretrained)
    found = [(text_of(record, "question"), text_of(record, "passage")) for record in records]
    texts = iter(codec.encode([text for pair in found for text in pair if isinstance(text, str)]))
    reads: list[Row | Refused] = []
    for pair in found:
        question, passage = (text if isinstance(text, Refused) else next(texts) for text in pair)
        if isinstance(question, Refused):
            reads.append(question)
        elif isinstance(passage, Refused):
            reads.append(passage)
        elif not len(question) or not len(passage):
            reads.append(Refused("no token is left"))
        else:
            reads.append(codec.pair(question, passage))
    return reads


def predict(pretrained: Pretrained, reads: Sequence[Row], options: Options) -> list[Prediction]:
    """The likeliest answers, each with its probability."""
    temperature, least = rows.temperature(pretrained), options.threshold
    if least is None and pretrained.info.get("unanswerable"):
        least = pretrained.info.get("calibration", {}).get("threshold", 0.0)
    return [
        _answer(read, table, temperature, least, options.top)
        for read, table in zip(reads, odds(pretrained, reads), strict=True)
    ]


def odds(pretrained: Pretrained, reads: Sequence[Row]) -> list[np.ndarray]:
    """Of each passage (N, L): the log of how much likelier the stretch of 1 … L tokens from each token on is than "not
    here"; -inf where there is none."""
    model, codec = pretrained.model, rows.codec_of(pretrained)
    found = rows.over_windows(pretrained, codec, reads, lambda batch: widened(model(batch)))
    tables = []
    for read, windows in zip(reads, found, strict=True):
        table = np.full((len(read.texts[-1]), LONGEST_SPAN), -np.inf)
        for row, logits in zip(read.windows, windows, strict=True):
            there = np.flatnonzero(row.candidates)
            begin, (first, last) = row.at[there[0]], logits[there].astype(np.float64).T
            ends = np.pad(last, (0, LONGEST_SPAN - 1), constant_values=-np.inf)
            ends = np.lib.stride_tricks.sliding_window_view(ends, LONGEST_SPAN)
            place = table[begin : begin + len(there)]
            np.maximum(place, first[:, None] + ends - float(logits[0].sum()), out=place)
        tables.append(table)
    return tables


def _answer(read: Row, odds: np.ndarray, temperature: float, least: float | None, top: int) -> Answer:
    """least: the odds that an answer must have to be given; None: it always is, and "not here" is no answer."""
    nowhere, table = -math.inf if least is None else 0.0, odds / temperature
    total = np.logaddexp(nowhere, _total(table))
    found = [_at(read, table, place, total) for place in _best(table, max(1, top))]
    if least is None or odds.max() > least:
        best, *others = found
        return Answer(best.text, best.start, best.end, best.p, others=tuple(others))
    return Answer(None, p=float(np.exp(nowhere - total)), others=tuple(found[: top - 1]))


def _total(table: np.ndarray) -> float:
    most = table.max()
    return float(most + np.log(np.exp(table - most).sum()))


def _best(table: np.ndarray, number: int) -> list[tuple[int, int]]:
    """First and last token of the likeliest stretches, none of which overlaps with a likelier one."""
    table, chosen = table.copy(), []
    while len(chosen) < number:
        first, length = np.unravel_index(int(table.argmax()), table.shape)
        if not np.isfinite(table[first, length]):
            break
        last = int(first + length)
        chosen.append((int(first), last))
        if len(chosen) < number:
            starts = np.arange(len(table))[:, None]
            table[(starts <= last) & (starts + np.arange(table.shape[1]) >= first)] = -np.inf
    return chosen


def _at(read: Row, table: np.ndarray, place: tuple[int, int], total: float) -> Answer:
    """The stretch between two tokens, without white space at its ends."""
    passage, (first, last) = read.texts[-1], place
    start, end = int(passage.offsets[first, 0]), int(passage.offsets[last, 1])
    text = passage.text[start:end]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    return Answer(text, start, start + len(text), float(np.exp(table[first, last - first] - total)))


def gold(record: Record) -> tuple[str, ...] | None:
    """The right answers; none where the passage is known not to say."""
    known = [answer for answer in several(record, "answer") if answer.strip()]
    if not known and record.get("answerable") != "false":
        return None
    return tuple(known)


def right(prediction: Any, gold: tuple[str, ...], record: Record) -> bool:
    """One of the right answers, word for word; none where there is none."""
    return prediction.text in gold if gold else prediction.text is None


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """F1 of words and exact match, as SQuAD counts them."""
    said = [_said(prediction) for prediction in predictions]
    return answers.answered([gold(record) or () for record in records], said, bootstrap)


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """What answer F1 is made of, question by question."""
    said = [_said(prediction) for prediction in predictions]
    return answers.figures([gold(record) or () for record in records], said)


def _said(prediction: Any) -> str:
    """A refused record has an answer that is never right, even where none is."""
    return prediction.text or "" if isinstance(prediction, Answer) else REFUSED


def details(predictions: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    """A few questions, what is right and what was said."""
    return {
        "examples": [
            {
                "question": record["question"],
                "answer": (gold(record) or ("",))[0].strip(),
                "given": said.text or "" if isinstance(said, Answer) else "",
            }
            for record, said in zip(records[:EXAMPLES], predictions, strict=False)
        ]
    }


def calibrate(pretrained: Pretrained, reads: Sequence[Row], records: Sequence[Record]) -> Calibration | None:
    """By the odds of the likeliest stretches, of which one is right; and where some questions have no answer, from
    which odds on giving one is right most often (the SQuAD 2.0 script's best threshold, of F1)."""
    known, logits, truth = pretrained.info.get("unanswerable", False), [], []
    odds_of, worth, empty = [], [], []
    for read, table, record in zip(reads, odds(pretrained, reads), records, strict=True):
        right, places = gold(record) or (), _likeliest(table)
        said = [_at(read, table, place, 0.0).text or "" for place in places]
        hits = [place for place, text in enumerate(said) if any(answers.exact(one, text) for one in right)]
        row = np.full(_LIKELIEST + 1, _NEVER)
        row[0] = 0.0 if known else _NEVER
        row[1 : len(places) + 1] = [table[first, last - first] for first, last in places]
        if hits or (known and not right):
            logits.append(row)
            truth.append(hits[0] + 1 if hits else 0)
        odds_of.append(float(table.max()))
        worth.append(max((answers.f1(one, said[0]) for one in right), default=0.0))
        empty.append(not right)
    fitted = classify.calibrated(np.array(logits), np.array(truth)) if logits else None
    if not known or not any(empty) or all(empty):
        return fitted
    fitted = Calibration(1.0, 0.0, 0.0, 0) if fitted is None else fitted
    return replace(fitted, threshold=_threshold(np.array(odds_of), np.array(worth), np.array(empty)))


def _likeliest(table: np.ndarray) -> list[tuple[int, int]]:
    """First and last token of the likeliest stretches, whether or not they overlap."""
    places = np.argsort(-table, axis=None, kind="stable")[:_LIKELIEST]
    firsts, lengths = np.unravel_index(places, table.shape)
    return [
        (int(first), int(first + length))
        for first, length in zip(firsts, lengths, strict=True)
        if np.isfinite(table[first, length])
    ]


def _threshold(odds: np.ndarray, worth: np.ndarray, empty: np.ndarray) -> float:
    """The odds that an answer must have, so that what is given is worth most: (n,), (n,) F1, (n,) bool no answer."""
    order = np.argsort(odds, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum(empty[order] - np.where(empty, 0.0, worth)[order])])
    best = int(gained.argmax())  # so many of the least likely answers are not given
    if best == 0:
        return float(odds[order[0]] - 1.0)
    return float(odds[order[best - 1]] if best == len(order) else odds[order[best - 1 : best + 1]].mean())


def confidence(predictions: Sequence[Any], records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Of each answer, that there is none included."""
    pairs = [
        (said.p or 0.0, any(answers.exact(one, said.text or "") for one in gold(record) or ("",)))
        for said, record in zip(predictions, records, strict=True)
        if isinstance(said, Answer)
    ]
    return np.array([p for p, _ in pairs]), np.array([right for _, right in pairs], dtype=bool)


def tells(records: Iterable[Record]) -> dict[str, Any]:
    """Whether some questions have no answer: a model that has read none such always answers."""
    return {"unanswerable": any(record.get("answerable") == "false" for record in records)}


def opening(records: Sequence[Record]) -> Baseline:
    """The beginning of the passage, as long as answers usually are."""
    known = [answer for record in records for answer in (gold(record) or ())[:1]]
    usual = int(np.median([len(answer) for answer in known])) if known else 1

    def predict(records: Sequence[Record]) -> list[Prediction]:
        return [Answer(record["passage"][:usual], 0, usual) for record in records]

    return Baseline(f"the first {usual} characters", predict)


ANSWER = Task(
    name="answer",
    summary="answers to questions, found in a passage",
    fields=(Field("passage", "the text that is searched"), Field("question", "the question")),
    objectives=dict.fromkeys(OBJECTIVE.spec.families, OBJECTIVE.kind),
    prepare=prepare,
    predict=predict,
    gold=gold,
    right=right,
    metrics=metrics,
    figures=figures,
    baselines={"opening": opening, "BM25": choosing.answering},
    untrained=("BM25",),
    details=details,
    tells=tells,
    calibrate=calibrate,
    confidence=confidence,
    purpose="Finding the stretch of a text that answers a question.",
)
